"""Tries stored tokens at their instances: all of them side by side, within five seconds, each at most once in a while.

What was tried is remembered by value and for half a minute, so that a page that is loaded again and a monitor that
asks often cost an instance little. Nothing else is remembered, and no token is kept for longer.
"""

import threading
from collections.abc import Iterable, Mapping
from datetime import timedelta

from refresher.model.clock import Clock, Deadline
from refresher.model.tokens import Secret
from refresher.servicenow.instances import TRYING_TAKES, ServiceNow, Wanted
from refresher.status.tried import Trial, Tried

REMEMBERED = timedelta(seconds=30)


class Trials:
    """All trials of a process. Safe to share between threads."""

    def __init__(self, servicenow: ServiceNow, clock: Clock) -> None:
        self._servicenow = servicenow
        self._clock = clock
        self._lock = threading.Lock()
        self._remembered: dict[tuple[str, Secret], Tried] = {}

    def of(self, wanted: Iterable[Wanted], *, anew: bool) -> Mapping[str, Trial]:
        """Try these tokens; by connection. Unless `anew`, what is remembered is not tried again. Never raises."""
        # Whoever comes while others try waits for them, and finds their answers.
        with self._lock:
            now = self._clock.now()
            self._remembered = {
                key: tried for key, tried in self._remembered.items() if timedelta() <= now - tried.at < REMEMBERED
            }
            found: dict[str, dict[Secret, Tried]] = {}
            due: list[Wanted] = []
            for connection, token in dict.fromkeys(wanted):
                tried = self._remembered.get((connection.name, token))
                if tried is not None and not anew:
                    found.setdefault(connection.name, {})[token] = tried
                else:
                    due.append((connection, token))
            for (connection, token), tried in zip(due, self._try(due), strict=True):
                found.setdefault(connection.name, {})[token] = tried
                self._remembered[connection.name, token] = tried
            return found

    def _try(self, wanted: list[Wanted]) -> tuple[Tried, ...]:
        probes = self._servicenow.try_side_by_side(wanted, Deadline(self._clock, TRYING_TAKES))
        return tuple(Tried(probe=probe, at=self._clock.now()) for probe in probes)
