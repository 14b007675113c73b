"""How a connection stands, from plain values: state, cause, next step, and what will come of its refresh token."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from refresher.keyvault.found import Overview
from refresher.model.causes import Cause, diagnose
from refresher.model.connection import SecretIdentifier
from refresher.model.errors import VaultError
from refresher.model.report import WarningCode
from refresher.model.steps import Step
from refresher.model.stored import StoredAccessToken, StoredRefreshToken, TargetState
from refresher.policy.record import RefreshRecord
from refresher.status.connection_status import ConnectionStatus, State
from refresher.status.copies import TargetStatus
from refresher.status.health import evaluate
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    TIMING,
    VAULT,
    connection,
    consumer_side,
    refresh_token,
    stored_access_token,
    target,
)

FAILED_ONCE = RefreshRecord(
    last_attempt_at=NOON, last_outcome="kept", last_cause="access_denied", consecutive_failures=1
)
CALLED = replace(FAILED_ONCE, last_outcome="authorization_required", last_cause="refresh_token_refused")
STOPS = "refreshing stops, unless a person runs: python -m refresher authorize servicenow --grant password"
JWT = {"SERVICENOW_JWT": '{"sub": "u"}'}


def status(
    token: StoredAccessToken | None,
    now: datetime = NOON + MINUTE,
    *,
    targets: tuple[TargetState, ...] = (),
    record: RefreshRecord | None = None,
    held: StoredRefreshToken | None = refresh_token(),  # noqa: B008 - a frozen value
    settings: dict[str, str] | None = None,
    ready: bool = True,
    errors: Mapping[SecretIdentifier, VaultError] | None = None,
) -> ConnectionStatus:
    side = consumer_side(token, targets=targets, target_errors=errors or {}, record=record or RefreshRecord())
    found = Overview(side=side, refresh_token=held, fallback_ready=ready)
    return evaluate(connection(**(settings or {})), found, TIMING, now, trial={})


class TestState:
    """The gravest that is true of it."""

    @pytest.mark.parametrize(
        ("age", "state"),
        [
            (timedelta(), State.FRESH),
            (47 * MINUTE, State.FRESH),
            (48 * MINUTE, State.DUE),
            (54 * MINUTE - SECOND, State.DUE),
            (54 * MINUTE, State.EXPIRING),
            (HOUR - SECOND, State.EXPIRING),
            (HOUR, State.EXPIRED),
        ],
    )
    def test_by_age(self, age: timedelta, state: State) -> None:
        found = status(stored_access_token(), NOON + age)
        assert (found.state, found.working) == (state, age < HOUR)

    @pytest.mark.parametrize(
        ("token", "options", "state", "message"),
        [
            (stored_access_token(), {}, State.FRESH, "by its dates the token is fresh"),
            (
                stored_access_token(),
                {"targets": (target(None),)},
                State.DUE,
                "by its dates the token lives, but not every target holds it; the next tick publishes it again",
            ),
            (
                stored_access_token(expires_at=NOON + 9 * MINUTE),
                {},
                State.DUE,
                "by its dates the token lives; the next tick refreshes it",
            ),
            (
                stored_access_token(expires_at=NOON + 2 * MINUTE),
                {},
                State.EXPIRING,
                "by its dates the token lives, but ends before the next tick",
            ),
            (None, {}, State.EXPIRED, "there is no working token"),
            (stored_access_token(expires_at=None), {}, State.EXPIRED, "there is no working token"),
            (
                stored_access_token(),
                {"record": FAILED_ONCE},
                State.FAILING,
                "refreshing fails; by its dates the token still lives",
            ),
            (
                stored_access_token(),
                {"record": replace(FAILED_ONCE, last_cause="publish_failed")},
                State.FAILING,
                "publishing fails; by its dates the token still lives",
            ),
            (
                None,
                {"targets": (target(stored_access_token()),)},
                State.EXPIRED,
                "the connection's own secret holds no token",
            ),
            (None, {"record": FAILED_ONCE}, State.EXPIRED, "there is no working token"),
            (stored_access_token(), {"record": CALLED}, State.AUTHORIZATION_REQUIRED, "a person must authorize again"),
            (stored_access_token(), {"held": None}, State.AUTHORIZATION_REQUIRED, "a person must authorize again"),
        ],
    )
    def test_by_what_is_known(
        self, token: StoredAccessToken | None, options: dict[str, Any], state: State, message: str
    ) -> None:
        found = status(token, **options)
        assert (found.state, found.message) == (state, message)

    @pytest.mark.parametrize(
        "settings", [{"SERVICENOW_GRANT": "client_credentials"}, {"SERVICENOW_FALLBACK_GRANT": "password"}]
    )
    def test_a_connection_that_starts_by_itself_needs_no_refresh_token(self, settings: dict[str, str]) -> None:
        assert status(stored_access_token(), held=None, settings=settings).state is State.FRESH


class TestCauseAndNextStep:
    """The cause of the last failure while it lasts, and the one thing to do."""

    @pytest.mark.parametrize(
        ("token", "options", "cause", "step"),
        [
            (stored_access_token(), {}, None, None),
            (stored_access_token(), {"record": FAILED_ONCE}, Cause.ACCESS_DENIED, None),
            (stored_access_token(), {"record": CALLED}, Cause.REFRESH_TOKEN_REFUSED, None),
            (stored_access_token(), {"held": None}, Cause.REFRESH_TOKEN_MISSING, None),
            (stored_access_token(), {"record": replace(CALLED, last_cause="a word")}, None, None),
            (stored_access_token(), {"record": replace(FAILED_ONCE, consecutive_failures=0)}, None, None),
            (None, {"record": replace(FAILED_ONCE, consecutive_failures=0)}, Cause.ACCESS_DENIED, None),
            (stored_access_token(), {"record": replace(FAILED_ONCE, last_cause="a word")}, None, None),
            (None, {}, None, "python -m refresher refresh servicenow --force"),
            (
                stored_access_token(issued_at=NOON - HOUR, expires_at=NOON + 2 * MINUTE),
                {},
                None,
                "python -m refresher refresh servicenow --force",
            ),
        ],
    )
    def test_they_fit(
        self, token: StoredAccessToken | None, options: dict[str, Any], cause: Cause | None, step: str | None
    ) -> None:
        found = status(token, **options)
        assert found.cause == cause
        assert found.next_step == (diagnose(cause, "servicenow").next_step if cause else step)
        assert found.checks == (diagnose(cause, "servicenow").checks if cause else ())


def test_everything_that_is_known_is_told() -> None:
    other = stored_access_token("CANARY-other")
    targets = (target(stored_access_token(), "good"), target(other, "old"), target(None, "gone"))
    unreadable = target(None, "locked", known=False)
    found = status(
        stored_access_token(recent="50/60"),
        targets=(*targets, unreadable),
        record=replace(FAILED_ONCE, last_attempt_at=NOON + SECOND, consecutive_failures=4),
    )
    assert found.connection == "servicenow"
    assert found.lives == ((NOON - 50 * MINUTE, NOON + 10 * MINUTE), (NOON, NOON + HOUR))
    assert (found.issued_at, found.expires_at, found.refresh_at) == (NOON, NOON + HOUR, NOON + 50 * MINUTE)
    assert found.refresh_token_expires_at == NOON + timedelta(days=100)
    assert (found.last_attempt_at, found.last_outcome, found.consecutive_failures) == (NOON + SECOND, "kept", 4)
    assert found.targets == tuple(
        TargetStatus(name=name, vault_url=VAULT, current=current, working=working)
        for name, current, working in (
            ("good", True, True),
            ("old", False, True),
            ("gone", False, False),
            ("locked", None, None),
        )
    )
    # What fails now, four times in a row, is not foretold for the day on which its refresh token ends.
    assert (found.warnings, found.refresh_token_then) == ((), None)
    once = status(stored_access_token(), record=FAILED_ONCE)
    assert [warning.code for warning in once.warnings] == [WarningCode.STOPS_WITHOUT_A_PERSON]


ENDED = {"issued_at": NOON - HOUR, "expires_at": NOON}


@pytest.mark.parametrize(
    ("token", "state", "current", "working"),
    [
        (stored_access_token(), target(stored_access_token()), True, True),
        (stored_access_token(), target(stored_access_token(expires_at=None)), True, True),
        (stored_access_token(**ENDED), target(stored_access_token(expires_at=None)), True, False),
        (stored_access_token(), target(stored_access_token("CANARY-other")), False, True),
        (stored_access_token(), target(stored_access_token("CANARY-other", **ENDED)), False, False),
        (stored_access_token(), target(stored_access_token("CANARY-other", expires_at=None)), False, False),
        (stored_access_token(), target(None), False, False),
        (stored_access_token(), target(None, known=False), None, None),
        (None, target(stored_access_token()), False, True),
        (None, target(stored_access_token(expires_at=None)), False, False),
    ],
)
def test_a_target_works_by_its_own_dates_or_by_those_of_the_token_that_it_shares(
    token: StoredAccessToken | None, state: TargetState, current: bool | None, working: bool | None
) -> None:
    """And a connection works where its own token does, and no target is known not to."""
    found = status(token, targets=(state, target(stored_access_token(), "good")))
    assert (found.targets[0].current, found.targets[0].working) == (current, working)
    own = token is not None and token.lives_at(NOON + MINUTE)
    assert found.working is (own and working is not False)


def test_a_copy_that_cannot_be_read_says_why_and_leads_to_whoever_can_see_what_the_app_may() -> None:
    state = target(None, "locked", known=False)
    error = VaultError("Key Vault refused it", cause=Cause.VAULT_FORBIDDEN, hint="Give the app's identity the role.")
    found = status(stored_access_token(), targets=(state,), errors={state.target: error})
    assert found.targets[0].remark == "cannot be read: Key Vault refused it"
    assert found.next_step == "What keeps the copy from being read: python -m refresher doctor servicenow"


@pytest.mark.parametrize("age", [timedelta(seconds=20), 2 * MINUTE])
def test_a_token_that_lives_too_short_is_no_reason_to_refresh_by_hand(age: timedelta) -> None:
    """The next one lives as short: what helps is a longer life."""
    found = status(stored_access_token(expires_at=NOON + MINUTE), NOON + age)
    assert str(found.next_step).startswith("Set a longer life (System OAuth > Application Registry")


def test_what_was_refreshed_and_not_published_did_not_end_well() -> None:
    """The token is dated by ServiceNow's answer, which may be a moment later than the run that failed to publish."""
    record = replace(FAILED_ONCE, last_attempt_at=NOON - SECOND, last_outcome="failed", last_cause="publish_failed")
    assert status(stored_access_token(), record=record).last_outcome == "failed"


def test_a_target_that_lacks_the_token_can_be_served_at_once() -> None:
    assert status(stored_access_token(), targets=(target(None),)).next_step == (
        "At once: python -m refresher refresh servicenow"
    )


@pytest.mark.parametrize("record", [CALLED, replace(CALLED, last_cause="a word")])
def test_a_refresh_token_that_a_person_has_to_replace_promises_nothing(record: RefreshRecord) -> None:
    """Neither a day nor a warning of it; its end, as far as it is known, is told."""
    found = status(stored_access_token(), record=record)
    assert (found.refresh_token_then, found.warnings) == (None, ())
    assert found.refresh_token_expires_at == NOON + timedelta(days=100)


def test_what_is_not_known_is_not_told() -> None:
    found = status(
        None, targets=(target(stored_access_token()),), settings={"SERVICENOW_GRANT": "password"}, held=None
    )
    assert found == ConnectionStatus(
        connection="servicenow",
        instance_url="https://x.service-now.com",
        state=State.EXPIRED,
        working=False,
        message="the connection's own secret holds no token",
        next_step=Step("python -m refresher refresh servicenow --force"),
        targets=(TargetStatus(name="copy", vault_url=VAULT, current=False, working=True),),
    )


@pytest.mark.parametrize(
    ("attempted_at", "told"),
    [(None, (NOON, "refreshed")), (NOON, (NOON, "refreshed")), (NOON + SECOND, (NOON + SECOND, "kept"))],
)
def test_the_last_attempt_is_the_later_of_record_and_token(
    attempted_at: datetime | None, told: tuple[datetime, str]
) -> None:
    found = status(stored_access_token(), record=replace(FAILED_ONCE, last_attempt_at=attempted_at))
    assert (found.last_attempt_at, found.last_outcome) == told


@pytest.mark.parametrize(
    ("settings", "ready", "then"),
    [
        (
            {},
            True,
            STOPS,
        ),
        ({"SERVICENOW_FALLBACK_GRANT": "password"}, True, "renewed by grant password from 2026-06-02 12:00 UTC on"),
        (
            {"SERVICENOW_FALLBACK_GRANT": "password"},
            False,
            STOPS,
        ),
        ({"SERVICENOW_FALLBACK_GRANT": "client_credentials"}, True, "tokens come by grant client_credentials"),
        (
            {"SERVICENOW_FALLBACK_GRANT": "jwt_bearer", **JWT},
            False,
            STOPS,
        ),
        ({"SERVICENOW_GRANT": "jwt_bearer", **JWT}, False, "tokens come by grant jwt_bearer"),
    ],
)
def test_what_comes_after_the_refresh_token(settings: dict[str, str], ready: bool, then: str) -> None:
    found = status(stored_access_token(), settings=settings, ready=ready)
    assert found.refresh_token_then == then
    stops = [each.code for each in found.warnings] == [WarningCode.STOPS_WITHOUT_A_PERSON]
    assert stops is (then == STOPS)
    assert status(stored_access_token(), settings=settings, held=None).refresh_token_then is None


@pytest.mark.parametrize("confirmed_at", [None, NOON + MINUTE])
def test_the_life_of_a_token_is_judged_once_it_was_really_issued(confirmed_at: datetime | None) -> None:
    """One that came back again says no more than when it ends."""
    token = stored_access_token(confirmed_at=confirmed_at, expires_at=NOON + 9 * MINUTE)
    codes = [each.code for each in status(token, settings={"SERVICENOW_FALLBACK_GRANT": "password"}).warnings]
    assert codes == ([] if confirmed_at else [WarningCode.ACCESS_TOKEN_SHORT])
    assert status(token._replace(revoked=True), settings={"SERVICENOW_FALLBACK_GRANT": "password"}).warnings == ()
