"""Forks a prepared process for each run that is to be killed, so that a crash point costs no imports.

Reads one JSON command a line: the environment, the connection, the time. The run prints its process id once it is
ready, waits for a line, and does what a tick or a person's `authorize` does; the runner prints how it ended. The runs
are the product's own: its composition root, its transports, its time-outs.
"""

import json
import os
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import azure.identity
import azure.storage.blob  # noqa: F401 - these three are loaded before the fork
import requests  # noqa: F401

from refresher.app import App
from refresher.model.clock import system_clock
from refresher.model.grants import Grant
from refresher.model.report import RunRequest, Trigger
from refresher.model.tokens import Secret
from refresher.run.by_hand import Authorization
from refresher.telemetry import quiet_third_parties


def main() -> None:
    """Serve until the input ends."""
    quiet_third_parties()
    for line in sys.stdin:
        command = json.loads(line)
        process_id = os.fork()
        if process_id == 0:
            run(command)
        _, status = os.waitpid(process_id, 0)
        print("ended", os.waitstatus_to_exitcode(status), flush=True)  # noqa: T201 - the protocol


def run(command: Mapping[str, Any]) -> None:
    """Run one connection as the timer does, and end the process."""
    sys.stderr = open(os.devnull, "w", encoding="utf-8")  # noqa: PTH123, SIM115 - for the rest of the process
    os.environ.update(command["environ"])
    ahead = datetime.fromisoformat(command["now"]) - datetime.now(UTC)
    clock = system_clock()._replace(now=lambda: datetime.now(UTC) + ahead, sleep=lambda _: time.sleep(0.001))
    app = App(os.environ, clock)
    name = command["connection"]
    if command["warm"]:
        # What a worker has after its first tick: connections, the challenge, the identity's token.
        app.status([name])
    print("ready", os.getpid(), flush=True)  # noqa: T201 - the protocol
    sys.stdin.readline()
    if command["job"] == "tick":
        app.tick(RunRequest(trigger=Trigger.TIMER))
    else:
        keep = command["job"] == "authorize --store"
        authorization = password_authorization(*command["password"], keep=keep)
        app.authorize(name, RunRequest(trigger=Trigger.CLI), authorization)
    app.close()  # what goes on beside the run ends as well: nothing of it may be left to the next one
    os._exit(0)


def password_authorization(username: str, password: str, *, keep: bool) -> Authorization:
    """What `authorize --grant password` makes of what a person typed."""
    given = {"username": Secret(username), "password": Secret(password)}
    return Authorization(grant=Grant.PASSWORD, brought=given, keep=keep)


if __name__ == "__main__":
    main()
