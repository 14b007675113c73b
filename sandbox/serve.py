"""`make serve`: the sandbox stays up, the timer ticks in real time, the HTTP functions answer on a loopback port."""

import argparse
import logging
import shlex
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit

from refresher.report import LOGGER
from sandbox import Sandbox, SandboxClock
from sandbox.host import Functions, environment, load_functions

FUNCTION_KEY = "sandbox-key"
_TICK_SECONDS = 300.0


def main() -> int:
    """Serve until interrupted."""
    options = argparse.ArgumentParser(prog="make serve", description=__doc__)
    options.add_argument("--port", type=int, default=7071, help="port of the HTTP functions (7071)")
    port = options.parse_args().port
    LOGGER.addHandler(logging.StreamHandler(sys.stdout))
    LOGGER.setLevel(logging.INFO)
    clock = SandboxClock(datetime.now(UTC), flowing=True)
    with Sandbox(clock=clock) as sandbox, environment(sandbox.environ()):
        sandbox.add_connection("servicenow", username=True)
        functions = load_functions(clock)
        server = ThreadingHTTPServer(("127.0.0.1", port), handler_for(functions))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        explain(sandbox, server.server_address[1])
        try:
            tick_until_interrupted(functions)
        except KeyboardInterrupt:
            print("stopped")
        finally:
            server.shutdown()
            server.server_close()
    return 0


def tick_until_interrupted(functions: Functions) -> None:
    """Fire the timer now and then every five minutes."""
    never = threading.Event()
    while True:
        functions.fire_timer()
        never.wait(_TICK_SECONDS)


def explain(sandbox: Sandbox, port: int) -> None:
    """Print how to talk to it."""
    print(f"The functions listen on http://127.0.0.1:{port}. In another terminal:")
    print(f"  curl -H 'x-functions-key: {FUNCTION_KEY}' http://127.0.0.1:{port}/api/status")
    print(f"  curl -X POST -H 'x-functions-key: {FUNCTION_KEY}' 'http://127.0.0.1:{port}/api/refresh?force=true'")
    print("The command line, against the same sandbox:")
    settings = " ".join(
        f"{name}={shlex.quote(value)}" for name, value in sandbox.environ().items() if name != "IDENTITY_HEADER"
    )
    print(f"  export {settings} IDENTITY_HEADER=$(cat {identity_header_file(sandbox)})")
    print("  .venv/bin/python -m refresher status")
    print("Ctrl-C ends it.", flush=True)


def identity_header_file(sandbox: Sandbox) -> str:
    """Where the identity endpoint's header stands: in a file of the sandbox's own, not on the terminal."""
    file = sandbox.ca_file.with_name("identity-header")
    file.touch(mode=0o600)
    file.write_text(sandbox.identity.header, "utf-8")
    return str(file)


def handler_for(functions: Functions) -> type[BaseHTTPRequestHandler]:
    """Make the request handler: what the Functions host does for a route with a function key, no more."""
    names = {("GET", "/api/status"): "status", ("POST", "/api/refresh"): "refresh_now"}

    class Handler(BaseHTTPRequestHandler):
        def answer(self) -> None:
            url = urlsplit(self.path)
            name = names.get((self.command, url.path))
            if self.headers.get("x-functions-key") != FUNCTION_KEY:
                self.reply(401, {}, b"")
                return
            if name is None:
                self.reply(404, {}, b"")
                return
            params = {key: values[0] for key, values in parse_qs(url.query).items()}
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


if __name__ == "__main__":
    sys.exit(main())
