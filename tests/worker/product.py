"""The product in a worker: its settings there, and what it says of an invocation."""

import json
from collections.abc import Callable
from typing import Any

from tests.worker.harness import Result, WorkerHarness

OURS = ("KEY_VAULT_URL", "SERVICENOW_INSTANCE_URL", "REFRESH_QUEUE", "SERVICENOW_CONNECTIONS")
SCHEDULE = {"REFRESH_SCHEDULE": "0 */5 * * * *"}
QUEUE = {"REFRESH_QUEUE": "refreshes", **SCHEDULE}

Host = Callable[..., WorkerHarness]


def events(result: Result) -> list[dict[str, Any]]:
    """The product's events of an invocation."""
    return [
        json.loads(record.getMessage())
        for record in result.logs
        if record.name == "refresher" and record.getMessage().startswith("{")
    ]


def outcomes(result: Result) -> list[tuple[str, str]]:
    """Connection and outcome of each event that has one."""
    ended = [event for event in events(result) if event["event"] == "refresh_outcome"]
    return sorted((event["connection"], event["outcome"]) for event in ended)
