"""Connections on which nothing lasts longer, and nothing is larger, than the request that uses them may be.

The time-outs of the HTTP libraries count from the last byte: a peer that drips, or announces its answer again and
again, is waited for without end (https://github.com/python/cpython/issues/150743 among others). `limit` sets, for
everything that its thread sends and receives inside of it, one moment at which waiting ends and one number of bytes;
the sockets made here keep both, in a handshake, in headers and in a body alike, whichever library holds them.
Wall time, not the product's `Clock`: a peer is as slow as it is.
"""

import socket
import ssl
import threading
import time
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from math import inf
from typing import Any

from refresher.network.names import resolve

LARGEST_ANSWER = 1280 * 1024
"""Bytes, with headers and whatever is sent before them. What is asked for here has a few kilobytes."""
_MOST_ENCODINGS = 2
_GZIP, _GZIP_WINDOW = b"\x1f\x8b", 16 + zlib.MAX_WBITS
_PLAIN = (b"{", b"[", b"<", b'"')
"""How JSON begins, and a page."""


class TooLargeError(OSError):
    """A peer sends more than any answer here can hold."""


class _Allowed(threading.local):
    ends_at = inf
    octets = inf
    heard: bytearray | None = None


_allowed = _Allowed()


@contextmanager
def limit(seconds: float, heard: bytearray | None = None) -> Iterator[None]:
    """Let all that this thread sends and receives inside be over in so many seconds; of several, the first counts.

    What it receives is left in `heard` as well, for whom it matters however little HTTP it is.
    """
    before = _allowed.ends_at, _allowed.octets, _allowed.heard
    _allowed.ends_at = min(_allowed.ends_at, time.monotonic() + seconds)
    _allowed.octets, _allowed.heard = LARGEST_ANSWER, heard
    try:
        yield
    finally:
        _allowed.ends_at, _allowed.octets, _allowed.heard = before


def remaining() -> float:
    """Seconds that this thread has left; infinite outside of a limit."""
    return _allowed.ends_at - time.monotonic()


class LimitedSocket(socket.socket):
    """Waits no longer than its own time-out and the thread's limit allow."""

    _patience: float | None = None

    def settimeout(self, value: float | None, /) -> None:
        """Set the time-out of a single wait, in seconds."""
        self._patience = value
        super().settimeout(value)

    def connect(self, address: Any, /) -> None:  # noqa: ANN401 - as the base class has it, here and below
        """Connect. Raises TimeoutError."""
        self._may_wait()
        super().connect(address)

    def send(self, data: Any, flags: int = 0, /) -> int:  # noqa: ANN401
        """Send a part. Raises TimeoutError."""
        self._may_wait()
        return super().send(data, flags)

    def sendall(self, data: Any, flags: int = 0, /) -> None:  # noqa: ANN401
        """Send everything. Raises TimeoutError."""
        self._may_wait()
        super().sendall(data, flags)

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """Receive a part. Raises TimeoutError and TooLargeError."""
        self._may_wait()
        received = super().recv(buflen, flags)
        _count(received)
        return received

    def recv_into(self, buffer: Any, nbytes: int | None = None, flags: int = 0) -> int:  # noqa: ANN401
        """Receive a part. Raises TimeoutError and TooLargeError."""
        self._may_wait()
        received = super().recv_into(buffer, nbytes or 0, flags)
        _count(memoryview(buffer)[:received])
        return received

    def _may_wait(self) -> None:
        left = remaining()
        if left <= 0:
            message = "the time for this request is over"
            raise TimeoutError(message)
        if left < inf:
            super().settimeout(left if self._patience is None else min(left, self._patience))


class LimitedTLSSocket(LimitedSocket, ssl.SSLSocket):
    """The same, over TLS. A context makes it: `sslsocket_class`."""

    def do_handshake(self, block: bool = False) -> None:  # noqa: FBT001, FBT002 - as the base class has it
        """Shake hands. Raises TimeoutError."""
        self._may_wait()
        super().do_handshake(block)


def _count(received: bytes | memoryview) -> None:
    if _allowed.heard is not None:
        _allowed.heard += received
    _allowed.octets -= len(received)
    if _allowed.octets < 0:
        message = "the answer is larger than any that was asked for"
        raise TooLargeError(message)


def connect(host: str, port: int, seconds: float, options: Iterable[tuple[Any, ...]] = ()) -> LimitedSocket:
    """A connection to the first address of a host that takes it. Raises TimeoutError after so many seconds, OSError.

    The addresses share the time: one behind which nobody is leaves some to the next.
    """
    with limit(seconds):
        addresses = resolve(host.strip("[]"), port, remaining())
        failure = OSError("the host has no address")
        for tried, (family, kind, protocol, _, address) in enumerate(addresses):
            connection = LimitedSocket(family, kind, protocol)
            try:
                # What is sent in two parts, a form after its headers, waits for no acknowledgement of the first.
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                for option in options:
                    connection.setsockopt(*option)
                connection.settimeout(max(0.0, remaining()) / (len(addresses) - tried))
                connection.connect(address)
            except OSError as error:
                connection.close()
                failure = error
            else:
                connection.settimeout(seconds)
                return connection
        raise failure


def unfold(body: bytes, encoding: str | None, at_most: int) -> bytes:
    """A body as it was before it was encoded, up to so many bytes; what is not encoded, or cannot be told, as it came.

    No encoding is ever asked for, but something on the way may choose one, and say so or not, or announce one that it
    left out: so the bytes count. Of a body that was cut short, what came is unfolded. A chain ends after two, each
    within the bound: three kilobytes can hold gigabytes (CVE-2025-66418).
    """
    for _ in range(_MOST_ENCODINGS):
        if body.startswith(_GZIP):
            windows: tuple[int, ...] = (_GZIP_WINDOW,)
        elif "deflate" in (encoding or "").lower() and not body.lstrip().startswith(_PLAIN):
            windows = (zlib.MAX_WBITS, -zlib.MAX_WBITS)
        else:
            break
        for window in windows:
            with suppress(zlib.error):
                body = zlib.decompressobj(window).decompress(body, at_most)
                break
    return body[:at_most]
