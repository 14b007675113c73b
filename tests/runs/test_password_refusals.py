"""A password that ServiceNow refuses, tick by tick: bounded, and not given up for a fault that refused everything."""

import json
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunRequest, Trigger
from refresher.policy.password_gate import PAUSE, TRIES
from sandbox import Fault, Sandbox
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Action, Respond
from sandbox.personality import GENERIC_REFUSAL
from sandbox.trial.host import direct_app
from tests.conftest import MakeApp, direct, tick
from tests.names import PASSWORD, RECORD, TOKEN_ENDPOINT, UNREADABLE, USER, away_from
from tests.sampling import sampled, thinned

pytestmark = pytest.mark.wire("any")

JSON = {"Content-Type": "application/json"}
GENERIC = Respond(401, JSON, GENERIC_REFUSAL)


def record_tags(sandbox: Sandbox) -> dict[str, str]:
    """The tags of the record; empty where there is none."""
    record = sandbox.vault.get(RECORD)
    return record.tags if record else {}


@pytest.mark.exhaustive
def test_a_fault_that_refuses_all_for_nearly_half_an_hour_costs_no_fallback(
    sandbox: Sandbox, make_app: MakeApp
) -> None:
    """And when the refresh token ends days later, the password begins a new life."""
    added = sandbox.add_connection(username=True)
    settings = {"SERVICENOW_FALLBACK_GRANT": "password"}
    tick(make_app(**settings))
    sandbox.clock.advance(timedelta(minutes=55))
    fault = Fault(path="/oauth_token.do", times=None, action=GENERIC)
    sandbox.faults.add(fault)
    sent = [passwords_sent(sandbox, make_app, settings) for _ in range(5)]
    assert sent == [1, 1, 0, 0, 0], "the third try waits"
    assert "refusals=2" in record_tags(sandbox)["password"]
    sandbox.faults.clear()
    assert tick(make_app(**settings)).grant is Grant.REFRESH_TOKEN
    sandbox.clock.advance(timedelta(days=3))
    sandbox.instance.kill_refresh_token(added.refresh_token or "")
    assert tick(make_app(**settings)).grant is Grant.PASSWORD
    assert "password" not in record_tags(sandbox)


def passwords_sent(sandbox: Sandbox, make_app: MakeApp, settings: dict[str, str]) -> int:
    """How many a tick sends; the next one comes five minutes later."""
    sandbox.log.clear()
    assert tick(make_app(**settings)).outcome is not Outcome.REFRESHED
    sandbox.clock.advance(timedelta(minutes=5))
    return sum(each.grant_type == "password" for each in sandbox.log.select(path="/oauth_token.do"))


def test_a_refresh_token_that_works_forgives_the_password_nothing(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection(username=True)
    sandbox.vault.put(PASSWORD, "CANARY-wrong")
    sandbox.clock.advance(timedelta(days=99))
    app = make_app(SERVICENOW_FALLBACK_GRANT="password")
    for _ in range(6):
        assert tick(app).grant is Grant.REFRESH_TOKEN
        sandbox.clock.advance(timedelta(minutes=50))
    assert sandbox.instance.password_attempts(USER) == TRIES


def test_a_wrong_password_never_locks_the_user(sandbox: Sandbox, make_app: MakeApp) -> None:
    """Again and again a fault refuses the refresh token, and ServiceNow itself the password.

    Once no password is left to be sent, the tick goes on to the refresh token's next try.
    """
    added = sandbox.add_connection(username=True)
    sandbox.vault.put(PASSWORD, "CANARY-wrong")
    app = make_app(SERVICENOW_FALLBACK_GRANT="password")
    outcomes = []
    for _ in range(TRIES + 2):
        sandbox.clock.advance(timedelta(hours=2))
        sandbox.faults.add(Fault(path="/oauth_token.do", times=3, action=GENERIC))
        outcomes.append(tick(app).outcome)
        sandbox.clock.advance(timedelta(minutes=5))
        tick(app)
    assert [each is Outcome.REFRESHED for each in outcomes] == [False] * TRIES + [True] * 2
    assert sandbox.instance.password_attempts(USER) == TRIES
    assert not added.application.user.locked


def test_a_pause_is_said_and_asks_for_nobody(sandbox: Sandbox, make_app: MakeApp) -> None:
    added = sandbox.add_connection(refresh_token=False, username=True)
    sandbox.vault.put(PASSWORD, "CANARY-wrong")
    app = make_app(SERVICENOW_GRANT="password")
    tick(app)
    sandbox.clock.advance(timedelta(minutes=5))
    opens_at = sandbox.clock.now() + PAUSE
    tick(app)
    sandbox.clock.advance(timedelta(minutes=5))
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.PASSWORD_REFUSED)
    assert f"from {opens_at:%H:%M}" in report.message
    assert "servicenow-password" in (report.hint or "")
    assert report.consecutive_failures == 3, "the alert counts it"
    assert record_tags(sandbox)["last-cause"] == "password_refused"
    sandbox.vault.put(PASSWORD, added.application.user.password)
    assert tick(app).outcome is Outcome.REFRESHED


OF_A_GATEWAY = {
    "of Azure API Management": Respond(401, JSON, b'{"statusCode": 401, "message": "Access denied"}'),
    "of Kong": Respond(404, JSON, b'{"message": "no Route matched with those values"}'),
    "of a framework": Respond(404, JSON, b'{"status": 404, "error": "Not Found", "path": "/oauth_token.do"}'),
    "of a cloud": Respond(401, JSON, b'{"error": {"code": "AuthenticationFailed", "message": "Denied"}}'),
    "400 as text": Respond(400, {"Content-Type": "text/plain"}, b"Bad Request"),
    "401 as text": Respond(401, {"Content-Type": "text/plain"}, b"Unauthorized"),
    "401 and nothing": Respond(401),
    **{f"{status} and nothing": Respond(status) for status in (403, 404, 405, 407, 421, 451)},
}


@pytest.mark.parametrize("kind", thinned(OF_A_GATEWAY, 4))
class TestARefusalThatIsNotServiceNows:
    """What stands in front of the instance turns requests away: that says nothing of what they carry."""

    def test_it_costs_no_password_and_calls_nobody(self, kind: str) -> None:
        sandbox, app = direct({"SERVICENOW_FALLBACK_GRANT": "password"}, username=True)
        tick(app)
        sandbox.clock.advance(timedelta(minutes=50))
        sandbox.faults.add(Fault(path=TOKEN_ENDPOINT, times=None, action=OF_A_GATEWAY[kind]))
        for _ in range(10):
            report = tick(app)
            assert report.cause is Cause.NOT_A_TOKEN
            assert report.outcome in {Outcome.KEPT, Outcome.FAILED}
            sandbox.clock.advance(timedelta(minutes=5))
        assert not [each for each in sandbox.log.select(path=TOKEN_ENDPOINT) if each.grant_type == "password"]
        sandbox.faults.clear()
        assert tick(app).grant is Grant.REFRESH_TOKEN

    def test_nor_does_it_shut_the_gate(self, kind: str) -> None:
        sandbox, app = direct({"SERVICENOW_GRANT": "password"}, refresh_token=False, username=True)
        sandbox.faults.add(Fault(path=TOKEN_ENDPOINT, times=None, action=OF_A_GATEWAY[kind]))
        for _ in range(TRIES + 1):
            assert tick(app).outcome is Outcome.FAILED
            sandbox.clock.advance(timedelta(minutes=5))
        sandbox.faults.clear()
        sandbox.clock.advance(PAUSE)
        assert tick(app).outcome is Outcome.REFRESHED


class TestWhatWasSentWithIt:
    """A refusal may be about the password, the user name or the client secret: any of them opens the gate again."""

    @pytest.mark.parametrize("name", thinned(["client-secret", "username", "password"]))
    @pytest.mark.exhaustive
    def test_a_new_version_of_any_of_them_is_tried(self, name: str) -> None:
        sandbox, app = direct({"SERVICENOW_GRANT": "password"}, refresh_token=False, username=True)
        secret = f"servicenow-{name}"
        right = sandbox.vault.get(secret)
        assert right is not None
        sandbox.vault.put(secret, "CANARY-wrong")
        for _ in range(30):
            tick(app)
            sandbox.clock.advance(timedelta(minutes=10))
        assert tick(app).cause is Cause.PASSWORD_REFUSED
        sent = sandbox.log.count(path="/oauth_token.do")
        assert sent <= 4
        sandbox.vault.put(secret, right.value)
        assert tick(app).outcome is Outcome.REFRESHED

    def test_a_record_of_old_that_names_the_password_only_is_still_read(self) -> None:
        sandbox, app = direct({"SERVICENOW_GRANT": "password"}, refresh_token=False, username=True)
        held = sandbox.vault.get("servicenow-password")
        assert held is not None
        tags = {"refused-password-version": held.version, "password-refusals": "4"}
        sandbox.vault.put("servicenow-refresh-record", "The record is in the tags.", tags=tags)
        assert tick(app).cause is Cause.PASSWORD_REFUSED
        assert sandbox.log.count(path="/oauth_token.do") == 0


class TestOneUserOfSeveralConnections:
    """ServiceNow locks the user, whichever connection sends the password."""

    @pytest.mark.parametrize("ticks", sampled([40, 8], [8]))
    @pytest.mark.exhaustive
    def test_together_they_send_it_as_often_as_one(self, ticks: int) -> None:
        sandbox, app = two_of_one_user()
        for name in ("hr", "it"):
            sandbox.vault.put(f"{name}-password", "CANARY-wrong")
        for _ in range(ticks):
            app.tick(RunRequest(trigger=Trigger.TIMER))
            sandbox.clock.advance(timedelta(minutes=10))
        assert sandbox.instance.password_attempts("shared") <= 4
        assert {each.cause for each in app.tick(RunRequest(trigger=Trigger.TIMER))} == {Cause.PASSWORD_REFUSED}

    def test_what_the_vault_does_not_tell_for_a_moment_is_waited_for(self) -> None:
        """Nobody knows then how often the other one sent it."""
        sandbox, app = two_of_one_user()
        refuse_one(sandbox, app)
        away = Fault(service="vault", path="/secrets/hr-refresh-record(/|$)", action=Respond(503), times=None)
        sandbox.faults.add(away)
        (report,) = app.refresh(["it"], RunRequest(trigger=Trigger.CLI))
        assert report.cause is Cause.VAULT_UNAVAILABLE
        assert sandbox.instance.password_attempts("shared") == 4

    def test_it_is_said_whose_record_does_not_tell(self) -> None:
        sandbox, app = two_of_one_user()
        refuse_one(sandbox, app)
        for method in ("GET", "PATCH"):
            sandbox.faults.add(away_from("hr-refresh-record", UNREADABLE[0], method))
        (report,) = app.refresh(["it"], RunRequest(trigger=Trigger.CLI))
        assert report.message.startswith("the password was not sent: hr may send one for the same user")
        assert sandbox.instance.password_attempts("shared") == TRIES

    @pytest.mark.parametrize("away", thinned(UNREADABLE))
    @pytest.mark.parametrize("same_user", thinned([False, True]))
    def test_a_record_that_cannot_be_read_costs_no_neighbour_its_token(self, away: Action, *, same_user: bool) -> None:
        """Its user name tells that it sends for another user, or a change of nothing what it holds."""
        sandbox, app = two_of_one_user()
        app.tick(RunRequest(trigger=Trigger.TIMER))
        if not same_user:
            sandbox.vault.put("hr-username", "other")
        methods = ["GET"] if same_user else ["GET", "PATCH"]
        for method in methods:
            sandbox.faults.add(away_from("hr-refresh-record", away, method))
        sandbox.clock.advance(timedelta(minutes=50))
        (report,) = app.refresh(["it"], RunRequest(trigger=Trigger.CLI))
        assert report.outcome is Outcome.REFRESHED

    @pytest.mark.parametrize("name", thinned(["username", "password", "client-secret", "refresh-record"], 4))
    def test_what_was_disabled_or_replaced_since_hides_no_try(self, name: str) -> None:
        """ServiceNow has counted it, whatever the vault says of that connection now."""
        sandbox, app = two_of_one_user()
        refuse_one(sandbox, app)
        held = sandbox.vault.get(f"hr-{name}")
        assert held is not None
        held.enabled = False
        (report,) = app.refresh(["it"], RunRequest(trigger=Trigger.CLI))
        assert report.cause is Cause.PASSWORD_REFUSED
        assert sandbox.instance.password_attempts("shared") == 4

    def test_tries_for_another_user_do_not_count(self) -> None:
        sandbox, app = two_of_one_user()
        refuse_one(sandbox, app)
        other = sandbox.instance.register("other")
        sandbox.vault.put("it-username", "other")
        sandbox.vault.put("it-password", other.user.password)
        (report,) = app.refresh(["it"], RunRequest(trigger=Trigger.CLI))
        assert report.outcome is Outcome.REFRESHED

    @pytest.mark.exhaustive
    def test_a_password_that_is_newer_than_the_refusals_is_tried(self) -> None:
        sandbox, app = two_of_one_user()
        right = sandbox.vault.get("hr-password")
        assert right is not None
        for name in ("hr", "it"):
            sandbox.vault.put(f"{name}-password", "CANARY-wrong")
        for _ in range(40):
            app.tick(RunRequest(trigger=Trigger.TIMER))
            sandbox.clock.advance(timedelta(minutes=10))
        for name in ("hr", "it"):
            sandbox.vault.put(f"{name}-password", right.value)
        assert {each.outcome for each in app.tick(RunRequest(trigger=Trigger.TIMER))} == {Outcome.REFRESHED}

    def test_nothing_is_read_of_the_others_while_no_password_is_sent(self) -> None:
        sandbox, app = two_of_one_user()
        app.tick(RunRequest(trigger=Trigger.TIMER))
        sandbox.log.clear()
        app.tick(RunRequest(trigger=Trigger.TIMER))
        assert sandbox.log.count(path="/secrets/.*-password") == 0


def refuse_one(sandbox: DirectSandbox, app: App) -> None:
    """Let one connection send a wrong password as often as is safe; the other has it too."""
    for each in ("hr", "it"):
        sandbox.vault.put(f"{each}-password", "CANARY-wrong")
    for _ in range(TRIES):
        app.refresh(["hr"], RunRequest(trigger=Trigger.CLI))
        sandbox.clock.advance(timedelta(minutes=31))
    assert sandbox.instance.password_attempts("shared") == TRIES


def two_of_one_user() -> tuple[DirectSandbox, App]:
    """Two connections to one instance that send a password for the same user."""
    sandbox = DirectSandbox()
    for name in ("hr", "it"):
        application = sandbox.instance.register("shared")
        for suffix, value in {
            "client-id": application.client_id,
            "client-secret": application.client_secret,
            "username": "shared" if name == "hr" else "shared ",
            "password": application.user.password,
        }.items():
            sandbox.vault.put(f"{name}-{suffix}", value)
    connections = {name: {"instance_url": sandbox.instance.url, "grant": "password"} for name in ("hr", "it")}
    return sandbox, direct_app(
        sandbox, Process(sandbox), SERVICENOW_CONNECTIONS=json.dumps(connections), SERVICENOW_INSTANCE_URL=""
    )
