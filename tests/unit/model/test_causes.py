"""For each cause: what it most likely is, what to check, and one next step, in the terms of those who must act."""

import re

import pytest

from refresher.model.causes import Cause, Kind, diagnose

KINDS = {
    Kind.CALLER: {"bad_request"},
    Kind.PRODUCT: {"settings_invalid", "no_tick", "unexpected"},
    Kind.BUSY: {"lease_held"},
    Kind.AZURE: {
        "identity_unavailable",
        "vault_unavailable",
        "vault_throttled",
        "vault_forbidden",
        "secret_missing",
        "secret_disabled",
        "secret_invalid",
        "signing_key_missing",
        "signing_key_disabled",
        "signing_key_expired",
        "signing_key_unfit",
        "signing_forbidden",
        "lease_stuck",
        "lease_unavailable",
        "publish_failed",
        "refresh_token_not_stored",
        "run_overdue",
    },
    Kind.AWAY: {"instance_unreachable", "instance_timeout", "instance_error", "instance_hibernating"},
    Kind.THROTTLED: {"instance_throttled"},
    Kind.ANSWER: {
        "address_refused",
        "not_a_token",
        "token_rejected",
        "guest_token",
        "unchanged",
        "access_token_refused",
        "entra_refused",
    },
    Kind.REFUSED: {
        "access_denied",
        "invalid_client",
        "invalid_grant",
        "unsupported_grant_type",
        "request_refused",
    },
    Kind.PERSON: {
        "refresh_token_missing",
        "refresh_token_refused",
        "rotated_token_lost",
        "password_refused",
        "authorization_incomplete",
    },
}
STATUSES = {
    Kind.CALLER: 400,
    Kind.PRODUCT: 500,
    Kind.BUSY: 409,
    Kind.AZURE: 503,
    Kind.AWAY: 503,
    Kind.THROTTLED: 503,
    Kind.ANSWER: 502,
    Kind.REFUSED: 502,
    Kind.PERSON: 502,
}


def test_every_cause_is_of_one_kind_which_says_what_a_caller_is_answered() -> None:
    found: dict[Kind, set[str]] = {kind: set() for kind in Kind}
    for cause in Cause:
        found[cause.row.kind].add(cause.value)
    assert found == KINDS
    assert {kind: kind.http_status for kind in Kind} == STATUSES


def test_a_cause_is_found_by_its_code_which_is_its_name() -> None:
    assert [Cause.of(cause.name.lower()) for cause in Cause] == list(Cause)
    assert (Cause.of("no_such_cause"), Cause.of(None)) == (None, None)


def test_waiting_helps_where_nobody_need_act() -> None:
    """A sleeping instance has to be woken; what a person must decide does not decide itself."""
    passing = {cause for cause in Cause if cause.row.passes}
    assert {cause for cause in Cause if cause.row.kind in {Kind.AWAY, Kind.THROTTLED, Kind.BUSY}} - passing == {
        Cause.INSTANCE_HIBERNATING
    }
    assert not {cause for cause in passing if cause.row.kind in {Kind.PERSON, Kind.CALLER}}


def test_what_leaves_the_answer_in_doubt_or_ends_the_refresh_token() -> None:
    assert {cause for cause in Cause if cause.row.ends_refresh_token} == {
        Cause.REFRESH_TOKEN_REFUSED,
        Cause.ROTATED_TOKEN_LOST,
        Cause.REFRESH_TOKEN_NOT_STORED,
    }
    assert {cause for cause in Cause if cause.row.unclear} == {
        Cause.INSTANCE_UNREACHABLE,
        Cause.INSTANCE_TIMEOUT,
        Cause.INSTANCE_ERROR,
        Cause.NOT_A_TOKEN,
    }


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_meaning_something_to_check_and_a_next_step(cause: Cause) -> None:
    found = diagnose(cause, "hr")
    for sentence in (found.meaning, found.next_step):
        assert re.fullmatch(r"[A-Z][^{}]+[A-Za-z.)]", sentence)
    assert found.checks
    for check in found.checks:
        assert len(check) > 10
        assert not re.search(r"[{}]", check)


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (Cause.INVALID_CLIENT, ("Application Registry", "application is active", "hr-client-secret")),
        (Cause.INVALID_GRANT, ("refresh token", "locked out", "Exception on token flow", "JWT verifier map")),
        (Cause.ACCESS_DENIED, ("Exception on token flow", "hr-client-secret", "Manage Tokens", "locked out")),
        (Cause.UNSUPPORTED_GRANT_TYPE, ("glide.oauth.inbound.client.credential.grant_type.enabled",)),
        (Cause.GUEST_TOKEN, ("OAuth Application User",)),
        (Cause.TOKEN_REJECTED, ("user is active", "access policies")),
        (Cause.PASSWORD_REFUSED, ("locked out", "hr-password")),
    ],
)
def test_it_speaks_servicenows_language(cause: Cause, words: tuple[str, ...]) -> None:
    found = diagnose(cause, "hr")
    text = " ".join((found.meaning, *found.checks, found.next_step))
    for each in words:
        assert each in text
