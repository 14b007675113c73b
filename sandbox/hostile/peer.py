"""A listener on loopback whose every connection is treated by one behaviour, each in a thread of its own."""

import socket
import ssl
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Self

_LARGEST_REQUEST = 65536


class Conversation:
    """One connection of a client, as a behaviour sees it."""

    def __init__(self, plain: socket.socket, tls: ssl.SSLContext | None, ended: threading.Event) -> None:
        self._socket = plain
        self._tls = tls
        self._ended = ended

    def encrypt(self) -> None:
        """Finish the TLS handshake, where the peer speaks TLS."""
        if self._tls is not None:
            self._socket = self._tls.wrap_socket(self._socket, server_side=True)

    def hear(self) -> bytes:
        """A request up to the end of its headers; empty where the client has left."""
        request = bytearray()
        while b"\r\n\r\n" not in request and len(request) < _LARGEST_REQUEST:
            part = self._socket.recv(4096)
            if not part:
                break
            request += part
        return bytes(request)

    def say(self, what: bytes) -> None:
        """Send it. Raises OSError where the client has left."""
        self._socket.sendall(what)

    def drip(self, what: bytes, every: float = 0.05) -> None:
        """Send it byte by byte."""
        for byte in what:
            self.say(bytes((byte,)))
            self.pause(every)

    def go_on(self) -> bool:
        """Whether the peer is still wanted."""
        return not self._ended.is_set()

    def pause(self, seconds: float) -> None:
        """Wait, at most until the peer is no longer wanted."""
        self._ended.wait(seconds)

    def wait(self) -> None:
        """Say nothing until the client has left, or the peer is no longer wanted."""
        self._socket.settimeout(0.2)
        while self.go_on():
            with suppress(TimeoutError):
                if not self._socket.recv(4096):
                    return

    def relay(self, host: str, port: int) -> None:
        """Be a tunnel to another server, until either side hangs up."""
        with socket.create_connection((host, port)) as other:
            back = threading.Thread(target=_pump, args=(other, self._socket), daemon=True)
            back.start()
            _pump(self._socket, other)
            back.join()

    def close(self) -> None:
        """Hang up."""
        with suppress(OSError):
            self._socket.close()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while part := source.recv(65536):
            sink.sendall(part)
    for each in (source, sink):
        with suppress(OSError):
            each.shutdown(socket.SHUT_RDWR)


Behaviour = Callable[[Conversation], None]


class Peer:
    """A context manager. `certificate` is the server's context, where the peer is to speak TLS.

    `met` is set when the first client is there; `left_after` holds, for each connection that is over, the seconds that
    it lasted.
    """

    def __init__(
        self, behaviour: Behaviour, certificate: ssl.SSLContext | None = None, *, greets: bool = True
    ) -> None:
        self._behaviour = behaviour
        self._certificate = certificate
        self._greets = greets
        self._ended = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if certificate else 'http'}://127.0.0.1:{self.port}"
        self.met = threading.Event()
        self.left_after: list[float] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._ended.set()
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while not self._ended.is_set():
                connection, _ = self._listener.accept()
                self.met.set()
                threading.Thread(target=self._converse, args=(connection,), daemon=True).start()

    def _converse(self, connection: socket.socket) -> None:
        began = time.monotonic()
        conversation = Conversation(connection, self._certificate, self._ended)
        # ssl.SSLError is an OSError: a client that has left ends a conversation in whatever way.
        with suppress(OSError):
            if self._greets:
                conversation.encrypt()
            self._behaviour(conversation)
        conversation.close()
        self.left_after.append(time.monotonic() - began)
