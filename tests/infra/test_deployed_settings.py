"""What a deployment with given parameters writes into the app's settings and grants, against what the code does."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import pytest

from refresher.settings.declared import SETTINGS
from refresher.settings.load import Settings, load_settings
from tests.infra.bicep import INFRA, module, parameters, parsed, resource
from tests.infra.evaluate import evaluate, with_variables

MAIN = parsed(INFRA / "main.bicep")
INSTANCE = "https://contoso.service-now.com"
OWN, CHAT = "https://kv-own.vault.azure.net", "https://kv-chat.vault.azure.net"


class Outputs(dict[str, str]):
    """What a module would answer; where the answer does not matter, any text."""

    def __missing__(self, name: str) -> str:
        return f"its {name}"


KNOWN = {
    "access": {"vaultUri": f"{OWN}/"},
    "storage": {"leaseContainerUrl": "https://st.blob.core.windows.net/leases"},
}
ELSEWHERE = {
    **{name: {"outputs": Outputs(KNOWN.get(name, {}))} for name in MAIN["modules"]},
    "abbreviations": json.loads((INFRA / "abbreviations.json").read_text("utf-8")),
    "environment": {"suffixes": {"keyvaultDns": ".vault.azure.net"}},
    "group": {"name": "rg"},
    "token": "token",
}
"""What the modules and Azure itself would answer."""
ASSETS = {"instance_url": INSTANCE}
OURS = [spec.name for spec in SETTINGS]


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """What a deployment leads to."""

    environ: Mapping[str, str]
    read: frozenset[str]
    written: frozenset[str]
    written_in_chat: frozenset[str]
    told_to_the_alerts: tuple[str, ...]

    @property
    def settings(self) -> Settings:
        """The settings, as the app understands them."""
        return load_settings(self.environ)


def deploy(**given: object) -> Deployment:
    """Work out the template with these parameters, and the defaults of the others."""
    declared = parameters()
    assert given.keys() <= declared.keys()
    defaults = {name: each["default"] for name, each in declared.items()}
    scope = with_variables(MAIN["variables"], {**defaults, **ELSEWHERE, **given})
    app = {name: evaluate(value, scope) for name, value in module("api")["params"].items()}
    values = resource("api.bicep", "settings").properties
    access, chat = (
        {name: evaluate(each["params"][name], scope) for name in ("readableSecrets", "writableSecrets")}
        for each in (module("access"), module("simpleChatAccess"))
    )
    for granted in (*access.values(), *chat.values()):
        assert len(set(granted)) == len(granted), "a role that is assigned twice stops the deployment"
    return Deployment(
        environ={name: str(evaluate(values[name], app)) for name in OURS},
        read=frozenset(access["readableSecrets"]),
        written=frozenset(access["writableSecrets"]),
        written_in_chat=frozenset(chat["writableSecrets"]),
        told_to_the_alerts=tuple(evaluate(module("alerts")["params"]["connectionNames"], scope)),
    )


SEVERAL = {"assets": ASSETS, "incidents": {**ASSETS, "publish_to": f"tickets,{CHAT}/secrets/incidents-token"}}
DEPLOYMENTS = {
    "one connection": deploy(instanceUrl=INSTANCE),
    "one, published nowhere else": deploy(instanceUrl=INSTANCE, publishedSecrets=""),
    "one, published into Simple Chat's vault": deploy(
        instanceUrl=INSTANCE,
        publishedSecrets="a,b",
        simpleChatVaultName="kv-chat",
        simpleChatSecrets="servicenow--action--global--oauth-token",
    ),
    "several with their default targets": deploy(connections=json.dumps({"servicenow": ASSETS, "assets": ASSETS})),
    "several with targets of their own": deploy(
        connections=json.dumps(SEVERAL),
        publishedSecrets="tickets",
        simpleChatVaultName="kv-chat",
        simpleChatSecrets="incidents-token",
    ),
}


def test_with_its_defaults_the_template_writes_the_defaults_of_the_code() -> None:
    """What an empty setting means, and how Bicep writes a truth value, is the code's to know."""
    deployed = DEPLOYMENTS["one connection"]
    required = {name: deployed.environ[name] for name in ("KEY_VAULT_URL", "SERVICENOW_INSTANCE_URL")}
    assert {spec.name for spec in SETTINGS if spec.required} == set(required)
    lease = {"LEASE_CONTAINER_URL": deployed.environ["LEASE_CONTAINER_URL"]}
    assert deployed.settings == load_settings({**required, **lease})
    for spec in SETTINGS:
        if spec.default is not None:
            assert deployed.environ[spec.name].lower() == spec.default.lower(), spec.name


def test_what_is_required_has_no_default_that_would_hide_its_absence() -> None:
    bare = deploy()
    assert bare.environ["SERVICENOW_INSTANCE_URL"] == ""
    with pytest.raises(Exception, match="SERVICENOW_INSTANCE_URL"):
        load_settings(bare.environ)


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_identity_may_do_what_the_code_does_and_no_more(name: str) -> None:
    deployed = DEPLOYMENTS[name]
    connections = deployed.settings.connections
    targets = {(target.vault_url, target.name) for each in connections for target in each.publish_to}
    kept = {n for c in connections for n in (c.refresh_token_name, c.access_token_name, c.record_name)}
    assert deployed.written == kept | {target for vault, target in targets if vault == OWN}
    assert deployed.read == {n for each in connections for n in each.own_names} - kept
    assert deployed.written_in_chat == {target for vault, target in targets if vault == CHAT}


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_dead_mans_switch_knows_every_connection(name: str) -> None:
    deployed = DEPLOYMENTS[name]
    assert sorted(deployed.told_to_the_alerts) == sorted(each.name for each in deployed.settings.connections)
