"""Who may refresh a connection: one refresher at a time, on one machine (file) or everywhere (blob).

Rules: the state is looked at before the lease is tried for, so that waiting programs cause no flood of conflicts; who
held it last, and wrote down that it did, tries at once.
Whoever finds it held leaves at once; nobody queues. A lease ends by itself when its holder is killed: the kernel
drops the file lock, the storage service ends the blob lease after its fixed length, which is longer than a run.
Who holds it, and since when, stands in the file or the blob's metadata; nobody is let in or kept out by that.
"""

import hashlib
import os
import re
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, wait
from contextlib import AbstractContextManager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from json import JSONDecodeError
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar
from urllib.parse import urlsplit

from azure.core.credentials import TokenCredential
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceExistsError,
    ResourceModifiedError,
    ResourceNotFoundError,
)

from refresher import lock_file
from refresher.model import steps
from refresher.model.causes import Cause
from refresher.model.clock import Clock
from refresher.model.errors import LeaseHeldError, LeaseUnavailableError
from refresher.model.moments import parse_instant
from refresher.model.steps import Step
from refresher.model.version import USER_AGENT
from refresher.network.sockets import limit
from refresher.policy.exclusion import may_release, reads_stand

if TYPE_CHECKING:
    from azure.storage.blob import (
        BlobClient,
        BlobLeaseClient,
        BlobProperties,
        ContainerClient,
    )

_T = TypeVar("_T")
_P = ParamSpec("_P")
Confirm = Callable[[], None]
LOCK_DIRECTORY = Path("/tmp")  # noqa: S108 - what `TMPDIR` names differs from user to user, and one lock would be two
"""Of the file locks: every user of a machine can write in it."""
CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 5.0
"""Seconds. The SDK waits 20 and 60 by default, and tries four times with pauses of 15 seconds and more."""
_TAKES = 15.0
"""Seconds, for all that has to be asked before a lease is held; and for what is written and released at its end."""
_ENDING_TAKES = 4.0
_NOTE_TAKES = 4.0
TOKEN_SCOPE = "https://storage.azure.com/.default"  # noqa: S105 - what a token is good for
"""Of every storage account, in every cloud: what the SDK asks for."""
ROLE = "Storage Blob Data Contributor"
_LIMITS: Mapping[str, Any] = {"connection_timeout": CONNECT_TIMEOUT, "read_timeout": READ_TIMEOUT}
_BROKEN = (AzureError, ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)
"""What comes of a broken answer as well: the SDK takes apart unchecked whatever it is sent."""
_RETRY_AFTER = 10.0
"""Seconds. A run takes a few; only after a kill does a blob lease take up to its full length."""
_HOLDER = re.compile(r"[A-Za-z0-9 ._-]{1,80}")
_HELD = frozenset({"leased", "breaking"})
_TELLS_WITHIN = 2.0
"""Seconds. A holder writes down who it is as soon as it holds the lease."""
_END_HOLDER = "See what that process does (`ps`): one that was stopped goes on (`kill -CONT`) or has to be ended."
_REFUSED = frozenset({401, 403})
_NOT_FOUND = 404
_TICK = "last_tick"
"""What stands in a connection's place where the last tick is noted."""
_NO_ETAG = '"0x0"'
"""The entity tag of no blob."""


class Lease(Protocol):
    """The right to refresh a connection, held by at most one refresher."""

    def expect(self, connection: str) -> None:
        """Prepare, beside whatever else goes on, since the lease will most likely be wanted soon."""

    def acquire(self, connection: str, read: Callable[[], _T]) -> AbstractContextManager[tuple[_T, Confirm]]:
        """Hold the lease while the context lasts, and read what it guards, as nobody else changes it meanwhile.

        Before the guarded is written, `Confirm` has to be called. Raises LeaseHeldError or LeaseUnavailableError on
        entry, and what `read` raises.
        """

    def is_held(self, connection: str) -> bool:
        """Whether a run holds it now; nothing is taken. Raises LeaseUnavailableError, also where it never could be."""

    def note_tick(self) -> None:
        """Write down that a tick begins now. Never raises: nothing is decided by it, and nobody waits for it."""

    def last_tick(self) -> datetime | None:
        """When the last tick began; None where none was ever noted. Raises LeaseUnavailableError."""


class FileLease:
    """A lock on a file, for the processes and threads of one machine; `scope` (a vault's URL) tells apps apart."""

    def __init__(self, directory: Path, clock: Clock, scope: str) -> None:
        self._directory = directory
        self._clock = clock
        self._scope = hashlib.sha256(scope.encode()).hexdigest()[:16]

    def expect(self, connection: str) -> None:
        """Nothing to prepare."""

    @contextmanager
    def acquire(self, connection: str, read: Callable[[], _T]) -> Iterator[tuple[_T, Confirm]]:
        """Hold the lock while the context lasts; the kernel drops it when the process ends in whatever way."""
        # The file stays: removing it would let two processes lock two files of one name.
        file, taken = self._take(connection)
        try:
            if not taken:
                raise _held(connection, _holder_in(lock_file.read(file)), Step(_END_HOLDER))
            lock_file.write(file, f"{_stamp(self._clock.now())} process {os.getpid()}")
            try:
                yield read(), _nothing_to_confirm
            finally:
                lock_file.write(file, "")
        finally:
            os.close(file)

    def is_held(self, connection: str) -> bool:
        """Whether the lock is taken: seen by taking it for a moment, which keeps nobody out for longer."""
        file, taken = self._take(connection)
        os.close(file)
        return not taken

    def note_tick(self) -> None:
        """Write it into a file beside the locks."""
        with suppress(LeaseUnavailableError):
            file, _ = self._take(_TICK)
            lock_file.write(file, _stamp(self._clock.now()))
            os.close(file)

    def last_tick(self) -> datetime | None:
        """Read it there."""
        file, _ = self._take(_TICK)
        text = lock_file.read(file)
        os.close(file)
        return parse_instant(text.decode("ascii", errors="replace"))

    def _take(self, connection: str) -> tuple[int, bool]:
        path = self._directory / f"servicenow-refresh-{self._scope}-{connection}.lock"
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


class _Hold:
    """The lease of a blob while a run holds it."""

    def __init__(self, lease: "BlobLeaseClient", note: "Future[str | None]") -> None:
        self.lease = lease
        self.etag = lease.etag
        """The blob's when the lease was acquired: the lease itself leaves it alone."""
        self.writes = False
        self._note = note

    def confirm(self) -> None:
        """Wait until the note stands there, or has failed, and remember that something else is written from now on."""
        self.writes = True
        self.noted()

    def noted(self) -> str | None:
        """The blob's ETag since the note stands there; None where that is not known."""
        wait((self._note,), timeout=_NOTE_TAKES)
        return self._note.result() if self._note.done() and self._note.exception() is None else None


class BlobLease:
    """A lease of fixed length on an empty blob of the connection's name, for all processes on all machines.

    The blob's ETag tells whether anybody held the lease since it was last seen free: whoever holds it writes a note
    before anything else. So the vault is read while the lease is being acquired, and where the ETag differs, again.
    The identity needs the role Storage Blob Data Contributor on the container. `executor` does what no run waits for:
    the note, the release. `transport` carries the requests; None: the SDK's own.
    """

    def __init__(
        self,
        container_url: str,
        credential: TokenCredential,
        clock: Clock,
        executor: Executor,
        *,
        duration: timedelta = timedelta(seconds=60),
        transport: Any = None,  # noqa: ANN401 - the SDK's transports are generic in what they carry
    ) -> None:
        self._container_url = container_url
        self._credential = credential
        self._clock = clock
        self._executor = executor
        self._duration = duration
        self._transport = transport
        self._container: ContainerClient | None = None
        self._opening = threading.Lock()
        self._seen: dict[str, str] = {}
        """ETag of each blob when its lease was last free, or this process held it and wrote its note."""
        self._under_way: dict[str, Future[None]] = {}
        """A look or a release that nobody waited for yet."""

    def expect(self, connection: str) -> None:
        """Look whether it is free, beside whatever else goes on, unless that is known."""
        if connection not in self._seen and connection not in self._under_way:
            self._under_way[connection] = self._aside(self._look_ahead, connection)

    @contextmanager
    def acquire(self, connection: str, read: Callable[[], _T]) -> Iterator[tuple[_T, Confirm]]:
        """Hold the blob's lease while the context lasts. It ends without anybody waiting for its release."""
        self._await_own(connection)
        blob = self._open().get_blob_client(connection)
        seen = self._seen.pop(connection, None)
        if seen is None:
            seen = self._see_free(blob, connection)
        began = self._clock.monotonic()
        acquiring = self._aside(self._acquire, blob)
        try:
            found = read()
        except BaseException:
            self._let_go(connection, acquiring)
            raise
        hold = acquiring.result()
        if hold is None:
            raise self._held(blob, connection, self._look_at_holder(blob))
        try:
            if not reads_stand(seen, hold.etag, self._clock.monotonic() - began):
                found = read()
            yield found, hold.confirm
        finally:
            self._let_go(connection, acquiring)

    def _aside(self, job: Callable[_P, _T], *arguments: _P.args, **keywords: _P.kwargs) -> "Future[_T]":
        """Do it beside the run; at once in a process that is about to end, whose executor takes nothing more."""
        with suppress(RuntimeError):
            return self._executor.submit(job, *arguments, **keywords)
        done: Future[_T] = Future()
        try:
            done.set_result(job(*arguments, **keywords))
        except Exception as error:  # noqa: BLE001 - a future carries whatever was raised
            done.set_exception(error)
        return done

    def _await_own(self, connection: str) -> None:
        """Let a look or a release of this process come to its end."""
        under_way = self._under_way.pop(connection, None)
        if under_way is not None:
            wait((under_way,), timeout=_TAKES)

    def _look_ahead(self, connection: str) -> None:
        with suppress(LeaseUnavailableError), limit(_TAKES):
            properties = self._read_properties(self._open().get_blob_client(connection))
            if properties is not None and properties.lease.state not in _HELD:
                self._seen[connection] = properties.etag

    def _see_free(self, blob: "BlobClient", connection: str) -> str | None:
        """The blob's ETag, where the lease is free; it is made where it is not there. Raises LeaseHeldError."""
        with limit(_TAKES):
            properties = self._read_properties(blob)
            if properties is None:
                return self._create(blob)
            if properties.lease.state in _HELD:
                raise self._held(blob, connection, properties)
            return properties.etag

    def _let_go(self, connection: str, acquiring: "Future[_Hold | None]") -> None:
        self._under_way[connection] = self._aside(self._release, connection, acquiring)

    def _release(self, connection: str, acquiring: "Future[_Hold | None]") -> None:
        """Release it, unless that would let others believe that nothing was written."""
        with suppress(LeaseUnavailableError):
            hold = acquiring.result(_TAKES)
            etag = hold.noted() if hold is not None else None
            if hold is None or not may_release(writes=hold.writes, noted=etag is not None):
                return
            with suppress(*_BROKEN), limit(_ENDING_TAKES):
                hold.lease.release(**_LIMITS)
                if etag is not None:
                    self._seen[connection] = etag

    def _held(self, blob: "BlobClient", connection: str, properties: "BlobProperties | None") -> LeaseHeldError:
        """What is known of its holder; of one that has only just come, another's word may still stand there."""
        if properties is None or properties.lease.state not in _HELD:
            return _held(connection, {}, self._way_out(connection))
        endless = properties.lease.duration == "infinite"
        about = properties.metadata
        if not endless and self._is_of_another(about):
            self._clock.sleep(_TELLS_WITHIN)
            looked_at = self._read_properties(blob)
            about = looked_at.metadata if looked_at is not None else {}
            about = {} if self._is_of_another(about) else about
        return _held(connection, about, self._way_out(connection), endless=endless)

    def _is_of_another(self, about: Mapping[str, str]) -> bool:
        """Whether what is told there is older than a lease of fixed length can be: somebody else holds it now."""
        since = _since(about)
        return since is not None and self._clock.now() - since > self._duration

    def _way_out(self, connection: str) -> Step:
        account, container = (
            urlsplit(self._container_url).netloc.partition(".")[0],
            self._container_url.rpartition("/")[2],
        )
        return Step(
            "See that no refresh is at work, then break the lease: ", steps.break_lease(account, container, connection)
        )

    def _write_note(self, blob: "BlobClient", lease: "BlobLeaseClient") -> str | None:
        """Write down who holds it, for people and as another ETag; returns that, or None where it failed."""
        with suppress(*_BROKEN), limit(_NOTE_TAKES):
            etag = blob.set_blob_metadata(self._holder(), lease=lease, **_LIMITS).get("etag")
            return str(etag) if etag else None
        return None

    def is_held(self, connection: str) -> bool:
        """Whether the blob is leased; where it is not, whether it could be: without an effect."""
        self._await_own(connection)
        container = self._open()
        blob = container.get_blob_client(connection)
        properties = self._read_properties(blob)
        if properties is None:
            self._read_container(container)
        elif properties.lease.state in _HELD:
            return True
        self._try_to_write(blob)
        return False

    def note_tick(self) -> None:
        """Write it on a blob of its own, whose name no connection can have."""
        with suppress(*_BROKEN), limit(_ENDING_TAKES):
            blob = self._open().get_blob_client(_TICK)
            blob.upload_blob(b"", overwrite=True, metadata={"at": _stamp(self._clock.now())}, **_LIMITS)

    def last_tick(self) -> datetime | None:
        """Read it there."""
        with limit(_ENDING_TAKES):
            properties = self._read_properties(self._open().get_blob_client(_TICK))
        return parse_instant(properties.metadata.get("at")) if properties is not None else None

    def _try_to_write(self, blob: "BlobClient") -> None:
        """Write on a condition that nothing meets: refused for the condition where writing is permitted."""
        from azure.core import MatchConditions  # noqa: PLC0415

        failure: Exception | None = None
        try:
            blob.upload_blob(
                b"", overwrite=True, etag=_NO_ETAG, match_condition=MatchConditions.IfNotModified, **_LIMITS
            )
        except ResourceModifiedError:
            return
        except _BROKEN as error:
            failure = self._unavailable(error)
        if failure is not None:
            raise failure

    def _read_container(self, container: "ContainerClient") -> None:
        try:
            container.get_container_properties(**_LIMITS)
            return
        except _BROKEN as error:
            failure = self._unavailable(error)
        raise failure

    def _open(self) -> "ContainerClient":
        """The one client of the process, made when it is first needed: the SDK takes a moment to load."""
        from azure.storage.blob import ContainerClient, LinearRetry  # noqa: PLC0415

        with self._opening:
            if self._container is None:
                self._container = ContainerClient.from_container_url(
                    self._container_url,
                    credential=self._credential,
                    # One more try, at once: it mends an idle connection that was dropped on the way.
                    user_agent=USER_AGENT,
                    retry_policy=LinearRetry(backoff=0, retry_total=1, random_jitter_range=0),
                    **({} if self._transport is None else {"transport": self._transport}),
                )
            return self._container

    def _read_properties(self, blob: "BlobClient") -> "BlobProperties | None":
        try:
            return blob.get_blob_properties(**_LIMITS)
        except ResourceNotFoundError:
            return None
        except _BROKEN as error:
            failure = self._unavailable(error)
        raise failure

    def _look_at_holder(self, blob: "BlobClient") -> "BlobProperties | None":
        """The properties of a blob that somebody holds; None where they cannot be had."""
        with suppress(LeaseUnavailableError), limit(_TAKES):
            return self._read_properties(blob)
        return None

    def _create(self, blob: "BlobClient") -> str | None:
        """Its ETag; None where somebody else made it."""
        try:
            etag: str | None = blob.upload_blob(b"", overwrite=False, **_LIMITS).get("etag")
        except ResourceExistsError:
            return None
        except _BROKEN as error:
            failure = self._unavailable(error)
        else:
            return etag
        raise failure

    def _acquire(self, blob: "BlobClient") -> _Hold | None:
        """Acquire it, and have the note written; None where somebody else holds it."""
        length = int(self._duration.total_seconds())
        try:
            with limit(_TAKES):
                try:
                    lease = blob.acquire_lease(lease_duration=length, **_LIMITS)
                except ResourceNotFoundError:
                    # Somebody removed it since it was last held.
                    self._create(blob)
                    lease = blob.acquire_lease(lease_duration=length, **_LIMITS)
        except LeaseUnavailableError:
            raise
        except ResourceExistsError:
            return None
        except _BROKEN as error:
            failure = self._unavailable(error)
        else:
            return _Hold(lease, self._aside(self._write_note, blob, lease))
        raise failure

    def _holder(self) -> dict[str, str]:
        host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:50]
        return {
            "since": _stamp(self._clock.now()),
            "holder": f"process {os.getpid()} on {host}",
        }

    def _unavailable(self, error: Exception) -> LeaseUnavailableError:
        """Translate what the storage service or the identity endpoint did."""
        status = error.status_code if isinstance(error, HttpResponseError) else None
        where = self._container_url
        if status in _REFUSED:
            message = f"the lease container {where} refused this identity"
            hint = f"Give it the role {ROLE!r} on the container, and let it through the account's firewall."
        elif status == _NOT_FOUND:
            message = f"the lease container {where} does not exist"
            hint = f"Create it, and give this identity the role {ROLE!r} on it; or correct LEASE_CONTAINER_URL."
        elif status is not None:
            message = f"the lease container {where} answered {status}"
            hint = "It passes as a rule; the next tick tries again."
        elif isinstance(error, ClientAuthenticationError | JSONDecodeError):
            # The storage service speaks XML: what cannot be read as JSON came from the identity endpoint.
            message = "no token for the lease container could be had from the identity endpoint"
            hint = Step(
                f"Check the app's managed identity (it needs the role {ROLE!r} on the container) and AZURE_CLIENT_ID. "
                "On a laptop: ",
                steps.log_in(),
            )
        else:
            message = f"the lease container {where} could not be reached"
            hint = (
                "Check LEASE_CONTAINER_URL, the account's firewall and the network; "
                f"this identity needs the role {ROLE!r} on the container."
            )
        return LeaseUnavailableError(message, cause=Cause.LEASE_UNAVAILABLE, hint=hint, transient=True)


def _nothing_to_confirm() -> None:
    """The kernel knows who holds a lock."""


def _stamp(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds")


def _holder_in(text: bytes) -> dict[str, str]:
    since, _, holder = text.decode("ascii", errors="replace").partition(" ")
    return {"since": since, "holder": holder}


def _since(about: Mapping[str, str]) -> datetime | None:
    return parse_instant(about.get("since"))


def _held(connection: str, about: Mapping[str, str], way_out: Step, *, endless: bool = False) -> LeaseHeldError:
    """Say since when and by whom, where that is known and looks like what this module writes."""
    message, since = f"another refresh of {connection} is under way", _since(about)
    if since is not None:
        message += f", since {_stamp(since)}"
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
