"""The record of failures, as one run leaves it to the next: in memory while the run goes on, and in the vault."""

from contextlib import suppress

from refresher.keyvault.found import ConsumerSide
from refresher.keyvault.tags import record_expiry
from refresher.keyvault.vaults import Vaults
from refresher.keyvault.writing import write_record
from refresher.model.causes import Cause
from refresher.model.clock import Deadline
from refresher.model.errors import RefresherError, VaultError
from refresher.model.report import Outcome, WarningCode
from refresher.policy.record import RefreshRecord
from refresher.run.failures import PasswordPausedError, PublishFailedError
from refresher.run.run import Run

_OF_ONE_SECRET = frozenset({Cause.VAULT_FORBIDDEN, Cause.SECRET_MISSING, Cause.SECRET_DISABLED})
"""What may be wrong with the record alone: it was locked, taken away or disabled."""


class Memory:
    """One run's memory: `record` is what the next run must know as things stand."""

    def __init__(self, run: Run, vaults: Vaults, side: ConsumerSide) -> None:
        self.record = side.record
        self._run = run
        self._vaults = vaults
        self._found = side.record
        self._held = side.record
        self._version = side.record_secret.version if side.record_secret is not None else None
        self._unreadable = side.record_error
        self._expires_on = record_expiry(side.record_secret, run.clock.now())

    def remember(self, record: RefreshRecord, *, or_stop: bool = False) -> None:
        """Write what must be known before a request is sent, if it is not known yet. Raises VaultError.

        A record that cannot be read or written stops nothing but the password, of which nobody knows how often it was
        refused, and where one has to `or_stop`, since each tick would do again what one may do once in an interval.
        """
        if record == self.record:
            return
        uncounted = record.password != self.record.password and not self._run.request.force
        try:
            self._save(record, self._run.deadline)
        except VaultError as error:
            if or_stop or uncounted or not (self._unreadable is not None or self._alone_is_shut(error)):
                raise
            self._warn(error)
        self.record = record

    def _alone_is_shut(self, error: VaultError) -> bool:
        """Whether the record cannot be written, but the refresh token could, as a change of nothing shows."""
        if error.cause not in _OF_ONE_SECRET:
            return False
        with suppress(VaultError):
            self._vaults.main.touch(self._run.connection.refresh_token_name, None, self._run.deadline)
            return True
        return False

    def settle(self, outcome: Outcome, *, always: bool = False) -> None:
        """Let the record say that a failure is over; where it told of none, it is written only to end later.

        `always`: since nothing else will tell the next run when this one was.
        """
        renewal_due = self._version is not None and self._expires_on is not None
        if always or renewal_due or not self.record.is_settled(self._held):
            self._try_to_save(self.record.after_success(self._run.clock.now(), outcome))

    def note_failure(self, outcome: Outcome, error: RefresherError) -> int:
        """Record a failure where ServiceNow was asked, or would have been, or a copy written; returns their number."""
        changed = self._found != self.record or self._found != self._held
        if not (self._run.attempts.made or changed or isinstance(error, PasswordPausedError | PublishFailedError)):
            return self._found.consecutive_failures
        record = self.record.after_failure(
            self._run.clock.now(), outcome, error.cause, counts=not self._run.request.again
        )
        self._try_to_save(record)
        return record.consecutive_failures

    def _try_to_save(self, record: RefreshRecord) -> None:
        """At the end of a run a record that cannot be written is worth a warning only."""
        try:
            self._save(record, self._run.writing_deadline)
        except VaultError as error:
            self._warn(error)

    def _warn(self, error: VaultError) -> None:
        message = f"the record of attempts could not be written: {error.message}"
        self._run.warn(WarningCode.RECORD_NOT_WRITTEN, message, error.hint)

    def _save(self, record: RefreshRecord, deadline: Deadline) -> None:
        if self._unreadable is not None:
            raise self._unreadable  # What it holds is worth more than what this run knows.
        connection = self._run.connection
        self._run.before_writing()
        self._version = write_record(
            self._vaults, connection, record, version=self._version, expires_on=self._expires_on, deadline=deadline
        )
        self._held, self._expires_on = record, None
