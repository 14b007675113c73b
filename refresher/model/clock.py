"""Everything that varies from run to run, in one value: time, waiting and randomness.

Code that needs one of them takes a `Clock`; nothing else in the package reads the system's clock, sleeps or
draws a random number. Tests and simulations pass a clock of their own, so that months pass in seconds.
"""

import random
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple


class Clock(NamedTuple):
    """`now` is aware UTC; `monotonic` and `sleep` count in seconds; `random` is uniform in [0, 1)."""

    now: Callable[[], datetime]
    monotonic: Callable[[], float]
    sleep: Callable[[float], None]
    random: Callable[[], float]
    new_id: Callable[[], str]


def system_clock() -> Clock:
    """The clock of a deployed app."""
    return Clock(
        now=lambda: datetime.now(UTC),
        monotonic=time.monotonic,
        sleep=time.sleep,
        random=random.random,
        new_id=lambda: uuid.uuid4().hex,
    )


class Deadline:
    """The moment at which a run must be over, however many requests it still wants to make.

    By the clock that is further on: a machine that was suspended, or a virtual one that was paused, does not count
    that time as passed (CLOCK_MONOTONIC of Linux), and learns of it from the time of day alone. Others may have run.
    """

    __slots__ = ("_clock", "_ends", "_ends_at")

    def __init__(self, clock: Clock, allowed: timedelta) -> None:
        self._clock = clock
        self._ends = clock.monotonic() + allowed.total_seconds()
        self._ends_at = clock.now() + allowed

    def remaining(self) -> float:
        """Seconds left, never negative."""
        by_day = (self._ends_at - self._clock.now()).total_seconds()
        return max(0.0, min(by_day, self._ends - self._clock.monotonic()))

    def part(self, share: float, at_most: timedelta) -> "Deadline":
        """An earlier one, for what must not use up the whole: a share of what is left, and no more than so much."""
        return Deadline(self._clock, min(timedelta(seconds=self.remaining() * share), at_most))

    def end_within(self, seconds: float) -> None:
        """End that soon, where it would later."""
        self._ends = min(self._ends, self._clock.monotonic() + seconds)
