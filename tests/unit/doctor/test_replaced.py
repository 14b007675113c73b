"""Every credential beside the last success: replaced, as old as it was, or not compared, and then with the reason."""

from datetime import timedelta

from refresher.doctor.replaced import Known, compare
from refresher.keyvault.tags import REFRESH_TOKEN_CONTENT_TYPE, refresh_token_tags
from refresher.model.connection import Connection, JwtClaims, KeyIdentifier
from refresher.model.grants import Grant
from refresher.model.stored import StoredKey, StoredSecret
from refresher.model.tokens import Secret
from tests.factories import NOON, connection

SINCE = NOON
LATER = NOON + timedelta(minutes=10)
NOW = NOON + timedelta(hours=1)
BEFORE = NOON - timedelta(days=1)


def stored(name: str, **changes: object) -> StoredSecret:
    secret = StoredSecret(name=f"servicenow-{name}", version="1", value=Secret("CANARY"), created_on=BEFORE)
    return secret._replace(**changes)  # type: ignore[arg-type]


def judged(
    of: Connection, credentials: dict[str, Known], key: Known | None = None
) -> tuple[list[str], list[str], list[str]]:
    found = compare(of, credentials, key, SINCE, NOW)
    return [each.name for each in found.replaced], list(found.older), list(found.unknown)


def test_all_that_were_replaced_are_named_the_youngest_first() -> None:
    credentials: dict[str, Known] = {
        "client-id": stored("client-id", created_on=LATER),
        "client-secret": stored("client-secret", created_on=LATER + timedelta(minutes=5)),
        "refresh-token": stored("refresh-token"),
    }
    replaced, older, unknown = judged(connection(), credentials)
    assert replaced == ["servicenow-client-secret", "servicenow-client-id"]
    assert (older, unknown) == (["servicenow-refresh-token"], [])


def test_what_was_not_compared_is_named_with_the_reason() -> None:
    credentials: dict[str, Known] = {"client-id": "it cannot be read", "client-secret": stored("x", created_on=None)}
    assert judged(connection(), credentials) == (
        [],
        [],
        [
            "servicenow-client-id (it cannot be read)",
            "servicenow-client-secret (the vault does not say since when it is there)",
            "servicenow-refresh-token (it is not there)",
        ],
    )


def test_a_refresh_token_that_servicenow_gave_was_replaced_by_nobody() -> None:
    """It rotates: the product stored this version after the last success, and its life is as old as it was."""
    tags = refresh_token_tags("servicenow", BEFORE, BEFORE + timedelta(days=100))
    rotated = stored("refresh-token", created_on=LATER, tags=tags, content_type=REFRESH_TOKEN_CONTENT_TYPE)
    by_hand = stored("refresh-token", created_on=LATER)
    others: dict[str, Known] = {name: stored(name) for name in ("client-id", "client-secret")}
    assert judged(connection(), {**others, "refresh-token": rotated})[0] == []
    assert judged(connection(), {**others, "refresh-token": by_hand})[0] == ["servicenow-refresh-token"]


def test_a_write_that_a_run_makes_itself_is_no_replacement() -> None:
    soon = {name: stored(name, created_on=SINCE + timedelta(minutes=1)) for name in ("client-id", "client-secret")}
    assert judged(connection(), {**soon, "refresh-token": stored("refresh-token")})[0] == []


def test_a_key_of_the_vault_is_compared_by_its_version() -> None:
    claims = JwtClaims(subject="somebody", key=KeyIdentifier(vault_url="https://kv.vault.azure.net", name="signer"))
    signing = connection()._replace(grant=Grant.JWT_BEARER, jwt=claims)
    clients: dict[str, Known] = {name: stored(name) for name in ("client-id", "client-secret")}
    key = StoredKey(name="signer", vault_url="https://kv.vault.azure.net", version="2", kind="RSA", created_on=LATER)
    assert judged(signing, clients, key)[0] == ["key signer"]
    assert judged(signing, clients, "key signer in it is disabled")[2] == ["key signer (key signer in it is disabled)"]
    assert judged(signing, clients)[2] == ["key signer (it was not looked at)"]
