"""The time of a tick is shared fairly, so that slow failures never starve the connections behind them."""

import heapq
from datetime import timedelta

import pytest

from refresher.run.tick import Budget
from refresher.servicenow.http import ANSWER_TAKES
from refresher.settings.load import Settings
from sandbox import SandboxClock
from sandbox.trial.host import product_clock

AT_ONCE = 64
SETTINGS = Settings(vault_url="", connections=(), refresh_interval=timedelta(), tick=timedelta(minutes=5))


def play(runs: int, share_used: float) -> tuple[float, list[float]]:
    """When the last run ends, and what each was allowed, if each takes such a share of what it may take."""
    clock = SandboxClock()
    budget = Budget(
        product_clock(clock),
        SETTINGS.tick_deadline,
        runs=runs,
        at_once=AT_ONCE,
        longest=SETTINGS.run_deadline,
    )
    free = [0.0] * AT_ONCE
    allowed, last = [], 0.0
    for _ in range(runs):
        begins = heapq.heappop(free)
        clock.advance(seconds=begins - clock.monotonic())
        allowed.append(budget.share().total_seconds())
        last = max(last, begins + allowed[-1] * share_used)
        heapq.heappush(free, begins + allowed[-1] * share_used)
    return last, allowed


@pytest.mark.parametrize("runs", [1, 64, 65, 100, 500, 1000])
def test_runs_that_all_take_what_they_may_end_within_the_tick(runs: int) -> None:
    ends, allowed = play(runs, 1.0)
    assert ends <= SETTINGS.tick_deadline.total_seconds() + 8
    assert all(8 <= each <= SETTINGS.run_deadline.total_seconds() for each in allowed)


def test_a_few_connections_have_all_the_time_of_a_run() -> None:
    assert set(play(64, 1.0)[1]) == {45.0}


def test_runs_that_go_well_leave_their_time_to_those_that_do_not() -> None:
    """The first of a thousand may take fifteen seconds; when most of them took one, the rest have more."""
    _, allowed = play(1000, 0.1)
    assert allowed[0] == pytest.approx(240 / (1000 / AT_ONCE))
    assert allowed[-1] == 45.0


def test_the_least_share_is_enough_to_hear_the_answer() -> None:
    """Of more connections than a tick can serve, those that begin still have time to read the vault, and to wait."""
    assert min(play(5000, 1.0)[1]) >= ANSWER_TAKES + 3
