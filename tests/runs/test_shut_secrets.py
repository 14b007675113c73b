"""A secret that somebody disabled, or that this identity may not read: it stops nothing but itself."""

import itertools
import os
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.clock import system_clock
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger, WarningCode
from refresher.policy.password_gate import TRIES
from sandbox import Fault, Personality, Sandbox
from sandbox.direct import DirectSandbox
from sandbox.faults import Action, Respond, Stall
from sandbox.personality import GENERIC_REFUSAL
from sandbox.trial.host import environment
from tests.conftest import direct, status_of, tick
from tests.names import RECORD, TARGET, TOKEN, UNREADABLE, away_from
from tests.sampling import sampled, thinned

UNAUTHENTICATED = Respond(
    401, {"Content-Type": "application/json"}, b'{"error": {"message": "User Not Authenticated"}}'
)

TICK = timedelta(minutes=5)
INTERVAL = timedelta(minutes=50)
GENERIC = Respond(401, {"Content-Type": "application/json"}, GENERIC_REFUSAL)


def disable(sandbox: DirectSandbox, name: str) -> None:
    """Disable the newest version."""
    sandbox.vault.versions(name)[-1].enabled = False


def hide(sandbox: DirectSandbox, name: str) -> None:
    """Let the identity not read it."""
    sandbox.vault.deny("get", name)


def lives(sandbox: DirectSandbox, name: str) -> bool:
    """Whether the newest version holds a token that ServiceNow accepts."""
    held = sandbox.vault.get(name)
    return held is not None and sandbox.instance.is_living_access_token(held.value)


def for_hours(sandbox: DirectSandbox, app: App, hours: int) -> list[RunReport]:
    """What a tick every five minutes reports."""
    reports = []
    for _ in range(hours * 12):
        reports.append(tick(app))
        sandbox.clock.advance(TICK)
    return reports


@pytest.mark.parametrize("shut", thinned([disable, hide]))
@pytest.mark.parametrize("rotates", thinned([False, True]))
def test_a_record_stops_nothing(shut: Callable[[DirectSandbox, str], None], *, rotates: bool) -> None:
    sandbox, app = direct({}, Personality(rotates=rotates))
    sandbox.vault.put(RECORD, "The record is in the tags.")
    shut(sandbox, RECORD)
    reports = for_hours(sandbox, app, 5)
    assert {each.outcome for each in reports} == {Outcome.REFRESHED, Outcome.NOT_DUE}
    assert [each.outcome for each in reports].count(Outcome.REFRESHED) <= 7
    assert lives(sandbox, TOKEN)


def test_a_record_that_can_be_read_and_no_longer_written_stops_nothing() -> None:
    """The refresh token rotates, and can be written: that is what counts."""
    sandbox, app = direct({}, Personality(rotates=True))
    for_hours(sandbox, app, 2)
    sandbox.vault.deny("set", RECORD)
    sandbox.vault.deny("update", RECORD)
    reports = for_hours(sandbox, app, 3)
    assert {each.outcome for each in reports} == {Outcome.REFRESHED, Outcome.NOT_DUE}
    assert lives(sandbox, TOKEN)
    assert any(each.code is WarningCode.RECORD_NOT_WRITTEN for report in reports for each in report.warnings)


@pytest.mark.exhaustive
def test_a_record_that_cannot_be_written_either_stops_nothing() -> None:
    sandbox, app = direct({}, Personality(rotates=True))
    sandbox.vault.put(RECORD, "The record is in the tags.")
    for operation in ("get", "set", "update"):
        sandbox.vault.deny(operation, RECORD)
    for_hours(sandbox, app, 5)
    assert lives(sandbox, TOKEN)


SHUT = list(itertools.product([disable, hide], [(), ("update",), ("update", "set")]))


SHORT = [(disable, (), 3), (hide, ("update", "set"), 1)]


@pytest.mark.parametrize(("shut", "denied", "hours"), sampled([*((*each, 12) for each in SHUT), *SHORT], SHORT))
def test_a_record_that_cannot_be_read_allows_no_more_passwords(
    shut: Callable[[DirectSandbox, str], None], denied: tuple[str, ...], hours: int
) -> None:
    """How often one was refused is learnt from the answer to a change of nothing, or not sent again unless forced."""
    sandbox, app = direct({"SERVICENOW_GRANT": "password"}, refresh_token=False, username=True)
    sandbox.vault.put(RECORD, "The record is in the tags.")
    for operation in denied:
        sandbox.vault.deny(operation, RECORD)
    shut(sandbox, RECORD)
    sandbox.faults.add(Fault(path="/oauth_token.do", times=None, action=GENERIC))
    for_hours(sandbox, app, hours)
    assert sandbox.log.count(path="/oauth_token.do") == (0 if denied else TRIES)
    sandbox.faults.clear()
    (report,) = app.refresh(["servicenow"], RunRequest(trigger=Trigger.CLI, force=True))
    assert report.outcome is Outcome.REFRESHED
    assert lives(sandbox, TARGET)


ANSWERED = [each for each in UNREADABLE if each != Stall()]
"""In this sandbox reads come one after the other, and while nothing has answered yet, the first may take its time."""
WAYS = [
    (name, away, force)
    for name, ways in ((RECORD, UNREADABLE), (TOKEN, UNREADABLE), (TARGET, ANSWERED))
    for away in ways
    for force in (False, True)
]


@pytest.mark.parametrize(("name", "away", "force"), thinned(WAYS, 20))
def test_one_that_cannot_be_read_for_whatever_reason_stops_nothing(name: str, away: Action, *, force: bool) -> None:
    """Nor does it eat the time of the run: the vault answers for all others."""
    sandbox, app = direct({}, Personality(rotates=True))
    tick(app)
    sandbox.clock.advance(INTERVAL)
    sandbox.faults.add(away_from(name, away))
    began = sandbox.clock.now()
    first = tick(app, force=force)
    assert first.outcome is Outcome.REFRESHED
    assert sandbox.clock.now() - began < timedelta(seconds=30)
    reports = for_hours(sandbox, app, 3)
    assert lives(sandbox, TOKEN)
    assert lives(sandbox, TARGET)
    assert all(each.working for each in reports)
    assert sandbox.log.count(path="/oauth_token.do") <= 7


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", [TOKEN, TARGET])
def test_nor_does_one_that_hangs_where_they_are_read_side_by_side(real_time: Sandbox, name: str) -> None:
    """As in production, by the real clock."""
    real_time.add_connection()
    settings = {**real_time.environ(), "PUBLISH_TO": TARGET if name == TARGET else ""}
    with environment(settings), closing(App(os.environ, system_clock())) as app:
        assert tick(app).outcome is Outcome.REFRESHED
        real_time.faults.add(away_from(name, Stall()))
        report = tick(app, force=True)
    assert report.outcome is Outcome.REFRESHED
    assert report.duration_ms < 30_000


@pytest.mark.parametrize("away", thinned(ANSWERED))
def test_a_token_without_a_copy_that_cannot_be_read_is_renewed_once_in_each_interval(away: Action) -> None:
    sandbox, app = direct({"PUBLISH_TO": ""})
    tick(app)
    sandbox.faults.add(away_from(TOKEN, away))
    for_hours(sandbox, app, 4)
    assert 5 <= sandbox.log.count(path="/oauth_token.do") <= 7
    assert lives(sandbox, TOKEN)
    assert status_of(app).working is None, "nobody can say"


@pytest.mark.parametrize(("name", "other"), thinned([(TOKEN, TARGET), (TARGET, TOKEN)]))
@pytest.mark.exhaustive
def test_a_token_that_was_disabled_is_left_alone_and_all_others_go_on(name: str, other: str) -> None:
    sandbox, app = direct({})
    tick(app)
    disable(sandbox, name)
    before = sandbox.vault.versions(name)
    reports = for_hours(sandbox, app, 5)
    assert sandbox.vault.versions(name) == before
    assert lives(sandbox, other)
    assert sandbox.log.count(path="/oauth_token.do") <= 8
    assert all(each.working is False for each in reports)
    assert all(each.outcome is Outcome.KEPT for each in reports)
    assert "is disabled" in reports[0].message
    assert "set-attributes" in (reports[0].hint or "")


def test_force_writes_a_new_version() -> None:
    sandbox, app = direct({})
    tick(app)
    disable(sandbox, TOKEN)
    sandbox.clock.advance(INTERVAL)
    (report,) = app.refresh(["servicenow"], RunRequest(trigger=Trigger.CLI, force=True))
    assert report.outcome is Outcome.REFRESHED
    assert lives(sandbox, TOKEN)
    assert tick(app).working is True


@pytest.mark.exhaustive
def test_where_no_date_can_be_read_there_is_one_refresh_in_each_interval() -> None:
    """Written all the same: it is only not read."""
    sandbox, app = direct({"PUBLISH_TO": ""})
    tick(app)
    hide(sandbox, TOKEN)
    for_hours(sandbox, app, 10)
    assert 11 <= sandbox.log.count(path="/oauth_token.do") <= 14
    assert lives(sandbox, TOKEN)


def test_without_a_record_as_well_only_force_refreshes() -> None:
    sandbox, app = direct({"PUBLISH_TO": ""})
    tick(app)
    for name in (TOKEN, RECORD):
        hide(sandbox, name)
    sandbox.log.clear()
    reports = for_hours(sandbox, app, 2)
    assert sandbox.log.count(path="/oauth_token.do") == 0
    assert {each.cause for each in reports} == {Cause.VAULT_FORBIDDEN}
    (report,) = app.refresh(["servicenow"], RunRequest(trigger=Trigger.CLI, force=True))
    assert report.outcome is Outcome.REFRESHED


def test_nor_does_a_tick_where_no_record_can_be_made() -> None:
    """Nothing would tell the next tick that this one refreshed."""
    sandbox, app = direct({"PUBLISH_TO": ""})
    hide(sandbox, TOKEN)
    for operation in ("set", "update"):
        sandbox.vault.deny(operation, RECORD)
    reports = for_hours(sandbox, app, 1)
    assert sandbox.log.count(path="/oauth_token.do") == 0
    assert {each.cause for each in reports} == {Cause.VAULT_FORBIDDEN}
    (report,) = app.refresh(["servicenow"], RunRequest(trigger=Trigger.CLI, force=True))
    assert report.outcome is Outcome.REFRESHED


def test_a_refusal_leads_to_no_refresh_that_nothing_would_remember() -> None:
    """An access policy refuses living tokens as well: each tick would ask for another one."""
    sandbox, app = direct()
    tick(app)
    sandbox.vault.put(RECORD, "The record is in the tags.", tags={"connection": "servicenow"})
    for operation in ("set", "update"):
        sandbox.vault.deny(operation, RECORD)
    sandbox.faults.add(Fault(service="instance", path="/api/now", times=None, action=UNAUTHENTICATED))
    sandbox.log.clear()
    sandbox.clock.advance(TICK)
    reports = [tick(app) for _ in range(6)]
    assert sandbox.log.count(path="/oauth_token.do") == 0
    assert {each.cause for each in reports} == {Cause.VAULT_FORBIDDEN}


def test_nothing_is_asked_for_where_every_place_is_disabled() -> None:
    sandbox, app = direct({})
    tick(app)
    for name in (TOKEN, TARGET):
        disable(sandbox, name)
    sandbox.log.clear()
    reports = for_hours(sandbox, app, 2)
    assert sandbox.log.count(path="/oauth_token.do") == 0
    assert {each.cause for each in reports} == {Cause.SECRET_DISABLED}
