"""The habits of real instances, one personality each: what is published, what is kept, what is said."""

from datetime import timedelta

import pytest

from refresher.cli.exit_codes import tick_exit_code
from refresher.model.causes import Cause
from refresher.model.moments import format_instant
from refresher.model.report import Outcome, WarningCode
from refresher.policy.due import Reason
from refresher.status.connection_status import State
from sandbox import PERSONALITIES, Fault, Personality, Sandbox
from sandbox.faults import Garbage, Respond, Throttle, Truncate
from tests.conftest import MakeApp, tick
from tests.names import TARGET, TOKEN
from tests.sampling import sampled, thinned

pytestmark = pytest.mark.wire("any")


REFUSED = {
    "hibernating": Cause.INSTANCE_HIBERNATING,
    "login_page": Cause.NOT_A_TOKEN,
    "queue_overflow": Cause.NOT_A_TOKEN,
    "redirect": Cause.NOT_A_TOKEN,
    "malformed": Cause.NOT_A_TOKEN,
    "oversized": Cause.NOT_A_TOKEN,
    "empty_token": Cause.NOT_A_TOKEN,
}
AHEAD = {"issued-at": 2, "expires-at": 3}
ACCEPTED = sorted(set(PERSONALITIES) - set(REFUSED) - {"guest"})


@pytest.mark.parametrize("name", sampled(ACCEPTED, ["rotating"]))
def test_hours_with_an_instance_that_issues_tokens(sandbox: Sandbox, make_app: MakeApp, name: str) -> None:
    """At every tick of five hours, and just before the next, the consumer's token is one that the instance accepts."""
    sandbox.instance.personality = PERSONALITIES[name]
    sandbox.add_connection(username=True)
    app = make_app(SERVICENOW_FALLBACK_GRANT="password")
    ends_early = name == "same_token"
    for number in range(60):
        tick(app)
        held = sandbox.vault.get(TARGET)
        assert held is not None
        assert sandbox.instance.is_living_access_token(held.value), f"tick {number}"
        sandbox.clock.advance(timedelta(minutes=4, seconds=57))
        still_alive = sandbox.instance.is_living_access_token(held.value)
        assert still_alive or ends_early, f"before tick {number + 1}"
        sandbox.clock.advance(timedelta(seconds=3))


@pytest.mark.parametrize(("name", "cause"), thinned(REFUSED.items(), 3))
def test_what_is_not_a_token_is_never_published(sandbox: Sandbox, make_app: MakeApp, name: str, cause: Cause) -> None:
    sandbox.add_connection("servicenow")
    app = make_app()
    tick(app)
    before = sandbox.vault.get(TOKEN)
    sandbox.clock.advance(timedelta(minutes=50))
    sandbox.instance.personality = PERSONALITIES[name]
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.KEPT, cause)
    assert report.hint
    assert sandbox.vault.get(TOKEN) == before
    sandbox.instance.personality = Personality()
    assert tick(app).outcome is Outcome.REFRESHED


@pytest.mark.parametrize(
    ("status", "outcome"), thinned([(200, Outcome.REFRESHED), (403, Outcome.REFRESHED), (404, Outcome.REFRESHED)])
)
def test_a_token_that_the_probe_accepts_is_published(
    sandbox: Sandbox, make_app: MakeApp, status: int, outcome: Outcome
) -> None:
    sandbox.add_connection("servicenow")
    sandbox.instance.personality = Personality(probe_status=status)
    report = tick(make_app())
    assert report.outcome is outcome
    assert WarningCode.PROBE_INCONCLUSIVE not in {warning.code for warning in report.warnings}


@pytest.mark.parametrize("status", [429, 500, 503])
def test_a_token_that_the_probe_cannot_judge_is_published_and_said(
    sandbox: Sandbox, make_app: MakeApp, status: int
) -> None:
    sandbox.add_connection("servicenow")
    sandbox.instance.personality = Personality(probe_status=status)
    report = tick(make_app())
    assert report.outcome is Outcome.REFRESHED
    assert WarningCode.PROBE_INCONCLUSIVE in {warning.code for warning in report.warnings}


def test_a_token_that_the_probe_rejects_is_not_published(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection("servicenow")
    app = make_app()
    tick(app)
    before = sandbox.vault.get(TOKEN)
    sandbox.clock.advance(timedelta(minutes=50))
    sandbox.faults.add(Fault(path="/api/now/table/sys_user", times=None, action=Respond(401, {}, b"")))
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.TOKEN_REJECTED)
    assert report.working is False  # the probe refuses the stored one as well
    assert sandbox.vault.get(TOKEN) == before


def test_without_a_probe_path_nothing_is_probed(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection("servicenow")
    assert tick(make_app(PROBE_PATH="")).outcome is Outcome.REFRESHED
    assert sandbox.log.count(service="instance") == 1


def test_the_answer_of_another_probe_path_names_nobody(sandbox: Sandbox, make_app: MakeApp) -> None:
    """A list of users may begin with guest; the token acts as somebody else."""
    sandbox.add_connection("servicenow")
    answer = Respond(200, {"Content-Type": "application/json"}, b'{"result": [{"user_name": "guest"}]}')
    sandbox.faults.add(Fault(path="/api/now/table/sys_user", action=answer))
    report = tick(make_app(PROBE_PATH="/api/now/table/sys_user?sysparm_limit=1"))
    assert (report.outcome, report.user_name) == (Outcome.REFRESHED, None)


@pytest.mark.parametrize(
    ("name", "attempts", "seconds"),
    thinned(
        [
            ("throttled", 3, 0),
            ("throttled_for_seconds", 3, 14),
            ("throttled_until_a_date", 3, 14),
            ("dropped_connections", 3, 0),
            ("transient_401", 3, 0),
            # Seconds that nobody waits for: without sockets they would use up the client's patience.
            pytest.param("slow", 1, 20, marks=pytest.mark.wire("https")),
        ],
        3,
    ),
)
def test_a_hard_start_is_got_over_in_one_run(
    sandbox: Sandbox, make_app: MakeApp, name: str, attempts: int, seconds: int
) -> None:
    sandbox.instance.personality = PERSONALITIES[name]
    sandbox.add_connection("servicenow")
    began = sandbox.clock.now()
    report = tick(make_app())
    assert (report.outcome, report.attempts) == (Outcome.REFRESHED, attempts)
    assert timedelta(seconds=seconds) <= sandbox.clock.now() - began <= timedelta(seconds=seconds + 5)


@pytest.mark.parametrize("as_date", thinned([False, True]))
def test_retry_after_is_honoured_in_both_forms(sandbox: Sandbox, make_app: MakeApp, *, as_date: bool) -> None:
    sandbox.add_connection("servicenow")
    began = sandbox.clock.now()
    wait = began + timedelta(seconds=20) if as_date else 20.0
    sandbox.faults.add(Fault(path="/oauth_token.do", action=Throttle(wait)))
    assert tick(make_app()).outcome is Outcome.REFRESHED
    assert sandbox.clock.now() - began >= timedelta(seconds=20)


def test_a_retry_after_beyond_the_deadline_is_not_waited_for(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection("servicenow")
    began = sandbox.clock.now()
    sandbox.faults.add(Fault(path="/oauth_token.do", times=None, action=Throttle(3600)))
    report = tick(make_app())
    assert (report.cause, report.attempts) == (Cause.INSTANCE_THROTTLED, 1)
    assert sandbox.clock.now() == began


@pytest.mark.parametrize(
    "action", thinned([Truncate(), Garbage(b"\xff\x00CANARY-garbage"), Garbage(b'["CANARY-list"]')])
)
def test_a_broken_answer_is_asked_for_again(sandbox: Sandbox, make_app: MakeApp, action: Truncate | Garbage) -> None:
    sandbox.add_connection("servicenow")
    sandbox.faults.add(Fault(path="/oauth_token.do", action=action))
    app = make_app()
    reports = [tick(app), tick(app)]
    assert Outcome.REFRESHED in {report.outcome for report in reports}


class TestSameToken:
    """An instance that answers with the stored token until it ends."""

    def test_is_said_once_and_not_asked_in_a_hot_loop(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.instance.personality = PERSONALITIES["same_token"]
        sandbox.add_connection("servicenow")
        app = make_app()
        tick(app)
        warned, asked = 0, 0
        for _ in range(11):
            sandbox.clock.advance(timedelta(minutes=5))
            report = tick(app)
            asked += report.attempts
            warned += any(warning.code is WarningCode.UNCHANGED for warning in report.warnings)
            assert report.outcome in {Outcome.NOT_DUE, Outcome.UNCHANGED}
        assert warned == 1
        assert asked <= 3
        assert len(sandbox.vault.versions(TOKEN)) == 1

    def test_that_ends_within_the_tick_is_waited_for(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.instance.personality = PERSONALITIES["same_token"]
        sandbox.add_connection("servicenow")
        app = make_app()
        tick(app)
        sandbox.clock.advance(timedelta(minutes=59, seconds=50))
        report = tick(app)
        assert report.outcome is Outcome.REFRESHED
        assert len(sandbox.vault.versions(TOKEN)) == 2

    def test_with_a_later_end_counts_as_refreshed(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.instance.personality = PERSONALITIES["same_token_extended"]
        sandbox.add_connection("servicenow")
        app = make_app()
        tick(app)
        sandbox.clock.advance(timedelta(minutes=50))
        assert tick(app).outcome is Outcome.REFRESHED
        assert len(sandbox.vault.versions(TOKEN)) == 1
        sandbox.clock.advance(timedelta(minutes=5))
        assert tick(app).outcome is Outcome.NOT_DUE


class TestWhatWasJustIssued:
    """It is published, whatever the dates of the stored token say."""

    @pytest.mark.parametrize("probe_path", thinned(["/api/now/table/sys_user", ""]))
    def test_a_token_that_ends_sooner_replaces_one_that_ends_later(
        self, sandbox: Sandbox, make_app: MakeApp, probe_path: str
    ) -> None:
        """Known to live, it is worth more than dates: after a revocation they cost seven hours."""
        sandbox.instance.personality = PERSONALITIES["eight_hours"]
        sandbox.add_connection("servicenow")
        app = make_app(PROBE_PATH=probe_path)
        tick(app)
        before = sandbox.vault.get(TOKEN)
        assert before is not None
        sandbox.instance.kill_access_token(before.value)
        sandbox.instance.personality = PERSONALITIES["thirty_minutes"]
        report = tick(app, force=True)
        after = sandbox.vault.get(TOKEN)
        assert after is not None
        assert after.value != before.value
        assert (report.outcome, report.access_token_expires_at) == (
            Outcome.REFRESHED,
            sandbox.instance.access_token_ends_at(after.value),
        )

    def test_dates_of_a_clock_that_was_ahead_keep_nothing_from_it(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        """Whatever it says, it ends within the hour."""
        sandbox.add_connection("servicenow")
        app = make_app()
        sandbox.clock.advance(timedelta(hours=2))
        tick(app)
        sandbox.clock.advance(timedelta(hours=-1, minutes=-50))
        report = tick(app)
        assert (report.outcome, report.reason) == (Outcome.REFRESHED, Reason.CLOCK_SKEW)
        assert report.access_token_expires_at == sandbox.clock.now() + timedelta(seconds=3599)

    def test_and_the_same_token_with_such_dates_is_not_asked_for_in_a_hot_loop(
        self, sandbox: Sandbox, make_app: MakeApp
    ) -> None:
        sandbox.instance.personality = PERSONALITIES["same_token"]
        sandbox.add_connection("servicenow")
        app = make_app()
        tick(app)
        held = sandbox.vault.get(TOKEN)
        assert held is not None
        ahead = {name: format_instant(sandbox.clock.now() + timedelta(hours=h)) for name, h in AHEAD.items()}
        sandbox.vault.put(TOKEN, held.value, tags=ahead, expires_on=sandbox.clock.now() + timedelta(hours=3))
        outcomes = [(report := tick(app)).reason, (report := tick(app)).reason]
        assert outcomes == [Reason.CLOCK_SKEW, Reason.FRESH]
        assert report.access_token_expires_at == sandbox.instance.access_token_ends_at(held.value)


class TestTargets:
    """Copies for consumers."""

    def test_one_that_is_ahead_of_the_main_secret_leads_to_a_refresh(
        self, sandbox: Sandbox, make_app: MakeApp
    ) -> None:
        sandbox.add_connection("servicenow")
        app = make_app()
        tick(app)
        sandbox.clock.advance(timedelta(minutes=20))
        sandbox.faults.add(
            Fault(service="vault", method="PUT", path=f"/secrets/{TARGET}", times=None, action=Respond(503, {}, b""))
        )
        tick(app, force=True)
        newest = sandbox.vault.versions(TOKEN)[-1]
        sandbox.faults.clear()
        # As if only the copy had been written: the main secret goes back to the older token.
        sandbox.vault.put(TARGET, newest.value, tags=newest.tags, expires_on=newest.expires_on)
        older = sandbox.vault.versions(TOKEN)[0]
        sandbox.vault.put(TOKEN, older.value, tags=older.tags, expires_on=older.expires_on)
        report = tick(app)
        assert (report.outcome, report.reason) == (Outcome.REFRESHED, Reason.TARGET_AHEAD)

    def test_one_that_cannot_be_written_is_said_and_written_later(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.add_connection("servicenow")
        sandbox.vault.deny("set", TARGET)
        app = make_app()
        report = tick(app)
        assert report.cause is Cause.PUBLISH_FAILED
        assert TARGET in report.message
        sandbox.vault.allow_all()
        sandbox.log.clear()
        assert tick(app).outcome is Outcome.PUBLISHED
        assert sandbox.log.count(service="instance") == 0
        (status,) = app.status()
        assert (status.state, status.cause, status.consecutive_failures) == (State.FRESH, None, 0)

    def test_one_that_cannot_be_written_has_no_working_token_while_the_connection_has(
        self, sandbox: Sandbox, make_app: MakeApp
    ) -> None:
        """Exit 1: the main secret works, and who reads the copy is without. Exit 0 while the old copy works."""
        sandbox.add_connection("servicenow")
        sandbox.vault.deny("set", TARGET)
        app = make_app()
        first, again = tick(app), tick(app)
        for report in (first, again):
            assert (report.outcome, report.working, tick_exit_code([report])) == (Outcome.FAILED, True, 1)
        sandbox.vault.allow_all()
        tick(app)
        sandbox.vault.deny("set", TARGET)
        sandbox.clock.advance(timedelta(minutes=50))
        kept = tick(app)
        assert (kept.outcome, kept.cause, tick_exit_code([kept])) == (Outcome.KEPT, Cause.PUBLISH_FAILED, 0)
        assert kept.access_token_expires_at == sandbox.clock.now() + timedelta(seconds=3599)
