"""What a person types in the shell that `make serve` tells of."""

import fcntl
import os
import shlex
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sandbox.trial.serve import Standing
from tests.forks import python

ROOT = Path(__file__).parents[1]


def type_in(
    place: Standing, folder: Path, commands: str, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run command lines, each only if the one before it succeeded."""
    path = f'export PATH={shlex.quote(str(Path(python()).parent))}:"$PATH"'
    with _redirect_port_of_our_own():
        return subprocess.run(
            ["/bin/sh", "-ec", f". {place.shell}\n{path}\n{commands}"],
            cwd=folder,
            env={"PATH": os.environ["PATH"]},
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )


@contextmanager
def _redirect_port_of_our_own() -> Iterator[None]:
    """Documents show `authorize` with its default port, and tests run side by side."""
    with Path(tempfile.gettempdir(), "redirect-port-8400.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
