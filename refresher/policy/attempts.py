"""The last attempts of a connection: a tag that remembers failures, and what people are told of them all.

The tag `failures` of the record holds when each was, in UTC, and its cause, newest first, with commas between them:
`20260301T1205/access_denied`. It decides nothing, and rides on a write that happens anyway. Successes are known from
the tokens themselves.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

REMEMBERED = 6
"""Of the longest cause (24 letters) they fit into the 256 characters of a tag."""
_FORM = "%Y%m%dT%H%M"
_ITEM = re.compile(r"(\d{8}T\d{4})/([a-z_]{1,28})", re.ASCII)


@dataclass(frozen=True, slots=True)
class Attempt:
    """When it was, and what came of it: the cause of a failure, else the outcome."""

    at: datetime
    code: str


def with_failure(failures: tuple[Attempt, ...], at: datetime, cause: str, *, counts: bool) -> tuple[Attempt, ...]:
    """The failures with one more; one of the same tick as the last stands in its place."""
    return (Attempt(at, cause), *(failures if counts else failures[1:]))[:REMEMBERED]


def format_failures(failures: Iterable[Attempt]) -> str | None:
    """The tag; None where there is nothing to tell."""
    items = [f"{each.at.astimezone(UTC):{_FORM}}/{each.code}" for each in failures]
    return ",".join(item for item in items if _ITEM.fullmatch(item)) or None


def parse_failures(text: str | None) -> tuple[Attempt, ...]:
    """Read the tag; what cannot be read ends the tale."""
    failures: list[Attempt] = []
    for item in (text or "").split(",")[:REMEMBERED]:
        found = _ITEM.fullmatch(item)
        try:
            at = datetime.strptime(found[1], _FORM).replace(tzinfo=UTC) if found else None
        except ValueError:
            at = None
        if found is None or at is None:
            break
        failures.append(Attempt(at, found[2]))
    return tuple(failures)


def last_attempts(
    failures: Iterable[Attempt], refreshed_at: Iterable[datetime], *, revoked_at: datetime | None = None
) -> tuple[Attempt, ...]:
    """Failures, successes and the end that an operator made, newest first."""
    attempts = [*failures, *(Attempt(at, "refreshed") for at in refreshed_at)]
    if revoked_at is not None:
        attempts.append(Attempt(revoked_at, "revoked"))
    return tuple(sorted(attempts, key=lambda attempt: attempt.at, reverse=True)[:REMEMBERED])
