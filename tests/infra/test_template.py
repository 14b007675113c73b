"""What the deployments grant, refuse and set; what the compiler itself judges is left to `make infra`."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from infra.check import digest, find_compiler
from tests.infra.snapshots import BUILT_IN, EVERYTHING, PLAIN, ROOT, SNAPSHOTS, Role, Snapshot

BICEP = {path.name: path.read_text("utf-8") for path in (ROOT / "infra").rglob("*.bicep")}
PARAMETERS = json.loads((ROOT / "infra" / "main.parameters.json").read_text("utf-8"))["parameters"]
AZURE = (ROOT / "docs" / "azure.md").read_text("utf-8")
ACCEPTED_BY_FLEX = {"alwaysOn", "cors", "minTlsVersion"}
"""Site configuration of first-party templates for the plan; CORS as azurerm sends it (docs/azure.md)."""
REFUSED_SETTINGS = re.compile(
    r"FUNCTIONS_(WORKER_RUNTIME|EXTENSION_VERSION|WORKER_PROCESS_COUNT)\w*|ENABLE_ORYX_BUILD|SCM_DO_BUILD_DURING_DEPLOYMENT"
    r"|WEBSITE_(CONTENT|RUN_FROM|VNET|NODE|SKIP|MAX_DYNAMIC)\w*|AzureWebJobsDashboard|AzureWebJobsSecretStorage\w+"
)
TEMPLATE_LIMIT = 800
"""Resources of one template, copies counted in; a nested template counts for itself."""


@pytest.mark.parametrize("snapshot", SNAPSHOTS.values(), ids=SNAPSHOTS.keys())
def test_a_snapshot_is_of_the_files_as_they_are(snapshot: Snapshot) -> None:
    assert snapshot.document["digest"] == digest(snapshot.case), "stale: make infra ARGS=--write"
    assert snapshot.document["diagnostics"] == []


def test_the_compiler_is_taken_from_where_a_person_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the variable first, then PATH, then where the Azure CLI puts it."""
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert find_compiler({"HOME": str(tmp_path)}) is None
    for place in (".azure/bin", "bin"):
        program = tmp_path / place / "bicep"
        program.parent.mkdir(parents=True)
        program.touch(mode=0o755)
        assert find_compiler({"HOME": str(tmp_path)}) == str(program)
    assert find_compiler({"HOME": str(tmp_path), "BICEP": "mine"}) == "mine"


def scope_of(role: Role) -> str:
    """What a role is assigned on, its own names left out."""
    if role.secret:
        return "secret"
    return (
        re.sub(r"-?\w{13}$", "", role.on.split("/")[-1]) if "/containers/" not in role.on else role.on.split("/")[-1]
    )


def test_every_role_is_on_the_smallest_scope_that_needs_it() -> None:
    with_queue = SNAPSHOTS["queue"].roles
    assert {(role.to, scope_of(role), role.name) for role in with_queue} == {
        ("app", "secret", "ServiceNow token refresher: read a secret"),
        ("app", "secret", "ServiceNow token refresher: keep a secret"),
        ("app", "appi", "Monitoring Metrics Publisher"),
        ("app", "azure-webjobs-hosts", "Storage Blob Data Owner"),
        ("app", "azure-webjobs-secrets", "Storage Blob Data Owner"),
        ("app", "deployments", "Storage Blob Data Contributor"),
        ("app", "leases", "Storage Blob Data Contributor"),
        ("app", "refresh", "Storage Queue Data Contributor"),
        ("app", "refresh-poison", "Storage Queue Data Contributor"),
        ("who deploys", "kv", "Key Vault Secrets Officer"),
        ("who deploys", "leases", "Storage Blob Data Contributor"),
    }


@pytest.mark.parametrize("snapshot", SNAPSHOTS.values(), ids=SNAPSHOTS.keys())
def test_who_deploys_has_no_role_on_a_vault_that_was_there_before(snapshot: Snapshot) -> None:
    made = {each["name"] for each in snapshot.of_kind("KeyVault/vaults")}
    assert {role.vault for role in snapshot.roles if role.to == "who deploys" and role.vault} == made


def test_in_a_template_there_are_fewer_resources_than_azure_allows() -> None:
    """Roles on secrets stand in nested templates of their own, whose list the engine cuts off at the limit."""
    kinds = Counter(role.secret != "" for role in EVERYTHING.roles)
    assert len(EVERYTHING.document["predictedResources"]) - kinds[True] < TEMPLATE_LIMIT / 4
    (batch,) = re.findall(r"batchSize = (\d+)", BICEP["access.bicep"])
    (longest,) = re.findall(r"@maxLength\((\d+)\)\nparam grants", BICEP["roles.bicep"])
    (_,) = re.findall(r"^resource \w+ '[^']+' = ", BICEP["roles.bicep"].replace("existing = ", ""), re.MULTILINE)
    assert int(batch) <= int(longest) <= TEMPLATE_LIMIT


def test_no_loop_of_a_variable_ends_at_the_limit() -> None:
    """`map` and its like have none."""
    for name, text in BICEP.items():
        assert not re.search(r"^var \w+ = \[\s*for ", text, re.MULTILINE), name


def test_the_docs_name_every_role_that_is_granted() -> None:
    names = {role.name for snapshot in SNAPSHOTS.values() for role in snapshot.roles}
    assert set(BUILT_IN.values()) < names
    for name in names:
        assert f"| {name} |" in AZURE


def test_the_identity_can_neither_delete_nor_purge_a_secret_nor_list_what_it_was_not_given() -> None:
    granted = {}
    for each in PLAIN.of_kind("Authorization/roleDefinitions"):
        (permissions,) = each["properties"]["permissions"]
        assert permissions["actions"] == []
        granted[re.findall(r": (\w+)", each["properties"]["roleName"])[0]] = permissions["dataActions"]
    of_secrets = "Microsoft.KeyVault/vaults/secrets"
    assert granted == {
        "read": [f"{of_secrets}/getSecret/action"],
        "keep": [
            f"{of_secrets}/{each}/action" for each in ("getSecret", "readMetadata", "recover", "setSecret", "update")
        ],
    }


@pytest.mark.parametrize("snapshot", SNAPSHOTS.values(), ids=SNAPSHOTS.keys())
def test_no_template_parameter_or_output_holds_a_secret(snapshot: Snapshot) -> None:
    assert snapshot.of_kind("KeyVault/vaults/secrets") == [], "a deployment would overwrite a secret"
    names = [*PARAMETERS, *snapshot.document["outputs"], *snapshot.settings]
    assert not [name for name in names if re.search(r"(?i)password|client_?secret|key$", name)]
    for name, text in BICEP.items():
        assert not re.search(r"listKeys|getSecret\(|accountKey|SharedAccessKey", text), name


def choices() -> dict[str, str]:
    """The variables of an environment that reach the template, each with its default; azd itself sets who deploys."""
    found = {}
    for name, entry in PARAMETERS.items():
        variable = re.fullmatch(r"\$\{([A-Z_]+)(?:=(.*))?\}", entry["value"])
        assert variable is not None, name
        found[variable[1]] = variable[2] or ""
    return {name: found[name] for name in found if not name.startswith("AZURE_PRINCIPAL")}


def test_parameters_come_from_the_environment_and_agree_with_the_template() -> None:
    declared = dict(re.findall(r"^param (\w+) \w+(?: = (.+))?$", BICEP["main.bicep"], re.MULTILINE))
    for name, entry in PARAMETERS.items():
        _, _, given = entry["value"].strip("${}").partition("=")
        assert declared[name].strip("'") == given, name


def test_a_deployment_from_the_pipeline_is_given_every_choice() -> None:
    """One that is left out would fall back to its default, and take back what was chosen on a laptop."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "deploy.yml").read_text("utf-8"))
    given = workflow["jobs"]["deploy"]["env"]
    for name in choices().keys() - {"RUNBOOK_URL"}:
        assert given[name] == f"${{{{ vars.{name} }}}}"
    assert "RUNBOOK_URL" in given
    assert given["AZURE_PRINCIPAL_TYPE"] == "ServicePrincipal"


def test_the_docs_name_every_choice() -> None:
    section = AZURE.split("### What can be chosen")[1].split("\n## ")[0]
    table = "\n".join(line for line in section.splitlines() if line.startswith("| `"))
    named = {name for line in table.splitlines() for name in re.findall(r"`([A-Z_]+)`", line.split("|")[1])}
    assert choices().keys() - {"AZURE_ENV_NAME", "AZURE_LOCATION"} == named


def test_ten_lines_lead_from_a_clone_to_a_first_refresh() -> None:
    section = (ROOT / "README.md").read_text("utf-8").split("## Deploy")[1]
    assert len(section.split("```")[1].strip().splitlines()[1:]) == 10


def test_the_docs_set_choices_and_ask_for_outputs_that_there_are() -> None:
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")))
    assert set(re.findall(r"azd env set ([A-Z_]+)", text)) - {"NAME"} <= choices().keys()
    asked = set(re.findall(r"azd env get-value ([A-Z_]+)", text))
    assert asked
    assert asked <= PLAIN.document["outputs"].keys()


@pytest.mark.parametrize("snapshot", SNAPSHOTS.values(), ids=SNAPSHOTS.keys())
def test_flex_consumption_is_sent_nothing_that_it_refuses(snapshot: Snapshot) -> None:
    """It ends a deployment over what it does not know (51021), in some regions only; the compiler lets it pass."""
    app = snapshot.one("Web/sites")
    assert app["siteConfig"].keys() <= ACCEPTED_BY_FLEX
    assert {"containerSize", "dailyMemoryTimeQuota", "vnetRouteAllEnabled"}.isdisjoint(app)
    assert not [name for name in snapshot.settings if REFUSED_SETTINGS.fullmatch(name)]
    assert app["functionAppConfig"]["runtime"] == {"name": "python", "version": "3.13"}


@pytest.mark.parametrize("snapshot", [PLAIN, EVERYTHING])
def test_there_are_no_passwords_and_no_shared_keys_and_the_vault_cannot_be_purged(snapshot: Snapshot) -> None:
    account = snapshot.one("Storage/storageAccounts")
    assert (account["allowSharedKeyAccess"], account["allowBlobPublicAccess"]) == (False, False)
    assert snapshot.one("Insights/components")["DisableLocalAuth"] is True
    assert snapshot.one("Web/sites")["httpsOnly"] is True
    for name in ("/ftp", "/scm"):
        assert snapshot.one("Web/sites/basicPublishingCredentialsPolicies", name)["allow"] is False
    for vault in snapshot.of_kind("KeyVault/vaults"):
        for promise in ("enableRbacAuthorization", "enableSoftDelete", "enablePurgeProtection"):
            assert vault["properties"][promise] is True


def test_with_a_private_network_vault_and_storage_have_no_public_way() -> None:
    private = SNAPSHOTS["private-network"]
    for kind in ("KeyVault/vaults", "Storage/storageAccounts"):
        assert private.one(kind)["publicNetworkAccess"] == "Disabled"
        assert private.one(kind)["networkAcls"]["defaultAction"] == "Deny"
    assert len(private.of_kind("Network/privateEndpoints")) == 3
    assert private.one("Web/sites")["virtualNetworkSubnetId"].endswith("/subnets/app")


def test_no_cloud_is_hard_coded() -> None:
    for name, text in BICEP.items():
        assert not re.search(r"windows\.net|azure\.net|azure\.com|usgovcloudapi|azure\.us", text), name
