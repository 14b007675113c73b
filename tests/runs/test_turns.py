"""Requests to one instance take turns, however many connections it has; those to others do not wait for it."""

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import httpx
import pytest

from refresher.model.causes import Cause
from refresher.model.clock import Clock, Deadline, system_clock
from refresher.model.errors import TokenEndpointError
from refresher.model.tokens import Secret
from refresher.servicenow.answers import Verdict
from refresher.servicenow.instances import AT_ONCE, ServiceNow
from sandbox import SandboxClock
from sandbox.trial.host import product_clock
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
        self.full.wait(5)
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
    with servicenow.session(one, deadline) as session:
        turns = servicenow.turns(one)
        for _ in range(AT_ONCE):
            turns.acquire()
        with pytest.raises(TokenEndpointError) as caught:
            session.greet()
    assert (caught.value.cause, caught.value.sent) == (Cause.INSTANCE_TIMEOUT, False)
