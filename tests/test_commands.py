"""The command line as a user runs it: processes, exit codes, what goes to stdout and to stderr."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox import Fault, Sandbox, SandboxClock
from sandbox.faults import Respond


@pytest.fixture
def real_time() -> Iterator[Sandbox]:
    """A sandbox whose clock is the real one, since the processes go by it."""
    with Sandbox(clock=SandboxClock(datetime.now(UTC), flowing=True)) as running:
        yield running


def run(
    sandbox: Sandbox | None, *arguments: str, stdin: str | None = None, **settings: str
) -> subprocess.CompletedProcess[str]:
    """`python -m refresher …` with a sandbox's environment."""
    environment = {**os.environ, **(sandbox.environ() if sandbox else {}), **settings}
    return subprocess.run(
        [sys.executable, "-m", "refresher", *arguments],
        env=environment,
        input=stdin,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_tick_status_and_refresh_in_good_order(real_time: Sandbox) -> None:
    real_time.add_connection("servicenow")
    before = run(real_time, "status")
    assert before.returncode == 3
    ticked = run(real_time, "tick")
    assert (ticked.returncode, ticked.stderr) == (0, "")
    assert "servicenow: refreshed" in ticked.stdout
    status = run(real_time, "status", "--json")
    assert status.returncode == 0
    (connection,) = json.loads(status.stdout)["connections"]
    assert (connection["state"], connection["working"]) == ("fresh", True)
    forced = run(real_time, "refresh", "servicenow", "--force", "--reason", "ticket 4711", "--json")
    assert forced.returncode == 0
    assert json.loads(forced.stdout)["connections"][0]["outcome"] == "refreshed"
    token = real_time.vault.get("servicenow-oauth-token")
    assert token is not None
    assert (token.tags["reason"], token.tags["trigger"]) == ("ticket 4711", "cli")


def test_a_kept_token_is_success_for_tick_and_failure_for_refresh(real_time: Sandbox) -> None:
    real_time.add_connection("servicenow")
    run(real_time, "tick")
    real_time.faults.add(Fault(path="/oauth_token.do", times=None, action=Respond(404, {}, b"")))
    assert run(real_time, "tick").returncode == 0
    kept = run(real_time, "refresh", "--force")
    assert kept.returncode == 1
    assert "servicenow: kept" in kept.stdout
    assert "next: " in kept.stdout


def test_bad_settings_are_all_named_at_once_and_exit_2() -> None:
    result = run(None, "tick", KEY_VAULT_URL="", SERVICENOW_INSTANCE_URL="nonsense")
    assert (result.returncode, result.stdout) == (2, "")
    assert "KEY_VAULT_URL" in result.stderr
    assert "SERVICENOW_INSTANCE_URL" in result.stderr
    assert "Traceback" not in result.stderr


def test_an_unknown_connection_exits_2_and_names_the_known_ones(real_time: Sandbox) -> None:
    result = run(real_time, "refresh", "nobody")
    assert result.returncode == 2
    assert "servicenow" in result.stderr


def test_settings_can_come_from_a_file(real_time: Sandbox, tmp_path: Path) -> None:
    real_time.add_connection("servicenow")
    values = {name: value for name, value in real_time.environ().items() if name.isupper()}
    file = tmp_path / "local.settings.json"
    file.write_text(json.dumps({"Values": {"KEY_VAULT_URL": values["KEY_VAULT_URL"]}}), "utf-8")
    result = run(real_time, "status", "--settings", str(file), KEY_VAULT_URL="")
    assert result.returncode == 3


@pytest.mark.parametrize("content", ["", "[]", '{"Values": 1}', None])
def test_a_settings_file_that_cannot_be_read_is_named(tmp_path: Path, content: str | None) -> None:
    file = tmp_path / "local.settings.json"
    if content is not None:
        file.write_text(content, "utf-8")
    result = run(None, "status", "--settings", str(file))
    assert result.returncode == 2
    assert str(file) in result.stderr
