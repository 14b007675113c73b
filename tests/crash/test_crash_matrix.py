"""The crash matrix: a process killed at every request of a run, and what the next tick makes of it.

For each scenario, a run is repeated. Each time it is killed (SIGKILL, a real process over real HTTPS) at another
request: held before its effect, and where it changes something, also after. Then five minutes pass and another
process ticks. There must be an access token that the instance accepts, in the vault and in its copy, and a refresh
token that the instance accepts. A point is named after its request; it is a subtest.
"""

import itertools
import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from refresher.app import App
from refresher.errors import Cause
from refresher.outcome import Outcome, RunReport, RunRequest
from refresher.tokens import Trigger
from sandbox import Personality, Sandbox, SandboxClock
from sandbox.faults import Hold
from sandbox.host import environment, product_clock

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A situation in which a run does something."""

    personality: Personality
    what: str = "aging"
    fallback: bool = True
    blob_lease: bool = False
    cold: bool = False


SCENARIOS = {
    "refresh": Scenario(personality=Personality()),
    "refresh-cold-process": Scenario(personality=Personality(), cold=True),
    "refresh-blob-lease": Scenario(personality=Personality(), blob_lease=True),
    "refresh-rotating": Scenario(personality=Personality(rotates=True)),
    "refresh-rotating-without-fallback": Scenario(personality=Personality(rotates=True), fallback=False),
    "refresh-same-token": Scenario(personality=Personality(same_token=True)),
    "fallback": Scenario(personality=Personality(), what="refresh_token_dead"),
    "fallback-rotating": Scenario(personality=Personality(rotates=True), what="refresh_token_dead"),
    "fallback-same-token": Scenario(personality=Personality(same_token=True), what="refresh_token_dead"),
    "first-run": Scenario(personality=Personality(), what="first"),
}


class Runner:
    """The process that forks the runs."""

    def __init__(self) -> None:
        command = [sys.executable, "-m", "tests.crash.runner"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def send(self, line: str) -> None:
        """Send a line: a command, or the sign to start."""
        assert self._process.stdin is not None
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()

    def hear(self, timeout: float = 30) -> int | None:
        """The number in the next line: the process id of a run that is ready, or how it ended."""
        try:
            return int(self._lines.get(timeout=timeout).split()[1])
        except queue.Empty:
            return None

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(10)
        self._reader.join(5)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    made = Runner()
    yield made
    made.close()


class Theatre:
    """One sandbox in which a run is repeated, with a new connection each time."""

    def __init__(self, sandbox: Sandbox, scenario: Scenario, runner: Runner) -> None:
        self.sandbox = sandbox
        self.scenario = scenario
        self._runner = runner
        self._numbers = itertools.count(1)
        self._app: App | None = None

    def prepare(self) -> str:
        """Add a connection in the scenario's situation."""
        scenario, sandbox = self.scenario, self.sandbox
        name = f"c{next(self._numbers)}"
        secrets = sandbox.add_connection(name, username=scenario.fallback)
        if scenario.what != "first":
            assert self.tick(name).outcome is Outcome.REFRESHED
            sandbox.clock.advance(timedelta(minutes=50))
        if scenario.what == "refresh_token_dead":
            token = sandbox.vault.get(f"{name}-refresh-token")
            assert token is not None
            sandbox.instance.kill_refresh_token(token.value)
            sandbox.clock.advance(timedelta(minutes=5))
        assert secrets.user_name
        return name

    def tick(self, name: str) -> RunReport:
        """Tick in this process, with an app that never saw the other run."""
        app = App({**os.environ, **self.settings(name)}, product_clock(self.sandbox.clock))
        try:
            return app.refresh([name], RunRequest(trigger=Trigger.TIMER))[0]
        finally:
            app.close()

    def settings(self, name: str) -> dict[str, str]:
        """Settings of one connection, whatever its name."""
        connection = {"instance_url": self.sandbox.instance.url}
        if self.scenario.fallback:
            connection["fallback_grant"] = "password"
        settings = {"SERVICENOW_CONNECTIONS": json.dumps({name: connection}), "SERVICENOW_INSTANCE_URL": ""}
        if self.scenario.blob_lease:
            settings["LEASE_CONTAINER_URL"] = self.sandbox.leases.url
        return settings

    def kill_at(self, name: str, n: int, *, before: bool, how: signal.Signals = signal.SIGKILL) -> str | None:
        """Run in a process of its own, killed at the n-th request; returns that request, None where there is none."""
        sandbox = self.sandbox
        command = {
            "environ": {**sandbox.environ(), **self.settings(name)},
            "connection": name,
            "now": sandbox.clock.now().isoformat(),
            "warm": not self.scenario.cold,
        }
        self._runner.send(json.dumps(command))
        process_id = self._runner.hear()
        assert process_id is not None
        hold = sandbox.faults.hold_nth(n, before=before)
        self._runner.send("go")
        reached = self._wait(hold)
        if reached:
            os.kill(process_id, how)
            assert self._runner.hear() == -how
            hold.abandon()
        sandbox.faults.clear()
        return hold.met.replace(name, "NAME") if reached else None

    def _wait(self, hold: Hold) -> bool:
        while not hold.reached.wait(0.002):
            code = self._runner.hear(0.001)
            if code is not None:
                assert code == 0
                return False
        return True


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    clock = SandboxClock(datetime.now(UTC), flowing=False)
    with Sandbox(clock=clock) as running, environment(running.environ()):
        yield running


def points() -> Iterator[tuple[int, bool]]:
    """Requests from the first on, each before its effect, then after it."""
    for n in itertools.count(1):
        yield n, True
        yield n, False


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_every_crash_heals(sandbox: Sandbox, runner: Runner, scenario: str, subtests: pytest.Subtests) -> None:
    """A run that is killed at any request leaves nothing that the next tick does not mend."""
    theatre = Theatre(sandbox, SCENARIOS[scenario], runner)
    sandbox.instance.personality = SCENARIOS[scenario].personality
    met = 0
    changes = True
    for n, before in points():
        if not before and not changes:
            continue
        name = theatre.prepare()
        point = theatre.kill_at(name, n, before=before)
        if point is None:
            break
        met += 1
        changes = not point.startswith(("GET", "HEAD"))
        with subtests.test(msg=f"{n:02} {'before' if before else 'after'} {point}"):
            sandbox.clock.advance(timedelta(minutes=5))
            report = theatre.tick(name)
            check(theatre, name, report)
    assert met >= 12, "a run makes more requests than that"


def check(theatre: Theatre, name: str, report: RunReport) -> None:
    """Check what the next tick left."""
    sandbox = theatre.sandbox
    if report.outcome is Outcome.AUTHORIZATION_REQUIRED:
        # The one case that nothing can mend: rotated, killed before the new token was stored, no other grant.
        assert theatre.scenario.personality.rotates
        assert not theatre.scenario.fallback
        assert report.cause is Cause.ROTATED_TOKEN_LOST
        return
    refresh_token = sandbox.vault.get(f"{name}-refresh-token")
    access_token = sandbox.vault.get(f"{name}-oauth-token")
    copy = sandbox.vault.get(f"{name}--action--global--oauth-token")
    assert refresh_token is not None
    assert access_token is not None
    assert copy is not None
    assert sandbox.instance.is_living_refresh_token(refresh_token.value)
    assert sandbox.instance.is_living_access_token(access_token.value)
    assert copy.value == access_token.value
    assert report.working
