"""What the deployment grants, refuses and sets; names and types of properties are checked by `make infra`."""

import json
import re

import yaml

from refresher.settings.load import load_settings
from tests.infra.bicep import FILES, INFRA, module, parameters, parsed, resource, resources

BUILT_IN = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
}
TEXT = {path.name: path.read_text("utf-8") for path in FILES}


def role_of(file: str, variable: str) -> str:
    """The name of a role, by the variable or the parameter that a role assignment gives."""
    found = parsed(INFRA / "app" / file).get("variables", {}).get(variable)
    if found is None:
        return variable
    return BUILT_IN[found["value"]["function"]["parameters"]["resource_name_1"]]


def scope_of(scope: object) -> str:
    if isinstance(scope, str):
        return scope
    operands = scope["operator"]["operands"]  # type: ignore[index]
    return f"each {operands['operand_1']}"


def test_every_role_is_on_the_smallest_scope_that_needs_it() -> None:
    granted = {
        (
            each.file,
            each.properties["principalId"],
            scope_of(each.body["scope"]),
            role_of(each.file, each.properties["roleDefinitionId"]),
        )
        for each in resources()
        if each.kind.endswith("/roleAssignments")
    }
    app, operator = "principalId", "operatorId"
    assert granted == {
        ("access.bicep", app, "each readable", "readRoleId"),
        ("access.bicep", app, "each writable", "writeRoleId"),
        ("monitoring.bicep", app, "applicationInsights", "Monitoring Metrics Publisher"),
        ("operator.bicep", operator, "vault", "Key Vault Secrets Officer"),
        ("storage.bicep", app, "each hostContainer", "Storage Blob Data Owner"),
        ("storage.bicep", app, "deployments", "Storage Blob Data Contributor"),
        ("storage.bicep", app, "leases", "Storage Blob Data Contributor"),
        ("storage.bicep", operator, "leases", "Storage Blob Data Contributor"),
        ("storage.bicep", app, "queue", "Storage Queue Data Contributor"),
        ("storage.bicep", app, "poisonQueue", "Storage Queue Data Contributor"),
    }


def test_the_docs_name_every_role_that_is_granted() -> None:
    table = (INFRA.parent / "docs" / "azure.md").read_text("utf-8")
    for name in BUILT_IN.values():
        assert f"| {name} |" in table
    for name in ("read a secret", "keep a secret"):
        assert f"| ServiceNow token refresher: {name} |" in table


def actions_of(role: str) -> set[str]:
    (permissions,) = resource("main.bicep", role).properties["permissions"]
    assert permissions["actions"] == []
    return {action.removeprefix("Microsoft.KeyVault/vaults/secrets/") for action in permissions["dataActions"]}


def test_the_identity_can_neither_delete_nor_purge_a_secret_nor_list_what_it_was_not_given() -> None:
    assert actions_of("secretReader") == {"getSecret/action"}
    assert actions_of("secretWriter") == {
        "getSecret/action",
        "setSecret/action",
        "update/action",
        "readMetadata/action",
        "recover/action",
    }


def test_in_simple_chats_vault_the_named_targets_alone_are_granted() -> None:
    params = module("simpleChatAccess")["params"]
    assert params["vaultName"] == "simpleChatVaultName"
    assert params["readableSecrets"] == []
    assert params["writableSecrets"] == "simpleChatTargets"


def test_no_template_parameter_or_output_holds_a_secret() -> None:
    written = [each for each in resources() if each.kind.endswith("vaults/secrets")]
    assert len(written) == 2
    assert all(each.existing for each in written), "a deployment would overwrite a secret"
    for name, text in TEXT.items():
        assert not re.search(r"listKeys|getSecret\(|@secure|accountKey|SharedAccessKey", text), name
    settings = resource("api.bicep", "settings").properties
    assert not [name for name in settings if re.search(r"(?i)password|client_?secret|key$", name)]
    document = json.loads((INFRA / "main.parameters.json").read_text("utf-8"))
    assert not [name for name in document["parameters"] if re.search(r"(?i)password|client_?secret", name)]


def test_parameters_come_from_the_environment_and_agree_with_the_template() -> None:
    document = json.loads((INFRA / "main.parameters.json").read_text("utf-8"))
    known = parameters()
    for name, entry in document["parameters"].items():
        assert name in known, name
        variable = re.fullmatch(r"\$\{[A-Z_]+(?:=(.*))?\}", entry["value"])
        assert variable is not None, name
        expected = known[name]["default"]
        if expected is not None:
            assert (variable[1] or "") == (str(expected).lower() if expected in {True, False} else str(expected)), name


def choices() -> set[str]:
    """The variables of an environment that reach the template; azd itself sets who deploys."""
    text = (INFRA / "main.parameters.json").read_text("utf-8")
    return set(re.findall(r"\$\{([A-Z_]+)", text)) - {"AZURE_PRINCIPAL_ID", "AZURE_PRINCIPAL_TYPE"}


def test_a_deployment_from_the_pipeline_is_given_every_choice() -> None:
    """One that is left out would fall back to its default, and take back what was chosen on a laptop."""
    workflow = yaml.safe_load((INFRA.parent / ".github" / "workflows" / "deploy.yml").read_text("utf-8"))
    given = workflow["jobs"]["deploy"]["env"]
    assert choices() <= set(given)
    for name in choices() - {"RUNBOOK_URL"}:
        assert given[name] == f"${{{{ vars.{name} }}}}"
    assert given["AZURE_PRINCIPAL_TYPE"] == "ServicePrincipal"


def test_the_docs_name_every_choice() -> None:
    section = (
        (INFRA.parent / "docs" / "azure.md").read_text("utf-8").split("### What can be chosen")[1].split("\n## ")[0]
    )
    named = set(re.findall(r"`([A-Z_]+)`", section))
    assert choices() - {"AZURE_ENV_NAME", "AZURE_LOCATION"} == named


def test_ten_lines_lead_from_a_clone_to_a_first_refresh() -> None:
    section = (INFRA.parent / "README.md").read_text("utf-8").split("## Deploy")[1]
    assert len(section.split("```")[1].strip().splitlines()[1:]) == 10


def test_the_docs_set_choices_and_ask_for_outputs_that_there_are() -> None:
    documents = [INFRA.parent / "README.md", *(INFRA.parent / "docs").rglob("*.md")]
    text = "\n".join(path.read_text("utf-8") for path in documents)
    assert set(re.findall(r"azd env set ([A-Z_]+)", text)) - {"NAME"} <= choices()
    outputs = set(parsed(INFRA / "main.bicep")["outputs"])
    asked = set(re.findall(r"azd env get-value ([A-Z_]+)", text))
    assert asked
    assert asked <= outputs


def test_the_app_understands_the_settings_as_a_deployment_writes_them() -> None:
    """Bicep writes a truth value as `False`, and Key Vault's address with a slash at its end."""
    settings = load_settings(
        {
            "KEY_VAULT_URL": "https://kv-example.vault.azure.net/",
            "SERVICENOW_INSTANCE_URL": "https://example.service-now.com",
            "SERVICENOW_ALLOW_CUSTOM_HOST": "False",
            "SERVICENOW_CONNECTIONS": "",
            "SERVICENOW_REFRESH_TOKEN_LIFETIME": "8640000",
            "LEASE_CONTAINER_URL": "https://stexample.blob.core.windows.net/leases",
            "PUBLISH_TO": "servicenow--action--global--oauth-token,"
            "https://kv-chat.vault.usgovcloudapi.net/secrets/servicenow--action--global--oauth-token",
        }
    )
    assert settings.vault_url == "https://kv-example.vault.azure.net"


def test_storage_and_telemetry_know_no_shared_keys_and_the_vault_cannot_be_purged() -> None:
    account = resource("storage.bicep", "account").properties
    assert account["allowSharedKeyAccess"] is False
    assert account["allowBlobPublicAccess"] is False
    assert resource("monitoring.bicep", "applicationInsights").properties["DisableLocalAuth"] is True
    vault = resource("vault.bicep", "vault").properties
    assert (vault["enableRbacAuthorization"], vault["enableSoftDelete"], vault["enablePurgeProtection"]) == (
        True,
        True,
        True,
    )


def test_the_app_is_reached_by_tls_alone_and_deployed_without_a_password() -> None:
    app = resource("api.bicep", "app").properties
    assert app["httpsOnly"] is True
    assert app["siteConfig"]["minTlsVersion"] == "1.2"
    assert app["siteConfig"]["ftpsState"] == "Disabled"
    assert app["functionAppConfig"]["runtime"] == {"name": "python", "version": "3.13"}
    for name in ("ftpCredentials", "scmCredentials"):
        assert resource("api.bicep", name).properties["allow"] is False


def test_no_cloud_is_hard_coded() -> None:
    for name, text in TEXT.items():
        assert not re.search(r"windows\.net|azure\.net|azure\.com|usgovcloudapi|azure\.us", text), name


def test_every_skipped_check_is_explained() -> None:
    for name, text in TEXT.items():
        for line in text.splitlines():
            if "checkov:skip" in line:
                assert re.search(r"checkov:skip=CKV_AZURE_\d+: \w.{30,}", line), f"{name}: {line}"


def test_only_what_the_checkers_parser_knows_is_used() -> None:
    for name, text in TEXT.items():
        assert not re.search(r"^(import|type|func|using) ", text, re.MULTILINE), name
