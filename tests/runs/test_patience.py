"""A tick runs a connection again where that may help: after a failure that passes, and at the end of a token."""

import json
from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger
from refresher.run.patience import seconds_to_next_try
from sandbox import Fault, Sandbox
from sandbox.direct import DirectSandbox
from sandbox.faults import Action, Refuse, Respond, Stall, Throttle
from sandbox.http import Request
from sandbox.personality import GENERIC_REFUSAL, HIBERNATING, Personality
from tests.conftest import MakeApp, direct, tick
from tests.factories import HOUR, MINUTE, NOON, SECOND
from tests.names import TOKEN
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

FAILED = RunReport(
    connection="servicenow",
    run_id="1",
    trigger=Trigger.TIMER,
    outcome=Outcome.FAILED,
    cause=Cause.INSTANCE_UNREACHABLE,
    message="for the test",
    access_token_expires_at=NOON,
)


def seconds(now: datetime = NOON, **changes: object) -> float | None:
    """After which this run is tried again in the same tick."""
    return seconds_to_next_try(FAILED._replace(**changes), now)  # type: ignore[arg-type]


class TestWhoIsTriedAgain:
    """The policy, by its values."""

    @pytest.mark.parametrize(
        ("passes", "causes"),
        [
            (True, "instance_unreachable instance_hibernating instance_throttled access_denied vault_unavailable"),
            (False, "invalid_client secret_missing token_rejected password_refused publish_failed"),
        ],
    )
    def test_after_a_minute_what_passes(self, passes: bool, causes: str) -> None:
        for code in causes.split():
            assert seconds(cause=Cause.of(code)) == (60 if passes else None), code

    def test_not_what_is_refused_in_two_ticks_running(self) -> None:
        assert seconds(cause=Cause.ACCESS_DENIED, consecutive_failures=1) == 60
        assert seconds(cause=Cause.ACCESS_DENIED, consecutive_failures=2) is None
        assert seconds(cause=Cause.INSTANCE_ERROR, consecutive_failures=9) == 60

    def test_later_where_a_longer_pause_was_asked_for(self) -> None:
        assert seconds(retry_after=90.0) == 90

    def test_not_where_somebody_may_have_seen_a_password(self) -> None:
        assert seconds(password_sent=True) is None

    def test_not_what_can_wait_or_needs_somebody_nor_while_a_person_or_other_messages_wait(self) -> None:
        for outcome in set(Outcome) - {Outcome.FAILED}:
            assert seconds(outcome=outcome, access_token_expires_at=None) is None
        for trigger in set(Trigger) - {Trigger.TIMER}:
            assert seconds(trigger=trigger) is None

    def test_not_where_there_never_was_a_token_nor_beyond_a_day(self) -> None:
        """Of a vault that cannot be read, nothing is known."""
        assert seconds(working=False, access_token_expires_at=None) is None
        assert seconds(working=None, access_token_expires_at=None) == 60
        assert seconds(NOON + 24 * HOUR - SECOND, working=False) == 60
        assert seconds(NOON + 24 * HOUR, working=False) is None

    @pytest.mark.parametrize(("trigger", "longest"), [(Trigger.TIMER, 3600), (Trigger.CLI, 22), (Trigger.QUEUE, 22)])
    def test_a_second_after_the_end_of_a_token_that_came_again(self, trigger: Trigger, longest: int) -> None:
        """A password too: it was accepted."""
        same: dict[str, object] = {"outcome": Outcome.UNCHANGED, "trigger": trigger, "password_sent": True}
        assert seconds(NOON - (longest - 1) * SECOND, **same) == longest
        assert seconds(NOON + HOUR, **same) == 0
        assert (seconds(NOON - longest * SECOND, **same) is None) is (trigger is not Trigger.TIMER)


class Away:
    """Weather: the instance behaves so for a while, then as ever."""

    def __init__(self, sandbox: DirectSandbox, action: Action, lasts: timedelta) -> None:
        self.clock, self.action, self.ends = sandbox.clock, action, sandbox.clock.now() + lasts
        self.once: Callable[[], None] | None = None
        sandbox.weather = self

    def find(self, service: str, _: Request) -> Action | None:
        """What happens to a request."""
        if service != "instance":
            return None
        if self.once is not None:
            once, self.once = self.once, None
            once()
        return self.action if self.clock.now() < self.ends else None


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
        "action",
        thinned([Refuse(), Stall(), Respond(503), Respond(200, {"Content-Type": "text/html"}, HIBERNATING)], 3),
    )
    @pytest.mark.parametrize("lasts", thinned([timedelta(seconds=50), timedelta(seconds=100), timedelta(seconds=170)]))
    def test_the_token_is_there_within_little_more_than_a_minute_of_the_end(
        self, action: Action, lasts: timedelta
    ) -> None:
        sandbox, app = with_ended_token()
        away = Away(sandbox, action, lasts)
        report = tick(app)
        assert report.outcome is Outcome.REFRESHED
        secret = sandbox.vault.get(TOKEN)
        assert secret is not None
        assert sandbox.instance.is_living_access_token(secret.value)
        assert sandbox.clock.now() - away.ends < timedelta(seconds=65)

    def test_a_longer_outage_is_left_to_the_next_tick_in_time(self) -> None:
        sandbox, app = with_ended_token()
        Away(sandbox, Stall(), HOUR)
        began = sandbox.clock.now()
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.INSTANCE_TIMEOUT)
        assert sandbox.clock.now() - began < app.settings.tick_deadline

    @pytest.mark.parametrize(
        ("action", "least", "most"),
        [
            (Respond(503), 9, 16),
            (Respond(401, {"Content-Type": "application/json"}, GENERIC_REFUSAL), 4, 6),
            (Throttle(), 5, 7),
        ],
    )
    def test_failures_and_refusals_count_once(self, action: Action, least: int, most: int) -> None:
        """A refresh token that is refused in two ticks is condemned, however often each of them asked.

        Who said no a minute ago is asked once more, and no oftener: rate limits and locks count.
        """
        sandbox, app = with_ended_token()
        Away(sandbox, action, HOUR)
        report = tick(app)
        assert (report.outcome, report.consecutive_failures) == (Outcome.FAILED, 1)
        assert least <= sandbox.log.count(path="/oauth_token.do") <= most
        record = sandbox.vault.get("servicenow-refresh-record")
        assert record is not None
        assert record.tags.get("refresh-token-refusals", "1") == "1"

    def test_what_is_refused_for_a_day_is_asked_for_twice_a_tick_from_the_second_on(self) -> None:
        """A client that asks a hundred times an hour is locked, or throttled; one that may pass is still found."""
        sandbox, app = direct({"SERVICENOW_GRANT": "client_credentials"}, refresh_token=False)
        assert tick(app).outcome is Outcome.REFRESHED
        sandbox.clock.advance(HOUR)
        Away(sandbox, Respond(401, {"Content-Type": "application/json"}, GENERIC_REFUSAL), 24 * HOUR)
        asked = []
        for _ in range(12):
            began = sandbox.clock.now()
            sandbox.log.clear()
            assert tick(app).outcome is Outcome.FAILED
            asked.append(sandbox.log.count(path="/oauth_token.do"))
            sandbox.clock.advance(5 * MINUTE - (sandbox.clock.now() - began))
        assert asked[0] <= 6
        assert max(asked[1:]) <= 2, asked
        assert asked[-1] == 1
        Away(sandbox, Respond(503), 60 * SECOND)
        assert tick(app).outcome is Outcome.REFRESHED

    def test_a_vault_that_is_away_is_asked_again(self) -> None:
        sandbox, app = with_ended_token()
        sandbox.faults.add(Fault(service="vault", times=12, action=Respond(503)))
        assert tick(app).outcome is Outcome.REFRESHED

    def test_what_comes_back_throttled_is_asked_again(self) -> None:
        sandbox, app = with_ended_token()
        Away(sandbox, Throttle(70.0), 100 * SECOND)
        assert tick(app).outcome is Outcome.REFRESHED

    @pytest.mark.parametrize("trigger", thinned([Trigger.HTTP, Trigger.CLI, Trigger.QUEUE]))
    def test_who_asks_by_hand_gets_the_answer_at_once(self, trigger: Trigger) -> None:
        sandbox, app = with_ended_token()
        Away(sandbox, Respond(503), HOUR)
        began = sandbox.clock.now()
        (report,) = app.tick(RunRequest(trigger=trigger))
        assert report.outcome is Outcome.FAILED
        assert sandbox.clock.now() - began < MINUTE

    def test_no_password_is_sent_again_that_somebody_may_have_seen(self) -> None:
        sandbox, app = direct({"SERVICENOW_GRANT": "password"}, refresh_token=False, username=True)
        tick(app)
        sandbox.clock.advance(HOUR)
        sandbox.log.clear()
        Away(sandbox, Respond(503, effect=True), HOUR)
        assert tick(app).outcome is Outcome.FAILED
        sent = [each.grant_type for each in sandbox.log.select(path="/oauth_token.do")]
        assert sent.count("password") == 1, "the refresh token that it brought is tried as well"

    def test_a_password_that_was_never_sent_is_sent_when_the_instance_is_back(self) -> None:
        sandbox, app = direct({"SERVICENOW_GRANT": "password"}, refresh_token=False, username=True)
        tick(app)
        sandbox.clock.advance(HOUR)
        Away(sandbox, Refuse(), MINUTE)
        assert tick(app).outcome is Outcome.REFRESHED

    @pytest.mark.parametrize(
        ("schedule", "action", "longest"),
        thinned(
            [
                ("0 */1 * * * *", Respond(503), 0),
                ("0 */2 * * * *", Respond(503), 0),
                ("0 */3 * * * *", Respond(503), 120),
                ("0 */3 * * * *", Stall(), 45),
            ]
        ),
    )
    def test_it_does_not_wait_into_the_next_tick(self, schedule: str, action: Action, longest: int) -> None:
        """Nor for what would have no time."""
        sandbox, app = with_ended_token(REFRESH_SCHEDULE=schedule)
        Away(sandbox, action, HOUR)
        began = sandbox.clock.now()
        tick(app)
        assert sandbox.clock.now() - began < (longest + 10) * SECOND

    def test_a_clock_that_is_put_back_makes_it_no_longer(self) -> None:
        sandbox, app = with_ended_token()
        away = Away(sandbox, Respond(503), 2 * HOUR)
        began = sandbox.clock.monotonic()
        away.once = lambda: sandbox.clock.advance(-HOUR)
        tick(app)
        assert sandbox.clock.monotonic() - began < 240


class TestSameToken:
    """ServiceNow returns the stored token until it ends, and a new one only then."""

    @pytest.mark.parametrize("before_its_end", thinned([timedelta(seconds=3), MINUTE, 3 * MINUTE]))
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

    def test_an_instance_that_always_says_that_it_ends_in_a_second_is_not_asked_each_second(self) -> None:
        sandbox, app = direct()
        tick(app)
        secret = sandbox.vault.get(TOKEN)
        assert secret is not None
        body = json.dumps({"access_token": secret.value, "expires_in": 1, "token_type": "Bearer"}).encode()
        again = Respond(200, {"Content-Type": "application/json"}, body)
        sandbox.faults.add(Fault(path="/oauth_token.do", times=None, action=again))
        sandbox.clock.advance(58 * MINUTE)
        sandbox.log.clear()
        tick(app)
        assert 2 <= len(sandbox.log.select(path="/oauth_token.do")) <= 6

    def test_the_end_that_is_too_far_away_is_the_next_ticks(self) -> None:
        sandbox, app = direct(personality=Personality(same_token=True))
        tick(app)
        sandbox.clock.advance(55 * MINUTE)
        began = sandbox.clock.now()
        assert tick(app).outcome is Outcome.UNCHANGED
        assert sandbox.clock.now() - began < 5 * SECOND

    @pytest.mark.parametrize("trigger", thinned([Trigger.HTTP, Trigger.CLI, Trigger.QUEUE]))
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

    @pytest.mark.exhaustive
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
    """Many connections: nobody waits for another's instance."""

    def test_the_others_are_refreshed_before_anybody_waits(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        """One instance of two does not listen at all; the other comes back within the tries of the first run."""
        app, _ = three(sandbox, make_app)
        sandbox.clock.advance(timedelta(minutes=56))
        began = sandbox.clock.now()
        reports = app.tick(RunRequest(trigger=Trigger.TIMER))
        assert [(each.connection, each.outcome) for each in reports] == [
            ("a", Outcome.REFRESHED),
            ("b", Outcome.REFRESHED),
            ("gone", Outcome.FAILED),
        ]
        assert sandbox.clock.now() - began > timedelta(minutes=3), "it did wait"
        token = sandbox.vault.get("a-oauth-token")
        assert token is not None
        assert token.created_on - began < MINUTE
        assert len(sandbox.vault.versions("a-oauth-token")) == 2, "it did not run again"


def copy_token(sandbox: Sandbox, source: str, copy: str) -> None:
    """Give a connection the token of another."""
    secret = sandbox.vault.get(source)
    assert secret is not None
    sandbox.vault.put(copy, secret.value)
    copied = sandbox.vault.get(copy)
    assert copied is not None
    copied.tags, copied.expires_on = dict(secret.tags), secret.expires_on
