"""A timer that is not loaded: what each door says, and where the mark of the last tick stands."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest

from refresher.app import App
from refresher.cli.main import main
from refresher.model.check import Verdict
from refresher.model.report import Outcome
from refresher.status.timer import TimerState
from refresher.views.examination import verdict
from sandbox import Sandbox, SandboxClock
from sandbox.faults import Fault, Interrupt, Respond
from sandbox.server import Server
from sandbox.trial.host import Functions, environment, load_functions
from tests.conftest import CapturedLog, MakeApp, tick
from tests.sampling import thinned

MINUTES = timedelta(minutes=1)


def noted(app: App) -> None:
    """A mark of the timer, in place."""
    app.process.parts().lease.note_tick()


@pytest.fixture
def working(sandbox: Sandbox, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch) -> Sandbox:
    """A sandbox with a token that works, and the settings of an app with the blob lease."""
    sandbox.add_connection()
    monkeypatch.setenv("LEASE_CONTAINER_URL", sandbox.leases.url)
    tick(make_app())
    return sandbox


@pytest.mark.exhaustive
def test_every_door_says_when_the_last_tick_was(working: Sandbox, make_app: MakeApp) -> None:
    noted(make_app())
    working.clock.advance(7 * MINUTES)
    functions = load_functions(working.clock)
    answer = functions.http("status", "GET", "/api/status")
    body = json.loads(answer.get_body())
    assert (answer.status_code, body["timer"]["state"]) == (200, "ticking")
    assert body["timer"]["message"] == "the last tick was 7 min ago"
    page = functions.http("status", "GET", "/api/status", headers={"accept": "text/html"})
    assert "The last tick was 7 min ago." in page.get_body().decode()
    (check,) = [check for check in make_app().doctor() if check.name == "timer"]
    assert (check.verdict, check.detail) == (Verdict.PASS, "the last tick was 7 min ago")


@pytest.mark.parametrize("ever", thinned([True, False], 2), ids=["stopped", "never loaded"])
def test_a_timer_that_does_not_fire_is_not_healthy_though_the_tokens_live(
    working: Sandbox, make_app: MakeApp, *, ever: bool
) -> None:
    if ever:
        noted(make_app())
    working.clock.advance(16 * MINUTES)
    functions: Functions = load_functions(working.clock)
    answer = functions.http("status", "GET", "/api/status")
    body = json.loads(answer.get_body())
    assert (answer.status_code, body["status"]) == (503, "fail")
    assert body["connections"][0]["working"]
    assert body["timer"]["state"] == "no_tick"
    page = functions.http("status", "GET", "/api/status", headers={"accept": "text/html"})
    assert page.status_code == 503
    assert "the timer does not fire" in page.get_body().decode()
    (check,) = [check for check in make_app().doctor() if check.name == "timer"]
    assert check.verdict is Verdict.FAIL


@pytest.mark.exhaustive
def test_the_command_ends_with_1_where_all_works_but_the_timer(capfd: pytest.CaptureFixture[str]) -> None:
    with Sandbox(clock=SandboxClock(datetime.now(UTC), flowing=True)) as sandbox:
        sandbox.add_connection()
        with environment({**sandbox.environ(), "LEASE_CONTAINER_URL": sandbox.leases.url}):
            assert main(["refresh"]) == 0
            assert main(["status"]) == 1
            assert "timer: no tick was ever noted; the timer should fire every 5 min" in capfd.readouterr().out
            assert main(["tick"]) == 0
            until = time.monotonic() + 60
            while main(["status", "--json"]) and time.monotonic() < until:
                time.sleep(0.1)
            assert main(["status"]) == 0
    assert '"state": "ticking"' in capfd.readouterr().out


def test_what_cannot_be_read_is_unknown_and_breaks_nothing(working: Sandbox, make_app: MakeApp) -> None:
    noted(make_app())
    working.clock.advance(16 * MINUTES)
    working.faults.add(
        Fault(service="leases", method="HEAD", action=Respond(403, {"x-ms-request-id": "1"}), times=None)
    )
    answer = load_functions(working.clock).http("status", "GET", "/api/status")
    timer = json.loads(answer.get_body())["timer"]
    assert (answer.status_code, timer["state"]) == (200, "unknown")
    assert "refused whoever asked" in timer["message"]


def test_a_container_that_was_deleted_says_nothing_of_the_timer(working: Sandbox, make_app: MakeApp) -> None:
    app = make_app(LEASE_CONTAINER_URL=f"{working.leases.origin}/deleted")
    timer = app.timer()
    assert (timer.state, timer.healthy) == (TimerState.UNKNOWN, True)
    assert f"the lease container {working.leases.origin}/deleted does not exist" in timer.message


@pytest.mark.parametrize("status", [200, 404])
def test_a_page_in_front_of_the_container_says_nothing_of_the_timer(
    working: Sandbox, make_app: MakeApp, status: int
) -> None:
    """A proxy that wants a sign-in answers everything, a blob that is not there as well as one that is free."""
    app = make_app(LEASE_CONTAINER_URL=working.leases.url)
    page = Respond(status, {"Content-Type": "text/html"}, b"<html>Sign in</html>")
    working.faults.add(Fault(service="leases", action=page, times=None))
    timer = app.timer()
    assert (timer.state, timer.healthy) == (TimerState.UNKNOWN, True)
    assert f"something else answered in place of the lease container {working.leases.url}" in timer.message
    (lease,) = (check for check in app.doctor() if check.name == "lease")
    assert "No role helps" in str(lease.remedy)


def test_the_mark_is_waited_for_by_nobody_and_decides_nothing(working: Sandbox, make_app: MakeApp) -> None:
    """A storage service that hangs costs a tick no time, and one that refuses costs it nothing else."""
    ended = threading.Event()
    working.faults.add(Fault(service="leases", action=Interrupt(do=lambda: ended.wait(10) and None), times=1))
    app = make_app()
    app.note_tick()
    working.clock.advance(5 * MINUTES)
    assert tick(app).outcome is Outcome.NOT_DUE
    ended.set()


def test_on_one_machine_the_mark_stands_beside_the_locks(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    app = make_app()
    assert app.timer().message.startswith("no tick was noted on this machine")
    noted(app)
    sandbox.clock.advance(2 * MINUTES)
    assert make_app().timer().message == "the last tick was 2 min ago"


def test_a_tick_by_hand_on_a_laptop_says_nothing_of_the_timer_of_the_app(sandbox: Sandbox, make_app: MakeApp) -> None:
    """Where no lease container is set, the mark is this machine's own: yesterday's is no timer that has stopped."""
    sandbox.add_connection()
    noted(make_app())
    sandbox.clock.advance(timedelta(days=1))
    timer = make_app().timer()
    assert (timer.state, timer.healthy) == (TimerState.UNKNOWN, True)
    assert timer.message.startswith("the last tick of this machine was at 2026-01-05")


@pytest.mark.exhaustive
def test_a_schedule_that_cannot_be_used_means_the_default_and_an_error_at_each_tick(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    """Refreshing goes on, and everybody who asks is told."""
    sandbox.add_connection()
    app = make_app(REFRESH_SCHEDULE="janx")
    app.note_tick()
    assert tick(app).outcome is Outcome.REFRESHED
    told = [line for line in everything_logged.lines if line.startswith("refresher ERROR REFRESH_SCHEDULE")]
    assert len(told) == 1
    assert any("REFRESH_SCHEDULE" in remark for remark in app.timer().remarks)
    (check,) = [check for check in app.doctor() if check.name == "settings"]
    assert check.verdict is Verdict.FAIL


def test_an_address_that_comes_back_brings_no_mark_of_an_earlier_sandbox(
    sandbox: Sandbox, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Marks of the file lock outlive a sandbox, and an old one is a timer that has stopped."""
    noted(make_app())
    port = int(sandbox.vault.url.rpartition(":")[2])
    assert make_app().process.parts().lease.last_tick() is not None
    monkeypatch.setattr(Server, "serve", lambda *_: port)
    with Sandbox() as later:
        assert later.vault.url == sandbox.vault.url
        assert make_app().process.parts().lease.last_tick() is None


@pytest.mark.parametrize("ahead", [20, -20, 70])
def test_a_wrong_clock_is_suspected_before_a_timer_that_ticks_by_the_instances(
    working: Sandbox, make_app: MakeApp, ahead: int
) -> None:
    """And so it is before a token that has ended by this clock alone."""
    noted(make_app())
    right = working.clock.now()
    working.clock.advance(ahead * MINUTES)
    head = {"Date": format_datetime(right, usegmt=True), "Content-Type": "application/json"}
    answer = Respond(401, head, b'{"error": "access_denied"}')
    working.faults.add(Fault(service="instance", path="/oauth_token.do", times=None, action=answer))
    checks = {check.name: check for check in make_app().doctor()}
    assert (checks["timer"].verdict, checks["timer"].follows) == (Verdict.WARN, True)
    assert "by the instance's clock, the last tick was 0 min ago" in checks["timer"].detail
    assert checks["clock"].suspected
    assert [check.name for check in checks.values() if check.verdict is Verdict.FAIL and not check.follows] == []
    assert (checks["token"].verdict is Verdict.FAIL) is (ahead == 70)
    assert "Most likely: servicenow: clock: this machine's clock is" in verdict(tuple(checks.values()))


def test_a_timer_that_is_dead_by_either_clock_fails(working: Sandbox, make_app: MakeApp) -> None:
    noted(make_app())
    working.clock.advance(40 * MINUTES)
    theirs = format_datetime(working.clock.now() - 2 * MINUTES, usegmt=True)
    answer = Respond(401, {"Date": theirs, "Content-Type": "application/json"}, b'{"error": "access_denied"}')
    working.faults.add(Fault(service="instance", path="/oauth_token.do", times=None, action=answer))
    (check,) = [check for check in make_app().doctor() if check.name == "timer"]
    assert check.verdict is Verdict.FAIL
