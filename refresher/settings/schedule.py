"""How far apart the ticks of a schedule lie, at most.

Azure Functions reads a timer's schedule as NCRONTAB: six fields `second minute hour day month day-of-week`, UTC,
each `*`, a value, a range, a step or a list of those; a day must fit both of its fields. The policy needs one
figure of it: how long the wait for the next tick can be. Two forms that Azure knows are refused here: a TimeSpan
(`00:05:00`) stops the host on Flex Consumption, and five fields are read as cron by people and as NCRONTAB by some.
"""

import re
from collections.abc import Sequence
from datetime import date, timedelta
from itertools import pairwise, product

_DAY = 24 * 60 * 60
_FIRST_DAY = date(2001, 1, 1)
_CALENDAR_REPEATS_AFTER = 28 * 366
"""Days, rounded up: within 1901-2099 every 28 years the days of the week fall on the same dates again."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS: tuple[tuple[str, int, int, tuple[str, ...]], ...] = (
    ("second", 0, 59, ()),
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day", 1, 31, ()),
    ("month", 1, 12, _MONTHS),
    ("day of the week", 0, 6, _WEEKDAYS),
)
_ITEM = re.compile(r"(?:(\*)|([0-9]{1,2}|[a-z]{3,9})(?:-([0-9]{1,2}|[a-z]{3,9}))?)(?:/([0-9]{1,2}))?", re.ASCII)


class ScheduleError(ValueError):
    """A schedule that cannot be used. The message says what is wrong, without repeating the schedule."""


def longest_gap(schedule: str) -> timedelta:
    """The longest time between two ticks of an NCRONTAB schedule; raises ScheduleError."""
    fields = schedule.split()
    if ":" in schedule:
        message = "it is a TimeSpan, which stops the app on Flex Consumption"
        raise ScheduleError(message)
    if len(fields) != len(_FIELDS):
        message = f"it has {len(fields)} fields instead of six (the first one is the second)"
        raise ScheduleError(message)
    seconds, minutes, hours, days, months, weekdays = (
        _values(field.lower(), *limits) for field, limits in zip(fields, _FIELDS, strict=True)
    )
    times = [hour * 3600 + minute * 60 + second for hour, minute, second in product(hours, minutes, seconds)]
    within_a_day = max((later - earlier for earlier, later in pairwise(times)), default=0)
    overnight = _longest_day_gap(days, months, weekdays) * _DAY - times[-1] + times[0]
    return timedelta(seconds=max(within_a_day, overnight))


def _values(field: str, name: str, lowest: int, highest: int, names: tuple[str, ...]) -> list[int]:
    chosen: set[int] = set()
    for item in field.split(","):
        match = _ITEM.fullmatch(item)
        if match is None:
            message = f"the field for the {name} cannot be read"
            raise ScheduleError(message)
        star, start, end, step = match.groups()
        first = lowest if star else _number(start, name, lowest, names)
        if star or (step and end is None):
            last = highest
        else:
            last = _number(end, name, lowest, names) if end else first
        if not (lowest <= first <= last <= highest) or step in {"0", "00"}:
            message = f"the field for the {name} is out of its range {lowest}-{highest}"
            raise ScheduleError(message)
        chosen.update(range(first, last + 1, int(step or 1)))
    return sorted(chosen)


def _number(text: str, name: str, lowest: int, names: tuple[str, ...]) -> int:
    if text.isdigit():
        return int(text)
    for position, short in enumerate(names, start=lowest):
        if text.startswith(short):
            return position
    message = f"the field for the {name} holds a name that is not known"
    raise ScheduleError(message)


def _longest_day_gap(days: Sequence[int], months: Sequence[int], weekdays: Sequence[int]) -> int:
    if (len(days), len(months), len(weekdays)) == (31, 12, 7):
        return 1
    calendar = (_FIRST_DAY + timedelta(days=offset) for offset in range(2 * _CALENDAR_REPEATS_AFTER))
    fitting = [
        day.toordinal()
        for day in calendar
        if day.day in days and day.month in months and day.isoweekday() % 7 in weekdays
    ]
    if not fitting:
        message = "no day fits its fields, so that it never fires"
        raise ScheduleError(message)
    return max(later - earlier for earlier, later in pairwise(fitting))
