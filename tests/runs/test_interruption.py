"""Whoever stops a run waits for nobody: neither for runs that have not begun, nor for a peer that does not answer."""

import itertools
import json
import signal
import subprocess
import sys
import threading
import time

import pytest

from refresher.app import App
from refresher.model.report import RunRequest, Trigger
from refresher.run.side_by_side import CONNECTIONS_AT_ONCE
from sandbox import Sandbox, SandboxClock
from sandbox.hostile.behaviours import handshake_drips, silence
from sandbox.hostile.peer import Behaviour, Peer
from sandbox.running import server_tls
from sandbox.trial.host import product_clock
from tests.sampling import sampled

MANY = 300
AT_ONCE = 9.0
"""Seconds, of which one is allowed and the rest is for a machine that has other things to do."""


def test_an_interruption_lets_no_further_run_begin() -> None:
    """The threads are all taken when it comes, and it does not wait for them."""
    connections = {f"c{number}": {"instance_url": "https://a.service-now.com"} for number in range(MANY)}
    environ = {"KEY_VAULT_URL": "https://v.vault.azure.net", "SERVICENOW_CONNECTIONS": json.dumps(connections)}
    begun: list[str] = []
    released = threading.Event()

    def interrupt(what: str) -> None:
        begun.append(what)
        if len(begun) > 1:
            released.wait(30)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        App(environ, product_clock(SandboxClock())).tick(RunRequest(trigger=Trigger.CLI, on_progress=interrupt))
    released.set()
    assert len(begun) <= CONNECTIONS_AT_ONCE + 1


COMMANDS = ("refresh servicenow --force", "tick", "status", "doctor")
CASES = list(itertools.product(COMMANDS, [silence, handshake_drips]))


@pytest.mark.parametrize(("command", "behaviour"), sampled(CASES, [("doctor", handshake_drips)]))
def test_one_ctrl_c_ends_a_command_that_waits_for_a_peer(sandbox: Sandbox, command: str, behaviour: Behaviour) -> None:
    """Its threads are in the middle of requests, and the interpreter would wait for each of them."""
    with Peer(behaviour, server_tls(), greets=behaviour is silence) as peer:
        settings = {**sandbox.environ(), "KEY_VAULT_URL": peer.url}
        process = subprocess.Popen(
            [sys.executable, "-m", "refresher", *command.split()], env=settings, stderr=subprocess.PIPE, text=True
        )
        assert peer.met.wait(300)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=300)
        assert time.monotonic() - began < AT_ONCE
    assert process.returncode == 130
    assert "Traceback" not in errors


RESOLVING = """
import runpy, sys, threading, time
from sandbox.hostile.resolver import silence
asked = []
silence(lambda host: not asked.append(host))
def interrupt():
    while not asked:
        time.sleep(0.01)
    import os, signal
    print(time.monotonic(), flush=True)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=interrupt, daemon=True).start()
sys.argv = ["refresher", "refresh"]
runpy.run_module("refresher", run_name="__main__")
"""


@pytest.mark.exhaustive
def test_one_ctrl_c_ends_a_command_whose_names_nobody_resolves() -> None:
    settings = {"KEY_VAULT_URL": "https://v.vault.azure.net", "SERVICENOW_INSTANCE_URL": "https://a.service-now.com"}
    words = [sys.executable, "-c", RESOLVING]
    ran = subprocess.run(words, env=settings, capture_output=True, timeout=300, check=False)
    assert time.monotonic() - float(ran.stdout) < AT_ONCE
    assert ran.returncode == 130
