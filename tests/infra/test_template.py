"""What the deployments grant, refuse and set; what the compiler itself judges is left to `make infra`."""

import json
import re
from collections import Counter
from pathlib import Path

import pytest
import yaml

from infra.check import digest, find_compiler
from refresher.settings.declared import SETTINGS
from tests.infra.snapshots import BUILT_IN, EVERYTHING, PLAIN, ROOT, SNAPSHOTS, Role, Snapshot

BICEP = {path.name: path.read_text("utf-8") for path in (ROOT / "infra").rglob("*.bicep")}
PARAMETERS = json.loads((ROOT / "infra" / "main.parameters.json").read_text("utf-8"))["parameters"]
AZURE = (ROOT / "docs" / "azure.md").read_text("utf-8")
ACCEPTED_BY_FLEX = {
    "alwaysOn",
    "cors",
    "ipSecurityRestrictions",
    "ipSecurityRestrictionsDefaultAction",
    "minTlsVersion",
}
"""Site configuration of first-party templates for the plan; CORS and addresses as azurerm sends them."""
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
        ("app", "st", "Storage Blob Data Reader"),
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
    assert {role.vault for role in snapshot.roles if role.to == "who deploys" and role.vault} <= made


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
    section = " ".join(AZURE.split("## Who may do what")[1].split("\n## ")[0].split())
    assert "ServiceNow token refresher: " in section, "what the names of the project's own begin with"
    assert {name for name in names if name.removeprefix("ServiceNow token refresher: ") not in section} == set()


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
    names = [*(PARAMETERS.keys() - {"statusKey"}), *snapshot.document["outputs"], *snapshot.settings]
    assert not [name for name in names if re.search(r"(?i)password|client_?secret|key$", name)]
    for name, text in BICEP.items():
        assert not re.search(r"listKeys|getSecret\(|accountKey|SharedAccessKey", text), name


def choices() -> set[str]:
    """The variables of an environment that reach the template; azd itself sets who deploys."""
    found = {re.findall(r"^\$\{(\w+)", entry["value"])[0] for entry in PARAMETERS.values()}
    return {name for name in found if not name.startswith("AZURE_PRINCIPAL")}


def test_every_parameter_comes_from_the_environment_with_the_default_of_the_template() -> None:
    """A free text has none here: unset it is left out, and empty it is passed on, which may mean "none"."""
    declared = dict(re.findall(r"^param (\w+) \w+(?: = (.+))?$", BICEP["main.bicep"], re.MULTILINE))
    assert declared.keys() == PARAMETERS.keys()
    for name, entry in PARAMETERS.items():
        _, given, value = entry["value"].strip("${}").partition("=")
        assert not given or declared[name].strip("'") == value, name


def test_a_deployment_from_the_pipeline_is_given_every_choice() -> None:
    """One that is left out would fall back to its default, and take back what was chosen on a laptop."""
    workflow = yaml.safe_load((ROOT / ".github" / "workflows" / "azure-dev.yml").read_text("utf-8"))
    given = workflow["jobs"]["deploy"]["env"]
    for name in choices() - {"RUNBOOK_URL", "STATUS_KEY"}:
        assert given[name] == f"${{{{ vars.{name} }}}}"
    assert given["STATUS_KEY"] == "${{ secrets.STATUS_KEY }}"
    assert "RUNBOOK_URL" in given
    assert given["AZURE_PRINCIPAL_TYPE"] == "ServicePrincipal"


def test_the_docs_name_every_choice() -> None:
    section = AZURE.split("## What can be chosen")[1].split("\n## ")[0]
    items = re.findall(r"^- (`[A-Z_]+`.*?): ", section, re.MULTILINE)
    named = {name for item in items for name in re.findall(r"`([A-Z_]+)`", item)}
    (others,) = re.findall(r"^- Every \[setting\]\(settings.md\) but (.+)$", section, re.MULTILINE)
    named |= {spec.name for spec in SETTINGS} - set(re.findall(r"`([A-Z_]+)`", others))
    assert choices() - {"AZURE_ENV_NAME", "AZURE_LOCATION"} == named


def test_ten_lines_lead_from_a_clone_to_a_first_refresh() -> None:
    section = (ROOT / "README.md").read_text("utf-8").split("## Deploy")[1]
    assert len(section.split("```")[1].strip().splitlines()[1:]) == 10


def test_the_docs_set_choices_and_ask_for_outputs_that_there_are() -> None:
    text = "\n".join(path.read_text("utf-8") for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")))
    assert set(re.findall(r"azd env set ([A-Z_]+)", text)) - {"NAME"} <= choices()
    asked = set(re.findall(r"azd env get-value ([A-Z_]+)", text))
    assert asked
    assert asked <= PLAIN.document["outputs"].keys()


@pytest.mark.parametrize("name", sorted(SNAPSHOTS.keys() - {"government"}))
def test_flex_consumption_is_sent_nothing_that_it_refuses(name: str) -> None:
    """It ends a deployment over what it does not know (51021), in some regions only; the compiler lets it pass."""
    snapshot = SNAPSHOTS[name]
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


def test_where_there_is_no_flex_consumption_a_dedicated_plan_runs_the_same() -> None:
    government = SNAPSHOTS["government"]
    app = government.one("Web/sites")
    assert government.of_kind("Web/serverfarms")[0]["sku"] == {"name": "B1", "tier": "Basic"}
    assert app["functionAppConfig"] is None
    assert (app["siteConfig"]["linuxFxVersion"], app["siteConfig"]["alwaysOn"]) == ("Python|3.13", True)
    assert app["siteConfig"]["ftpsState"] == "Disabled"
    told = {name: government.settings[name] for name in government.settings.keys() - PLAIN.settings.keys()}
    assert told["FUNCTIONS_WORKER_RUNTIME"] == "python"
    assert PLAIN.settings.keys() < government.settings.keys()


def test_a_stop_outlives_the_next_provision() -> None:
    disabled = "AzureWebJobs.refresh_tokens.Disabled"
    assert (PLAIN.settings[disabled], EVERYTHING.settings[disabled]) == ("False", "True")
    assert f"--settings {disabled}=true" in (ROOT / "docs" / "runbook" / "stop.md").read_text("utf-8")


def test_in_a_private_network_other_vaults_still_have_addresses() -> None:
    links = SNAPSHOTS["private-network"].of_kind("Network/privateDnsZones/virtualNetworkLinks")
    assert [link["properties"]["resolutionPolicy"] for link in links] == ["NxDomainRedirect"] * 3


def test_what_a_company_has_is_used_and_not_made_again() -> None:
    company = SNAPSHOTS["company"]
    for kind in ("Network/virtualNetworks", "Network/privateDnsZones", "OperationalInsights/workspaces"):
        assert company.of_kind(kind) == []
    assert company.of_kind("Authorization/roleDefinitions") == []
    assert {each["tags"]["costCentre"] for each in company.of_kind("Web/sites")} == {"4711"}
    assert [each["name"] for each in company.of_kind("Resources/resourceGroups")] == ["contoso-integration"]
    zones = [
        config["properties"]["privateDnsZoneId"]
        for group in company.of_kind("Network/privateEndpoints/privateDnsZoneGroups")
        for config in group["properties"]["privateDnsZoneConfigs"]
    ]
    assert len(zones) == 3
    assert all("00000000-0000-0000-0000-000000000004/resourceGroups/rg-dns" in zone for zone in zones)
    assert any("/subscriptions/00000000-0000-0000-0000-000000000003/" in role.on for role in company.roles)


def test_who_is_on_call_reads_no_value_and_calls_the_functions() -> None:
    for name, call in (
        ("doors", "ServiceNow token refresher: call the functions"),
        ("company", "Website Contributor"),
    ):
        granted = {(scope_of(role), role.name) for role in SNAPSHOTS[name].roles if role.to == "on call"}
        assert granted == {("kv", "Key Vault Reader"), ("func", call), ("leases", "Storage Blob Data Reader")}


ALLOWED = {
    "functionapp config appsettings list": {"sites/read", "sites/config/read", "sites/config/list/action"},
    "functionapp function keys list": {"sites/read", "sites/functions/listkeys/action"},
}
"""What Azure asks of whoever types a command of az: reading the settings is a POST, the slots' names a GET."""


def test_who_is_on_call_may_prepare_the_shell_that_the_runbook_starts_from() -> None:
    """And no more: the keys of the whole app, the master key among them, open the host's own administration."""
    page = (ROOT / "docs" / "first-night.md").read_text("utf-8")
    typed = re.findall(r"\baz ([a-z ]+?) --", page)
    roles = SNAPSHOTS["doors"].of_kind("Authorization/roleDefinitions")
    (caller,) = [each["properties"] for each in roles if "call the functions" in each["properties"]["roleName"]]
    (permissions,) = caller["permissions"]
    needed = {f"Microsoft.Web/{action}" for command in typed for action in ALLOWED[command]}
    assert needed | {"Microsoft.Web/sites/functions/read"} == {*permissions["actions"]}
    assert (permissions["dataActions"], permissions["notActions"]) == ([], [])


def test_the_functions_have_the_doors_that_were_chosen() -> None:
    doors, addresses = SNAPSHOTS["doors"], SNAPSHOTS["addresses"]
    assert doors.one("Web/sites")["publicNetworkAccess"] == "Disabled"
    assert len(doors.of_kind("Network/privateEndpoints")) == 1
    assert doors.one("Web/sites/config", "/authsettingsV2")["globalValidation"]["requireAuthentication"] is True
    rules = addresses.one("Web/sites")["siteConfig"]
    assert rules["ipSecurityRestrictionsDefaultAction"] == "Deny"
    assert [rule["ipAddress"] for rule in rules["ipSecurityRestrictions"]] == [
        "203.0.113.7/32",
        "198.51.100.0/24",
        "2001:db8::7/128",
        "2001:db8:1::/48",
    ]


def test_a_fixed_address_to_go_out_from_is_made_and_told() -> None:
    doors = SNAPSHOTS["doors"]
    (app, _) = doors.one("Network/virtualNetworks")["subnets"]
    assert app["properties"]["natGateway"]["id"].endswith(doors.of_kind("Network/natGateways")[0]["name"])
    assert "publicIPAddresses" in doors.document["outputs"]["OUTGOING_ADDRESS"]
    assert PLAIN.document["outputs"]["OUTGOING_ADDRESS"] == ""


def test_the_witness_outside_asks_for_the_status_and_its_key_is_in_no_snapshot() -> None:
    (test,) = EVERYTHING.of_kind("Insights/webtests")
    assert "/api/status" in test["properties"]["Request"]["RequestUrl"]
    assert EVERYTHING.one("Insights/metricAlerts")["criteria"]["failedLocationCount"] == 2
    assert PLAIN.of_kind("Insights/webtests") == []


def test_every_action_of_a_workflow_is_pinned_by_its_digest() -> None:
    for path in (ROOT / ".github" / "workflows").glob("*.yml"):
        for used in re.findall(r"uses: (\S+)", path.read_text("utf-8")):
            assert re.fullmatch(r"[\w/-]+@[0-9a-f]{40}", used), f"{path.name}: {used}"


def test_no_cloud_is_hard_coded() -> None:
    for name, text in BICEP.items():
        assert not re.search(r"windows\.net|azure\.net|azure\.com|usgovcloudapi|azure\.us", text), name
