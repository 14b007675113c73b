"""An instance that is away: a tick waits for it while its time lasts, and runs again as soon as it is back."""

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.clock import Deadline
from refresher.model.connection import Connection
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger
from refresher.run.patience import is_worth_waiting, wait
from sandbox import Fault, Sandbox, SandboxClock
from sandbox.direct import DirectSandbox
from sandbox.faults import Action, Refuse, Respond, Stall, Throttle
from sandbox.http import Request
from sandbox.personality import GENERIC_REFUSAL, HIBERNATING, Personality
from sandbox.trial.host import product_clock
from tests.conftest import MakeApp, direct, tick
from tests.factories import HOUR, MINUTE, NOON, SECOND, connection

TOKEN = "servicenow-oauth-token"
FAILED = RunReport(
    connection="servicenow",
    run_id="1",
    trigger=Trigger.TIMER,
    outcome=Outcome.FAILED,
    cause=Cause.INSTANCE_UNREACHABLE,
    message="for the test",
    access_token_expires_at=NOON,
)


class TestWhoWaits:
    """A run of the schedule whose instance is away and whose token does not reach the next tick."""

    @pytest.mark.parametrize(
        "cause",
        [Cause.INSTANCE_UNREACHABLE, Cause.INSTANCE_TIMEOUT, Cause.INSTANCE_ERROR, Cause.INSTANCE_HIBERNATING],
    )
    def test_one_that_would_succeed_later(self, cause: Cause) -> None:
        assert is_worth_waiting(replace(FAILED, cause=cause), NOON)

    @pytest.mark.parametrize(("cause", "waits"), [(Cause.INSTANCE_HIBERNATING, True), (Cause.INSTANCE_ERROR, False)])
    def test_with_a_password_only_where_nobody_can_have_seen_it(self, cause: Cause, waits: bool) -> None:
        assert is_worth_waiting(replace(FAILED, cause=cause, grant=Grant.PASSWORD), NOON) is waits

    @pytest.mark.parametrize("trigger", [Trigger.HTTP, Trigger.CLI, Trigger.QUEUE])
    def test_not_one_for_which_a_person_or_other_messages_wait(self, trigger: Trigger) -> None:
        assert not is_worth_waiting(replace(FAILED, trigger=trigger), NOON)

    @pytest.mark.parametrize(
        "outcome", [each for each in Outcome if each is not Outcome.FAILED], ids=lambda each: each.value
    )
    def test_not_one_that_can_wait_or_needs_somebody(self, outcome: Outcome) -> None:
        assert not is_worth_waiting(replace(FAILED, outcome=outcome), NOON)

    @pytest.mark.parametrize(
        "cause", [Cause.ACCESS_DENIED, Cause.INSTANCE_THROTTLED, Cause.VAULT_UNAVAILABLE, Cause.NOT_A_TOKEN, None]
    )
    def test_not_where_the_instance_is_there(self, cause: Cause | None) -> None:
        assert not is_worth_waiting(replace(FAILED, cause=cause), NOON)

    @pytest.mark.parametrize(
        ("expires_at", "waits"),
        [
            (None, False),
            (NOON + 5 * MINUTE, True),
            (NOON - 24 * HOUR + SECOND, True),
            (NOON - 24 * HOUR, False),
        ],
    )
    def test_not_where_there_never_was_a_token_nor_beyond_a_day(
        self, expires_at: datetime | None, waits: bool
    ) -> None:
        assert is_worth_waiting(replace(FAILED, access_token_expires_at=expires_at), NOON) is waits


class Away:
    """Weather: the instance behaves so for a while, then otherwise, or as ever."""

    def __init__(
        self,
        sandbox: DirectSandbox,
        action: Action,
        lasts: timedelta,
        *,
        afterwards: Action | None = None,
        only: Callable[[Request], bool] = lambda _: True,
    ) -> None:
        self.clock, self.action, self.ends = sandbox.clock, action, sandbox.clock.now() + lasts
        self.afterwards, self.only = afterwards, only
        self.then: Callable[[], None] | None = None
        sandbox.weather = self

    def find(self, service: str, request: Request) -> Action | None:
        """What happens to a request."""
        if service != "instance" or not self.only(request):
            return None
        if self.then is not None and len(request.form) == 1:
            once, self.then = self.then, None
            once()
        return self.action if self.clock.now() < self.ends else self.afterwards


def with_ended_token(**settings: str) -> tuple[DirectSandbox, App]:
    """A connection whose token has just ended."""
    sandbox, app = direct(settings)
    assert tick(app).outcome is Outcome.REFRESHED
    sandbox.clock.advance(HOUR)
    sandbox.log.clear()
    return sandbox, app


class TestWaiting:
    """Over the wire, with the whole product."""

    @pytest.mark.parametrize(
        "action", [Refuse(), Stall(), Respond(503), Respond(200, {"Content-Type": "text/html"}, HIBERNATING)]
    )
    @pytest.mark.parametrize("lasts", [timedelta(seconds=50), timedelta(seconds=100), timedelta(seconds=170)])
    def test_the_token_is_there_within_half_a_minute_of_the_end(self, action: Action, lasts: timedelta) -> None:
        sandbox, app = with_ended_token()
        away = Away(sandbox, action, lasts)
        report = tick(app)
        assert report.outcome is Outcome.REFRESHED
        secret = sandbox.vault.get(TOKEN)
        assert secret is not None
        assert sandbox.instance.is_living_access_token(secret.value)
        assert sandbox.clock.now() - away.ends < timedelta(seconds=35)

    def test_a_longer_outage_is_left_to_the_next_tick_in_time(self) -> None:
        sandbox, app = with_ended_token()
        Away(sandbox, Stall(), HOUR)
        began = sandbox.clock.now()
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.INSTANCE_TIMEOUT)
        assert sandbox.clock.now() - began < app.settings.tick_deadline

    def test_what_it_asks_with_are_no_credentials(self) -> None:
        """A refresh token that rotates, or a password, would be at risk with each of these requests."""
        sandbox, app = with_ended_token()
        Away(sandbox, Respond(503), HOUR)
        tick(app)
        asked = [each.form_keys for each in sandbox.log.select(path="/oauth_token.do")]
        with_credentials = [keys for keys in asked if keys != ("grant_type",)]
        assert len(with_credentials) == 4, "the tries of the run itself"
        assert 8 <= len(asked) - 4 <= 24

    def test_it_waits_for_no_instance_that_refuses(self) -> None:
        sandbox, app = with_ended_token()
        Away(sandbox, Respond(401, {"Content-Type": "application/json"}, GENERIC_REFUSAL), HOUR)
        began = sandbox.clock.now()
        assert tick(app).cause is Cause.ACCESS_DENIED
        assert sandbox.clock.now() - began < MINUTE

    def test_what_comes_back_throttled_is_left_alone(self) -> None:
        sandbox, app = with_ended_token()
        Away(sandbox, Respond(503), 70 * SECOND, afterwards=Throttle(5.0))
        assert tick(app).cause is Cause.INSTANCE_THROTTLED

    @pytest.mark.parametrize("trigger", [Trigger.HTTP, Trigger.CLI, Trigger.QUEUE])
    def test_who_asks_by_hand_gets_the_answer_at_once(self, trigger: Trigger) -> None:
        sandbox, app = with_ended_token()
        Away(sandbox, Respond(503), HOUR)
        began = sandbox.clock.now()
        (report,) = app.tick(RunRequest(trigger=trigger))
        assert report.outcome is Outcome.FAILED
        assert sandbox.clock.now() - began < MINUTE

    def test_it_runs_again_once(self) -> None:
        """An instance that answers the greeting and then fails again is not what was waited for."""
        sandbox, app = with_ended_token()
        Away(sandbox, Respond(503), HOUR, only=lambda request: len(request.form) > 1)
        began = sandbox.clock.now()
        report = tick(app)
        assert (report.outcome, report.consecutive_failures) == (Outcome.FAILED, 2)
        assert sandbox.clock.now() - began < MINUTE

    def test_no_password_is_sent_again_that_somebody_may_have_seen(self) -> None:
        sandbox, app = direct({"SERVICENOW_GRANT": "password"}, refresh_token=False, username=True)
        tick(app)
        sandbox.clock.advance(HOUR)
        sandbox.log.clear()
        Away(sandbox, Respond(503, effect=True), HOUR, only=lambda request: len(request.form) > 1)
        assert tick(app).outcome is Outcome.FAILED
        assert [each.grant_type for each in sandbox.log.select(path="/oauth_token.do")] == ["password"]

    @pytest.mark.parametrize(("schedule", "longest"), [("0 */1 * * * *", 0), ("0 */2 * * * *", 60)])
    def test_it_does_not_wait_into_the_next_tick(self, schedule: str, longest: int) -> None:
        sandbox, app = with_ended_token(REFRESH_SCHEDULE=schedule)
        Away(sandbox, Respond(503), HOUR)
        began = sandbox.clock.now()
        tick(app)
        assert sandbox.clock.now() - began < (longest + 10) * SECOND

    def test_a_clock_that_is_put_back_makes_it_no_longer(self) -> None:
        sandbox, app = with_ended_token()
        away = Away(sandbox, Respond(503), 2 * HOUR)
        began = sandbox.clock.monotonic()
        away.then = lambda: sandbox.clock.advance(-HOUR)
        tick(app)
        assert sandbox.clock.monotonic() - began < 240

    def test_a_surprise_is_no_answer(self, monkeypatch: pytest.MonkeyPatch) -> None:
        sandbox, app = with_ended_token()
        Away(sandbox, Respond(503), HOUR)

        def surprise(*_: object) -> None:
            raise RuntimeError

        monkeypatch.setattr("refresher.servicenow.session.Session.greet", surprise)
        assert tick(app).outcome is Outcome.FAILED


@pytest.mark.parametrize(("waiting", "seconds"), [(1, 220), (64, 220), (65, 200), (300, 140), (640, 40), (800, 0)])
def test_time_is_left_for_all_that_run_again(waiting: int, seconds: int) -> None:
    """The tick has four minutes; so many connections, 64 at a time, need some of it once the instance is back."""
    clock = product_clock(SandboxClock())
    left = Deadline(clock, timedelta(minutes=4))
    ran = [(replace(connection(), name=f"c{number}"), FAILED) for number in range(waiting)]
    began, asked = clock.monotonic(), 0

    def are_back(connections: Sequence[Connection]) -> tuple[bool, ...]:
        nonlocal asked
        asked += 1
        return (False,) * len(connections)

    assert wait(ran, NOON, left, clock.sleep, are_back) == ()
    assert clock.monotonic() - began == 20 * asked == seconds


class TestSameToken:
    """ServiceNow returns the stored token until it ends, and a new one only then."""

    @pytest.mark.parametrize("before_its_end", [timedelta(seconds=3), MINUTE, 3 * MINUTE])
    def test_the_tick_is_there_when_it_ends(self, before_its_end: timedelta) -> None:
        sandbox, app = direct(personality=Personality(same_token=True))
        first = tick(app)
        assert first.access_token_expires_at is not None
        sandbox.clock.advance(first.access_token_expires_at - before_its_end - sandbox.clock.now())
        assert tick(app).outcome is Outcome.REFRESHED
        secret = sandbox.vault.get(TOKEN)
        assert secret is not None
        assert sandbox.instance.is_living_access_token(secret.value)
        assert secret.created_on - first.access_token_expires_at < 3 * SECOND

    def test_the_end_that_is_too_far_away_is_the_next_ticks(self) -> None:
        sandbox, app = direct(personality=Personality(same_token=True))
        tick(app)
        sandbox.clock.advance(55 * MINUTE)
        began = sandbox.clock.now()
        assert tick(app).outcome is Outcome.UNCHANGED
        assert sandbox.clock.now() - began < 5 * SECOND

    @pytest.mark.parametrize("trigger", [Trigger.HTTP, Trigger.CLI, Trigger.QUEUE])
    def test_a_person_and_the_queue_wait_for_an_end_that_is_seconds_away(self, trigger: Trigger) -> None:
        sandbox, app = direct(personality=Personality(same_token=True))
        tick(app)
        sandbox.clock.advance(59 * MINUTE + 45 * SECOND)
        said: list[str] = []
        (report,) = app.tick(RunRequest(trigger=trigger, on_progress=said.append))
        assert report.outcome is Outcome.REFRESHED
        assert any("waiting" in each for each in said)

    def test_a_person_is_not_kept_waiting(self) -> None:
        sandbox, app = direct(personality=Personality(same_token=True))
        tick(app)
        sandbox.clock.advance(59 * MINUTE)
        began = sandbox.clock.now()
        (report,) = app.tick(RunRequest(trigger=Trigger.CLI, force=True))
        assert report.outcome is Outcome.UNCHANGED
        assert sandbox.clock.now() - began < 5 * SECOND

    def test_whoever_waits_for_an_end_also_waits_for_an_instance(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        """Two connections whose tokens end one after the other, and one whose instance never comes back."""
        sandbox.instance.personality = Personality(same_token=True)
        app, began = three(sandbox, make_app)
        sandbox.clock.advance(58 * MINUTE - (sandbox.clock.now() - began))
        reports = app.tick(RunRequest(trigger=Trigger.TIMER))
        assert [each.outcome for each in reports] == [Outcome.REFRESHED, Outcome.REFRESHED, Outcome.FAILED]
        for name in ("a", "b"):
            issued = [version.created_on for version in sandbox.vault.versions(f"{name}-oauth-token")]
            assert issued[1] - issued[0] < HOUR + 5 * SECOND
        # The last one's tick lasted as long as a tick may.
        assert 3 * MINUTE < sandbox.clock.now() - began - 58 * MINUTE < 4 * MINUTE


def three(sandbox: Sandbox, make_app: MakeApp) -> tuple[App, datetime]:
    """Connections a and b, refreshed half a minute apart, and one whose instance does not listen at all."""
    where = {"a": sandbox.instance.url, "b": sandbox.instance.url, "gone": "https://localhost:9"}
    for name in where:
        sandbox.add_connection(name)
    app = make_app(
        SERVICENOW_CONNECTIONS=json.dumps({name: {"instance_url": url} for name, url in where.items()}),
        SERVICENOW_INSTANCE_URL="",
    )
    began = sandbox.clock.now()
    app.refresh(["a"], RunRequest(trigger=Trigger.CLI))
    sandbox.clock.advance(30 * SECOND)
    app.refresh(["b"], RunRequest(trigger=Trigger.CLI))
    copy_token(sandbox, "a-oauth-token", "gone-oauth-token")
    return app, began


class TestSeveral:
    """Many connections: nobody waits for another's instance, and each instance is asked once."""

    def test_only_those_whose_instance_is_back_run_again(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        """One instance of two does not listen at all; the other comes back while the tick waits."""
        app, _ = three(sandbox, make_app)
        sandbox.clock.advance(timedelta(minutes=56))
        sandbox.log.clear()
        sandbox.faults.add(Fault(service="instance", times=10, action=Respond(503)))
        reports = app.tick(RunRequest(trigger=Trigger.TIMER))
        assert [(each.connection, each.outcome) for each in reports] == [
            ("a", Outcome.REFRESHED),
            ("b", Outcome.REFRESHED),
            ("gone", Outcome.FAILED),
        ]
        asked = [each.form_keys for each in sandbox.log.select(path="/oauth_token.do")]
        assert asked.count(("grant_type",)) == 3, "for both connections together: two refused, one answered"

    def test_the_others_are_refreshed_before_anybody_waits(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        app, _ = three(sandbox, make_app)
        sandbox.clock.advance(timedelta(minutes=56))
        began = sandbox.clock.now()
        app.tick(RunRequest(trigger=Trigger.TIMER))
        assert sandbox.clock.now() - began > timedelta(minutes=3), "it did wait"
        token = sandbox.vault.get("a-oauth-token")
        assert token is not None
        assert token.created_on - began < MINUTE


def copy_token(sandbox: Sandbox, source: str, copy: str) -> None:
    """Give a connection the token of another."""
    secret = sandbox.vault.get(source)
    assert secret is not None
    sandbox.vault.put(copy, secret.value)
    copied = sandbox.vault.get(copy)
    assert copied is not None
    copied.tags, copied.expires_on = dict(secret.tags), secret.expires_on
