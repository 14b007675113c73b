"""A lock on a file: one refresher at a time on one machine, and the kernel ends it with its holder."""

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from refresher import lock_file
from refresher.lease.lease import LAST_TICK, Confirm, held, stamp
from refresher.model.causes import Cause
from refresher.model.clock import Clock
from refresher.model.errors import LeaseHeldError, LeaseUnavailableError
from refresher.model.moments import parse_instant
from refresher.model.steps import Step

_T = TypeVar("_T")
LOCK_DIRECTORY = Path("/tmp")  # noqa: S108 - what `TMPDIR` names differs from user to user, and one lock would be two
"""Of the file locks: every user of a machine can write in it."""
_END_HOLDER = "See what that process does (`ps`): one that was stopped goes on (`kill -CONT`) or has to be ended."


class FileLease:
    """A lock on a file, for the processes and threads of one machine; `scope` (a vault's URL) tells apps apart."""

    def __init__(self, directory: Path, clock: Clock, scope: str) -> None:
        self._directory = directory
        self._clock = clock
        self._scope = scope

    def expect(self, connection: str) -> None:
        """Nothing to prepare."""

    @contextmanager
    def acquire(self, connection: str, read: Callable[[], _T]) -> Iterator[tuple[_T, Confirm]]:
        """Hold the lock while the context lasts; the kernel drops it when the process ends in whatever way."""
        # The file stays: removing it would let two processes lock two files of one name.
        file, taken = self._take(connection)
        try:
            if not taken:
                raise held(connection, _holder_in(lock_file.read(file)), Step(_END_HOLDER))
            lock_file.write(file, f"{stamp(self._clock.now())} process {os.getpid()}")
            try:
                yield read(), lambda: None  # the kernel knows who holds a lock
            finally:
                lock_file.write(file, "")
        finally:
            os.close(file)

    def holder(self, connection: str) -> LeaseHeldError | None:
        """Who holds the lock: seen by taking it for a moment, which keeps nobody out for longer."""
        file, taken = self._take(connection)
        about = lock_file.read(file)
        os.close(file)
        return None if taken else held(connection, _holder_in(about), Step(_END_HOLDER))

    def note_tick(self) -> None:
        """Write it into a file beside the locks."""
        with suppress(LeaseUnavailableError):
            file, _ = self._take(LAST_TICK)
            lock_file.write(file, stamp(self._clock.now()))
            os.close(file)

    def last_tick(self) -> datetime | None:
        """Read it there."""
        file, _ = self._take(LAST_TICK)
        text = lock_file.read(file)
        os.close(file)
        return parse_instant(text.decode("ascii", errors="replace"))

    def _take(self, connection: str) -> tuple[int, bool]:
        path = lock_path(self._directory, self._scope, connection)
        message = "a lock file keeps runs apart on a POSIX system only, which this is not"
        if hasattr(os, "O_NOFOLLOW"):
            try:
                return lock_file.take(path)
            except OSError as error:
                message = f"the lock file {path} cannot be used: {error.strerror}"
        raise LeaseUnavailableError(
            message,
            cause=Cause.LEASE_UNAVAILABLE,
            hint=f"See that {self._directory} has room and that this user may read the file, or remove it; or set "
            "LEASE_CONTAINER_URL for a lease that all machines share.",
        )


def lock_path(directory: Path, scope: str, name: str) -> Path:
    """The file that keeps apart what runs under that name, or holds the mark of the last tick."""
    return directory / f"servicenow-refresh-{hashlib.sha256(scope.encode()).hexdigest()[:16]}-{name}.lock"


def _holder_in(text: bytes) -> dict[str, str]:
    since, _, holder = text.decode("ascii", errors="replace").partition(" ")
    return {"since": since, "holder": holder}
