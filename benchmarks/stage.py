"""The sandbox in a process of its own, so that what it costs is not counted with what is measured.

Each of the two that are compared has connections of its own, and trusts as many certificates as a deployed app does.
`python -m benchmarks.stage` prints the settings that lead to it as one line of JSON, then obeys a command a line and
answers each with a line of JSON. `Stage` is the other end of that conversation.
"""

import argparse
import json
import sys
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path

import certifi

from benchmarks.companion import Companion
from sandbox import Sandbox, SandboxClock
from sandbox.vault import Throttling

AGE = timedelta(minutes=50)


class Stage(Companion):
    """A running sandbox with so many connections."""

    def __init__(self, connections: int, *, latency: float = 0.0, throttled: bool = False) -> None:
        command = [sys.executable, "-m", "benchmarks.stage", str(connections), "--latency", str(latency)]
        super().__init__([*command, *(["--throttled"] if throttled else [])], quiet=False)
        self.environ: Mapping[str, str] = self.hear()

    def age(self) -> None:
        """Make every token fifty minutes older."""
        self.ask("age")

    def requests(self) -> Mapping[str, int]:
        """Requests since this was asked last: all, by service, secrets created, and refused with 429."""
        counted: Mapping[str, int] = self.ask("requests")
        return counted


def names_of(connections: int, letter: str) -> list[str]:
    """Names of connections: "p" for the product's, "s" for those of the straight line."""
    return [f"{letter}{number}" for number in range(connections)]


def main() -> int:
    """Serve until the input ends."""
    options = argparse.ArgumentParser()
    options.add_argument("connections", type=int)
    options.add_argument("--latency", type=float, default=0.0)
    options.add_argument("--throttled", action="store_true")
    given = options.parse_args()
    with Sandbox(clock=SandboxClock(datetime.now(UTC), flowing=True), latency=given.latency) as sandbox:
        for name in names_of(given.connections, "p") + names_of(given.connections, "s"):
            sandbox.add_connection(name)
        if given.throttled:
            sandbox.vault.throttle = Throttling()
        connections = {name: {"instance_url": sandbox.instance.url} for name in names_of(given.connections, "p")}
        environ = {
            **sandbox.environ(),
            "SERVICENOW_CONNECTIONS": json.dumps(connections),
            "LEASE_CONTAINER_URL": sandbox.leases.url,
            **_trust(sandbox),
        }
        answers: dict[str, Callable[[], object]] = {
            "age": lambda: _age(sandbox),
            "requests": lambda: _requests(sandbox),
        }
        print(json.dumps(environ), flush=True)
        for line in sys.stdin:
            print(json.dumps(answers[line.strip()]()), flush=True)
    return 0


def _trust(sandbox: Sandbox) -> dict[str, str]:
    bundle = sandbox.ca_file.with_name("bundle.pem")
    bundle.write_bytes(Path(certifi.where()).read_bytes() + sandbox.ca_file.read_bytes())
    return {"REQUESTS_CA_BUNDLE": str(bundle), "SSL_CERT_FILE": str(bundle)}


def _age(sandbox: Sandbox) -> None:
    for name in sandbox.vault.names():
        secret = sandbox.vault.get(name)
        if secret is None or not name.endswith("oauth-token"):
            continue
        for tag in ("issued-at", "expires-at"):
            if tag in secret.tags:
                secret.tags[tag] = (datetime.fromisoformat(secret.tags[tag]) - AGE).isoformat()
        if secret.expires_on is not None:
            secret.expires_on -= AGE


def _requests(sandbox: Sandbox) -> dict[str, int]:
    counted: dict[str, int] = {}
    for exchange in sandbox.log:
        what = exchange.service.partition(":")[0]
        creates = what == "vault" and exchange.method == "PUT" and exchange.status == HTTPStatus.OK
        for each in ("all", what, *(["created"] if creates else []), *(["429"] if exchange.status == 429 else [])):
            counted[each] = counted.get(each, 0) + 1
    sandbox.log.clear()
    return counted


if __name__ == "__main__":
    sys.exit(main())
