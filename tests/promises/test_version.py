"""Which version it is stands wherever somebody would ask: one number, held to that of the release."""

import json
import tomllib

import pytest

from refresher.app import App
from refresher.cli.parser import build_parser
from refresher.model.version import USER_AGENT, VERSION
from refresher.web import status_reply
from sandbox import Sandbox
from tests.conftest import CapturedLog, MakeApp, tick
from tests.factories import TICKING
from tests.promises.places import ROOT


def test_it_is_the_version_of_the_release() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    assert f"{project['name']}/{project['version']}" == USER_AGENT
    assert USER_AGENT.endswith(f"/{VERSION}")


def test_every_request_says_who_asks(sandbox: Sandbox, make_app: MakeApp) -> None:
    """But those for the identity's own token, which the SDK makes by itself."""
    sandbox.add_connection()
    tick(make_app(LEASE_CONTAINER_URL=sandbox.leases.url))
    asked = [each for each in sandbox.log if each.service != "identity"]
    assert {each.service for each in asked} == {"instance", "vault:main", "leases"}
    assert [each for each in asked if USER_AGENT not in each.user_agent] == []


def test_events_and_status_say_it(sandbox: Sandbox, app: App, everything_logged: CapturedLog) -> None:
    sandbox.add_connection()
    everything_logged.lines.clear()
    tick(app)
    events = [json.loads(line.split(" ", 2)[2]) for line in everything_logged.lines if line.startswith("refresher ")]
    assert {event["version"] for event in events} == {VERSION}
    assert json.loads(status_reply(app.status(), TICKING, sandbox.clock.now()).body)["version"] == VERSION


def test_the_command_line_prints_it(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        build_parser().parse_args(["--version"])
    assert (ended.value.code, capfd.readouterr().out) == (0, f"{VERSION}\n")
