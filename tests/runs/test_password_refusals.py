"""A password that ServiceNow refuses, tick by tick: bounded, and not given up for a fault that refused everything."""

from datetime import timedelta

import pytest

from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.report import Outcome
from refresher.policy.password_gate import PAUSE, TRIES
from sandbox import Fault, Sandbox
from sandbox.faults import Respond
from sandbox.personality import GENERIC_REFUSAL
from tests.conftest import MakeApp, tick

pytestmark = pytest.mark.wire("any")

PASSWORD = "servicenow-password"
RECORD = "servicenow-refresh-record"
USER = "servicenow.integration"
GENERIC = Respond(401, {"Content-Type": "application/json"}, GENERIC_REFUSAL)


def record_tags(sandbox: Sandbox) -> dict[str, str]:
    """The tags of the record; empty where there is none."""
    record = sandbox.vault.get(RECORD)
    return record.tags if record else {}


def test_a_fault_that_refuses_all_for_nearly_half_an_hour_costs_no_fallback(
    sandbox: Sandbox, make_app: MakeApp
) -> None:
    """And when the refresh token ends days later, the password begins a new life."""
    added = sandbox.add_connection(username=True)
    settings = {"SERVICENOW_FALLBACK_GRANT": "password"}
    tick(make_app(**settings))
    sandbox.clock.advance(timedelta(minutes=55))
    fault = Fault(path="/oauth_token.do", times=None, action=GENERIC)
    sandbox.faults.add(fault)
    sent = [passwords_sent(sandbox, make_app, settings) for _ in range(5)]
    assert sent == [1, 1, 0, 0, 0], "the third try waits"
    assert record_tags(sandbox)["password-refusals"] == "2"
    sandbox.faults.clear()
    assert tick(make_app(**settings)).grant is Grant.REFRESH_TOKEN
    sandbox.clock.advance(timedelta(days=3))
    sandbox.instance.kill_refresh_token(added.refresh_token or "")
    assert tick(make_app(**settings)).grant is Grant.PASSWORD
    assert "password-refusals" not in record_tags(sandbox)


def passwords_sent(sandbox: Sandbox, make_app: MakeApp, settings: dict[str, str]) -> int:
    """How many a tick sends; the next one comes five minutes later."""
    sandbox.log.clear()
    assert tick(make_app(**settings)).outcome is not Outcome.REFRESHED
    sandbox.clock.advance(timedelta(minutes=5))
    return sum(each.grant_type == "password" for each in sandbox.log.select(path="/oauth_token.do"))


def test_a_refresh_token_that_works_forgives_the_password_nothing(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection(username=True)
    sandbox.vault.put(PASSWORD, "CANARY-wrong")
    sandbox.clock.advance(timedelta(days=99))
    app = make_app(SERVICENOW_FALLBACK_GRANT="password")
    for _ in range(6):
        assert tick(app).grant is Grant.REFRESH_TOKEN
        sandbox.clock.advance(timedelta(minutes=50))
    assert sandbox.instance.password_attempts(USER) == TRIES


def test_a_wrong_password_never_locks_the_user(sandbox: Sandbox, make_app: MakeApp) -> None:
    """Again and again a fault refuses the refresh token, and ServiceNow itself the password.

    Once no password is left to be sent, the tick goes on to the refresh token's next try.
    """
    added = sandbox.add_connection(username=True)
    sandbox.vault.put(PASSWORD, "CANARY-wrong")
    app = make_app(SERVICENOW_FALLBACK_GRANT="password")
    outcomes = []
    for _ in range(TRIES + 2):
        sandbox.clock.advance(timedelta(hours=2))
        sandbox.faults.add(Fault(path="/oauth_token.do", times=3, action=GENERIC))
        outcomes.append(tick(app).outcome)
        sandbox.clock.advance(timedelta(minutes=5))
        tick(app)
    assert [each is Outcome.REFRESHED for each in outcomes] == [False] * TRIES + [True] * 2
    assert sandbox.instance.password_attempts(USER) == TRIES
    assert not added.application.user.locked


def test_a_pause_is_said_and_asks_for_nobody(sandbox: Sandbox, make_app: MakeApp) -> None:
    added = sandbox.add_connection(refresh_token=False, username=True)
    sandbox.vault.put(PASSWORD, "CANARY-wrong")
    app = make_app(SERVICENOW_GRANT="password")
    tick(app)
    sandbox.clock.advance(timedelta(minutes=5))
    opens_at = sandbox.clock.now() + PAUSE
    tick(app)
    sandbox.clock.advance(timedelta(minutes=5))
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.PASSWORD_REFUSED)
    assert f"from {opens_at:%H:%M}" in report.message
    assert "servicenow-password" in (report.hint or "")
    assert report.consecutive_failures == 3, "the alert counts it"
    assert record_tags(sandbox)["last-cause"] == "password_refused"
    sandbox.vault.put(PASSWORD, added.application.user.password)
    assert tick(app).outcome is Outcome.REFRESHED
