"""Renewal by a fallback grant that does not do its part: the refresh token, still good, goes on serving."""

from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger
from sandbox import PERSONALITIES
from sandbox.direct import DirectSandbox
from tests.conftest import direct
from tests.names import PASSWORD, USER
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
