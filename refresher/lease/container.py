"""The requests that a lease needs of Azure's blob service, by the storage SDK, and what went wrong where one fails.

One client for the process, made when it is first needed: the SDK takes a moment to load. What the service is known to
do is asked of Azurite in the tests, and of a real container by `make conformance`.
"""

import threading
from collections.abc import Callable, Mapping
from json import JSONDecodeError
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar
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

from refresher.loading import one_at_a_time
from refresher.model import steps
from refresher.model.causes import Cause
from refresher.model.errors import LeaseUnavailableError
from refresher.model.steps import Step
from refresher.model.version import USER_AGENT
from refresher.network.failures import told, trouble_of
from refresher.network.proxies import proxy_for

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, ContainerClient

_T = TypeVar("_T")
TOKEN_SCOPE = "https://storage.azure.com/.default"  # noqa: S105 - what a token is good for
"""Of every storage account, in every cloud: what the SDK asks for."""
CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 5.0
"""Seconds. The SDK waits 20 and 60 by default, and tries four times with pauses of 15 seconds and more."""
ROLE = "Storage Blob Data Contributor"
_LIMITS: Mapping[str, Any] = {"connection_timeout": CONNECT_TIMEOUT, "read_timeout": READ_TIMEOUT}
_OWN = "x-ms-request-id"
"""In every answer of the service, and in none of a proxy or a login page in front of it."""


class _ForeignError(ValueError):
    """Something else answered, and said yes to what was asked."""


_BROKEN = (AzureError, ArithmeticError, AttributeError, LookupError, OSError, RecursionError, TypeError, ValueError)
"""What comes of a broken answer as well: the SDK takes apart unchecked whatever it is sent."""
_HELD = frozenset({"leased", "breaking"})
_REFUSED = frozenset({401, 403})
_NOT_FOUND = 404
_SERVER_ERRORS = 500
_THERE = frozenset({"BlobAlreadyExists", "LeaseAlreadyPresent", "LeaseIsBreakingAndCannotBeAcquired"})
"""Of the service's codes with 409: others are of a container or an account that takes nothing now."""
_NO_CONTAINER = "ContainerNotFound"
"""Where a blob that is not there is answered with BlobNotFound."""
_NO_ETAG = '"0x0"'
"""The entity tag of no blob."""


class BlobState(NamedTuple):
    """What a look tells of a blob: its ETag, its lease, and what its holder wrote down."""

    etag: str
    held: bool
    endless: bool
    """Held until it is released."""
    about: Mapping[str, str]


class Container:
    """One container of blobs. Its methods raise LeaseUnavailableError where they cannot say what they are asked.

    The identity needs the role Storage Blob Data Contributor on it. `transport`: None for the SDK's own.
    """

    def __init__(self, url: str, credential: TokenCredential, transport: Any) -> None:  # noqa: ANN401 - the SDK's are generic
        self.url = url
        self._credential = credential
        self._transport = transport
        self._client: ContainerClient | None = None
        self._opening = threading.Lock()

    def look(self, name: str) -> BlobState | None:
        """The state of a blob; None where there is none."""

        def look(blob: "BlobClient") -> BlobState | None:
            try:
                found = blob.get_blob_properties(**_LIMITS)
            except ResourceNotFoundError as error:
                if getattr(error, "error_code", None) == _NO_CONTAINER or not _is_own(error):
                    raise
                return None
            if found.lease.state is None:
                raise _ForeignError
            return BlobState(
                etag=found.etag,
                held=found.lease.state in _HELD,
                endless=found.lease.duration == "infinite",
                about=found.metadata,
            )

        return self._ask(name, look)

    def create(self, name: str) -> str | None:
        """Make an empty blob, and return its ETag; None where it is there."""

        def create(blob: "BlobClient") -> str | None:
            return _unless_it_exists(lambda: blob.upload_blob(b"", overwrite=False, **_LIMITS).get("etag"))

        return self._ask(name, create)

    def acquire(self, name: str, lease_id: str, seconds: int) -> str | None:
        """Lease a blob, made anew where somebody removed it; its ETag, or None where somebody else holds it."""

        def acquire(blob: "BlobClient") -> str | None:
            return _unless_it_exists(lambda: blob.acquire_lease(seconds, lease_id, **_LIMITS).etag)

        def acquire_anew(blob: "BlobClient") -> str | None:
            try:
                return acquire(blob)
            except ResourceNotFoundError:
                self.create(name)
                return acquire(blob)

        return self._ask(name, acquire_anew)

    def note(self, name: str, lease_id: str, about: Mapping[str, str]) -> str | None:
        """Write down who holds it, which changes the ETag; returns that."""

        def note(blob: "BlobClient") -> str | None:
            etag = blob.set_blob_metadata(dict(about), lease=lease_id, **_LIMITS).get("etag")
            return str(etag) if etag else None

        return self._ask(name, note)

    def release(self, name: str, lease_id: str) -> None:
        """End the lease."""
        from azure.storage.blob import BlobLeaseClient  # noqa: PLC0415 - loaded by now

        self._ask(name, lambda blob: BlobLeaseClient(blob, lease_id).release(**_LIMITS))

    def mark(self, name: str, about: Mapping[str, str]) -> None:
        """Make an empty blob with this written on it, whatever was there."""
        self._ask(name, lambda blob: blob.upload_blob(b"", overwrite=True, metadata=dict(about), **_LIMITS))

    def try_to_write(self, name: str) -> None:
        """Write on a condition that nothing meets: refused for the condition where writing is permitted."""
        from azure.core import MatchConditions  # noqa: PLC0415

        def write(blob: "BlobClient") -> None:
            condition = MatchConditions.IfNotModified
            try:
                blob.upload_blob(b"", overwrite=True, etag=_NO_ETAG, match_condition=condition, **_LIMITS)
            except ResourceModifiedError:
                return

        self._ask(name, write)

    def look_at_itself(self) -> None:
        """See that the container is there."""
        self._translated(lambda: self._open().get_container_properties(**_LIMITS))

    def _ask(self, name: str, request: "Callable[[BlobClient], _T]") -> _T:
        return self._translated(lambda: request(self._open().get_blob_client(name)))

    def _translated(self, request: Callable[[], _T]) -> _T:
        try:
            return request()
        except _BROKEN as error:
            failure = self._unavailable(error)
        raise failure

    def _open(self) -> "ContainerClient":
        with self._opening:
            if self._client is None:
                with one_at_a_time:
                    # First, since the vault's token waits for it.
                    import azure.identity  # noqa: F401, PLC0415
                    from azure.storage.blob import ContainerClient, LinearRetry  # noqa: PLC0415

                self._client = ContainerClient.from_container_url(
                    self.url,
                    credential=self._credential,
                    # One more try, at once: it mends an idle connection that was dropped on the way.
                    user_agent=USER_AGENT,
                    retry_policy=LinearRetry(backoff=0, retry_total=1, random_jitter_range=0),
                    **({} if self._transport is None else {"transport": self._transport}),
                )
            return self._client

    def _unavailable(self, error: Exception) -> LeaseUnavailableError:
        """Translate what the storage service or the identity endpoint did."""
        status = error.status_code if isinstance(error, HttpResponseError) else None
        where = self.url
        hint: str | Step
        if isinstance(error, _ForeignError) or (status is not None and status < _SERVER_ERRORS and not _is_own(error)):
            answer = f" (status {status})" if status is not None else ""
            message = (
                f"something else answered in place of the lease container {where}{answer}: a proxy or a login page"
            )
            hint = (
                f"No role helps. Let {urlsplit(where).hostname} through. Is LEASE_CONTAINER_URL the container itself?"
            )
        elif status in _REFUSED:
            message = f"the lease container {where} refused whoever asked"
            hint = (
                f"The app's identity needs the role {ROLE!r} on the container, as whoever deployed has it "
                "(docs/azure.md, 'Who may do what'); and the account's firewall has to let it through."
            )
        elif status == _NOT_FOUND:
            message = f"the lease container {where} does not exist"
            hint = f"Create it, and give this identity the role {ROLE!r} on it; or correct LEASE_CONTAINER_URL."
        elif status is not None:
            message = f"the lease container {where} answered {status}"
            hint = "It passes as a rule; the next tick tries again."
        elif isinstance(error, ClientAuthenticationError | JSONDecodeError):
            # The storage service speaks XML: what cannot be read as JSON came from the identity endpoint.
            message = "no token for the lease container could be had"
            hint = Step(
                f"Check the app's managed identity (it needs the role {ROLE!r} on the container) and AZURE_CLIENT_ID. "
                "On a laptop: ",
                steps.log_in(),
            )
        else:
            hint = "Check LEASE_CONTAINER_URL, the account's firewall and the network."
            trouble, proxy = trouble_of(error, where, "REQUESTS_CA_BUNDLE"), proxy_for(where)
            message, hint = told(f"the lease container {where}", "could not be reached", hint, trouble, proxy)
        failure = LeaseUnavailableError(message, cause=Cause.LEASE_UNAVAILABLE, hint=hint, transient=True)
        failure.refused = status in _REFUSED
        return failure


def _is_own(error: Exception) -> bool:
    """Whether the service itself answered."""
    return _OWN in (getattr(getattr(error, "response", None), "headers", None) or {})


def _unless_it_exists(request: Callable[[], str | None]) -> str | None:
    """The ETag that a request yields; None where what it makes, or a lease of somebody else's, is there already."""
    try:
        return request()
    except ResourceExistsError as error:
        if getattr(error, "error_code", None) in _THERE:
            return None
        raise
