"""The timer's schedule: what is read of it, what the host is given, and how far apart two ticks lie.

Azure Functions reads a schedule as NCRONTAB: six fields `second minute hour day month day-of-week`, UTC. The code
decides what is due, so that only one form is of use here: a tick at full minutes, around the clock. Whatever else
NCRONTAB knows is refused, with what to write instead; what is accepted here, the host's library accepts to the
character. A timer whose schedule the host cannot read never fires, and nobody is told: the host is therefore given
the default in its place, and each tick says what is wrong with the setting.
"""

import re
from datetime import timedelta
from itertools import pairwise

DEFAULT_SCHEDULE = "0 */5 * * * *"
EXPECTED = "0 MINUTES * * * *, where MINUTES is a number, a list such as 0,20,40, a step such as */5, or both: 2/5"
_MINUTE = r"(?:[0-5]?[0-9])"
_STEP = r"(?:0?[1-9]|[1-5][0-9])"
_MINUTES = re.compile(rf"{_MINUTE}(?:,{_MINUTE})*|(?:\*|{_MINUTE})/{_STEP}", re.ASCII)
_TIME_SPAN = re.compile(r"0?0:([0-5][0-9]):00", re.ASCII)


class ScheduleError(ValueError):
    """A schedule that cannot be used; `instead` is the one that comes nearest to it."""

    def __init__(self, instead: str) -> None:
        super().__init__(instead)
        self.instead = instead


def longest_gap(schedule: str) -> timedelta:
    """The longest time between two ticks of a schedule; raises ScheduleError."""
    minutes = schedule.removeprefix("0 ").removesuffix(" * * * *")
    if schedule != f"0 {minutes} * * * *" or not _MINUTES.fullmatch(minutes):
        raise ScheduleError(_nearest(schedule))
    ticks = _ticks(minutes)
    return timedelta(minutes=max(later - earlier for earlier, later in pairwise([*ticks, ticks[0] + 60])))


def timer_schedule(setting: str | None) -> str:
    """What the host is given: the setting where it can be used, else the default."""
    try:
        longest_gap(setting or "")
    except ScheduleError:
        return DEFAULT_SCHEDULE
    return setting or DEFAULT_SCHEDULE


def _ticks(minutes: str) -> list[int]:
    start, slash, step = minutes.partition("/")
    if slash:
        return list(range(0 if start == "*" else int(start), 60, int(step)))
    return sorted({int(minute) for minute in minutes.split(",")})


def _nearest(schedule: str) -> str:
    span = _TIME_SPAN.fullmatch(schedule.strip())
    fields = schedule.split()
    minutes = fields[-5] if len(fields) in {5, 6} else ""
    if span is not None:
        minutes = f"*/{int(span[1])}"
    elif minutes == "*":
        minutes = "*/1"
    return f"0 {minutes} * * * *" if _MINUTES.fullmatch(minutes) else DEFAULT_SCHEDULE
