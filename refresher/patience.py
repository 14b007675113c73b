"""What a tick waits for, so that a token which ends meanwhile is followed by a new one at once, not a tick later.

Two things: an instance that is away, and the end of a token that ServiceNow returns again and again until it ends.
Only what nobody waits for does so (the timer, the queue), within the time that a tick has anyway. An instance is asked
whether it is back without credentials: nothing is sent again that could be refused, or use something up.
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
_SURELY_ENDED = timedelta(seconds=1)
"""`expires_in` counts whole seconds: the token may live for the rest of one more."""

Ran = tuple[Connection, RunReport]


def is_worth_waiting(report: RunReport, now: datetime) -> bool:
    """Whether a run failed that would succeed as soon as the instance is back, and is missed until then."""
    ends_at = report.access_token_expires_at
    return (
        report.trigger in _PATIENT
        and report.outcome is Outcome.FAILED
        and report.cause in AWAY
        and ends_at is not None
        and now - ends_at < _LONGEST_OUTAGE
    )


def new_token_from(report: RunReport) -> datetime | None:
    """From when on ServiceNow gives a new token, where it returned the stored one; None where it did not."""
    ends_at = report.access_token_expires_at
    if report.trigger not in _PATIENT or report.outcome is not Outcome.UNCHANGED or ends_at is None:
        return None
    return ends_at + _SURELY_ENDED


def wait(
    ran: Sequence[Ran],
    left: Deadline,
    clock: Clock,
    are_back: Callable[[Sequence[Connection], Deadline], Sequence[bool]],
) -> tuple[Connection, ...]:
    """The connections to run again, as soon as there are any; none where the time does not suffice.

    `are_back` asks one connection of each instance, side by side.
    """
    now = clock.now()
    last = now + timedelta(seconds=left.remaining()) - _RUN_TAKES
    away = {each.instance_url: each for each, report in ran if is_worth_waiting(report, now)}
    moments = {each.name: moment for each, report in ran if (moment := new_token_from(report)) and moment < last}
    soonest = min(moments.values(), default=None)
    while away or soonest is not None:
        now = clock.now()
        if soonest is not None and (not away or soonest <= now + _BETWEEN):
            clock.sleep(max(0.0, (soonest - now).total_seconds()))
            ended = max(soonest, clock.now())
            return tuple(each for each, _ in ran if each.name in moments and moments[each.name] <= ended)
        if now + _BETWEEN > last:
            break
        clock.sleep(_BETWEEN.total_seconds())
        answers = are_back(tuple(away.values()), left.part(1.0, _ANSWER_TAKES))
        back = {url for url, answered in zip(away, answers, strict=True) if answered}
        if back:
            return tuple(each for each, report in ran if is_worth_waiting(report, now) and each.instance_url in back)
    return ()
