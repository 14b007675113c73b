"""The right to refresh a connection, and what whoever finds it held is told.

Rules: whoever finds it held leaves at once; nobody queues. A lease ends by itself when its holder is killed. Who holds
it, and since when, is written down; what stands there is only told where it looks like what this program writes.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from refresher.model.causes import Cause
from refresher.model.errors import LeaseHeldError
from refresher.model.moments import parse_instant
from refresher.model.steps import Step

_T = TypeVar("_T")
Confirm = Callable[[], None]
_RETRY_AFTER = 10.0
"""Seconds. A run takes a few; only after a kill does a blob lease take up to its full length."""
LAST_TICK = "last_tick"
"""What stands in a connection's place where the last tick is noted: no connection can have that name."""
_HOLDER = re.compile(r"[A-Za-z0-9 ._-]{1,80}")


class Lease(Protocol):
    """The right to refresh a connection, held by at most one refresher."""

    def expect(self, connection: str) -> None:
        """Prepare, beside whatever else goes on, since the lease will most likely be wanted soon."""

    def acquire(self, connection: str, read: Callable[[], _T]) -> AbstractContextManager[tuple[_T, Confirm]]:
        """Hold the lease while the context lasts, and read what it guards, as nobody else changes it meanwhile.

        Before the guarded is written, `Confirm` has to be called. Raises LeaseHeldError or LeaseUnavailableError on
        entry, and what `read` raises.
        """

    def holder(self, connection: str) -> LeaseHeldError | None:
        """Who holds it now, as whoever wanted it would be told; None where it is free, and could be had.

        Nothing is taken. Raises LeaseUnavailableError, also where it never could be had.
        """

    def note_tick(self) -> None:
        """Write down that a tick begins now. Never raises: nothing is decided by it, and nobody waits for it."""

    def last_tick(self) -> datetime | None:
        """When the last tick began; None where none was ever noted. Raises LeaseUnavailableError."""


def held(connection: str, about: Mapping[str, str], way_out: Step, *, endless: bool = False) -> LeaseHeldError:
    """Say since when and by whom, where that is known and looks like what this module writes."""
    message, since = f"another refresh of {connection} is under way", since_when(about)
    if endless:
        message, since = f"the lease of {connection} is held by something that is no refresher", None
    if since is not None:
        message += f", since {stamp(since)}"
        if _HOLDER.fullmatch(about.get("holder", "")):
            message += f", by {about['holder']}"
    error = LeaseHeldError(
        message,
        cause=Cause.LEASE_HELD,
        hint="Wait for it to end; after a kill it ends by itself within a minute.",
        transient=True,
        retry_after=_RETRY_AFTER,
    )
    error.since, error.endless, error.way_out = since, endless, way_out
    return error


def stamp(moment: datetime) -> str:
    """A moment as it is written down."""
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def since_when(about: Mapping[str, str]) -> datetime | None:
    """Since when it is held, by what was written down; None where that is nothing."""
    return parse_instant(about.get("since"))
