"""Whoever is on call may read names and dates of secrets, and no values (Key Vault Reader)."""

import json
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.check import Verdict
from refresher.model.report import Outcome, RunRequest, Trigger, WarningCode
from refresher.status.connection_status import State
from sandbox.direct import DirectSandbox
from sandbox.faults import Fault, Respond
from tests.conftest import direct, status_of, tick
from tests.names import RECORD, TARGET, TOKEN
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

LAPTOP = {"IDENTITY_ENDPOINT": ""}
UNTRIED = "by its dates; not tried: this identity may read no values"


def on_call(settings: dict[str, str] | None = None) -> tuple[DirectSandbox, App]:
    """An app that refreshed a minute ago, and then nobody may read a value."""
    sandbox, app = direct(settings)
    tick(app)
    app.clock.sleep(60)
    sandbox.vault.deny("get")
    return sandbox, app


def test_status_goes_by_dates_and_says_so() -> None:
    sandbox, app = on_call()
    probes = sandbox.log.count(service="instance")
    status = status_of(app)
    assert (status.state, status.working, status.tried) == (State.FRESH, True, None)
    assert status.message == "by its dates the token is fresh"
    assert (status.basis or "").startswith(UNTRIED)
    assert status.expires_at is not None
    (copy,) = status.targets
    assert (copy.current, copy.working) == (True, True)
    assert sandbox.log.count(service="instance") == probes


def lists(sandbox: DirectSandbox) -> int:
    return sum(each.service == "vault:main" and each.path == "/secrets" for each in sandbox.log)


def test_it_costs_one_list_of_the_vault_for_all_connections() -> None:
    names = [f"c{n}" for n in range(6)]
    connections = {name: {"instance_url": "https://sandbox.service-now.com"} for name in names}
    sandbox, app = direct({"SERVICENOW_CONNECTIONS": json.dumps(connections)})
    for name in names:
        sandbox.add_connection(name)
    assert {report.outcome for report in app.tick(RunRequest(trigger=Trigger.TIMER))} == {Outcome.REFRESHED}
    sandbox.vault.deny("get")
    assert [status.working for status in app.status()] == [True] * 6
    assert lists(sandbox) == 2  # pages of 25


def test_a_token_that_ended_a_copy_that_is_gone_and_one_that_is_older_are_seen() -> None:
    sandbox, app = on_call()
    sandbox.vault.delete(TARGET)
    status = status_of(app)
    assert (status.working, status.targets[0].current, status.targets[0].working) == (False, False, False)
    app.clock.sleep(2 * 3600)
    assert (status_of(app).state, status_of(app).working) == (State.EXPIRED, False)


def test_an_older_copy_is_not_the_current_token() -> None:
    sandbox, app = direct()
    tick(app)
    older = sandbox.vault.versions(TARGET)[-1]
    app.clock.sleep(60)
    tick(app, force=True)
    sandbox.vault.put(TARGET, older.value, tags=older.tags, expires_on=older.expires_on)
    sandbox.vault.deny("get")
    (copy,) = status_of(app).targets
    assert (copy.current, copy.working) == (False, True)


@pytest.mark.parametrize("name", thinned([TOKEN, TARGET]))
def test_one_that_is_disabled_is_no_token(name: str) -> None:
    sandbox, app = on_call()
    sandbox.vault.versions(name)[-1].enabled = False
    status = status_of(app)
    assert status.working is False
    assert f"--name {name} --enabled true" in str(status.next_step)


def test_the_failures_before_are_known() -> None:
    sandbox, app = direct()
    tick(app)
    sandbox.faults.add(Fault(service="instance", times=None, action=Respond(503, {}, b"")))
    app.clock.sleep(52 * 60)
    tick(app)
    sandbox.vault.deny("get")
    status = status_of(app)
    assert (status.state, status.cause, status.consecutive_failures) == (State.FAILING, Cause.INSTANCE_ERROR, 1)


def test_a_password_that_was_refused_for_good_is_no_fallback_by_dates_either() -> None:
    sandbox, app = direct({"SERVICENOW_FALLBACK_GRANT": "password"}, username=True)
    tick(app)
    app.clock.sleep(60)
    sandbox.vault.deny("get")
    assert "renewed by grant password" in str(status_of(app).refresh_token_then)
    refused = {"password": "version=a.b.c refusals=4 tried-at=2099-01-01T00:00:00Z"}
    sandbox.vault.put(RECORD, "x", tags={"connection": "servicenow", **refused})
    assert "renewed" not in str(status_of(app).refresh_token_then)


def test_whoever_may_not_even_list_reads_nothing() -> None:
    sandbox, app = on_call()
    sandbox.vault.deny("list")
    status = status_of(app)
    assert (status.state, status.working, status.cause) == (State.UNKNOWN, None, Cause.VAULT_FORBIDDEN)


def test_one_value_that_is_refused_is_no_reader_on_call() -> None:
    """The app's own role on one secret is missing: that is what has to be said."""
    sandbox, app = direct()
    tick(app)
    app.clock.sleep(60)
    sandbox.vault.deny("get", TOKEN)
    status_of(app)
    assert lists(sandbox) == 0


CREDENTIALS = ("servicenow-client-id", "servicenow-client-secret", "servicenow-refresh-token")


@pytest.mark.parametrize("lists", [True, False])
def test_whoever_may_read_tokens_and_no_credentials_does_not_take_his_own_lack_for_the_apps(lists: bool) -> None:
    """What he may list is told by dates; what he may not is a warning while the token works."""
    sandbox, app = direct(LAPTOP)
    tick(app)
    app.clock.sleep(60)
    for name in (*CREDENTIALS, RECORD):
        sandbox.vault.deny("get", name)
    if not lists:
        sandbox.vault.deny("list")
    status = status_of(app)
    assert (status.state, status.working, status.cause) == (State.FRESH, True, None)
    assert (status.tried, status.refresh_token_expires_at is not None) == ("accepted", lists)
    told = [warning for warning in status.warnings if warning.code is WarningCode.CREDENTIAL_UNSEEN]
    assert len(told) == (not lists)
    if lists:
        failed = [check.name for check in app.doctor() if check.verdict is Verdict.FAIL and check.name != "timer"]
        assert failed == []


def test_a_copy_that_is_refused_is_not_compared_by_its_tags_with_a_token_that_was_read() -> None:
    sandbox, app = direct(LAPTOP)
    tick(app)
    sandbox.vault.deny("get", TARGET)
    (copy,) = status_of(app).targets
    assert (copy.current, copy.working) == (None, None)


def test_a_tick_never_goes_by_a_list() -> None:
    sandbox, app = on_call()
    report = tick(app, force=True)
    assert report.cause is Cause.VAULT_FORBIDDEN
    assert lists(sandbox) == 0


def test_history_needs_no_values() -> None:
    _, app = on_call()
    assert len(app.history("servicenow").issues) == 1


def test_the_list_is_read_to_its_end() -> None:
    sandbox, app = on_call()
    for n in range(60):
        sandbox.vault.put(f"another-{n}", "x")
    status = status_of(app)
    assert (status.working, status.expires_at is not None) == (True, True)
    assert timedelta(minutes=58) < (status.expires_at or app.clock.now()) - app.clock.now() < timedelta(hours=1)


def test_doctor_goes_by_dates_too_and_proposes_no_role() -> None:
    sandbox, app = on_call(LAPTOP)
    sandbox.vault.deny("set")
    sandbox.vault.deny("update")
    checks = {check.name: check for check in app.doctor()}
    assert checks["token"].detail.startswith(UNTRIED)
    assert [check.name for check in checks.values() if check.verdict is Verdict.FAIL and check.name != "timer"] == []
    for name in ("servicenow-client-secret", "servicenow-refresh-token", TOKEN, TARGET):
        assert "may not read its value" in checks[name].detail
    assert checks["last refresh"].detail.startswith("succeeded")
    assert "role assignment" not in "".join(f"{check.remedy}" for check in checks.values())


def test_doctor_suspects_by_dates_what_was_replaced() -> None:
    sandbox, app = direct(LAPTOP)
    tick(app)
    app.clock.sleep(20 * 60)
    sandbox.vault.put("servicenow-client-secret", "CANARY-wrong")
    for _ in range(8):
        app.clock.sleep(300)
        tick(app)
    sandbox.vault.deny("get")
    (check,) = [check for check in app.doctor() if check.name == "last refresh"]
    assert check.verdict is Verdict.FAIL
    assert "servicenow-client-secret" in f"{check.detail} {check.remedy}"


def test_doctor_says_which_secret_is_not_there() -> None:
    sandbox, app = on_call(LAPTOP)
    sandbox.vault.delete("servicenow-client-secret")
    sandbox.vault.purge("servicenow-client-secret")
    (check,) = [check for check in app.doctor() if check.name == "servicenow-client-secret"]
    assert (check.verdict, check.detail) == (Verdict.FAIL, "missing")
