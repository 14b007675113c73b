"""The sandbox without sockets: the same services, reached through transports of the SDK and of httpx.

For what has to run a million times, and for `make test` where any wire will do. The product's code and the SDK's
pipeline are the real ones; in place of TLS and HTTP on the wire stands a call. Time passes by the sandbox's clock:
each request takes `latency`, and one that is never answered takes the client's whole time-out.

A program that uses it is a `Process`: it has its own transports, and can be killed at any request.
"""

import io
import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from datetime import datetime, timedelta
from http import HTTPStatus
from types import TracebackType
from typing import Any, ParamSpec, Protocol, Self, TypeVar
from urllib.parse import urlencode, urlsplit

import httpx
from azure.core.credentials import AccessToken
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import HttpTransport
from azure.core.rest import HttpRequest, HttpResponse
from azure.core.rest._http_response_impl import HttpResponseImpl
from azure.core.utils import case_insensitive_dict
from azure.keyvault.secrets import SecretClient

from sandbox.authority import HOST, Authority
from sandbox.clock import SandboxClock
from sandbox.faults import Action, Drop, Hold, Refuse, Respond, Stall, Throttle, throttled
from sandbox.http import Request, Response
from sandbox.identity import PATH, Identity
from sandbox.personality import Personality
from sandbox.running import Sandbox
from sandbox.server import interruption, spoiled

VAULT_RESOURCE = "https://vault.azure.net"
_IDENTITY = "identity.sandbox"
_FAR_FUTURE = 2**33

_T = TypeVar("_T")
_P = ParamSpec("_P")


class Killed(BaseException):
    """The process is no more."""


class NotSentError(Exception):
    """The request did not leave."""


class LostError(Exception):
    """The request left, and no answer came."""


class Weather(Protocol):
    """Decides what happens to a request; `Faults` is one."""

    def find(self, service: str, request: Request) -> Action | None:
        """The action for this request."""


class DirectSandbox(Sandbox):
    """The same instance, vaults, lease container and identity endpoint, without servers."""

    def __init__(
        self,
        personality: Personality | None = None,
        *,
        clock: SandboxClock | None = None,
        vaults: tuple[str, ...] = ("main",),
        latency: timedelta = timedelta(milliseconds=50),
        log: bool = True,
        suffix: str = "",
    ) -> None:
        """Make one. The vaults' names end with `suffix`, where a lock file by their address is to be nobody else's."""
        super().__init__(personality, clock, vaults)
        self.weather: Weather = self.faults
        self._logs = log
        self._takes = latency
        self._handling = threading.RLock()
        self.instance.url = "https://sandbox.service-now.com"
        self.leases.origin = "https://sandbox.blob.core.windows.net"
        self._identity_url = f"http://{_IDENTITY}{PATH}"
        self._services: dict[str, tuple[str, Callable[[Request], Response]]] = {
            _IDENTITY: ("identity", self._one_at_a_time(self.identity.handle)),
            HOST: ("authority", self._one_at_a_time(Authority(self.entra).handle)),
            "sandbox.service-now.com": ("instance", self._one_at_a_time(self.instance.handle)),
            "sandbox.blob.core.windows.net": ("leases", self._one_at_a_time(self.leases.handle)),
        }
        for name, vault in self.vaults.items():
            host = f"{name}{suffix}.vault.azure.net"
            vault.listen_at(f"https://{host}", VAULT_RESOURCE)
            self._services[host] = (f"vault:{name}", self._one_at_a_time(vault.handle))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.faults.clear()

    def environ(self) -> dict[str, str]:
        """The settings with which the product uses this sandbox."""
        return self.addresses()

    def exchange(self, host: str, request: Request, patience: float) -> Response:
        """Carry one request out. Raises NotSentError, as for a host that is not of the sandbox, or LostError."""
        if host not in self._services:
            raise NotSentError
        service, handle = self._services[host]
        self.clock.advance(self._takes)
        began = service == "instance" and request.path == "/oauth_token.do"
        if began:
            self.instance.began(request)
        try:
            response = self._meet(service, handle, request, patience)
        except LostError:
            self._note(service, request, 0)
            raise
        finally:
            if began:
                self.instance.began(request, ended=True)
        self._note(service, request, response.status)
        return response

    def _meet(
        self, service: str, handle: Callable[[Request], Response], request: Request, patience: float
    ) -> Response:
        action = self.weather.find(service, request)
        match action:
            case Respond():
                if action.effect:
                    handle(request)
                return Response(status=action.status, headers=action.headers, body=action.body)
            case Throttle():
                return throttled(action)
            case Refuse():
                raise NotSentError
            case Drop():
                raise LostError
            case Stall():
                if action.effect:
                    handle(request)
                self.clock.advance(timedelta(seconds=patience))
                raise LostError
            case _:
                began = self.clock.now()
                response = _carried_out(handle, request, action)
                if self.clock.now() - began > timedelta(seconds=patience) and interruption(action) is None:
                    raise LostError
                return response

    def _one_at_a_time(self, handle: Callable[[Request], Response]) -> Callable[[Request], Response]:
        """As behind a server, whose one thread answers whatever many threads ask."""

        def handle_alone(request: Request) -> Response:
            with self._handling:
                return handle(request)

        return handle_alone

    def _note(self, service: str, request: Request, status: int) -> None:
        if self._logs:
            self.log.add(service, request, status, self.clock.now())


def _carried_out(handle: Callable[[Request], Response], request: Request, action: Action | None) -> Response:
    interrupted = interruption(action)
    if interrupted is not None and interrupted.before:
        interrupted.do()
        if isinstance(action, Hold) and action.abandoned:
            raise LostError
    response = spoiled(handle(request), action)
    if interrupted is not None and not interrupted.before:
        interrupted.do()
    if response is None or response.cut_short:
        raise LostError
    return response


class Process:
    """A program's end of the wires. Once killed, whatever it does next meets `Killed`, as in `finally` blocks.

    `ahead`: how far its machine's clock is ahead of all others (negative: behind).
    """

    def __init__(self, sandbox: DirectSandbox, *, ahead: timedelta = timedelta()) -> None:
        self.alive = True
        self.ahead = ahead
        self.dies_at: datetime | None = None
        """When it is killed, whatever it does then."""
        self._sandbox = sandbox
        self.credential = StaticCredential(sandbox.identity)

    def kill(self) -> None:
        """End it."""
        self.alive = False
        raise Killed

    def exchange(self, host: str, request: Request, patience: float) -> Response:
        """Carry one request out."""
        self._live(0.0)
        return self._sandbox.exchange(host, request, patience)

    def now(self) -> datetime:
        """By its machine's clock."""
        return self._sandbox.clock.now() + self.ahead

    def sleep(self, seconds: float) -> None:
        """Wait."""
        self._live(seconds)
        self._sandbox.clock.sleep(seconds)

    def _live(self, seconds: float) -> None:
        if not self.alive:
            raise Killed
        now = self._sandbox.clock.now()
        if self.dies_at is not None and now + timedelta(seconds=seconds) >= self.dies_at:
            self._sandbox.clock.advance(max(timedelta(), self.dies_at - now))
            self.kill()

    def make_secret_client(self, vault_url: str, _: object = None) -> SecretClient:
        """Make the SDK's client as the product does, its own retries off."""
        return SecretClient(vault_url, self.credential, transport=AzureTransport(self), retry_total=0)

    def make_default_secret_client(self, vault_url: str) -> SecretClient:
        """Make the SDK's client as it comes, its own retries on."""
        return SecretClient(vault_url, self.credential, transport=AzureTransport(self))

    def instance_transport(self) -> "InstanceTransport":
        """What httpx sends through."""
        return InstanceTransport(self)


class StaticCredential:
    """A managed identity whose token has come already: the identity endpoint is not what is tried here."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity
        self._tokens: dict[str, AccessToken] = {}

    def get_token(self, *scopes: str, **_: object) -> AccessToken:
        """The token for a scope, the same one for ever."""
        resource = scopes[0].removesuffix("/.default")
        if resource not in self._tokens:
            self._tokens[resource] = AccessToken(self._identity.issue(resource), _FAR_FUTURE)
        return self._tokens[resource]


class AzureTransport(HttpTransport[HttpRequest, HttpResponse]):
    """The transport of the Azure SDK's pipelines. Waiting, the SDK's own retries included, moves the clock."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def send(self, request: HttpRequest, *, read_timeout: float = 300.0, **_: Any) -> HttpResponse:  # noqa: ANN401
        """Send one request. Raises the SDK's errors."""
        url = urlsplit(request.url)
        content = request.content
        lost = False
        try:
            response = self._process.exchange(
                url.netloc,
                Request(
                    method=request.method,
                    path=url.path,
                    query=url.query,
                    headers={name.lower(): value for name, value in request.headers.items()},
                    body=_octets(content),
                ),
                read_timeout,
            )
            return _response(request, response)
        except NotSentError:
            pass
        except LostError:
            lost = True
        if lost:
            raise ServiceResponseError("no answer")
        raise ServiceRequestError("no connection")

    def sleep(self, duration: float) -> None:
        """Wait."""
        self._process.sleep(duration)

    def open(self) -> None:
        """Nothing to open."""

    def close(self) -> None:
        """Nothing to close."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None = None,
        error: BaseException | None = None,
        tb: TracebackType | None = None,
    ) -> None:
        """Nothing to close."""


def _octets(content: object) -> bytes:
    """A body as it goes on the wire; azure-identity leaves a form as it is, for requests to encode."""
    match content:
        case dict():
            return urlencode(content).encode()
        case str():
            return content.encode()
        case bytes():
            return content
        case _:
            return b""


def _response(request: HttpRequest, response: Response) -> HttpResponse:
    """A response of the SDK's own kind, read as a whole; there is no connection that could be closed."""
    headers = case_insensitive_dict(response.headers)
    read = HttpResponseImpl(
        request=request,
        internal_response=io.BytesIO(),
        status_code=response.status,
        reason=HTTPStatus(response.status).phrase,
        content_type=headers.get("content-type"),
        headers=headers,
        stream_download_generator=lambda **_: iter((response.body,)),
    )
    read.read()
    return read


class InstanceTransport(httpx.BaseTransport):
    """The transport of httpx."""

    def __init__(self, process: Process) -> None:
        self._process = process

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """Send one request. Raises httpx's errors."""
        timeouts = request.extensions.get("timeout", {})
        patience = timeouts.get("read") or 5.0
        lost = False
        try:
            response = self._process.exchange(
                request.url.netloc.decode(),
                Request(
                    method=request.method,
                    path=request.url.path,
                    query=request.url.query.decode(),
                    headers={name.lower(): value for name, value in request.headers.items()},
                    body=request.read(),
                ),
                patience,
            )
            # As a stream: as `content`, it would be unfolded here.
            stream = httpx.ByteStream(response.body)
            return httpx.Response(response.status, headers=dict(response.headers), stream=stream)
        except NotSentError:
            pass
        except LostError:
            lost = True
        if lost:
            raise httpx.ReadTimeout("no answer")
        raise httpx.ConnectError("no connection")


class InOrder(Executor):
    """Runs what it is given at once, in the caller's thread, so that a simulation repeats itself to the request."""

    def submit(self, fn: Callable[_P, _T], /, *args: _P.args, **kwargs: _P.kwargs) -> Future[_T]:
        """Run it."""
        future: Future[_T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001 - a future carries whatever was raised
            future.set_exception(error)
        return future
