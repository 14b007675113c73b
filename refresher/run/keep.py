"""What a run writes once it has tokens: which refresh token, which access token, which record.

The order of the writes themselves is `publish`'s; this module decides what they hold.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING

from refresher.keyvault.credentials import Credentials
from refresher.keyvault.errors import BeingRecoveredError
from refresher.keyvault.found import ConsumerSide
from refresher.keyvault.tags import access_token_tags, revoked_tags
from refresher.keyvault.vaults import Vaults
from refresher.keyvault.writing import (
    Published,
    describe,
    write_access_token,
    write_credentials,
    write_record,
    write_refresh_token,
)
from refresher.model import steps
from refresher.model.causes import Cause, diagnose
from refresher.model.clock import Deadline
from refresher.model.connection import Connection, PublishTarget
from refresher.model.errors import VaultError
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, WarningCode
from refresher.model.steps import Step
from refresher.model.stored import StoredRefreshToken, StoredSecret
from refresher.model.tokens import AccessToken, Secret
from refresher.policy.choice import Choice, choose_token
from refresher.policy.password_gate import PasswordRefusals
from refresher.policy.record import RefreshRecord
from refresher.run.obtain import Obtained
from refresher.run.run import Run
from refresher.servicenow.answers import Verdict
from refresher.status.lives import remember

if TYPE_CHECKING:
    from refresher.servicenow.session import Session


class TokenStore:
    """Writes what a run obtained."""

    def __init__(self, vaults: Vaults) -> None:
        self._vaults = vaults

    def keep_refresh_token(self, run: Run, received: Secret | None, grant: Grant) -> StoredRefreshToken | None:
        """Store a refresh token that came with the answer, before anything else can fail; never drop one.

        A failure to store it is kept for the report: the access token is published all the same.
        """
        credentials, effort = run.credentials, run.effort
        if credentials is None or effort is None:
            return None
        before = credentials.refresh_token
        kept = keep_or_replace(before, received, grant, now=run.clock.now())
        if kept is None:
            return before
        if grant is Grant.REFRESH_TOKEN and received is not None and before is not None and received != before.value:
            effort.record = replace(effort.record, rotates=True)
        value, issued_at = kept
        expires_at = issued_at + run.connection.refresh_token_lifetime
        run.refresh_token_life = (issued_at, expires_at)
        unchanged = before is not None and before.value == value
        write = partial(
            write_refresh_token,
            self._vaults,
            run.connection,
            value,
            run.refresh_token_life,
            credentials.refresh_token_secret if unchanged else None,
            run.writing_deadline(),
        )
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
                return before
            run.unkept = error
            if isinstance(error, BeingRecoveredError):
                run.keep_again = partial(self._vaults.main.once_recovered, write, run.writing_deadline())
            version = ""
            if grant is Grant.REFRESH_TOKEN and before is not None:
                effort.record = effort.record.with_spent_refresh_token(before.version)
        else:
            run.unkept = run.keep_again = None
        stored = StoredRefreshToken(
            value=value, version=version, issued_at=issued_at, expires_at=expires_at, described=True
        )
        run.credentials = replace(credentials, refresh_token=stored)
        return stored

    def publish(self, run: Run, side: ConsumerSide, obtained: Obtained, session: "Session") -> RunReport:
        """Write the token that consumers should read, record the success, and report it. Raises VaultError."""
        run.request.on_progress("publishing")
        new = obtained.response.access_token
        run.transaction_id = obtained.response.transaction_id
        if obtained.probe is not None:
            run.user_name = obtained.probe.user_name
            if obtained.probe.verdict is Verdict.UNKNOWN:
                run.warn(
                    WarningCode.PROBE_INCONCLUSIVE,
                    "the new token was published, but the probe could not say whether it works",
                    Step(
                        "Try it again: ",
                        steps.probe(run.connection.name),
                        ". If it stays so, check the probe's path and the instance.",
                    ),
                )
        now, deadline = run.clock.now(), run.writing_deadline()
        choice = choose_token(side.access_token, new, now)
        if choice is Choice.STORED and not self._is_accepted(run, side, session):
            choice = Choice.NEW
        if choice is not Choice.SAME:
            run.access_token_lifetime = new.lifetime
        token = self._to_publish(run, side, new, choice, now)
        try:
            failed = write_access_token(self._vaults, run.connection, token, side, deadline)
        finally:
            self._keep_again(run)
        run.published = (now if choice is not Choice.NEW else new.issued_at, token.expires_on)
        if run.unkept is not None:
            raise run.unkept
        if failed:
            raise PublishFailedError(failed)
        outcome = Outcome.REFRESHED
        if choice is Choice.STORED or (choice is Choice.SAME and not _extended(side, new)):
            outcome = Outcome.UNCHANGED
            self._warn_once_of_unchanged(run, side, choice)
        self.record_success(run, side, outcome)
        return run.report(outcome, f"{outcome}; the token lives {_minutes(token.expires_on - now)}")

    def _keep_again(self, run: Run) -> None:
        """Store the refresh token whose name was still being recovered when the others were written."""
        if run.keep_again is None:
            return
        try:
            run.keep_again()
            run.unkept = None
        except VaultError as error:
            run.unkept = error

    def _is_accepted(self, run: Run, side: ConsumerSide, session: "Session") -> bool:
        """Whether ServiceNow accepts the stored token, which says that it outlives the new one.

        Where that cannot be said, the new one is the better choice; where nothing is probed, an operator's word is.
        """
        stored = side.access_token
        if stored is None or run.connection.probe_path is None:
            return not run.request.force
        return session.probe(stored.value).verdict is Verdict.ACCEPTED

    def _to_publish(self, run: Run, side: ConsumerSide, new: AccessToken, choice: Choice, now: datetime) -> Published:
        stored, confirmed_at, recent = side.access_token, None, None
        token = new
        if stored is not None and choice is not Choice.NEW:
            known = stored.issued_at is not None and stored.issued_at <= now
            issued_at = stored.issued_at if known and stored.issued_at else new.issued_at
            expires_at = stored.expires_at if choice is Choice.STORED and stored.expires_at else new.expires_at
            grant = stored.grant or new.grant
            token = AccessToken(value=stored.value, issued_at=issued_at, expires_at=expires_at, grant=grant)
            confirmed_at = now
            recent = stored.recent
        elif stored is not None and stored.issued_at is not None and stored.expires_at is not None:
            recent = remember(stored.recent, (stored.issued_at, stored.expires_at), new.issued_at)
        tags = access_token_tags(
            token,
            connection=run.connection.name,
            run_id=run.run_id,
            trigger=run.request.trigger,
            reason=run.request.reason,
            confirmed_at=confirmed_at,
            recent=recent,
        )
        return Published(value=token.value, tags=tags, expires_on=token.expires_at)

    def _warn_once_of_unchanged(self, run: Run, side: ConsumerSide, choice: Choice) -> None:
        if choice is Choice.SAME and side.access_token is not None and side.access_token.confirmed_at is None:
            diagnosis = diagnose(Cause.UNCHANGED, run.connection.name)
            run.warn(WarningCode.UNCHANGED, diagnosis.meaning, diagnosis.next_step)

    def keep_brought(self, run: Run, grant: Grant, brought: Mapping[str, Secret | str]) -> None:
        """Store the secrets that a person brought, where the vault does not hold them yet.

        The password last, as its grant sends it: its version is what counts.
        """
        if run.credentials is None or run.effort is None:
            return
        values = {
            suffix: value
            for field, suffix in grant.row.sends.items()
            if isinstance(value := brought.get(field), Secret)
        }
        if run.credentials.holds(values):
            run.effort.record = replace(run.effort.record, password=PasswordRefusals())
            return
        try:
            write_credentials(self._vaults, run.connection, values, run.writing_deadline())
        except VaultError as error:
            message = f"user name and password could not be stored: {error.message}"
            run.warn(WarningCode.PASSWORD_NOT_STORED, message, error.hint)

    def copies_of_tokens(
        self, connection: Connection, side: ConsumerSide, credentials: Credentials
    ) -> list[tuple[Secret, list[tuple[PublishTarget, StoredSecret]]]]:
        """The stored tokens, and where each is kept: the refresh token first, since it could make another one."""
        found: list[tuple[PublishTarget, StoredSecret | None]] = [
            (self._vaults.own(connection.refresh_token_name), credentials.refresh_token_secret),
            (self._vaults.own(connection.access_token_name), side.secret),
            *side.target_secrets.items(),
        ]
        copies: dict[Secret, list[tuple[PublishTarget, StoredSecret]]] = {}
        for place, secret in found:
            if secret is not None and secret.value.stripped():
                copies.setdefault(secret.value.stripped(), []).append((place, secret))
        return list(copies.items())

    def mark_revoked(self, run: Run, places: Sequence[tuple[PublishTarget, StoredSecret]]) -> None:
        """Let the copies of a token say that it ended now; values and versions stay. Raises VaultError."""
        now = run.clock.now()
        for place, secret in places:
            tags = {**secret.tags, **revoked_tags(now)}
            describe(self._vaults, place, secret, tags, now, run.writing_deadline())

    def record_success(self, run: Run, side: ConsumerSide, outcome: Outcome) -> None:
        """Let the record say that a failure is over; where it told of none, nothing is written."""
        record = run.effort.record if run.effort is not None else side.record
        if not record.is_settled(side.record):
            self.try_to_save_record(run, record.after_success(run.clock.now(), outcome))

    def try_to_save_record(self, run: Run, record: RefreshRecord) -> None:
        """Write the record at the end of a run, where a failure to do so is worth a warning only."""
        try:
            self.save_record(run, record, run.writing_deadline())
        except VaultError as error:
            message = f"the record of attempts could not be written: {error.message}"
            run.warn(WarningCode.RECORD_NOT_WRITTEN, message, error.hint)

    def save_record(self, run: Run, record: RefreshRecord, deadline: Deadline) -> None:
        """Write the record. Raises VaultError."""
        known = run.side.record_secret if run.side is not None else None
        version = run.record_version or (known.version if known is not None else None)
        run.record_version = write_record(self._vaults, run.connection, record, version=version, deadline=deadline)


def keep_or_replace(
    before: StoredRefreshToken | None, received: Secret | None, grant: Grant, *, now: datetime
) -> tuple[Secret, datetime] | None:
    """The refresh token to store and the start of its life; None where the vault says so already.

    An unchanged token keeps its start. One that was rotated continues the old one's life, as far as anybody knows;
    if a token outlives its computed end, its life evidently slides, and starts again now. Any other grant starts a
    new life.
    """
    by_refresh = grant is Grant.REFRESH_TOKEN and before is not None
    outlived = by_refresh and before is not None and before.expires_at <= now
    if before is not None and (received is None or received == before.value):
        if outlived:
            return before.value, now
        return None if before.described else (before.value, before.issued_at)
    if received is None:
        return None
    if by_refresh and before is not None and not outlived:
        return received, before.issued_at
    return received, now


def _extended(side: ConsumerSide, new: AccessToken) -> bool:
    """Whether ServiceNow gave the stored token a later end."""
    stored = side.access_token
    return stored is None or stored.expires_at is None or new.expires_at - stored.expires_at > timedelta(minutes=1)


class PublishFailedError(VaultError):
    """A token is in the main secret, and these targets could not be written."""

    def __init__(self, failed: Mapping[PublishTarget, VaultError]) -> None:
        names = "; ".join(f"{target.name}: {error.message}" for target, error in failed.items())
        first = next(iter(failed.values()))
        super().__init__(
            f"not every publish target was written ({names})", cause=Cause.PUBLISH_FAILED, hint=first.hint
        )
        self.targets = frozenset(failed)


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} min"
