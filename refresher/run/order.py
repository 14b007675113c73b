"""The only place that knows the order of a run: read, decide, lease, read again, obtain, publish, record, report.

Every step may be the last one before a crash, and the next tick must heal from there: so nothing is kept in
memory, the refresh token is stored before anything else, and a write that fails leaves what was there.
"""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta

from refresher.keyvault.credentials import Credentials
from refresher.keyvault.found import ConsumerSide
from refresher.keyvault.reading import read_consumer_side, read_everything
from refresher.keyvault.vaults import Vaults
from refresher.keyvault.writing import Published, write_targets
from refresher.lease import Lease
from refresher.model.causes import Cause
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.errors import (
    LeaseHeldError,
    LeaseUnavailableError,
    RefresherError,
    VaultError,
    next_step,
    unforeseen,
)
from refresher.model.grants import CLIENT_ID, Grant
from refresher.model.report import Outcome, RunReport, RunRequest, WarningCode
from refresher.model.stored import StoredAccessToken
from refresher.model.tokens import Secret
from refresher.policy.due import NotDue, Refresh, Republish, Urgency, decide_refresh, evaluate_urgency
from refresher.policy.grants import plan_grants
from refresher.run.keep import PublishFailedError, TokenStore
from refresher.run.obtain import AuthorizationRequiredError, Obtained, Obtainer, PasswordPausedError, check_token
from refresher.run.refusals import Conditions, Effort
from refresher.run.run import Run
from refresher.servicenow.answers import Probe
from refresher.servicenow.instances import ServiceNow
from refresher.servicenow.oauth import build_token_request
from refresher.settings.load import Settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """What a person brought, and whether the vault shall keep the secrets in it."""

    grant: Grant
    brought: Mapping[str, Secret | str]
    """Form fields of the grant; what is not among them is read from the vault."""
    keep: bool = False


class Refresher:
    """Runs connections. Safe to share between threads: what belongs to a run stays in it."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        vaults: Vaults,
        servicenow: ServiceNow,
        lease: Lease,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._servicenow = servicenow
        self._lease = lease
        self._vaults = vaults
        self._store = TokenStore(vaults)
        self._timing = settings.timing

    def run(self, connection: Connection, request: RunRequest, allowed: timedelta | None = None) -> RunReport:
        """Run one connection once, in the time allowed (None: as long as a single run may take).

        Never raises: what went wrong is in the report, with its cause and next step.
        """
        return self._reported(connection, request, self._run, allowed)

    def authorize(self, connection: Connection, request: RunRequest, authorization: Authorization) -> RunReport:
        """Start a new life with what a person brought: same lease, same probe, same writes as a refresh.

        Never raises, like `run`.
        """
        return self._reported(connection, request, lambda run: self._authorize(run, authorization))

    def revoke(self, connection: Connection, request: RunRequest) -> RunReport:
        """Revoke the stored tokens at ServiceNow, and let the vault say so. Never raises, like `run`."""
        return self._reported(connection, request, self._revoke)

    def client_id(self, connection: Connection) -> Secret:
        """The OAuth application's client id, for the address that a person opens. Raises VaultError."""
        deadline = Deadline(self._clock, self._settings.run_deadline)
        _, read_credentials = read_everything(self._vaults, connection, self._clock.now(), deadline)
        return read_credentials().required(CLIENT_ID)

    def probe(self, connection: Connection) -> Probe | None:
        """Try the stored access token; None where there is none. Raises VaultError."""
        deadline = Deadline(self._clock, self._settings.run_deadline)
        side = read_consumer_side(self._vaults, connection, deadline)
        if side.access_token is None:
            return None
        with self._servicenow.session(connection, deadline) as session:
            return session.probe(side.access_token.value)

    def is_due(self, connection: Connection, allowed: timedelta) -> bool:
        """Whether a run would do anything now; what cannot be read in that time is due: a run reports it."""
        deadline = Deadline(self._clock, allowed)
        try:
            side = read_consumer_side(self._vaults, connection, deadline)
            now = self._clock.now()
            decision = decide_refresh(connection.name, side.access_token, side.targets, self._timing, now)
        except Exception:  # noqa: BLE001 - isolation: one connection's surprise must not stop the others
            return True
        return bool(side.target_errors) or not isinstance(decision, NotDue)

    def _reported(
        self,
        connection: Connection,
        request: RunRequest,
        job: Callable[[Run], RunReport],
        allowed: timedelta | None = None,
    ) -> RunReport:
        run = Run(
            clock=self._clock,
            timing=self._timing,
            connection=connection,
            request=request,
            run_id=self._clock.new_id(),
            deadline=Deadline(self._clock, allowed or self._settings.run_deadline),
            started=self._clock.monotonic(),
        )
        try:
            return job(run)
        except LeaseHeldError as error:
            return run.report(Outcome.BUSY, error.message, error=error)
        except RefresherError as error:
            return self._failure(run, error)
        except Exception as error:  # noqa: BLE001 - isolation: one connection's surprise must not stop the others
            surprise = unforeseen(error)
        return self._failure(run, surprise)

    def _authorize(self, run: Run, authorization: Authorization) -> RunReport:
        with ExitStack() as held:
            self._acquire(run, held)
            run.side, read_credentials = read_everything(self._vaults, run.connection, self._clock.now(), run.deadline)
            run.credentials = read_credentials()
            grant = authorization.grant
            request = build_token_request(run.connection, grant, run.credentials.form(grant, authorization.brought))
            run.effort = Effort(record=run.side.record, grant=grant, grants_tried=(grant,))
            run.request.on_progress(f"asking {run.connection.instance_url} for a token (grant {grant})")
            with self._servicenow.session(run.connection, run.deadline) as session:
                response = session.request_token(
                    lambda: request,
                    refusals_tolerated=0,
                    attempts=run.effort.attempts,
                    on_wait=lambda _: None,
                    repeat_lost_answers=False,
                )
                # A person can start again, so the stored refresh token gives way only to one that is known to work.
                run.request.on_progress("trying the new token")
                probe = check_token(run.connection, session, response)
                self._store.keep_refresh_token(run, response.refresh_token, grant)
                if authorization.keep:
                    self._store.keep_brought(run, grant, authorization.brought)
                return self._store.publish(
                    run, run.side, Obtained(response=response, grant=grant, probe=probe), session
                )

    def _revoke(self, run: Run) -> RunReport:
        with ExitStack() as held:
            self._acquire(run, held)
            run.side, read_credentials = read_everything(self._vaults, run.connection, self._clock.now(), run.deadline)
            run.credentials = read_credentials()
            copies = self._store.copies_of_tokens(run.connection, run.side, run.credentials)
            known = []
            with self._servicenow.session(run.connection, run.deadline) as session:
                for token, places in copies:
                    known.append(session.revoke(token))
                    # Before the next one can fail: what is dead must not look alive.
                    self._store.mark_revoked(run, places)
            message = f"{len(known)} tokens revoked at ServiceNow"
            if not all(known):
                message += f"; ServiceNow did not know {known.count(False)} of them"
            for target in run.side.target_errors:
                message += f"; {target.name} cannot be read, and may still hold one of them"
            return run.report(Outcome.REVOKED, message)

    def _run(self, run: Run) -> RunReport:
        run.request.on_progress("reading the vault")
        run.side = read_consumer_side(self._vaults, run.connection, run.deadline)
        decision = self._decide(run, run.side)
        if isinstance(decision, NotDue):
            return self._not_due(run, run.side, decision)
        run.urgency = Urgency.ADVISORY
        if isinstance(decision, Refresh):
            run.urgency = decision.urgency
            self._vaults.executor.submit(self._servicenow.prepare)
        with ExitStack() as held:
            self._acquire(run, held)
            if isinstance(decision, Republish):
                run.side = read_consumer_side(self._vaults, run.connection, run.deadline)
                decision = self._decide(run, run.side)
            if isinstance(decision, Republish):
                return self._republish(run, run.side, decision)
            run.side, read_credentials = read_everything(self._vaults, run.connection, self._clock.now(), run.deadline)
            decision = self._decide(run, run.side)
            if not isinstance(decision, Refresh):
                return self._after_all(run, run.side, decision)
            run.urgency = decision.urgency
            run.credentials = read_credentials()
            return self._refresh(run, run.side, run.credentials)

    def _decide(self, run: Run, side: ConsumerSide) -> NotDue | Republish | Refresh:
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

    def _after_all(self, run: Run, side: ConsumerSide, decision: NotDue | Republish) -> RunReport:
        """Somebody else refreshed between the first look and the lease."""
        if isinstance(decision, Republish):
            return self._republish(run, side, decision)
        return self._not_due(run, side, decision)

    def _acquire(self, run: Run, held: ExitStack) -> None:
        """Hold the lease for the rest of the run. Without a lease service, only an urgent refresh goes ahead.

        With a token that does not rotate an overlap is harmless, and an outage is not.
        """
        try:
            held.enter_context(self._lease.acquire(run.connection.name))
        except LeaseUnavailableError as error:
            if run.urgency is Urgency.ADVISORY:
                raise
            message = "refreshing without the lease, since the token is about to end"
            run.warn(WarningCode.LEASE_UNAVAILABLE, message, error.hint)

    def _not_due(self, run: Run, side: ConsumerSide, decision: NotDue) -> RunReport:
        for target, error in side.target_errors.items():
            message = f"publish target {target.name} cannot be read: {error.message}"
            failure = VaultError(message, cause=error.cause, hint=error.hint)
            return run.report(Outcome.KEPT, message, error=failure, refresh_at=decision.refresh_at)
        message = f"the token is fresh; due at {decision.refresh_at:%H:%M:%S} UTC"
        return run.report(Outcome.NOT_DUE, message, refresh_at=decision.refresh_at)

    def _republish(self, run: Run, side: ConsumerSide, decision: Republish) -> RunReport:
        secret = side.secret
        if secret is None or secret.expires_on is None:
            message = "only a token with its metadata is published again"
            raise ValueError(message)
        token = Published(value=secret.value, tags=secret.tags, expires_on=secret.expires_on)
        failed = write_targets(self._vaults, decision.targets, token, side, run.deadline)
        if failed:
            raise PublishFailedError(failed)
        if side.record.last_cause == Cause.PUBLISH_FAILED:
            self._store.record_success(run, side, Outcome.PUBLISHED)
        names = ", ".join(target.name for target in decision.targets)
        return run.report(Outcome.PUBLISHED, f"published again to {names}")

    def _refresh(self, run: Run, side: ConsumerSide, credentials: Credentials) -> RunReport:
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
                save_record=lambda record: self._store.save_record(run, record, run.deadline),
                keep_refresh_token=lambda received, grant: self._store.keep_refresh_token(run, received, grant),
            )
            obtained = obtainer.obtain(plan, conditions)
            self._warn_of_failed_grants(run, effort)
            return self._store.publish(run, side, obtained, session)

    def _warn_of_failed_grants(self, run: Run, effort: Effort) -> None:
        """A refresh token that gives way is what a fallback grant is for; one that does not work itself is news."""
        for grant, error in effort.failures:
            if grant is not Grant.REFRESH_TOKEN:
                run.warn(
                    WarningCode.GRANT_FAILED,
                    f"the grant {grant} failed, and {effort.grant} served instead: {error.message}",
                    next_step(error, run.connection.name),
                )

    def _failure(self, run: Run, error: RefresherError) -> RunReport:
        """Classify a failure, record it if ServiceNow was asked, and report it."""
        now = self._clock.now()
        held = _read_until_then(run.side, error)
        if isinstance(error, AuthorizationRequiredError):
            outcome = Outcome.AUTHORIZATION_REQUIRED
        elif all(evaluate_urgency(token, self._timing, now) is Urgency.ADVISORY for token in held):
            outcome = Outcome.KEPT
        else:
            outcome = Outcome.FAILED
        failures = run.side.record.consecutive_failures if run.side is not None else 0
        noted = run.side is not None and run.effort is not None and run.effort.record != run.side.record
        if run.effort is not None and (run.effort.asked or noted or isinstance(error, PasswordPausedError)):
            record = run.effort.record.after_failure(now, outcome, error.cause)
            failures = record.consecutive_failures
            self._store.try_to_save_record(run, record)
        return run.report(outcome, error.message, error=error, consecutive_failures=failures)


def _read_until_then(side: ConsumerSide | None, error: RefresherError) -> list[StoredAccessToken | None]:
    """What consumers go on reading after a failure: of targets that could not be written, what those hold."""
    if side is None:
        return [None]
    if isinstance(error, PublishFailedError):
        return [state.holds for state in side.targets if state.target in error.targets]
    return [side.access_token]
