"""The adapter with which requests, under the Azure SDK, opens its connections: all with one TLS context, all limited.

Each request is over within its two time-outs together, and an answer is read up to a limit, whatever the peer does.
Which proxy a request goes through is read once for each host, by the rule of all clients.
"""

import socket
import ssl
from io import BytesIO
from typing import Any

import requests
from azure.core.exceptions import AzureError
from azure.core.pipeline.transport import RequestsTransport
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPResponse, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NameResolutionError, NewConnectionError, ProtocolError

from refresher.network.proxies import proxy_for
from refresher.network.sockets import LimitedSocket, connect, limit, remaining, unfold

_LARGEST_BODY = 1024 * 1024
"""Bytes. A page of versions has some 20 kB, a secret up to 25 kB."""


class LimitedTransport(RequestsTransport):  # type: ignore[misc]
    """The SDK's transport, whose pauses end within the limit of their thread."""

    _pause: float | None = None
    answered: int | None = None
    """The status of the last answer."""

    def send(self, request: Any, **options: Any) -> Any:  # noqa: ANN401 - as the base class has it
        """Send a request, and note what status its answer has; None where none came."""
        self.answered = None
        response = super().send(request, **options)
        self.answered = response.status_code
        return response

    def sleep(self, duration: float) -> None:
        """Wait before another try. Raises AzureError where that would outlast the time that is left."""
        if duration >= remaining():
            self._pause = duration
            message = "a pause was asked for that outlasts the time for this request"
            raise AzureError(message)
        super().sleep(duration)

    def take_pause(self) -> float | None:
        """The last pause, in seconds, that was asked for and not begun: the SDK has no other way to tell it."""
        pause, self._pause = self._pause, None
        return pause


class TrustingAdapter(HTTPAdapter):
    """Verifies every certificate by the context, which has read what is trusted already."""

    def __init__(self, context: ssl.SSLContext, connections: int) -> None:
        self._context = context
        self._proxies: dict[str, dict[str, str]] = {}
        super().__init__(pool_maxsize=connections, max_retries=False)

    def init_poolmanager(self, connections: int, maxsize: int, block: bool = False, **options: Any) -> None:  # noqa: ANN401, FBT001, FBT002 - as the base class has it
        """Make the pool of direct connections."""
        super().init_poolmanager(connections, maxsize, block, ssl_context=self._context, **options)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, proxy: str, **options: Any) -> Any:  # noqa: ANN401 - as the base class has it
        """Make the pool of connections through a proxy."""
        manager = super().proxy_manager_for(proxy, ssl_context=self._context, **options)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def cert_verify(self, conn: Any, url: str, verify: object, cert: object) -> None:  # noqa: ANN401, ARG002 - as the base class has it
        """Leave the bundle to the context; the base class would have it read again for each connection."""
        conn.cert_reqs = "CERT_REQUIRED"

    def send(
        self,
        request: requests.PreparedRequest,
        stream: bool = False,  # noqa: FBT001, FBT002 - as the base class has it
        timeout: Any = None,  # noqa: ANN401 - as the base class has it
        verify: Any = True,  # noqa: ANN401, FBT002 - as the base class has it
        cert: Any = None,  # noqa: ANN401 - as the base class has it
        proxies: Any = None,  # noqa: ANN401, ARG002 - those of the environment count
    ) -> requests.Response:
        """Send a request, and read its answer."""
        to_connect, to_read = timeout
        request.headers["Accept-Encoding"] = "identity"
        with limit(to_connect + to_read):
            return super().send(request, stream, timeout, verify, cert, self._proxies_for(request.url or ""))

    def build_response(self, req: requests.PreparedRequest, resp: Any) -> requests.Response:  # noqa: ANN401 - as the base class has it
        """Read the body here: the base class would unfold it without bound, and not before it is asked for."""
        body = bytearray()
        try:
            while len(body) <= _LARGEST_BODY and (part := resp.read(_LARGEST_BODY + 1, decode_content=False)):
                body += part
        except (HTTPError, OSError) as error:
            raise requests.ConnectionError(ProtocolError(error), request=req) from error
        plain = unfold(bytes(body), resp.headers.pop("Content-Encoding", None), _LARGEST_BODY + 1)
        if len(body) > _LARGEST_BODY or len(plain) > _LARGEST_BODY:
            resp.close()
            message = "the answer is larger than any that was asked for"
            raise ValueError(message)
        if req.method != "HEAD":
            resp.headers["Content-Length"] = str(len(plain))
        read = HTTPResponse(
            BytesIO(plain),
            resp.headers,
            resp.status,
            reason=resp.reason,
            preload_content=False,
            request_method=req.method,
        )
        return super().build_response(req, read)

    def _proxies_for(self, url: str) -> dict[str, str]:
        scheme, _, rest = url.partition("://")
        origin = f"{scheme}://{rest.partition('/')[0]}"
        if origin not in self._proxies:
            proxy = proxy_for(origin)
            self._proxies[origin] = {scheme: proxy.url} if proxy is not None else {}
        return self._proxies[origin]


class _Connection(HTTPConnection):
    def _new_conn(self) -> LimitedSocket:
        return _connect(self)


class _TLSConnection(HTTPSConnection):
    def _new_conn(self) -> LimitedSocket:
        return _connect(self)


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _TLSPool(HTTPSConnectionPool):
    ConnectionCls = _TLSConnection


_POOLS: dict[str, type[HTTPConnectionPool]] = {"http": _Pool, "https": _TLSPool}


def _connect(connection: HTTPConnection) -> LimitedSocket:
    """As the library does it, with its errors; names resolve aside, and the socket keeps the limit."""
    seconds = float(connection.timeout or 0)
    try:
        return connect(connection._dns_host, connection.port, seconds, connection.socket_options or ())  # noqa: SLF001
    except socket.gaierror as error:
        raise NameResolutionError(connection.host, connection, error) from error
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, "no connection in time") from error
    except OSError as error:
        raise NewConnectionError(connection, "no connection") from error
