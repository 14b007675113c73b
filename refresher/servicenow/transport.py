"""httpx's own transport on connections of `sockets`, which last no longer than the request that uses them may."""

import ssl
from collections.abc import Iterable
from typing import Any

import httpcore
import httpx
from httpcore._backends.sync import SyncStream

from refresher.network.proxies import Proxy
from refresher.network.sockets import connect

_SECONDS = 60.0
"""For a connection that comes with no time-out. The product gives each one."""


def make_transport(tls: ssl.SSLContext, proxy: Proxy | None) -> httpx.BaseTransport:
    """A transport that trusts what the context trusts."""
    by_way_of = None
    if proxy is not None:
        by_way_of = httpx.Proxy(proxy.url, ssl_context=tls if proxy.url.startswith("https:") else None)
    transport = httpx.HTTPTransport(verify=tls, proxy=by_way_of, trust_env=False)
    # httpcore takes a backend, httpx has no parameter for it (https://github.com/encode/httpx/discussions/3180).
    transport._pool._network_backend = _Backend()  # noqa: SLF001
    return transport


class _Backend(httpcore.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,  # noqa: ARG002 - as the base class has it
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        try:
            return SyncStream(connect(host, port, _SECONDS if timeout is None else timeout, socket_options or ()))
        except TimeoutError as error:
            raise httpcore.ConnectTimeout from error
        except OSError as error:
            raise httpcore.ConnectError from error
