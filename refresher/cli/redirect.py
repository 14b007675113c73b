"""Receives the browser's redirect on a loopback port, once, within a time limit.

Whatever else comes to the port (a wrong state, another path, a client that sends nothing) is answered, or not, beside
the wait: it neither ends it nor makes it longer.
"""

import html
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

from refresher.model.tokens import Secret
from refresher.servicenow.authorization import (
    AuthorizationIncompleteError,
    AuthorizationRequest,
    ForeignRedirectError,
)

_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>ServiceNow token refresher</title>
<meta name="viewport" content="width=device-width"><body style="font: 1.1rem system-ui; margin: 3rem">
<h1>{title}</h1><p>{text}</p></body></html>"""


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: a client that goes away is no news, and a traceback holds the code."""


class RedirectReceiver:
    """Listens on 127.0.0.1; port 0 means any free one. A context manager."""

    def __init__(self, port: int) -> None:
        self._code: Secret | None = None
        self._failure: AuthorizationIncompleteError | None = None
        self._request: AuthorizationRequest | None = None
        self._ended = False
        """Whether the answer was a refusal, so that none follows."""
        self._settled = threading.Event()
        self._server = _Server(("127.0.0.1", port), self._handler())
        self.port: int = self._server.server_address[1]

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._server.server_close()

    def wait(self, request: AuthorizationRequest, seconds: float) -> Secret:
        """Wait for the redirect of `request`; returns the code. Raises AuthorizationIncompleteError."""
        self._request = request
        serving = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        serving.start()
        try:
            self._settled.wait(seconds)
        finally:
            self._server.shutdown()
        if self._code is None:
            message = f"nobody authorized within {seconds:.0f} seconds"
            raise self._failure or AuthorizationIncompleteError(message)
        return self._code

    def _take(self, target: str) -> tuple[int, str, str]:
        """Status, title and text of the page that answers a request."""
        if self._request is None:
            return 503, "Not ready", "Start again from the command line."
        try:
            code = self._request.parse_redirect(target)
        except ForeignRedirectError as error:
            self._failure = error
            return 400, "Not authorized", error.message
        except AuthorizationIncompleteError as error:
            self._failure, self._ended = error, True
            return 400, "Not authorized", error.message
        if code is None:
            return 404, "Not found", "This address serves one redirect only."
        self._code = code
        return 200, "Authorized", "You can close this window; the command line goes on."

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            timeout = 5

            def do_GET(self) -> None:
                status, title, text = receiver._take(self.path)
                body = _PAGE.format(title=html.escape(title), text=html.escape(text)).encode()
                try:
                    self.send_response(status)
                    self.send_header("Content-Type", "text/html; charset=utf-8")
                    self.send_header("Content-Length", str(len(body)))
                    self.send_header("Cache-Control", "no-store")
                    self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
                    self.send_header("Referrer-Policy", "no-referrer")
                    self.end_headers()
                    self.wfile.write(body)
                finally:
                    # Once the browser has its page, the process may end.
                    if receiver._code is not None or receiver._ended:
                        receiver._settled.set()

            def log_message(self, *_: object) -> None:
                """Log nothing: the request line holds the code."""

        return Handler
