"""What a run writes once it has tokens: which refresh token, which access token, which record.

The order of the writes themselves is `writing`'s; this module decides what they hold.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from refresher.keyvault.credentials import Credentials
from refresher.keyvault.errors import BeingRecoveredError
from refresher.keyvault.found import ConsumerSide
from refresher.keyvault.tags import access_token_tags
from refresher.keyvault.vaults import Vaults
from refresher.keyvault.writing import (
    Published,
    write_access_token,
    write_credentials,
    write_refresh_token,
)
from refresher.model import steps
from refresher.model.causes import Cause, diagnose
from refresher.model.errors import IdentityError, RefresherError, VaultError
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, Warning_, WarningCode
from refresher.model.steps import Step
from refresher.model.stored import StoredAccessToken, StoredRefreshToken
from refresher.model.tokens import AccessToken, Secret, TokenResponse
from refresher.policy.choice import keep_or_replace
from refresher.policy.due import refresh_time
from refresher.policy.forecast import foresee
from refresher.policy.grants import is_ready
from refresher.policy.password_gate import PasswordRefusals
from refresher.policy.refusals import Sent
from refresher.run.failures import PublishFailedError, outcome_of
from refresher.run.memory import Memory
from refresher.run.run import Run
from refresher.servicenow.answers import Probe, Verdict
from refresher.status.lives import remember


@dataclass(frozen=True, slots=True, kw_only=True)
class Unkept:
    """Why a new refresh token could not be stored."""

    error: VaultError
    again: Callable[[], object] | None
    """Stores it after all, once its name is recovered, and raises VaultError; None where that is no use."""

    def once_more(self) -> VaultError | None:
        """Try again what is worth it; the error that is left."""
        if self.again is None:
            return self.error
        try:
            self.again()
        except VaultError as error:
            return error
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """A token that may be published, by which grant, and what the probe said of it."""

    response: TokenResponse
    grant: Grant
    probe: Probe | None


class Keeper:
    """What one run knows since its second look, and writes; `credentials` hold the newest refresh token there is."""

    def __init__(self, run: Run, vaults: Vaults, side: ConsumerSide, credentials: Credentials) -> None:
        self.credentials = credentials
        self.memory = Memory(run, vaults, side)
        self._run = run
        self._vaults = vaults
        self._side = side
        self._unkept: Unkept | None = None
        """Why the newest refresh token is not in the vault; None where it is."""
        token = credentials.refresh_token
        self._refresh_token_life = (token.issued_at, token.expires_at) if token is not None else None
        self._access_token_lifetime: timedelta | None = None
        """How long ServiceNow lets a token live; None where none was issued: what remains of one is no life."""

    def sent(self, grant: Grant) -> Sent:
        """What a request by that grant sends."""
        token = self.credentials.refresh_token
        version = token.version if token is not None else None
        return Sent(grant=grant, refresh_token=version, password=self.credentials.password_version)

    def keep(self, received: Secret | None, grant: Grant) -> None:
        """Store a refresh token that came with an answer, before anything else can fail; never drop one.

        Where that fails, the run goes on with it: the access token is published all the same, and then it is raised.
        """
        run, before = self._run, self.credentials.refresh_token
        kept = keep_or_replace(before, received, grant, now=run.clock.now())
        if kept is None:
            return
        if grant is Grant.REFRESH_TOKEN and received is not None and before is not None and received != before.value:
            self.memory.record = replace(self.memory.record, rotates=True)
        value, issued_at = kept
        life = (issued_at, issued_at + run.connection.refresh_token_lifetime)
        self._refresh_token_life = life
        unchanged = before is not None and before.value == value
        stored = self.credentials.refresh_token_secret if unchanged else None
        write = partial(write_refresh_token, self._vaults, run.connection, value, life, stored, run.writing_deadline)
        unkept, version = None, ""
        try:
            version = write()
        except VaultError as error:
            if unchanged:
                # Only its dates are missing; the next refresh writes them.
                run.warn(
                    WarningCode.REFRESH_TOKEN_NOT_DESCRIBED,
                    f"the dates of the refresh token could not be written: {error.message}",
                    error.hint,
                )
                return
            again = None
            if isinstance(error, BeingRecoveredError):
                again = partial(self._vaults.main.once_recovered, write, run.writing_deadline)
            unkept = Unkept(error=error, again=again)
            if grant is Grant.REFRESH_TOKEN and before is not None:
                self.memory.record = self.memory.record.with_spent_refresh_token(before.version)
        token = StoredRefreshToken(value=value, version=version, issued_at=life[0], expires_at=life[1], described=True)
        self.credentials = replace(self.credentials, refresh_token=token)
        self._unkept = unkept

    def keep_brought(self, grant: Grant, brought: Mapping[str, Secret | str]) -> None:
        """Store the secrets that a person brought, where the vault does not hold them yet.

        The password last, as its grant sends it: its version is what counts.
        """
        values = {
            suffix: value
            for field, suffix in grant.row.sends.items()
            if isinstance(value := brought.get(field), Secret)
        }
        if self.credentials.holds(values):
            self.memory.record = replace(self.memory.record, password=PasswordRefusals())
            return
        try:
            write_credentials(self._vaults, self._run.connection, values, self._run.writing_deadline)
        except VaultError as error:
            message = f"user name and password could not be stored: {error.message}"
            self._run.warn(WarningCode.PASSWORD_NOT_STORED, message, error.hint)

    def publish(self, obtained: Obtained) -> RunReport:
        """Write the token that consumers should read, record the success, and report it. Raises VaultError."""
        run, side, new = self._run, self._side, obtained.response.access_token
        run.request.on_progress("publishing")
        run.transaction_id = obtained.response.transaction_id
        self._note_probe(obtained.probe)
        now = run.clock.now()
        # What was just issued, and not refused by the probe, is published: whatever the stored one's dates say.
        same = side.access_token if side.access_token is not None and side.access_token.value == new.value else None
        if same is not None and obtained.grant.row.from_half_of_life and self._is_everywhere(new):
            return self._same_again(new, now)
        if same is None and not obtained.grant.row.from_half_of_life:
            self._access_token_lifetime = new.lifetime
        token = self._to_publish(new, same, now)
        unkept = None
        try:
            failed = write_access_token(self._vaults, run.connection, token, side, run.writing_deadline)
        finally:
            # Its name may still have been on its way back when the others were written.
            unkept = self._unkept.once_more() if self._unkept is not None else None
        run.published = (now if same is not None else new.issued_at, token.expires_on)
        if unkept is not None:
            raise unkept
        if failed:
            raise PublishFailedError(failed)
        outcome = Outcome.REFRESHED
        if same is not None and not _extended(same, new):
            outcome = Outcome.UNCHANGED
            self._warn_once_of_unchanged(same)
        self.memory.settle(outcome)
        return self._report(outcome, f"{outcome}; the token lives {_minutes(token.expires_on - now)}")

    def _is_everywhere(self, token: AccessToken) -> bool:
        return all(state.holds is not None and state.holds.value == token.value for state in self._side.targets)

    def _same_again(self, token: AccessToken, now: datetime) -> RunReport:
        """The identity hands out one token for hours: that is no news, until it should have another."""
        run, rest = self._run, token.expires_at - now
        if rest <= 2 * run.timing.tick:
            message = f"the identity still hands out the token that ends in {_minutes(rest)}"
            raise IdentityError(message, cause=Cause.IDENTITY_UNAVAILABLE, transient=True)
        run.published = (now, token.expires_at)
        self.memory.settle(Outcome.UNCHANGED)
        life = (token.issued_at, token.expires_at)
        refresh_at = refresh_time(run.connection.name, *life, run.timing, grant=token.grant, now=now + run.timing.tick)
        message = f"the identity answered, with the same token; it lives {_minutes(rest)}"
        return run.report(Outcome.UNCHANGED, message, refresh_at=refresh_at)

    def failed(self, error: RefresherError) -> RunReport:
        """Record a failure and report it."""
        outcome = outcome_of(error, self._side, self._run.timing, self._run.clock.now())
        failures = self.memory.note_failure(outcome, error)
        return self._report(outcome, error.message, error=error, consecutive_failures=failures)

    def _report(
        self,
        outcome: Outcome,
        message: str,
        *,
        error: RefresherError | None = None,
        consecutive_failures: int = 0,
    ) -> RunReport:
        return self._run.report(
            outcome,
            message,
            error=error,
            refresh_token_expires_at=self._refresh_token_life[1] if self._refresh_token_life else None,
            consecutive_failures=consecutive_failures,
            foreseen=self._foresee(),
        )

    def _foresee(self) -> tuple[Warning_, ...]:
        run, fallback = self._run, self._run.connection.fallback_grant
        ready = is_ready(
            fallback,
            complete=fallback is not None and self.credentials.has(fallback),
            password_version=self.credentials.password_version,
            record=self.memory.record,
        )
        return foresee(
            run.connection,
            self._access_token_lifetime,
            self._refresh_token_life,
            run.timing,
            run.clock.now(),
            fallback_ready=ready,
            key=self.credentials.key_life,
        )

    def _note_probe(self, probe: Probe | None) -> None:
        if probe is None:
            return
        self._run.user_name = probe.user_name
        if probe.verdict is Verdict.UNKNOWN:
            self._run.warn(
                WarningCode.PROBE_INCONCLUSIVE,
                "the new token was published, but the probe could not say whether it works",
                Step(
                    "Try it again: ",
                    steps.probe(self._run.connection.name),
                    ". If it stays so, check the probe's path and the instance.",
                ),
            )

    def _to_publish(self, new: AccessToken, same: StoredAccessToken | None, now: datetime) -> Published:
        """The new token with its tags; if ServiceNow returned the stored one, with that one's beginning."""
        run, stored, token, recent = self._run, self._side.access_token, new, None
        if same is not None:
            known = same.issued_at is not None and same.issued_at <= now
            issued_at = same.issued_at if known and same.issued_at else new.issued_at
            token = replace(new, issued_at=issued_at, grant=same.grant or new.grant)
            recent = same.recent
        elif stored is not None and stored.issued_at is not None and stored.expires_at is not None:
            recent = remember(stored.recent, (stored.issued_at, stored.expires_at), new.issued_at)
        tags = access_token_tags(
            token,
            connection=run.connection.name,
            run_id=run.run_id,
            trigger=run.request.trigger,
            reason=run.request.reason,
            confirmed_at=now if same is not None else None,
            recent=recent,
        )
        return Published(value=token.value, tags=tags, expires_on=token.expires_at)

    def _warn_once_of_unchanged(self, same: StoredAccessToken) -> None:
        if same.confirmed_at is None:
            diagnosis = diagnose(Cause.UNCHANGED, self._run.connection.name)
            self._run.warn(WarningCode.UNCHANGED, diagnosis.meaning, diagnosis.next_step)


def _extended(stored: StoredAccessToken, new: AccessToken) -> bool:
    """Whether ServiceNow gave the stored token a later end."""
    return stored.expires_at is None or new.expires_at - stored.expires_at > timedelta(minutes=1)


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} min"
