"""Waiting for an instance that is away: a token that runs out meanwhile is renewed when it is back, not a tick later.

Only what nobody waits for does so (the timer, the queue), only where the token does not live until the next tick, and
only by requests without credentials: nothing is sent again that could be refused, or use something up.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from refresher.clock import Clock, Deadline
from refresher.connection import Connection
from refresher.errors import AWAY
from refresher.outcome import Outcome, RunReport
from refresher.tokens import Trigger

_PATIENT = frozenset({Trigger.TIMER, Trigger.QUEUE})
_LONGEST_OUTAGE = timedelta(days=1)
"""Since the end of the token; an instance that is away for longer was given up, and the platform bills the waiting."""
_BETWEEN = timedelta(seconds=20)
_ANSWER_TAKES = timedelta(seconds=15)
_RUN_TAKES = timedelta(seconds=20)


def is_worth_waiting(report: RunReport, now: datetime) -> bool:
    """Whether a run that ended so would succeed as soon as the instance is back, and is missed until then."""
    ends_at = report.access_token_expires_at
    return (
        report.trigger in _PATIENT
        and report.outcome is Outcome.FAILED
        and report.cause in AWAY
        and ends_at is not None
        and now - ends_at < _LONGEST_OUTAGE
    )


def wait_until_back(
    connections: Sequence[Connection],
    left: Deadline,
    clock: Clock,
    are_back: Callable[[Sequence[Connection], Deadline], Sequence[bool]],
) -> tuple[Connection, ...]:
    """The connections whose instance answers again, as soon as there are any; none where the time does not suffice.

    `are_back` asks one connection of each instance, side by side.
    """
    by_instance = {connection.instance_url: connection for connection in connections}
    while by_instance and left.remaining() > (_BETWEEN + _RUN_TAKES).total_seconds():
        clock.sleep(_BETWEEN.total_seconds())
        answers = are_back(tuple(by_instance.values()), left.part(1.0, _ANSWER_TAKES))
        back = {url for url, answered in zip(by_instance, answers, strict=True) if answered}
        if back:
            return tuple(connection for connection in connections if connection.instance_url in back)
    return ()
