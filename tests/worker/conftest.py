"""What the tests over the real worker library share."""

import importlib.util
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from sandbox import Sandbox, SandboxClock
from sandbox.trial.host import environment
from tests.needs import NEEDS_NEWER_PYTHON
from tests.worker.harness import WorkerHarness
from tests.worker.product import SCHEDULE, Host

ROOT = Path(__file__).parents[2]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip, and say why, where the worker library cannot be installed."""
    if importlib.util.find_spec("azure_functions_runtime") is None:
        skip = pytest.mark.skip(reason=NEEDS_NEWER_PYTHON)
        for item in items:
            if "tests/worker/" in item.path.as_posix():
                item.add_marker(skip)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """In real time, as the worker asks the machine for it; with one connection."""
    with Sandbox(clock=SandboxClock(datetime.now(UTC), flowing=True)) as running, environment(running.environ()):
        running.add_connection()
        yield running


@pytest.fixture
def host(sandbox: Sandbox) -> Iterator[Host]:  # noqa: ARG001 - its environment
    """A worker with the product in it, and the settings of a test."""
    running: list[WorkerHarness] = []

    def start(without: tuple[str, ...] = (), **settings: str) -> WorkerHarness:
        running.append(WorkerHarness(ROOT, {**SCHEDULE, **settings}, without=without).__enter__())
        return running[-1]

    yield start
    for harness in running:
        harness.__exit__(None, None, None)
