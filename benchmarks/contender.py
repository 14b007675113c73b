"""One of the two that are compared, in a process of its own.

`PYTHON -m benchmarks.contender WHO` obeys a command a line (the names of the connections to refresh) and answers each
with a line of JSON: what the work took. `--cold` does it once and ends; then the imports are part of the work.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.companion import Companion

PRODUCT = "product"
STRAIGHT_LINE = "straight line"


@dataclass(frozen=True, slots=True, kw_only=True)
class Took:
    """What work took: seconds of time and of CPU, the most megabytes of memory so far, and runs that failed."""

    seconds: float
    cpu: float
    memory: float
    failed: int


class Contender(Companion):
    """A warm process."""

    def __init__(self, python: str, who: str, environ: Mapping[str, str]) -> None:
        super().__init__(_command(python, who), environ=environment(environ), quiet=True)

    def refresh(self, names: Sequence[str]) -> Took:
        """Refresh these connections (the product: all that are due, which are these)."""
        return Took(**self.ask(json.dumps(list(names))))


def refresh_cold(python: str, who: str, environ: Mapping[str, str], names: Sequence[str]) -> Took:
    """Refresh in a new process; the interpreter's own start is not counted, it is the same for both."""
    command = cold_command(python, who, names)
    done = subprocess.run(command, env=environment(environ), capture_output=True, text=True, check=True)
    return Took(**json.loads(done.stdout))


def cold_command(python: str, who: str, names: Sequence[str]) -> list[str]:
    """The command that refreshes these connections in a new process."""
    return [*_command(python, who), "--cold", *names]


def _command(python: str, who: str) -> list[str]:
    return [python, "-m", "benchmarks.contender", who]


def environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of a contender."""
    # As in a deployed app, where modules are compiled once.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, **environ}


def main() -> int:
    """Obey."""
    options = argparse.ArgumentParser()
    options.add_argument("who", choices=(PRODUCT, STRAIGHT_LINE))
    options.add_argument("--cold", nargs="+", metavar="NAME")
    options.add_argument("--modules", action="store_true", help="name the modules that a cold refresh loaded")
    given = options.parse_args()
    import azure.functions  # noqa: F401, PLC0415 - the worker has loaded it before the app of either

    before = set(sys.modules)
    began, cpu = time.perf_counter(), time.process_time()
    refresh = _product() if given.who == PRODUCT else _straight_line()
    if given.cold:
        measured = _measured(refresh, given.cold, began, cpu)
        loaded = {"modules": [name for name in sys.modules if name not in before]} if given.modules else {}
        print(json.dumps({**measured, **loaded}))
        return 0
    for line in sys.stdin:
        print(json.dumps(_measured(refresh, json.loads(line), time.perf_counter(), time.process_time())), flush=True)
    return 0


def _measured(
    refresh: Callable[[Sequence[str]], int], names: Sequence[str], began: float, cpu: float
) -> dict[str, float]:
    failed = refresh(names)
    return {
        "seconds": time.perf_counter() - began,
        "cpu": time.process_time() - cpu,
        "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        "failed": failed,
    }


def _product() -> Callable[[Sequence[str]], int]:
    import function_app  # noqa: PLC0415 - measured
    from refresher.model.report import SUCCESSES, RunRequest, Trigger  # noqa: PLC0415 - measured

    def refresh(_: Sequence[str]) -> int:
        # As the timer does.
        function_app.refresher_app.note_tick()
        reports = function_app.refresher_app.tick(RunRequest(trigger=Trigger.TIMER))
        return sum(report.outcome not in SUCCESSES for report in reports)

    return refresh


def _straight_line() -> Callable[[Sequence[str]], int]:
    from benchmarks.straight_line import refresh as refresh_one  # noqa: PLC0415 - measured

    vault_url, instance_url = os.environ["KEY_VAULT_URL"], os.environ["SERVICENOW_INSTANCE_URL"]

    def refresh(names: Sequence[str]) -> int:
        for name in names:
            refresh_one(vault_url, instance_url, name)
        return 0

    return refresh


if __name__ == "__main__":
    sys.exit(main())
