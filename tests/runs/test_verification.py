"""A stored token that ServiceNow refuses, whatever its dates say: the next tick finds it, and one refresh mends it."""

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import httpx
import pytest

from refresher.app import App
from refresher.cli.exit_codes import ExitCode, tick_exit_code
from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger, WarningCode
from refresher.policy.due import Reason
from sandbox import PERSONALITIES, Personality
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Fault, Interrupt, Respond, Throttle
from sandbox.personality import GENERIC_REFUSAL, LOGIN_PAGE
from sandbox.trial.host import direct_app
from tests.conftest import CapturedLog, direct, tick
from tests.sampling import thinned

MINUTES = timedelta(minutes=1)
NAME = "servicenow"
PROBE = "/api/now/table/sys_user"
REFUSED = Respond(401, {"Content-Type": "application/json"}, b'{"error": {"message": "User Not Authenticated"}}')


def stored(sandbox: DirectSandbox, name: str = NAME) -> str:
    secret = sandbox.vault.get(f"{name}-oauth-token")
    assert secret is not None
    return secret.value


def revoke(sandbox: DirectSandbox, name: str = NAME) -> None:
    sandbox.instance.kill_access_token(stored(sandbox, name))


def works(sandbox: DirectSandbox, name: str = NAME) -> bool:
    copy = sandbox.vault.get(f"{name}--action--global--oauth-token")
    return (
        copy is not None
        and copy.value == stored(sandbox, name)
        and sandbox.instance.is_living_access_token(copy.value)
    )


def running(sandbox: DirectSandbox, app: App) -> None:
    """A first refresh, ten minutes ago."""
    assert tick(app).outcome is Outcome.REFRESHED
    sandbox.clock.advance(10 * MINUTES)
    sandbox.log.clear()


def probes(sandbox: DirectSandbox) -> int:
    return len([each for each in sandbox.log if each.path == PROBE])


def token_requests(sandbox: DirectSandbox) -> int:
    return len([each for each in sandbox.log if each.path == "/oauth_token.do"])


def test_a_token_that_works_costs_one_request_and_the_report_says_whose_it_is() -> None:
    sandbox, app = direct()
    running(sandbox, app)
    report = tick(app)
    assert (report.outcome, report.tried, report.working) == (Outcome.NOT_DUE, "accepted", True)
    assert report.user_name == f"{NAME}.integration"
    assert report.message.endswith("; ServiceNow accepts it")
    assert (probes(sandbox), token_requests(sandbox)) == (1, 0)


def test_a_revoked_token_is_replaced_by_the_next_tick() -> None:
    """Asked twice, two seconds apart, before anything is done."""
    sandbox, app = direct()
    running(sandbox, app)
    revoke(sandbox)
    began = sandbox.clock.now()
    report = tick(app)
    assert (report.outcome, report.reason, report.tried) == (
        Outcome.REFRESHED,
        Reason.ACCESS_TOKEN_REFUSED,
        "rejected",
    )
    assert report.working
    assert works(sandbox)
    asked = [each.at for each in sandbox.log if each.path == PROBE]
    assert len(asked) == 3  # the third tries the new one
    assert timedelta(seconds=2) <= asked[1] - asked[0] < timedelta(seconds=3)
    assert sandbox.clock.now() - began < timedelta(seconds=8)


def test_each_refusal_is_met_on_a_connection_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """The connection on which a token was refused may be what is wrong."""
    sandbox, app = direct()
    running(sandbox, app)
    revoke(sandbox)
    opened = []
    make_client = httpx.Client.__init__

    def count(self: httpx.Client, **options: Any) -> None:  # noqa: ANN401 - httpx's own
        opened.append(self)
        make_client(self, **options)

    monkeypatch.setattr(httpx.Client, "__init__", count)
    tick(app)
    assert len(opened) == 3  # two trials, and the refresh with its probe


def test_a_refusal_that_is_not_repeated_says_nothing() -> None:
    sandbox, app = direct()
    running(sandbox, app)
    sandbox.faults.add(Fault(path=PROBE, action=REFUSED, times=1))
    report = tick(app)
    assert (report.outcome, report.tried, report.working) == (Outcome.NOT_DUE, "accepted", True)
    assert token_requests(sandbox) == 0


@pytest.mark.parametrize(
    "action",
    thinned(
        [
            Respond(200, {"Content-Type": "text/html"}, LOGIN_PAGE),
            Respond(401, {"Content-Type": "text/html"}, LOGIN_PAGE),
            Respond(403, {"Content-Type": "text/html"}, LOGIN_PAGE),
            Respond(503),
            Throttle(1.0),
            Throttle(600.0),
        ],
        4,
    ),
    ids=["page", "page with 401", "page with 403", "503", "429", "429 for long"],
)
def test_what_is_no_word_of_the_instance_says_nothing_and_does_nothing(action: Respond | Throttle) -> None:
    sandbox, app = direct()
    running(sandbox, app)
    revoke(sandbox)
    sandbox.faults.add(Fault(path=PROBE, action=action, times=None))
    report = tick(app)
    assert (report.outcome, report.tried, report.working) == (Outcome.NOT_DUE, "unknown", True)
    assert "by its dates" in report.message
    assert token_requests(sandbox) == 0


def test_a_token_is_replaced_for_that_once_in_a_refresh_interval() -> None:
    """Whoever revokes it every few minutes gets no new one each time; the tick says what it found."""
    sandbox, app = direct()
    running(sandbox, app)
    outcomes = []
    for _ in range(12):
        revoke(sandbox)
        report = tick(app)
        outcomes.append(report.reason if report.outcome is Outcome.REFRESHED else report.cause)
        assert report.working is (report.outcome is Outcome.REFRESHED)
        assert tick_exit_code([report]) == (ExitCode.DONE if report.working else ExitCode.NO_WORKING_TOKEN)
        sandbox.clock.advance(5 * MINUTES)
    again = outcomes.index(Reason.ACCESS_TOKEN_ENDING)
    assert outcomes[:2] == [Reason.ACCESS_TOKEN_REFUSED, Cause.ACCESS_TOKEN_REFUSED]
    assert {*outcomes[1:again]} == {Cause.ACCESS_TOKEN_REFUSED}
    assert again >= 9


def test_an_access_policy_costs_one_refresh_in_an_interval_and_the_good_token_stays() -> None:
    """It refuses the new token with the same 401; the stored one may work for everybody else."""
    sandbox, app = direct()
    running(sandbox, app)
    before = stored(sandbox)
    sandbox.faults.add(Fault(path=PROBE, action=REFUSED, times=None))
    reports = []
    for _ in range(7):
        reports.append(tick(app))
        sandbox.clock.advance(5 * MINUTES)
    assert {report.cause for report in reports} == {Cause.TOKEN_REJECTED}
    assert {report.outcome for report in reports} == {Outcome.FAILED}
    assert token_requests(sandbox) == 1
    assert stored(sandbox) == before


@pytest.mark.parametrize(
    ("settings", "personality"),
    [({"PROBE_PATH": "/api/now/table/incident"}, None), ({}, PERSONALITIES["probe_failing"])],
    ids=["another path than at the last refresh", "never accepted"],
)
def test_a_probe_that_never_accepted_a_token_only_warns(
    settings: dict[str, str], personality: Personality | None
) -> None:
    sandbox, first = direct({}, personality)
    running(sandbox, first)
    sandbox.faults.add(Fault(service="instance", method="GET", action=REFUSED, times=None))
    app = direct_app(sandbox, Process(sandbox), 0, **settings)
    report = tick(app)
    assert (report.outcome, report.tried, report.working) == (Outcome.NOT_DUE, "rejected", True)
    assert [warning.code for warning in report.warnings] == [WarningCode.VERIFICATION_REFUSED]
    assert token_requests(sandbox) == 0


def test_that_a_probe_once_accepted_a_token_is_kept_where_a_later_one_could_not_be_tried() -> None:
    sandbox, app = direct()
    running(sandbox, app)
    sandbox.faults.add(Fault(path=PROBE, action=Respond(503), times=1))
    report = tick(app, force=True)
    assert [warning.code for warning in report.warnings if warning.code is WarningCode.PROBE_INCONCLUSIVE]
    revoke(sandbox)
    sandbox.clock.advance(5 * MINUTES)
    assert tick(app).reason is Reason.ACCESS_TOKEN_REFUSED


def test_where_the_refresh_token_is_dead_as_well_the_report_says_that_nothing_works(
    everything_logged: CapturedLog,
) -> None:
    """It goes by its own refusals: no fallback opens in the first run, and no password is sent."""
    sandbox, app = direct({"SERVICENOW_FALLBACK_GRANT": "password"}, username=True)
    running(sandbox, app)
    revoke(sandbox)
    secret = sandbox.vault.get(f"{NAME}-refresh-token")
    assert secret is not None
    sandbox.instance.kill_refresh_token(secret.value)
    everything_logged.lines.clear()
    report = tick(app)
    assert (report.outcome, report.cause, report.working) == (Outcome.FAILED, Cause.ACCESS_DENIED, False)
    assert sandbox.instance.password_attempts(f"{NAME}.integration") == 0
    events = [json.loads(line.split(" ", 2)[2]) for line in everything_logged.lines if "refresh_outcome" in line]
    assert {(event["outcome"], event["tried"], event["cause"]) for event in events} == {
        ("failed", "rejected", "access_denied")
    }
    assert token_requests(sandbox) == 3  # of one run, which is the only one of its tick


@pytest.mark.parametrize(
    "settings",
    [{"SERVICENOW_GRANT": "password"}, {"SERVICENOW_FALLBACK_GRANT": "password"}],
    ids=["its grant", "its fallback, where the refresh token is gone"],
)
def test_no_password_is_sent_for_that(settings: dict[str, str]) -> None:
    sandbox, app = direct(settings, username=True)
    running(sandbox, app)
    if "SERVICENOW_FALLBACK_GRANT" in settings:
        sandbox.vault.delete(f"{NAME}-refresh-token")
    revoke(sandbox)
    sent = sandbox.instance.password_attempts(f"{NAME}.integration")
    report = tick(app)
    assert (report.outcome, report.cause, report.working) == (Outcome.FAILED, Cause.ACCESS_TOKEN_REFUSED, False)
    assert sandbox.instance.password_attempts(f"{NAME}.integration") == sent


def test_it_needs_the_lease_where_tokens_rotate() -> None:
    sandbox, app = direct({}, Personality(rotates=True))
    running(sandbox, app)
    revoke(sandbox)
    sandbox.faults.add(Fault(service="leases", action=Respond(503), times=None))
    report = tick(app)
    assert (report.outcome, report.cause, report.working) == (Outcome.FAILED, Cause.LEASE_UNAVAILABLE, False)
    assert token_requests(sandbox) == 0


def test_where_they_do_not_it_goes_ahead_without_a_lease_service() -> None:
    """Nobody has a token, and two refreshers at once would hurt nobody."""
    sandbox, app = direct()
    running(sandbox, app)
    revoke(sandbox)
    sandbox.faults.add(Fault(service="leases", action=Respond(404), times=None))
    assert tick(app).outcome is Outcome.REFRESHED
    assert works(sandbox)


@pytest.mark.exhaustive
def test_a_refresh_that_nobody_heard_is_begun_again_at_the_next_tick() -> None:
    sandbox, app = direct()
    running(sandbox, app)
    revoke(sandbox)
    outage = Fault(path="/oauth_token.do", action=Respond(503), times=None)
    sandbox.faults.add(outage)
    assert tick(app).cause is Cause.INSTANCE_ERROR
    sandbox.faults.clear()
    sandbox.clock.advance(5 * MINUTES)
    assert tick(app).outcome is Outcome.REFRESHED
    assert works(sandbox)


def test_somebody_who_was_faster_is_not_followed_by_another_refresh() -> None:
    """Between the second refusal and the lease another machine has put a new token there."""
    sandbox, app = direct()
    running(sandbox, app)
    revoke(sandbox)
    other = direct_app(sandbox, Process(sandbox), 1)
    forced = Interrupt(do=lambda: other.tick(RunRequest(trigger=Trigger.CLI, force=True)) and None)
    sandbox.faults.add(Fault(service="leases", method="HEAD", action=forced, times=1))
    report = tick(app)
    assert token_requests(sandbox) == 1
    assert works(sandbox)
    assert report.working


@pytest.mark.parametrize("change", thinned(["publish target missing", "target of another vault unreadable"]))
def test_a_token_whose_copies_are_in_trouble_is_tried_all_the_same(change: str) -> None:
    sandbox, app = direct()
    running(sandbox, app)
    revoke(sandbox)
    copy = f"{NAME}--action--global--oauth-token"
    if change == "publish target missing":
        sandbox.vault.delete(copy)
    else:
        sandbox.vault.deny("get", copy)
    report = tick(app)
    assert report.reason is Reason.ACCESS_TOKEN_REFUSED
    assert sandbox.instance.is_living_access_token(stored(sandbox))


def test_a_user_that_changed_is_warned_of_at_the_refresh_that_finds_it() -> None:
    sandbox, app = direct()
    running(sandbox, app)
    secret = sandbox.vault.get(f"{NAME}-oauth-token")
    assert secret is not None
    assert secret.tags["user-name"] == f"{NAME}.integration"
    sandbox.vault.put(
        secret.name, secret.value, tags={**secret.tags, "user-name": "somebody"}, expires_on=secret.expires_on
    )
    for force in (False, True):
        codes = [warning.code for warning in tick(app, force=force).warnings]
        assert WarningCode.USER_CHANGED in codes
    assert WarningCode.USER_CHANGED not in [warning.code for warning in tick(app, force=True).warnings]


def test_who_a_token_acts_as_is_remembered_while_the_probe_may_not_tell() -> None:
    sandbox, app = direct()
    running(sandbox, app)
    sandbox.instance.personality = Personality(probe_status=403)
    assert tick(app, force=True).user_name is None
    secret = sandbox.vault.get(f"{NAME}-oauth-token")
    assert secret is not None
    assert secret.tags["user-name"] == f"{NAME}.integration"


def test_credentials_that_were_swapped_are_told_of_until_a_person_says_that_it_was_meant() -> None:
    """The line of one refresh is soon forgotten, and each of the two connections works."""
    sandbox, app = direct()
    running(sandbox, app)
    other = sandbox.add_connection("other")
    assert other.refresh_token
    for suffix in ("client-id", "client-secret", "refresh-token"):
        sandbox.vault.put(f"{NAME}-{suffix}", sandbox.vault.versions(f"other-{suffix}")[-1].value)

    def warnings_of_status() -> list[str]:
        (status,) = app.status()
        assert status.user_name == "other.integration"
        return [warning.message for warning in status.warnings if warning.code is WarningCode.USER_CHANGED]

    for _ in range(3):
        sandbox.clock.advance(minutes=50)
        assert tick(app).outcome is Outcome.REFRESHED
        assert warnings_of_status() == [
            f"the token acts as other.integration; before, tokens of {NAME} acted as {NAME}.integration"
        ]
    app.refresh([NAME], RunRequest(trigger=Trigger.CLI, force=True))
    assert warnings_of_status() == []


class TestAHerd:
    """Connections of one instance that are refused in one tick."""

    NAMES = tuple(f"c{number}" for number in range(5))

    def set_up(self, names: tuple[str, ...] = NAMES, **settings: str) -> tuple[DirectSandbox, App]:
        sandbox = DirectSandbox()
        for name in names:
            sandbox.add_connection(name)
        described = json.dumps({name: {"instance_url": sandbox.instance.url} for name in names})
        app = direct_app(
            sandbox, Process(sandbox), 0, SERVICENOW_CONNECTIONS=described, SERVICENOW_INSTANCE_URL="", **settings
        )
        assert {report.outcome for report in self.ticked(app)} == {Outcome.REFRESHED}
        sandbox.clock.advance(10 * MINUTES)
        for name in names:
            revoke(sandbox, name)
        sandbox.log.clear()
        return sandbox, app

    def ticked(self, app: App) -> tuple[RunReport, ...]:
        return app.tick(RunRequest(trigger=Trigger.TIMER))

    def test_heals_in_one_tick_where_the_first_new_token_is_accepted(self) -> None:
        sandbox, app = self.set_up()
        reports = self.ticked(app)
        assert {report.outcome for report in reports} == {Outcome.REFRESHED}
        assert all(works(sandbox, name) for name in self.NAMES)
        order = [each.path for each in sandbox.log if each.path in {PROBE, "/oauth_token.do"}]
        first = order.index("/oauth_token.do")
        assert order[first + 1] == PROBE  # one token alone, and its trial, before the next one is asked for

    @pytest.mark.exhaustive
    def test_costs_one_refresh_where_the_new_token_is_refused_as_well(self) -> None:
        sandbox, app = self.set_up()
        sandbox.faults.add(Fault(path=PROBE, action=REFUSED, times=None))
        reports = self.ticked(app)
        assert token_requests(sandbox) == 1
        causes = sorted(str(report.cause) for report in reports)
        assert causes == [*["access_token_refused"] * 4, "token_rejected"]
        assert all(report.working is False for report in reports)

    def test_of_two_is_none(self) -> None:
        sandbox, app = self.set_up(("a", "b"))
        sandbox.faults.add(Fault(path=PROBE, action=REFUSED, times=None))
        self.ticked(app)
        assert token_requests(sandbox) == 2

    @pytest.mark.exhaustive
    def test_is_dispatched_to_the_queue_one_first_and_the_others_once_that_is_known_to_work(
        self, everything_logged: CapturedLog
    ) -> None:
        sandbox, app = self.set_up(REFRESH_QUEUE="refreshq")
        everything_logged.lines.clear()
        (pioneer,) = app.due()
        assert token_requests(sandbox) == 0
        told = [json.loads(line.split(" ", 2)[2]) for line in everything_logged.lines if line.startswith("refresher ")]
        assert [each["event"] for each in told].count("refresh_outcome") == 4
        (event,) = [each for each in told if each["event"] == "tick"]
        assert (event["connections"], event["due"], event["tried"], event["refused"]) == (5, 0, 5, 5)
        (report,) = app.refresh([pioneer], RunRequest(trigger=Trigger.QUEUE))
        assert (report.outcome, report.reason) == (Outcome.REFRESHED, Reason.ACCESS_TOKEN_REFUSED)
        sandbox.clock.advance(5 * MINUTES)
        assert sorted(app.due()) == sorted({*self.NAMES} - {pioneer})


@pytest.mark.parametrize("happen", thinned([lambda _: None, revoke]), ids=["works", "revoked"])
def test_a_tick_with_a_queue_tries_the_tokens_and_says_so(
    everything_logged: CapturedLog, happen: Callable[[DirectSandbox], None]
) -> None:
    sandbox, app = direct({"REFRESH_QUEUE": "refreshq"})
    running(sandbox, app)
    happen(sandbox)
    everything_logged.lines.clear()
    due = app.due()
    (line,) = [line for line in everything_logged.lines if '"event": "tick"' in line]
    assert due == ((NAME,) if happen is revoke else ())
    assert f"1 tokens tried, {len(due)} refused" in line
    if due:
        (report,) = app.refresh(due, RunRequest(trigger=Trigger.QUEUE))
        assert report.outcome is Outcome.REFRESHED


def test_with_an_interval_a_token_is_tried_once_in_it() -> None:
    sandbox, app = direct({"VERIFY_INTERVAL_MINUTES": "20"}, PERSONALITIES["eight_hours"])
    running(sandbox, app)
    for _ in range(8):
        tick(app)
        sandbox.clock.advance(5 * MINUTES)
    assert probes(sandbox) == 2


def test_a_user_who_was_told_to_wait_waits_with_every_connection_in_a_process_that_never_saw_it() -> None:
    """The tags say who acts: of two connections of one user, only the first meets the limit."""
    sandbox = DirectSandbox()
    for name in ("a", "b"):
        sandbox.add_connection(name)
    described = json.dumps({name: {"instance_url": sandbox.instance.url} for name in ("a", "b")})
    settings = {"SERVICENOW_CONNECTIONS": described, "SERVICENOW_INSTANCE_URL": ""}
    direct_app(sandbox, Process(sandbox), 0, **settings).tick(RunRequest(trigger=Trigger.TIMER))
    for name in ("a", "b"):
        secret = sandbox.vault.get(f"{name}-oauth-token")
        assert secret is not None
        tags = {**secret.tags, "user-name": "shared.user"}
        sandbox.vault.put(secret.name, secret.value, tags=tags, expires_on=secret.expires_on)
    sandbox.clock.advance(10 * MINUTES)
    sandbox.log.clear()
    sandbox.faults.add(Fault(path=PROBE, action=Throttle(600.0), times=None))
    cold = direct_app(sandbox, Process(sandbox), 0, **settings)
    reports = cold.tick(RunRequest(trigger=Trigger.TIMER))
    assert {report.tried for report in reports} == {"unknown"}
    turns = cold.process.servicenow.turns(cold.connection("a"))
    assert turns.pause_of("b") == turns.pause_of("a") > 0


@pytest.mark.parametrize("settings", [{}, {"SERVICENOW_FALLBACK_GRANT": "password"}])
def test_one_refusal_of_a_new_token_says_nothing_either(settings: dict[str, str]) -> None:
    """A node that does not know it yet, say: asked again in two seconds, on a connection of its own."""
    sandbox, app = direct(settings, username=True)
    running(sandbox, app)
    sandbox.clock.advance(60 * MINUTES)
    sandbox.faults.add(Fault(path=PROBE, action=REFUSED, times=1))
    began = sandbox.clock.now()
    report = tick(app)
    assert (report.outcome, report.grant) == (Outcome.REFRESHED, Grant.REFRESH_TOKEN)
    assert works(sandbox)
    assert (probes(sandbox), token_requests(sandbox)) == (2, 1)
    assert timedelta(seconds=2) <= sandbox.clock.now() - began < timedelta(seconds=6)


@pytest.mark.parametrize("second", thinned([REFUSED, Respond(503), Throttle(600.0)]))
def test_a_new_token_that_was_refused_is_published_only_if_it_is_accepted_then(second: Respond | Throttle) -> None:
    sandbox, app = direct()
    running(sandbox, app)
    sandbox.clock.advance(40 * MINUTES)
    before = stored(sandbox)
    sandbox.faults.add(Fault(path=PROBE, action=REFUSED, times=1))
    sandbox.faults.add(Fault(path=PROBE, action=second, times=None))
    report = tick(app)
    assert report.cause is Cause.TOKEN_REJECTED
    assert stored(sandbox) == before


@pytest.mark.parametrize("settings", [{"SERVICENOW_FALLBACK_GRANT": "password"}, {}])
def test_where_both_tokens_were_revoked_the_second_tick_decides(settings: dict[str, str]) -> None:
    """One more refusal condemns the refresh token: the password serves, or a person is asked for at once."""
    sandbox, app = direct(settings, username=True)
    running(sandbox, app)
    revoke(sandbox)
    held = sandbox.vault.get(f"{NAME}-refresh-token")
    assert held is not None
    sandbox.instance.kill_refresh_token(held.value)
    first = tick(app)
    assert (first.outcome, first.cause) == (Outcome.FAILED, Cause.ACCESS_DENIED)
    sandbox.clock.advance(5 * MINUTES)
    second = tick(app)
    if settings:
        assert (second.outcome, second.grant) == (Outcome.REFRESHED, Grant.PASSWORD)
        assert works(sandbox)
    else:
        assert (second.outcome, second.cause) == (Outcome.AUTHORIZATION_REQUIRED, Cause.REFRESH_TOKEN_REFUSED)


def test_what_may_only_wait_is_not_tried_again_in_the_same_tick() -> None:
    """Here a refresh for that alone, which was refused: nothing is asked for within the interval."""
    sandbox, app = direct({"SERVICENOW_GRANT": "client_credentials"}, refresh_token=False)
    running(sandbox, app)
    revoke(sandbox)
    denied = Respond(401, {"Content-Type": "application/json"}, GENERIC_REFUSAL)
    sandbox.faults.add(Fault(path="/oauth_token.do", action=denied, times=None))
    tick(app)
    sandbox.clock.advance(5 * MINUTES)
    sandbox.log.clear()
    began = sandbox.clock.now()
    report = tick(app)
    assert (report.outcome, report.cause, report.working) == (Outcome.FAILED, Cause.ACCESS_DENIED, False)
    assert (probes(sandbox), token_requests(sandbox)) == (2, 0)
    assert sandbox.clock.now() - began < timedelta(seconds=10)
