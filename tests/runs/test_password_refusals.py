"""A password that ServiceNow refuses, tick by tick: bounded, and not given up for a fault that refused everything."""

import json
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger
from refresher.policy.password_gate import PAUSE, TRIES
from sandbox import Fault, Sandbox
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Action, DropAfter, Respond, Stall
from sandbox.http import Request
from sandbox.personality import GENERIC_REFUSAL
from sandbox.trial.host import direct_app
from tests.conftest import MakeApp, direct, tick
from tests.names import PASSWORD, RECORD, REFRESH_TOKEN, TOKEN_ENDPOINT, UNREADABLE, USER, away_from
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


@pytest.mark.parametrize("kind", thinned(OF_A_GATEWAY, 8))
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

    @pytest.mark.parametrize("minutes", sampled([-180, -10, 10, 180], [-10]))
    @pytest.mark.parametrize("many", sampled([2, 4], [2]))
    def test_by_whatever_clock(self, minutes: int, many: int) -> None:
        """The passwords were stored by the vault's, and tried by this one, in no race: one after the other."""
        names = [f"c{number}" for number in range(many)]
        sandbox, app = of_one_user(names, ahead=timedelta(minutes=minutes))
        for name in names:
            sandbox.vault.put(f"{name}-password", "CANARY-wrong")
        for _ in range(40):
            for name in names:
                app.refresh([name], RunRequest(trigger=Trigger.CLI))
            sandbox.clock.advance(timedelta(minutes=5))
        assert sandbox.instance.password_attempts("shared") <= TRIES

    @pytest.mark.parametrize("minutes", sampled([-180, 180], [180]))
    def test_a_new_password_is_tried_by_whatever_clock(self, minutes: int) -> None:
        """The other one still sends the old one, and says at every tick that it does not."""
        sandbox, app = of_one_user(["hr", "it"], ahead=timedelta(minutes=minutes))
        held = sandbox.vault.get("it-password")
        assert held is not None
        refuse_one(sandbox, app)
        sandbox.clock.advance(timedelta(minutes=5))
        sandbox.vault.put("it-password", held.value)
        for _ in range(3):
            app.refresh(["hr"], RunRequest(trigger=Trigger.CLI))
            sandbox.clock.advance(timedelta(minutes=5))
        (report,) = app.refresh(["it"], RunRequest(trigger=Trigger.CLI))
        assert report.outcome is Outcome.REFRESHED

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


MASKS: dict[str, Action] = {
    "page": Respond(401, {"Content-Type": "text/html"}, b"<html>Sign in to the proxy", effect=True),
    "502": Respond(502, {"Content-Type": "text/html"}, b"<html>Bad gateway", effect=True),
    "403 of a gateway": Respond(403, {"Content-Type": "application/json"}, b'{"message": "Forbidden"}', effect=True),
    "429 of a gateway": Respond(429, {}, b"", effect=True),
    "hung up": DropAfter(),
    "no answer": Stall(effect=True),
}
"""What stands between a refusal that ServiceNow has counted and the one who sent the password."""
BY_PASSWORD = {"SERVICENOW_GRANT": "password"}


class Masked:
    """Weather that masks the answers to some of the requests for a token, beside what faults there are."""

    def __init__(
        self, sandbox: DirectSandbox, action: Action, *, passwords: bool = True, others: bool = False
    ) -> None:
        self._faults = sandbox.faults
        self._action, self._passwords, self._others = action, passwords, others

    def find(self, service: str, request: Request) -> Action | None:
        """What happens to a request; None: nothing does."""
        fault = self._faults.find(service, request)
        if fault is not None or service != "instance" or request.path != TOKEN_ENDPOINT:
            return fault
        masked = self._passwords if b"grant_type=password" in request.body else self._others
        return self._action if masked else None


def ticks(sandbox: DirectSandbox, app: App, hours: float) -> list[RunReport]:
    """The reports of so many hours."""
    reports: list[RunReport] = []
    for _ in range(int(hours * 12)):
        reports += app.tick(RunRequest(trigger=Trigger.TIMER))
        sandbox.clock.advance(timedelta(minutes=5))
    return reports


class TestARefusalThatDoesNotArrive:
    """ServiceNow has counted it; something on the way makes a page, an error or nothing of its answer."""

    @pytest.mark.parametrize("others", sampled([True, False], [False]))
    @pytest.mark.parametrize("kind", thinned(MASKS))
    @pytest.mark.parametrize("settings", thinned([BY_PASSWORD, {"SERVICENOW_FALLBACK_GRANT": "password"}]))
    def test_locks_nobody_out(self, kind: str, settings: dict[str, str], *, others: bool) -> None:
        """Also where requests without a password are answered in clear."""
        sandbox, app = direct(settings, refresh_token=settings != BY_PASSWORD, username=True)
        sandbox.vault.put(PASSWORD, "CANARY-wrong")
        if settings != BY_PASSWORD:
            sandbox.vault.put(REFRESH_TOKEN, "CANARY-dead")
        sandbox.weather = Masked(sandbox, MASKS[kind], others=others)
        ticks(sandbox, app, 2.5)
        assert sandbox.instance.password_attempts(USER) <= TRIES
        assert sandbox.instance.password_attempts(USER) or (others and settings != BY_PASSWORD)

    def test_nor_do_several_connections_together(self) -> None:
        sandbox, app = two_of_one_user()
        for name in ("hr", "it"):
            sandbox.vault.put(f"{name}-password", "CANARY-wrong")
        sandbox.weather = Masked(sandbox, MASKS["page"])
        ticks(sandbox, app, 2.5)
        assert sandbox.instance.password_attempts("shared") <= TRIES

    @pytest.mark.parametrize("status", thinned([502, 429]))
    def test_an_outage_meets_one_password_and_heals_with_the_next_tick(self, status: int) -> None:
        sandbox, app = direct(BY_PASSWORD, refresh_token=False, username=True)
        sandbox.faults.add(Fault(service="instance", action=Respond(status), times=None))
        reports = ticks(sandbox, app, 3)
        assert {report.cause for report in reports} <= {Cause.INSTANCE_ERROR, Cause.INSTANCE_THROTTLED}
        assert [report.consecutive_failures for report in reports] == list(range(1, 37))
        sent = sandbox.log.select(path=TOKEN_ENDPOINT)
        assert sum(each.grant_type == "password" for each in sent) == 1
        sandbox.faults.clear()
        assert tick(app).outcome is Outcome.REFRESHED
        assert "password" not in record_tags(sandbox)

    @pytest.mark.exhaustive
    def test_so_does_one_that_meets_passwords_only(self) -> None:
        """A directory behind ServiceNow that is away, say. After hours at the latest, and nobody is asked for."""
        sandbox, app = direct(BY_PASSWORD, refresh_token=False, username=True)
        sandbox.weather = Masked(sandbox, Respond(502))
        reports = ticks(sandbox, app, 10)
        assert Outcome.AUTHORIZATION_REQUIRED not in {report.outcome for report in reports}
        sandbox.weather = sandbox.faults
        assert Outcome.REFRESHED in {report.outcome for report in ticks(sandbox, app, 6)}

    @pytest.mark.exhaustive
    def test_one_that_masks_refusals_alone_lets_the_right_password_through_in_the_end(self) -> None:
        sandbox, app = direct(BY_PASSWORD, refresh_token=False, username=True)
        sandbox.weather = Masked(sandbox, MASKS["page"], passwords=False, others=True)
        sandbox.faults.add(Fault(path=TOKEN_ENDPOINT, action=Respond(503)))
        assert Outcome.REFRESHED in {report.outcome for report in ticks(sandbox, app, 6.5)}

    def test_four_tries_with_a_refusal_among_them_shut_the_gate(self) -> None:
        sandbox, app = direct(BY_PASSWORD, refresh_token=False, username=True)
        sandbox.vault.put(PASSWORD, "CANARY-wrong")
        sandbox.weather = Masked(sandbox, MASKS["hung up"])
        ticks(sandbox, app, 1)
        assert "unclear=3" in record_tags(sandbox)["password"]
        sandbox.weather = sandbox.faults
        assert ticks(sandbox, app, 2)[-1].outcome is Outcome.AUTHORIZATION_REQUIRED
        assert sandbox.instance.password_attempts(USER) == TRIES

    def test_the_refresh_token_serves_where_only_the_renewal_is_masked(self) -> None:
        sandbox, app = direct({"SERVICENOW_FALLBACK_GRANT": "password"}, username=True)
        sandbox.clock.advance(timedelta(days=95))
        sandbox.weather = Masked(sandbox, MASKS["502"])
        report = tick(app)
        assert (report.outcome, report.grant) == (Outcome.REFRESHED, Grant.REFRESH_TOKEN)

    def test_a_token_for_nobody_is_no_clear_answer(self) -> None:
        """What hands out tokens to a request without credentials is not ServiceNow: it gets no password."""
        sandbox, app = direct(BY_PASSWORD, refresh_token=False, username=True)
        sandbox.faults.add(Fault(path=TOKEN_ENDPOINT, action=Respond(503)))
        tick(app)
        sandbox.clock.advance(timedelta(minutes=5))
        anything = b'{"access_token": "CANARY-for-anybody", "expires_in": 1800}'
        answer = Respond(200, {"Content-Type": "application/json"}, anything)
        sandbox.faults.add(Fault(path=TOKEN_ENDPOINT, action=answer, times=None))
        sandbox.log.clear()
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.NOT_A_TOKEN)
        assert {each.grant_type for each in sandbox.log.select(path=TOKEN_ENDPOINT)} == {"refresh_token"}


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
    return of_one_user(["hr", "it"])


def of_one_user(names: list[str], ahead: timedelta = timedelta()) -> tuple[DirectSandbox, App]:
    """Connections to one instance that send a password for the same user, from a machine with a clock of its own."""
    sandbox = DirectSandbox()
    for name in names:
        application = sandbox.instance.register("shared")
        for suffix, value in {
            "client-id": application.client_id,
            "client-secret": application.client_secret,
            "username": "shared" if name == "hr" else "shared ",
            "password": application.user.password,
        }.items():
            sandbox.vault.put(f"{name}-{suffix}", value)
    connections = {name: {"instance_url": sandbox.instance.url, "grant": "password"} for name in names}
    return sandbox, direct_app(
        sandbox,
        Process(sandbox, ahead=ahead),
        SERVICENOW_CONNECTIONS=json.dumps(connections),
        SERVICENOW_INSTANCE_URL="",
    )
