"""What is believed of a token of Microsoft Entra, and what keeps one from being published."""

import base64
import json
from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from refresher.entra.claims import NotAWorkloadError, accept_token, latest_to_end, read_claims
from refresher.model.errors import IdentityError
from refresher.model.grants import Grant
from refresher.model.stored import StoredAccessToken
from refresher.model.tokens import Secret
from tests.factories import NOON

BEGIN = int(NOON.timestamp())
CLAIMS: dict[str, object] = {
    "aud": "app",
    "iss": "https://sts.windows.net/t/",
    "sub": "s",
    "oid": "s",
    "ver": "1.0",
    "iat": BEGIN,
    "exp": BEGIN + 3600,
}


def token(**changes: object) -> Secret:
    """A token with these claims changed; those that are None left out."""
    claims = {name: value for name, value in {**CLAIMS, **changes}.items() if value is not None}
    body = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    return Secret(f"e30.{body}.CANARY")


def test_age_and_life_are_the_tokens_own() -> None:
    found = accept_token(token(), now=NOON + timedelta(minutes=59))
    assert (found.issued_at, found.lifetime, found.grant) == (NOON, timedelta(hours=1), Grant.ENTRA_ID)


def test_a_beginning_in_the_future_is_now() -> None:
    """The clocks of Entra and of this machine differ by seconds."""
    found = accept_token(token(), now=NOON - timedelta(seconds=3))
    assert (found.issued_at, found.expires_at) == (NOON - timedelta(seconds=3), NOON + timedelta(hours=1))


@pytest.mark.parametrize("seconds", [0, 1, 3600])
def test_one_that_has_ended_is_not_published(seconds: int) -> None:
    with pytest.raises(IdentityError, match="hands out a token that ended at 2026-03-01 13:00:00 UTC") as caught:
        accept_token(token(), now=NOON + timedelta(hours=1, seconds=seconds))
    assert caught.value.transient


STORED = StoredAccessToken(
    value=token(exp=BEGIN + 7200),
    version="v1",
    issued_at=NOON,
    expires_at=NOON + timedelta(hours=2),
    grant=Grant.ENTRA_ID,
)


@pytest.mark.parametrize(
    ("stored", "kept"),
    [
        (STORED, True),
        (None, False),
        (STORED._replace(value=Secret("CANARY-opaque")), False),
        (STORED._replace(revoked=True), False),
        (STORED._replace(expires_at=None), False),
        (STORED._replace(expires_at=NOON + timedelta(hours=1)), False),
        (STORED._replace(value=token(aud="another")), False),
        (STORED._replace(value=token(sub="another", oid="another")), False),
    ],
)
def test_of_two_tokens_that_say_the_same_the_later_end_is_kept(
    stored: StoredAccessToken | None, *, kept: bool
) -> None:
    new = accept_token(token(uti="new"), now=NOON)
    found = latest_to_end(stored, new, None, NOON)
    assert (found.value, found.expires_at) == (
        (STORED.value, STORED.expires_at) if kept else (new.value, new.expires_at)
    )
    assert latest_to_end(stored, new, STORED.value, NOON) == new, "one that is refused is not kept"


def test_idtyp_counts_only_where_it_is_there() -> None:
    assert accept_token(token(idtyp="app"), now=NOON).value
    with pytest.raises(NotAWorkloadError, match="its claim idtyp is not app"):
        accept_token(token(idtyp="user"), now=NOON)


@pytest.mark.parametrize(
    ("changes", "found"),
    [
        ({"scp": "user_impersonation"}, "it has the claim scp, as a person's has"),
        ({"scp": ""}, "it has the claim scp, as a person's has"),
        ({"oid": "o"}, "its claims sub and oid differ"),
        ({"oid": None}, "its claims sub and oid differ"),
        ({"sub": None, "oid": None}, "its claims sub and oid differ"),
        ({"sub": "", "oid": ""}, "its claims sub and oid differ"),
        ({"sub": 7, "oid": 7}, "its claims sub and oid differ"),
        ({"iat": None}, "its claims iat and exp are no life"),
        ({"exp": "soon"}, "its claims iat and exp are no life"),
        ({"exp": True}, "its claims iat and exp are no life"),
        ({"exp": BEGIN}, "its claims iat and exp are no life"),
        ({"exp": BEGIN + 3 * 86400}, "its claims iat and exp are no life"),
        ({"exp": 1e300}, "its claims iat and exp are no life"),
    ],
)
def test_anything_else_is_not_published(changes: dict[str, object], found: str) -> None:
    with pytest.raises(NotAWorkloadError) as caught:
        accept_token(token(**changes), now=NOON)
    assert found in caught.value.message


@pytest.mark.parametrize("value", ["", "opaque", "a.b", "a.!.c", "a.bnVsbA.c", "a.W10.c", "a..c"])
def test_a_token_that_says_nothing_is_not_published(value: str) -> None:
    with pytest.raises(NotAWorkloadError, match="its claims cannot be read"):
        accept_token(Secret(value), now=NOON)


def test_claims_are_shown_cut_short_and_printable() -> None:
    shown = str(read_claims(token(aud="a\nb" + "x" * 500, iss=7, sub=None)))
    assert shown == f"aud ab{'x' * 118}, iss , sub , ver 1.0"


@given(st.text(max_size=60))
def test_any_text_is_a_token_or_none(value: str) -> None:
    told = None
    try:
        accept_token(Secret(value), now=NOON)
    except NotAWorkloadError as error:
        told = error.message
    assert told is not None
