"""Renewal by a fallback grant that does not do its part: the refresh token, still good, goes on serving."""

import json
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger, WarningCode
from sandbox import PERSONALITIES, Fault, Personality
from sandbox.direct import DirectSandbox
from sandbox.faults import Respond
from tests.conftest import direct, tick
from tests.names import PASSWORD, REFRESH_TOKEN, TOKEN_ENDPOINT, USER
from tests.sampling import sampled

NEAR_THE_END = timedelta(days=95)
BY_PASSWORD = {"SERVICENOW_FALLBACK_GRANT": "password"}


def runs(sandbox: DirectSandbox, app: App, hours: int) -> list[RunReport]:
    """The reports of every tick of some hours that asked ServiceNow."""
    reports = []
    for _ in range(hours * 12):
        (report,) = app.tick(RunRequest(trigger=Trigger.TIMER))
        sandbox.clock.advance(timedelta(minutes=5))
        if report.outcome is not Outcome.NOT_DUE:
            reports.append(report)
    return reports


@pytest.mark.parametrize("hours", sampled([24, 6], [6]))
def test_a_refused_password_is_sent_four_times_in_a_row_whatever_succeeds_in_between(hours: int) -> None:
    """The refresh token works on, and says nothing of the password: the user is not locked out."""
    sandbox, app = direct(BY_PASSWORD, username=True)
    sandbox.vault.put(PASSWORD, "CANARY-wrong")
    sandbox.clock.advance(NEAR_THE_END)
    reports = runs(sandbox, app, hours=hours)
    assert sandbox.instance.password_attempts(USER) == 4
    assert {(report.outcome, report.grant) for report in reports} == {(Outcome.REFRESHED, Grant.REFRESH_TOKEN)}


@pytest.mark.exhaustive
def test_a_refused_renewal_is_no_failure_while_the_refresh_token_works() -> None:
    """With hours of life left as well as with none: it costs no tick, and calls for nobody."""
    sandbox, app = direct(BY_PASSWORD, PERSONALITIES["eight_hours"], username=True)
    runs(sandbox, app, hours=1)
    sandbox.vault.put(PASSWORD, "CANARY-wrong")
    sandbox.clock.advance(NEAR_THE_END)
    reports = runs(sandbox, app, hours=6)
    assert len(reports) == 8
    assert {(report.outcome, report.grant) for report in reports} == {(Outcome.REFRESHED, Grant.REFRESH_TOKEN)}


@pytest.mark.exhaustive
def test_a_dead_refresh_token_stays_condemned_where_the_fallback_grant_brings_no_new_one() -> None:
    """It is not asked again before each use of the fallback grant."""
    sandbox, app = direct({"SERVICENOW_FALLBACK_GRANT": "client_credentials"})
    runs(sandbox, app, hours=1)
    held = sandbox.vault.get("servicenow-refresh-token")
    assert held is not None
    sandbox.instance.kill_refresh_token(held.value)
    outcomes = [(report.outcome, report.grant, report.attempts) for report in runs(sandbox, app, hours=6)]
    assert outcomes[:2] == [
        (Outcome.KEPT, Grant.REFRESH_TOKEN, 3),
        (Outcome.REFRESHED, Grant.CLIENT_CREDENTIALS, 4),
    ]
    assert set(outcomes[2:]) == {(Outcome.REFRESHED, Grant.CLIENT_CREDENTIALS, 1)}


@pytest.mark.parametrize("hours", sampled([4, 2], [2]))
@pytest.mark.exhaustive
def test_a_success_without_anything_to_put_right_writes_no_record(hours: int) -> None:
    """Refusals that stay remembered are not written again with every refresh."""
    sandbox, app = direct(BY_PASSWORD, username=True)
    sandbox.vault.put(PASSWORD, "CANARY-wrong")
    sandbox.clock.advance(NEAR_THE_END)
    runs(sandbox, app, hours=4)
    sandbox.log.clear()
    assert runs(sandbox, app, hours=hours)
    assert sandbox.log.count(service="vault", method="PATCH") == 0


def test_a_renewal_whose_token_the_api_refuses_does_not_cost_the_refresh_token() -> None:
    """Seven days before the end the password goes first, and brings tokens of a user whom the API refuses."""
    sandbox, app = direct(BY_PASSWORD, Personality(guest=True), username=True)
    good = sandbox.vault.get(REFRESH_TOKEN)
    assert good is not None
    sandbox.clock.advance(timedelta(days=92, hours=23))
    runs(sandbox, app, hours=1)
    guest = sandbox.instance.register("guest").user
    sandbox.vault.put("servicenow-username", "guest")
    sandbox.vault.put(PASSWORD, guest.password)
    reports = runs(sandbox, app, hours=4)
    held = sandbox.vault.get(REFRESH_TOKEN)
    assert held is not None
    assert held.value == good.value
    assert {(report.outcome, report.grant) for report in reports} == {(Outcome.REFRESHED, Grant.REFRESH_TOKEN)}
    assert {warning.code for warning in reports[-1].warnings} == {WarningCode.GRANT_FAILED}


@pytest.mark.parametrize("held", [True, False])
def test_what_a_grant_brings_beside_a_refused_token_replaces_no_refresh_token(*, held: bool) -> None:
    """An old release answers client_credentials with guest's pair; where none is stored, there is none to lose."""
    sandbox, app = direct({"SERVICENOW_GRANT": "client_credentials"}, Personality(guest=True), refresh_token=held)
    brought = json.dumps({"access_token": "CANARY-guest", "refresh_token": "CANARY-guests-own", "expires_in": 1800})
    answer = Respond(200, {"Content-Type": "application/json"}, brought.encode())
    sandbox.faults.add(Fault(path=TOKEN_ENDPOINT, action=answer, times=1))
    report = tick(app)
    stored = sandbox.vault.get(REFRESH_TOKEN)
    assert stored is not None
    assert (stored.value != "CANARY-guests-own") is held
    assert (report.outcome is Outcome.REFRESHED) is held, "the last resort serves in the same run"


def test_what_a_grant_brings_in_an_answer_of_no_other_use_replaces_no_refresh_token() -> None:
    """It can be asked for again, and nobody has tried what came: also where ServiceNow rotates."""
    sandbox, app = direct(BY_PASSWORD, Personality(rotates=True), username=True)
    runs(sandbox, app, hours=1)
    sandbox.clock.advance(NEAR_THE_END)
    answer = Respond(200, {"Content-Type": "application/json"}, b'{"refresh_token": "CANARY-of-a-page"}')
    sandbox.faults.add(Fault(path=TOKEN_ENDPOINT, action=answer, times=1))
    report = tick(app)
    assert (report.outcome, report.grant) == (Outcome.REFRESHED, Grant.REFRESH_TOKEN)
