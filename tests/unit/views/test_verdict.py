"""One line for all connections: nothing graver stands below it, and it says no more than was tried."""

from dataclasses import replace

import pytest

from refresher.model.causes import Cause
from refresher.model.report import Warning_, WarningCode
from refresher.model.steps import Step
from refresher.servicenow.answers import Verdict
from refresher.servicenow.probing import PATH_IS_SHUT
from refresher.status.connection_status import ConnectionStatus, State
from refresher.status.copies import TargetStatus
from refresher.status.timer import TimerState, TimerStatus
from refresher.views.verdict import Gravity, found, gravity, verdict
from tests.factories import TICKING

ALL_WORK = "Every connection holds a working token"
LACKING = "1 of 3 connections without a working token"
STOPPED = TimerStatus(state=TimerState.NO_TICK, message="no tick was ever noted")
WELL = ConnectionStatus(
    connection="hr", instance_url="https://i", state=State.FRESH, working=True, message="", tried=Verdict.ACCEPTED
)
BY_DATES = replace(WELL, tried=None)
AWAY = replace(WELL, tried=Verdict.UNKNOWN, basis="could not be tried: it sleeps")
FAILING = replace(WELL, state=State.FAILING, cause=Cause.INSTANCE_ERROR)
CALLED = replace(WELL, state=State.AUTHORIZATION_REQUIRED, cause=Cause.REFRESH_TOKEN_REFUSED)
UNKNOWN = replace(WELL, state=State.UNKNOWN, working=None, tried=None)
DEAD = replace(WELL, state=State.REFUSED, working=False, tried=Verdict.REJECTED)


def warned(code: WarningCode) -> ConnectionStatus:
    return replace(WELL, warnings=(Warning_(code=code, message="", hint=Step("")),))


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (WELL, Gravity.HEALTHY),
        (replace(WELL, state=State.DUE), Gravity.HEALTHY),
        (BY_DATES, Gravity.HEALTHY),
        (AWAY, Gravity.WARNED),
        (replace(WELL, basis=f"tried just now, accepted; its user lacks the role for {PATH_IS_SHUT}"), Gravity.WARNED),
        (warned(WarningCode.STOPS_WITHOUT_A_PERSON), Gravity.HEALTHY),
        (warned(WarningCode.REFRESH_TOKEN_ENDING), Gravity.WARNED),
        (warned(WarningCode.USER_CHANGED), Gravity.WARNED),
        (
            replace(WELL, targets=(TargetStatus(name="copy", vault_url="https://v", current=None, working=None),)),
            Gravity.WARNED,
        ),
        (FAILING, Gravity.WORRYING),
        (replace(WELL, state=State.EXPIRING), Gravity.WORRYING),
        (UNKNOWN, Gravity.UNKNOWN),
        (CALLED, Gravity.CALLED),
        (replace(CALLED, working=False), Gravity.BROKEN),
        (DEAD, Gravity.BROKEN),
    ],
)
def test_how_grave_it_is(status: ConnectionStatus, expected: Gravity) -> None:
    assert gravity(status) is expected


@pytest.mark.parametrize(
    ("statuses", "timer", "line"),
    [
        ([WELL, WELL], TICKING, ALL_WORK),
        ([WELL], STOPPED, ALL_WORK + ", but the timer does not fire"),
        ([BY_DATES], TICKING, "By dates every connection holds a living token"),
        (
            [WELL, AWAY],
            TICKING,
            "By dates every connection holds a living token (1 of them tried), but 1 of 2 connections with a warning",
        ),
        (
            [WELL, CALLED],
            TICKING,
            ALL_WORK + ", but 1 of 2 connections waiting for a person",
        ),
        (
            [WELL, FAILING, CALLED],
            TICKING,
            ALL_WORK + ", but 1 of 3 connections waiting for a person; 1 of 3 connections failing or about to end",
        ),
        (
            [WELL, DEAD, CALLED],
            STOPPED,
            f"{LACKING}; 1 of 3 connections waiting for a person; the timer does not fire",
        ),
        ([UNKNOWN], TICKING, "1 of 1 connection cannot be judged"),
    ],
)
def test_the_line_names_all_that_is_grave(statuses: list[ConnectionStatus], timer: TimerStatus, line: str) -> None:
    assert verdict(statuses, timer) == line


@pytest.mark.parametrize(
    ("status", "shared"),
    [
        (FAILING, "instance_error"),
        (AWAY, "could not be tried: it sleeps"),
        (CALLED, None),
        (replace(DEAD, cause=Cause.VAULT_FORBIDDEN), None),
    ],
)
def test_what_an_instance_does_to_all_its_connections_is_shared(status: ConnectionStatus, shared: str | None) -> None:
    assert found(status).shared == shared
