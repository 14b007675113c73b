"""The refresh token, from one to the next: that a successor can be stored, that each is, that none is overwritten.

Where ServiceNow rotates, the newest one is irreplaceable: nothing else works, and nobody gives it a second time. So
before one that somebody else stored is sent for the first time, the same value is written once more, which shows that
its successor can be. A successor is stored before anything else (`obtain` tries first what left the old one as it
was), again once the access token is published, and so on until the last moment of the run, and for 45 seconds at
least. Key Vault knows no condition on a PUT: so right before each write it is read whether somebody stored another one
meanwhile, which stays. What is left is one hop.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from refresher.keyvault.credentials import Credentials, Found
from refresher.keyvault.errors import BeingRecoveredError
from refresher.keyvault.tags import parse_refresh_token
from refresher.keyvault.vaults import Vaults
from refresher.keyvault.writing import write_refresh_token
from refresher.model import steps
from refresher.model.causes import Cause
from refresher.model.clock import Deadline
from refresher.model.errors import RefresherError, VaultError
from refresher.model.grants import Grant
from refresher.model.report import WarningCode
from refresher.model.steps import Step
from refresher.model.stored import StoredRefreshToken, StoredSecret
from refresher.model.tokens import Secret, TokenResponse
from refresher.policy.choice import keep_or_replace
from refresher.run.failures import AuthorizationRequiredError
from refresher.run.memory import Memory
from refresher.run.run import Run
from refresher.servicenow.oauth import LEAVE_UNMASKED

_PAUSE = 2.0
"""Seconds between two tries to store what must not be lost; each of them consists of several."""
_LOOK_TAKES = timedelta(seconds=3)
_STORING_TAKES = timedelta(seconds=45)
"""From its receipt on: the run's time may be over by then, on a machine that slept and whose network is not back yet.

A tick does not wait for it longer than it may take itself, so that the host's `functionTimeout` is kept.
"""


class _Unstored(NamedTuple):
    """A refresh token that is not stored yet, and why; `spent`: the version whose use it was given for."""

    value: Secret
    life: tuple[datetime, datetime]
    spent: str | None
    error: VaultError


def _newest(*found: Found) -> datetime | None:
    """When the latest of them was stored, by the vault's clock: no other tells what came after a look at it."""
    stored = [each.created_on for each in found if isinstance(each, StoredSecret) and each.created_on is not None]
    return max(stored, default=None)


class Succession:
    """What one run knows of the refresh token; `credentials` hold the newest there is, stored or not."""

    def __init__(self, run: Run, vaults: Vaults, credentials: Credentials, memory: Memory) -> None:
        self.credentials = credentials
        self._run = run
        self._vaults = vaults
        self._memory = memory
        token, secret = credentials.refresh_token, credentials.refresh_token_secret
        self.life = (token.issued_at, token.expires_at) if token is not None else None
        self._stored_version = secret.version if secret is not None else None
        self._found_until = _newest(*credentials.secrets.values(), run.side.secret if run.side is not None else None)
        self._recovering = False
        # Of a vault that still tells for a while what it held before, that is no other one either.
        self._own_values = {token.value} if token is not None else set()
        self._unstored: _Unstored | None = None
        self._store_by = run.writing_deadline

    def prove(self) -> None:
        """Write a refresh token that somebody else stored once more, with its dates. Raises VaultError."""
        token = self.credentials.refresh_token
        # Of one that was sent before, the record tells by its version what became of it.
        if token is None or token.own or self._memory.record.was_sent(token.version):
            return
        other = self._stored_by_another()
        if other is not None:
            token = self._leave_alone(other)
        life = (token.issued_at, token.expires_at)
        self._run.before_writing()
        version = write_refresh_token(self._vaults, self._run.connection, token.value, life, None, self._run.deadline)
        self._take_over(token.value, life, version)

    def tell_of_a_mask(self, response: TokenResponse) -> None:
        """Warn where something came in the place of a refresh token, and is none."""
        if response.refresh_token_masked:
            self._run.warn(
                WarningCode.REFRESH_TOKEN_MASKED,
                "what came as refresh token is none: ServiceNow, or something in between, hid or damaged it; the "
                "stored one was kept, and does not work for long if ServiceNow replaced it",
                Step(
                    f"{LEAVE_UNMASKED} If refreshes are refused from now on: ",
                    steps.authorize(self._run.connection.name),
                ),
            )

    def keep(self, received: Secret | None, grant: Grant, *, doubtful: bool = False) -> None:
        """Store a refresh token that came with an answer, or what is now known of the dates of the old one.

        One that is `doubtful` takes the place of none but a spent one.
        """
        before = self.credentials.refresh_token
        by_refresh = grant is Grant.REFRESH_TOKEN and before is not None
        if doubtful and before is not None and not (by_refresh and self._memory.record.rotates):
            return
        kept = keep_or_replace(before, received, grant, now=self._run.clock.now())
        if kept is None:
            return
        value, issued_at = kept
        life = (issued_at, issued_at + self._run.connection.refresh_token_lifetime)
        self.life = life
        if before is not None and before.value == value:
            self._describe(value, life)
            return
        if by_refresh:
            self._memory.record = replace(self._memory.record, rotates=True)
        self._store_by = Deadline(self._run.clock, _STORING_TAKES)
        spent = before.version if by_refresh and before is not None else None
        if spent is None and self._unstored is not None:
            spent = self._unstored.spent
        version = self._store(value, life, spent)
        if version is not None:
            self._take_over(value, life, version)

    def keep_again(self) -> RefresherError | None:
        """Store what could not be stored yet, until the run's last moment; the error that is left then."""
        while self._unstored is not None:
            waiting = self._unstored
            version = self._store(waiting.value, waiting.life, waiting.spent)
            if version is not None:
                self._take_over(waiting.value, waiting.life, version)
            elif self._time_left().remaining() <= _PAUSE:
                return self._lost(waiting)
            else:
                self._run.clock.sleep(_PAUSE)
        return None

    def _store(self, value: Secret, life: tuple[datetime, datetime], spent: str | None) -> str | None:
        """Its version; None where it could not be stored, or is not to be, since somebody stored another one."""
        other = self._stored_by_another()
        if other is not None:
            self._leave_alone(other)
            return None
        self._own_values.add(value)
        self._run.before_writing()
        try:
            version = write_refresh_token(self._vaults, self._run.connection, value, life, None, self._deadline())
        except VaultError as error:
            self._unstored = _Unstored(value=value, life=life, spent=spent, error=error)
            self._recovering = self._recovering or isinstance(error, BeingRecoveredError)
            self._memory.record = self._memory.record.with_spent_refresh_token(spent)
            # What is sent next is this one, stored or not.
            self._hold(value, life, "")
            return None
        self._unstored = None
        return version

    def _deadline(self) -> Deadline:
        """That of a write: where the time was over before it could begin (the machine slept), time for one."""
        left = self._time_left()
        return left if left.remaining() > 0 else Deadline(self._run.clock, _LOOK_TAKES)

    def _time_left(self) -> Deadline:
        """That of the run's writes or, where it ends later, its own: what is in hand is newer than what was found."""
        return max(self._run.writing_deadline, self._store_by, key=Deadline.remaining)

    def _stored_by_another(self) -> StoredSecret | None:
        """The newest version, where neither this run nor anybody before it stored that."""
        name = self._run.connection.refresh_token_name
        try:
            held = self._vaults.main.read(name, Deadline(self._run.clock, _LOOK_TAKES))
        except VaultError:
            return None  # A doubt is no reason to lose what is in hand.
        if held is None or held.version == self._stored_version:
            return None
        if held.value.is_none or held.value.stripped() in self._own_values:
            return None
        if self._found_until is not None and held.created_on is not None and held.created_on < self._found_until:
            return None  # The vault tells what it held before this run looked, or the name came back with that.
        if self._stored_version is None and self._recovering:
            return None  # The name was deleted, and this run has it back, with what it held before.
        return held

    def _leave_alone(self, other: StoredSecret) -> StoredRefreshToken:
        self._unstored = None
        lifetime, now = self._run.connection.refresh_token_lifetime, self._run.clock.now()
        token = parse_refresh_token(other, lifetime=lifetime, now=now)
        self._take_over(token.value, (token.issued_at, token.expires_at), token.version)
        self._run.warn(
            WarningCode.REFRESH_TOKEN_REPLACED,
            "somebody stored another refresh token while this run was under way; it was left as it is",
            Step("If that was not meant: ", steps.authorize(self._run.connection.name)),
        )
        return token

    def _describe(self, value: Secret, life: tuple[datetime, datetime]) -> None:
        stored = self.credentials.refresh_token_secret
        if stored is None or self._stored_version is None:
            return
        stored = stored._replace(version=self._stored_version, value=value)
        self._run.before_writing()
        try:
            write_refresh_token(self._vaults, self._run.connection, value, life, stored, self._run.writing_deadline)
        except VaultError as error:
            # Only its dates are missing; the next refresh writes them.
            self._run.warn(
                WarningCode.REFRESH_TOKEN_NOT_DESCRIBED,
                f"the dates of the refresh token could not be written: {error.message}",
                error.hint,
            )

    def _take_over(self, value: Secret, life: tuple[datetime, datetime], version: str) -> None:
        self._stored_version = version
        self._own_values.add(value)
        self.life = life
        self._hold(value, life, version)

    def _hold(self, value: Secret, life: tuple[datetime, datetime], version: str) -> None:
        token = StoredRefreshToken(
            value=value, version=version, issued_at=life[0], expires_at=life[1], described=True, own=True
        )
        self.credentials = self.credentials._replace(refresh_token=token)

    def _lost(self, waiting: _Unstored) -> RefresherError:
        connection = self._run.connection
        message = f"the new refresh token could not be stored: {waiting.error.message}"
        fallback = connection.fallback_grant
        renewed = fallback is not None and fallback.row.renews and self.credentials.has(fallback)
        if waiting.spent is None or renewed:
            return VaultError(message, cause=Cause.REFRESH_TOKEN_NOT_STORED, hint=waiting.error.hint)
        hint = Step(waiting.error.hint, " Then: ", steps.authorize(connection.name))
        return AuthorizationRequiredError(message, cause=Cause.REFRESH_TOKEN_NOT_STORED, hint=hint)
