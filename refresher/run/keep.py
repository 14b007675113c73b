"""What a run writes once it has tokens: which refresh token, which access token, which record.

The order of the writes themselves is `writing`'s; this module decides what they hold.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from refresher.entra.claims import latest_to_end
from refresher.keyvault.credentials import Credentials
from refresher.keyvault.found import ConsumerSide
from refresher.keyvault.reading import read_refusals_elsewhere
from refresher.keyvault.tags import access_token_tags, probe_tags, publisher
from refresher.keyvault.vaults import Vaults
from refresher.keyvault.writing import (
    Published,
    write_access_token,
    write_credentials,
)
from refresher.model import steps
from refresher.model.causes import Cause, diagnose
from refresher.model.errors import IdentityError, RefresherError, VaultError
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, Trigger, Warning_, WarningCode
from refresher.model.steps import Step
from refresher.model.stored import StoredAccessToken
from refresher.model.tokens import AccessToken, Secret, TokenResponse
from refresher.policy.due import refresh_time, shared_targets
from refresher.policy.forecast import foresee, lost_tags
from refresher.policy.password_gate import PasswordRefusals
from refresher.policy.refusals import Sent, may_rotate
from refresher.policy.reserve import reserve
from refresher.policy.verify import is_proven, user_before, user_changed
from refresher.run.failures import PublishFailedError, outcome_of
from refresher.run.memory import Memory
from refresher.run.run import Run
from refresher.run.succession import Succession
from refresher.servicenow.answers import Probe, Verdict
from refresher.status.lives import remember


class Obtained(NamedTuple):
    """A token that may be published, by which grant, and what the probe said of it."""

    response: TokenResponse
    grant: Grant
    probe: Probe | None


class Keeper:
    """What one run knows since its second look, and writes."""

    def __init__(self, run: Run, vaults: Vaults, side: ConsumerSide, credentials: Credentials) -> None:
        self.memory = Memory(run, vaults, side)
        self.succession = Succession(run, vaults, credentials, self.memory)
        self._run = run
        self._vaults = vaults
        self._side = side
        self._access_token_lifetime: timedelta | None = None
        """How long ServiceNow lets a token live; None where none was issued: what remains of one is no life."""

    @property
    def credentials(self) -> Credentials:
        """What a request sends: the newest refresh token, and the rest as it was read."""
        return self.succession.credentials

    def may_rotate(self) -> bool:
        """Whether ServiceNow replaces the refresh token at its use, or nobody knows yet."""
        return may_rotate(self.credentials.refresh_token, self._side.access_token, self.memory.record)

    def may_have_spent(self, grant: Grant, received: Secret | None) -> bool:
        """Whether a refresh may have cost the stored refresh token, so that what it brought may be the only one.

        All other grants leave it as it is. So does a refresh where ServiceNow was seen not to rotate, unless that was
        just switched on: a stranger's pair is told from that by a probe that is known to accept tokens, and by none
        that is not.
        """
        stored, held = self._side.access_token, self.credentials.refresh_token
        if grant is not Grant.REFRESH_TOKEN:
            return False
        proven = stored is not None and is_proven(self._run.connection, stored)
        same = held is not None and held.value == received
        return same or not proven or self.may_rotate()

    def sent(self, grant: Grant) -> Sent:
        """What a request by that grant sends."""
        token = self.credentials.refresh_token
        version = token.version if token is not None else None
        credentials = self.credentials
        return Sent(
            grant=grant,
            refresh_token=version,
            password=credentials.password_version,
            user=credentials.user_mark,
        )

    def password_refusals(self) -> PasswordRefusals:
        """What is held against the password, by this connection and by all others who send one for the same user.

        Raises VaultError where the vault does not tell for now how often others did.
        """
        run, credentials, token = self._run, self.credentials, self._side.access_token
        own = self.memory.record.password.of(credentials.password_version)
        if not run.neighbours:
            return own
        others = read_refusals_elsewhere(self._vaults, run.neighbours, credentials.user_mark, run.deadline)
        source = self._side.source if token is not None and token.grant is Grant.PASSWORD else None
        worked_at = source.created_on if source is not None else None
        since = max((each for each in (credentials.password_stored_at, worked_at) if each is not None), default=None)
        return own.with_others(others, since, run.clock.now())

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
        self._run.before_writing()
        try:
            write_credentials(self._vaults, self._run.connection, values, self._run.writing_deadline)
        except VaultError as error:
            message = f"user name and password could not be stored: {error.message}"
            self._run.warn(WarningCode.PASSWORD_NOT_STORED, message, error.hint)

    def publish(self, obtained: Obtained) -> RunReport:
        """Write the token that consumers should read, record the success, and report it. Raises VaultError."""
        run, side, now = self._run, self._side, self._run.clock.now()
        run.request.on_progress("publishing")
        run.transaction_id = obtained.response.transaction_id
        self._note_probe(obtained.probe, side.access_token)
        new = latest_to_end(side.access_token, obtained.response.access_token, run.refused, now)
        obtained = obtained._replace(response=obtained.response._replace(access_token=new))
        # What was just issued, and not refused by the probe, is published: whatever the stored one's dates say.
        same = side.access_token if side.access_token is not None and side.access_token.value == new.value else None
        everywhere = all(state.holds is not None and state.holds.value == new.value for state in side.targets)
        if same is not None and obtained.grant.row.from_half_of_life and everywhere:
            return self._same_again(new, now)
        if same is None and not obtained.grant.row.from_half_of_life:
            self._access_token_lifetime = new.lifetime
        token = self._to_publish(obtained, same, now)
        run.before_writing()
        failed = write_access_token(
            self._vaults, run.connection, token, side, run.writing_deadline, also_shut=run.request.force
        )
        run.published = (now if same is not None else new.issued_at, token.expires_on)
        unkept = self.succession.keep_again()
        if unkept is not None:
            raise unkept
        if not side.is_dated:
            self.memory.settle(Outcome.REFRESHED, always=True)
        if failed:
            raise PublishFailedError(failed)
        outcome = Outcome.REFRESHED
        if same is not None and not _extended(same, new):
            outcome = Outcome.UNCHANGED
            if same.confirmed_at is None:
                diagnosis = diagnose(Cause.UNCHANGED, run.connection.name)
                run.warn(WarningCode.UNCHANGED, diagnosis.meaning, diagnosis.next_step)
        self.memory.settle(outcome)
        for place in () if run.request.force else side.shut:
            error = side.target_errors[place]
            return self._report(Outcome.KEPT, f"{outcome}, but not in {place.name}: {error.message}", error=error)
        return self._report(outcome, f"{outcome}; the token lives {_minutes(token.expires_on - now)}")

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
        message = f"the identity answered, with no later token; the stored one lives {_minutes(rest)}"
        return run.report(Outcome.UNCHANGED, message, refresh_at=refresh_at)

    def failed(self, error: RefresherError) -> RunReport:
        """Store what must not be lost, record the failure and report it."""
        error = self.succession.keep_again() or error
        run = self._run
        outcome = outcome_of(error, self._side, run.timing, run.clock.now(), run.published, run.refused)
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
        for url, remark in self._vaults.remarks().items():
            self._run.warn(
                WarningCode.EXPIRY_REFUSED,
                f"a policy of {url} {remark}; the tags of a secret tell its true end",
                "Nothing has to be done: the value was stored. Azure Policy lists what is assigned to the vault.",
            )
        lifetime = self._access_token_lifetime
        return self._run.report(
            outcome,
            message,
            error=error,
            reserve=reserve(lifetime, self._run.timing) if lifetime is not None else None,
            refresh_token_expires_at=self.succession.life[1] if self.succession.life else None,
            consecutive_failures=consecutive_failures,
            foreseen=self._foresee(failing=consecutive_failures > 1),
        )

    def _foresee(self, *, failing: bool) -> tuple[Warning_, ...]:
        run = self._run
        stored = self._side.access_token
        # After an upgrade the copies that this run found are of the version that published what it found as its own.
        ours = (stored.publisher if stored is not None else None) or publisher(
            run.connection.name, self._vaults.own_url
        )
        return lost_tags(stored) + foresee(
            run.connection,
            self._access_token_lifetime,
            self.succession.life,
            run.timing,
            run.clock.now(),
            fallback_ready=self.credentials.fallback_ready(self.memory.record),
            failing=failing,
            shared=shared_targets(ours, self._side.targets, run.timing, run.clock.now()),
            key=self.credentials.key_life,
        )

    def _note_probe(self, probe: Probe | None, stored: StoredAccessToken | None) -> None:
        if probe is None:
            return
        self._run.user_name = probe.user_name
        self._run.warnings += user_changed(stored, probe.user_name)
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

    def _to_publish(self, obtained: Obtained, same: StoredAccessToken | None, now: datetime) -> Published:
        """The new token with its tags; if ServiceNow returned the stored one, with that one's beginning."""
        run, stored, new, probe = self._run, self._side.access_token, obtained.response.access_token, obtained.probe
        token, recent = new, None
        accepted_by, user_name = (stored.accepted_by, stored.user_name) if stored is not None else (None, None)
        if probe is not None and probe.verdict is Verdict.ACCEPTED:
            # Of one who may not read the probe's path, the last one told is worth more than nobody.
            accepted_by, user_name = run.connection.probe_mark, probe.user_name or user_name
        if same is not None:
            known = same.issued_at is not None and same.issued_at <= now
            issued_at = same.issued_at if known and same.issued_at else new.issued_at
            token = new._replace(issued_at=issued_at, grant=same.grant or new.grant)
            recent = same.recent
        elif stored is not None and stored.issued_at is not None and stored.expires_at is not None:
            recent = remember(stored.recent, (stored.issued_at, stored.expires_at), new.issued_at)
        tags = access_token_tags(
            token,
            connection=run.connection.name,
            vault_url=self._vaults.own_url,
            run_id=run.run_id,
            trigger=run.request.trigger,
            reason=run.request.reason,
            confirmed_at=now if same is not None else None,
            recent=recent,
        )
        before = user_before(stored, user_name, by_hand=run.request.trigger in {Trigger.HTTP, Trigger.CLI})
        tags |= probe_tags(accepted_by, user_name, before)
        return Published(value=token.value, tags=tags, expires_on=token.expires_at)


def _extended(stored: StoredAccessToken, new: AccessToken) -> bool:
    """Whether ServiceNow gave the stored token a later end."""
    return stored.expires_at is None or new.expires_at - stored.expires_at > timedelta(minutes=1)


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} min"
