"""Other programs that some tests drive, and a pytest plugin that says what was not run for want of one.

Where one is missing the test is skipped, and the closing lines name the command that brings it. With `--no-skips`, as
in CI, such a run fails: what nobody ran is not green. Excused are the worker library where Python is too old for it,
since CI runs the suite on 3.13 as well, and the earlier release where a checkout has no history.
"""

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest

NEEDS_NEWER_PYTHON = "Python 3.13's worker library: make test PYTHON=python3.13 VENV=.venv-3.13"
NEEDS_HISTORY = "the project's history: git fetch --unshallow"
_INTEGRATION = Path(__file__).parent / "integration"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def need_node_package(name: str) -> Path:
    """The folder of a package of tests/integration/package.json, or a skip."""
    folder = _INTEGRATION / "node_modules" / name
    if shutil.which("node") is None or not folder.is_dir():
        pytest.skip(f"Node.js and {name}: npm ci --prefix tests/integration")
    return folder


def need_history(repository: Path, commit: str, *paths: str) -> bytes:
    """An archive (zip) of what the commit holds below the paths, or a skip where it was not fetched."""
    command = ["git", "-C", str(repository), "archive", "--format=zip", commit, *paths]
    made = subprocess.run(command, capture_output=True, check=False) if shutil.which("git") else None
    if made is None or made.returncode:
        pytest.skip(NEEDS_HISTORY)
    return made.stdout


def need_node() -> str:
    """The path of Node.js, or a skip."""
    return _program(("node",), "Node.js: apt-get install nodejs npm")


def need_chromium() -> str:
    """The path of a browser, or a skip."""
    return _program(BROWSERS, "Chromium: apt-get install chromium")


def need_curl() -> str:
    """The path of curl, or a skip."""
    return _program(("curl",), "curl: apt-get install curl")


def _program(names: tuple[str, ...], reason: str) -> str:
    path = next((found for name in names if (found := shutil.which(name))), None)
    if path is None:
        pytest.skip(reason)
    return path


def pytest_addoption(parser: pytest.Parser) -> None:
    """Know the option."""
    parser.addoption("--no-skips", action="store_true", help="fail where a test was skipped")


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Count what was skipped by its reason."""
    skipped = Counter(_reason(report) for report in terminalreporter.stats.get("skipped", ()))
    for reason, count in sorted(skipped.items()):
        terminalreporter.write_line(f"not run: {count} that need {reason}")
    if config.getoption("--no-skips") and set(skipped) - {NEEDS_NEWER_PYTHON, NEEDS_HISTORY}:
        terminalreporter.write_line("failed: --no-skips, and tests were skipped", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail for what was skipped."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or not session.config.getoption("--no-skips"):
        return
    skipped = {_reason(report) for report in reporter.stats.get("skipped", ())} - {NEEDS_NEWER_PYTHON}
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def _reason(report: pytest.TestReport) -> str:
    text = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
    return text.removeprefix("Skipped: ")
