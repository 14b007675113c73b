"""Thirty situations, each broken ten minutes after a refresh: what is told, who is mailed, what heals it.

`test_situations` has what doctor suspects. Here stands what status says at first and in the end, without being asked
for more, which alerts come, and that what is proposed is the way back.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger
from refresher.model.tokens import Secret
from refresher.run.by_hand import Authorization
from refresher.status.health import ConnectionStatus
from refresher.views.page import status_page
from refresher.views.verdict import verdict
from refresher.web import status_reply
from sandbox import CANARY_PREFIX, PERSONALITIES
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Action, Drop, Fault, Respond
from sandbox.running import ConnectionSecrets
from sandbox.trial.host import direct_app
from tests.conftest import CapturedLog, tick
from tests.infra.kql import selects
from tests.infra.test_alerts import QUERIES, messages
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

NAME, TOKEN, REFRESH_TOKEN = "servicenow", "servicenow-oauth-token", "servicenow-refresh-token"
SECRET = "servicenow-client-secret"
COPY = "servicenow--action--global--oauth-token"
BY_HAND, FORCED = RunRequest(trigger=Trigger.CLI), RunRequest(trigger=Trigger.CLI, force=True)
JSON = {"Content-Type": "application/json"}
FIREWALL = json.dumps({"error": {"code": "Forbidden", "innererror": {"code": "ForbiddenByFirewall"}}}).encode()


@dataclass
class Place:
    """An installation, and the hands of those who break and repair it."""

    sandbox: DirectSandbox
    app: App
    secrets: ConnectionSecrets
    kept: str = ""

    def newest(self, name: str) -> str:
        return self.sandbox.vault.versions(name)[-1].value

    def tick(self, minutes: int = 5) -> RunReport:
        self.sandbox.clock.advance(minutes=minutes)
        self.app.note_tick()
        return tick(self.app)

    def status(self) -> ConnectionStatus:
        (status,) = self.app.status()
        return status


Hand = Callable[[Place], object]


def answers(action: Action, service: str = "instance", path: str | None = None) -> Hand:
    return lambda place: place.sandbox.faults.add(Fault(service=service, path=path, times=None, action=action))


def replaced(name: str) -> Hand:
    def do(place: Place) -> None:
        place.kept = place.newest(name)
        place.sandbox.vault.put(name, f"{CANARY_PREFIX}wrong")

    return do


def stored(name: str) -> Hand:
    def do(place: Place) -> None:
        place.sandbox.vault.put(name, place.kept)
        forced(place)

    return do


def switched(name: str, *, on: bool) -> Hand:
    return lambda place: setattr(place.sandbox.vault.versions(name)[-1], "enabled", on)


def deleted(name: str) -> Hand:
    return lambda place: place.sandbox.vault.delete(name)


def recovered(name: str) -> Hand:
    return lambda place: place.sandbox.vault.recover(name)


def denied(*operations: str, name: str = ".*") -> Hand:
    def do(place: Place) -> None:
        for operation in operations:
            place.sandbox.vault.deny(operation, name)

    return do


def killed(place: Place) -> None:
    place.sandbox.instance.kill_access_token(place.newest(TOKEN))


def killed_for_good(place: Place) -> None:
    place.sandbox.instance.kill_refresh_token(place.newest(REFRESH_TOKEN))


def another_secret_there(place: Place) -> None:
    place.kept = place.sandbox.instance.change_client_secret(place.secrets.application)


def application(*, active: bool) -> Hand:
    return lambda place: setattr(place.secrets.application, "active", active)


def asleep(place: Place) -> None:
    place.sandbox.instance.personality = PERSONALITIES["hibernating"]


def woken(place: Place) -> None:
    place.sandbox.instance.personality = PERSONALITIES["default"]


def leased_for_ever(place: Place) -> None:
    place.sandbox.leases.hold(NAME, None)


def weather_clears(place: Place) -> None:
    place.sandbox.faults.clear()


def allowed(place: Place) -> None:
    place.sandbox.vault.allow_all()


def forced(place: Place) -> None:
    place.app.refresh([NAME], FORCED)


def authorized(place: Place) -> None:
    brought: dict[str, Secret | str] = {
        "username": Secret(place.newest("servicenow-username")),
        "password": Secret(place.newest("servicenow-password")),
    }
    report = place.app.authorize(NAME, BY_HAND, Authorization(grant=Grant.PASSWORD, brought=brought))
    assert report.outcome is Outcome.REFRESHED, report


def revoked(place: Place) -> None:
    place.app.revoke(NAME, BY_HAND)


def nothing(_: Place) -> None:
    """It heals by itself."""


def both(first: Hand, second: Hand) -> Hand:
    return lambda place: (first(place), second(place))


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What is broken; the state that status shows ten minutes later and after an hour, with its cause then."""

    do: Hand
    soon: str = "fresh"
    late: str
    cause: str | None = None
    mails: frozenset[str] = frozenset()
    step: str = ""
    """In the next step that is shown in the end."""
    heal: Hand = nothing


def mails(*names: str) -> frozenset[str]:
    return frozenset(names)


AWAY = Situation(do=nothing, late="expired", mails=mails("RefreshFailing"), heal=weather_clears)
REFUSED = Situation(
    do=nothing,
    late="authorization_required",
    cause="refresh_token_refused",
    mails=mails("AuthorizationRequired", "ServiceNowUnauthorized"),
    step="authorize servicenow",
)
VAULT = Situation(do=nothing, soon="unknown", late="unknown", cause="vault_forbidden", mails=mails("VaultForbidden"))
SITUATIONS: Mapping[str, Situation] = {
    "the access token is revoked": Situation(do=killed, late="fresh"),
    "the refresh token is revoked": replace(REFUSED, do=killed_for_good, heal=authorized),
    "both are revoked": replace(
        REFUSED,
        do=both(killed, killed_for_good),
        soon="refused",
        heal=authorized,
        mails=mails("AuthorizationRequired", "VerificationRefused"),
    ),
    "the client secret is changed on the instance": replace(REFUSED, do=another_secret_there, heal=stored(SECRET)),
    "the client secret is replaced in the vault": replace(REFUSED, do=replaced(SECRET), heal=stored(SECRET)),
    "the application is made inactive": replace(
        REFUSED, do=application(active=False), heal=both(application(active=True), forced)
    ),
    "the instance falls asleep": replace(AWAY, do=asleep, cause="instance_hibernating", step="wakes it", heal=woken),
    "the instance answers 503": replace(AWAY, do=answers(Respond(503, {}, b"")), cause="instance_error"),
    "the instance does not answer": replace(AWAY, do=answers(Drop()), cause="instance_timeout"),
    "the instance limits the rate": replace(
        AWAY, do=answers(Respond(429, {"Retry-After": "60"}, b"")), cause="instance_throttled", step="raise the limit"
    ),
    "a login page answers": replace(
        AWAY,
        do=answers(Respond(200, {"Content-Type": "text/html"}, b"<html>Sign in")),
        cause="not_a_token",
        step="SERVICENOW_INSTANCE_URL",
    ),
    "everything is redirected": replace(
        AWAY,
        do=answers(Respond(302, {"Location": "https://sso.example.com/x"}, b"")),
        cause="not_a_token",
        step="SERVICENOW_INSTANCE_URL",
    ),
    "the app's address is kept out": replace(
        AWAY,
        do=answers(Respond(403, JSON, b'{"error": {"message": "User Not Authorized"}}')),
        cause="address_refused",
        step="outgoing address",
    ),
    "the API refuses every token": Situation(
        do=answers(Respond(401, JSON, b'{"error": {}}'), path="/api/now"),
        soon="refused",
        late="expired",
        cause="token_rejected",
        mails=mails("VerificationRefused", "ServiceNowUnauthorized"),
        step="Correct the user or the policy",
        heal=both(weather_clears, forced),
    ),
    "everything is refused, as after a clone": replace(
        REFUSED,
        do=both(killed, answers(Respond(401, JSON, b'{"error": "server_error"}'))),
        soon="refused",
        heal=both(weather_clears, forced),
        mails=mails("AuthorizationRequired", "VerificationRefused"),
    ),
    "the app's roles are removed": replace(
        VAULT, do=denied("get", "set", "update", "list", "recover"), step="az role assignment create", heal=allowed
    ),
    "the vault's firewall is shut": replace(
        VAULT, do=answers(Respond(403, JSON, FIREWALL), "vault", "/secrets"), step="network", heal=weather_clears
    ),
    "the vault answers 503": replace(
        VAULT,
        do=answers(Respond(503, JSON, b'{"error": {}}'), "vault", "/secrets"),
        heal=weather_clears,
        cause="vault_unavailable",
        mails=mails("RefreshFailing"),
    ),
    "a copy is deleted": Situation(do=deleted(COPY), late="fresh"),
    "a copy is disabled": Situation(
        do=switched(COPY, on=False), late="fresh", step="--enabled true", heal=switched(COPY, on=True)
    ),
    "the token is disabled": Situation(
        do=switched(TOKEN, on=False), late="fresh", step="--enabled true", heal=switched(TOKEN, on=True)
    ),
    "a copy may not be written": Situation(
        do=denied("set", "update", name=COPY),
        late="failing",
        cause="publish_failed",
        mails=mails("PublishFailed"),
        step="doctor",
        heal=allowed,
    ),
    "a copy is overwritten by hand": Situation(do=replaced(COPY), late="fresh"),
    "the token is overwritten by hand": Situation(do=replaced(TOKEN), late="fresh"),
    "the refresh token's secret is deleted": Situation(
        do=deleted(REFRESH_TOKEN),
        soon="authorization_required",
        late="authorization_required",
        cause="refresh_token_missing",
        mails=mails("AuthorizationRequired"),
        step="authorize servicenow",
        heal=authorized,
    ),
    "the refresh token's secret is disabled": Situation(
        do=switched(REFRESH_TOKEN, on=False),
        soon="failing",
        late="expired",
        cause="secret_disabled",
        mails=mails("RefreshFailing"),
        step="--enabled true",
        heal=switched(REFRESH_TOKEN, on=True),
    ),
    "the client secret's secret is deleted": Situation(
        do=deleted(SECRET),
        soon="failing",
        late="expired",
        cause="secret_missing",
        mails=mails("RefreshFailing"),
        step="az keyvault secret recover",
        heal=recovered(SECRET),
    ),
    "the client id's secret is disabled": Situation(
        do=switched("servicenow-client-id", on=False),
        soon="failing",
        late="expired",
        cause="secret_disabled",
        mails=mails("RefreshFailing"),
        step="--enabled true",
        heal=switched("servicenow-client-id", on=True),
    ),
    "a lease is held for ever": Situation(
        do=leased_for_ever,
        late="expired",
        mails=mails("LeaseStuck"),
        step="doctor servicenow",
        heal=lambda place: place.sandbox.leases.hold(NAME, timedelta(seconds=1)),
    ),
    "an operator revokes": Situation(
        do=revoked,
        soon="authorization_required",
        late="authorization_required",
        cause="refresh_token_missing",
        mails=mails("AuthorizationRequired"),
        step="authorize servicenow",
        heal=authorized,
    ),
}


def broken(situation: Situation) -> Place:
    sandbox = DirectSandbox()
    secrets = sandbox.add_connection(username=True)
    place = Place(sandbox=sandbox, app=direct_app(sandbox, Process(sandbox)), secrets=secrets)
    place.tick(0)
    place.tick(10)
    situation.do(place)
    return place


@pytest.mark.parametrize("name", thinned(list(SITUATIONS), 6))
def test_what_is_told_is_so_and_what_is_proposed_heals(name: str, everything_logged: CapturedLog) -> None:
    situation = SITUATIONS[name]
    place = broken(situation)
    everything_logged.lines.clear()
    mailed: set[str] = set()
    for minute in range(5, 70, 5):
        place.tick()
        seen = list(messages(everything_logged))
        mailed |= {alert for alert, query in QUERIES.items() if any(selects(query, line) for line in seen)} - {
            "RefreshMissing"
        }
        if minute == 10:
            assert place.status().state == situation.soon
    status, timer, now = place.status(), place.app.timer(), place.sandbox.clock.now()
    assert (status.state, status.cause) == (situation.late, situation.cause)
    assert mailed == situation.mails
    assert situation.step in str(status.next_step)
    # Page, monitor and the line above all say the same.
    heading = verdict([status], timer)
    assert heading in status_page([status], timer, now)
    works = "Every connection holds a working token" in heading
    assert works == (status_reply([status], timer, now).status == 200) == (status.working is True)
    situation.heal(place)
    for _ in range(3):
        place.tick()
    healed = place.status()
    assert (healed.state, healed.working) == ("fresh", True), healed


def test_there_are_thirty() -> None:
    assert len(SITUATIONS) == 30
