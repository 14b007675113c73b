"""Whether the timer fires, from the mark of its last tick and from the settings."""

from datetime import datetime

import pytest

from refresher.model.causes import Cause
from refresher.model.errors import LeaseUnavailableError
from refresher.status.timer import TimerState, judge_timer
from tests.factories import MINUTE, NOON, SECOND

GONE = LeaseUnavailableError("the container does not exist", cause=Cause.LEASE_UNAVAILABLE, hint="Create it.")


@pytest.mark.parametrize(
    ("last", "shared", "state", "message"),
    [
        (NOON - MINUTE, True, TimerState.TICKING, "the last tick was 1 min ago"),
        (NOON - 15 * MINUTE, True, TimerState.TICKING, "the last tick was 15 min ago"),
        (NOON + MINUTE, True, TimerState.TICKING, "the last tick was 0 min ago"),  # another clock
        (
            NOON - 15 * MINUTE - SECOND,
            True,
            TimerState.NO_TICK,
            "the last tick was at 2026-03-01 11:44 UTC; the timer should fire every 5 min",
        ),
        (
            NOON + 15 * MINUTE + SECOND,
            True,
            TimerState.UNKNOWN,
            "the last tick was noted at 2026-03-01 12:15 UTC, ahead of this machine's clock",
        ),
        (NOON - 16 * MINUTE, False, TimerState.UNKNOWN, "the last tick of this machine was at 2026-03-01 11:44 UTC"),
        (None, True, TimerState.NO_TICK, "no tick was ever noted"),
        (None, False, TimerState.UNKNOWN, "no tick was noted on this machine"),
        (GONE, True, TimerState.UNKNOWN, "the container does not exist"),
    ],
)
def test_a_timer_that_missed_three_intervals_does_not_fire(
    last: datetime | LeaseUnavailableError | None, state: TimerState, message: str, *, shared: bool
) -> None:
    timer = judge_timer(last, shared=shared, tick=5 * MINUTE, now=NOON)
    assert timer.state is state
    assert message in timer.message
    assert timer.healthy is (state is not TimerState.NO_TICK)
    if state is TimerState.NO_TICK:
        assert timer.next_step == Cause.NO_TICK.row.next_step


def test_the_settings_are_judged_as_well() -> None:
    timer = judge_timer(NOON, shared=True, tick=5 * MINUTE, now=NOON, schedule_problem="bad", disabled=True)
    assert timer.remarks == ("bad", "AzureWebJobs.refresh_tokens.Disabled stops the timer")
    assert timer.healthy  # until it has missed three
