"""A run's 45 seconds: nothing begins that cannot end in them, and what came late is stored all the same."""

from collections.abc import Callable
from datetime import datetime, timedelta

import pytest

from refresher.model.causes import Cause
from refresher.model.report import Outcome
from sandbox import Fault, Personality
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Action, Interrupt, Refuse, Respond, Stall, Throttle
from sandbox.http import Request
from sandbox.trial.host import direct_app
from tests.conftest import direct, tick
from tests.names import RECORD, REFRESH_TOKEN, TOKEN, TOKEN_ENDPOINT
from tests.runs.test_rotation import is_kept, rotating
from tests.sampling import thinned


def take(sandbox: DirectSandbox, seconds: float) -> Callable[[], object]:
    """Let time pass."""
    return lambda: sandbox.clock.advance(timedelta(seconds=seconds))


def answer_after(sandbox: DirectSandbox, seconds: float) -> None:
    """Let the next token request be answered late."""
    sandbox.faults.add(Fault(path=TOKEN_ENDPOINT, action=Interrupt(do=take(sandbox, seconds), before=False)))


@pytest.mark.parametrize(
    "action", thinned([Stall(), Refuse(), Respond(503), Throttle(600)], 4), ids=lambda each: type(each).__name__
)
def test_a_target_vault_that_hangs_does_not_keep_the_token_from_the_others(action: Action) -> None:
    """It is read twice in a run, once more where that took long, and written last, for a few seconds each."""
    sandbox = DirectSandbox(vaults=("main", "other"))
    sandbox.add_connection()
    near, far = "servicenow--action--global--oauth-token", "https://other.vault.azure.net/secrets/far"
    app = direct_app(sandbox, Process(sandbox), 0, PUBLISH_TO=f"{near},{far}")
    tick(app)
    sandbox.clock.advance(timedelta(minutes=50))
    sandbox.faults.add(Fault(service="vault:other", times=None, action=action))
    began = sandbox.clock.now()
    report = tick(app)
    assert sandbox.clock.now() - began <= timedelta(seconds=4 * 5 + 2), "its threads are needed by other connections"
    assert (report.outcome, report.cause, report.attempts) == (Outcome.FAILED, Cause.PUBLISH_FAILED, 1)
    held = sandbox.vault.get(near)
    assert held is not None
    assert sandbox.instance.access_token_ends_at(held.value) == report.access_token_expires_at


@pytest.mark.parametrize("seconds", thinned([43.0, 44.5, 46.0]))
def test_a_rotated_refresh_token_that_comes_late_is_given_ten_seconds_to_be_stored(seconds: float) -> None:
    """Also where the record was written long before, and where the deadline passed while the answer came."""
    sandbox, app = rotating()
    answer_after(sandbox, seconds)
    sandbox.faults.add(Fault(service="vault", method="PUT", path=f"/secrets/{REFRESH_TOKEN}", action=Respond(503)))
    assert tick(app).outcome is Outcome.REFRESHED
    assert is_kept(sandbox)


def test_a_rotated_refresh_token_is_stored_though_somebody_elses_request_was_told_to_pause() -> None:
    """The pause outlasts the run, and the vault may take the write all the same; the rest waits for a later tick."""
    sandbox, app = rotating()

    def meet_a_pause() -> None:
        sandbox.faults.add(Fault(service="vault", method="GET", action=Throttle(100)))
        app.status()

    sandbox.faults.add(Fault(path=TOKEN_ENDPOINT, action=Interrupt(do=meet_a_pause, before=False)))
    assert tick(app).cause is Cause.VAULT_THROTTLED
    assert is_kept(sandbox)
    sandbox.clock.advance(timedelta(minutes=5))
    assert tick(app).outcome is Outcome.REFRESHED


def test_writes_end_with_ten_seconds_more_than_the_run() -> None:
    """The lease of a minute outlasts them."""
    sandbox, app = direct()
    tick(app)
    sandbox.clock.advance(timedelta(minutes=50))
    began = sandbox.clock.now()
    answer_after(sandbox, 44.0)
    sandbox.faults.add(Fault(service="vault", method="PUT", times=None, action=Respond(503, {"Retry-After": "3"})))
    assert tick(app).cause is Cause.VAULT_UNAVAILABLE
    assert timedelta(seconds=45) < sandbox.clock.now() - began <= timedelta(seconds=56)


@pytest.mark.parametrize("taken", thinned([40.0, 44.0]))
@pytest.mark.parametrize("settings", thinned([{}, {"SERVICENOW_GRANT": "password"}]))
def test_a_token_is_not_asked_for_with_no_time_left_to_hear_the_answer(settings: dict[str, str], taken: float) -> None:
    """A slow vault took it, and ServiceNow is not accused; the password does not count as refused."""
    sandbox, app = direct(settings, username=True)
    sandbox.faults.add(
        Fault(service="vault", path="/secrets/servicenow-client-id", action=Interrupt(take(sandbox, taken)))
    )
    report = tick(app)
    assert (report.outcome, report.cause, report.attempts) == (Outcome.FAILED, Cause.RUN_OVERDUE, 0)
    assert sandbox.log.count(service="instance") == 0
    record = sandbox.vault.get(RECORD)
    assert record is None or "password" not in record.tags


@pytest.mark.parametrize("path", [TOKEN_ENDPOINT, "/api/now/table/sys_user"])
@pytest.mark.parametrize("rotates", [False, True])
def test_a_machine_that_was_suspended_puts_nothing_over_what_others_wrote(path: str, *, rotates: bool) -> None:
    """It slept for hours while an answer was on its way, which its own count of seconds does not tell."""
    sandbox, app = direct(personality=Personality(rotates=rotates))
    tick(app)
    sandbox.clock.advance(timedelta(minutes=50))
    others: list[str] = []

    def sleep() -> None:
        sandbox.clock.suspend(timedelta(hours=2))
        tick(direct_app(sandbox, Process(sandbox), 1))
        others.append(sandbox.vault.versions(TOKEN)[-1].version)

    sandbox.faults.add(Fault(path=path, action=Interrupt(do=sleep, before=False)))
    tick(app)
    assert [sandbox.vault.versions(TOKEN)[-1].version] == others
    assert is_kept(sandbox)


class Away:
    """Vaults that nobody reaches until a moment; all others meet what is set."""

    def __init__(self, sandbox: DirectSandbox, until: datetime) -> None:
        self._sandbox, self._until = sandbox, until

    def find(self, service: str, request: Request) -> Action | None:
        """The action for this request."""
        away = service.startswith("vault") and self._sandbox.clock.now() < self._until
        return Refuse() if away else self._sandbox.faults.find(service, request)


@pytest.mark.parametrize("suspended", thinned([timedelta(minutes=10), timedelta()]))
@pytest.mark.parametrize("seconds", thinned([40, 12]))
def test_a_rotated_refresh_token_is_stored_when_the_network_is_back(suspended: timedelta, seconds: int) -> None:
    """A laptop that wakes up has none for a while: the time for it begins when ServiceNow's answer is there."""
    sandbox, app = rotating()

    def wake() -> None:
        sandbox.clock.suspend(suspended)
        sandbox.weather = Away(sandbox, sandbox.clock.now() + timedelta(seconds=seconds))

    sandbox.faults.add(Fault(path=TOKEN_ENDPOINT, action=Interrupt(do=wake, before=False)))
    tick(app)
    assert is_kept(sandbox)


def test_nor_is_it_lost_to_a_suspension_after_its_receipt() -> None:
    """Between the look at what the vault holds and the write: its time is over, and it is written all the same."""
    sandbox, app = rotating()
    sleep = Interrupt(do=lambda: sandbox.clock.suspend(timedelta(minutes=10)), before=False)
    sandbox.faults.add(
        Fault(service="vault", method="GET", path=f"/secrets/{REFRESH_TOKEN}(/|$)", action=sleep, after=1)
    )
    tick(app)
    assert is_kept(sandbox)


def test_a_try_is_not_begun_either() -> None:
    """The error is that of the try before."""
    sandbox, app = direct()
    sandbox.faults.add(Fault(path=TOKEN_ENDPOINT, action=Interrupt(take(sandbox, 39.8))))
    sandbox.instance.personality = Personality(refuse_first=1)
    report = tick(app)
    assert (report.cause, report.attempts) == (Cause.ACCESS_DENIED, 1)
