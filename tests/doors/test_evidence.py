"""Why refreshing fails, as far as the vault can tell: what was changed there since the last success."""

from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.check import Check, Verdict
from refresher.model.steps import refresh
from refresher.status.connection_status import State
from sandbox import CANARY_PREFIX, PERSONALITIES, Sandbox
from tests.conftest import MakeApp, status_of, tick
from tests.names import RECORD

pytestmark = pytest.mark.wire("any")


def last_refresh(app: App) -> Check:
    return next(check for check in app.doctor() if check.name == "last refresh")


def failing(sandbox: Sandbox, app: App, runs: int = 3) -> Check:
    for _ in range(runs):
        sandbox.clock.advance(timedelta(minutes=30))
        tick(app)
    return last_refresh(app)


def test_before_the_first_refresh_it_says_how_to_make_one(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    found = last_refresh(app)
    assert (found.verdict, found.remedy) == (Verdict.WARN, "python -m refresher refresh servicenow")


def test_a_success_says_how_long_ago_it_was(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    tick(app)
    sandbox.clock.advance(timedelta(minutes=12))
    found = last_refresh(app)
    assert (found.verdict, found.detail) == (Verdict.PASS, "succeeded 12 min ago")


def test_a_credential_that_was_stored_since_is_not_taken_for_one_that_was_tried(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    tick(app)
    sandbox.clock.advance(timedelta(minutes=10))
    sandbox.vault.put("servicenow-client-secret", f"{CANARY_PREFIX}wrong")
    sandbox.vault.put("servicenow-password", f"{CANARY_PREFIX}not-sent")
    found = last_refresh(app)
    assert found.verdict is Verdict.WARN
    assert (
        found.detail == "succeeded 10 min ago; nobody has tried since what was stored then: servicenow-client-secret"
    )
    assert found.remedy == "Try it while the token lives: python -m refresher refresh servicenow --force"


def test_a_token_that_is_refused_as_well_is_no_sign_of_a_wrong_secret(sandbox: Sandbox, app: App) -> None:
    user = sandbox.add_connection().application.user
    tick(app)
    sandbox.clock.advance(timedelta(minutes=5))
    user.locked = True
    sandbox.instance.kill_access_token(sandbox.vault.versions("servicenow-oauth-token")[-1].value)
    tick(app)
    remedy = last_refresh(app).remedy or ""
    assert f"the user {user.name} is active and not locked out" in remedy
    assert remedy.index(user.name) < remedy.index("Application Registry") < remedy.index("refresh servicenow --force")
    assert "client-secret --file" not in remedy


def test_a_client_secret_that_was_replaced_since_the_last_success_is_suspected(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    tick(app)
    sandbox.clock.advance(timedelta(minutes=10))
    sandbox.vault.put("servicenow-client-secret", f"{CANARY_PREFIX}wrong")
    found = failing(sandbox, app)
    assert found.verdict is Verdict.FAIL
    assert "failed 2 times in a row, the last time 0 s ago: refresh_token_refused" in found.detail
    assert found.remedy is not None
    assert found.remedy.startswith(
        "servicenow-client-secret at 2026-01-05 08:10 UTC: replaced after the last success at 2026-01-05 08:00 UTC"
    )
    assert "authorize" not in found.remedy


@pytest.mark.parametrize("settled", [True, False])
def test_what_was_put_right_since_the_last_attempt_is_to_be_tried_and_not_suspected(
    sandbox: Sandbox, app: App, settled: bool
) -> None:
    """Whether or not a refresh ever succeeded; `status` says the same."""
    sandbox.add_connection()
    right = sandbox.vault.versions("servicenow-client-secret")[-1].value
    if settled:
        tick(app)
        sandbox.clock.advance(timedelta(minutes=10))
    sandbox.vault.put("servicenow-client-secret", f"{CANARY_PREFIX}wrong")
    failing(sandbox, app)
    sandbox.clock.advance(timedelta(minutes=1))
    sandbox.vault.put("servicenow-client-secret", right)
    told, attempt = (
        "servicenow-client-secret: stored after the last attempt, and not tried yet",
        refresh("servicenow", force=True),
    )
    found = last_refresh(app)
    assert (found.verdict, found.remedy) == (Verdict.FAIL, f"{told}. Try it: {attempt}")
    assert "suspected" not in found.detail
    status = status_of(app)
    assert status.message == f"there is no working token; {told}"
    assert (status.state, status.cause, status.checks) == (State.EXPIRED, None, ())
    assert status.next_step == f"The next refresh tries it. At once: {attempt}"
    assert tick(app).outcome == "refreshed"


def test_a_refresh_token_that_was_pasted_since_needs_no_person_any_more(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    right = sandbox.vault.versions("servicenow-refresh-token")[-1].value
    tick(app)
    sandbox.clock.advance(timedelta(minutes=10))
    sandbox.vault.put("servicenow-refresh-token", f"{CANARY_PREFIX}wrong")
    assert "servicenow-refresh-token, replaced since" in failing(sandbox, app).detail
    assert status_of(app).state is State.AUTHORIZATION_REQUIRED
    sandbox.clock.advance(timedelta(minutes=1))
    sandbox.vault.put("servicenow-refresh-token", right)
    told = "servicenow-refresh-token: stored after the last attempt, and not tried yet"
    assert (last_refresh(app).remedy or "").startswith(told)
    assert (status_of(app).state, status_of(app).message) == (State.EXPIRED, f"there is no working token; {told}")
    assert tick(app).outcome == "refreshed"


def test_a_client_id_is_suspected_in_the_same_way(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    tick(app)
    sandbox.clock.advance(timedelta(minutes=10))
    sandbox.vault.put("servicenow-client-id", f"{CANARY_PREFIX}wrong")
    remedy = failing(sandbox, app).remedy or ""
    assert remedy.startswith("servicenow-client-id at 2026-01-05 08:10 UTC: replaced after")
    assert "--name servicenow-client-id --file FILE" in remedy


def test_a_refresh_token_whose_life_is_over_is_suspected(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.instance.personality = PERSONALITIES["refresh_token_of_a_day"]
    sandbox.add_connection()
    app = make_app(SERVICENOW_REFRESH_TOKEN_LIFETIME="86400")
    tick(app)
    sandbox.clock.advance(timedelta(hours=23))
    tick(app)
    found = failing(sandbox, app)
    assert found.remedy == (
        "The refresh token's life was to end at 2026-01-06 08:00 UTC. Begin a new one: "
        "python -m refresher authorize servicenow --grant password"
    )


def test_where_nothing_in_the_vault_was_replaced_the_instance_is_to_be_asked(sandbox: Sandbox, app: App) -> None:
    secrets = sandbox.add_connection()
    tick(app)
    sandbox.instance.change_client_secret(secrets.application)
    remedy = failing(sandbox, app).remedy or ""
    assert remedy.startswith(
        "Not replaced since the last success at 2026-01-05 08:00 UTC: servicenow-client-id, servicenow-client-secret, "
        "servicenow-refresh-token. What the app settings were then is not known. So something was changed on the "
        "instance."
    )
    assert "system log" in remedy
    assert "that the application is active" in remedy
    assert "may have been revoked: python -m refresher authorize servicenow --grant password" in remedy


def test_a_rotated_refresh_token_that_the_product_stored_is_not_taken_for_a_replaced_secret(
    sandbox: Sandbox, app: App
) -> None:
    sandbox.instance.personality = PERSONALITIES["rotating"]
    secrets = sandbox.add_connection()
    tick(app)
    sandbox.instance.change_client_secret(secrets.application)
    assert (failing(sandbox, app).remedy or "").startswith("Not replaced since the last success")


def test_what_still_stands_in_the_way_has_a_check_with_the_step(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    tick(app)
    sandbox.instance.personality = PERSONALITIES["hibernating"]
    found = failing(sandbox, app)
    assert "instance_hibernating" in found.detail
    assert found.remedy == "It follows from what is wrong with: token endpoint."
    suspected = next(check for check in app.doctor() if check.suspected)
    assert (suspected.name, "developer.servicenow.com" in (suspected.remedy or "")) == ("token endpoint", True)


@pytest.mark.exhaustive
def test_what_does_not_stand_in_the_way_any_more_is_over(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    tick(app)
    sandbox.instance.personality = PERSONALITIES["hibernating"]
    failing(sandbox, app)
    sandbox.instance.personality = PERSONALITIES["default"]
    remedy = last_refresh(app).remedy or ""
    assert remedy.startswith("Nothing of the kind was met from here: it has passed, or only the app meets it")
    assert remedy.endswith("Try it: python -m refresher refresh servicenow --force")


def test_a_failure_is_over_where_a_token_was_issued_since_and_only_the_record_could_not_be_written(
    sandbox: Sandbox, app: App
) -> None:
    sandbox.add_connection()
    tick(app)
    sound, sandbox.instance.personality = sandbox.instance.personality, PERSONALITIES["hibernating"]
    failing(sandbox, app)
    assert status_of(app).cause == "instance_hibernating"
    sandbox.instance.personality = sound
    sandbox.vault.deny("update", RECORD)
    sandbox.vault.deny("set", RECORD)
    sandbox.clock.advance(timedelta(minutes=5))
    assert tick(app).outcome == "refreshed"
    sandbox.clock.advance(timedelta(minutes=5))
    status = status_of(app)
    assert (status.state, status.cause, status.consecutive_failures) == (State.FRESH, None, 0)
    assert [attempt.code for attempt in status.attempts[:2]] == ["refreshed", "instance_hibernating"]
    assert last_refresh(app).verdict is Verdict.PASS


def test_what_cannot_be_read_is_not_judged(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection()
    tick(app)
    sandbox.vault.deny("get", "servicenow-refresh-record")
    assert "last refresh" not in {check.name for check in app.doctor()}
