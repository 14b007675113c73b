"""The identity endpoint fails: one clear cause, quickly, and nothing else is tried in its place."""

import pytest

from refresher.app import App
from refresher.errors import Cause
from refresher.outcome import Outcome
from sandbox import Fault, Sandbox
from sandbox.faults import Action, Drop, Garbage, Respond
from tests.conftest import tick


@pytest.mark.parametrize(
    "action", [Respond(500, {}, b""), Respond(403, {}, b"{}"), Respond(429, {}, b""), Drop(), Garbage(b"")]
)
def test_a_broken_identity_endpoint_is_named(sandbox: Sandbox, app: App, action: Action) -> None:
    """A 500 with an empty body lets a bare JSONDecodeError out of the SDK; the cause is the same."""
    sandbox.add_connection("servicenow")
    sandbox.faults.add(Fault(service="identity", times=None, action=action))
    report = tick(app)
    assert (report.outcome, report.cause, report.working) == (Outcome.FAILED, Cause.IDENTITY_UNAVAILABLE, None)
    assert "managed identity" in (report.hint or "")


def test_a_passing_fault_of_the_identity_endpoint_is_ridden_out(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection("servicenow")
    sandbox.faults.add(Fault(service="identity", times=3, action=Drop()))
    assert tick(app).outcome is Outcome.REFRESHED
