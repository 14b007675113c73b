"""When a run is tried again within its tick, so that consumers need not wait for the next one.

A failure that passes is tried again after a minute, and a token that ServiceNow returned again is followed by a new
one as soon as it has ended. The timer waits as long as its tick lasts; a person, and the queue, for seconds only.
"""

from datetime import datetime, timedelta

from refresher.model.causes import Cause, Kind
from refresher.model.report import Outcome, RunReport, Trigger
from refresher.policy.due import Reason

MINUTE = 60.0
"""Seconds between two tries. The instance then has the whole run's tries behind it."""
_SURELY_ENDED = timedelta(seconds=1)
"""`expires_in` counts whole seconds: the token may live for the rest of one more."""
_OTHERS_WAIT = 22.0
"""Seconds, where it is not the timer that waits."""
_LONGEST_OUTAGE = timedelta(days=1)
"""Since the end of the token; what is away for longer was given up, and the platform bills the waiting."""


def seconds_to_next_try(report: RunReport, now: datetime) -> float | None:
    """Seconds to wait before this connection runs again in the same tick; None where that is the next tick's."""
    ends_at = report.access_token_expires_at
    seconds = None
    if report.outcome is Outcome.UNCHANGED and ends_at is not None:
        seconds = max(0.0, (ends_at + _SURELY_ENDED - now).total_seconds())
    elif report.outcome is Outcome.FAILED and _passes(report) and not report.password_sent:
        given_up = report.working is False and (ends_at is None or now - ends_at >= _LONGEST_OUTAGE)
        seconds = None if given_up else max(MINUTE, report.retry_after or 0.0)
    if seconds is None or report.trigger is Trigger.TIMER or seconds <= _OTHERS_WAIT:
        return seconds
    return None


def _passes(report: RunReport) -> bool:
    """Whoever wakes a sleeping instance waits for it; the vault of a copy may be gone for good.

    So may what is refused in two ticks running: that is no fault of a minute, and who asks too often is locked out.
    Where nothing but the stored token's refusal led to it, the next tick is soon enough as well.
    """
    cause = report.cause
    if cause is None or cause is Cause.PUBLISH_FAILED:
        return False
    for_that_alone = report.reason is Reason.ACCESS_TOKEN_REFUSED
    if cause.row.kind is Kind.REFUSED and (for_that_alone or report.consecutive_failures > 1):
        return False
    return cause.row.passes or cause.row.kind is Kind.AWAY
