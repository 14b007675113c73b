"""Warnings in time: each by its boundary, with the day and the next step."""

from datetime import timedelta

import pytest

from refresher.keyvault.key_errors import key_missing
from refresher.model.connection import Connection
from refresher.model.report import WarningCode
from refresher.model.stored import KeyLife
from refresher.policy.forecast import foresee, lost_tags
from tests.factories import HOUR, MINUTE, NOON, SECOND, TIMING, connection, stored_access_token, target

DAY = timedelta(days=1)
ENDING, SOON, STOPS = (
    WarningCode.REFRESH_TOKEN_ENDING,
    WarningCode.REFRESH_TOKEN_ENDING_SOON,
    WarningCode.STOPS_WITHOUT_A_PERSON,
)
ALONE = connection()
WITH_PASSWORD = connection(SERVICENOW_FALLBACK_GRANT="password")
SIGNED = connection(SERVICENOW_GRANT="jwt_bearer", SERVICENOW_JWT='{"sub": "x"}')


@pytest.mark.parametrize(
    ("lifetime", "remaining", "code"),
    [
        (100 * DAY, 100 * DAY, STOPS),
        (100 * DAY, 14 * DAY + SECOND, STOPS),
        (100 * DAY, 14 * DAY, ENDING),
        (100 * DAY, 3 * DAY + SECOND, ENDING),
        (100 * DAY, 3 * DAY, SOON),
        (100 * DAY, SECOND, SOON),
        (DAY, 6 * HOUR + SECOND, STOPS),
        (DAY, 6 * HOUR, ENDING),
        (DAY, 144 * MINUTE + SECOND, ENDING),
        (DAY, 144 * MINUTE, SOON),
    ],
)
def test_the_end_of_a_refresh_token_comes_nearer(lifetime: timedelta, remaining: timedelta, code: WarningCode) -> None:
    """14 and 3 days before, or in the last quarter and tenth of a life that is shorter than that."""
    now = NOON + lifetime - remaining
    (warning,) = foresee(ALONE, None, (NOON, NOON + lifetime), TIMING, now)
    assert warning.code is code
    assert f"{NOON + lifetime:%Y-%m-%d %H:%M} UTC" in warning.message
    assert warning.hint == (
        "Before then: python -m refresher authorize servicenow --grant password. "
        "Or set SERVICENOW_FALLBACK_GRANT, so that nobody has to."
    )


@pytest.mark.parametrize(
    ("rest", "code"),
    [
        (14 * DAY + SECOND, None),
        (14 * DAY, WarningCode.SIGNING_KEY_ENDING),
        (3 * DAY + SECOND, WarningCode.SIGNING_KEY_ENDING),
        (3 * DAY, WarningCode.SIGNING_KEY_ENDING_SOON),
        (-DAY, WarningCode.SIGNING_KEY_ENDING_SOON),
        (None, WarningCode.SIGNING_KEY_END_UNKNOWN),
    ],
)
def test_the_end_of_a_key_that_signs_comes_nearer(rest: timedelta | None, code: WarningCode | None) -> None:
    """And where it has no date, nobody says that all is well."""
    key = KeyLife(name="signer", expires_on=NOON + rest if rest is not None else None)
    warnings = foresee(SIGNED, None, None, TIMING, NOON, key=key)
    assert [warning.code for warning in warnings] == ([code] if code else [])
    for each in warnings:
        if rest is None:
            assert each.message == "when the key signer ends is unknown: it has no expiration date"
            assert each.hint == "Give it that of its certificate, so that there is a warning (docs/keys.md)."
        else:
            ends = f"{NOON + rest:%Y-%m-%d %H:%M} UTC"
            assert each.message == f"the key signer ends on {ends}, and signs nothing from then on"
            assert each.hint == (
                "Renew the certificate, and give ServiceNow the new one before (docs/keys.md, 'Renewal')."
            )


def test_a_target_that_another_publishes_to_is_told_with_that_other() -> None:
    theirs = target(stored_access_token(publisher="b of https://w"))
    (warning,) = foresee(SIGNED, None, None, TIMING, NOON, shared=(theirs,))
    assert warning.code is WarningCode.TARGET_SHARED
    assert warning.message == (
        f"{theirs.target.name} holds a token that another installation published: connection b of https://w"
    )
    assert warning.hint == (
        "Its readers get whichever token came last. Let one of the two publish elsewhere (PUBLISH_TO)."
    )


def test_a_token_that_lost_its_tags_is_told_of() -> None:
    assert lost_tags(None) == lost_tags(stored_access_token()) == ()
    (warning,) = lost_tags(stored_access_token(described=False))
    assert warning.code is WarningCode.TAGS_LOST
    assert warning.message == (
        "the stored token has lost its tags, and is judged by when it was stored and by the secret's expiry"
    )
    assert warning.hint == (
        "Find what takes the tags from this vault's secrets (a copy, a restore, something in front of it): they tell "
        "the user, the age of the refresh token, and how often a password was refused."
    )


def test_a_key_that_cannot_be_used_is_not_foreseen_but_met() -> None:
    assert foresee(SIGNED, None, None, TIMING, NOON, key=key_missing("signer", "https://x.vault.azure.net")) == ()


@pytest.mark.parametrize("late", [timedelta(), 5 * DAY])
def test_an_end_that_has_passed_is_still_said(late: timedelta) -> None:
    """The token may live on where lives slide; nobody knows."""
    (warning,) = foresee(ALONE, None, (NOON, NOON + DAY), TIMING, NOON + DAY + late)
    assert (warning.code, warning.message) == (SOON, "the refresh token's life was to end on 2026-03-02 12:00 UTC")


@pytest.mark.parametrize(
    ("settings", "ready", "warns"),
    [
        (ALONE, False, True),
        (WITH_PASSWORD, True, False),
        (WITH_PASSWORD, False, True),
        (connection(SERVICENOW_GRANT="client_credentials"), False, False),
    ],
)
def test_only_what_nothing_will_replace_is_warned_of(settings: Connection, ready: bool, warns: bool) -> None:
    """A fallback grant that cannot be used is none."""
    found = foresee(settings, None, (NOON, NOON + DAY), TIMING, NOON, fallback_ready=ready)
    assert [warning.code for warning in found] == [STOPS] * warns
    assert all("fallback grant password would do it" in each.hint for each in found if settings is WITH_PASSWORD)
    assert foresee(settings, None, None, TIMING, NOON, fallback_ready=ready) == ()


@pytest.mark.parametrize(
    ("lifetime", "codes"),
    [
        (HOUR, []),
        (10 * MINUTE, []),
        (10 * MINUTE - SECOND, [WarningCode.ACCESS_TOKEN_SHORT]),
        (8 * HOUR, []),
        (8 * HOUR + SECOND, [WarningCode.ACCESS_TOKEN_LONG]),
    ],
)
def test_odd_lives_of_access_tokens(lifetime: timedelta, codes: list[WarningCode]) -> None:
    """Shorter than two ticks, longer than eight hours."""
    found = foresee(ALONE, lifetime, None, TIMING, NOON)
    assert [warning.code for warning in found] == codes
    assert all(f"access tokens live {lifetime.total_seconds():.0f} s" in warning.message for warning in found)
    assert all("Application Registry" in warning.hint for warning in found)
