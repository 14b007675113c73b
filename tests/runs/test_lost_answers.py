"""A token request that reached ServiceNow, and whose answer was lost: with tokens that rotate, and without."""

import json
from datetime import timedelta
from urllib.parse import urlencode

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.report import Outcome
from sandbox import Fault, Personality, Sandbox
from sandbox.faults import Action, Drop, DropAfter, Garbage, Refuse, Respond, Rewrite
from sandbox.hostile.behaviours import tunnels
from sandbox.hostile.peer import Peer
from sandbox.personality import GENERIC_REFUSAL
from tests.conftest import MakeApp, tick
from tests.names import RECORD, REFRESH_TOKEN, TOKEN_ENDPOINT
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

INTERVAL = timedelta(minutes=50)


def lose_the_answer(sandbox: Sandbox, action: Action | None = None, times: int = 1) -> None:
    """Let the token request arrive, and its answer not."""
    sandbox.faults.add(Fault(service="instance", path=TOKEN_ENDPOINT, times=times, action=action or DropAfter()))


def rotating(sandbox: Sandbox, make_app: MakeApp, **settings: str) -> App:
    """A connection that was seen to rotate, with a token that is due."""
    sandbox.instance.personality = Personality(rotates=True)
    sandbox.add_connection(username=True)
    app = make_app(**settings)
    tick(app)
    sandbox.clock.advance(INTERVAL)
    assert tick(app).outcome is Outcome.REFRESHED
    sandbox.clock.advance(INTERVAL)
    sandbox.log.clear()
    return app


def living_refresh_token(sandbox: Sandbox) -> bool:
    """Whether ServiceNow accepts the refresh token in the vault."""
    held = sandbox.vault.get(REFRESH_TOKEN)
    return held is not None and sandbox.instance.is_living_refresh_token(held.value)


def test_without_rotation_it_is_asked_again(sandbox: Sandbox, app: App) -> None:
    """In the same run, on a fresh connection; the refresh token is as good as before."""
    sandbox.add_connection()
    tick(app)
    sandbox.clock.advance(INTERVAL)
    sandbox.log.clear()
    lose_the_answer(sandbox)
    report = tick(app)
    assert (report.outcome, report.attempts) == (Outcome.REFRESHED, 2)
    assert living_refresh_token(sandbox)
    assert sandbox.log.count(path=TOKEN_ENDPOINT) == 2


def test_with_rotation_the_fallback_grant_starts_a_new_life_in_the_same_run(
    sandbox: Sandbox, make_app: MakeApp
) -> None:
    """The old refresh token is spent, which the repeated request finds out."""
    app = rotating(sandbox, make_app, SERVICENOW_FALLBACK_GRANT="password")
    lose_the_answer(sandbox)
    report = tick(app)
    assert (report.outcome, report.grant) == (Outcome.REFRESHED, "password")
    assert living_refresh_token(sandbox)


@pytest.mark.parametrize(
    "action", thinned([DropAfter(), Respond(504, {}, b"<html>", effect=True), Garbage(b"<html>")])
)
def test_with_rotation_and_no_other_grant_it_is_named(sandbox: Sandbox, make_app: MakeApp, action: Action) -> None:
    """The one case that nothing can mend: a person is asked for when it is sure; the old access token stays.

    So it is where a gateway answered in place of the instance, which did what was asked.
    """
    app = rotating(sandbox, make_app)
    before = sandbox.vault.get("servicenow-oauth-token")
    lose_the_answer(sandbox, action)
    assert tick(app).cause is Cause.ACCESS_DENIED
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.AUTHORIZATION_REQUIRED, Cause.ROTATED_TOKEN_LOST)
    assert report.hint is not None
    assert "authorize servicenow" in report.hint
    assert sandbox.vault.get("servicenow-oauth-token") == before


@pytest.mark.parametrize("action", thinned([Drop(), Refuse(), Respond(503, {}, b"")]))
def test_a_rotating_token_survives_a_request_that_had_no_effect(
    sandbox: Sandbox, make_app: MakeApp, action: Action
) -> None:
    """It cannot be told apart from a lost answer, and is tried again rather than given up."""
    app = rotating(sandbox, make_app)
    lose_the_answer(sandbox, action)
    assert tick(app).outcome is Outcome.REFRESHED
    assert living_refresh_token(sandbox)


def test_the_record_comes_before_the_request_once_rotation_was_seen(sandbox: Sandbox, make_app: MakeApp) -> None:
    """A cheap PATCH; so a vault that cannot be written never costs the token."""
    app = rotating(sandbox, make_app)
    tick(app)
    order = [(each.method, each.path.rsplit("/", 2)[1]) for each in sandbox.log if RECORD in each.path]
    asked = next(number for number, each in enumerate(sandbox.log) if each.path == TOKEN_ENDPOINT)
    written = next(number for number, each in enumerate(sandbox.log) if RECORD in each.path and each.method == "PATCH")
    assert written < asked
    assert ("PATCH", RECORD) in order
    assert len(sandbox.vault.versions(RECORD)) == 1


def test_without_rotation_no_write_precedes_the_request(sandbox: Sandbox, app: App) -> None:
    """Success costs no write of its own."""
    sandbox.add_connection()
    tick(app)
    sandbox.clock.advance(INTERVAL)
    sandbox.log.clear()
    tick(app)
    assert sandbox.log.count(service="vault", path=f".*{RECORD}", method="P") == 0
    assert sandbox.vault.get(RECORD) is None


def test_a_run_that_died_after_its_request_is_recognized_by_the_next(sandbox: Sandbox, make_app: MakeApp) -> None:
    """The record says that a request was under way: a refusal now is the lost token's, and is named as such."""
    app = rotating(sandbox, make_app)
    held, record = sandbox.vault.get(REFRESH_TOKEN), sandbox.vault.get(RECORD)
    assert held is not None
    assert record is not None
    record.tags["refresh-token"] = f"rotates=true spent={held.version}"
    sandbox.instance.kill_refresh_token(held.value)
    assert tick(app).cause is Cause.ACCESS_DENIED
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.AUTHORIZATION_REQUIRED, Cause.ROTATED_TOKEN_LOST)


@pytest.mark.exhaustive
def test_a_loss_is_named_however_the_run_went_on_and_at_every_later_tick(sandbox: Sandbox, make_app: MakeApp) -> None:
    """The instance is away for the rest of the run: the next one knows all the same, and so does the one after it."""
    app = rotating(sandbox, make_app)
    lose_the_answer(sandbox)
    lose_the_answer(sandbox, Respond(503, {}, b""), times=3)
    assert tick(app).cause is Cause.INSTANCE_ERROR
    sandbox.clock.advance(timedelta(minutes=5))
    assert tick(app).cause is Cause.ACCESS_DENIED
    for _ in range(3):
        sandbox.clock.advance(timedelta(minutes=5))
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.AUTHORIZATION_REQUIRED, Cause.ROTATED_TOKEN_LOST)


def test_a_refresh_token_that_the_vault_did_not_take_is_named_as_lost(sandbox: Sandbox, make_app: MakeApp) -> None:
    """The access token was published all the same; without another grant, a person is asked for at once."""
    app = rotating(sandbox, make_app)
    sandbox.vault.deny("set", REFRESH_TOKEN)
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.AUTHORIZATION_REQUIRED, Cause.REFRESH_TOKEN_NOT_STORED)
    sandbox.vault.allow_all()
    sandbox.clock.advance(INTERVAL)
    assert tick(app).cause is Cause.ACCESS_DENIED
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.AUTHORIZATION_REQUIRED, Cause.ROTATED_TOKEN_LOST)


@pytest.mark.exhaustive
def test_a_token_that_was_not_spent_after_all_is_not_called_lost_later(sandbox: Sandbox, make_app: MakeApp) -> None:
    """The request never arrived, the next one succeeded: a generic 401 after that is what it was before."""
    app = rotating(sandbox, make_app)
    lose_the_answer(sandbox, Drop(), times=4)
    assert tick(app).outcome is Outcome.KEPT
    sandbox.clock.advance(timedelta(minutes=5))
    assert tick(app).outcome is Outcome.REFRESHED
    sandbox.clock.advance(INTERVAL)
    lose_the_answer(sandbox, Respond(401, {"Content-Type": "application/json"}, GENERIC_REFUSAL), times=3)
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.KEPT, Cause.ACCESS_DENIED)


@pytest.mark.wire("https")
@pytest.mark.exhaustive
def test_a_refresh_token_in_half_an_answer_is_kept(sandbox: Sandbox, make_app: MakeApp) -> None:
    """The connection broke behind it: the next try sends it, and nothing is lost."""
    app = rotating(sandbox, make_app)

    def refresh_token_first(body: bytes) -> bytes:
        return json.dumps(dict(reversed(json.loads(body).items()))).encode() + b" " * 40

    lose_the_answer(sandbox, Rewrite(refresh_token_first, cut_short=True))
    report = tick(app)
    assert (report.outcome, report.attempts) == (Outcome.REFRESHED, 2)
    assert living_refresh_token(sandbox)


@pytest.mark.wire("https")
def test_a_form_in_the_place_of_json_costs_nothing(sandbox: Sandbox, make_app: MakeApp) -> None:
    """A gateway made it of the answer; the tokens in it are those that ServiceNow issued."""
    app = rotating(sandbox, make_app)
    lose_the_answer(sandbox, Rewrite(lambda body: urlencode(json.loads(body)).encode()))
    report = tick(app)
    assert (report.outcome, report.attempts) == (Outcome.REFRESHED, 1)
    assert living_refresh_token(sandbox)


@pytest.mark.parametrize("name", thinned([REFRESH_TOKEN, "servicenow-oauth-token"]))
def test_a_write_whose_answer_is_lost_behind_a_proxy_is_looked_up_not_repeated(
    sandbox: Sandbox, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """There the SDK takes a broken tunnel for a request that never left."""
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with Peer(tunnels) as proxy:
        monkeypatch.setenv("HTTPS_PROXY", proxy.url)
        app = rotating(sandbox, make_app)
        versions = len(sandbox.vault.versions(name))
        sandbox.faults.add(Fault(service="vault", method="PUT", path=f"/secrets/{name}", action=DropAfter()))
        assert tick(app).outcome is Outcome.REFRESHED
    assert len(sandbox.vault.versions(name)) == versions + 1
    assert living_refresh_token(sandbox)


def test_a_503_and_generic_refusals_call_nobody_for_a_token_that_lives(sandbox: Sandbox, make_app: MakeApp) -> None:
    app = rotating(sandbox, make_app)
    lose_the_answer(sandbox, Respond(503, {}, b""))
    lose_the_answer(sandbox, Respond(401, {"Content-Type": "application/json"}, GENERIC_REFUSAL), times=3)
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.KEPT, Cause.ACCESS_DENIED)
    sandbox.clock.advance(timedelta(minutes=5))
    assert tick(app).outcome is Outcome.REFRESHED
