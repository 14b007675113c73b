"""Warnings in time: in report and log of every refresh."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.report import Outcome, RunRequest, Trigger, WarningCode
from refresher.policy.password_gate import TRIES
from sandbox import PERSONALITIES, Sandbox
from sandbox.personality import Personality
from sandbox.vault import KeyVault
from tests.conftest import CapturedLog, MakeApp, direct, tick
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

DAY = "86400"


def warned(log: CapturedLog) -> list[str]:
    """The codes of the warning events in the log, in their order; the log starts anew."""
    events = [json.loads(line.split(" ", 2)[2]) for line in log.lines if line.startswith("refresher WARNING ")]
    log.lines.clear()
    return [event["warning"] for event in events if event["event"] == "refresh_warning"]


def test_a_set_up_that_will_stop_says_so_with_the_day_from_its_first_run_on(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    sandbox.add_connection("servicenow")
    report = tick(make_app())
    (warning,) = report.warnings
    assert warning.code is WarningCode.STOPS_WITHOUT_A_PERSON
    assert "2026-04-15" in warning.message  # 100 days after the start of the sandbox's clock
    assert "authorize servicenow" in warning.hint
    assert warned(everything_logged) == ["stops_without_a_person"]


def test_a_set_up_that_renews_itself_is_not_warned_of(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection(username=True)
    assert tick(make_app(SERVICENOW_FALLBACK_GRANT="password")).warnings == ()


def test_the_log_repeats_a_warning_that_stands_at_each_refresh(everything_logged: CapturedLog) -> None:
    _, app = direct()
    counts = []
    for _ in range(20):
        report = tick(app)
        counts.append((report.outcome, len(warned(everything_logged))))
        app.clock.sleep(10 * 60)
    assert {*counts} == {(Outcome.REFRESHED, 1), (Outcome.NOT_DUE, 0)}
    assert counts.count((Outcome.REFRESHED, 1)) == 4


def test_the_end_of_a_refresh_token_comes_nearer(sandbox: Sandbox, make_app: MakeApp) -> None:
    """Of a life of one day, the last quarter and the last tenth are warned of."""
    sandbox.instance.personality = PERSONALITIES["refresh_token_of_a_day"]
    sandbox.add_connection("servicenow")
    app = make_app(SERVICENOW_REFRESH_TOKEN_LIFETIME=DAY)
    codes = []
    for hours in (1, 17, 4):
        sandbox.clock.advance(timedelta(hours=hours))
        codes.append([warning.code for warning in tick(app).warnings])
    assert codes == [
        [WarningCode.STOPS_WITHOUT_A_PERSON],
        [WarningCode.REFRESH_TOKEN_ENDING],
        [WarningCode.REFRESH_TOKEN_ENDING_SOON],
    ]


def test_a_life_that_the_settings_underrate_is_found_out(sandbox: Sandbox, make_app: MakeApp) -> None:
    """A refresh token that works past its computed end has a life that slides or is longer: it starts anew."""
    sandbox.add_connection("servicenow")
    app = make_app(SERVICENOW_REFRESH_TOKEN_LIFETIME=DAY)
    sandbox.clock.advance(timedelta(days=2))
    assert tick(app).outcome is Outcome.REFRESHED
    stored = sandbox.vault.get("servicenow-refresh-token")
    assert stored is not None
    assert stored.expires_on == sandbox.clock.now() + timedelta(days=1)
    assert len(sandbox.vault.versions("servicenow-refresh-token")) == 2, "the one by hand, and the proof"


def test_lives_of_the_access_token_that_are_odd_are_said(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection(username=True)
    sandbox.instance.personality = Personality(access_token_lifetime=timedelta(hours=9))
    report = tick(make_app(SERVICENOW_FALLBACK_GRANT="password"))
    assert [warning.code for warning in report.warnings] == [WarningCode.ACCESS_TOKEN_LONG]


class TestAFallbackThatCannotStartANewLife:
    """It is none: the set-up stops on a known day, and says so in the report and in `status`."""

    @pytest.mark.parametrize(
        "happen",
        thinned(
            [
                lambda vault: vault.delete("servicenow-password"),
                lambda vault: vault.delete("servicenow-username"),
                lambda vault: vault.deny("get", "servicenow-password"),
                lambda vault: vault.put("servicenow-password", " "),
            ]
        ),
        ids=["password missing", "user name missing", "password forbidden", "password empty"],
    )
    def test_because_its_credentials_are_not_there(self, happen: Callable[[KeyVault], object]) -> None:
        sandbox, app = direct({"SERVICENOW_FALLBACK_GRANT": "password"}, username=True)
        happen(sandbox.vault)
        self.assert_warned(app)

    def test_because_its_password_was_refused_for_good(self) -> None:
        """Until a newer one is stored."""
        sandbox, app = direct({"SERVICENOW_FALLBACK_GRANT": "password"}, username=True)
        held = sandbox.vault.get("servicenow-password")
        assert held is not None
        sandbox.vault.put(
            "servicenow-refresh-record",
            "The record is in the tags.",
            tags={"refused-password-version": held.version, "password-refusals": str(TRIES)},
        )
        self.assert_warned(app)
        sandbox.vault.put("servicenow-password", held.value)
        (status,) = app.status()
        assert (status.warnings, status.refresh_token_then) == (
            (),
            "renewed by grant password from 2026-04-08 08:00 UTC on",
        )

    def assert_warned(self, app: App) -> None:
        (report,) = app.tick(RunRequest(trigger=Trigger.TIMER))
        (status,) = app.status()
        assert report.outcome is Outcome.REFRESHED
        for (warning,) in (report.warnings, status.warnings):
            assert warning.code is WarningCode.STOPS_WITHOUT_A_PERSON
            assert "2026-04-15" in warning.message
            assert "fallback grant password" in warning.hint
        assert "refreshing stops" in (status.refresh_token_then or "")


def test_an_answer_with_what_remains_of_the_same_token_is_no_short_life() -> None:
    _, app = direct({"SERVICENOW_FALLBACK_GRANT": "password"}, PERSONALITIES["same_token"], username=True)
    first = app.tick(RunRequest(trigger=Trigger.TIMER))
    app.clock.sleep(50 * 60)
    (report,) = app.tick(RunRequest(trigger=Trigger.TIMER))
    assert report.outcome is Outcome.UNCHANGED
    assert [warning.code for warning in (*first[0].warnings, *report.warnings)] == [WarningCode.UNCHANGED]
