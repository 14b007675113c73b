"""Requests to one instance take turns, however many connections it has; those to others do not wait for it."""

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from datetime import timedelta

import httpx
import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.clock import Clock, Deadline, system_clock
from refresher.model.errors import TokenEndpointError
from refresher.model.report import Outcome, RunRequest, Trigger
from refresher.model.tokens import Secret
from refresher.policy.due import Urgency
from refresher.policy.herd import seconds_to_others
from refresher.run.order import Refresher
from refresher.servicenow.answers import Verdict
from refresher.servicenow.instances import ServiceNow
from refresher.servicenow.turns import AT_ONCE, Turns
from sandbox import SandboxClock
from sandbox.direct import DirectSandbox, Process
from sandbox.trial.host import direct_app, product_clock
from tests.factories import connection

TOKEN = Secret("CANARY-token")


class Instance:
    """Answers each request once so many are there together, and remembers how many those were at the most."""

    def __init__(self, many: int) -> None:
        self.inside = self.most = 0
        self._many = many
        self._lock = threading.Lock()
        self.full = threading.Event()

    def answer(self, _: httpx.Request) -> httpx.Response:
        with self._lock:
            self.inside += 1
            self.most = max(self.most, self.inside)
            if self.inside == self._many:
                self.full.set()
        self.full.wait(60)
        with self._lock:
            self.inside -= 1
        return httpx.Response(200, json={"result": []})


def probe(servicenow: ServiceNow, clock: Clock, url: str) -> Verdict:
    deadline = Deadline(clock, timedelta(seconds=30))
    with servicenow.session(connection(SERVICENOW_INSTANCE_URL=url), deadline) as session:
        return session.probe(TOKEN).verdict


def test_one_instance_never_has_more_than_so_many_requests_of_a_process() -> None:
    instance, clock = Instance(AT_ONCE), system_clock()
    servicenow = ServiceNow(clock, transport=httpx.MockTransport(instance.answer))
    with ThreadPoolExecutor(2 * AT_ONCE) as pool:
        probes = [pool.submit(probe, servicenow, clock, "https://a.service-now.com") for _ in range(2 * AT_ONCE)]
        assert {each.result() for each in probes} == {Verdict.ACCEPTED}
    assert instance.most == AT_ONCE


def test_another_instance_does_not_wait() -> None:
    """Twice as many are inside at once, half of them at each of two."""
    instance, clock = Instance(2 * AT_ONCE), system_clock()
    servicenow = ServiceNow(clock, transport=httpx.MockTransport(instance.answer))
    with ThreadPoolExecutor(2 * AT_ONCE) as pool:
        probes = [
            pool.submit(probe, servicenow, clock, f"https://{name}.service-now.com")
            for name in ("a", "b")
            for _ in range(AT_ONCE)
        ]
        assert {each.result() for each in probes} == {Verdict.ACCEPTED}
    assert instance.most == 2 * AT_ONCE


def test_whose_turn_does_not_come_in_time_has_sent_nothing() -> None:
    """So that it costs neither a refresh token that rotates nor one of the tries of a password."""
    clock = product_clock(SandboxClock())
    servicenow = ServiceNow(clock, transport=httpx.MockTransport(lambda _: httpx.Response(500)))
    one = connection()
    deadline = Deadline(clock, timedelta(seconds=2))
    with servicenow.session(one, deadline) as session, ExitStack() as others:
        for _ in range(AT_ONCE):
            assert others.enter_context(servicenow.turns(one).take(0.0))
        with pytest.raises(TokenEndpointError) as caught:
            session.greet()
    assert (caught.value.cause, caught.value.sent) == (Cause.INSTANCE_TIMEOUT, False)
    with servicenow.turns(one).take(0.0) as free:
        assert free, "who left keeps no turn"


def test_a_token_goes_before_a_probe_that_can_come_later() -> None:
    """Whoever asked first; within each of the two, in the order in which they came."""
    turns = Turns(system_clock(), at_once=1)
    came: list[str] = []

    def ask(who: str, *, later: bool) -> None:
        with turns.take(5.0, later=later) as has_turn:
            assert has_turn
            came.append(who)

    with ThreadPoolExecutor(4) as pool:
        with turns.take(0.0):
            for number, (who, later) in enumerate([("probe 1", True), ("probe 2", True), ("token 1", False)]):
                pool.submit(ask, who, later=later)
                while len(turns._waiting) <= number:
                    threading.Event().wait(0.001)
            assert not came
        pool.shutdown()
    assert came == ["token 1", "probe 1", "probe 2"]


HERD = tuple(f"team-{number}" for number in range(20))


def a_herd() -> tuple[DirectSandbox, App, list[float]]:
    """Many of one instance, all refreshed, and what their runs will have slept."""
    sandbox = DirectSandbox()
    for name in HERD:
        sandbox.add_connection(name)
    connections = {name: {"instance_url": sandbox.instance.url} for name in HERD}
    app = direct_app(sandbox, Process(sandbox), SERVICENOW_CONNECTIONS=json.dumps(connections))
    slept: list[float] = []
    app.process.clock = app.clock._replace(sleep=slept.append)
    app.tick(RunRequest(trigger=Trigger.TIMER))
    return sandbox, app, slept


@pytest.mark.parametrize(
    ("trigger", "minutes", "spreads"),
    [
        (Trigger.TIMER, 50, True),
        (Trigger.QUEUE, 50, True),
        (Trigger.HTTP, 50, False),
        (Trigger.CLI, 50, False),
        (Trigger.TIMER, 58, False),
    ],
)
@pytest.mark.exhaustive
def test_a_herd_that_is_due_together_spreads_by_its_names(trigger: Trigger, minutes: int, spreads: bool) -> None:
    """Save where a person waits, or a token is about to end. Few of them: without sockets, all waits add up."""
    sandbox, app, slept = a_herd()
    sandbox.clock.advance(timedelta(minutes=minutes))
    reports = app.tick(RunRequest(trigger=trigger))
    assert {each.outcome for each in reports} == {Outcome.REFRESHED}
    left_to_others = {seconds_to_others(name, len(HERD), Urgency.ADVISORY) for name in HERD}
    assert left_to_others & set(slept) == (left_to_others if spreads else set())


@pytest.mark.exhaustive
def test_one_whose_token_is_refused_goes_first_too() -> None:
    sandbox, app, slept = a_herd()
    stored = sandbox.vault.get("team-0-oauth-token")
    assert stored is not None
    run = Refresher(app.process.parts()).run
    report = run(app.connection("team-0"), RunRequest(trigger=Trigger.TIMER), refused=Secret(stored.value))
    assert (report.outcome, report.reason) == (Outcome.REFRESHED, "access_token_refused")
    assert seconds_to_others("team-0", len(HERD), Urgency.ADVISORY) not in slept


class TestAfterA429:
    """ServiceNow's rules count per user and hour."""

    def test_all_connections_of_the_user_wait_and_no_others(self) -> None:
        turns = Turns(product_clock(SandboxClock()))
        for name in ("a", "b"):
            turns.acts_as(name, "integration")
        turns.acts_as("c", "somebody.else")
        turns.pause("a", 30.0)
        turns.pause("d", None)
        assert [turns.pause_of(name) for name in "abcde"] == [30.0, 30.0, 0.0, 2.0, 0.0]

    def test_a_pause_is_lengthened_and_never_cut_short_and_ends(self) -> None:
        clock = SandboxClock()
        turns = Turns(product_clock(clock))
        turns.pause("a", 30.0)
        turns.pause("a", 5.0)
        assert turns.pause_of("a") == 30.0
        turns.pause("a", 86400.0)
        assert turns.pause_of("a") == 300.0
        clock.advance(seconds=301)
        assert turns.pause_of("a") == 0.0

    def ask_twice(self, stated: str) -> float:
        """Seconds between the two requests, of which the first was answered 429."""
        clock = SandboxClock()
        answers = iter([httpx.Response(429, headers={"Retry-After": stated}), httpx.Response(401)])
        servicenow = ServiceNow(product_clock(clock), transport=httpx.MockTransport(lambda _: next(answers)))
        one = connection()
        with servicenow.session(one, Deadline(product_clock(clock), timedelta(seconds=45))) as session:
            session._wire.send("GET", one.instance_url)
            began = clock.monotonic()
            session._wire.send("GET", one.instance_url)
            return clock.monotonic() - began

    def test_the_next_request_waits(self) -> None:
        assert self.ask_twice("20") == 20.0

    def test_it_is_not_sent_where_that_outlasts_the_run(self) -> None:
        with pytest.raises(TokenEndpointError) as caught:
            self.ask_twice("100")
        error = caught.value
        assert (error.cause, error.sent, error.retry_after) == (Cause.INSTANCE_THROTTLED, False, 100.0)
