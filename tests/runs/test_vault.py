"""A vault that misbehaves: what is ridden out, what is said, and that nothing worse is ever written."""

from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.report import Outcome, RunRequest, Trigger, WarningCode
from refresher.status.connection_status import State
from sandbox import Fault, Sandbox
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Action, Drop, DropAfter, Garbage, Interrupt, Respond, Stall, Throttle
from sandbox.personality import Personality
from sandbox.trial.host import direct_app
from sandbox.vault import SecretVersion
from tests.conftest import MakeApp, direct, status_of, tick
from tests.factories import MINUTE
from tests.names import RECORD, REFRESH_TOKEN, TARGET, TOKEN
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

INTERVAL = timedelta(minutes=50)


@pytest.fixture
def aging(sandbox: Sandbox, app: App) -> App:
    """The product, with a warm connection and a token that is due."""
    sandbox.add_connection()
    assert tick(app).outcome is Outcome.REFRESHED
    sandbox.clock.advance(INTERVAL)
    sandbox.log.clear()
    return app


def held(sandbox: Sandbox, name: str = TOKEN, vault: str = "main") -> SecretVersion:
    """The newest version of a secret that is there."""
    version = sandbox.vaults[vault].get(name)
    assert version is not None
    return version


def everything(sandbox: Sandbox) -> dict[str, list[SecretVersion]]:
    """All versions of all secrets."""
    return {name: sandbox.vault.versions(name) for name in sandbox.vault.names()}


class TestPassingFaults:
    """Met by any request of a run, they are ridden out within it."""

    @pytest.mark.parametrize(
        "action",
        thinned(
            [
                Throttle(2),
                Respond(500, {}, b""),
                Respond(503, {"Retry-After": "1"}, b"<html>"),
                Drop(),
                DropAfter(),
                Garbage(b"<html>"),
                Garbage(b"{}"),
                Garbage(b"null"),
                Garbage(b'{"value": "x", "id": "nonsense"}'),
            ],
            3,
        ),
    )
    @pytest.mark.parametrize("method", ["GET", "PUT"])
    def test_a_run_goes_on(self, sandbox: Sandbox, aging: App, method: str, action: Action) -> None:
        """The token is refreshed, every copy is current, and no version is written twice."""
        fault = sandbox.faults.add(Fault(service="vault", method=method, action=action))
        assert tick(aging).outcome is Outcome.REFRESHED
        assert (fault.times or 0) <= 0
        assert sandbox.instance.is_living_access_token(held(sandbox).value)
        assert held(sandbox, TARGET).value == held(sandbox).value
        assert len(sandbox.vault.versions(TOKEN)) == 2
        assert len(sandbox.vault.versions(TARGET)) == 2

    @pytest.mark.parametrize("as_date", thinned([False, True]))
    def test_the_pause_that_it_asks_for_is_kept(self, sandbox: Sandbox, aging: App, *, as_date: bool) -> None:
        """In both forms of Retry-After."""
        began = sandbox.clock.now()
        pause = began + timedelta(seconds=12) if as_date else 12
        sandbox.faults.add(Fault(service="vault", method="PUT", action=Throttle(pause)))
        assert tick(aging).outcome is Outcome.REFRESHED
        assert sandbox.clock.now() - began >= timedelta(seconds=11)

    def test_a_pause_of_hours_ends_with_the_next_tick(self, sandbox: Sandbox, aging: App) -> None:
        """Key Vault asks for seconds; something else on the way cannot keep a process from it for longer."""
        sandbox.faults.add(Fault(service="vault", method="GET", action=Throttle(7200)))
        assert tick(aging).cause is Cause.VAULT_THROTTLED
        sandbox.clock.advance(timedelta(minutes=5))
        assert tick(aging).outcome is Outcome.REFRESHED

    def test_a_write_whose_answer_was_lost_is_looked_up_not_repeated(self, sandbox: Sandbox, aging: App) -> None:
        """One PUT, then a GET that finds it."""
        sandbox.faults.add(Fault(service="vault", method="PUT", path=f"/secrets/{TOKEN}", action=DropAfter()))
        assert tick(aging).outcome is Outcome.REFRESHED
        assert sandbox.log.count(method="PUT", path=f"/secrets/{TOKEN}") == 1
        assert len(sandbox.vault.versions(TOKEN)) == 2


class TestAnOutage:
    """A vault that stays away costs a tick, and nothing else."""

    @pytest.mark.parametrize("action", thinned([Throttle(120), Respond(500, {}, b""), Drop()]))
    def test_nothing_is_asked_of_servicenow_and_nothing_is_lost(
        self, sandbox: Sandbox, aging: App, action: Action
    ) -> None:
        """The report names the cause and the next step; the next tick goes on."""
        before = everything(sandbox)
        sandbox.faults.add(Fault(service="vault", times=None, action=action))
        report = tick(aging)
        assert report.outcome is Outcome.FAILED
        assert report.cause in {Cause.VAULT_UNAVAILABLE, Cause.VAULT_THROTTLED}
        assert report.connection == "servicenow"
        assert report.hint
        assert sandbox.log.count(service="instance") == 0
        assert everything(sandbox) == before
        sandbox.faults.clear()
        sandbox.clock.advance(timedelta(minutes=5))
        assert tick(aging).outcome is Outcome.REFRESHED

    def test_it_ends_within_the_deadline(self, sandbox: Sandbox, aging: App) -> None:
        """45 seconds, and ten to write; the tick tries again meanwhile, and ends in its four minutes."""
        began = sandbox.clock.now()
        sandbox.faults.add(Fault(service="vault", times=None, action=Respond(500, {}, b"")))
        assert tick(aging).duration_ms < 55_000
        assert MINUTE < sandbox.clock.now() - began < 4 * MINUTE

    def test_writes_that_fail_leave_the_old_token_and_its_copy(self, sandbox: Sandbox, aging: App) -> None:
        """The old one works for another ten minutes: kept."""
        before = held(sandbox), held(sandbox, TARGET), held(sandbox, REFRESH_TOKEN)
        sandbox.faults.add(Fault(service="vault", method="PATCH", times=None, action=Respond(500, {}, b"")))
        sandbox.faults.add(Fault(service="vault", method="PUT", times=None, action=Respond(500, {}, b"")))
        report = tick(aging)
        assert (report.outcome, report.cause) == (Outcome.KEPT, Cause.VAULT_UNAVAILABLE)
        assert (held(sandbox), held(sandbox, TARGET), held(sandbox, REFRESH_TOKEN)) == before

    def test_a_rotated_refresh_token_is_written_with_the_last_strength(
        self, sandbox: Sandbox, make_app: MakeApp
    ) -> None:
        """The first tries fail; the token that ServiceNow now wants is stored all the same."""
        sandbox.instance.personality = Personality(rotates=True)
        sandbox.add_connection()
        app = make_app()
        tick(app)
        sandbox.clock.advance(INTERVAL)
        path = f"/secrets/{REFRESH_TOKEN}"
        sandbox.faults.add(Fault(service="vault", method="PUT", path=path, times=3, action=Respond(503, {}, b"")))
        assert tick(app).outcome is Outcome.REFRESHED
        assert sandbox.instance.is_living_refresh_token(held(sandbox, REFRESH_TOKEN).value)


class TestPartialPublishing:
    """Some targets written, some not."""

    def test_the_rest_is_published_at_the_next_tick_without_asking_servicenow(
        self, sandbox: Sandbox, make_app: MakeApp
    ) -> None:
        """One copy is late, and named."""
        sandbox.add_connection()
        app = make_app(PUBLISH_TO="copy-one,copy-two")
        tick(app)
        sandbox.clock.advance(INTERVAL)
        sandbox.vault.deny("set", "copy-two")
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.KEPT, Cause.PUBLISH_FAILED)
        assert "copy-two" in report.message
        assert held(sandbox, "copy-one").value == held(sandbox).value != held(sandbox, "copy-two").value
        sandbox.vault.allow_all()
        sandbox.log.clear()
        sandbox.clock.advance(timedelta(minutes=5))
        assert tick(app).outcome is Outcome.PUBLISHED
        assert held(sandbox, "copy-two").value == held(sandbox).value
        assert sandbox.log.count(path="/oauth_token.do") == 0

    def test_of_two_vaults_the_one_that_is_up_is_served(self, make_two: tuple[Sandbox, App]) -> None:
        """Simple Chat's vault is down: the main secret is current, and the other follows at the next tick."""
        sandbox, app = make_two
        sandbox.faults.add(Fault(service="vault:chat", times=None, action=Respond(503, {}, b"")))
        report = tick(app)
        assert report.cause is Cause.PUBLISH_FAILED
        assert "chat-copy" in report.message
        assert sandbox.instance.is_living_access_token(held(sandbox).value)
        sandbox.faults.clear()
        sandbox.clock.advance(timedelta(minutes=5))
        assert tick(app).outcome is Outcome.PUBLISHED
        assert held(sandbox, "chat-copy", "chat").value == held(sandbox).value

    def test_of_two_vaults_writes_to_the_main_one_failing_the_other_is_served(
        self, make_two: tuple[Sandbox, App]
    ) -> None:
        """The consumer's vault gets the new token even so, and the next tick puts the main secret right."""
        sandbox, app = make_two
        tick(app)
        sandbox.clock.advance(INTERVAL)
        old = held(sandbox)
        sandbox.faults.add(
            Fault(
                service="vault:main", method="PUT", path=f"/secrets/{TOKEN}", times=None, action=Respond(503, {}, b"")
            )
        )
        assert tick(app).outcome is Outcome.KEPT
        assert held(sandbox) == old
        assert sandbox.instance.is_living_access_token(held(sandbox, "chat-copy", "chat").value)
        sandbox.faults.clear()
        sandbox.clock.advance(timedelta(minutes=5))
        assert tick(app).outcome is Outcome.REFRESHED
        assert held(sandbox, "chat-copy", "chat").value == held(sandbox).value


@pytest.fixture
def vaults() -> tuple[str, ...]:
    """The refresher's vault, and Simple Chat's."""
    return ("main", "chat")


@pytest.fixture
def make_two(make_app: MakeApp, sandbox: Sandbox) -> tuple[Sandbox, App]:
    """A connection that publishes into the second vault."""
    sandbox.add_connection()
    return sandbox, make_app(PUBLISH_TO=f"{sandbox.vaults['chat'].url}/secrets/chat-copy")


class TestPermissions:
    """What the identity may not do is named: secret, operation, role."""

    def test_a_vault_that_may_only_be_read(self, sandbox: Sandbox, aging: App) -> None:
        """The old token stays; the refresh token stays; the role is named."""
        before = everything(sandbox)
        sandbox.vault.deny("set")
        sandbox.vault.deny("update")
        report = tick(aging)
        assert (report.outcome, report.cause) == (Outcome.KEPT, Cause.VAULT_FORBIDDEN)
        assert f"set of secret {TOKEN}" in report.message
        assert report.hint is not None
        assert "Key Vault Secrets Officer" in report.hint
        assert everything(sandbox) == before

    def test_a_rotating_token_is_not_spent_on_a_vault_that_cannot_keep_the_next(
        self, sandbox: Sandbox, make_app: MakeApp
    ) -> None:
        """Once rotation was seen, the record is written first; where that fails, ServiceNow is not asked."""
        sandbox.instance.personality = Personality(rotates=True)
        sandbox.add_connection()
        app = make_app()
        tick(app)
        sandbox.clock.advance(INTERVAL)
        assert tick(app).outcome is Outcome.REFRESHED
        sandbox.clock.advance(INTERVAL)
        sandbox.log.clear()
        sandbox.vault.deny("set")
        sandbox.vault.deny("update")
        assert tick(app).cause is Cause.VAULT_FORBIDDEN
        assert sandbox.log.count(path="/oauth_token.do") == 0
        assert sandbox.instance.is_living_refresh_token(held(sandbox, REFRESH_TOKEN).value)


class TestStrangeSecrets:
    """Disabled, expired, soft-deleted, purged."""

    @pytest.mark.parametrize("name", thinned(["servicenow-client-secret", REFRESH_TOKEN]))
    def test_a_disabled_newest_version_is_named_and_left_alone(self, sandbox: Sandbox, aging: App, name: str) -> None:
        """Somebody disabled it on purpose; an older version is not used in its place."""
        held(sandbox, name).enabled = False
        before = everything(sandbox)
        report = tick(aging)
        assert report.cause is Cause.SECRET_DISABLED
        assert name in report.message
        assert report.hint is not None
        assert "--enabled true" in report.hint
        assert everything(sandbox) == before

    def test_an_expired_secret_can_still_be_used(self, sandbox: Sandbox, aging: App) -> None:
        """Key Vault lets it be read, and whether it serves is for ServiceNow to say."""
        held(sandbox, "servicenow-client-secret").expires_on = sandbox.clock.now() - timedelta(days=1)
        held(sandbox, REFRESH_TOKEN).expires_on = sandbox.clock.now() - timedelta(days=1)
        assert tick(aging).outcome is Outcome.REFRESHED

    @pytest.mark.parametrize("name", thinned([TARGET, TOKEN]))
    def test_a_soft_deleted_secret_is_recovered_and_written_in_the_same_run(
        self, sandbox: Sandbox, aging: App, name: str
    ) -> None:
        """Simple Chat deletes the secret of an action that is deleted."""
        sandbox.vault.delete(name)
        assert tick(aging).outcome is Outcome.REFRESHED
        assert held(sandbox, TARGET).value == held(sandbox).value
        assert sandbox.instance.is_living_access_token(held(sandbox, name).value)

    def test_a_soft_deleted_copy_is_back_at_the_next_tick(self, sandbox: Sandbox, app: App) -> None:
        """Without waiting for the token's age, and without asking ServiceNow."""
        sandbox.add_connection()
        tick(app)
        sandbox.vault.delete(TARGET)
        sandbox.log.clear()
        assert tick(app).outcome is Outcome.PUBLISHED
        assert held(sandbox, TARGET).value == held(sandbox).value
        assert sandbox.log.count(service="instance") == 0

    def test_a_recovery_that_is_forbidden_is_said(self, sandbox: Sandbox, app: App) -> None:
        """As an error, since who reads the copy has no token; the main secret is current all the same."""
        sandbox.add_connection()
        tick(app)
        sandbox.vault.delete(TARGET)
        sandbox.vault.deny("recover")
        sandbox.clock.advance(INTERVAL)
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.PUBLISH_FAILED)
        assert report.working
        assert TARGET in report.message
        assert sandbox.instance.is_living_access_token(held(sandbox).value)

    @pytest.mark.parametrize("name", thinned([TARGET, TOKEN, RECORD]))
    def test_a_purged_secret_is_made_anew(self, sandbox: Sandbox, aging: App, name: str) -> None:
        """There is nothing to recover."""
        if name == RECORD:
            sandbox.vault.put(RECORD, "x", tags={"consecutive-failures": "1"})
        sandbox.vault.delete(name)
        sandbox.vault.purge(name)
        assert tick(aging).outcome is Outcome.REFRESHED
        assert held(sandbox, TARGET).value == held(sandbox).value

    def test_a_lost_refresh_token_is_asked_for(self, sandbox: Sandbox, aging: App) -> None:
        """Soft-deleted by hand: nothing is recovered behind the operator's back, and the next step is named."""
        sandbox.vault.delete(REFRESH_TOKEN)
        report = tick(aging)
        assert (report.outcome, report.cause) == (Outcome.AUTHORIZATION_REQUIRED, Cause.REFRESH_TOKEN_MISSING)
        assert "authorize servicenow" in (report.hint or "")
        assert f'az keyvault secret recover --vault-name "$VAULT" --name {REFRESH_TOKEN}' in (report.hint or "")
        assert report.working
        assert sandbox.log.count(service="instance") == 0


class TestTimeOuts:
    """A vault that never answers, in virtual time: over the sandbox without sockets, with the SDK's own client."""

    @pytest.mark.parametrize("effect", [False, True])
    @pytest.mark.parametrize("method", thinned(["GET", "PUT"], 2))
    def test_one_is_ridden_out(self, method: str, *, effect: bool) -> None:
        """Where the write arrived although no answer came, it is not repeated."""
        sandbox = DirectSandbox()
        sandbox.add_connection()
        app = direct_app(sandbox, Process(sandbox))
        tick(app)
        sandbox.clock.advance(INTERVAL)
        sandbox.faults.add(
            Fault(service="vault", method=method, path=f"/secrets/{TOKEN}", action=Stall(effect=effect))
        )
        assert tick(app).outcome is Outcome.REFRESHED
        assert len(sandbox.vault.versions(TOKEN)) == 2

    @pytest.mark.parametrize("body", thinned([b"<html>", b"{}", b"[]"]))
    def test_an_answer_that_is_not_the_vaults_stores_nothing(self, body: bytes) -> None:
        """Something on the way answers 200 to everything: nothing counts as written, and the report says so."""
        sandbox = DirectSandbox()
        sandbox.add_connection()
        app = direct_app(sandbox, Process(sandbox))
        tick(app)
        sandbox.clock.advance(INTERVAL)
        before = {name: sandbox.vault.versions(name) for name in sandbox.vault.names()}
        page = Respond(200, {"Content-Type": "application/json"}, body)
        sandbox.faults.add(Fault(service="vault", method="PUT", times=None, action=page))
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.KEPT, Cause.VAULT_UNAVAILABLE)
        assert "not its own" in report.message
        assert {name: sandbox.vault.versions(name) for name in sandbox.vault.names() if name in before} == before

    def test_an_endless_silence_ends_with_the_deadline(self) -> None:
        """Five tries of eight seconds; the report says that the vault did not answer."""
        sandbox = DirectSandbox()
        sandbox.add_connection()
        app = direct_app(sandbox, Process(sandbox))
        sandbox.faults.add(Fault(service="vault", times=None, action=Stall()))
        (report,) = app.refresh(["servicenow"], RunRequest(trigger=Trigger.CLI))
        assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.VAULT_UNAVAILABLE)
        assert "did not answer" in report.message
        assert 40_000 < report.duration_ms < 55_000


def test_tags_that_vanish_after_each_write_cost_no_refresh_at_every_tick() -> None:
    """Something strips them: a token is as old as its version, and somebody is told."""
    sandbox, app = direct(personality=Personality(rotates=True))

    def strip() -> None:
        for name in sandbox.vault.names():
            for version in sandbox.vault.versions(name):
                version.tags.clear()

    for method in ("PUT", "PATCH"):
        sandbox.faults.add(Fault(service="vault", method=method, times=None, action=Interrupt(strip, before=False)))
    reports = [tick(app)]
    for _ in range(30):
        sandbox.clock.advance(timedelta(minutes=5))
        reports.append(tick(app))
        assert sandbox.instance.is_living_access_token(held(sandbox).value)
    refreshed = [report for report in reports if report.outcome is Outcome.REFRESHED]
    assert len(refreshed) == 4, "at 0, 50, 100 and 150 minutes"
    assert len(sandbox.vault.versions(REFRESH_TOKEN)) <= 2 + len(refreshed)
    for told in (refreshed[-1], status_of(app)):
        assert WarningCode.TAGS_LOST in {warning.code for warning in told.warnings}
    assert status_of(app).state in {State.FRESH, State.DUE}
