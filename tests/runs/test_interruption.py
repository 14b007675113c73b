"""Whoever stops a tick of many connections waits for the runs that have begun, and for no others."""

import json
import threading

import pytest

from refresher.app import App
from refresher.model.report import RunRequest, Trigger
from sandbox import SandboxClock
from sandbox.trial.host import product_clock

MANY = 300


def test_an_interruption_lets_no_further_run_begin() -> None:
    """The threads are all taken when it comes."""
    connections = {f"c{number}": {"instance_url": "https://a.service-now.com"} for number in range(MANY)}
    environ = {"KEY_VAULT_URL": "https://v.vault.azure.net", "SERVICENOW_CONNECTIONS": json.dumps(connections)}
    begun: list[str] = []
    released = threading.Event()

    def interrupt(what: str) -> None:
        begun.append(what)
        if len(begun) > 1:
            released.wait(5)
        raise KeyboardInterrupt

    release = threading.Timer(0.3, released.set)
    release.start()
    with pytest.raises(KeyboardInterrupt):
        App(environ, product_clock(SandboxClock())).tick(RunRequest(trigger=Trigger.CLI, on_progress=interrupt))
    release.join()
    assert len(begun) < MANY / 2
