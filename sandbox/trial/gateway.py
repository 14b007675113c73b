"""What the Functions host does for a route with a function key, on a loopback port, and no more."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

from sandbox.hands import PREFIX, Hands
from sandbox.trial.host import Functions

_ROUTES = {("GET", "/api/status"): "status", ("POST", "/api/refresh"): "refresh_now"}


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
            self._server = _Server(("127.0.0.1", port), _handler_for(functions, hands))
        except (OSError, OverflowError) as error:
            failure = getattr(error, "strerror", None) or str(error)
        if failure:
            message = f"port {port} is taken or forbidden: {failure}"
            raise PortError(message)
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()


def _handler_for(functions: Functions, hands: Hands) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            url = urlsplit(self.path)
            params = {key: values[0] for key, values in parse_qs(url.query).items()}
            if url.path.startswith(PREFIX):
                status, text = hands.handle(self.command, url.path, params)
                self.reply(status, {"Content-Type": "text/plain"}, text.encode())
                return
            name = _ROUTES.get((self.command, url.path))
            keys = (self.headers.get("x-functions-key"), params.pop("code", None))
            if not any(hands.admits(key, name or "") for key in keys):
                self.reply(401, {}, b"")
                return
            if name is None:
                self.reply(404, {}, b"")
                return
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {key.lower(): value for key, value in self.headers.items()}
            response = functions.http(name, self.command, self.path, params, headers, body)
            content_type = response.mimetype or "application/json"
            self.reply(response.status_code, {**response.headers, "Content-Type": content_type}, response.get_body())

        do_GET = do_POST = answer  # noqa: N815 - the base class's names

        def reply(self, status: int, headers: dict[str, str], body: bytes) -> None:
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the terminal for the product's own events."""

    return Handler
