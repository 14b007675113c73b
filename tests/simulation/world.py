"""A connection, and all that happens around it: time, runs, trouble, operators, others who send its password."""

import json
import logging
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial

from refresher.model.report import RunRequest, Trigger
from refresher.policy.password_gate import TRIES as PASSWORD_TRIES
from refresher.status.connection_status import State
from sandbox.clock import SandboxClock
from sandbox.direct import Killed, Process
from sandbox.faults import Action, Fault, Interrupt
from sandbox.personality import Personality
from sandbox.trial.host import direct_app
from sandbox.vault import Policy
from tests.conftest import CapturedLog
from tests.simulation.trouble import (
    CLIENT_SECRET,
    COPY,
    NEIGHBOUR,
    PASSWORD,
    RECORD,
    REFRESH_TOKEN,
    Kill,
    Late,
    Rival,
    StoredByHand,
    Trouble,
)
from tests.simulation.watched import PLACES, Held, Place, Run, Watched

NAME = "servicenow"
LONGEST_RUN = 60
"""Seconds, of the lease."""


class World:
    """One connection with everything around it.

    `fallback`: the password is sent when the refresh token fails; `shared`: another connection sends it as well.
    """

    def __init__(self, personality: Personality, *, fallback: bool, shared: bool = False) -> None:
        self.fallback = fallback
        self.sandbox = Watched(personality, SandboxClock())
        self.clock, self.instance = self.sandbox.clock, self.sandbox.instance
        self.vault = self.sandbox.vault
        self.application, self.user = self.sandbox.application, self.sandbox.application.user
        self.password_tries = PASSWORD_TRIES
        """How many refusals of the password there may have been: one more for each run that an engineer forces."""
        self.last: Run | None = None
        self._deleted_refresh_token: str | None = None
        self.lost_by_rotation = False
        """Whether ServiceNow, known to rotate, replaced the stored refresh token, and its answer was lost."""
        connection: dict[str, object] = {
            "instance_url": self.instance.url,
            "publish_to": [COPY, f"{self.sandbox.vaults['chat'].url}/secrets/{COPY}"],
        }
        if fallback:
            connection["fallback_grant"] = "password"
        connections = {NAME: connection}
        self.shared = shared
        if shared:
            connections[NEIGHBOUR] = {"instance_url": self.instance.url, "publish_to": [], "grant": "password"}
            self._add_neighbour()
        self._settings = {"SERVICENOW_CONNECTIONS": json.dumps(connections), "SERVICENOW_INSTANCE_URL": ""}
        self.log = CapturedLog()
        logging.getLogger().addHandler(self.log)
        self._start()
        self._rival = direct_app(self.sandbox, Process(self.sandbox), 1, **self._settings)
        # The SDK keeps the vaults' challenges for the life of the real process: every history begins with them.
        self._app.status([NAME])

    def _start(self) -> None:
        self._process = Process(self.sandbox)
        self._app = direct_app(self.sandbox, self._process, 0, **self._settings)

    def close(self) -> None:
        """Stop listening to the log."""
        logging.getLogger().removeHandler(self.log)

    # What happens.

    def tick(self) -> Run:
        """The timer fires."""
        return self._run(RunRequest(trigger=Trigger.TIMER))

    def force(self) -> Run:
        """An engineer forces a run."""
        self.password_tries += 1
        return self._run(RunRequest(trigger=Trigger.CLI, force=True))

    def wait(self, span: timedelta) -> None:
        """Time passes; a negative span puts the clock back."""
        self.clock.advance(span)

    def meet(self, trouble: Sequence[Trouble]) -> None:
        """Let things go wrong from now on."""
        for each in trouble:
            self.sandbox.faults.add(self._fault(each))

    def _fault(self, trouble: Trouble) -> Fault:
        service, path = trouble.what
        action: Action
        match trouble.happens:
            case Kill(before):
                action = Interrupt(self._kill, before=before)
            case Rival(force):
                action = Interrupt(partial(self._rival_runs, force=force))
            case Late(seconds):
                action = Interrupt(partial(self._answer_comes_late, seconds), before=False)
            case StoredByHand():
                action = Interrupt(self._somebody_authorizes)
            case _ as happens:
                action = happens
        once = isinstance(action, Interrupt)
        return Fault(
            service=service,
            path=path,
            method=trouble.method,
            action=action,
            after=trouble.after,
            times=1 if once else trouble.times,
        )

    def _kill(self) -> None:
        self._process.kill()

    def _answer_comes_late(self, seconds: int) -> None:
        self.wait(timedelta(seconds=seconds))
        if seconds > LONGEST_RUN and self.sandbox.run is not None:
            self.sandbox.run.frozen = True
            self._rival_runs(force=False)

    def _somebody_authorizes(self) -> None:
        self.authorize_again()
        if self.sandbox.run is not None:
            # Once one is about to be written, nobody looks again: the hop that is left.
            self.sandbox.run.by_hand = None if self.sandbox.run.storing else self.refresh_token()
            self.sandbox.run.stored_by_hand = self.refresh_token()

    def _rival_runs(self, *, force: bool) -> None:
        self.password_tries += force
        if self.sandbox.run is not None:
            self.sandbox.run.reports += self._rival.refresh([NAME], RunRequest(trigger=Trigger.CLI, force=force))

    def faults_end(self) -> None:
        """Everything answers again."""
        self.sandbox.faults.clear()
        while self.sandbox.leases.is_leased("servicenow"):
            # That of a killed run ends within a minute of the storage service's clock, which nobody puts back.
            self.wait(timedelta(minutes=1))

    def _run(self, request: RunRequest) -> Run:
        run = Run(
            before=self._held(),
            refresh_token_before=self.refresh_token(),
            deleted_refresh_token=self._deleted_refresh_token,
        )
        self.sandbox.run = run
        lived_before, known_to_rotate = (
            self.refresh_token_lives(),
            "rotates=true" in self.record().get("refresh-token", ""),
        )
        try:
            run.reports += self._app.refresh([NAME], request)
        except Killed:
            run.killed = True
            self._start()
        self.sandbox.run = None
        run.most_token_requests_at_once, self.application.most_open_requests = self.application.most_open_requests, 0
        run.after, run.refresh_token_after = self._held(), self.refresh_token()
        run.still_accepted = {place: self._accepted(held.value) for place, held in run.before.items() if held}
        run.refresh_token_lives = self.refresh_token_lives()
        run.living_received = any(self.instance.is_living_refresh_token(token) for token in run.received)
        self._count_from_the_last_success()
        if run.refresh_token_after != run.refresh_token_before:
            self.lost_by_rotation = False
        elif lived_before and not run.refresh_token_lives and self.instance.personality.rotates:
            self.lost_by_rotation = known_to_rotate
        self.last = run
        return run

    def neighbour_runs(self) -> None:
        """The timer fires for the other connection of the same user."""
        try:
            self._app.refresh([NEIGHBOUR], RunRequest(trigger=Trigger.TIMER))
        except Killed:
            self._start()
        self._count_from_the_last_success()

    def _count_from_the_last_success(self) -> None:
        if self.sandbox.passwords_refused == 0:
            self.password_tries = PASSWORD_TRIES

    # What operators do.

    def _add_neighbour(self) -> None:
        application = self.instance.register(self.user.name)
        self.vault.put(f"{NEIGHBOUR}-client-id", application.client_id)
        self.vault.put(f"{NEIGHBOUR}-client-secret", application.client_secret)
        self.vault.put(f"{NEIGHBOUR}-username", self.user.name.upper())
        self.vault.put(f"{NEIGHBOUR}-password", self.user.password)

    def put(self, name: str, value: str) -> None:
        """Store a value by hand: a new version, without tags."""
        if name not in self.vault.names():
            self._purge(name)
        self.vault.put(name, value)
        self._forget(name)

    def put_right(self) -> None:
        """Mend what operators broke, as the runbook says; what the product can mend is left to it."""
        self.user.locked, self.user.failed_logins = False, 0
        for vault in self.sandbox.vaults.values():
            vault.allow_all()
            for name in vault.names():
                vault.versions(name)[-1].enabled = True
        if self._value(CLIENT_SECRET) != self.application.client_secret:
            self.put(CLIENT_SECRET, self.application.client_secret)
        tried = "password" in self.record() or "password" in self._tags(f"{NEIGHBOUR}-refresh-record")
        refused = tried and not self.refresh_token_lives()
        if self._value(PASSWORD) != self.user.password or refused:
            self.put(PASSWORD, self.user.password)

    def authorize_again(self) -> None:
        """Start a new refresh token's life by hand."""
        self.put(REFRESH_TOKEN, self.instance.authorize(self.application))

    def spoil(self, name: str, how: str) -> None:
        """Take a secret away, or something of it."""
        secret = self.vault.get(name)
        match how:
            case _ if secret is None:
                pass
            case "deleted" | "purged":
                if name == REFRESH_TOKEN:
                    self._deleted_refresh_token = self.refresh_token()
                self.vault.delete(name)
                if how == "purged":
                    self._purge(name)
            case "disabled":
                secret.enabled = False
                return
            case "hidden":
                self.vault.deny("get", name)
                return
            case _:
                secret.tags.clear()
        self._forget(name)

    def let_policy_be(self, policy: Policy) -> None:
        """Let Azure Policy ask this of all secrets."""
        for vault in self.sandbox.vaults.values():
            vault.policy = policy

    def change_at_servicenow(self, what: str) -> None:
        """Make what the vault holds worthless."""
        match what:
            case "client secret":
                self.instance.change_client_secret(self.application)
            case "password":
                self.instance.change_password(self.user.name)
            case _:
                self.instance.kill_refresh_token(self.refresh_token() or "")

    def _value(self, name: str) -> str | None:
        secret = self.vault.get(name)
        return secret.value if secret is not None else None

    def _forget(self, name: str) -> None:
        """What operators take away or store anew cannot be remembered any longer."""
        if name in {PASSWORD, RECORD, f"{NEIGHBOUR}-password"}:
            self.password_tries = self.sandbox.passwords_refused + PASSWORD_TRIES
        if name in {RECORD, REFRESH_TOKEN}:
            self.lost_by_rotation = False

    def _purge(self, name: str) -> None:
        with suppress(KeyError):
            self.vault.purge(name)

    # What there is to be seen.

    def refresh_token(self) -> str | None:
        """The refresh token in the vault."""
        secret = self.vault.get(REFRESH_TOKEN)
        return secret.value.strip() if secret is not None else None

    def refresh_token_lives(self) -> bool:
        """Whether ServiceNow accepts the refresh token in the vault."""
        token = self.refresh_token()
        return token is not None and self.instance.is_living_refresh_token(token)

    def is_served(self) -> bool:
        """Whether every consumer holds the same token, and ServiceNow accepts it."""
        held = [self.held(place) for place in PLACES]
        accepted = all(each is not None and each.ends_at is not None for each in held)
        return accepted and len({each.value for each in held if each is not None}) == 1

    def is_fresh(self) -> bool:
        """Whether the product says so as well; where ServiceNow returns one token until it ends, that is fresh."""
        (status,) = self._app.status([NAME])
        same_token = self.instance.personality.same_token and status.state in {State.DUE, State.EXPIRING}
        return self.is_served() and (status.state is State.FRESH or same_token)

    def record(self) -> dict[str, str]:
        """What the product remembers of failures."""
        return self._tags(RECORD)

    def _tags(self, name: str) -> dict[str, str]:
        secret = self.vault.get(name)
        return secret.tags if secret is not None else {}

    def held(self, place: Place) -> Held | None:
        """What a consumer reads there."""
        secret = self.sandbox.vaults[place.vault].get(place.name)
        if secret is None:
            return None
        issued_at = secret.tags.get("issued-at")
        dated = secret.enabled and issued_at is not None and datetime.fromisoformat(issued_at) <= self.clock.now()
        return Held(value=secret.value, ends_at=self._accepted(secret.value), dated=dated)

    def _held(self) -> dict[Place, Held | None]:
        return {place: self.held(place) for place in PLACES}

    def _accepted(self, value: str) -> datetime | None:
        return self.instance.access_token_ends_at(value) if self.instance.is_living_access_token(value) else None
