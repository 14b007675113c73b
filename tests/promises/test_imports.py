"""What a process loads: nothing heavy that its run does not use."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from sandbox import Sandbox, SandboxClock

TICK = """
import json, sys
import function_app
imported = set(sys.modules)
from refresher.model.report import RunRequest
from refresher.model.report import Trigger
(report,) = function_app.refresher_app.tick(RunRequest(trigger=Trigger.TIMER))
print(json.dumps({"outcome": report.outcome, "at import": sorted(imported), "after": sorted(sys.modules)}))
"""

HEAVY = (
    "azure.identity",
    "azure.keyvault.keys",
    "azure.storage",
    "httpx",
    "jwt",
    "refresher.doctor",
    "refresher.status.history",
    "refresher.web",
)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(clock=SandboxClock(datetime.now(UTC), flowing=True)) as running:
        running.add_connection(jwt_key=True)
        yield running


def tick(sandbox: Sandbox, **settings: str) -> tuple[str, set[str], set[str]]:
    """A tick in a process of its own: its outcome, the modules of the import, and those at the end."""
    environ = {**os.environ, **sandbox.environ(), "LEASE_CONTAINER_URL": sandbox.leases.url, **settings}
    command = [sys.executable, "-c", TICK]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=300, check=True)
    told = json.loads(done.stdout)
    return told["outcome"], set(told["at import"]), set(told["after"])


def packages(modules: set[str], *names: str) -> set[str]:
    """Those of `names` of which something was loaded."""
    return {name for name in names if any(f"{module}.".startswith(f"{name}.") for module in modules)}


def test_each_run_loads_what_it_uses(sandbox: Sandbox) -> None:
    """The first refreshes and takes the lease, the second finds nothing due and asks no instance about its token."""
    outcome, at_import, after = tick(sandbox)
    assert outcome == "refreshed"
    assert packages(after, *HEAVY) == {"azure.storage", "azure.identity", "httpx"}
    assert packages(at_import, *HEAVY, "cryptography") == set()
    outcome, _, after = tick(sandbox, VERIFY_INTERVAL_MINUTES="0")
    assert outcome == "not_due"
    assert packages(after, *HEAVY) == {"azure.identity"}


@pytest.mark.exhaustive
def test_only_the_grant_that_signs_loads_what_signs(sandbox: Sandbox) -> None:
    grant = {"SERVICENOW_GRANT": "jwt_bearer", "SERVICENOW_JWT": '{"sub": "servicenow.integration"}'}
    outcome, at_import, after = tick(sandbox, **grant)
    assert outcome == "refreshed"
    assert packages(at_import, "jwt") == set()
    assert packages(after, "jwt") == {"jwt"}
