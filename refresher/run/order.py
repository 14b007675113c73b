"""The only place that knows the order of a run: look; lease; look at everything; refresh, or publish again.

Every step may be the last one before a crash, and the next tick must heal from there: so nothing is kept in
memory, the refresh token is stored before anything else, and a write that fails leaves what was there.
"""

from collections.abc import Callable
from datetime import timedelta

from refresher.keyvault.credentials import Credentials
from refresher.keyvault.found import ConsumerSide
from refresher.keyvault.reading import read_consumer_side
from refresher.keyvault.tags import parse_access_token
from refresher.keyvault.writing import Published, write_targets
from refresher.model.causes import Cause
from refresher.model.clock import Deadline
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError, TokenRejectedError, VaultError
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger
from refresher.model.stored import StoredSecret
from refresher.model.tokens import Secret, TokenResponse
from refresher.policy.due import (
    Decision,
    NotDue,
    Reason,
    Refresh,
    Republish,
    Urgency,
    decide_refresh,
    decide_undated,
)
from refresher.policy.grants import plan_grants
from refresher.policy.herd import seconds_to_others
from refresher.policy.verify import insist, is_unheard, restrain
from refresher.run.failures import PublishFailedError, outcome_of, reported
from refresher.run.keep import Keeper
from refresher.run.memory import Memory
from refresher.run.obtain import obtain
from refresher.run.parts import Parts
from refresher.run.run import Run

_UNATTENDED = frozenset({Trigger.TIMER, Trigger.QUEUE})
_REFRESH_TAKES = 20.0
"""Seconds that are left to a run that waits for others, with a slow instance."""


class Refresher:
    """Runs connections. Safe to share between threads: what belongs to a run stays in it."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    def run(
        self,
        connection: Connection,
        request: RunRequest,
        allowed: timedelta | None = None,
        *,
        refused: Secret | None = None,
        on_look: Callable[[Connection, ConsumerSide], None] = lambda *_: None,
    ) -> RunReport:
        """Run one connection once, in the time allowed (None: as long as a single run may take).

        `refused` is a stored token that ServiceNow refused twice; `on_look` is told what was read, and the last time
        what is left. Never raises: what went wrong is in the report, with its cause and next step.
        """
        run = self._parts.begin(connection, request, allowed)
        run.refused, run.on_look = refused, on_look
        return reported(lambda: self._run(run), run.failed)

    def is_due(
        self, connection: Connection, allowed: timedelta, on_look: Callable[[Connection, ConsumerSide], None]
    ) -> bool:
        """Whether a run would do anything now; what cannot be read in that time is due: a run reports it."""
        parts = self._parts
        try:
            side = read_consumer_side(parts.vaults, connection, Deadline(parts.clock, allowed))
            on_look(connection, side)
            now = parts.clock.now()
            decision = decide_refresh(connection.name, side.access_token, side.targets, parts.settings.timing, now)
        except Exception:  # noqa: BLE001 - isolation: one connection's surprise must not stop the others
            return True
        return bool(side.target_errors) or not isinstance(decision, NotDue)

    def _run(self, run: Run) -> RunReport:
        parts = self._parts
        if run.request.force:
            parts.lease.expect(run.connection.name)
        run.request.on_progress("reading the vault")
        run.side = read_consumer_side(parts.vaults, run.connection, run.deadline)
        run.on_look(run.connection, run.side)
        look = self._decide(run, run.side)
        if isinstance(look, NotDue):
            return _not_due(run, run.side, look)
        if isinstance(look, Refresh):
            parts.vaults.executor.submit(parts.servicenow.prepare)
            self._leave_room(run, look.urgency)
        urgency = look.urgency if isinstance(look, Refresh) else None
        with parts.hold_lease(run, urgency) as (side, read_credentials):
            # Somebody else may have been faster.
            run.on_look(run.connection, side)
            match self._decide(run, side):
                case NotDue() as decision:
                    return _not_due(run, side, decision)
                case Republish() as decision:
                    return self._republish(run, side, decision)
                case Refresh() as decision:
                    if run.without_lease is not None and run.can_wait(decision.urgency):
                        raise run.without_lease
                    return self._refresh(run, side, read_credentials(), decision)

    def _leave_room(self, run: Run, urgency: Urgency) -> None:
        """Let others of the same instance go first, where nobody waits for this run and it has the time."""
        if run.request.trigger not in _UNATTENDED or run.refused is not None:
            return
        url = run.connection.instance_url
        many = sum(each.instance_url == url for each in self._parts.settings.connections)
        seconds = seconds_to_others(run.connection.name, many, urgency)
        run.clock.sleep(min(seconds, max(0.0, run.deadline.remaining() - _REFRESH_TAKES)))

    def _decide(self, run: Run, side: ConsumerSide) -> Decision:
        if not side.is_dated and not run.request.force:
            known = side.record_error is None and len(side.shut) < len(side.targets)
            undated = decide_undated(
                side.record.last_attempt_at if known else None, run.timing, run.clock.now(), known=known
            )
            run.reason = undated.reason
            return undated
        decision = decide_refresh(
            run.connection.name,
            side.access_token,
            side.targets,
            run.timing,
            run.clock.now(),
            force=run.request.force,
        )
        decision = insist(decision, side.access_token, run.refused, side.record, run.timing, run.clock.now())
        run.reason = decision.reason
        return decision

    def _refresh(self, run: Run, side: ConsumerSide, credentials: Credentials, decision: Refresh) -> RunReport:
        keeper = Keeper(run, self._parts.vaults, side, credentials)
        plan = plan_grants(
            run.connection,
            credentials.refresh_token,
            credentials.password_version,
            side.record,
            run.clock.now(),
            force=run.request.force,
        )
        by_refusal_alone = decision.reason is Reason.ACCESS_TOKEN_REFUSED
        if by_refusal_alone:
            plan = restrain(plan, run.connection)

        def ask_identity() -> TokenResponse:
            return self._parts.identity.request_token(run.connection, run.deadline)

        def job() -> RunReport:
            if by_refusal_alone:
                if not plan.grants:
                    message = "ServiceNow refuses the stored token, and nothing may be tried for that reason alone"
                    raise TokenRejectedError(message, cause=Cause.ACCESS_TOKEN_REFUSED)
                keeper.memory.remember(side.record.with_access_token_refused(run.clock.now()), or_stop=True)
            elif not side.is_dated and not run.request.force:
                keeper.memory.remember(side.record.before_attempt(run.clock.now()), or_stop=True)
            with self._parts.servicenow.session(run.connection, run.deadline) as session:
                return keeper.publish(obtain(run, keeper, session, plan, decision.urgency, ask_identity))

        def failed(error: RefresherError) -> RunReport:
            record = keeper.memory.record
            refusals = record.refresh_token_refusals_of(keeper.sent(Grant.REFRESH_TOKEN).refresh_token)
            if by_refusal_alone and is_unheard(error.cause, refusals):
                keeper.memory.record = record.with_access_token_refused(side.record.access_token_refused_at)
            return keeper.failed(error)

        return reported(job, failed)

    def _republish(self, run: Run, side: ConsumerSide, decision: Republish) -> RunReport:
        vaults, secret = self._parts.vaults, side.source
        run.before_writing()
        failed = write_targets(vaults, decision.targets, _published(secret), side, run.deadline)
        if run.without_lease is not None:
            # Another run may have published meanwhile, and this one have put the older token over it.
            newest = vaults.main.read(run.connection.access_token_name, run.deadline)
            if newest is not None and secret is not None and newest.version != secret.version:
                failed = write_targets(vaults, decision.targets, _published(newest), side, run.deadline)
        if failed:
            error = PublishFailedError(failed)
            outcome = outcome_of(error, side, run.timing, run.clock.now())
            failures = Memory(run, vaults, side).note_failure(outcome, error)
            return run.report(outcome, error.message, error=error, consecutive_failures=failures)
        if side.record.last_cause == Cause.PUBLISH_FAILED:
            Memory(run, self._parts.vaults, side).settle(Outcome.PUBLISHED)
        names = ", ".join(target.name for target in decision.targets)
        return run.report(Outcome.PUBLISHED, f"published again to {names}")


def _published(secret: StoredSecret | None) -> Published:
    ends = parse_access_token(secret).expires_at if secret is not None else None
    if secret is None or ends is None:
        message = "only a token with its metadata is published again"
        raise ValueError(message)
    return Published(value=secret.value, tags=secret.tags, expires_on=ends)


def _not_due(run: Run, side: ConsumerSide, decision: NotDue) -> RunReport:
    for target, error in side.target_errors.items():
        message = f"{target.name} cannot be read: {error.message}"
        failure = VaultError(message, cause=error.cause, hint=error.hint)
        return run.report(Outcome.KEPT, message, error=failure, refresh_at=decision.refresh_at)
    message = f"the token is fresh; due at {decision.refresh_at:%H:%M:%S} UTC"
    return run.report(Outcome.NOT_DUE, message, refresh_at=decision.refresh_at)
