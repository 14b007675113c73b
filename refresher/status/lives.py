"""Which stretches of time had a working access token: lives, the gaps between them, and how a tag remembers a day.

The tag `recent` of an access token tells of the tokens before it, newest first, as `SINCE/LIVED` in minutes: how long
before the following token it was issued, and how long it lived. It rides on a write that happens anyway, so that the
last day can be shown after one read; listing a year's versions would take hundreds of requests.
"""

import re
from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import pairwise

Life = tuple[datetime, datetime]
"""From the issue of a token to its end."""
REMEMBERED = timedelta(hours=24)
_LONGEST_TAG = 256
_ITEM = re.compile(r"(\d{1,6})/(\d{1,6})")
_MINUTE = timedelta(minutes=1)


def remember(recent: str | None, life: Life, issued_at: datetime) -> str:
    """The tag of a token issued at that time, after a token of that life whose own tag was `recent`."""
    since, lived = _minutes(issued_at - life[0]), _minutes(life[1] - life[0])
    items, reaches_back = [f"{since}/{lived}"], since
    for item in (recent or "").split(","):
        found = _ITEM.fullmatch(item)
        reaches_back += int(found[1]) if found else 0
        if found is None or reaches_back * _MINUTE > REMEMBERED:
            break
        items.append(item)
    while len(",".join(items)) > _LONGEST_TAG:
        items.pop()
    return ",".join(items)


def _minutes(span: timedelta) -> int:
    return max(0, round(span / _MINUTE))


def recall(recent: str | None, issued_at: datetime) -> tuple[Life, ...]:
    """The lives that a tag tells of, oldest first; what cannot be read ends the tale."""
    lives: list[Life] = []
    following = issued_at
    for item in (recent or "").split(","):
        found = _ITEM.fullmatch(item)
        if found is None:
            break
        following -= int(found[1]) * _MINUTE
        lives.append((following, following + int(found[2]) * _MINUTE))
    return tuple(reversed(lives))


def union(lives: Iterable[Life]) -> tuple[Life, ...]:
    """The same stretches of time without overlaps, in order."""
    merged: list[Life] = []
    for begins, ends in sorted(lives):
        if merged and begins <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], ends))
        elif begins < ends:
            merged.append((begins, ends))
    return tuple(merged)


def gaps(lives: Iterable[Life], since: datetime, until: datetime) -> tuple[Life, ...]:
    """The stretches between two moments that no life covers."""
    found: list[Life] = []
    at = since
    for begins, ends in union(lives):
        if begins >= until:
            break
        if begins > at:
            found.append((at, begins))
        at = max(at, ends)
    if at < until:
        found.append((at, until))
    return tuple(found)


def cells(lives: Iterable[Life], since: datetime, until: datetime, count: int) -> tuple[bool, ...]:
    """The time between two moments in so many equal cells: whether each is covered throughout."""
    uncovered = gaps(lives, since, until)
    width = (until - since) / count
    edges = [since + width * number for number in range(count + 1)]
    return tuple(
        not any(begins < after and ends > before for begins, ends in uncovered) for before, after in pairwise(edges)
    )
