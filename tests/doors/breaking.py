"""An installation, and the hands of those who break and repair it: of its vault, its instance and its lease."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta

from refresher.app import App
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger
from refresher.model.tokens import Secret
from refresher.run.by_hand import Authorization
from refresher.status.connection_status import ConnectionStatus
from sandbox import CANARY_PREFIX, PERSONALITIES
from sandbox.direct import DirectSandbox
from sandbox.faults import Action, Fault
from sandbox.running import ConnectionSecrets
from tests.conftest import tick

NAME, TOKEN, REFRESH_TOKEN = "servicenow", "servicenow-oauth-token", "servicenow-refresh-token"
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


def lease_broken(place: Place) -> None:
    place.sandbox.leases.hold(NAME, timedelta(seconds=1))


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
