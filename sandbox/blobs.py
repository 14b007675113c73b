"""A blob container as far as leases need it: properties, creation, metadata, lease acquire, renew, release, break."""

import threading
import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from email.utils import format_datetime

from sandbox.clock import SandboxClock
from sandbox.http import Request, Response
from sandbox.identity import Identity

RESOURCE = "https://storage.azure.com"
_ETAG = '"0x1"'


@dataclass(slots=True, kw_only=True)
class Blob:
    """One blob: its metadata, and its lease."""

    metadata: dict[str, str] = field(default_factory=dict)
    lease_id: str | None = None
    lease_ends_at: datetime | None = None


class BlobContainer:
    """One container, `leases`. A lease ends by the sandbox's clock."""

    name = "leases"

    def __init__(self, clock: SandboxClock, identity: Identity) -> None:
        self.origin = ""
        self._clock = clock
        self._identity = identity
        self._lock = threading.RLock()
        self._blobs: dict[str, Blob] = {}

    @property
    def url(self) -> str:
        """What `LEASE_CONTAINER_URL` is set to."""
        return f"{self.origin}/{self.name}"

    def is_leased(self, name: str) -> bool:
        """Whether somebody holds the lease of a blob now."""
        blob = self._blobs.get(name)
        return blob is not None and self._state(blob) == "leased"

    def handle(self, request: Request) -> Response:
        """Answer a request."""
        if not self._identity.admits(request.headers.get("authorization"), RESOURCE):
            return self._error(401, "NoAuthenticationInformation")
        _, container, name = (*request.path.split("/", 2), "", "")[:3]
        if container != self.name:
            return self._error(404, "ContainerNotFound")
        with self._lock:
            return self._handle_blob(request, name)

    def _handle_blob(self, request: Request, name: str) -> Response:
        blob, component = self._blobs.get(name), request.params.get("comp")
        if request.method == "PUT" and component is None:
            # Every blob here has the same entity tag.
            if request.headers.get("if-match", _ETAG) != _ETAG:
                return self._error(412, "ConditionNotMet")
            return self._create(name, blob)
        if blob is None:
            return self._error(404, "BlobNotFound")
        if request.method == "HEAD":
            return self._answer(200, self._properties(blob))
        if component == "lease":
            return self._lease(request, blob)
        return self._set_metadata(request, blob)

    def _create(self, name: str, blob: Blob | None) -> Response:
        if blob is not None:
            return self._error(409, "BlobAlreadyExists")
        self._blobs[name] = Blob()
        return self._answer(201, {})

    def _lease(self, request: Request, blob: Blob) -> Response:
        held = self._state(blob) == "leased"
        mine = request.headers.get("x-ms-lease-id") == blob.lease_id
        match request.headers.get("x-ms-lease-action"):
            case "acquire" if held and request.headers.get("x-ms-proposed-lease-id") != blob.lease_id:
                return self._error(409, "LeaseAlreadyPresent")
            case "acquire":
                seconds = int(request.headers["x-ms-lease-duration"])
                blob.lease_id = request.headers.get("x-ms-proposed-lease-id") or str(uuid.uuid4())
                blob.lease_ends_at = self._clock.now() + timedelta(seconds=seconds)
                return self._answer(201, {"x-ms-lease-id": blob.lease_id})
            case "release" if mine:
                blob.lease_id = blob.lease_ends_at = None
                return self._answer(200, {})
            case "break":
                blob.lease_id = blob.lease_ends_at = None
                return self._answer(202, {"x-ms-lease-time": "0"})
            case _:
                return self._error(409, "LeaseIdMismatchWithLeaseOperation")

    def _set_metadata(self, request: Request, blob: Blob) -> Response:
        if self._state(blob) == "leased" and request.headers.get("x-ms-lease-id") != blob.lease_id:
            return self._error(412, "LeaseIdMissing")
        prefix = "x-ms-meta-"
        blob.metadata = {
            name.removeprefix(prefix): value for name, value in request.headers.items() if name.startswith(prefix)
        }
        return self._answer(200, {})

    def _state(self, blob: Blob) -> str:
        if blob.lease_ends_at is None:
            return "available"
        return "leased" if self._clock.now() < blob.lease_ends_at else "expired"

    def _properties(self, blob: Blob) -> dict[str, str]:
        state = self._state(blob)
        return {
            "x-ms-blob-type": "BlockBlob",
            "x-ms-lease-state": state,
            "x-ms-lease-status": "locked" if state == "leased" else "unlocked",
            **({"x-ms-lease-duration": "fixed"} if state == "leased" else {}),
            **{f"x-ms-meta-{name}": value for name, value in blob.metadata.items()},
        }

    def _answer(self, status: int, headers: dict[str, str]) -> Response:
        moment = format_datetime(self._clock.now(), usegmt=True)
        common = {"ETag": _ETAG, "Last-Modified": moment, "Date": moment, "x-ms-version": "2025-01-05"}
        return Response(status=status, headers={**common, **headers})

    def _error(self, status: int, code: str) -> Response:
        return self._answer(status, {"x-ms-error-code": code})
