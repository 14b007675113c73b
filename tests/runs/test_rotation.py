"""A refresh token that ServiceNow replaces at its use: whatever else goes wrong, the newest one is kept."""

import gzip
import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.report import Outcome, RunReport, WarningCode
from sandbox import Fault, Personality
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Action, Drop, DropAfter, Interrupt, Respond, Rewrite, Stall, Throttle
from sandbox.trial.host import direct_app
from tests.conftest import direct, tick
from tests.names import REFRESH_TOKEN, TOKEN, TOKEN_ENDPOINT
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

INTERVAL = timedelta(minutes=50)
TICK = timedelta(minutes=5)


def rotating(settings: dict[str, str] | None = None, *, username: bool = False) -> tuple[DirectSandbox, App]:
    """A connection that was seen to rotate, with a token that is due."""
    sandbox, app = direct(settings, Personality(rotates=True), username=username)
    assert tick(app).outcome is Outcome.REFRESHED
    sandbox.clock.advance(INTERVAL)
    sandbox.log.clear()
    return sandbox, app


def seen_not_to_rotate(personality: Personality | None = None) -> tuple[DirectSandbox, App]:
    """A connection whose refresh token came back unchanged, with a token that is due."""
    sandbox, app = direct({}, personality)
    for _ in range(2):
        assert tick(app).outcome is Outcome.REFRESHED
        sandbox.clock.advance(INTERVAL)
    sandbox.log.clear()
    return sandbox, app


def authorized_again(sandbox: DirectSandbox) -> str:
    """A refresh token that a person got."""
    client_id = sandbox.vault.get("servicenow-client-id")
    assert client_id is not None
    return sandbox.instance.authorize(sandbox.instance.application(client_id.value))


def is_kept(sandbox: DirectSandbox) -> bool:
    """Whether ServiceNow accepts the refresh token that the vault holds."""
    held = sandbox.vault.get(REFRESH_TOKEN)
    return held is not None and sandbox.instance.is_living_refresh_token(held.value)


def is_published(sandbox: DirectSandbox) -> bool:
    """Whether the API accepts the token that consumers read."""
    held = sandbox.vault.get(TOKEN)
    return held is not None and sandbox.instance.is_living_access_token(held.value)


def told_late(sandbox: DirectSandbox, which: int) -> Respond:
    """The vault's answer from a copy of it that lags: one of the versions of the refresh token that it holds now."""
    held = sandbox.vault.versions(REFRESH_TOKEN)[which]
    attributes = {"enabled": True, "created": int(held.created_on.timestamp())}
    url = f"{sandbox.vault.url}/secrets/{REFRESH_TOKEN}/{held.version}"
    secret = {"id": url, "value": held.value, "tags": held.tags, "attributes": attributes}
    return Respond(200, {"Content-Type": "application/json"}, json.dumps(secret).encode())


def answer_with(sandbox: DirectSandbox, change: Callable[[bytes], bytes], times: int | None = 1) -> None:
    """Change the answers of the token endpoint on their way."""
    sandbox.faults.add(Fault(service="instance", path=TOKEN_ENDPOINT, action=Rewrite(change), times=times))


def field(name: str, value: object) -> Callable[[bytes], bytes]:
    """Give a field of an answer another value; None: leave it out."""

    def change(body: bytes) -> bytes:
        fields = {**json.loads(body), name: value}
        return json.dumps({key: each for key, each in fields.items() if each is not None}).encode()

    return change


OF_NO_USE: dict[str, Callable[[bytes], bytes]] = {
    "no life left": field("expires_in", 0),
    "a life below nothing": field("expires_in", -1),
    "no access token": field("access_token", None),
    "an empty access token": field("access_token", ""),
    "an error beside the tokens": field("error", "server_error"),
    "a key twice": lambda body: body.replace(b'{"access_token"', b'{"access_token": "CANARY-other", "access_token"'),
    "no JSON": lambda body: body.replace(b'"expires_in": ', b'"expires_in": NaN, "x": '),
    "the refresh token under both names": lambda body: field("access_token", json.loads(body)["refresh_token"])(body),
    "another one told of beside it": lambda body: (
        field("expires_in", 0)(body)[:-1] + b', "x": {"refresh_token": "y"}}'
    ),
    "cut short": lambda body: json.dumps(dict(reversed(json.loads(body).items()))).encode()[:-20],
}


class TestAnAnswerOfNoOtherUse:
    """The refresh token in it is stored first, and it is what the next request sends."""

    @pytest.mark.parametrize("kind", thinned(OF_NO_USE, 4))
    def test_the_next_try_sends_the_new_one(self, kind: str) -> None:
        sandbox, app = rotating()
        answer_with(sandbox, OF_NO_USE[kind])
        report = tick(app)
        assert (report.outcome, report.attempts) == (Outcome.REFRESHED, 2)
        assert is_kept(sandbox)
        assert is_published(sandbox)

    @pytest.mark.parametrize("kind", thinned(OF_NO_USE, 4))
    def test_and_so_does_the_next_tick(self, kind: str) -> None:
        sandbox, app = rotating()
        before = sandbox.vault.get(TOKEN)
        answer_with(sandbox, OF_NO_USE[kind], times=None)
        report = tick(app)
        assert report.outcome is Outcome.KEPT
        assert report.cause is not Cause.ROTATED_TOKEN_LOST
        assert sandbox.vault.get(TOKEN) == before
        assert is_kept(sandbox)
        sandbox.faults.clear()
        sandbox.clock.advance(TICK)
        assert tick(app).outcome is Outcome.REFRESHED
        assert is_published(sandbox)


@pytest.mark.parametrize(
    "body",
    thinned(
        [
            b'<!DOCTYPE html><script>var texts = {"access_token":"a","refresh_token":"b"};</script>',
            b'{"status": "ok", "grants": {"refresh_token": "enabled", "password": "disabled"}}',
            b'{"refresh_token": "enabled", "password": "disabled"}',
            b'{"texts": {"access_token": "Zugriffstoken", "refresh_token": "Aktualisierungstoken"}}',
        ]
    ),
)
def test_what_only_speaks_of_tokens_costs_none(body: bytes) -> None:
    sandbox, app = direct()
    sandbox.faults.add(Fault(service="instance", path=TOKEN_ENDPOINT, action=Respond(200, {}, body), times=None))
    assert tick(app).cause is Cause.NOT_A_TOKEN
    assert is_kept(sandbox)
    sandbox.faults.clear()
    sandbox.clock.advance(TICK)
    assert tick(app).outcome is Outcome.REFRESHED


WORN: dict[str, Callable[[bytes], bytes]] = {
    "packed, and nobody says so": gzip.compress,
    "packed twice": lambda body: gzip.compress(gzip.compress(body)),
    "signs around it": lambda body: field("refresh_token", f"\u200b{json.loads(body)['refresh_token']}\n")(body),
    "signs of another encoding": lambda body: body[:-1] + b', "note": "f\xfcr"}',
}


@pytest.mark.parametrize("kind", thinned(WORN, 2))
def test_what_an_answer_meets_on_its_way_costs_neither_token(kind: str) -> None:
    sandbox, app = rotating()
    answer_with(sandbox, WORN[kind], times=None)
    report = tick(app)
    assert (report.outcome, report.attempts) == (Outcome.REFRESHED, 1)
    assert is_kept(sandbox)
    assert is_published(sandbox)


@pytest.mark.parametrize("settings", thinned([{"PROBE_PATH": ""}, {}]))
class TestATokenUnderTheWrongName:
    """Consumers never get a refresh token, and an access token takes the place of none that works."""

    def test_the_access_token_under_both_names(self, settings: dict[str, str]) -> None:
        sandbox, app = direct(settings)
        answer_with(sandbox, lambda body: field("refresh_token", json.loads(body)["access_token"])(body))
        assert tick(app).outcome is Outcome.REFRESHED
        assert is_kept(sandbox)
        assert is_published(sandbox)

    def test_the_one_that_was_sent(self, settings: dict[str, str]) -> None:
        sandbox, app = direct(settings)
        sent = sandbox.vault.get(REFRESH_TOKEN)
        assert sent is not None
        answer_with(sandbox, field("access_token", sent.value), times=None)
        sandbox.faults.add(Fault(path="/api/now/table/sys_user", times=None, action=Respond(503)))
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.NOT_A_TOKEN)
        assert sandbox.vault.get(TOKEN) is None
        assert is_kept(sandbox)


@pytest.mark.parametrize("word", thinned(["null", "[REDACTED]", "********", "N/A", "${TOKEN}"], 2))
class TestATokenThatIsMasked:
    """Something on the way puts a word in the place of a token, or ServiceNow that there is none."""

    def test_it_is_not_published(self, word: str) -> None:
        sandbox, app = rotating({"PROBE_PATH": ""})
        before = sandbox.vault.get(TOKEN)
        answer_with(sandbox, field("access_token", word), times=None)
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.KEPT, Cause.NOT_A_TOKEN)
        assert "hides what it takes for secrets" in (report.hint or "")
        assert sandbox.vault.get(TOKEN) == before
        assert is_kept(sandbox)

    def test_nor_does_it_replace_the_refresh_token(self, word: str) -> None:
        sandbox, app = direct()
        answer_with(sandbox, field("refresh_token", word), times=None)
        report = tick(app)
        assert report.outcome is Outcome.REFRESHED
        assert is_kept(sandbox)
        (warning,) = [each for each in report.warnings if each.code is WarningCode.REFRESH_TOKEN_MASKED]
        assert "the stored one was kept" in warning.message
        assert "authorize servicenow" in warning.hint


@pytest.mark.parametrize("typed", ["null", "<your refresh token>"])
def test_what_somebody_stores_in_the_place_of_a_refresh_token_is_none(typed: str) -> None:
    """It is neither sent nor written once more, and the cause is that there is none."""
    sandbox, app = direct()
    sandbox.vault.put(REFRESH_TOKEN, typed)
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.AUTHORIZATION_REQUIRED, Cause.REFRESH_TOKEN_MISSING)
    assert sandbox.log.count(path=TOKEN_ENDPOINT) == 0
    assert len(sandbox.vault.versions(REFRESH_TOKEN)) == 2


def rotated_to(sandbox: DirectSandbox, value: str) -> Callable[[bytes], bytes]:
    """Let ServiceNow's new refresh token be another one."""

    def change(body: bytes) -> bytes:
        fields = json.loads(body)
        token = sandbox.instance._refresh_tokens.pop(fields["refresh_token"])
        token.value = value
        sandbox.instance._refresh_tokens[value] = token
        return json.dumps({**fields, "refresh_token": value}).encode()

    return change


@pytest.mark.parametrize("odd", thinned(["CANARY two words", "CANARY-\u00e9", "CANARY" + "x" * 25_100], 2))
def test_a_refresh_token_of_another_form_is_kept(odd: str) -> None:
    sandbox, app = rotating()
    answer_with(sandbox, rotated_to(sandbox, odd))
    assert tick(app).outcome is Outcome.REFRESHED
    assert is_kept(sandbox)
    sandbox.clock.advance(INTERVAL)
    assert tick(app).outcome is Outcome.REFRESHED


def test_one_that_no_secret_can_hold_is_told_at_once() -> None:
    sandbox, app = rotating()
    answer_with(sandbox, rotated_to(sandbox, "CANARY" + "x" * 26_000))
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.AUTHORIZATION_REQUIRED, Cause.REFRESH_TOKEN_NOT_STORED)
    assert is_published(sandbox)


class TestALifeThatIsNotStated:
    """It is taken for ServiceNow's default, and the token published where the probe says that it lives."""

    @pytest.mark.parametrize("expires_in", thinned([None, "soon", []]))
    def test_it_is_half_an_hour(self, expires_in: object) -> None:
        sandbox, app = rotating()
        answer_with(sandbox, field("expires_in", expires_in))
        report = tick(app)
        assert (report.outcome, report.attempts) == (Outcome.REFRESHED, 1)
        assert is_published(sandbox)
        assert report.access_token_expires_at is not None
        assert timedelta(minutes=29) < report.access_token_expires_at - sandbox.clock.now() <= timedelta(minutes=30)

    @pytest.mark.parametrize("settings", thinned([{"PROBE_PATH": ""}, {}]))
    def test_nothing_is_published_where_nothing_says_that_the_token_lives(self, settings: dict[str, str]) -> None:
        sandbox, app = rotating(settings)
        before = sandbox.vault.get(TOKEN)
        sandbox.instance.personality = Personality(rotates=True, probe_status=503)
        answer_with(sandbox, field("expires_in", None))
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.KEPT, Cause.NOT_A_TOKEN)
        assert sandbox.vault.get(TOKEN) == before
        assert is_kept(sandbox)

    @pytest.mark.parametrize("expires_in", thinned([2_147_483_647, "99999999999", 10**30, 3599.9], 3))
    def test_a_life_without_end_or_with_a_fraction_is_one(self, expires_in: object) -> None:
        sandbox, app = rotating()
        answer_with(sandbox, field("expires_in", expires_in), times=None)
        report: RunReport = tick(app)
        assert report.outcome is Outcome.REFRESHED
        assert is_published(sandbox)
        sandbox.clock.advance(INTERVAL)
        assert tick(app).outcome is Outcome.REFRESHED


def fault(
    sandbox: DirectSandbox, method: str, name: str, action: Action, times: int | None = 1, after: int = 0
) -> None:
    """Let requests for a secret meet a fault."""
    sandbox.faults.add(
        Fault(service="vault", method=method, path=f"/secrets/{name}(/|$)", action=action, times=times, after=after)
    )


class TestAVaultThatDoesNotTakeIt:
    """The newest refresh token is irreplaceable: it is tried to be stored until the run's last moment."""

    @pytest.mark.parametrize("times", thinned([5, 8, 12]))
    @pytest.mark.parametrize("action", thinned([Respond(503, {}, b""), Drop(), Throttle(2)]))
    def test_it_is_stored_within_the_run(self, action: Action, times: int) -> None:
        sandbox, app = rotating()
        fault(sandbox, "PUT", REFRESH_TOKEN, action, times)
        report = tick(app)
        assert report.outcome is Outcome.REFRESHED
        assert is_kept(sandbox)
        assert is_published(sandbox)

    def test_the_access_token_does_not_wait_for_it(self) -> None:
        """Published in between: should the process die while it tries, consumers have a token at least."""
        sandbox, app = rotating()
        fault(sandbox, "PUT", REFRESH_TOKEN, Respond(503, {}, b""), 6)
        tick(app)
        puts = [each.path for each in sandbox.log if (each.method, each.status) == ("PUT", 200)]
        assert puts.index(f"/secrets/{TOKEN}") < puts.index(f"/secrets/{REFRESH_TOKEN}")

    @pytest.mark.parametrize(
        ("settings", "outcome"),
        [({}, Outcome.AUTHORIZATION_REQUIRED), ({"SERVICENOW_FALLBACK_GRANT": "password"}, Outcome.KEPT)],
    )
    def test_what_is_never_stored_is_said_at_once(self, settings: dict[str, str], outcome: Outcome) -> None:
        """With its own cause; what can begin a new life by itself does so at the next tick."""
        sandbox, app = rotating(settings, username=True)
        sandbox.vault.deny("set", REFRESH_TOKEN)
        report = tick(app)
        assert (report.outcome, report.cause) == (outcome, Cause.REFRESH_TOKEN_NOT_STORED)
        assert "could not be stored" in report.message
        assert "Give the app's identity the role" in (report.hint or "")
        assert ("authorize servicenow" in (report.hint or "")) is (outcome is Outcome.AUTHORIZATION_REQUIRED)
        assert is_published(sandbox)

    def test_nor_is_it_lost_with_a_token_that_is_refused(self) -> None:
        """The access token is not published; the refresh token is stored after all."""
        sandbox, app = rotating()
        fault(sandbox, "PUT", REFRESH_TOKEN, Respond(503, {}, b""), 6)
        sandbox.faults.add(Fault(path="/api/now/table/sys_user", times=None, action=Respond(401, {}, b"")))
        assert tick(app).cause is Cause.TOKEN_REJECTED
        assert is_kept(sandbox)


class TestBeforeItIsSpent:
    """What somebody else stored is written once more: a vault that does not take it would not take its successor."""

    def test_a_vault_that_cannot_be_written_costs_nothing(self) -> None:
        sandbox, app = direct({}, Personality(rotates=True))
        sandbox.vault.deny("set", REFRESH_TOKEN)
        for _ in range(3):
            report = tick(app)
            assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.VAULT_FORBIDDEN)
            assert sandbox.log.count(path=TOKEN_ENDPOINT) == 0
            sandbox.clock.advance(TICK)
        sandbox.vault.allow_all()
        assert tick(app).outcome is Outcome.REFRESHED
        assert is_kept(sandbox)

    def test_it_is_written_once_and_its_successors_are_their_own_proof(self) -> None:
        sandbox, app = direct({}, Personality())
        for _ in range(3):
            assert tick(app).outcome is Outcome.REFRESHED
            sandbox.clock.advance(INTERVAL)
        by_hand, own = sandbox.vault.versions(REFRESH_TOKEN)
        assert own.value == by_hand.value
        assert (own.content_type, own.expires_on is not None) == ("application/vnd.servicenow.refresh-token", True)

    @pytest.mark.parametrize("also_tags", thinned([False, True]))
    def test_one_that_was_refused_is_not_written_again_where_something_takes_content_types(
        self, *, also_tags: bool
    ) -> None:
        """Each tick would refuse another version, and none would be refused often enough to call a person."""
        sandbox, app = direct()
        tick(app)
        for each in sandbox.vault.versions(REFRESH_TOKEN):
            sandbox.instance.kill_refresh_token(each.value)
        outcomes = []
        for _ in range(14):
            sandbox.clock.advance(TICK)
            held = sandbox.vault.get(REFRESH_TOKEN)
            assert held is not None
            held.content_type = None
            if also_tags:
                held.tags.clear()
            outcomes.append(tick(app).outcome)
        assert outcomes[-1] is Outcome.AUTHORIZATION_REQUIRED
        assert len(sandbox.vault.versions(REFRESH_TOKEN)) <= 3

    def test_nor_is_one_whose_answer_was_lost(self) -> None:
        """That it may be spent is known of its version."""
        sandbox, app = rotating()
        sandbox.faults.add(Fault(service="instance", path=TOKEN_ENDPOINT, action=DropAfter(), times=None))
        outcomes = []
        for _ in range(3):
            held = sandbox.vault.get(REFRESH_TOKEN)
            assert held is not None
            held.content_type = None
            outcomes.append(tick(app))
            sandbox.faults.clear()
            sandbox.clock.advance(TICK)
        assert outcomes[-1].cause is Cause.ROTATED_TOKEN_LOST
        assert len(sandbox.vault.versions(REFRESH_TOKEN)) <= 4

    def test_a_fallback_grant_serves_meanwhile(self) -> None:
        sandbox, app = direct({"SERVICENOW_FALLBACK_GRANT": "password"}, Personality(rotates=True), username=True)
        sandbox.vault.deny("set", REFRESH_TOKEN)
        tick(app)
        assert is_published(sandbox)
        assert is_kept(sandbox)


STRANGER = Respond(
    200,
    {"Content-Type": "application/json"},
    b'{"access_token": "CANARY-strange", "refresh_token": "CANARY-a-strangers", "expires_in": 3600}',
)
"""A full pair of something on the way, or behind a wrong address."""


class TestAPairThatTheApiRefuses:
    """Who was seen not to rotate did not spend the stored one: a stranger's does not take its place."""

    def test_a_strangers_refresh_token_replaces_none(self) -> None:
        sandbox, app = seen_not_to_rotate()
        sandbox.faults.add(Fault(path=TOKEN_ENDPOINT, action=STRANGER, times=None))
        assert tick(app).cause is Cause.TOKEN_REJECTED
        assert is_kept(sandbox)
        sandbox.faults.clear()
        sandbox.clock.advance(TICK)
        assert tick(app).outcome is Outcome.REFRESHED

    def test_a_probe_that_never_accepted_a_token_tells_no_stranger(self) -> None:
        sandbox, app = seen_not_to_rotate(Personality(probe_status=503))
        sandbox.instance.personality = Personality(rotates=True)
        sandbox.faults.add(Fault(path="/api/now", action=Respond(401, {}, b""), times=None))
        assert tick(app).cause is Cause.TOKEN_REJECTED
        assert is_kept(sandbox)

    def test_rotation_that_was_just_switched_on_is_found_by_asking_again(self) -> None:
        """With a user whom the API refuses at the same time: the old one is dead by then, and the new one the only."""
        sandbox, app = seen_not_to_rotate()
        sandbox.instance.personality = Personality(rotates=True)
        sandbox.faults.add(Fault(path="/api/now", action=Respond(401, {}, b""), times=None))
        assert tick(app).cause is Cause.TOKEN_REJECTED
        assert is_kept(sandbox)
        sandbox.faults.clear()
        sandbox.clock.advance(TICK)
        assert tick(app).outcome is Outcome.REFRESHED


class TestASlowAnswer:
    """Where ServiceNow rotates, or nobody knows, it is waited for as long as the run lasts."""

    @pytest.mark.parametrize("seconds", thinned([14, 20, 35]))
    def test_it_is_not_given_up_while_there_is_time(self, seconds: int) -> None:
        sandbox, app = rotating()
        sandbox.instance.personality = Personality(rotates=True, takes=timedelta(seconds=seconds))
        report = tick(app)
        assert (report.outcome, report.attempts) == (Outcome.REFRESHED, 1)
        assert is_kept(sandbox)

    def test_nor_at_the_first_refresh(self) -> None:
        sandbox, app = direct({}, Personality(rotates=True, takes=timedelta(seconds=30)))
        assert tick(app).outcome is Outcome.REFRESHED
        assert is_kept(sandbox)

    def test_where_it_was_seen_not_to_rotate_it_is_asked_again(self) -> None:
        sandbox, app = seen_not_to_rotate()
        sandbox.faults.add(Fault(service="instance", path=TOKEN_ENDPOINT, action=Stall()))
        report = tick(app)
        assert (report.outcome, report.attempts) == (Outcome.REFRESHED, 2)


class TestSomebodyStoresAnother:
    """By hand, while a run is under way: it is not overwritten."""

    def test_between_the_look_and_the_write_it_stays(self) -> None:
        sandbox, app = rotating()
        another = authorized_again(sandbox)
        stored = Interrupt(lambda: sandbox.vault.put(REFRESH_TOKEN, another), before=False)
        sandbox.faults.add(Fault(service="instance", path=TOKEN_ENDPOINT, action=stored))
        report = tick(app)
        assert report.outcome is Outcome.REFRESHED
        assert WarningCode.REFRESH_TOKEN_REPLACED in {warning.code for warning in report.warnings}
        held = sandbox.vault.get(REFRESH_TOKEN)
        assert held is not None
        assert held.value == another
        sandbox.clock.advance(INTERVAL)
        assert tick(app).outcome is Outcome.REFRESHED
        assert is_kept(sandbox)

    @pytest.mark.parametrize("ahead", thinned([timedelta(minutes=10), timedelta(hours=3)]))
    def test_it_stays_where_this_clock_is_ahead(self, ahead: timedelta) -> None:
        """Between a run that found none and its write; by our clock that was before the run began."""
        sandbox = DirectSandbox()
        sandbox.add_connection(refresh_token=False, username=True)
        app = direct_app(sandbox, Process(sandbox, ahead=ahead), SERVICENOW_FALLBACK_GRANT="password")
        another = authorized_again(sandbox)
        stored = Interrupt(lambda: sandbox.vault.put(REFRESH_TOKEN, another), before=False)
        sandbox.faults.add(Fault(service="instance", path=TOKEN_ENDPOINT, action=stored))
        report = tick(app)
        assert WarningCode.REFRESH_TOKEN_REPLACED in {warning.code for warning in report.warnings}
        assert [each.value for each in sandbox.vault.versions(REFRESH_TOKEN)] == [another]

    def test_what_a_vault_tells_late_is_no_other_one(self) -> None:
        """It takes a write and still tells for a while what it held before: that hides no second successor."""
        sandbox, app = rotating()
        answer_with(sandbox, field("expires_in", 0))
        fault(sandbox, "GET", REFRESH_TOKEN, told_late(sandbox, -1), times=None, after=2)
        report = tick(app)
        assert (report.outcome, report.attempts) == (Outcome.REFRESHED, 2)
        assert WarningCode.REFRESH_TOKEN_REPLACED not in {warning.code for warning in report.warnings}
        assert is_kept(sandbox)

    def test_nor_is_what_it_held_before_this_run_found_another(self) -> None:
        sandbox, app = rotating()
        tick(app)
        sandbox.clock.advance(INTERVAL)
        fault(sandbox, "GET", REFRESH_TOKEN, told_late(sandbox, -2), after=1)
        report = tick(app)
        assert report.outcome is Outcome.REFRESHED
        assert WarningCode.REFRESH_TOKEN_REPLACED not in {warning.code for warning in report.warnings}
        assert is_kept(sandbox)

    @pytest.mark.parametrize("typed", [" ", "<refresh token>"])
    def test_nor_is_what_holds_nothing(self, typed: str) -> None:
        """A mistyped `az keyvault secret set` in the middle of a run is not worth the one that works."""
        sandbox, app = rotating()
        blank = Interrupt(lambda: sandbox.vault.put(REFRESH_TOKEN, typed), before=False)
        sandbox.faults.add(Fault(service="instance", path=TOKEN_ENDPOINT, action=blank))
        assert tick(app).outcome is Outcome.REFRESHED
        assert is_kept(sandbox)

    def test_so_does_what_another_run_stored_while_this_one_was_frozen(self) -> None:
        sandbox, app = rotating()
        thawed = direct_app(sandbox, Process(sandbox), 1)

        def freeze() -> None:
            sandbox.clock.advance(timedelta(minutes=10))
            sandbox.vault.put(REFRESH_TOKEN, authorized_again(sandbox))
            assert tick(thawed).outcome is Outcome.REFRESHED

        sandbox.faults.add(Fault(service="instance", path=TOKEN_ENDPOINT, action=Interrupt(freeze, before=False)))
        report = tick(app)
        assert report.outcome is not Outcome.REFRESHED
        assert is_kept(sandbox)
        assert is_published(sandbox)
        token, target = sandbox.vault.get(TOKEN), sandbox.vault.get("servicenow--action--global--oauth-token")
        assert token is not None
        assert target is not None
        assert token.tags["run-id"] != report.run_id
        assert target.value == token.value
