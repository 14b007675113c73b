"""All runs of a tick: side by side, within the tick's time, and again for those that are worth waiting for."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from math import inf

from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger
from refresher.model.steps import Step
from refresher.model.tokens import Secret
from refresher.run.budget import LEAST, Budget, in_turn
from refresher.run.order import Refresher
from refresher.run.patience import MINUTE, seconds_to_next_try
from refresher.run.side_by_side import CONNECTIONS_AT_ONCE, as_they_end
from refresher.run.verify import Verification
from refresher.settings.load import Settings
from refresher.telemetry import emit

_HTTP_TAKES = timedelta(seconds=185)
"""The platform's front end ends a call after 230 s, and who sees a gateway error forces again."""
_ENDING_TAKES = 5.0
"""Seconds, for a run's last steps; whoever takes longer is not waited for."""


def time_for(request: RunRequest, settings: Settings) -> timedelta:
    """What a tick may take in all, and less where somebody waits for the answer."""
    return min(settings.tick_deadline, _HTTP_TAKES) if request.trigger is Trigger.HTTP else settings.tick_deadline


class Tick:
    """One tick, or whatever else runs connections together: over in the time allowed, whatever happens in a run."""

    def __init__(
        self, refresher: Refresher, verification: Verification, settings: Settings, clock: Clock, allowed: timedelta
    ) -> None:
        self._refresher = refresher
        self._verification = verification
        self._settings = settings
        self._clock = clock
        self._left = Deadline(clock, allowed)
        self._patience = Deadline(clock, min(settings.patience, allowed))

    def run(self, connections: Sequence[Connection], request: RunRequest) -> tuple[RunReport, ...]:
        """Run these connections. Each is reported, whatever happens to the others, and each of its runs is logged."""
        reports: dict[str, RunReport] = {}
        due: dict[str, float] = {}

        def run(these: Sequence[Connection], refused: Mapping[str, Secret]) -> Iterator[RunReport]:
            return self._run_once(these, request, refused)

        runs = in_turn(connections, self._clock.now(), self._settings.tick)
        while runs:
            # Logged as they end, and here: the worker attributes to an invocation what its own thread logs.
            for report in self._verification.verified(run(runs, {}), run):
                if report.outcome is Outcome.PUT_OFF and report.connection in reports:
                    continue
                emit(report, self._clock.now())
                reports[report.connection] = report
            now, moment = self._clock.now(), self._clock.monotonic()
            for each in runs:
                seconds = seconds_to_next_try(reports[each.name], now)
                # Whatever an instance says of the end of its token, it is not asked for it in a hurry again and again.
                due[each.name] = inf if seconds is None else moment + max(seconds, MINUTE * request.again)
            request = request._replace(again=True)
            runs = self._wait(connections, due, request)
        return tuple(reports[connection.name] for connection in connections)

    def _wait(
        self, connections: Sequence[Connection], due: Mapping[str, float], request: RunRequest
    ) -> tuple[Connection, ...]:
        """Wait for the first that are worth another try; none where too little time would be left for it."""
        soonest = min(due.values(), default=inf)
        seconds = max(0.0, soonest - self._clock.monotonic())
        if seconds + LEAST.total_seconds() > self._patience.remaining():
            return ()
        request.on_progress(f"waiting {seconds:.0f} s for another try")
        self._clock.sleep(seconds)
        now = max(soonest, self._clock.monotonic())
        return tuple(each for each in connections if due[each.name] <= now)

    def _run_once(
        self, connections: Sequence[Connection], request: RunRequest, refused: Mapping[str, Secret]
    ) -> Iterator[RunReport]:
        left = self._left.remaining()
        budget = Budget(
            self._clock,
            timedelta(seconds=left),
            runs=len(connections),
            at_once=CONNECTIONS_AT_ONCE,
            longest=self._settings.run_deadline,
        )

        def run(connection: Connection) -> RunReport:
            share = budget.share()
            if share is None:
                return self._put_off(connection, request, "its turn did not come in the time of this tick")
            return self._refresher.run(
                connection, request, share, refused=refused.get(connection.name), on_look=self._verification.look
            )

        missing = {each.name: each for each in connections}
        for report in as_they_end(run, connections, left + _ENDING_TAKES):
            del missing[report.connection]
            yield report
        for connection in missing.values():
            yield self._put_off(connection, request, "it was still under way when the time of this tick was over")

    def _put_off(self, connection: Connection, request: RunRequest, why: str) -> RunReport:
        return RunReport(
            connection=connection.name,
            run_id=self._clock.new_id(),
            trigger=request.trigger,
            outcome=Outcome.PUT_OFF,
            message=f"put_off: {why}",
            hint=Step(
                "The next tick begins with others, and this one among the first. Look at what kept those before it."
            ),
            operator_reason=request.reason,
        )
