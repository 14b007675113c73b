"""What each deployment writes into the app's settings and grants, against what the code does with them."""

from datetime import timedelta

import pytest

from refresher.settings.declared import SETTINGS
from refresher.settings.load import Settings, load_settings
from tests.infra.snapshots import PLAIN, SNAPSHOTS, Snapshot

READER = {"ServiceNow token refresher: read a secret", "Key Vault Secrets User"}
WRITER = {"ServiceNow token refresher: keep a secret", "Key Vault Secrets Officer"}
"""The project's own role, and the built-in one in its place."""


SIGNER = "ServiceNow token refresher: sign with a key"


def understood(snapshot: Snapshot) -> Settings:
    return load_settings({spec.name: snapshot.settings[spec.name] for spec in SETTINGS})


def granted(snapshot: Snapshot, roles: set[str]) -> set[tuple[str, str]]:
    """The secrets on which the app has one of these roles, each with its vault's address."""
    found = [
        (f"https://{each.vault}.vault.azure.net", each.secret)
        for each in snapshot.roles
        if each.to == "app" and each.name in roles
    ]
    assert len(set(found)) == len(found), "a role that is assigned twice stops the deployment"
    return set(found)


def test_with_its_defaults_the_template_writes_the_defaults_of_the_code() -> None:
    """What an empty setting means, and how Bicep writes a truth value, is the code's to know."""
    given = PLAIN.settings
    chosen = {"KEY_VAULT_URL", "SERVICENOW_INSTANCE_URL", "LEASE_CONTAINER_URL"}
    assert {spec.name for spec in SETTINGS if spec.required} <= chosen
    assert understood(PLAIN) == load_settings({name: given[name] for name in chosen})
    for spec in SETTINGS:
        if spec.default is not None:
            assert given[spec.name].lower() == spec.default.lower(), spec.name


@pytest.mark.parametrize("name", sorted(SNAPSHOTS.keys() - {"vault-roles"}))
def test_the_identity_may_do_what_the_code_does_and_no_more(name: str) -> None:
    settings = understood(SNAPSHOTS[name])
    own = settings.vault_url
    kept = {
        (own, name)
        for each in settings.connections
        for name in (each.refresh_token_name, each.access_token_name, each.record_name)
        if name in each.own_names
    }
    targets = {(target.vault_url, target.name) for each in settings.connections for target in each.publish_to}
    assert granted(SNAPSHOTS[name], WRITER) == kept | targets
    assert granted(SNAPSHOTS[name], READER) == {(own, n) for c in settings.connections for n in c.own_names} - kept


def test_of_its_keys_the_identity_may_sign_with_those_of_its_own_vault_and_read_them() -> None:
    """A key in another vault gets its role from whoever keeps that vault."""
    (role,) = (
        each["properties"]["permissions"]
        for each in SNAPSHOTS["keys"].of_kind("Authorization/roleDefinitions")
        if each["properties"]["roleName"].startswith(SIGNER)
    )
    assert role == [
        {
            "actions": [],
            "notActions": [],
            "dataActions": ["Microsoft.KeyVault/vaults/keys/read", "Microsoft.KeyVault/vaults/keys/sign/action"],
            "notDataActions": [],
        }
    ]
    found = {(each.vault, each.on.split("/keys/")[1]) for each in SNAPSHOTS["keys"].roles if each.name == SIGNER}
    settings = understood(SNAPSHOTS["keys"])
    keys = [each.signing_key for each in settings.connections if each.signing_key is not None]
    own = {("contoso-tokens", key.name) for key in keys if key.vault_url == settings.vault_url}
    assert found == own == {("contoso-tokens", "signer"), ("contoso-tokens", "signer-rsa")}
    assert len(keys) == len(own) + 1


def test_without_a_key_that_signs_there_is_no_role_for_one() -> None:
    named = [each["properties"]["roleName"] for each in PLAIN.of_kind("Authorization/roleDefinitions")]
    assert [name for name in named if name.startswith(SIGNER)] == []


def test_with_roles_on_the_vault_there_is_one_instead_of_nine() -> None:
    assert granted(SNAPSHOTS["vault-roles"], WRITER) == {(understood(SNAPSHOTS["vault-roles"]).vault_url, "")}
    assert granted(SNAPSHOTS["vault-roles"], READER) == set()


@pytest.mark.parametrize("name", SNAPSHOTS)
def test_the_dead_mans_switch_waits_for_two_ticks_of_the_schedule(name: str) -> None:
    query = SNAPSHOTS[name].one("Insights/scheduledQueryRules", "RefreshMissing")["criteria"]["allOf"][0]["query"]
    minutes = 2 * understood(SNAPSHOTS[name]).tick / timedelta(minutes=1)
    assert f"where minutes_without > {minutes:.0f}" in query
