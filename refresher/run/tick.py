"""All runs of a tick: side by side, within the tick's time, and once more for those that were worth waiting for."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta

from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.report import RunReport, RunRequest
from refresher.run.order import Refresher
from refresher.run.patience import RERUNS, wait
from refresher.run.side_by_side import CONNECTIONS_AT_ONCE, as_they_end, in_order
from refresher.servicenow.instances import ServiceNow
from refresher.settings.load import Settings
from refresher.telemetry import emit

_SHORTEST_RUN = timedelta(seconds=8)
"""A refresh takes one or two when all goes well; with less, there would be no time to hear a slow instance."""


class Budget:
    """What a tick of many runs may take in all, so that runs that fail slowly leave time for those behind them.

    Each run that begins gets its fair share of what is left, up to what one run may take at the most.
    """

    def __init__(self, clock: Clock, allowed: timedelta, *, runs: int, at_once: int, longest: timedelta) -> None:
        self._left = Deadline(clock, allowed)
        self._runs_left = runs
        self._at_once = at_once
        self._longest = longest
        self._lock = threading.Lock()

    def share(self) -> timedelta:
        """What the run that begins now may take."""
        with self._lock:
            rounds_left = max(1.0, self._runs_left / self._at_once)
            self._runs_left -= 1
        fair = timedelta(seconds=self._left.remaining() / rounds_left)
        return min(self._longest, max(_SHORTEST_RUN, fair))


_GREETING_TAKES = timedelta(seconds=15)


def share_of(clock: Clock, settings: Settings, allowed: timedelta, runs: int) -> Budget:
    """The time allowed for that many runs, in fair shares."""
    return Budget(clock, allowed, runs=runs, at_once=CONNECTIONS_AT_ONCE, longest=settings.run_deadline)


class Tick:
    """One tick, or whatever else runs connections together."""

    def __init__(self, refresher: Refresher, servicenow: ServiceNow, settings: Settings, clock: Clock) -> None:
        self._refresher = refresher
        self._servicenow = servicenow
        self._settings = settings
        self._clock = clock
        self._left = Deadline(clock, settings.tick_deadline)
        self._patience = Deadline(clock, settings.patience)

    def run(self, connections: Sequence[Connection], request: RunRequest) -> tuple[RunReport, ...]:
        """Run these connections. Each is reported, whatever happens to the others, and each of its runs is logged."""
        reports: dict[str, RunReport] = {}
        ran: Counter[str] = Counter()
        runs = connections
        while runs:
            # Logged as they end, and here: the worker attributes to an invocation what its own thread logs.
            for report in self._run_once(runs, request):
                emit(report, self._clock.now())
                reports[report.connection] = report
            ran.update(each.name for each in runs)
            again = [(each, reports[each.name]) for each in connections if ran[each.name] <= RERUNS]
            runs = wait(again, self._clock.now(), self._patience, self._pause(request.on_progress), self._are_back)
        return tuple(reports[connection.name] for connection in connections)

    def _run_once(self, connections: Sequence[Connection], request: RunRequest) -> Iterator[RunReport]:
        allowed = timedelta(seconds=self._left.remaining())
        budget = share_of(self._clock, self._settings, allowed, len(connections))
        return as_they_end(lambda each: self._refresher.run(each, request, budget.share()), connections)

    def _pause(self, on_progress: Callable[[str], None]) -> Callable[[float], None]:
        def pause(seconds: float) -> None:
            on_progress(f"waiting {seconds:.0f} s for ServiceNow")
            self._clock.sleep(seconds)

        return pause

    def _are_back(self, connections: Sequence[Connection]) -> tuple[bool, ...]:
        return in_order(
            lambda each: self._servicenow.is_back(each, self._patience.part(1.0, _GREETING_TAKES)), connections
        )
