"""Runs that are killed on the way: in a process of their own, over real HTTPS, at a request that is held for it."""

import json
import os
import queue
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from refresher.app import App
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger
from sandbox import Personality, Sandbox
from sandbox.faults import Fault, Hold
from sandbox.personality import PERSONALITIES
from sandbox.trial.host import product_clock
from tests.crash.runner import password_authorization

ROOT = Path(__file__).parents[2]
NAME = "servicenow"
COPY = "-action--global--oauth-token"
TICK = timedelta(minutes=5)
_VERSION = re.compile(r"/([0-9a-f]{32})?$")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A situation in which a run does something."""

    personality: Personality = PERSONALITIES["default"]
    job: str = "tick"
    """What is killed: a tick, or a person's `authorize`, with or without `--store`."""
    tokens: str = "aging"
    """aging, with a dead refresh token, or none yet."""
    fallback: bool = False
    blob_lease: bool = False
    cold: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """Where a run is killed: before or after a request takes effect, by method, service and path without a version."""

    request: str
    occurrence: int
    before: bool

    def __str__(self) -> str:
        again = f", time {self.occurrence + 1}" if self.occurrence else ""
        return f"{'before' if self.before else 'after'} {self.brief}{again}"

    @property
    def brief(self) -> str:
        """The request by its method and the last name in its path, without the connection's."""
        method, _, path = self.request.split(" ")
        name = path.rstrip("/").rpartition("/")[2].removeprefix(f"{NAME}-")
        return f"{method} {'copy' if name == COPY else 'lease' if name == NAME else name}"


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
        self._process.wait(300)
        self._reader.join(60)
        self._process.stdout.close()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)


class Theatre:
    """One sandbox in which a run is repeated, in the same situation each time."""

    def __init__(self, sandbox: Sandbox, scenario: Scenario, runner: Runner) -> None:
        self.sandbox = sandbox
        self.scenario = scenario
        self._runner = runner
        settings = {"SERVICENOW_FALLBACK_GRANT": "password"} if scenario.fallback else {}
        if scenario.blob_lease:
            settings["LEASE_CONTAINER_URL"] = sandbox.leases.url
        self._settings = settings
        self._app = App({**os.environ, **settings}, product_clock(sandbox.clock))
        self._password = ("", "")

    def close(self) -> None:
        """Close what the ticks of this process opened."""
        self._app.close()

    def prepare(self) -> None:
        """Set a new connection up in the scenario's situation."""
        scenario, sandbox = self.scenario, self.sandbox
        for name in sandbox.vault.names():
            sandbox.vault.delete(name)
            sandbox.vault.purge(name)
        sandbox.instance.personality = scenario.personality
        secrets = sandbox.add_connection(NAME, username=scenario.fallback)
        self._password = (secrets.user_name, secrets.application.user.password)
        if scenario.tokens == "none":
            return
        assert self.tick().outcome is Outcome.REFRESHED
        sandbox.clock.advance(timedelta(minutes=50))
        if scenario.tokens == "dead":
            sandbox.instance.kill_refresh_token(self.value("refresh-token"))
            sandbox.clock.advance(TICK)

    def tick(self) -> RunReport:
        """Tick in this process, which knows of the killed one only what the vault tells."""
        (report,) = self._app.tick(RunRequest(trigger=Trigger.TIMER))
        return report

    def authorize(self) -> RunReport:
        """Authorize in this process."""
        authorization = password_authorization(*self._password, keep=False)
        return self._app.authorize(NAME, RunRequest(trigger=Trigger.CLI), authorization)

    def value(self, kind: str) -> str:
        """A secret's value that must be there."""
        secret = self.sandbox.vault.get(f"{NAME}-{kind}")
        assert secret is not None, kind
        return secret.value

    def rehearse(self) -> list[Point]:
        """Every point of the run: before each of its requests, and after each that changes something."""
        self.prepare()
        assert self.kill_at(Point(request="NONE nobody /", occurrence=0, before=True)) is None
        found: list[Point] = []
        seen: Counter[str] = Counter()
        for each in self.sandbox.log:
            request = f"{each.method} {each.service} {_VERSION.sub('', each.path)}"
            found.append(Point(request=request, occurrence=seen[request], before=True))
            if each.method not in {"GET", "HEAD"}:
                found.append(Point(request=request, occurrence=seen[request], before=False))
            seen[request] += 1
        return found

    def kill_at(self, point: Point, how: signal.Signals = signal.SIGKILL) -> Point | None:
        """Run in a process of its own, killed at that point; returns None where the run went another way."""
        sandbox, hold = self.sandbox, Hold(before=point.before)
        command = {
            "environ": {**sandbox.environ(), **self._settings},
            "connection": NAME,
            "job": self.scenario.job,
            "password": self._password,
            "now": sandbox.clock.now().isoformat(),
            "warm": not self.scenario.cold,
        }
        self._runner.send(json.dumps(command))
        process_id = self._runner.hear()
        assert process_id is not None
        sandbox.log.clear()
        method, service, path = point.request.split(" ")
        where = f"{re.escape(path)}(/[0-9a-f]{{32}})?/?$"
        sandbox.faults.add(
            Fault(action=hold, service=f"{service}$", method=method, path=where, after=point.occurrence)
        )
        self._runner.send("go")
        reached = self._wait(hold)
        if reached:
            os.kill(process_id, how)
            assert self._runner.hear() == -how
            hold.abandon()
        sandbox.faults.clear()
        return point if reached else None

    def _wait(self, hold: Hold) -> bool:
        while not hold.reached.wait(0.002):
            code = self._runner.hear(0.001)
            if code is not None:
                assert code == 0
                return False
        return True
