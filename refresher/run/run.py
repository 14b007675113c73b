"""One run while it goes on: what is known so far, its deadlines, and the report that is made however it ends."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from refresher.keyvault.found import ConsumerSide
from refresher.model.causes import Cause
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.errors import LeaseHeldError, LeaseUnavailableError, RefresherError, next_step
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, RunRequest, Warning_, WarningCode
from refresher.model.steps import Step
from refresher.model.timing import Reserve, Timing
from refresher.model.tokens import Secret
from refresher.policy.due import Reason, Urgency, is_kept_out, refresh_time
from refresher.run.failures import outcome_of
from refresher.servicenow.answers import Attempts

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
    started: float
    deadline: Deadline
    writing_deadline: Deadline
    neighbours: tuple[Connection, ...] = ()
    """The other connections to the same instance that send a password."""

    side: ConsumerSide | None = None
    """What was read last; None until the vault has answered."""
    before_writing: Callable[[], None] = lambda: None
    """Has to be called before the vault is written to: it returns once others can see that the lease was held."""
    without_lease: LeaseUnavailableError | None = None
    """Why it goes on without the lease."""
    refused: Secret | None = None
    """A stored token that ServiceNow refused twice in this tick."""
    on_look: Callable[[Connection, ConsumerSide], None] = lambda *_: None
    """Told what was read."""
    reason: Reason | None = None
    grant: Grant | None = None
    """The last one that was tried."""
    attempts: Attempts = field(default_factory=Attempts)
    warnings: tuple[Warning_, ...] = ()
    published: tuple[datetime, datetime] | None = None
    """Life of the token that consumers read since this run wrote it."""
    transaction_id: str | None = None
    user_name: str | None = None

    def warn(self, code: WarningCode, message: str, hint: str) -> None:
        """Add a warning to the report."""
        self.warnings += (Warning_(code=code, message=message, hint=Step(hint)),)

    def can_wait(self, urgency: Urgency | None) -> bool:
        """Whether a refresh that gets no lease had better be left to a later run.

        With a refresh token that does not rotate an overlap is harmless, and an outage is not; with one that does, a
        token that ServiceNow refuses is no reason to risk it, but what a person asks for is.
        """
        if urgency is not Urgency.ADVISORY or self.request.force:
            return False
        return self.refused is None or self.side is None or self.side.record.rotates

    def failed(self, error: RefresherError) -> RunReport:
        """Report a failure that leaves nothing to be remembered: ServiceNow was not asked."""
        if isinstance(error, LeaseHeldError):
            if not self._keeps_all_out(error):
                return self.report(Outcome.BUSY, error.message, error=error)
            message = f"{error.message}: it is held for longer than any refresh takes, and keeps all others out"
            return self.failed(RefresherError(message, cause=Cause.LEASE_STUCK, hint=error.way_out))
        outcome = outcome_of(error, self.side, self.timing, self.clock.now(), refused=self.refused)
        failures = self.side.record.consecutive_failures if self.side is not None else 0
        return self.report(outcome, error.message, error=error, consecutive_failures=failures)

    def _keeps_all_out(self, held: LeaseHeldError) -> bool:
        """Whether the lease is held for longer than a refresh takes: without end, or in two ticks running."""
        if held.endless or self.side is None:
            return held.endless
        token, last_attempt_at = self.side.access_token, self.side.record.last_attempt_at
        now = self.clock.now()
        return is_kept_out(self.connection.name, held.since, token, last_attempt_at, self.timing, now)

    def report(
        self,
        outcome: Outcome,
        message: str,
        *,
        error: RefresherError | None = None,
        refresh_at: datetime | None = None,
        refresh_token_expires_at: datetime | None = None,
        reserve: Reserve | None = None,
        consecutive_failures: int = 0,
        foreseen: tuple[Warning_, ...] = (),
    ) -> RunReport:
        """Make the report of a run that ends here, with its own warnings and what is foreseen."""
        now, connection = self.clock.now(), self.connection
        stored = self.side.access_token if self.side is not None else None
        expires_at = stored.expires_at if stored is not None else None
        life = stored.life if stored is not None else None
        if stored is not None and stored.revoked and expires_at is not None:
            expires_at = min(now, expires_at)  # By a clock that was ahead it ended in a time to come.
        if outcome is Outcome.REVOKED:
            expires_at, life = now, None
        elif self.published is not None:
            expires_at, life = self.published[1], self.published
        # A main secret that may not be read, and no copy: nobody can say. One that was disabled works for nobody.
        known = self.side is not None and (self.published is not None or self.side.is_dated or bool(self.side.shut))
        works = not (self.side is not None and self.side.shut) and expires_at is not None and now < expires_at
        if self.published is None and stored is not None and stored.value == self.refused:
            works = False
        grant = self.grant or (stored.grant if stored is not None else None)
        obtained_at = life[0] if life is not None else None
        if life is not None and grant is not None and grant.row.from_half_of_life and self.published is None:
            # Nobody has to answer before: a token of a day is no sign of a refresher that stopped.
            obtained_at = min(now, life[0] + (life[1] - life[0]) / 2)
        if refresh_at is None and life is not None:
            refresh_at = refresh_time(connection.name, *life, self.timing, grant=grant, now=now)
        return RunReport(
            connection=connection.name,
            run_id=self.run_id,
            trigger=self.request.trigger,
            outcome=outcome,
            message=message,
            reason=self.reason,
            cause=error.cause if error is not None else None,
            hint=next_step(error, connection.name) if error is not None else None,
            grant=self.grant,
            attempts=self.attempts.made,
            password_sent=self.attempts.password_sent,
            duration_ms=round((self.clock.monotonic() - self.started) * 1000),
            working=works if known else None,
            access_token_obtained_at=obtained_at,
            access_token_expires_at=expires_at,
            refresh_token_expires_at=refresh_token_expires_at,
            refresh_at=refresh_at,
            reserve=reserve,
            consecutive_failures=consecutive_failures,
            transaction_id=error.transaction_id if error is not None else self.transaction_id,
            user_name=self.user_name,
            retry_after=error.retry_after if error is not None else None,
            operator_reason=self.request.reason,
            warnings=self.warnings + foreseen,
        )
