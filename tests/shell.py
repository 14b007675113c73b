"""What a person types in the shell that `make serve` tells of."""

import os
import shlex
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from sandbox.trial.serve import Standing
from tests.forks import python

ROOT = Path(__file__).parents[1]


def type_in(
    place: Standing, folder: Path, commands: str, stdin: str | None = None
) -> subprocess.CompletedProcess[str]:
    """Run command lines, each only if the one before it succeeded."""
    path = f'export PATH={shlex.quote(str(Path(python()).parent))}:"$PATH"'
    script = shlex.quote(str(ROOT / "sandbox" / "az.py"))
    az = f'az() {{ python {script} "$@"; }}\nazd() {{ python {script} azd "$@"; }}'
    with _redirect_port_of_our_own() if "authorize" in commands else nullcontext():
        return subprocess.run(
            ["/bin/sh", "-ec", f". {place.shell}\n{path}\n{az}\n{commands}"],
            cwd=folder,
            env={"PATH": os.environ["PATH"]},
            input=stdin or "",
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )


@contextmanager
def _redirect_port_of_our_own() -> Iterator[None]:
    """Documents show `authorize` with its default port, and tests run side by side.

    A port keeps them apart, which there is once on a machine, whoever runs the suite and wherever its files are.
    """
    with socket.socket() as ours:
        for _ in range(3000):
            with suppress(OSError):
                ours.bind(("127.0.0.1", 8399))
                break
            time.sleep(0.1)
        yield
