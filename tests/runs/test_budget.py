"""The time of a tick is shared fairly, so that slow failures never starve the connections behind them."""

import heapq
import json
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.cli.exit_codes import ExitCode, tick_exit_code
from refresher.model.connection import Connection
from refresher.model.report import Outcome, RunRequest, Trigger
from refresher.run.budget import Budget, in_turn
from refresher.servicenow.answers import ANSWER_TAKES
from refresher.settings.load import Settings
from refresher.web import refresh_reply
from sandbox import Fault, SandboxClock
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Stall
from sandbox.trial.host import direct_app, product_clock
from tests.factories import NOON, connection
from tests.sampling import thinned

AT_ONCE = 64
SETTINGS = Settings(vault_url="", connections=(), refresh_interval=timedelta(), tick=timedelta(minutes=5))


def play(runs: int, share_used: float, writing: float = 10.0) -> tuple[float, list[float]]:
    """When the last run ends, and what each that began was allowed, if each takes such a share, and writes so long."""
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
        share = budget.share()
        if share is None:
            heapq.heappush(free, begins)
            continue
        allowed.append(share.total_seconds())
        ends = begins + allowed[-1] * share_used + writing
        last = max(last, ends)
        heapq.heappush(free, ends)
    return last, allowed


@pytest.mark.parametrize("runs", [1, 64, 65, 100, 500, 700, 1000, 5000])
def test_runs_that_all_take_what_they_may_and_write_as_long_as_they_may_end_within_the_tick(runs: int) -> None:
    ends, allowed = play(runs, 1.0)
    assert ends <= SETTINGS.tick_deadline.total_seconds() + 0.001
    assert all(12 <= each <= SETTINGS.run_deadline.total_seconds() for each in allowed)


def test_a_few_connections_have_all_the_time_of_a_run() -> None:
    assert set(play(256, 1.0)[1]) == {45.0}
    assert set(play(64, 1.0)[1]) == {45.0}


@pytest.mark.parametrize(("runs", "begin"), [(256, 256), (690, 690), (5000, 690)])
def test_more_begin_than_could_if_each_took_all_its_time(runs: int, begin: int) -> None:
    """The shares shrink to twelve seconds; what cannot begin with as much does not begin."""
    assert len(play(runs, 1.0)[1]) >= begin * 0.9


def test_runs_that_go_well_leave_their_time_to_those_that_do_not() -> None:
    """The first of a thousand may take twelve seconds; when most of them took one, the rest have more."""
    _, allowed = play(1000, 0.1, writing=0.0)
    assert allowed[0] == 12.0
    assert allowed[-1] == 45.0


def test_the_least_share_is_enough_to_hear_the_answer() -> None:
    """Of more connections than a tick can serve, those that begin still have time to read the vault, and to wait."""
    assert min(play(5000, 1.0)[1]) >= ANSWER_TAKES + 3


TICK = timedelta(minutes=5)


@pytest.fixture(scope="module")
def many() -> tuple[Connection, ...]:
    return tuple(
        connection(SERVICENOW_INSTANCE_URL=f"https://i{number % 7}.service-now.com") for number in range(1000)
    )


@pytest.mark.parametrize("served", thinned([640, 700]))
def test_what_had_no_turn_has_one_in_the_next_tick(many: tuple[Connection, ...], served: int) -> None:
    """Whenever that is."""
    for number in range(300):
        now, following = NOON + number * TICK, NOON + (number + 1) * TICK
        put_off = {id(each) for each in in_turn(many, now, TICK)[served:]}
        assert not put_off & {id(each) for each in in_turn(many, following, TICK)[served:]}


def test_every_connection_has_a_turn_and_within_a_tick_the_order_stays(many: tuple[Connection, ...]) -> None:
    assert sorted(map(id, in_turn(many, NOON, TICK))) == sorted(map(id, many))
    assert in_turn(many, NOON + TICK / 3, TICK) == in_turn(many, NOON, TICK)
    assert in_turn((), NOON, TICK) == ()


def test_the_herd_of_one_instance_does_not_stand_before_all_others() -> None:
    herd = [connection(SERVICENOW_INSTANCE_URL="https://herd.service-now.com") for _ in range(500)]
    alone = connection(SERVICENOW_INSTANCE_URL="https://alone.service-now.com")
    for number in range(50):
        assert alone in in_turn((*herd, alone), NOON + number * TICK, TICK)[:2]


def app_with(many: int, sandbox: DirectSandbox) -> App:
    connections = {f"c{number:03}": {"instance_url": sandbox.instance.url} for number in range(many)}
    return direct_app(sandbox, Process(sandbox), SERVICENOW_CONNECTIONS=json.dumps(connections))


@pytest.mark.parametrize(("trigger", "at_most"), thinned([(Trigger.TIMER, 246), (Trigger.HTTP, 196)]))
def test_a_tick_whose_reads_all_stall_ends_in_its_time_and_reports_every_connection(
    trigger: Trigger, at_most: float
) -> None:
    """Those that had no turn as put off, which is exit code 1. Without sockets, the waits of all threads add up."""
    sandbox = DirectSandbox()
    app = app_with(200, sandbox)
    sandbox.faults.add(Fault(service="vault", times=None, action=Stall()))
    began = sandbox.clock.now()
    reports = app.tick(RunRequest(trigger=trigger))
    assert [each.connection for each in reports] == [each.name for each in app.settings.connections]
    put_off = {each.connection for each in reports if each.outcome is Outcome.PUT_OFF}
    assert 0 < len(put_off) < 200
    assert tick_exit_code([each for each in reports if each.connection in put_off]) == ExitCode.FAILED
    assert refresh_reply(reports, sandbox.clock.now()).status == 503
    assert (sandbox.clock.now() - began).total_seconds() <= at_most + AT_ONCE * 45
    sandbox.clock.advance(timedelta(minutes=5))
    assert not put_off >= {
        each.connection for each in app.tick(RunRequest(trigger=trigger)) if each.outcome is Outcome.PUT_OFF
    }
