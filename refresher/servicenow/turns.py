"""Who may ask an instance now: so many at a time, a token before a probe, and nobody whose user was told to wait.

ServiceNow's rate-limit rules count per user and hour, so a 429 is news for all connections of that user, and for no
others. Who a connection acts as is what its last probe said; until one did, it is taken to be alone.
"""

import heapq
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import count

from refresher.model.clock import Clock

AT_ONCE = 16
"""Requests to one instance. It serves a few at a time and lets some fifty wait; beyond that it refuses them."""
_LONGEST_PAUSE = 300.0
"""Seconds: until the next tick asks again, whatever something on the way said."""
_UNSTATED_PAUSE = 2.0


@dataclass(order=True, slots=True)
class _Place:
    """One who waits; the smaller goes first."""

    later: bool
    number: int
    called: threading.Event = field(default_factory=threading.Event, compare=False)
    left: bool = field(default=False, compare=False)


class Turns:
    """The turns at one instance, for one process. Safe to share between threads."""

    def __init__(self, clock: Clock, at_once: int = AT_ONCE) -> None:
        self._clock = clock
        self._free = at_once
        self._lock = threading.Lock()
        self._waiting: list[_Place] = []
        self._numbers = count()
        self._users: dict[str, str] = {}
        self._ends: dict[str, float] = {}
        self._asked: dict[str, float] = {}
        """As long as the instance said, however long: for people alone."""

    @contextmanager
    def take(self, seconds: float, *, later: bool = False) -> Iterator[bool]:
        """Wait for a turn; whether it came in that many seconds. Who can come `later` lets the others go first."""
        place = _Place(later, next(self._numbers))
        with self._lock:
            heapq.heappush(self._waiting, place)
            self._call()
        if not place.called.wait(seconds):
            with self._lock:
                place.left = not place.called.is_set()
        try:
            yield not place.left
        finally:
            if not place.left:
                with self._lock:
                    self._free += 1
                    self._call()

    def acts_as(self, connection: str, user_name: str) -> None:
        """Remember who a connection acts as."""
        self._users[connection] = user_name

    def pause(self, connection: str, seconds: float | None) -> None:
        """Let nobody ask for the user of this connection, for as long as the instance said."""
        ends = self._clock.monotonic() + min(_UNSTATED_PAUSE if seconds is None else seconds, _LONGEST_PAUSE)
        who = self._who(connection)
        self._ends[who] = max(self._ends.get(who, ends), ends)
        if seconds is not None:
            self._asked[who] = self._clock.monotonic() + seconds

    def pause_of(self, connection: str) -> float:
        """Seconds until this connection's user may ask again."""
        return max(0.0, self._ends.get(self._who(connection), 0.0) - self._clock.monotonic())

    def asked_of(self, connection: str) -> float | None:
        """Seconds that are left of what the instance asked for; None where it only refused."""
        ends = self._asked.get(self._who(connection))
        return max(0.0, ends - self._clock.monotonic()) if ends is not None else None

    def _who(self, connection: str) -> str:
        user = self._users.get(connection)
        return f"user {user}" if user is not None else f"connection {connection}"

    def _call(self) -> None:
        while self._free and self._waiting:
            place = heapq.heappop(self._waiting)
            if not place.left:
                self._free -= 1
                place.called.set()
