"""The job as a whole, over real HTTPS against the sandbox: what a tick does in each situation."""

from datetime import timedelta

import pytest

from refresher.app import App
from refresher.cli.exit_codes import refresh_exit_code, tick_exit_code
from refresher.model.causes import Cause
from refresher.model.moments import format_instant
from refresher.model.report import Outcome, RunRequest, Trigger
from sandbox import Fault, Sandbox
from sandbox.faults import Action, Drop, DropAfter, Respond, Throttle
from tests.conftest import MakeApp, tick
from tests.names import RECORD, REFRESH_TOKEN, TARGET, TOKEN
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")


def value(sandbox: Sandbox, name: str) -> str:
    """The newest value of a secret that must be there."""
    secret = sandbox.vault.get(name)
    assert secret is not None
    return secret.value


def test_the_first_tick_publishes_a_token_that_the_instance_accepts(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection("servicenow")
    report = tick(app)
    assert report.outcome is Outcome.REFRESHED
    assert report.working
    assert sandbox.instance.is_living_access_token(value(sandbox, TOKEN))
    assert value(sandbox, TARGET) == value(sandbox, TOKEN)


def test_the_access_token_carries_its_metadata(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection("servicenow")
    report = tick(app)
    for name in (TOKEN, TARGET):
        secret = sandbox.vault.get(name)
        assert secret is not None
        assert secret.content_type == "application/vnd.servicenow.access-token"
        assert secret.expires_on == sandbox.clock.now().replace(microsecond=0) + timedelta(seconds=3599)
        assert secret.tags["connection"] == "servicenow"
        assert secret.tags["issued-at"] == format_instant(sandbox.clock.now())
        assert secret.tags["grant"] == "refresh_token"
        assert secret.tags["run-id"] == report.run_id
        assert secret.tags["trigger"] == "timer"


def test_a_refresh_token_without_dates_is_written_once_more_with_them(sandbox: Sandbox, app: App) -> None:
    """Which shows, before it is spent, that its successor can be stored."""
    sandbox.add_connection("servicenow")
    created = sandbox.vault.get(REFRESH_TOKEN)
    assert created is not None
    tick(app)
    described = sandbox.vault.get(REFRESH_TOKEN)
    assert described is not None
    assert len(sandbox.vault.versions(REFRESH_TOKEN)) == 2
    assert described.value == created.value
    assert described.tags["issued-at"] == format_instant(created.created_on)
    assert described.expires_on == created.created_on + timedelta(days=100)


def test_an_unchanged_refresh_token_is_written_before_its_first_use_only(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection("servicenow")
    for _ in range(3):
        tick(app)
        sandbox.clock.advance(timedelta(minutes=50))
    assert len(sandbox.vault.versions(REFRESH_TOKEN)) == 2
    assert len(sandbox.vault.versions(TOKEN)) == 3


def test_a_missing_target_is_published_again_without_asking_servicenow(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection("servicenow")
    tick(app)
    sandbox.vault.delete(TARGET)
    sandbox.log.clear()
    assert tick(app).outcome is Outcome.PUBLISHED
    assert sandbox.log.count(service="instance") == 0
    assert value(sandbox, TARGET) == value(sandbox, TOKEN)


def test_a_target_that_holds_something_else_is_published_again(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection("servicenow")
    tick(app)
    sandbox.vault.put(TARGET, "typed by hand")
    assert tick(app).outcome is Outcome.PUBLISHED
    assert value(sandbox, TARGET) == value(sandbox, TOKEN)


def test_a_token_whose_metadata_is_missing_is_refreshed(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection("servicenow")
    tick(app)
    sandbox.vault.put(TOKEN, "typed by hand")
    assert tick(app).outcome is Outcome.REFRESHED


def test_a_forced_run_refreshes_a_fresh_token_and_keeps_the_reason(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection("servicenow")
    tick(app)
    assert tick(app, force=True, reason="ticket 4711").outcome is Outcome.REFRESHED
    secret = sandbox.vault.get(TOKEN)
    assert secret is not None
    assert secret.tags["reason"] == "ticket 4711"


def test_a_failure_while_the_old_token_works_keeps_it(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection("servicenow")
    tick(app)
    before = value(sandbox, TOKEN)
    sandbox.clock.advance(timedelta(minutes=50))
    sandbox.faults.add(Fault(service="instance", times=None, action=Respond(503, {}, b"")))
    report = tick(app)
    assert report.outcome is Outcome.KEPT
    assert report.cause is Cause.INSTANCE_ERROR
    assert value(sandbox, TOKEN) == before
    record = sandbox.vault.get(RECORD)
    assert record is not None
    assert record.tags["consecutive-failures"] == "1"
    assert record.tags["last-cause"] == "instance_error"
    assert tick_exit_code([report]) == 0
    assert refresh_exit_code([report]) == 1


def test_a_failure_that_is_over_is_cleared_from_the_record(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection("servicenow")
    sandbox.faults.add(Fault(service="instance", times=None, action=Respond(503, {}, b"")))
    assert tick(app).outcome is Outcome.FAILED
    sandbox.faults.clear()
    assert tick(app).outcome is Outcome.REFRESHED
    record = sandbox.vault.get(RECORD)
    assert record is not None
    assert record.tags["consecutive-failures"] == "0"
    assert record.tags["last-outcome"] == "refreshed"
    assert len(sandbox.vault.versions(RECORD)) == 1


@pytest.mark.parametrize("action", thinned([Drop(), DropAfter(), Respond(500, {}, b""), Throttle(2), Throttle(None)]))
def test_a_passing_fault_of_the_instance_is_ridden_out(sandbox: Sandbox, app: App, action: Action) -> None:
    sandbox.add_connection("servicenow")
    sandbox.faults.add(Fault(service="instance", path="/oauth_token.do", times=2, action=action))
    report = tick(app)
    assert report.outcome is Outcome.REFRESHED
    assert report.attempts == 3


@pytest.mark.parametrize("name", ["servicenow-client-id", "servicenow-client-secret"])
def test_a_missing_credential_is_named_and_nothing_is_written(sandbox: Sandbox, app: App, name: str) -> None:
    sandbox.add_connection("servicenow")
    sandbox.vault.delete(name)
    sandbox.vault.purge(name)
    names = sandbox.vault.names()
    report = tick(app)
    assert report.outcome is Outcome.FAILED
    assert report.cause is Cause.SECRET_MISSING
    assert name in report.message
    assert sandbox.vault.names() == names
    assert sandbox.log.count(service="instance") == 0


def test_a_forbidden_vault_names_the_secret_the_operation_and_the_role(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection("servicenow")
    sandbox.vault.deny("get", "servicenow-client-secret")
    report = tick(app)
    assert report.cause is Cause.VAULT_FORBIDDEN
    assert "get of secret servicenow-client-secret" in report.message
    assert "Key Vault Secrets User" in (report.hint or "")


def test_without_a_refresh_token_a_person_is_asked_for(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection("servicenow", refresh_token=False)
    report = tick(app)
    assert report.outcome is Outcome.AUTHORIZATION_REQUIRED
    assert "python -m refresher authorize servicenow" in (report.hint or "")
    assert tick_exit_code([report]) == 3
    assert sandbox.log.count(service="instance") == 0


def test_connections_are_isolated(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection("good")
    sandbox.add_connection("bad", refresh_token=False)
    url = sandbox.instance.url
    app = make_app(
        SERVICENOW_CONNECTIONS=f'{{"bad": {{"instance_url": "{url}"}}, "good": {{"instance_url": "{url}"}}}}'
    )
    reports = {report.connection: report for report in app.tick(RunRequest(trigger=Trigger.TIMER))}
    assert reports["good"].outcome is Outcome.REFRESHED
    assert reports["bad"].outcome is Outcome.AUTHORIZATION_REQUIRED
    assert tick_exit_code(reports.values()) == 3


def test_no_cookie_and_no_authorization_reach_the_token_endpoint(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection("servicenow")
    tick(app)
    sandbox.clock.advance(timedelta(minutes=50))
    tick(app)
    requests = sandbox.log.select(path="/oauth_token.do")
    assert len(requests) == 2
    for request in requests:
        assert not request.has_cookie
        assert not request.has_authorization
        assert not request.query_keys
        assert request.content_type == "application/x-www-form-urlencoded"
