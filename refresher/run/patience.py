"""What a tick waits for, so that a token which ends meanwhile is followed by a new one at once, not a tick later.

Two things: an instance that is away, and the end of a token that ServiceNow returns again and again until it ends.
An instance is asked whether it is back without credentials. What is then sent again is the run, once in a tick; a
password only where nobody can have seen the first one. A person, and the queue, wait for no more than the end of a
token that is seconds away.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from math import inf

from refresher.model.causes import Cause, Kind
from refresher.model.clock import Deadline
from refresher.model.connection import Connection
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, Trigger
from refresher.run.side_by_side import CONNECTIONS_AT_ONCE

RERUNS = 1
"""Of each connection, in one tick: what then fails again is no outage that has just ended."""
_LONGEST_OUTAGE = timedelta(days=1)
"""Since the end of the token; an instance that is away for longer was given up, and the platform bills the waiting."""
_BETWEEN = 20.0
_RUNS_TAKE = 20.0
"""Seconds for as many runs as go on at once."""
_SURELY_ENDED = timedelta(seconds=1)
"""`expires_in` counts whole seconds: the token may live for the rest of one more."""
_OTHERS_WAIT = 22.0
"""Seconds, for the end of a token, where it is not the timer that waits."""

Ran = tuple[Connection, RunReport]


def is_worth_waiting(report: RunReport, now: datetime) -> bool:
    """Whether a run failed that would succeed as soon as the instance is back, and is missed until then."""
    ends_at = report.access_token_expires_at
    unseen = report.cause is Cause.INSTANCE_HIBERNATING or report.grant is not Grant.PASSWORD
    return (
        report.trigger is Trigger.TIMER
        and report.outcome is Outcome.FAILED
        and report.cause is not None
        and report.cause.row.kind is Kind.AWAY
        and unseen
        and ends_at is not None
        and now - ends_at < _LONGEST_OUTAGE
    )


def seconds_to_new_token(report: RunReport, now: datetime) -> float | None:
    """Until ServiceNow gives a new token, where it returned the stored one; None where nothing is waited for."""
    ends_at = report.access_token_expires_at
    if report.outcome is not Outcome.UNCHANGED or ends_at is None:
        return None
    seconds = max(0.0, (ends_at + _SURELY_ENDED - now).total_seconds())
    return seconds if report.trigger is Trigger.TIMER or seconds <= _OTHERS_WAIT else None


def wait(
    ran: Sequence[Ran],
    now: datetime,
    left: Deadline,
    sleep: Callable[[float], None],
    are_back: Callable[[Sequence[Connection]], Sequence[bool]],
) -> tuple[Connection, ...]:
    """The connections to run again, as soon as there are any; none where the time that is left does not suffice.

    `are_back` asks one connection of each instance, side by side.
    """
    ending = {each.name: seconds for each, report in ran if (seconds := seconds_to_new_token(report, now)) is not None}
    waiting = [each for each, report in ran if is_worth_waiting(report, now)]
    away = {each.instance_url: each for each in waiting}
    began = left.remaining()
    last = began - _RUNS_TAKE * -(-(len(ending) + len(waiting)) // CONNECTIONS_AT_ONCE)
    soonest = min((seconds for seconds in ending.values() if seconds <= last), default=None)
    while away or soonest is not None:
        passed = began - left.remaining()
        if soonest is not None and (not away or soonest <= passed + _BETWEEN):
            sleep(max(0.0, soonest - passed))
            ended = max(soonest, began - left.remaining())
            return tuple(each for each, _ in ran if ending.get(each.name, inf) <= ended)
        if passed + _BETWEEN > last:
            break
        sleep(_BETWEEN)
        answers = are_back(tuple(away.values()))
        back = {url for url, answered in zip(away, answers, strict=True) if answered}
        if back:
            return tuple(each for each in waiting if each.instance_url in back)
    return ()
