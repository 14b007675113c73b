"""A refresh token that ServiceNow replaces at its use: whatever else goes wrong, the newest one is kept."""

import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.report import Outcome, RunReport
from sandbox import Fault, Personality
from sandbox.direct import DirectSandbox
from sandbox.faults import Rewrite
from tests.conftest import direct, tick

pytestmark = pytest.mark.wire("any")

TOKEN_ENDPOINT = "/oauth_token.do"
TOKEN = "servicenow-oauth-token"
REFRESH_TOKEN = "servicenow-refresh-token"
INTERVAL = timedelta(minutes=50)
TICK = timedelta(minutes=5)


def rotating(settings: dict[str, str] | None = None) -> tuple[DirectSandbox, App]:
    """A connection without another grant that was seen to rotate, with a token that is due."""
    sandbox, app = direct(settings, Personality(rotates=True))
    assert tick(app).outcome is Outcome.REFRESHED
    sandbox.clock.advance(INTERVAL)
    sandbox.log.clear()
    return sandbox, app


def is_kept(sandbox: DirectSandbox) -> bool:
    """Whether ServiceNow accepts the refresh token that the vault holds."""
    held = sandbox.vault.get(REFRESH_TOKEN)
    return held is not None and sandbox.instance.is_living_refresh_token(held.value)


def is_published(sandbox: DirectSandbox) -> bool:
    """Whether the API accepts the token that consumers read."""
    held = sandbox.vault.get(TOKEN)
    return held is not None and sandbox.instance.is_living_access_token(held.value)


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
    "cut short": lambda body: json.dumps(dict(reversed(json.loads(body).items()))).encode()[:-20],
}


class TestAnAnswerOfNoOtherUse:
    """The refresh token in it is stored first, and it is what the next request sends."""

    @pytest.mark.parametrize("kind", OF_NO_USE)
    def test_the_next_try_sends_the_new_one(self, kind: str) -> None:
        sandbox, app = rotating()
        answer_with(sandbox, OF_NO_USE[kind])
        report = tick(app)
        assert (report.outcome, report.attempts) == (Outcome.REFRESHED, 2)
        assert is_kept(sandbox)
        assert is_published(sandbox)

    @pytest.mark.parametrize("kind", OF_NO_USE)
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


class TestALifeThatIsNotStated:
    """It is taken for ServiceNow's default, and the token published where the probe says that it lives."""

    @pytest.mark.parametrize("expires_in", [None, "soon", []])
    def test_it_is_half_an_hour(self, expires_in: object) -> None:
        sandbox, app = rotating()
        answer_with(sandbox, field("expires_in", expires_in))
        report = tick(app)
        assert (report.outcome, report.attempts) == (Outcome.REFRESHED, 1)
        assert is_published(sandbox)
        assert report.access_token_expires_at is not None
        assert timedelta(minutes=29) < report.access_token_expires_at - sandbox.clock.now() <= timedelta(minutes=30)

    @pytest.mark.parametrize("settings", [{"PROBE_PATH": ""}, {}])
    def test_nothing_is_published_where_nothing_says_that_the_token_lives(self, settings: dict[str, str]) -> None:
        sandbox, app = rotating(settings)
        before = sandbox.vault.get(TOKEN)
        sandbox.instance.personality = Personality(rotates=True, probe_status=503)
        answer_with(sandbox, field("expires_in", None))
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.KEPT, Cause.NOT_A_TOKEN)
        assert sandbox.vault.get(TOKEN) == before
        assert is_kept(sandbox)

    @pytest.mark.parametrize("expires_in", [2_147_483_647, "99999999999", 10**30, 3599.9])
    def test_a_life_without_end_or_with_a_fraction_is_one(self, expires_in: object) -> None:
        sandbox, app = rotating()
        answer_with(sandbox, field("expires_in", expires_in), times=None)
        report: RunReport = tick(app)
        assert report.outcome is Outcome.REFRESHED
        assert is_published(sandbox)
        sandbox.clock.advance(INTERVAL)
        assert tick(app).outcome is Outcome.REFRESHED
