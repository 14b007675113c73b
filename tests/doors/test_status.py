"""What status says of a connection, beyond whether its own token works."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.status.connection_status import State
from refresher.views.bodies import body_of
from sandbox import CANARY_PREFIX, Fault, Sandbox
from sandbox.faults import Respond
from tests.conftest import status_of, tick
from tests.names import TARGET
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")


def test_a_copy_that_is_gone_counts_as_no_working_token_for_its_readers(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    tick(app)
    sandbox.vault.delete(TARGET)
    status = status_of(app)
    (target,) = status.targets
    assert (status.state, status.working, target.current, target.working) == (State.DUE, False, False, False)
    assert status.next_step == "At once: python -m refresher refresh servicenow"
    assert "not every target holds it" in status.message


def test_a_copy_that_is_older_but_lives_leaves_everyone_with_a_working_token(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    tick(app)
    older = sandbox.vault.versions(TARGET)[-1]
    tick(app, force=True)
    sandbox.vault.put(TARGET, older.value, tags=older.tags, expires_on=older.expires_on)
    status = status_of(app)
    (target,) = status.targets
    assert (status.state, status.working, target.current, target.working) == (State.DUE, True, False, True)


def test_a_copy_without_dates_is_as_good_as_the_token_that_it_equals(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    tick(app)
    sandbox.vault.put(TARGET, sandbox.vault.versions(TARGET)[-1].value)
    (target,) = status_of(app).targets
    assert (target.current, target.working) == (True, True)


def test_a_copy_that_cannot_be_read_is_neither(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    tick(app)
    sandbox.vault.deny("get", TARGET)
    status = status_of(app)
    (target,) = status.targets
    assert (status.working, target.current, target.working) == (True, None, None)
    assert "current" not in str(body_of(status)["targets"])


def killed(sandbox: Sandbox) -> None:
    stored = sandbox.vault.get("servicenow-refresh-token")
    sandbox.instance.kill_refresh_token(stored.value if stored else "")


def deleted(sandbox: Sandbox) -> None:
    sandbox.vault.delete("servicenow-refresh-token")


@pytest.mark.parametrize("break_it", thinned([killed, deleted]))
def test_the_dates_of_a_refresh_token_of_no_use_are_no_news(
    sandbox: Sandbox, app: App, break_it: Callable[[Sandbox], None]
) -> None:
    sandbox.add_connection()
    tick(app)
    assert [warning.code for warning in status_of(app).warnings] == ["stops_without_a_person"]
    break_it(sandbox)
    for _ in range(3):
        sandbox.clock.advance(timedelta(minutes=55))
        tick(app)
    status = status_of(app)
    assert (status.state, status.warnings, status.refresh_token_then) == (State.AUTHORIZATION_REQUIRED, (), None)


def test_an_unreadable_vault_says_who_may_be_let_in_how(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    sandbox.vault.deny("get")
    status = status_of(app)
    assert (status.state, status.working, status.cause) == (State.UNKNOWN, None, "vault_forbidden")
    assert status.next_step is not None
    (assign, doctor) = map(str, status.next_step.commands)
    assert assign.startswith('az role assignment create --assignee "$(az functionapp config appsettings list')
    assert "'ServiceNow token refresher: keep a secret'" in assign
    assert doctor == "python -m refresher doctor"


@pytest.mark.parametrize("name", ["servicenow-client-secret", "servicenow-client-id", "servicenow-refresh-token"])
@pytest.mark.parametrize("what", ["disabled", "refused"])
def test_a_credential_that_cannot_be_read_is_told_while_the_token_works(
    sandbox: Sandbox, app: App, name: str, what: str
) -> None:
    """Its readers have a token; whoever looks learns now why there will be no next one."""
    sandbox.add_connection()
    tick(app)
    if what == "disabled":
        sandbox.vault.versions(name)[-1].enabled = False
    else:
        sandbox.vault.deny("get", name)
    status = status_of(app)
    cause = "secret_disabled" if what == "disabled" else "vault_forbidden"
    assert (status.state, status.working, status.cause) == (State.FAILING, True, cause)
    assert name in status.message
    assert name in str(status.next_step)


@pytest.mark.parametrize("name", ["servicenow-client-secret", "servicenow-client-id"])
def test_a_credential_that_is_gone_is_told_and_no_refresh_proposed_that_must_fail(
    sandbox: Sandbox, app: App, name: str
) -> None:
    sandbox.add_connection()
    tick(app)
    sandbox.vault.delete(name)
    for minutes, state in ((0, State.FAILING), (120, State.EXPIRED)):
        sandbox.clock.advance(timedelta(minutes=minutes))
        status = status_of(app)
        assert (status.state, status.cause) == (state, "secret_missing")
        assert "--force" not in str(status.next_step)
        assert f"--name {name}" in str(status.next_step)


def test_where_ticks_pass_a_token_over_and_no_record_says_why_doctor_is_asked(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    tick(app)
    sandbox.clock.advance(timedelta(minutes=90))
    assert str(status_of(app).next_step).endswith("python -m refresher doctor servicenow")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("ForbiddenByFirewall", "az keyvault network-rule add"),
        ("ForbiddenByConnection", "az keyvault network-rule add"),
        ("AccessDenied", "az keyvault set-policy"),
        ("ForbiddenByRbac", "az role assignment create"),
    ],
)
def test_what_kept_the_vault_shut_decides_what_opens_it(sandbox: Sandbox, app: App, code: str, words: str) -> None:
    sandbox.add_connection()
    body = f'{{"error": {{"code": "Forbidden", "message": "{CANARY_PREFIX}", "innererror": {{"code": "{code}"}}}}}}'
    answer = Respond(403, {"Content-Type": "application/json"}, body.encode())
    # The challenge that precedes the answer is a 401 of the vault's own.
    sandbox.faults.add(Fault(service="vault", path="/secrets", after=1, times=None, action=answer))
    status = status_of(app)
    assert status.cause == "vault_forbidden"
    assert words in (status.next_step or "")
    assert CANARY_PREFIX not in f"{status}"
