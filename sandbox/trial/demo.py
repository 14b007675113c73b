"""`make run`: the whole job against the sandbox, told step by step.

An administrator stores credentials, the timer fires, a consumer reads the token and calls the instance with it,
the clock moves. Every request is a real one, over HTTPS on loopback.
"""

import http.client
import json
import logging
import ssl
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from urllib.parse import urlsplit

from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient

from refresher.model.errors import RefresherError
from refresher.telemetry import LOGGER
from refresher.views.terminal import while_read
from sandbox import Sandbox
from sandbox.alone import be_alone
from sandbox.trial.host import Functions, environment, load_functions

TARGET = "servicenow--action--global--oauth-token"


class Outcomes(logging.Handler):
    """Keeps the outcome of the last run, in the words of the product's own log."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.last: Mapping[str, str] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Keep an outcome, or what kept every run from beginning."""
        said = record.getMessage()
        event = json.loads(said) if said.startswith("{") else {"outcome": "failed", "message": said}
        if event.get("event") != "refresh_warning":
            self.last = event


def main() -> int:
    """Tell the story; 0 where every step came out as it should."""
    outcomes = Outcomes()
    LOGGER.addHandler(outcomes)
    LOGGER.setLevel(logging.INFO)
    LOGGER.propagate = False
    began = time.perf_counter()
    with Sandbox() as sandbox, environment(sandbox.environ()):
        say(
            "sandbox",
            f"instance {sandbox.instance.url}, vault {sandbox.vault.url}, managed identity",
        )
        sandbox.add_connection("servicenow")
        say(
            "administrator",
            "stored client id, client secret and refresh token in the vault",
        )
        functions = load_functions(sandbox.clock)
        steps = (
            (timedelta(), "refreshed", "the timer fires for the first time"),
            (timedelta(minutes=5), "not_due", "five minutes later"),
            (timedelta(minutes=45), "refreshed", "fifty minutes after the refresh"),
        )
        sound = True
        for elapsed, expected, story in steps:
            sandbox.clock.advance(elapsed)
            if not (tick(sandbox, functions, outcomes, expected, story) and consume(sandbox)):
                sound = False
                break
        healthy = functions.status()["status"]
        say("status", f"GET /api/status says {healthy!r}")
    say(
        "done",
        f"in {time.perf_counter() - began:.1f} s" if sound else "NOT as expected",
    )
    return 0 if sound and healthy == "pass" else 1


def tick(sandbox: Sandbox, functions: Functions, outcomes: Outcomes, expected: str, story: str) -> bool:
    """Fire the timer, tell what came of it and, where it is not what was expected, why."""
    sandbox.log.clear()
    began = time.perf_counter()
    # It was logged before it was raised.
    with suppress(RefresherError):
        functions.fire_timer()
    took = (time.perf_counter() - began) * 1000
    asked = {name: sandbox.log.count(service=name) for name in ("identity", "vault", "instance")}
    requests = ", ".join(f"{count} to the {name}" for name, count in asked.items() if count)
    outcome = outcomes.last["outcome"]
    say("timer", f"{story}: {outcome} ({requests or 'no request came through'}; {took:.0f} ms)")
    if outcome != expected:
        told = (outcomes.last.get(part, "") for part in ("cause", "message", "hint"))
        say("cause", "; ".join(part for part in told if part))
    return outcome == expected


def consume(sandbox: Sandbox) -> bool:
    """Read the token as Simple Chat does, and call the instance with it."""
    client = SecretClient(sandbox.vault.url, DefaultAzureCredential())
    token = client.get_secret(TARGET)
    address = urlsplit(sandbox.instance.url)
    connection = http.client.HTTPSConnection(
        address.hostname or "",
        address.port,
        context=ssl.create_default_context(cafile=str(sandbox.ca_file)),
    )
    connection.request(
        "GET",
        "/api/now/table/incident?sysparm_limit=1",
        headers={"Authorization": f"Bearer {token.value}"},
    )
    status = connection.getresponse().status
    connection.close()
    ends = token.properties.expires_on
    until = f", good until {ends:%H:%M:%S} UTC" if ends else ""
    say("consumer", f"read {TARGET}{until}; the instance answered {status}")
    return status == http.client.OK


def say(who: str, what: str) -> None:
    """One line of the account."""
    print(f"{who:>14}  {what}")


if __name__ == "__main__":
    be_alone()
    sys.exit(while_read(main))
