"""What was published when, from the versions of the secret and nothing else."""

import json
from argparse import Namespace
from datetime import timedelta

import pytest

from refresher.cli.exit_codes import ExitCode
from refresher.cli.main import COMMANDS
from refresher.model.causes import Cause
from refresher.model.errors import VaultError
from refresher.model.report import Outcome, RunRequest, Trigger
from refresher.status.lives import gaps
from refresher.views.bodies import body_of
from refresher.views.page import status_page
from refresher.views.tables import show_history, show_statuses
from sandbox import CANARY_PREFIX, Fault, Sandbox
from sandbox.faults import Respond
from tests.conftest import MakeApp, tick
from tests.factories import TICKING

pytestmark = pytest.mark.wire("any")


@pytest.mark.exhaustive
def test_versions_are_ordered_by_their_tags_not_by_their_ids(sandbox: Sandbox, make_app: MakeApp) -> None:
    """Key Vault lists by version id, 25 to a page."""
    sandbox.add_connection()
    app = make_app()
    for _ in range(40):
        assert tick(app).outcome is Outcome.REFRESHED
        sandbox.clock.advance(timedelta(minutes=50))
    history = app.history("servicenow")
    assert len(history.issues) == 40
    moments = [issue.issued_at for issue in history.issues]
    assert moments == sorted(moments)
    by_id = sorted(sandbox.vault.versions("servicenow-oauth-token"), key=lambda each: each.version)
    assert [each.tags["run-id"] for each in by_id] != [issue.run_id for issue in history.issues]
    assert history.gaps == ()


def test_gaps_say_when_no_token_lived(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    app = make_app()
    tick(app)
    sandbox.faults.add(Fault(service="instance", times=None, action=Respond(503, {}, b"")))
    sandbox.clock.advance(timedelta(minutes=90))
    assert tick(app).outcome is Outcome.FAILED
    sandbox.faults.clear()
    tick(app, force=True, reason="ticket 4711")
    history = app.history("servicenow")
    ((begins, ends),) = history.gaps
    assert timedelta(minutes=30) <= ends - begins < timedelta(minutes=35)
    assert history.issues[-1].reason == "ticket 4711"
    assert gaps(history.lives, begins, ends) == ((begins, ends),)


def test_the_present_counts_as_a_gap_where_the_last_token_has_ended(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    app = make_app()
    tick(app)
    sandbox.clock.advance(timedelta(hours=3))
    ((_, ends),) = app.history("servicenow").gaps
    assert ends >= sandbox.clock.now() - timedelta(seconds=1)


def test_a_version_that_was_written_by_hand_is_shown_as_such(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    sandbox.vault.put("servicenow-oauth-token", f"{CANARY_PREFIX}by-hand")
    sandbox.clock.advance(timedelta(minutes=1))
    app = make_app()
    tick(app)
    by_hand, ours = app.history("servicenow").issues
    assert (by_hand.by_hand, by_hand.expires_at) == (True, None)
    assert (ours.by_hand, ours.grant, ours.trigger) == (False, "refresh_token", "timer")


def test_the_last_six_attempts_are_told_failures_too(
    sandbox: Sandbox, make_app: MakeApp, capfd: pytest.CaptureFixture[str]
) -> None:
    """By `status`, `history` and the page, and a success makes none of them forgotten."""
    sandbox.add_connection()
    app = make_app()
    tick(app)
    for answer in (503, 503, 429):
        sandbox.faults.clear()
        sandbox.faults.add(Fault(service="instance", times=None, action=Respond(answer, {}, b"")))
        sandbox.clock.advance(timedelta(minutes=55))
        tick(app)
    sandbox.faults.clear()
    sandbox.clock.advance(timedelta(minutes=5))
    assert tick(app).outcome is Outcome.REFRESHED
    codes = ["refreshed", "instance_throttled", "instance_error", "instance_error", "refreshed"]
    history, (status,) = app.history("servicenow"), app.status()
    assert [attempt.code for attempt in history.attempts] == codes
    assert [attempt.code for attempt in status.attempts] == codes
    assert [each["code"] for each in json.loads(json.dumps(body_of(status)))["attempts"]] == codes
    told, line = (
        ", ".join(f"{attempt.at:%H:%M} {attempt.code}" for attempt in each.attempts) for each in (history, status)
    )
    now = sandbox.clock.now()
    show_history(history, now, 30)
    assert told in capfd.readouterr().out
    show_statuses([status], TICKING, now)
    assert line in capfd.readouterr().out
    assert line in status_page([status], TICKING, now)


def test_listing_that_is_not_permitted_names_the_role(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    app = make_app()
    tick(app)
    sandbox.vault.deny("list")
    with pytest.raises(VaultError) as caught:
        app.history("servicenow")
    assert caught.value.cause is Cause.VAULT_FORBIDDEN
    assert "Key Vault Secrets Officer" in caught.value.hint


def test_one_connection_that_may_not_be_listed_hides_no_other(
    sandbox: Sandbox, make_app: MakeApp, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ("hr", "itsm")
    for name in names:
        sandbox.add_connection(name)
    connections = {name: {"instance_url": sandbox.instance.url} for name in names}
    app = make_app(SERVICENOW_CONNECTIONS=json.dumps(connections))
    app.tick(RunRequest(trigger=Trigger.TIMER))
    refusal = Respond(403, {"Content-Type": "application/json"}, b'{"error":{"code":"Forbidden","message":"no"}}')
    sandbox.faults.add(
        Fault(service="vault:main", path="/secrets/hr-oauth-token/versions", times=None, action=refusal)
    )
    options = Namespace(name=None, json=False, limit=5, debug=False)
    assert COMMANDS["history"](app, options) == ExitCode.FAILED
    out, err = capsys.readouterr()
    assert "itsm: 1 token since" in out
    assert err.startswith("hr: Key Vault refused")
