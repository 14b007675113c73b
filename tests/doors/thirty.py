"""Thirty situations, each broken ten minutes after a refresh: what is told, who is mailed, what heals it and how soon.

`python -m tests.doors.thirty` walks each to its end and prints the table; `test_thirty` holds them to it. What
a person types counts as a command: the first look, the examination where that is needed, the cure. What is done on
consoles of others does not.
"""

import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial

from refresher.status.connection_status import ConnectionStatus
from refresher.status.timer import TimerStatus
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Drop, Respond
from sandbox.trial.host import direct_app
from tests.conftest import CapturedLog
from tests.doors.breaking import (
    FIREWALL,
    JSON,
    Hand,
    Place,
    allowed,
    another_secret_there,
    answers,
    application,
    asleep,
    authorized,
    both,
    deleted,
    denied,
    forced,
    killed,
    killed_for_good,
    lease_broken,
    leased_for_ever,
    nothing,
    recovered,
    replaced,
    revoked,
    stored,
    switched,
    weather_clears,
    woken,
)
from tests.infra.kql import selects
from tests.infra.test_alerts import QUERIES, messages
from tests.names import CLIENT_SECRET, REFRESH_TOKEN, TARGET, TOKEN


@dataclass(frozen=True)
class Cure:
    """What heals, and how the commands begin that a person types for it; what consoles of others do is none."""

    do: Hand
    typed: tuple[str, ...] = ()


FORCE = "python -m refresher refresh servicenow --force"
AUTHORIZED = Cure(authorized, ("python -m refresher authorize servicenow --grant password",))
STORED = Cure(stored(CLIENT_SECRET), ("az keyvault secret set", FORCE))
ALLOWED = Cure(allowed, ("az role assignment create",))


def enabled(name: str) -> Cure:
    return Cure(switched(name, on=True), ("az keyvault secret set-attributes",))


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
    heal: Cure = field(default_factory=lambda: Cure(nothing))


def mails(*names: str) -> frozenset[str]:
    return frozenset(names)


AWAY = Situation(do=nothing, late="expired", mails=mails("RefreshFailing"), heal=Cure(weather_clears))
REFUSED = Situation(
    do=nothing,
    late="authorization_required",
    cause="refresh_token_refused",
    mails=mails("AuthorizationRequired", "ServiceNowUnauthorized"),
    step="authorize servicenow",
)
DISABLED = Situation(do=nothing, late="fresh", mails=mails("PublishFailed"), step="--enabled true")
VAULT = Situation(do=nothing, soon="unknown", late="unknown", cause="vault_forbidden", mails=mails("VaultForbidden"))
SITUATIONS: Mapping[str, Situation] = {
    "the access token is revoked": Situation(do=killed, late="fresh"),
    "the refresh token is revoked": replace(REFUSED, do=killed_for_good, heal=AUTHORIZED),
    "both are revoked": replace(
        REFUSED,
        do=both(killed, killed_for_good),
        soon="authorization_required",
        heal=AUTHORIZED,
        mails=mails("AuthorizationRequired", "VerificationRefused"),
    ),
    "the client secret is changed on the instance": replace(REFUSED, do=another_secret_there, heal=STORED),
    "the client secret is replaced in the vault": replace(REFUSED, do=replaced(CLIENT_SECRET), heal=STORED),
    "the application is made inactive": replace(
        REFUSED, do=application(active=False), heal=Cure(both(application(active=True), forced), (FORCE,))
    ),
    "the instance falls asleep": replace(
        AWAY, do=asleep, cause="instance_hibernating", step="wakes it", heal=Cure(woken)
    ),
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
        heal=Cure(both(weather_clears, forced), (FORCE,)),
    ),
    "everything is refused, as after a clone": replace(
        REFUSED,
        do=both(killed, answers(Respond(401, JSON, b'{"error": "server_error"}'))),
        soon="authorization_required",
        heal=Cure(both(weather_clears, forced), (FORCE,)),
        mails=mails("AuthorizationRequired", "VerificationRefused"),
    ),
    "the app's roles are removed": replace(
        VAULT, do=denied("get", "set", "update", "list", "recover"), step="az role assignment create", heal=ALLOWED
    ),
    "the vault's firewall is shut": replace(
        VAULT, do=answers(Respond(403, JSON, FIREWALL), "vault", "/secrets"), step="network", heal=Cure(weather_clears)
    ),
    "the vault answers 503": replace(
        VAULT,
        do=answers(Respond(503, JSON, b'{"error": {}}'), "vault", "/secrets"),
        heal=Cure(weather_clears),
        cause="vault_unavailable",
        mails=mails("RefreshFailing"),
    ),
    "a copy is deleted": Situation(do=deleted(TARGET), late="fresh"),
    "a copy is disabled": replace(DISABLED, do=switched(TARGET, on=False), heal=enabled(TARGET)),
    "the token is disabled": replace(DISABLED, do=switched(TOKEN, on=False), heal=enabled(TOKEN)),
    "a copy may not be written": Situation(
        do=denied("set", "update", name=TARGET),
        late="failing",
        cause="publish_failed",
        mails=mails("PublishFailed"),
        step="doctor",
        heal=ALLOWED,
    ),
    "a copy is overwritten by hand": Situation(do=replaced(TARGET), late="fresh"),
    "the token is overwritten by hand": Situation(do=replaced(TOKEN), late="fresh"),
    "the refresh token's secret is deleted": Situation(
        do=deleted(REFRESH_TOKEN),
        soon="authorization_required",
        late="authorization_required",
        cause="refresh_token_missing",
        mails=mails("AuthorizationRequired"),
        step="authorize servicenow",
        heal=AUTHORIZED,
    ),
    "the refresh token's secret is disabled": Situation(
        do=switched(REFRESH_TOKEN, on=False),
        soon="failing",
        late="expired",
        cause="secret_disabled",
        mails=mails("RefreshFailing"),
        step="--enabled true",
        heal=enabled(REFRESH_TOKEN),
    ),
    "the client secret's secret is deleted": Situation(
        do=deleted(CLIENT_SECRET),
        soon="failing",
        late="expired",
        cause="secret_missing",
        mails=mails("RefreshFailing"),
        step="az keyvault secret recover",
        heal=Cure(recovered(CLIENT_SECRET), ("az keyvault secret recover",)),
    ),
    "the client id's secret is disabled": Situation(
        do=switched("servicenow-client-id", on=False),
        soon="failing",
        late="expired",
        cause="secret_disabled",
        mails=mails("RefreshFailing"),
        step="--enabled true",
        heal=enabled("servicenow-client-id"),
    ),
    "a lease is held for ever": Situation(
        do=leased_for_ever,
        late="expired",
        mails=mails("LeaseStuck"),
        step="doctor servicenow",
        heal=Cure(lease_broken, ("az storage blob lease break",)),
    ),
    "an operator revokes": Situation(
        do=revoked,
        soon="authorization_required",
        late="authorization_required",
        cause="refresh_token_missing",
        mails=mails("AuthorizationRequired"),
        step="authorize servicenow",
        heal=AUTHORIZED,
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


@dataclass(frozen=True, kw_only=True)
class Walk:
    """What was seen on the way from the break to the end."""

    soon: ConnectionStatus
    late: ConnectionStatus
    timer: TimerStatus
    at: datetime
    mailed: Mapping[str, int]
    """Alerts, each with the minutes from the break to the first line that fires it."""
    named: tuple[str, ...]
    """Commands that status names in the end; those that doctor names, where the cure needs them."""
    commands: int
    healed: ConnectionStatus
    minutes: int
    """From the cure until a token works again."""


def walk(situation: Situation, log: CapturedLog) -> Walk:
    """Break it, let an hour pass, look, cure it by what was named, and wait until it works."""
    place = broken(situation)
    log.lines.clear()
    mailed: dict[str, int] = {}
    soon = place.status()
    for minute in range(5, 70, 5):
        place.tick()
        seen = list(messages(log))
        for alert, query in QUERIES.items():
            if alert != "RefreshMissing" and any(selects(query, line) for line in seen):
                mailed.setdefault(alert, minute)
        if minute == 10:
            soon = place.status()
    late, timer, at = place.status(), place.app.timer(), place.sandbox.clock.now()
    cure, looks = situation.heal, 1 if situation.heal.do is not nothing else 0
    named = tuple(map(str, late.next_step.commands)) if late.next_step else ()
    if not all(map(partial(_is_named, named), cure.typed)):
        looks += 1
        steps = (check.remedy for check in place.app.doctor() if check.remedy)
        named += tuple(str(command) for step in steps for command in step.commands)
    cure.do(place)
    minutes = 0
    while place.status().working is not True and minutes < LONGEST_CURE:
        place.tick()
        minutes += 5
    place.tick()
    place.tick()
    return Walk(
        soon=soon,
        late=late,
        timer=timer,
        at=at,
        mailed=mailed,
        named=named,
        commands=looks + len(cure.typed),
        healed=place.status(),
        minutes=minutes,
    )


LONGEST_CURE = 15


def _is_named(named: Iterable[str], begins: str) -> bool:
    return any(command.startswith(begins) for command in named)


def unnamed(situation: Situation, walked: Walk) -> list[str]:
    """What a person would have to type that nothing told them."""
    return [each for each in situation.heal.typed if not _is_named(walked.named, each)]


def main() -> None:
    """Print the table."""
    log = CapturedLog()
    logging.getLogger().addHandler(log)
    logging.getLogger().setLevel(logging.INFO)
    print("| situation | status, at first | after an hour | alert: minutes | commands | minutes from the cure |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, situation in SITUATIONS.items():
        walked = walk(situation, log)
        late = f"{walked.late.state}{f': {walked.late.cause}' if walked.late.cause else ''}"
        alerts = ", ".join(f"{alert}: {minutes}" for alert, minutes in walked.mailed.items()) or "-"
        print(f"| {name} | {walked.soon.state} | {late} | {alerts} | {walked.commands} | {walked.minutes} |")


if __name__ == "__main__":
    main()
