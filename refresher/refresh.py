"""The only place that knows the order of a run: read, decide, lease, read again, obtain, publish, record, report.

Every step may be the last one before a crash, and the next tick must heal from there: so nothing is kept in
memory, the refresh token is stored before anything else, and a write that fails leaves what was there.
"""

from collections.abc import Mapping
from concurrent.futures import Executor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from refresher.clock import Clock, Deadline
from refresher.diagnosis import diagnose
from refresher.errors import Cause, LeaseHeldError, LeaseUnavailableError, RefresherError, VaultError
from refresher.gather import Gatherer, OpenVault
from refresher.lease import Lease
from refresher.obtain import AuthorizationRequiredError, Conditions, Effort, Obtained, Obtainer
from refresher.outcome import SUCCESSES, Outcome, RunReport, RunRequest
from refresher.outlook import Warning_, WarningCode, foresee
from refresher.policy import (
    Choice,
    NotDue,
    Reason,
    Refresh,
    Republish,
    Timing,
    Urgency,
    choose_token,
    decide_refresh,
    evaluate_urgency,
    plan_grants,
    refresh_time,
)
from refresher.publish import Published, Publisher
from refresher.record import RefreshRecord, StoredAccessToken, StoredRefreshToken, access_token_tags
from refresher.servicenow import ServiceNow, Session, Verdict
from refresher.settings import Connection, PublishTarget, Settings
from refresher.state import ConsumerSide, Credentials
from refresher.tokens import AccessToken, Grant, Secret, TokenResponse

_WRITING_TAKES = timedelta(seconds=10)
"""A token that was received is written even where the requests took all the time; the lease outlasts both."""


@dataclass(slots=True, kw_only=True)
class _Run:
    """What is known of one run while it goes on; the report is made from it, however the run ends."""

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
    access_token: AccessToken | None = None
    transaction_id: str | None = None
    user_name: str | None = None
    record_version: str | None = None
    unkept: VaultError | None = None
    """Why a new refresh token could not be stored."""


class Refresher:
    """Runs connections. Safe to share between threads: what belongs to a run stays in it."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        open_vault: OpenVault,
        servicenow: ServiceNow,
        lease: Lease,
        executor: Executor,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._servicenow = servicenow
        self._lease = lease
        self._gatherer = Gatherer(open_vault, settings.vault_url, executor)
        self._publisher = Publisher(open_vault, settings.vault_url, executor)
        self._timing = Timing.of(settings.refresh_interval, settings.tick, len(settings.connections))

    def run(self, connection: Connection, request: RunRequest) -> RunReport:
        """Run one connection once. Never raises: what went wrong is in the report, with its cause and next step."""
        run = _Run(
            connection=connection,
            request=request,
            run_id=self._clock.new_id(),
            deadline=Deadline(self._clock, self._settings.run_deadline),
            started=self._clock.monotonic(),
        )
        try:
            return self._run(run)
        except LeaseHeldError as error:
            return self._report(run, Outcome.BUSY, error.message, error=error)
        except RefresherError as error:
            return self._failure(run, error)
        except Exception as error:  # noqa: BLE001 - isolation: one connection's surprise must not stop the others
            message = f"unexpected {type(error).__name__}{_origin(error)}"
        return self._failure(run, RefresherError(message, cause=Cause.UNEXPECTED))

    def is_due(self, connection: Connection) -> bool:
        """Whether a run would do anything now; what cannot be read is due, so that a run reports it."""
        deadline = Deadline(self._clock, self._settings.run_deadline)
        try:
            side = self._gatherer.consumer_side(connection, deadline)
        except VaultError:
            return True
        now = self._clock.now()
        decision = decide_refresh(connection.name, side.access_token, side.targets, self._timing, now)
        return bool(side.target_errors) or not isinstance(decision, NotDue)

    def _run(self, run: _Run) -> RunReport:
        run.request.on_progress("reading the vault")
        run.side = self._gatherer.consumer_side(run.connection, run.deadline)
        decision = self._decide(run, run.side)
        if isinstance(decision, NotDue):
            return self._not_due(run, run.side, decision)
        run.urgency = decision.urgency if isinstance(decision, Refresh) else Urgency.ADVISORY
        with ExitStack() as held:
            self._acquire(run, held)
            if isinstance(decision, Republish):
                run.side = self._gatherer.consumer_side(run.connection, run.deadline)
                decision = self._decide(run, run.side)
            if isinstance(decision, Republish):
                return self._republish(run, run.side, decision)
            run.side, read_credentials = self._gatherer.everything(run.connection, self._clock.now(), run.deadline)
            decision = self._decide(run, run.side)
            if not isinstance(decision, Refresh):
                return self._after_all(run, run.side, decision)
            run.urgency = decision.urgency
            run.credentials = read_credentials()
            return self._refresh(run, run.side, run.credentials)

    def _decide(self, run: _Run, side: ConsumerSide) -> NotDue | Republish | Refresh:
        decision = decide_refresh(
            run.connection.name,
            side.access_token,
            side.targets,
            self._timing,
            self._clock.now(),
            force=run.request.force,
        )
        run.reason = decision.reason
        return decision

    def _after_all(self, run: _Run, side: ConsumerSide, decision: NotDue | Republish) -> RunReport:
        """Somebody else refreshed between the first look and the lease."""
        if isinstance(decision, Republish):
            return self._republish(run, side, decision)
        return self._not_due(run, side, decision)

    def _acquire(self, run: _Run, held: ExitStack) -> None:
        """Hold the lease for the rest of the run. Without a lease service, only an urgent refresh goes ahead.

        With a token that does not rotate an overlap is harmless, and an outage is not.
        """
        try:
            held.enter_context(self._lease.acquire(run.connection.name))
        except LeaseUnavailableError as error:
            if run.urgency is Urgency.ADVISORY:
                raise
            run.warnings += (
                Warning_(
                    code=WarningCode.LEASE_UNAVAILABLE,
                    message="refreshing without the lease, since the token is about to end",
                    hint=error.hint,
                ),
            )

    def _not_due(self, run: _Run, side: ConsumerSide, decision: NotDue) -> RunReport:
        for target, error in side.target_errors.items():
            message = f"publish target {target.name} cannot be read: {error.message}"
            failure = VaultError(message, cause=error.cause, hint=error.hint)
            return self._report(run, Outcome.KEPT, message, error=failure, refresh_at=decision.refresh_at)
        message = f"the token is fresh; due at {decision.refresh_at:%H:%M:%S} UTC"
        return self._report(run, Outcome.NOT_DUE, message, refresh_at=decision.refresh_at)

    def _republish(self, run: _Run, side: ConsumerSide, decision: Republish) -> RunReport:
        secret = side.secret
        if secret is None or secret.expires_on is None:
            message = "only a token with its metadata is published again"
            raise ValueError(message)
        token = Published(value=secret.value, tags=secret.tags, expires_on=secret.expires_on)
        failed = self._publisher.write_targets(decision.targets, token, side, run.deadline)
        if failed:
            raise _publish_failed(failed)
        names = ", ".join(target.name for target in decision.targets)
        return self._report(run, Outcome.PUBLISHED, f"published again to {names}")

    def _refresh(self, run: _Run, side: ConsumerSide, credentials: Credentials) -> RunReport:
        run.effort = effort = Effort(record=side.record)
        if credentials.refresh_token is not None:
            run.refresh_token_life = (credentials.refresh_token.issued_at, credentials.refresh_token.expires_at)
        plan = plan_grants(
            run.connection,
            credentials.refresh_token,
            credentials.password_version,
            side.record,
            self._clock.now(),
            force=run.request.force,
        )
        conditions = Conditions(urgency=run.urgency, force=run.request.force, on_progress=run.request.on_progress)
        with self._servicenow.session(run.connection, run.deadline) as session:
            obtainer = Obtainer(
                run.connection,
                session,
                credentials,
                self._clock,
                effort,
                save_record=lambda record: self._save_record(run, record),
                keep_refresh_token=lambda response, grant: self._keep_refresh_token(run, response, grant),
                vault_url=self._settings.vault_url,
            )
            obtained = obtainer.obtain(plan, conditions)
            if self._ends_within_the_run(run, side, obtained):
                # ServiceNow returns the same token until it ends; asked right after that, it gives a new one.
                wait = (obtained.response.access_token.expires_at - self._clock.now()).total_seconds() + 1.0
                run.request.on_progress(f"the same token came back; asking again when it has ended, in {wait:.0f} s")
                self._clock.sleep(wait)
                obtained = obtainer.obtain(plan, conditions)
            return self._publish(run, side, obtained, session)

    def _ends_within_the_run(self, run: _Run, side: ConsumerSide, obtained: Obtained) -> bool:
        new, stored = obtained.response.access_token, side.access_token
        same = stored is not None and stored.value == new.value
        remaining = (new.expires_at - self._clock.now()).total_seconds()
        return same and remaining + 1.0 < run.deadline.remaining() / 2

    def _keep_refresh_token(self, run: _Run, response: TokenResponse, grant: Grant) -> StoredRefreshToken | None:
        """Store a refresh token that came with the answer, before anything else can fail; never drop one.

        A failure to store it is kept for the report: the access token is published all the same.
        """
        credentials, effort = run.credentials, run.effort
        if credentials is None or effort is None:
            return None
        before, received = credentials.refresh_token, response.refresh_token
        kept = keep_or_replace(before, received, grant, now=self._clock.now())
        if kept is None:
            return before
        if grant is Grant.REFRESH_TOKEN and received is not None and before is not None and received != before.value:
            effort.record = replace(effort.record, rotates=True)
        value, issued_at = kept
        expires_at = issued_at + run.connection.refresh_token_lifetime
        run.refresh_token_life = (issued_at, expires_at)
        unchanged = before is not None and before.value == value
        try:
            version = self._publisher.write_refresh_token(
                run.connection,
                value,
                issued_at,
                expires_at,
                credentials.refresh_token_secret if unchanged else None,
                self._writing_deadline(run),
            )
        except VaultError as error:
            if unchanged:
                # Only its dates are missing; the next refresh writes them.
                run.warnings += (_not_described(error),)
                return before
            run.unkept = error
            version = ""
        return StoredRefreshToken(
            value=value, version=version, issued_at=issued_at, expires_at=expires_at, described=True
        )

    def _publish(self, run: _Run, side: ConsumerSide, obtained: Obtained, session: Session) -> RunReport:
        run.request.on_progress("publishing")
        new = obtained.response.access_token
        run.access_token = new
        run.transaction_id = obtained.response.transaction_id
        if obtained.probe is not None:
            run.user_name = obtained.probe.user_name
            if obtained.probe.verdict is Verdict.UNKNOWN:
                run.warnings += (_probe_inconclusive(),)
        now, deadline = self._clock.now(), self._writing_deadline(run)
        choice = choose_token(side.access_token, new, now)
        if choice is Choice.STORED and self._is_dead(run, side, session):
            choice = Choice.NEW
        token = self._to_publish(run, side, new, choice, now)
        failed = self._publisher.write_access_token(run.connection, token, side, deadline)
        if run.unkept is not None:
            raise run.unkept
        if failed:
            raise _publish_failed(failed)
        outcome = Outcome.REFRESHED
        if choice is Choice.STORED or (choice is Choice.SAME and not _extended(side, new)):
            outcome = Outcome.UNCHANGED
            self._warn_once_of_unchanged(run, side, choice)
        self._record_success(run, side, outcome)
        remaining = new.expires_at - now
        return self._report(run, outcome, f"{outcome}; the token lives {_minutes(remaining)}")

    def _is_dead(self, run: _Run, side: ConsumerSide, session: Session) -> bool:
        """Whether the stored token, which says that it lives longer than the new one, is refused by ServiceNow."""
        stored = side.access_token
        if stored is None or run.connection.probe_path is None:
            return run.request.force
        return session.probe(stored.value).verdict is Verdict.REJECTED

    def _to_publish(self, run: _Run, side: ConsumerSide, new: AccessToken, choice: Choice, now: datetime) -> Published:
        stored, confirmed_at = side.access_token, None
        token = new
        if stored is not None and choice is not Choice.NEW:
            issued_at = stored.issued_at or new.issued_at
            expires_at = stored.expires_at if choice is Choice.STORED and stored.expires_at else new.expires_at
            grant = stored.grant or new.grant
            token = AccessToken(value=stored.value, issued_at=issued_at, expires_at=expires_at, grant=grant)
            confirmed_at = now
        tags = access_token_tags(
            token,
            connection=run.connection.name,
            run_id=run.run_id,
            trigger=run.request.trigger,
            reason=run.request.reason,
            confirmed_at=confirmed_at,
        )
        return Published(value=token.value, tags=tags, expires_on=token.expires_at)

    def _warn_once_of_unchanged(self, run: _Run, side: ConsumerSide, choice: Choice) -> None:
        if choice is Choice.SAME and side.access_token is not None and side.access_token.confirmed_at is None:
            diagnosis = diagnose(Cause.UNCHANGED, run.connection.name)
            run.warnings += (
                Warning_(code=WarningCode.UNCHANGED, message=diagnosis.meaning, hint=diagnosis.next_step),
            )

    def _record_success(self, run: _Run, side: ConsumerSide, outcome: Outcome) -> None:
        if run.effort is None:
            return
        record = run.effort.record
        news = side.record.tells_of_failure or record.tells_of_failure or record.rotates != side.record.rotates
        if not news:
            return
        try:
            self._save_record(run, record.after_success(self._clock.now(), outcome))
        except VaultError as error:
            run.warnings += (_record_not_written(error),)

    def _save_record(self, run: _Run, record: RefreshRecord) -> None:
        known = run.side.record_secret if run.side is not None else None
        version = run.record_version or (known.version if known is not None else None)
        run.record_version = self._publisher.write_record(
            run.connection, record, version=version, deadline=self._writing_deadline(run)
        )

    def _writing_deadline(self, run: _Run) -> Deadline:
        return Deadline(self._clock, max(timedelta(seconds=run.deadline.remaining()), _WRITING_TAKES))

    def _failure(self, run: _Run, error: RefresherError) -> RunReport:
        """Classify a failure, record it if ServiceNow was asked, and report it."""
        stored = run.side.access_token if run.side is not None else None
        now = self._clock.now()
        if isinstance(error, AuthorizationRequiredError):
            outcome = Outcome.AUTHORIZATION_REQUIRED
        elif evaluate_urgency(stored, self._timing, now) is Urgency.ADVISORY:
            outcome = Outcome.KEPT
        else:
            outcome = Outcome.FAILED
        failures = run.side.record.consecutive_failures if run.side is not None else 0
        if run.effort is not None and run.effort.asked:
            record = run.effort.record.after_failure(now, outcome, error.cause)
            failures = record.consecutive_failures
            try:
                self._save_record(run, record)
            except VaultError as unwritten:
                run.warnings += (_record_not_written(unwritten),)
        return self._report(run, outcome, error.message, error=error, consecutive_failures=failures)

    def _report(
        self,
        run: _Run,
        outcome: Outcome,
        message: str,
        *,
        error: RefresherError | None = None,
        refresh_at: datetime | None = None,
        consecutive_failures: int = 0,
    ) -> RunReport:
        now, effort, connection = self._clock.now(), run.effort, run.connection
        stored = run.side.access_token if run.side is not None else None
        expires_at = stored.expires_at if stored is not None else None
        life = stored.life if stored is not None else None
        if outcome in SUCCESSES and run.access_token is not None:
            expires_at = max(run.access_token.expires_at, expires_at or run.access_token.expires_at)
            life = (run.access_token.issued_at, expires_at)
        if refresh_at is None and life is not None:
            refresh_at = refresh_time(connection.name, *life, self._timing)
        hint = None
        if error is not None:
            hint = error.hint or diagnose(error.cause, connection.name).next_step
        return RunReport(
            connection=connection.name,
            run_id=run.run_id,
            trigger=run.request.trigger,
            outcome=outcome,
            message=message,
            reason=run.reason,
            cause=error.cause if error is not None else None,
            hint=hint,
            grant=effort.grant if effort is not None else None,
            attempts=effort.attempts.made if effort is not None else 0,
            duration_ms=round((self._clock.monotonic() - run.started) * 1000),
            working=None if run.side is None else expires_at is not None and now < expires_at,
            access_token_expires_at=expires_at,
            refresh_token_expires_at=run.refresh_token_life[1] if run.refresh_token_life else None,
            refresh_at=refresh_at,
            consecutive_failures=consecutive_failures,
            transaction_id=error.transaction_id if error is not None else run.transaction_id,
            user_name=run.user_name,
            retry_after=error.retry_after if error is not None else None,
            operator_reason=run.request.reason,
            principal=run.request.principal,
            warnings=run.warnings + self._standing_warnings(run),
            first_of_day=_is_first_of_day(stored, now),
        )

    def _standing_warnings(self, run: _Run) -> tuple[Warning_, ...]:
        lifetime = run.access_token.lifetime if run.access_token is not None else None
        if run.refresh_token_life is None and lifetime is None:
            return ()
        return foresee(run.connection, lifetime, run.refresh_token_life, self._timing, self._clock.now())


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


def _is_first_of_day(stored: StoredAccessToken | None, now: datetime) -> bool:
    """Whether this run follows the last refresh over midnight UTC (or follows none): the moment for daily warnings."""
    if stored is None or stored.life is None:
        return True
    return stored.life[0].astimezone(UTC).date() != now.astimezone(UTC).date()


def _publish_failed(failed: Mapping[PublishTarget, VaultError]) -> VaultError:
    names = "; ".join(f"{target.name}: {error.message}" for target, error in failed.items())
    first = next(iter(failed.values()))
    return VaultError(f"not every publish target was written ({names})", cause=Cause.PUBLISH_FAILED, hint=first.hint)


def _not_described(error: VaultError) -> Warning_:
    return Warning_(
        code=WarningCode.REFRESH_TOKEN_NOT_DESCRIBED,
        message=f"the dates of the refresh token could not be written: {error.message}",
        hint=error.hint,
    )


def _record_not_written(error: VaultError) -> Warning_:
    return Warning_(
        code=WarningCode.RECORD_NOT_WRITTEN,
        message=f"the record of attempts could not be written: {error.message}",
        hint=error.hint,
    )


def _probe_inconclusive() -> Warning_:
    return Warning_(
        code=WarningCode.PROBE_INCONCLUSIVE,
        message="the new token was published, but the probe could not say whether it works",
        hint="Run python -m refresher probe; if it stays so, check the probe's path and the instance.",
    )


def _origin(error: BaseException) -> str:
    """Where it was raised, without any value: file and line."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    if frame is None:
        return ""
    return f" in {frame.tb_frame.f_globals.get('__name__', '?')}, line {frame.tb_lineno}"


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f} min"
