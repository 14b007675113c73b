"""A process that obeys a line at a time and answers each with a line of JSON; a context manager, which ends it."""

import json
import subprocess
from collections.abc import Mapping, Sequence
from types import TracebackType
from typing import Any, Self


class Companion:
    """Such a process. What it writes to its standard error is nobody's business where `quiet`."""

    def __init__(self, command: Sequence[str], *, environ: Mapping[str, str] | None = None, quiet: bool) -> None:
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if quiet else None,
            text=True,
            env=environ,
        )

    def ask(self, line: str) -> Any:  # noqa: ANN401 - JSON
        """Send a line, and return the answer."""
        assert self._process.stdin is not None  # noqa: S101 - a pipe was asked for
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self.hear()

    def hear(self) -> Any:  # noqa: ANN401 - JSON
        """The next line that it says."""
        assert self._process.stdout is not None  # noqa: S101 - a pipe was asked for
        return json.loads(self._process.stdout.readline())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.communicate()
