"""The examples of docs/consumers.md: the one in Python runs, the one in JavaScript is parsed."""

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from refresher.model.report import Outcome, RunRequest, Trigger
from sandbox import Sandbox, SandboxClock
from sandbox.trial.host import environment
from tests.conftest import MakeApp, tick
from tests.names import TOKEN
from tests.needs import need_node

TEXT = (Path(__file__).parents[2] / "docs" / "consumers.md").read_text("utf-8")
PATH = "/api/now/table/incident"


def example(language: str) -> str:
    """All blocks of a language, in their order."""
    return "\n".join(re.findall(rf"^```{language}\n(.+?)^```$", TEXT, re.MULTILINE | re.DOTALL))


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """In real time: the example asks the machine for it."""
    with (
        Sandbox(clock=SandboxClock(datetime.now(UTC), flowing=True)) as running,
        environment({**running.environ(), "AZURE_TOKEN_CREDENTIALS": "ManagedIdentityCredential"}),
    ):
        yield running


@pytest.fixture
def reader(sandbox: Sandbox, make_app: MakeApp) -> Iterator[dict[str, Any]]:
    """The example's names, after it ran once."""
    sandbox.add_connection()
    assert tick(make_app()).outcome is Outcome.REFRESHED
    sandbox.log.clear()
    names: dict[str, Any] = {"INSTANCE_URL": sandbox.instance.url, "VAULT_URL": sandbox.vault.url}
    exec(compile(example("python"), "docs/consumers.md", "exec"), names)  # noqa: S102 - the example is what is tested
    yield names
    names["servicenow"].close()


def reads(sandbox: Sandbox) -> int:
    """How often the secret was read; the first read of a client asks for a challenge before."""
    return sandbox.log.count(service="vault", status=httpx.codes.OK)


def test_the_python_example_calls_servicenow_and_reads_once(sandbox: Sandbox, reader: dict[str, Any]) -> None:
    assert reader["incidents"].status_code == httpx.codes.OK
    assert reader["servicenow"].get(PATH).status_code == httpx.codes.OK
    assert reads(sandbox) == 1


def test_the_python_example_reads_again_on_401(sandbox: Sandbox, reader: dict[str, Any], make_app: MakeApp) -> None:
    held = sandbox.vault.get(TOKEN)
    assert held is not None
    sandbox.instance.kill_access_token(held.value)
    make_app().refresh(["servicenow"], RunRequest(trigger=Trigger.CLI, force=True))
    sandbox.log.clear()
    assert reader["servicenow"].get(PATH).status_code == httpx.codes.OK
    assert reads(sandbox) == 1


def test_the_python_example_does_not_ask_for_ever(sandbox: Sandbox, reader: dict[str, Any]) -> None:
    held = sandbox.vault.get(TOKEN)
    assert held is not None
    sandbox.instance.kill_access_token(held.value)
    sandbox.log.clear()
    assert reader["servicenow"].get(PATH).status_code == httpx.codes.UNAUTHORIZED
    assert sandbox.log.count(service="instance") == 2


def test_the_javascript_example_is_javascript(tmp_path: Path) -> None:
    script = tmp_path / "example.mjs"
    script.write_text(example("js"), "utf-8")
    subprocess.run([need_node(), "--check", script], check=True, timeout=300)
