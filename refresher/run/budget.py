"""How a tick's time is shared by its runs, and in which order they have their turns.

A run that begins has its fair share of what is left, and its seconds for writing beside it; with too little left for
both, none begins. The order turns with the clock, so that those that had no turn are early in the next tick, and the
instances alternate, so that the herd of one does not keep the others waiting.
"""

import threading
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta

from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.run.run import WRITING_TAKES

_SHORTEST_RUN = timedelta(seconds=12)
"""A refresh takes one or two when all goes well, and seven where a thousand begin new lives, as fast as the vault lets
them; with less, there would be no time to hear a slow instance."""
LEAST = _SHORTEST_RUN + WRITING_TAKES
"""With less left, no run begins."""
_GOLDEN = 0.618034
"""Of the connections, by which the order turns from tick to tick: those at the end come to stand in the middle, and
turns that follow never gather in one place."""


class Budget:
    """What many runs may take in all, so that those that fail slowly leave time for those behind them."""

    def __init__(
        self,
        clock: Clock,
        allowed: timedelta,
        *,
        runs: int,
        at_once: int,
        longest: timedelta,
        writing: timedelta = WRITING_TAKES,
    ) -> None:
        self._left = Deadline(clock, allowed)
        self._runs_left = runs
        self._at_once = at_once
        self._longest = longest
        self._writing = writing

        self._lock = threading.Lock()

    def share(self) -> timedelta | None:
        """What the run that begins now may take before it writes; None where it must not begin."""
        with self._lock:
            rounds_left = max(1.0, self._runs_left / self._at_once)
            self._runs_left -= 1
        left = timedelta(seconds=self._left.remaining())
        if left < _SHORTEST_RUN + self._writing:
            return None
        fair = left / rounds_left - self._writing
        return min(self._longest, left - self._writing, max(_SHORTEST_RUN, fair))


def in_turn(connections: Sequence[Connection], now: datetime, tick: timedelta) -> tuple[Connection, ...]:
    """The connections in the order of the tick at that time."""
    number = int(now.timestamp() // max(1.0, tick.total_seconds()))
    first = int(number * _GOLDEN * len(connections)) % max(1, len(connections))
    turned = (*connections[first:], *connections[:first])
    of_instance: Counter[str] = Counter()

    def turn(connection: Connection) -> int:
        of_instance[connection.instance_url] += 1
        return of_instance[connection.instance_url]

    return tuple(sorted(turned, key=turn))
