"""The release before this one and this one take turns on one vault: who upgrades may roll back, at any moment.

Both are whole programs in processes of their own, the earlier one from the history of the project.
"""

import io
import json
import os
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from refresher.model.version import VERSION
from sandbox import PERSONALITIES, Personality, Sandbox, SandboxClock
from tests.forks import python
from tests.needs import need_history
from tests.promises.places import ROOT

PREVIOUS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["refresher"]["previous-release"]
MAIN, REFRESH_TOKEN = "servicenow-oauth-token", "servicenow-refresh-token"
COPY = "simple-chat-token"
LOCKED_AFTER = 5
"""Failed logins after which ServiceNow locks a user."""


@dataclass(frozen=True)
class Situation:
    """What the first of the two leaves to the second."""

    personality: Personality = PERSONALITIES["default"]
    settings: tuple[tuple[str, str], ...] = ()
    wrong: tuple[str, ...] = ()
    """Secrets that hold a wrong value while the first one runs."""
    runs: int = 1


SITUATIONS = {
    "a token": Situation(settings=(("PUBLISH_TO", COPY),)),
    "an instance that rotates": Situation(PERSONALITIES["rotating"], runs=2),
    "the same token again": Situation(PERSONALITIES["same_token"], runs=2),
    "a password": Situation(settings=(("SERVICENOW_GRANT", "password"),)),
    "a refresh token that is refused": Situation(wrong=(REFRESH_TOKEN,), runs=2),
    "a password that is refused": Situation(
        settings=(("SERVICENOW_GRANT", "password"),), wrong=("servicenow-password",), runs=5
    ),
}
Release = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The earlier release's files."""
    folder = tmp_path_factory.mktemp("previous")
    archive = need_history(ROOT, PREVIOUS, "refresher")
    with zipfile.ZipFile(io.BytesIO(archive)) as files:
        files.extractall(folder)
    return folder


@pytest.fixture
def situation(request: pytest.FixtureRequest) -> Situation:
    return SITUATIONS[request.param]


@pytest.fixture
def running(situation: Situation) -> Iterator[Sandbox]:
    with Sandbox(situation.personality, SandboxClock(datetime.now(UTC), flowing=True)) as sandbox:
        yield sandbox


def release(folder: Path, sandbox: Sandbox, situation: Situation) -> Release:
    """The command line of the release in that folder."""
    environ = {"PATH": os.environ["PATH"], **sandbox.environ(), **dict(situation.settings)}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [python() if folder == ROOT else sys.executable, "-m", "refresher", *arguments]
        return subprocess.run(
            command, cwd=folder, env=environ, capture_output=True, text=True, timeout=300, check=False
        )

    return run


def state(run: Release) -> dict[str, object]:
    """What `status` says of the connection, without what it says of itself."""
    (connection,) = json.loads(run("status", "--json").stdout)["connections"]
    keys = ("state", "working", "expires_at", "refresh_token_expires_at", "consecutive_failures", "cause")
    return {key: connection.get(key) for key in keys}


@pytest.mark.exhaustive
@pytest.mark.parametrize("direction", ["upgrade", "roll back"])
@pytest.mark.parametrize("situation", SITUATIONS, indirect=True)
def test_the_other_release_goes_on_where_the_first_one_stopped(
    running: Sandbox, previous: Path, situation: Situation, direction: str
) -> None:
    folders = (previous, ROOT) if direction == "upgrade" else (ROOT, previous)
    user = running.add_connection(username=True).application.user
    first, second = (release(folder, running, situation) for folder in folders)
    right = {name: held.value for name in situation.wrong if (held := running.vault.get(name)) is not None}
    for name in situation.wrong:
        running.vault.put(name, f"CANARY-wrong-{name}")
    for _ in range(situation.runs):
        first("refresh", *(() if situation.wrong else ("--force",)))
    left = state(first)
    assert state(second) == left
    for _ in range(situation.runs if situation.wrong else 0):
        second("refresh")
    assert not user.locked
    assert user.failed_logins < LOCKED_AFTER
    for name, value in right.items():
        running.vault.put(name, value)
    asked = running.log.count(path="/oauth_token.do")
    if not situation.wrong:
        second("refresh")
        assert running.log.count(path="/oauth_token.do") == asked
    for run in (second, first, second):
        forced = run("refresh", "--force")
        assert forced.returncode == 0, forced.stdout + forced.stderr
        held = running.vault.get(MAIN)
        assert held is not None
        assert running.instance.is_living_access_token(held.value)
        assert state(run)["working"] is True


def test_the_earlier_release_is_one_of_an_earlier_version(previous: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "refresher", "--version"], cwd=previous, capture_output=True, text=True, check=True
    )
    assert tuple(map(int, answer.stdout.split("."))) < tuple(map(int, VERSION.split(".")))
