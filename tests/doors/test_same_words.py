"""One fact, every door: what was revoked, what fails, and what was tried by hand is told alike everywhere."""

from collections.abc import Callable

import pytest

from refresher.app import App
from refresher.cli.parser import build_parser
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger
from refresher.model.tokens import Secret
from refresher.run.by_hand import Authorization
from refresher.status.connection_status import ConnectionStatus, State
from refresher.views.facts import facts
from refresher.views.page import status_page
from refresher.views.tables import show_history, show_statuses
from sandbox.direct import DirectSandbox
from sandbox.faults import Drop, Fault, Respond
from tests.conftest import direct, status_of, tick
from tests.factories import TICKING
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

BY_HAND = RunRequest(trigger=Trigger.CLI)
JSON = {"Content-Type": "application/json"}
GENERIC = Respond(401, JSON, b'{"error_description":"access_denied","error":"server_error"}')


def standing(**settings: str) -> tuple[DirectSandbox, App]:
    sandbox, app = direct(settings, username=bool(settings))
    tick(app)
    app.clock.sleep(300)
    return sandbox, app


class TestAfterRevoking:
    """`revoke` ended the tokens: that is the news, and only a person makes new ones."""

    @pytest.fixture
    def app(self) -> App:
        _, app = standing()
        assert app.revoke("servicenow", BY_HAND).outcome is Outcome.REVOKED
        app.clock.sleep(300)
        return app

    def test_status_says_it_and_promises_no_refresh(self, app: App) -> None:
        status = status_of(app)
        assert (status.state, status.working) == (State.AUTHORIZATION_REQUIRED, False)
        assert status.message == "the tokens were revoked; a person must authorize again"
        assert (status.last_outcome, status.attempts[0].code) == ("revoked", "revoked")
        told = {fact.label: fact.text for fact in facts(status, app.clock.now())}
        assert told["next refresh"] in {"none", "overdue"}
        assert "the tokens were revoked" in status_page([status], TICKING, app.clock.now())

    @pytest.mark.parametrize("force", [True, False])
    def test_so_does_a_refresh(self, app: App, force: bool) -> None:
        (report,) = app.refresh(["servicenow"], RunRequest(trigger=Trigger.CLI, force=force))
        assert report.outcome is Outcome.AUTHORIZATION_REQUIRED
        assert report.message.startswith("the tokens were revoked")
        assert "authorize servicenow" in (report.hint or "")

    def test_so_does_history(self, app: App, capfd: pytest.CaptureFixture[str]) -> None:
        history = app.history("servicenow")
        assert history.issues[-1].revoked
        assert history.attempts[0].code == "revoked"
        show_history(history, app.clock.now(), 30)
        assert "5 min, revoked" in capfd.readouterr().out

    def test_so_does_doctor(self, app: App) -> None:
        (check,) = [check for check in app.doctor() if check.name == "token"]
        assert "the tokens were revoked" in check.detail

    def test_so_does_a_probe(self, app: App) -> None:
        (answer,) = app.probe(["servicenow"])
        assert answer is not None
        assert answer.remark == "the tokens were revoked"


def test_with_another_grant_the_next_tick_starts_a_new_life() -> None:
    _, app = standing(SERVICENOW_FALLBACK_GRANT="password")
    app.revoke("servicenow", BY_HAND)
    status = status_of(app)
    assert status.message == "the tokens were revoked; the next tick starts a new life by another grant"
    assert tick(app).outcome is Outcome.REFRESHED
    assert status_of(app).state is State.FRESH


def authorize(app: App, password: str) -> RunReport:
    brought: dict[str, Secret | str] = {"username": Secret("servicenow.integration"), "password": Secret(password)}
    return app.authorize("servicenow", BY_HAND, Authorization(grant=Grant.PASSWORD, brought=brought))


@pytest.mark.parametrize(
    "answer",
    thinned(
        [
            pytest.param(GENERIC, id="generic"),
            pytest.param(Respond(401, JSON, b'{"error":"invalid_grant"}'), id="grant"),
            pytest.param(Respond(400, JSON, b'{"error":"invalid_request"}'), id="request"),
            pytest.param(Respond(400, JSON, b'{"error":"unsupported_grant_type"}'), id="type"),
            pytest.param(Respond(503, {}, b""), id="error"),
            pytest.param(Respond(429, {}, b""), id="rate"),
            pytest.param(
                Respond(200, {"Content-Type": "text/html"}, b"<title>Instance Hibernating page</title>"), id="page"
            ),
            pytest.param(Drop(), id="silence"),
        ],
        4,
    ),
)
def test_no_tick_repeats_an_authorization_that_failed_and_none_is_promised(answer: Respond | Drop) -> None:
    sandbox, app = standing()
    sandbox.faults.add(Fault(service="instance", path="/oauth_token.do", times=None, action=answer))
    report = authorize(app, "wrong")
    assert report.hint is not None
    assert "next tick" not in report.hint.lower()
    assert "--grant password" not in report.hint
    for command in report.hint.commands:
        if command.words[:3] == ("python", "-m", "refresher"):
            build_parser().parse_args(command.words[3:])
    before = sandbox.log.count(path="/oauth_token.do")
    app.clock.sleep(300)
    tick(app)
    assert sandbox.log.count(path="/oauth_token.do") == before


def shown(status: ConnectionStatus, app: App, capfd: pytest.CaptureFixture[str]) -> str:
    show_statuses([status], TICKING, app.clock.now())
    return capfd.readouterr().out + status_page([status], TICKING, app.clock.now())


@pytest.mark.parametrize(
    "answer",
    [GENERIC, Respond(401, JSON, b'{"error":"invalid_client"}'), Respond(503, {}, b"")],
    ids=["generic", "client", "error"],
)
@pytest.mark.parametrize("times", thinned([2, 15]))
def test_what_fails_now_is_not_foretold_for_a_day_in_spring(
    answer: Respond, times: int, capfd: pytest.CaptureFixture[str]
) -> None:
    sandbox, app = standing()
    assert "refreshing will stop on" in shown(status_of(app), app, capfd)
    sandbox.faults.add(Fault(service="instance", path="/oauth_token.do", times=None, action=answer))
    app.clock.sleep(45 * 60)
    reports = []
    for _ in range(times):
        app.clock.sleep(300)
        reports.append(tick(app))
    assert "stops_without_a_person" not in [warning.code for warning in reports[-1].warnings]
    text = shown(status_of(app), app, capfd)
    assert "will stop on" not in text
    assert "refreshing stops" not in text
    assert "if ServiceNow is away" not in text


def test_a_token_that_is_refused_has_no_end_to_look_forward_to(capfd: pytest.CaptureFixture[str]) -> None:
    sandbox, app = standing()
    sandbox.instance.kill_access_token(sandbox.vault.versions("servicenow-oauth-token")[-1].value)
    status = status_of(app)
    told = {fact.label: fact.text for fact in facts(status, app.clock.now())}
    assert (told["access token"], told["next refresh"]) == ("refused", "next tick")
    assert "ends in 5" not in shown(status, app, capfd)


KILLS: list[Callable[[DirectSandbox], None]] = [
    lambda sandbox: sandbox.vault.delete("servicenow-refresh-token"),
    lambda sandbox: sandbox.instance.kill_refresh_token(sandbox.vault.versions("servicenow-refresh-token")[-1].value),
]


@pytest.mark.parametrize("kill", KILLS, ids=["deleted", "dead"])
@pytest.mark.exhaustive
def test_where_only_a_person_helps_no_next_refresh_is_promised(kill: Callable[[DirectSandbox], None]) -> None:
    sandbox, app = standing()
    kill(sandbox)
    for _ in range(4):
        app.clock.sleep(55 * 60)
        tick(app)
    status = status_of(app)
    assert status.state is State.AUTHORIZATION_REQUIRED
    assert {fact.label: fact.text for fact in facts(status, app.clock.now())}["next refresh"] in {"none", "overdue"}
