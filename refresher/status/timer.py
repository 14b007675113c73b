"""Whether the timer fires: by the mark that its last tick left, and by what this process's own settings say of it.

A host that cannot load the timer goes on answering, and tokens live for a while: only the mark tells. It stands where
the lease is kept, since timer, calls and people are on different machines; nothing that refreshes reads it.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from refresher.lease.lease import Lease
from refresher.model.causes import Cause
from refresher.model.errors import LeaseUnavailableError
from refresher.model.moments import minute
from refresher.model.steps import Step

_MISSED = 3
"""Intervals between two ticks after which the timer is taken to be dead."""


class TimerState(StrEnum):
    """Whether the timer fires."""

    TICKING = "ticking"
    NO_TICK = "no_tick"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimerStatus:
    """What is known of the timer; `remarks` is what the settings say of it, as sentences."""

    state: TimerState
    message: str
    last_tick_at: datetime | None = None
    next_step: Step | None = None
    remarks: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether nothing is known against it."""
        return self.state is not TimerState.NO_TICK


def read_last_tick(lease: Lease) -> datetime | LeaseUnavailableError | None:
    """When the last tick began, or why that cannot be read; None where none was noted."""
    try:
        return lease.last_tick()
    except LeaseUnavailableError as error:
        return error


def judge_timer(
    last: datetime | LeaseUnavailableError | None,
    *,
    shared: bool,
    tick: timedelta,
    now: datetime,
    schedule_problem: str | None = None,
    disabled: bool = False,
) -> TimerStatus:
    """Judge the mark: `shared` says that whoever ticks leaves it there, and `tick` is the longest time between two.

    The mark of one machine tells of that machine: that of a person's tick yesterday says nothing of the app's timer.
    """
    remarks: tuple[str, ...] = (schedule_problem,) if schedule_problem is not None else ()
    if disabled:
        remarks += ("AzureWebJobs.refresh_tokens.Disabled stops the timer",)
    if isinstance(last, LeaseUnavailableError):
        message = f"when the last tick was is unknown: {last.message}"
        return TimerStatus(state=TimerState.UNKNOWN, message=message, next_step=last.hint, remarks=remarks)
    step: Step | None = None
    if last is not None and last - now > _MISSED * tick:
        state = TimerState.UNKNOWN
        message = f"the last tick was noted at {minute(last)}, ahead of this machine's clock"
        step = Step(
            "Set this machine's clock by NTP (timedatectl). Is it right? Then the next tick notes another time."
        )
    elif last is not None and now - last <= _MISSED * tick:
        state = TimerState.TICKING
        message = f"the last tick was {max(0, round((now - last).total_seconds() / 60))} min ago"
    elif shared:
        state, step = TimerState.NO_TICK, Cause.NO_TICK.row.next_step
        message = "no tick was ever noted" if last is None else f"the last tick was at {minute(last)}"
        message += f"; the timer should fire every {round(tick.total_seconds() / 60)} min"
    else:
        state = TimerState.UNKNOWN
        message = "no tick was noted on this machine"
        if last is not None:
            message = f"the last tick of this machine was at {minute(last)}"
        message += "; without LEASE_CONTAINER_URL those of others are unknown"
    return TimerStatus(state=state, message=message, last_tick_at=last, next_step=step, remarks=remarks)
