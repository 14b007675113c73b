"""The conditions of our queries, applied to an event: their `where` lines, and no more of KQL than those use."""

import json
import re
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

FIELD = r"(?:tostring|toint)\(event\.(\w+)\)"
OWN = '_ResourceId =~ "{component}"'
"""Keeps to the events of one installation; what follows judges the event."""
_STARTS = re.compile(r"Message startswith '(.+)'")
_EQUALS = re.compile(rf'{FIELD} == "?(\w+)"?')
_DIFFERS = re.compile(rf'{FIELD} != "(\w+)"')
_IN = re.compile(rf"{FIELD} in \((.+)\)")
_NOT_IN = re.compile(rf"{FIELD} !in \((.+)\)")
_AT_LEAST = re.compile(rf"{FIELD} >= (\d+)")
_BELOW = re.compile(rf"{FIELD} < (\d+)")


def conditions(query: str) -> list[str]:
    """The `where` lines that speak of the event: what comes after a summary is about many of them."""
    lines = [line.strip().removeprefix("| ") for line in query.splitlines()]
    upto = next((at for at, line in enumerate(lines) if line.startswith("summarize")), len(lines))
    return [line.removeprefix("where ") for line in lines[:upto] if line.startswith("where ") and OWN not in line]


def selects(query: str, message: str) -> bool:
    """Whether a message passes every condition."""
    return all(_holds(condition, message) for condition in conditions(query))


def _holds(condition: str, message: str) -> bool:
    """`and` binds more than `or`, and none of our conditions has parentheses around either."""
    if " or " in condition:
        return any(all(_holds(each, message) for each in side.split(" and ")) for side in condition.split(" or "))
    kinds: list[tuple[re.Pattern[str], Callable[[Mapping[str, object], re.Match[str]], bool]]] = [
        (_STARTS, lambda _, found: message.startswith(found[1])),
        (_EQUALS, lambda event, found: str(event.get(found[1])) == found[2]),
        (_DIFFERS, lambda event, found: event.get(found[1]) != found[2]),
        (_IN, lambda event, found: f'"{event.get(found[1])}"' in found[2].split(", ")),
        (_NOT_IN, lambda event, found: f'"{event.get(found[1])}"' not in found[2].split(", ")),
        (_AT_LEAST, lambda event, found: isinstance(value := event.get(found[1]), int) and value >= int(found[2])),
        (_BELOW, lambda event, found: isinstance(value := event.get(found[1]), int) and value < int(found[2])),
    ]
    event = json.loads(message)
    for pattern, judge in kinds:
        found = pattern.fullmatch(condition)
        if found:
            return judge(event, found)
    raise AssertionError(f"this condition is of a kind that is not known here: {condition}")


def connections_told(query: str, messages: Iterable[str]) -> str | None:
    """What an alert says of the connections, in the words of the query's last line; None where it does not fire."""
    names = sorted({str(json.loads(message)["connection"]) for message in messages if selects(query, message)})
    ((most, crowd, between),) = re.findall(
        r'iff\(array_length\(names\) > (\d+), "(.+?)", strcat_array\(array_sort_asc\(names\), "(.+?)"\)\)', query
    )
    if not names:
        return None
    return str(crowd if len(names) > int(most) else between.join(names))


def silent(query: str, last: datetime | None, now: datetime) -> int | None:
    """The minutes of RefreshMissing, by what it says of a default and a limit; None where it does not fire."""
    (default,) = re.findall(r"coalesce\(datetime_diff\('minute', now\(\), last_tick\), (\d+)\)", query)
    (limit,) = re.findall(r"where minutes_without > (\d+)", query)
    minutes = int((now - last).total_seconds() // 60) if last is not None else int(default)
    return minutes if minutes > int(limit) else None


def fields(query: str) -> set[str]:
    """The fields of the event that a query reads."""
    return set(re.findall(r"event\.(\w+)", query))
