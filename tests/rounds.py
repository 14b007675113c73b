"""Requests in rounds: what is named together is let through only once all of it is there, so that a round is one hop.

Nothing is timed: a client that does not send the requests of a round side by side meets a barrier that breaks.
"""

import re
import threading
import time
from collections.abc import Sequence

import pytest

from sandbox import Fault, Sandbox
from sandbox.faults import Interrupt

_PATIENCE = 20.0
"""Seconds."""
Round = Sequence[str]
"""Requests as `SERVICE METHOD NAME`, the last word of the path."""


class Rounds:
    """The hops of one run. Each begins when the one before has been answered."""

    def __init__(self, sandbox: Sandbox, *rounds: Round) -> None:
        self._sandbox = sandbox
        self._rounds = rounds
        self._barriers = [threading.Barrier(len(each), timeout=_PATIENCE) for each in rounds]
        sandbox.log.clear()
        for requests, barrier in zip(rounds, self._barriers, strict=True):
            for request in requests:
                service, method, name = request.split()
                path = f".*/{re.escape(name)}(/[0-9a-f]{{32}})?/?$"
                action = Interrupt(do=barrier.wait)
                sandbox.faults.add(Fault(service=service, method=method, path=path, action=action))

    def check(self) -> None:
        """Fail unless each round was one, and nothing else was asked."""
        assert [index for index, barrier in enumerate(self._barriers) if barrier.broken] == []
        assert len(self._sandbox.log) == sum(map(len, self._rounds)), self._sandbox.log.summary()


def until_released(sandbox: Sandbox, name: str = "servicenow") -> None:
    """Wait for what nobody waits for."""
    for _ in range(2000):
        if not sandbox.leases.is_leased(name):
            return
        time.sleep(0.01)
    pytest.fail("the lease was not released")
