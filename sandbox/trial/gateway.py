"""What the Functions host does for a request, on a loopback port: routes, keys, limits, and a function called by hand.

As host 4.1037 was seen to do it with this app (docs/host.md): the route is matched before the key is looked at, a
method that no function declares is a 404, and what fails in a function is a 500; none of them has a body.
"""

import json
import threading
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import socket
from socketserver import BaseServer, TCPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from sandbox.hands import MASTER_KEY, PREFIX, Hands
from sandbox.trial.host import Functions

_ROUTES = {
    ("GET", "/api/status"): "status",
    ("HEAD", "/api/status"): "status",
    ("POST", "/api/refresh"): "refresh_now",
}
_ADMIN = "/admin/functions/"
_LONGEST_LINE = 8192
"""Bytes of a request's first line that Kestrel reads (MaxRequestLineSize)."""
_OF_SOME_LENGTH = {"POST", "PUT", "PATCH"}
_LENGTHS = {"content-length", "transfer-encoding"}
"""Without either, Azure's front end refuses such a request (curl -X POST without data) before the app sees it."""
_LARGEST_BODY = 104_857_600
"""Bytes that the host reads of a body, in round numbers: 99 MB reach a function, 110 MB do not."""


class PortError(Exception):
    """Nothing can listen there: the port is taken, reserved to others, or none."""


class _Server(ThreadingHTTPServer):
    def server_bind(self) -> None:
        """Bind, and no more: the base class also asks the name service who 127.0.0.1 is, which may take long."""
        TCPServer.server_bind(self)
        self.server_name, self.server_port = "127.0.0.1", self.socket.getsockname()[1]


class Gateway:
    """Serves the functions, and the hands of the people that the sandbox has not. Raises PortError."""

    def __init__(self, functions: Functions, hands: Hands, port: int) -> None:
        failure = ""
        try:
            self._server = _Server(("127.0.0.1", port), partial(_Handler, functions, hands))
        except (OSError, OverflowError) as error:
            failure = getattr(error, "strerror", None) or str(error)
        if failure:
            message = f"port {port} is taken or forbidden: {failure}"
            raise PortError(message)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    def __init__(
        self, functions: Functions, hands: Hands, request: socket, address: tuple[str, int], server: BaseServer
    ) -> None:
        self._functions, self._hands = functions, hands
        super().__init__(request, address, server)

    def answer(self) -> None:
        url = urlsplit(self.path)
        # One that is repeated arrives as one, its values joined.
        found = parse_qs(url.query, keep_blank_values=True)
        params = {key: ",".join(values) for key, values in found.items()}
        path = url.path.rstrip("/").lower()
        if len(self.requestline) > _LONGEST_LINE:
            self.reply(414)
        elif url.path.startswith(PREFIX):
            status, text = self._hands.handle(self.command, url.path, params)
            self.reply(status, text.encode(), {"Content-Type": "text/plain"})
        elif self.command in _OF_SOME_LENGTH and not _LENGTHS & {name.lower() for name in self.headers}:
            self.reply(411)
        elif path.startswith(_ADMIN) and self.command == "POST":
            self.call_by_hand(path.removeprefix(_ADMIN), params)
        elif (name := _ROUTES.get((self.command, path))) is not None:
            self.call(name, params)
        else:
            self.reply(404)

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do_OPTIONS = answer  # noqa: N815 - as the base class

    def keys(self, params: dict[str, str]) -> tuple[str | None, ...]:
        return self.headers.get("x-functions-key"), params.get("code")

    def call(self, name: str, params: dict[str, str]) -> None:
        if not any(self._hands.admits(key, name) for key in self.keys(params)):
            self.reply(401)
            return
        length = int(self.headers.get("content-length", "0"))
        if length > _LARGEST_BODY:
            self.reply(500)
            return
        body = self.rfile.read(length)
        headers = {key.lower(): value for key, value in self.headers.items()}
        response = None
        with suppress(Exception):
            response = self._functions.http(name, self.command, self.path, params, headers, body)
        if response is None:
            self.reply(500)
            return
        content_type = response.mimetype or "application/json"
        self.reply(response.status_code, response.get_body(), {**response.headers, "Content-Type": content_type})

    def call_by_hand(self, name: str, params: dict[str, str]) -> None:
        """What the portal's Test/Run of a timer does, stopped or not: answered first, run then."""
        keys = self.keys(params)
        if MASTER_KEY not in keys:
            self.reply(
                403 if any(self._hands.admits(key, each) for key in keys for each in self._functions.by_name) else 401
            )
            return
        document = None
        with suppress(ValueError):
            document = json.loads(self.rfile.read(int(self.headers.get("content-length", "0"))))
        if not isinstance(document, dict):
            self.reply(400)
        elif name not in self._functions.by_name:
            self.reply(404)
        else:
            self.reply(202)
            # One that needs an HTTP request fails there, where nobody sees it.
            if name == "refresh_tokens":
                self._functions.fire_timer()

    def reply(self, status: int, body: bytes = b"", headers: Mapping[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        """Keep the terminal for the product's own events."""
