"""A name that somebody deleted comes back within a run, however long it takes, and nothing else waits for it."""

from datetime import datetime, timedelta

import pytest

from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunRequest, Trigger
from refresher.model.tokens import Secret
from refresher.run.by_hand import Authorization
from sandbox import Fault, Personality, Sandbox
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Interrupt, Respond
from sandbox.trial.host import direct_app
from tests.conftest import MakeApp, direct, tick
from tests.names import RECORD, REFRESH_TOKEN, TARGET, TOKEN
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

INTERVAL = timedelta(minutes=50)
TICK = timedelta(minutes=5)


def written_at(sandbox: Sandbox, name: str) -> datetime:
    """When the vault took a value for the name, the last time."""
    return sandbox.log.select(method="PUT", path=f"/secrets/{name}$", status=200)[-1].at


def value(sandbox: Sandbox, name: str) -> str | None:
    """What a consumer reads."""
    secret = sandbox.vault.get(name)
    return secret.value if secret is not None else None


@pytest.mark.parametrize("takes", [4, 21, 30])
@pytest.mark.parametrize("name", thinned([TARGET, TOKEN], 3))
def test_it_is_back_within_the_run(sandbox: Sandbox, make_app: MakeApp, name: str, takes: int) -> None:
    """With the new token, which is asked for once."""
    sandbox.add_connection()
    app = make_app()
    tick(app)
    sandbox.clock.advance(INTERVAL)
    sandbox.vault.pace.recovering = timedelta(seconds=takes)
    sandbox.vault.delete(name)
    sandbox.log.clear()
    assert tick(app).outcome is Outcome.REFRESHED
    assert value(sandbox, TARGET) == value(sandbox, TOKEN)
    assert sandbox.instance.is_living_access_token(value(sandbox, name) or "")
    assert sandbox.log.count(path="/oauth_token.do") == 1
    assert sandbox.log.count(method="POST", path=f"/deletedsecrets/{name}/recover") == 1


def test_what_else_there_is_to_write_is_written_meanwhile(sandbox: Sandbox, make_app: MakeApp) -> None:
    """Of four places, the two that were deleted come last, and half a minute suffices for both."""
    sandbox.add_connection()
    app = make_app(PUBLISH_TO="copy-one,copy-two,copy-three")
    tick(app)
    sandbox.clock.advance(INTERVAL)
    sandbox.vault.delete("copy-one")
    sandbox.vault.delete(TOKEN)
    began = sandbox.clock.now()
    assert tick(app).outcome is Outcome.REFRESHED
    late = sandbox.vault.pace.recovering
    assert written_at(sandbox, "copy-two") - began < late / 2
    assert written_at(sandbox, "copy-three") - began < late / 2
    assert written_at(sandbox, "copy-one") - began >= late
    assert written_at(sandbox, TOKEN) - began >= late
    assert sandbox.clock.now() - began < late + timedelta(seconds=10)


def test_a_deletion_that_is_not_over_is_waited_for_as_well(sandbox: Sandbox, make_app: MakeApp) -> None:
    """A second ago Simple Chat deleted the action: nothing can be recovered yet."""
    sandbox.add_connection()
    app = make_app()
    tick(app)
    sandbox.vault.delete_slowly(TARGET)
    assert tick(app).outcome is Outcome.PUBLISHED
    assert value(sandbox, TARGET) == value(sandbox, TOKEN)


def test_a_new_refresh_token_waits_for_its_name_and_the_access_token_does_not(
    sandbox: Sandbox, make_app: MakeApp
) -> None:
    """Somebody deleted the refresh token; the fallback grant brings another one."""
    sandbox.add_connection(username=True)
    app = make_app(SERVICENOW_FALLBACK_GRANT="password")
    tick(app)
    sandbox.clock.advance(INTERVAL)
    sandbox.vault.delete(REFRESH_TOKEN)
    began = sandbox.clock.now()
    assert tick(app).outcome is Outcome.REFRESHED
    assert written_at(sandbox, TOKEN) - began < timedelta(seconds=10)
    assert written_at(sandbox, REFRESH_TOKEN) - began >= sandbox.vault.pace.recovering
    assert sandbox.instance.is_living_refresh_token(value(sandbox, REFRESH_TOKEN) or "")


@pytest.mark.parametrize("by_hand", thinned([True, False]))
@pytest.mark.parametrize("behind", thinned([10, 180]))
@pytest.mark.parametrize("begun_by_another", thinned([False, True], 1))
def test_what_comes_back_with_the_name_is_no_new_one_whatever_this_clock_says(
    behind: int, *, by_hand: bool, begun_by_another: bool
) -> None:
    """A refresh token died, and its secret was deleted: the one of a new life takes its place."""
    sandbox = DirectSandbox()
    added = sandbox.add_connection(username=True)
    process = Process(sandbox, ahead=timedelta(minutes=-behind))
    app = direct_app(sandbox, process, SERVICENOW_FALLBACK_GRANT="" if by_hand else "password")
    tick(app)
    sandbox.clock.advance(INTERVAL)
    tick(app)
    sandbox.instance.kill_refresh_token(value(sandbox, REFRESH_TOKEN) or "")
    sandbox.clock.advance(INTERVAL)
    sandbox.vault.delete(REFRESH_TOKEN)
    if begun_by_another:
        back = Interrupt(lambda: sandbox.vault.recover(REFRESH_TOKEN))
        sandbox.faults.add(Fault(service="instance", path="/oauth_token.do", action=back))
    if by_hand:
        brought: dict[str, Secret | str] = {
            "username": added.user_name,
            "password": Secret(added.application.user.password),
        }
        request, authorization = RunRequest(trigger=Trigger.CLI), Authorization(grant=Grant.PASSWORD, brought=brought)
        report = app.authorize("servicenow", request, authorization)
    else:
        report = tick(app)
    assert report.outcome is Outcome.REFRESHED
    assert sandbox.instance.is_living_refresh_token(value(sandbox, REFRESH_TOKEN) or "")


def test_a_new_refresh_token_that_comes_too_late_is_said_and_the_access_token_is_there(
    sandbox: Sandbox, make_app: MakeApp
) -> None:
    """A vault that takes a minute: the next tick heals it with one more password."""
    sandbox.add_connection(username=True)
    app = make_app(SERVICENOW_FALLBACK_GRANT="password")
    tick(app)
    sandbox.clock.advance(INTERVAL)
    sandbox.vault.pace.recovering = timedelta(seconds=70)
    sandbox.vault.delete(REFRESH_TOKEN)
    report = tick(app)
    assert report.cause is Cause.REFRESH_TOKEN_NOT_STORED
    assert REFRESH_TOKEN in report.message
    assert report.working
    assert sandbox.instance.is_living_access_token(value(sandbox, TOKEN) or "")


def test_a_lost_record_is_recovered_before_a_refresh_token_that_rotates_is_spent(
    sandbox: Sandbox, make_app: MakeApp
) -> None:
    """The record says whether it rotates: where it is gone, the first run finds out anew and writes it again."""
    sandbox.instance.personality = Personality(rotates=True)
    sandbox.add_connection()
    app = make_app()
    tick(app)
    sandbox.clock.advance(INTERVAL)
    sandbox.vault.delete(RECORD)
    assert tick(app).outcome is Outcome.REFRESHED
    record = sandbox.vault.get(RECORD)
    assert record is not None
    assert record.tags["connection"] == "servicenow"
    assert sandbox.instance.is_living_refresh_token(value(sandbox, REFRESH_TOKEN) or "")


@pytest.mark.parametrize("takes", thinned([20, 90]))
def test_a_recovery_that_somebody_else_began_is_joined(takes: int) -> None:
    """Where it outlasts the run, the next tick finds the name free."""
    sandbox, app = direct()
    tick(app)
    sandbox.vault.pace.recovering = timedelta(seconds=takes)
    sandbox.vault.delete(TARGET)
    sandbox.vault.recover(TARGET)
    sandbox.clock.advance(timedelta(seconds=3))
    outcome = tick(app).outcome
    assert outcome is (Outcome.PUBLISHED if takes == 20 else Outcome.FAILED)
    sandbox.clock.advance(TICK)
    tick(app)
    copy, main = sandbox.vault.get(TARGET), sandbox.vault.get(TOKEN)
    assert copy is not None
    assert main is not None
    assert copy.value == main.value
    assert sandbox.log.count(path="/oauth_token.do") == 1


def test_a_recovery_that_another_refresher_wins_is_not_a_failure(sandbox: Sandbox, make_app: MakeApp) -> None:
    """Between the refused write and the recovery somebody else begins it: there is nothing to recover any more."""
    sandbox.add_connection()
    app = make_app()
    tick(app)
    sandbox.vault.delete(TARGET)
    body = b'{"error": {"code": "SecretNotFound", "message": "Deleted Secret not found"}}'
    answer = Respond(404, {"Content-Type": "application/json"}, body)
    sandbox.faults.add(Fault(service="vault", method="POST", action=answer))
    assert tick(app).outcome is Outcome.PUBLISHED
    assert value(sandbox, TARGET) == value(sandbox, TOKEN)
