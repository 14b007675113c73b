"""A blob container as far as leases need it: properties, creation, metadata, and the five operations on a lease.

Every rule has its source beside the check that runs against this container and Azurite alike
(`sandbox/conformance/blobs.py`).
"""

import itertools
import threading
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime

from sandbox.clock import SandboxClock
from sandbox.http import Request, Response
from sandbox.identity import Identity

RESOURCE = "https://storage.azure.com"
_INFINITE = -1
_SHORTEST, _LONGEST = 15, 60
_META = "x-ms-meta-"


class _RefusedError(Exception):
    """A request is refused, with this status and code."""

    def __init__(self, status: int, code: str) -> None:
        super().__init__(code)
        self.status = status
        self.code = code


@dataclass(slots=True, kw_only=True)
class Blob:
    """One blob: its metadata, and its lease. What changes the blob, the lease does not, makes another `etag`."""

    etag: str
    changed_on: datetime
    metadata: dict[str, str] = field(default_factory=dict)
    lease_id: str | None = None
    lease_length: timedelta | None = None
    """None: until it is released."""
    lease_ends_at: datetime | None = None
    broken: bool = False

    def state(self, now: datetime) -> str:
        """Where its lease stands."""
        over = self.lease_ends_at is not None and now >= self.lease_ends_at
        if self.lease_id is None:
            return "available"
        if self.broken:
            return "broken" if over else "breaking"
        return "expired" if over else "leased"


class BlobContainer:
    """One container, `leases`. A lease ends by the sandbox's clock."""

    name = "leases"

    def __init__(self, clock: SandboxClock, identity: Identity) -> None:
        self.origin = ""
        self._clock = clock
        self._identity = identity
        self._lock = threading.RLock()
        self._blobs: dict[str, Blob] = {}
        self._changes = itertools.count(1)

    @property
    def url(self) -> str:
        """What `LEASE_CONTAINER_URL` is set to."""
        return f"{self.origin}/{self.name}"

    def hold(self, name: str, length: timedelta | None, **about: str) -> None:
        """Lease a blob for somebody who says this of it, or leaves what stood there; None: without end."""
        with self._lock:
            blob = self._blobs.setdefault(name, Blob(etag="held", changed_on=self._clock.now()))
            blob.lease_id, blob.lease_length, blob.broken = "somebody", length, False
            blob.lease_ends_at = None if length is None else self._clock.now() + length
            blob.metadata = about or blob.metadata

    def is_leased(self, name: str) -> bool:
        """Whether somebody holds the lease of a blob now."""
        blob = self._blobs.get(name)
        return blob is not None and blob.state(self._clock.now()) == "leased"

    def handle(self, request: Request) -> Response:
        """Answer a request."""
        try:
            with self._lock:
                status, headers = self._answer(request, self._admit(request))
        except _RefusedError as refusal:
            return self._error(request, refusal)
        return Response(status=status, headers={**self._common(request), **headers})

    def _admit(self, request: Request) -> str:
        """The blob that is asked for. Raises _RefusedError."""
        if not self._identity.admits(request.headers.get("authorization"), RESOURCE):
            raise _RefusedError(401, "NoAuthenticationInformation")
        _, container, name = (*request.path.split("/", 2), "", "")[:3]
        if container != self.name:
            raise _RefusedError(404, "ContainerNotFound")
        return name

    def _answer(self, request: Request, name: str) -> tuple[int, dict[str, str]]:
        component = request.params.get("comp")
        if request.params.get("restype") == "container":
            return 200, {"ETag": '"0x0C"', "Last-Modified": self._date(self._clock.now())}
        if request.method == "PUT" and component is None:
            return self._put(request, name)
        blob = self._blobs.get(name)
        if blob is None:
            raise _RefusedError(404, "BlobNotFound")
        if component == "lease":
            return self._lease(request, blob)
        match request.method, component:
            case "HEAD", None:
                return 200, self._properties(blob)
            case "DELETE", None:
                self._require_lease(request, blob)
                del self._blobs[name]
                return 202, {}
            case "PUT", "metadata":
                self._require_lease(request, blob)
                self._change(blob, request)
                return 200, self._dates(blob)
            case _:
                raise _RefusedError(405, "UnsupportedHttpVerb")

    def _put(self, request: Request, name: str) -> tuple[int, dict[str, str]]:
        blob = self._blobs.get(name)
        if request.headers.get("if-none-match") == "*" and blob is not None:
            raise _RefusedError(409, "BlobAlreadyExists")
        wanted = request.headers.get("if-match")
        if wanted is not None and (blob is None or wanted not in {"*", blob.etag}):
            raise _RefusedError(412, "ConditionNotMet")
        if blob is None:
            blob = self._blobs[name] = Blob(etag="", changed_on=self._clock.now())
        self._require_lease(request, blob)
        self._change(blob, request)
        return 201, self._dates(blob)

    def _lease(self, request: Request, blob: Blob) -> tuple[int, dict[str, str]]:
        state = blob.state(self._clock.now())
        mine = request.headers.get("x-ms-lease-id") == blob.lease_id
        action = request.headers.get("x-ms-lease-action")
        if action == "acquire":
            return self._acquire(request, blob, state)
        if state == "available":
            raise _RefusedError(409, "LeaseNotPresentWithLeaseOperation" if action == "break" else _MISMATCH)
        if action == "break":
            return self._break(request, blob, state)
        if not mine:
            raise _RefusedError(409, _MISMATCH)
        match action:
            case "renew" if blob.broken:
                raise _RefusedError(409, "LeaseIsBrokenAndCannotBeRenewed")
            case "renew":
                self._begin(blob)
            case "release":
                blob.lease_id, blob.broken = None, False
            case _:
                raise _RefusedError(400, "InvalidHeaderValue")
        return 200, {**self._dates(blob), **({"x-ms-lease-id": blob.lease_id} if blob.lease_id else {})}

    def _acquire(self, request: Request, blob: Blob, state: str) -> tuple[int, dict[str, str]]:
        proposed = request.headers.get("x-ms-proposed-lease-id")
        seconds = _number(request, "x-ms-lease-duration")
        if seconds != _INFINITE and not _SHORTEST <= seconds <= _LONGEST:
            raise _RefusedError(400, "InvalidHeaderValue")
        if state == "breaking" or (state == "leased" and proposed != blob.lease_id):
            raise _RefusedError(409, "LeaseAlreadyPresent")
        blob.lease_id, blob.broken = proposed or str(uuid.uuid4()), False
        blob.lease_length = None if seconds == _INFINITE else timedelta(seconds=seconds)
        self._begin(blob)
        return 201, {**self._dates(blob), "x-ms-lease-id": blob.lease_id}

    def _break(self, request: Request, blob: Blob, state: str) -> tuple[int, dict[str, str]]:
        now = self._clock.now()
        left = timedelta() if blob.lease_ends_at is None else max(timedelta(), blob.lease_ends_at - now)
        if "x-ms-lease-break-period" in request.headers:
            period = timedelta(seconds=_number(request, "x-ms-lease-break-period"))
            left = period if blob.lease_ends_at is None else min(left, period)
        if state in {"leased", "breaking"}:
            blob.lease_ends_at = now + left
        blob.broken = True
        return 202, {**self._dates(blob), "x-ms-lease-time": str(int(left.total_seconds()))}

    def _begin(self, blob: Blob) -> None:
        blob.lease_ends_at = None if blob.lease_length is None else self._clock.now() + blob.lease_length

    def _require_lease(self, request: Request, blob: Blob) -> None:
        if blob.state(self._clock.now()) not in {"leased", "breaking"}:
            return
        given = request.headers.get("x-ms-lease-id")
        if given is None:
            raise _RefusedError(412, "LeaseIdMissing")
        if given != blob.lease_id:
            raise _RefusedError(412, "LeaseIdMismatchWithBlobOperation")

    def _change(self, blob: Blob, request: Request) -> None:
        blob.etag, blob.changed_on = f'"0x{next(self._changes):015X}"', self._clock.now()
        blob.metadata = {
            name.removeprefix(_META): value for name, value in request.headers.items() if name.startswith(_META)
        }

    def _properties(self, blob: Blob) -> dict[str, str]:
        state = blob.state(self._clock.now())
        duration = "infinite" if blob.lease_length is None else "fixed"
        return {
            **self._dates(blob),
            "x-ms-blob-type": "BlockBlob",
            "x-ms-creation-time": self._date(blob.changed_on),
            "x-ms-lease-state": state,
            "x-ms-lease-status": "locked" if state in {"leased", "breaking"} else "unlocked",
            **({"x-ms-lease-duration": duration} if state == "leased" else {}),
            **{f"{_META}{name}": value for name, value in blob.metadata.items()},
        }

    def _dates(self, blob: Blob) -> dict[str, str]:
        return {"ETag": blob.etag, "Last-Modified": self._date(blob.changed_on)}

    def _date(self, moment: datetime) -> str:
        return format_datetime(moment, usegmt=True)

    def _common(self, request: Request) -> dict[str, str]:
        """What every answer carries; the service answers with the version that it was asked in."""
        version = request.headers.get("x-ms-version", "2009-09-19")
        return {
            "Date": self._date(self._clock.now()),
            "x-ms-version": version,
            "x-ms-request-id": str(uuid.uuid4()),
        }

    def _error(self, request: Request, refusal: _RefusedError) -> Response:
        headers = {**self._common(request), "x-ms-error-code": refusal.code}
        if request.method == "HEAD":
            return Response(status=refusal.status, headers=headers)
        message = f"sandbox: {refusal.code}\nRequestId:{headers['x-ms-request-id']}\nTime:{headers['Date']}"
        error = f"<Error><Code>{refusal.code}</Code><Message>{message}</Message></Error>"
        body = f'<?xml version="1.0" encoding="utf-8"?>{error}'
        return Response(
            status=refusal.status, headers={**headers, "Content-Type": "application/xml"}, body=body.encode()
        )


_MISMATCH = "LeaseIdMismatchWithLeaseOperation"


def _number(request: Request, header: str) -> int:
    try:
        return int(request.headers[header])
    except KeyError:
        raise _RefusedError(400, "MissingRequiredHeader") from None
    except ValueError:
        raise _RefusedError(400, "InvalidHeaderValue") from None
