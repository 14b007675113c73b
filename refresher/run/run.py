"""One run while it goes on: what is known so far, its deadlines, and the report that is made however it ends."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from refresher.keyvault.credentials import Credentials
from refresher.keyvault.found import ConsumerSide
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError, VaultError, next_step
from refresher.model.report import Outcome, RunReport, RunRequest, Warning_, WarningCode
from refresher.model.steps import Step
from refresher.model.timing import Timing
from refresher.policy.due import Reason, Urgency, refresh_time
from refresher.policy.forecast import foresee
from refresher.policy.grants import is_ready
from refresher.run.refusals import Effort

WRITING_TAKES = timedelta(seconds=10)


@dataclass(slots=True, kw_only=True)
class Run:
    """What is known of one run while it goes on; the report is made from it, however the run ends.

    `writing_deadline` is ten seconds after `deadline`, so that a token received at the last moment is still stored;
    the lease outlasts it.
    """

    clock: Clock
    timing: Timing

    connection: Connection
    request: RunRequest
    run_id: str
    deadline: Deadline
    started: float
    side: ConsumerSide | None = None
    credentials: Credentials | None = None
    effort: Effort | None = None
    reason: Reason | None = None
    urgency: Urgency = Urgency.MANDATORY
    warnings: tuple[Warning_, ...] = ()
    refresh_token_life: tuple[datetime, datetime] | None = None
    access_token_lifetime: timedelta | None = None
    """How long ServiceNow lets a token live; None where none was issued: what remains of one is no life."""
    published: tuple[datetime, datetime] | None = None
    """Life of the token that consumers read since this run wrote it."""
    transaction_id: str | None = None
    user_name: str | None = None
    record_version: str | None = None
    unkept: VaultError | None = None
    """Why a new refresh token could not be stored."""
    keep_again: Callable[[], object] | None = None
    """Stores it after all, once its name is recovered; raises VaultError."""
    _writing_deadline: Deadline | None = None

    def writing_deadline(self) -> Deadline:
        """Until when writes of what the run obtained may go on."""
        if self._writing_deadline is None:
            allowed = timedelta(seconds=self.deadline.remaining()) + WRITING_TAKES
            self._writing_deadline = Deadline(self.clock, allowed)
        return self._writing_deadline

    def warn(self, code: WarningCode, message: str, hint: str) -> None:
        """Add a warning to the report."""
        self.warnings += (Warning_(code=code, message=message, hint=Step(hint)),)

    def report(
        self,
        outcome: Outcome,
        message: str,
        *,
        error: RefresherError | None = None,
        refresh_at: datetime | None = None,
        consecutive_failures: int = 0,
    ) -> RunReport:
        """Make the report of a run that ends here."""
        now, effort, connection = self.clock.now(), self.effort, self.connection
        stored = self.side.access_token if self.side is not None else None
        expires_at = stored.expires_at if stored is not None else None
        life = stored.life if stored is not None else None
        if outcome is Outcome.REVOKED:
            expires_at, life = now, None
        elif self.published is not None:
            expires_at, life = self.published[1], self.published
        if refresh_at is None and life is not None:
            refresh_at = refresh_time(connection.name, *life, self.timing)
        hint = next_step(error, connection.name) if error is not None else None
        return RunReport(
            connection=connection.name,
            run_id=self.run_id,
            trigger=self.request.trigger,
            outcome=outcome,
            message=message,
            reason=self.reason,
            cause=error.cause if error is not None else None,
            hint=hint,
            grant=effort.grant if effort is not None else None,
            attempts=effort.attempts.made if effort is not None else 0,
            duration_ms=round((self.clock.monotonic() - self.started) * 1000),
            working=None if self.side is None else expires_at is not None and now < expires_at,
            access_token_obtained_at=life[0] if life is not None else None,
            access_token_expires_at=expires_at,
            refresh_token_expires_at=self.refresh_token_life[1] if self.refresh_token_life else None,
            refresh_at=refresh_at,
            consecutive_failures=consecutive_failures,
            transaction_id=error.transaction_id if error is not None else self.transaction_id,
            user_name=self.user_name,
            retry_after=error.retry_after if error is not None else None,
            operator_reason=self.request.reason,
            warnings=self.warnings + self._standing_warnings(),
        )

    def _standing_warnings(self) -> tuple[Warning_, ...]:
        if self.refresh_token_life is None and self.access_token_lifetime is None:
            return ()
        return foresee(
            self.connection,
            self.access_token_lifetime,
            self.refresh_token_life,
            self.timing,
            self.clock.now(),
            fallback_ready=self._is_fallback_ready(),
        )

    def _is_fallback_ready(self) -> bool:
        credentials, grant = self.credentials, self.connection.fallback_grant
        if credentials is None or self.effort is None:
            return False
        return is_ready(
            grant,
            complete=grant is not None and credentials.has(grant),
            password_version=credentials.password_version,
            record=self.effort.record,
        )
