"""One refresher per connection: overlapping runs, a holder that was killed, a lease service that is down."""

import json
import os
import threading
import time
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

import pytest

from refresher.lease.file import LOCK_DIRECTORY, FileLease
from refresher.model.causes import Cause
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger, WarningCode
from refresher.web import refresh_reply
from sandbox import Fault, Sandbox, SandboxClock
from sandbox.faults import Drop, Interrupt, Respond
from sandbox.personality import PERSONALITIES
from sandbox.trial.host import product_clock
from tests.conftest import MakeApp, tick
from tests.doors.test_commands import run
from tests.names import TARGET, TOKEN, TOKEN_ENDPOINT
from tests.rounds import until_released
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

INTERVAL = timedelta(minutes=50)


@pytest.fixture(params=["file", "blob"])
def lease_settings(request: pytest.FixtureRequest, sandbox: Sandbox) -> dict[str, str]:
    """Settings for each kind of lease."""
    return {"LEASE_CONTAINER_URL": sandbox.leases.url} if request.param == "blob" else {}


@pytest.fixture
def blob(sandbox: Sandbox) -> dict[str, str]:
    """Settings for a blob lease."""
    return {"LEASE_CONTAINER_URL": sandbox.leases.url}


def test_two_runs_at_once_make_one_token_request(
    sandbox: Sandbox, make_app: MakeApp, lease_settings: dict[str, str]
) -> None:
    """The second, started while the first asks ServiceNow, leaves: busy, with a time to come back."""
    sandbox.add_connection()
    first, second = make_app(**lease_settings), make_app(**lease_settings)
    seen: list[RunReport] = []
    overlap = Interrupt(lambda: seen.append(tick(second)))
    sandbox.faults.add(Fault(service="instance", path=TOKEN_ENDPOINT, action=overlap))
    assert tick(first).outcome is Outcome.REFRESHED
    (busy,) = seen
    assert (busy.outcome, busy.cause) == (Outcome.BUSY, Cause.LEASE_HELD)
    assert busy.retry_after is not None
    assert sandbox.log.count(path=TOKEN_ENDPOINT) == 1


def test_due_is_checked_again_once_the_lease_is_held(
    sandbox: Sandbox, make_app: MakeApp, lease_settings: dict[str, str]
) -> None:
    """A run that was overtaken between its first look and the lease finds a fresh token, and asks for none."""
    sandbox.add_connection()
    first, second = make_app(**lease_settings), make_app(**lease_settings)
    tick(first)
    sandbox.clock.advance(INTERVAL)
    sandbox.log.clear()
    # The third read of a run's first round is its last: the other run goes in between it and the lease.
    overtake = Interrupt(lambda: tick(second), before=False)
    sandbox.faults.add(Fault(service="vault", path="/secrets/servicenow-refresh-record", action=overtake))
    assert tick(first).outcome is Outcome.NOT_DUE
    assert sandbox.log.count(path=TOKEN_ENDPOINT) == 1


def test_a_busy_run_answers_409_with_a_time_to_come_back(
    sandbox: Sandbox, make_app: MakeApp, lease_settings: dict[str, str]
) -> None:
    """As problem details, with the cause."""
    sandbox.add_connection()
    first, second = make_app(**lease_settings), make_app(**lease_settings)
    seen: list[RunReport] = []
    request = RunRequest(trigger=Trigger.HTTP, force=True)
    overlap = Interrupt(lambda: seen.extend(second.refresh(["servicenow"], request)))
    sandbox.faults.add(Fault(service="instance", path=TOKEN_ENDPOINT, action=overlap))
    tick(first)
    reply = refresh_reply(seen, sandbox.clock.now())
    assert reply.status == 409
    assert int(reply.headers["Retry-After"]) >= 1
    body = json.loads(reply.body)
    assert (body["status"], body["cause"], body["connection"]) == (409, "lease_held", "servicenow")


def test_a_held_lease_is_looked_at_and_not_tried_for(
    sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str]
) -> None:
    """Programs that wait cause no flood of conflicts."""
    sandbox.add_connection()
    first, second = make_app(**blob), make_app(**blob)
    for _ in range(3):
        overlap = Interrupt(lambda: tick(second))
        sandbox.faults.add(Fault(service="instance", path=TOKEN_ENDPOINT, action=overlap))
    assert tick(first).outcome is Outcome.REFRESHED
    assert sandbox.log.count(service="leases", status=409) == 0


def test_a_lease_outlasts_a_run_and_ends_by_itself(sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str]) -> None:
    """60 seconds against 45 and ten: a killed holder costs the next minute, not the next tick."""
    sandbox.add_connection()
    killed, next_one = make_app(**blob), make_app(**blob)
    # As after a kill: the lease is never released.
    sandbox.faults.add(Fault(service="leases", method="PUT", after=3, times=None, action=Drop()))
    tick(killed)
    sandbox.faults.clear()
    assert sandbox.leases.is_leased("servicenow")
    sandbox.clock.advance(timedelta(seconds=55))
    assert sandbox.leases.is_leased("servicenow")
    sandbox.clock.advance(timedelta(seconds=5))
    assert not sandbox.leases.is_leased("servicenow")
    sandbox.clock.advance(INTERVAL)
    assert tick(next_one).outcome is Outcome.REFRESHED


def test_it_is_released_at_the_end(sandbox: Sandbox, make_app: MakeApp, lease_settings: dict[str, str]) -> None:
    """The next run need not wait, whether the one before succeeded or failed."""
    sandbox.add_connection()
    app = make_app(**lease_settings)
    sandbox.faults.add(Fault(path=TOKEN_ENDPOINT, times=None, action=Respond(404, {}, b"")))
    assert tick(app).outcome is Outcome.FAILED
    sandbox.faults.clear()
    assert tick(app).outcome is Outcome.REFRESHED
    assert tick(app, force=True).outcome is Outcome.REFRESHED


@pytest.mark.wire("https")
def test_the_report_does_not_wait_for_the_release_and_the_next_run_does(
    sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str]
) -> None:
    sandbox.add_connection()
    app, reported = make_app(**blob), threading.Event()
    late = Interrupt(do=lambda: reported.wait(60))
    sandbox.faults.add(Fault(service="leases", method="PUT", after=3, action=late))
    assert tick(app).outcome is Outcome.REFRESHED
    assert sandbox.leases.is_leased("servicenow")
    reported.set()
    assert tick(app, force=True).outcome is Outcome.REFRESHED


def test_a_command_ends_when_its_lease_is_released() -> None:
    """So that the next one is not kept out."""
    with Sandbox(clock=SandboxClock(datetime.now(UTC), flowing=True), latency=0.05) as sandbox:
        sandbox.add_connection()
        for _ in range(2):
            done = run(sandbox, "refresh", "servicenow", "--force", LEASE_CONTAINER_URL=sandbox.leases.url)
            assert done.returncode == 0
            assert not sandbox.leases.is_leased("servicenow")


@pytest.mark.wire("https")
@pytest.mark.parametrize("personality", thinned(["default", "rotating", "same_token"], 3))
@pytest.mark.parametrize("note", ["late", "refused"])
def test_the_vault_is_written_to_after_the_note_and_a_run_without_one_keeps_the_lease(
    sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str], personality: str, note: str
) -> None:
    """The note is what tells others that the vault has changed."""
    sandbox.instance.personality = PERSONALITIES[personality]
    sandbox.add_connection()
    app = make_app(**blob)
    tick(app)
    until_released(sandbox)
    sandbox.clock.advance(INTERVAL)
    sandbox.log.clear()
    action = Respond(503, {}, b"") if note == "refused" else Interrupt(do=lambda: time.sleep(0.3))
    sandbox.faults.add(Fault(service="leases", method="PUT", after=1, times=2, action=action))
    assert tick(app).working
    changes = [each for each in sandbox.log if each.method in {"PUT", "PATCH"}]
    # The release of the first run's lease may be written down after it has happened.
    acquired = next(index for index, each in enumerate(changes) if each.status == HTTPStatus.CREATED)
    first = next(index for index, each in enumerate(changes) if each.service.startswith("vault"))
    # The lease, and then the note.
    assert [each.status for each in changes[acquired:first]] == ([201, 200] if note == "late" else [201, 503, 503])
    assert sandbox.leases.is_leased("servicenow") or note == "late"


class TestALeaseServiceThatIsDown:
    """With a token that does not rotate an overlap is harmless; an outage is not."""

    def test_what_is_not_urgent_waits(self, sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str]) -> None:
        """The old token lives for ten more minutes; ServiceNow is asked for no other."""
        sandbox.add_connection()
        app = make_app(**blob)
        tick(app)
        sandbox.clock.advance(INTERVAL)
        sandbox.log.clear()
        sandbox.faults.add(Fault(service="leases", times=None, action=Respond(503, {}, b"")))
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.KEPT, Cause.LEASE_UNAVAILABLE)
        assert report.hint
        assert sandbox.log.count(path=TOKEN_ENDPOINT) == 0

    @pytest.mark.parametrize("status", thinned([503, 403]))
    def test_what_is_urgent_goes_ahead_and_says_so(
        self, sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str], status: int
    ) -> None:
        """The old token would end before the next tick."""
        sandbox.add_connection()
        app = make_app(**blob)
        tick(app)
        sandbox.clock.advance(timedelta(minutes=55))
        sandbox.faults.add(Fault(service="leases", times=None, action=Respond(status, {}, b"")))
        report = tick(app)
        assert report.outcome is Outcome.REFRESHED
        assert WarningCode.LEASE_UNAVAILABLE in [warning.code for warning in report.warnings]

    def test_what_a_person_forces_goes_ahead(self, sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str]) -> None:
        sandbox.add_connection()
        app = make_app(**blob)
        tick(app)
        sandbox.clock.advance(timedelta(minutes=6))
        sandbox.faults.add(Fault(service="leases", times=None, action=Respond(503, {}, b"")))
        report = tick(app, force=True)
        assert report.outcome is Outcome.REFRESHED
        assert WarningCode.LEASE_UNAVAILABLE in [warning.code for warning in report.warnings]

    @pytest.mark.parametrize("status", [404, 409])
    @pytest.mark.parametrize("code", ["ContainerBeingDeleted", "AccountBeingCreated", None])
    def test_a_refusal_to_take_anything_is_no_lease_of_somebody_else(
        self, sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str], status: int, code: str | None
    ) -> None:
        sandbox.add_connection()
        app = make_app(**blob)
        tick(app)
        sandbox.clock.advance(INTERVAL)
        headers = {"x-ms-request-id": "1", "x-ms-error-code": code} if code else {}
        sandbox.faults.add(Fault(service="leases", method="PUT", times=None, action=Respond(status, headers, b"")))
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.KEPT, Cause.LEASE_UNAVAILABLE)

    def test_the_release_failing_costs_nothing(
        self, sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str]
    ) -> None:
        """It runs out by itself."""
        sandbox.add_connection()
        app = make_app(**blob)
        sandbox.faults.add(Fault(service="leases", method="PUT", after=3, times=None, action=Respond(500, {}, b"")))
        assert tick(app).outcome is Outcome.REFRESHED


def test_the_commands_say_since_when_another_run_is_under_way() -> None:
    """`refresh` exits 4; `tick` leaves quietly; both leave the holder alone."""
    with Sandbox(clock=SandboxClock(datetime.now(UTC), flowing=True)) as sandbox:
        sandbox.add_connection()
        settings = {"LEASE_CONTAINER_URL": sandbox.leases.url}
        ended: list[tuple[int, str, str]] = []

        def while_it_is_held() -> None:
            for command in (["refresh", "servicenow", "--force"], ["tick"]):
                done = run(sandbox, *command, **settings)
                ended.append((done.returncode, done.stdout, done.stderr))

        sandbox.faults.add(Fault(service="instance", path=TOKEN_ENDPOINT, action=Interrupt(while_it_is_held)))
        assert run(sandbox, "tick", **settings).returncode == 0
        (refresh_code, refresh_out, _), (tick_code, tick_out, _) = ended
        assert (refresh_code, tick_code) == (4, 0)
        assert "servicenow: busy" in refresh_out
        assert "since" in refresh_out
        assert "busy" in tick_out
        assert sandbox.log.count(path=TOKEN_ENDPOINT) == 1


class TestALeaseThatIsHeldWithoutEnd:
    """Held in two ticks running, or for ever: a failure, with who holds it and the way out."""

    def test_for_ever_is_said_at_once(self, sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str]) -> None:
        sandbox.add_connection()
        app = make_app(**blob)
        tick(app)
        sandbox.clock.advance(INTERVAL)
        sandbox.leases.hold("servicenow", None)
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.KEPT, Cause.LEASE_STUCK)
        assert "az storage blob lease break" in (report.hint or "")
        sandbox.clock.advance(timedelta(minutes=10))
        assert tick(app).outcome is Outcome.FAILED

    def test_by_something_that_renews_it_in_two_ticks_running(
        self, sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str]
    ) -> None:
        sandbox.add_connection()
        app = make_app(**blob)
        tick(app)
        sandbox.clock.advance(INTERVAL)
        outcomes = []
        for _ in range(2):
            sandbox.leases.hold("servicenow", timedelta(minutes=1))
            outcomes.append(tick(app).outcome)
            sandbox.clock.advance(timedelta(minutes=5))
        assert outcomes == [Outcome.BUSY, Outcome.FAILED]

    def test_where_nobody_has_a_token_it_is_no_quiet_news(
        self, sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str], caplog: pytest.LogCaptureFixture
    ) -> None:
        sandbox.add_connection()
        app = make_app(**blob)
        sandbox.leases.hold("servicenow", timedelta(minutes=1))
        assert tick(app).outcome is Outcome.BUSY
        assert [record.levelname for record in caplog.records if '"busy"' in record.message] == ["WARNING"]

    def test_its_holder_is_given_time_to_say_who_it_is(
        self, sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str]
    ) -> None:
        """Nobody ran overnight, and then two at once: the other has the lease, and its note is under way."""
        sandbox.add_connection()
        tick(make_app())
        sandbox.clock.advance(timedelta(hours=8))
        now, minute = sandbox.clock.now().isoformat(timespec="seconds"), timedelta(minutes=1)
        sandbox.leases.hold("servicenow", minute)
        note = Interrupt(lambda: sandbox.leases.hold("servicenow", minute, since=now))
        sandbox.faults.add(Fault(service="leases", method="HEAD", after=1, action=note))
        assert tick(make_app(**blob)).outcome is Outcome.BUSY

    def test_by_a_process_that_was_stopped(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        """It keeps the file's lock, and the file tells who it is and since when."""
        sandbox.add_connection()
        app = make_app()
        tick(app)
        sandbox.clock.advance(INTERVAL)
        outcomes = []
        with FileLease(LOCK_DIRECTORY, product_clock(sandbox.clock), sandbox.vault.url).acquire("servicenow", int):
            for _ in range(2):
                outcomes.append(tick(app).outcome)
                sandbox.clock.advance(timedelta(minutes=5))
            report = tick(app)
        assert outcomes == [Outcome.BUSY, Outcome.FAILED]
        assert f"by process {os.getpid()}" in report.message
        assert "kill" in (report.hint or "")


def test_a_copy_that_is_gone_needs_no_lease(sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str]) -> None:
    """To write the same token once more hurts nobody."""
    sandbox.add_connection()
    app = make_app(**blob)
    tick(app)
    sandbox.vault.delete(TARGET)
    sandbox.faults.add(Fault(service="leases", times=None, action=Respond(503, {}, b"")))
    assert tick(app).outcome is Outcome.PUBLISHED
    copy, token = sandbox.vault.get(TARGET), sandbox.vault.get(TOKEN)
    assert copy is not None
    assert token is not None
    assert copy.value == token.value


def test_and_what_another_run_published_meanwhile_is_put_right(
    sandbox: Sandbox, make_app: MakeApp, blob: dict[str, str]
) -> None:
    sandbox.add_connection()
    app, other = make_app(**blob), make_app()
    tick(app)
    sandbox.vault.delete(TARGET)
    sandbox.faults.add(Fault(service="leases", times=None, action=Respond(503, {}, b"")))
    overtaken = Interrupt(lambda: tick(other, force=True))
    sandbox.faults.add(Fault(service="vault", method="PUT", path=f"/secrets/{TARGET}", action=overtaken))
    tick(app)
    copy, token = sandbox.vault.get(TARGET), sandbox.vault.get(TOKEN)
    assert copy is not None
    assert token is not None
    assert copy.value == token.value
