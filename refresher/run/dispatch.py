"""What a tick puts into the queue: the connections that are due, and those whose stored token is refused.

The run that a message starts looks and tries again by itself: a message is a hint, and says nothing but a name.
"""

from collections.abc import Callable
from datetime import timedelta

from refresher.model.connection import Connection
from refresher.model.report import Outcome, RunReport, Trigger
from refresher.policy.verify import Consequence
from refresher.run.order import Refresher
from refresher.run.parts import Parts
from refresher.run.side_by_side import in_order
from refresher.run.verify import Found, Verification, refused_report
from refresher.servicenow.answers import Verdict
from refresher.telemetry import emit, emit_tick


def due(parts: Parts, reading_time: Callable[[], timedelta]) -> tuple[str, ...]:
    """Names of the connections that a run would do something for; what was tried of the others is logged."""
    refresher, connections = Refresher(parts), parts.settings.connections
    verification = Verification(parts.servicenow, parts.clock, parts.settings.timing, Trigger.TIMER)

    def name_if_due(connection: Connection) -> str | None:
        return connection.name if refresher.is_due(connection, reading_time(), verification.look) else None

    names = [name for name in in_order(name_if_due, connections) if name is not None]
    others = [each.name for each in connections if each.name not in names and verification.is_to_be_tried(each.name)]
    tried = verification.try_stored(others)
    refused = {name: found for name, found in tried.items() if found.probe.verdict is Verdict.REJECTED}
    replaceable = {
        name: found for name, found in refused.items() if verification.consequence(found)[0] is Consequence.REFRESH
    }
    waiting = verification.waiting(replaceable)
    for name, pioneer in waiting.items():
        emit(_waits(parts, refused[name], pioneer), parts.clock.now())
    emit_tick(len(connections), due=len(names), tried=len(tried), refused=tuple(refused))
    return (*names, *(name for name in refused if name not in waiting))


def _waits(parts: Parts, found: Found, pioneer: str) -> RunReport:
    report = RunReport(
        connection=found.connection.name,
        run_id=parts.clock.new_id(),
        trigger=Trigger.TIMER,
        outcome=Outcome.FAILED,
        message="",
        tried=Verdict.REJECTED.value,
    )
    return refused_report(report, f"first {pioneer} has to get one that is accepted", found)
