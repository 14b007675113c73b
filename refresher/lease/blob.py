"""A lease of fixed length on an empty blob: one refresher at a time, for all processes on all machines.

It is looked at before it is tried for, so that waiting programs cause no flood of conflicts; who held it last, and
wrote down that it did, tries at once. The vault is read while it is being acquired, and again where the blob's ETag
says that somebody else held it meanwhile (`policy.exclusion`). Nobody waits for its release but the same process at
its next try, and a process that ends. The storage service ends the lease of a holder that was killed.
"""

import re
import socket
import uuid
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, wait
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from os import getpid
from typing import Any, ParamSpec, TypeVar
from urllib.parse import urlsplit

from azure.core.credentials import TokenCredential

from refresher.lease.container import BlobState, Container
from refresher.lease.lease import LAST_TICK, Confirm, held, since_when, stamp
from refresher.model import steps
from refresher.model.clock import Clock
from refresher.model.errors import LeaseHeldError, LeaseUnavailableError
from refresher.model.moments import parse_instant
from refresher.model.steps import Step
from refresher.network.sockets import limit
from refresher.policy.exclusion import may_release, reads_stand

_T = TypeVar("_T")
_P = ParamSpec("_P")
_LASTS = timedelta(seconds=60)
"""Of a lease: longer than any run writes."""
_TAKES = 15.0
"""Seconds, for all that has to be asked before a lease is held."""
_NOTE_TAKES = 4.0
_RELEASE_TAKES = 4.0
_TELLS_WITHIN = 2.0
"""Seconds. A holder writes down who it is as soon as it holds the lease."""


class _Hold:
    """The lease while a run holds it. `etag`: the blob's when it was acquired, which the lease itself leaves alone."""

    def __init__(self, lease_id: str, etag: str, note: Future[str | None]) -> None:
        self.lease_id = lease_id
        self.etag = etag
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
    """Leases on the blobs of a container, one for each connection. Safe between threads.

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
        transport: Any = None,  # noqa: ANN401 - the SDK's transports are generic in what they carry
    ) -> None:
        self._container = Container(container_url, credential, transport)
        self._clock = clock
        self._executor = executor
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
        seen = self._seen.pop(connection, None)
        if seen is None:
            seen = self._see_free(connection)
        began = self._clock.monotonic()
        acquiring = self._aside(self._acquire, connection)
        try:
            found = read()
        except BaseException:
            self._let_go(connection, acquiring)
            raise
        hold = acquiring.result()
        if hold is None:
            raise self._held(connection, self._look_at_holder(connection))
        try:
            if not reads_stand(seen, hold.etag, self._clock.monotonic() - began):
                found = read()
            yield found, hold.confirm
        finally:
            self._let_go(connection, acquiring)

    def holder(self, connection: str) -> LeaseHeldError | None:
        """Who leases the blob; where nobody does, whether it could be leased: without an effect."""
        self._await_own(connection)
        state = self._container.look(connection)
        if state is None:
            self._container.look_at_itself()
        elif state.held:
            return self._held(connection, state)
        self._container.try_to_write(connection)
        return None

    def note_tick(self) -> None:
        """Write it on a blob of its own."""
        with suppress(LeaseUnavailableError), limit(_NOTE_TAKES):
            self._container.mark(LAST_TICK, {"at": stamp(self._clock.now())})

    def last_tick(self) -> datetime | None:
        """Read it there."""
        with limit(_NOTE_TAKES):
            state = self._container.look(LAST_TICK)
        return parse_instant(state.about.get("at")) if state is not None else None

    def _aside(self, job: Callable[_P, _T], *arguments: _P.args, **keywords: _P.kwargs) -> Future[_T]:
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
            state = self._container.look(connection)
            if state is not None and not state.held:
                self._seen[connection] = state.etag

    def _see_free(self, connection: str) -> str | None:
        """The blob's ETag, where the lease is free; it is made where it is not there. Raises LeaseHeldError."""
        with limit(_TAKES):
            state = self._container.look(connection)
            if state is None:
                return self._container.create(connection)
            if state.held:
                raise self._held(connection, state)
            return state.etag

    def _acquire(self, connection: str) -> _Hold | None:
        """Acquire it, and have the note written; None where somebody else holds it. Raises LeaseUnavailableError."""
        lease_id, length = str(uuid.uuid4()), int(_LASTS.total_seconds())
        with limit(_TAKES):
            etag = self._container.acquire(connection, lease_id, length)
        if etag is None:
            return None
        return _Hold(lease_id, etag, self._aside(self._write_note, connection, lease_id))

    def _write_note(self, connection: str, lease_id: str) -> str | None:
        """Write down who holds it, for people and as another ETag; returns that, or None where it failed."""
        host = re.sub(r"[^A-Za-z0-9.-]", "-", socket.gethostname())[:50]
        about = {"since": stamp(self._clock.now()), "holder": f"process {getpid()} on {host}"}
        with suppress(LeaseUnavailableError), limit(_NOTE_TAKES):
            return self._container.note(connection, lease_id, about)
        return None

    def _let_go(self, connection: str, acquiring: Future[_Hold | None]) -> None:
        self._under_way[connection] = self._aside(self._release, connection, acquiring)

    def _release(self, connection: str, acquiring: Future[_Hold | None]) -> None:
        """Release it, unless that would let others believe that nothing was written."""
        with suppress(LeaseUnavailableError):
            hold = acquiring.result(_TAKES)
            etag = hold.noted() if hold is not None else None
            if hold is None or not may_release(writes=hold.writes, noted=etag is not None):
                return
            with limit(_RELEASE_TAKES):
                self._container.release(connection, hold.lease_id)
            if etag is not None:
                self._seen[connection] = etag

    def _look_at_holder(self, connection: str) -> BlobState | None:
        """What a look tells of a blob that somebody holds; None where it tells nothing."""
        with suppress(LeaseUnavailableError), limit(_TAKES):
            return self._container.look(connection)
        return None

    def _held(self, connection: str, state: BlobState | None) -> LeaseHeldError:
        """What is known of its holder, which may not have said it yet: nothing stands there, or another's word."""
        about = state.about if state is not None and state.held else {}
        endless = state is not None and state.endless
        if not endless and not self._is_told(about):
            self._clock.sleep(_TELLS_WITHIN)
            state = self._look_at_holder(connection)
            about = state.about if state is not None and self._is_told(state.about) else {}
        return held(connection, about, self._way_out(connection), endless=endless)

    def _is_told(self, about: Mapping[str, str]) -> bool:
        """Whether its holder has said since when: what is older than such a lease can be, another has said."""
        since = since_when(about)
        return since is not None and self._clock.now() - since <= _LASTS

    def _way_out(self, connection: str) -> Step:
        url = self._container.url
        account, container = urlsplit(url).netloc.partition(".")[0], url.rpartition("/")[2]
        return Step(
            "See that no refresh is at work, then break the lease: ", steps.break_lease(account, container, connection)
        )
