"""A connection's runs, seen from outside: on the wires, and in both vaults."""

import json
from dataclasses import dataclass, field
from datetime import datetime

from refresher.model.report import RunReport
from sandbox.clock import SandboxClock
from sandbox.direct import DirectSandbox
from sandbox.faults import Action, Interrupt
from sandbox.http import Request, Response
from sandbox.personality import Personality
from tests.names import TOKEN_ENDPOINT
from tests.simulation.trouble import COPY, REFRESH_TOKEN, TOKEN


@dataclass(frozen=True, slots=True)
class Place:
    """Where consumers read the access token."""

    vault: str
    name: str


MAIN = Place("main", TOKEN)
PLACES = (MAIN, Place("main", COPY), Place("chat", COPY))


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """An access token in the vault; `ends_at` is until when ServiceNow accepts it, None where it does not."""

    value: str
    ends_at: datetime | None
    dated: bool
    """Whether its dates stand beside it, and none of them in the future: otherwise nobody can know its end."""


@dataclass(slots=True, kw_only=True)
class Run:
    """One run, seen from outside; one that another was started in the middle of counts with it as one."""

    before: dict[Place, Held | None]
    refresh_token_before: str | None
    deleted_refresh_token: str | None
    """What comes back where a deleted name is recovered in order to be written."""
    after: dict[Place, Held | None] = field(default_factory=dict)
    refresh_token_after: str | None = None
    still_accepted: dict[Place, datetime | None] = field(default_factory=dict)
    """Until when ServiceNow accepts, after the run, what was there before it."""
    reports: list[RunReport] = field(default_factory=list)
    killed: bool = False
    received: list[str] = field(default_factory=list)
    """Refresh tokens that reached the program."""
    refresh_token_lives: bool = False
    living_received: bool = False
    """Whether ServiceNow accepts, after the run, what is stored, or any of those that were received."""
    unstored: set[str] = field(default_factory=set)
    """Refresh tokens that the vault did not take."""
    storing: bool = False
    """A refresh token is about to be written, or was."""
    by_hand: str | None = None
    """A refresh token that a person stored meanwhile, but for the hop between the last look and the write."""
    stored_by_hand: str | None = None
    """Any."""
    frozen: bool = False
    """The process stood still for longer than a run may take."""
    most_token_requests_at_once: int = 0
    without_probe: bool = False
    """ServiceNow did not say of a token whether it accepts it."""
    without_leases: bool = False
    """The lease service failed meanwhile."""


class Watched(DirectSandbox):
    """Notes what the model is about: refresh tokens that arrive, refusals of passwords, services that fail."""

    def __init__(self, personality: Personality, clock: SandboxClock) -> None:
        super().__init__(personality, clock=clock, vaults=("main", "chat"), log=False)
        self.weather = self
        self.run: Run | None = None
        self.application = self.add_connection(username=True).application
        self.passwords_refused = 0
        """Answers that told the program of a wrong password, since one was accepted."""

    def find(self, service: str, request: Request) -> Action | None:
        """The fault that meets this request."""
        action = self.faults.find(service, request)
        if self.run is not None:
            self.run.storing |= request.method == "PUT" and request.path == f"/secrets/{REFRESH_TOKEN}"
        if self.run is not None and action is not None and not isinstance(action, Interrupt):
            self.run.without_leases |= service == "leases"
            self.run.without_probe |= service == "instance" and request.path != TOKEN_ENDPOINT
        return action

    def exchange(self, host: str, request: Request, patience: float) -> Response:
        """Carry one request out, and note what came of it."""
        response: Response | None = None
        logins_refused = self.application.user.failed_logins
        try:
            response = super().exchange(host, request, patience)
        finally:
            if self.run is not None:
                self._observe(self.run, request, response)
        if request.form.get("grant_type") == "password":
            refused = self.application.user.failed_logins > logins_refused
            self.passwords_refused = self.passwords_refused + refused if self.application.user.failed_logins else 0
        return response

    def _observe(self, run: Run, request: Request, response: Response | None) -> None:
        if request.method == "PUT" and request.path == f"/secrets/{REFRESH_TOKEN}":
            stored, value = self.vault.get(REFRESH_TOKEN), str(request.json.get("value"))
            run.unstored.discard(value)
            if stored is None or stored.value != value:
                run.unstored.add(value)
        if request.path == TOKEN_ENDPOINT and response is not None and response.status == 200:
            token = _json(response.body).get("refresh_token")
            run.received += [token] if isinstance(token, str) else []


def _json(body: bytes) -> dict[str, object]:
    try:
        value = json.loads(body)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
