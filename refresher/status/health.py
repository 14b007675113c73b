"""How a connection stands, from plain values: its state, what happens next, and what a person should do."""

from datetime import datetime

from refresher.keyvault.found import ConsumerSide, Overview
from refresher.model import steps
from refresher.model.causes import Cause, diagnose
from refresher.model.connection import Connection
from refresher.model.errors import VaultError
from refresher.model.grants import Grant
from refresher.model.moments import minute
from refresher.model.report import Outcome, Warning_, WarningCode
from refresher.model.steps import Step
from refresher.model.stored import StoredAccessToken, StoredRefreshToken
from refresher.model.timing import Timing
from refresher.policy.attempts import last_attempts
from refresher.policy.due import NotDue, Urgency, decide_refresh, evaluate_urgency, refresh_time, shared_targets
from refresher.policy.forecast import foresee, lost_tags
from refresher.policy.grants import renewal_time
from refresher.policy.reserve import reserve
from refresher.policy.verify import refused_without_proof, user_changed, user_still_changed
from refresher.servicenow.answers import Verdict
from refresher.status.connection_status import ConnectionStatus, State
from refresher.status.copies import TargetStatus, judge_copies
from refresher.status.lives import Life, recall
from refresher.status.sentence import put_right_in, say
from refresher.status.tried import Trial, basis, verdict_on, without_unproven, works

_TRIED_NEXT = "The next refresh tries it. At once: "


def evaluate(
    connection: Connection, found: Overview, timing: Timing, now: datetime, *, trial: Trial, untried: str = ""
) -> ConnectionStatus:
    """Evaluate one connection: by what was tried of its tokens, and by their dates where that says nothing."""
    side, token, refresh_token = found.side, found.side.access_token, found.refresh_token
    life = token.life if token is not None else None
    issued = life[1] - life[0] if life and _lives_as_issued(token) else None
    counted = without_unproven(trial, connection, side)
    unproven = (refused_without_proof(connection),) if counted != trial else ()
    trial, verdict = counted, verdict_on(token, counted)
    acts_as = trial[token.value].probe.user_name if token is not None and verdict is not None else None
    state = _state(connection, found, timing, now, trial)
    cause = _cause(state, connection, found)
    put_right = state is not State.AUTHORIZATION_REQUIRED and bool(put_right_in(found))
    # What the dates of a refresh token promise is no news while a person has to replace it.
    described = refresh_token if state is not State.AUTHORIZATION_REQUIRED else None
    failing = side.record.consecutive_failures > 1
    targets = judge_copies(side, trial, now)
    attempted_at, outcome = _last_attempt(side)
    warnings = lost_tags(token) + foresee(
        connection,
        issued,
        (described.issued_at, described.expires_at) if described is not None else None,
        timing,
        now,
        fallback_ready=found.fallback_ready,
        failing=failing,
        key=found.key,
        shared=shared_targets(token.publisher if token else None, side.targets, timing, now),
    )
    # Ticks that tell of no failure have let its time pass: a refresh by hand would not get to it either.
    passed_over = life is not None and now - life[1] > timing.tick
    return ConnectionStatus(
        connection=connection.name,
        instance_url=connection.instance_url,
        state=state,
        working=works(token, trial, now) and all(target.working is not False for target in targets),
        message=say(state, targets, found, tried=verdict is Verdict.ACCEPTED),
        basis=basis(token, trial, now, untried=untried),
        tried=verdict,
        user_name=acts_as or (token.user_name if token is not None else None),
        next_step=(Step(_TRIED_NEXT, steps.refresh(connection.name, force=True)) if put_right else None)
        or _hint(state, cause, found, warnings)
        or _next_step(state, cause, connection.name, targets, passed_over=passed_over)
        or next((_see_to(error, connection.name) for error in side.target_errors.values()), None),
        cause=cause,
        checks=diagnose(cause, connection.name).checks if cause else (),
        lives=_lives(token),
        issued_at=token.issued_at if token else None,
        expires_at=token.expires_at if token else None,
        refresh_at=refresh_time(connection.name, *life, timing, grant=token.grant, now=now)
        if token and life
        else None,
        in_hand=reserve(issued, timing, token.grant) if token and issued is not None else None,
        refresh_token_expires_at=refresh_token.expires_at if refresh_token else None,
        refresh_token_then=_refresh_token_then(connection, described, fallback_ready=found.fallback_ready)
        if described is not None and not failing
        else None,
        signing_key=found.key,
        last_attempt_at=attempted_at,
        last_outcome=outcome,
        consecutive_failures=side.record.consecutive_failures,
        attempts=last_attempts(side.record.failures, _refreshed_at(token), revoked_at=_revoked_at(token)),
        targets=targets,
        warnings=warnings
        + unproven
        + _unseen(found)
        + (user_changed(token, acts_as) or user_still_changed(connection.name, token)),
    )


def _state(connection: Connection, found: Overview, timing: Timing, now: datetime, trial: Trial) -> State:
    token, record, hindered = found.side.access_token, found.side.record, found.hindered
    ended = _cannot_start(connection, found.refresh_token) and found.blocked is None
    if (record.last_outcome == Outcome.AUTHORIZATION_REQUIRED and not put_right_in(found)) or ended:
        return State.AUTHORIZATION_REQUIRED
    if token is None or not works(token, trial, now):
        return State.REFUSED if verdict_on(token, trial) is Verdict.REJECTED else State.EXPIRED
    if record.consecutive_failures or hindered is not None:
        return State.FAILING
    if token.expires_at is not None and evaluate_urgency(token, timing, now) is Urgency.MANDATORY:
        return State.EXPIRING
    decision = decide_refresh(connection.name, token, found.side.targets, timing, now)
    return State.FRESH if isinstance(decision, NotDue) else State.DUE


def _unseen(found: Overview) -> tuple[Warning_, ...]:
    """A warning where whoever looks may not see what the app needs: whether the app may is not known."""
    if found.blocked is None or found.hindered is not None:
        return ()
    hint = Step(
        "What the app may read, only the app can see: its log and its status page. To look from here, names and dates "
        "are enough, without values (docs/azure.md, 'Who may do what')."
    )
    return (Warning_(code=WarningCode.CREDENTIAL_UNSEEN, message=found.blocked.message, hint=hint),)


def _cannot_start(connection: Connection, refresh_token: StoredRefreshToken | None) -> bool:
    return refresh_token is None and connection.grant is Grant.REFRESH_TOKEN and connection.fallback_grant is None


def _cause(state: State, connection: Connection, found: Overview) -> Cause | None:
    record, put_right = found.side.record, put_right_in(found)
    if found.hindered is not None and state is not State.AUTHORIZATION_REQUIRED:
        return found.hindered.cause
    if record.consecutive_failures or state is not State.FRESH:
        recorded = Cause.of(record.last_cause)
        if recorded is not None and not put_right:
            return recorded
    if _cannot_start(connection, found.refresh_token) and found.blocked is None:
        return Cause.REFRESH_TOKEN_MISSING
    return Cause.ACCESS_TOKEN_REFUSED if state is State.REFUSED else None


def _hint(state: State, cause: Cause | None, found: Overview, warnings: tuple[Warning_, ...]) -> Step | None:
    """What knows more than the cause: what blocks the refresh, or a life that is too short for the ticks."""
    if found.hindered is not None and cause is found.hindered.cause:
        return found.hindered.hint
    if cause is not None or state not in {State.EXPIRED, State.EXPIRING}:
        return None
    return next((each.hint for each in warnings if each.code is WarningCode.ACCESS_TOKEN_SHORT), None)


def _next_step(
    state: State, cause: Cause | None, name: str, targets: tuple[TargetStatus, ...], *, passed_over: bool
) -> Step | None:
    if cause is not None:
        return diagnose(cause, name).next_step
    if state is State.EXPIRED and passed_over:
        return Step("No tick has refreshed it, and none says why: ", steps.doctor(name))
    if state in {State.EXPIRED, State.EXPIRING}:
        return Step(steps.refresh(name, force=True))
    lacking = any(target.current is False for target in targets)
    return Step("At once: ", steps.refresh(name)) if lacking else None


def _see_to(error: VaultError, name: str) -> Step:
    """What to do about a copy that cannot be read. Whether the app may read it, only the app can see."""
    if error.cause is Cause.SECRET_DISABLED and error.hint is not None:
        return error.hint
    return Step("What keeps the copy from being read: ", steps.doctor(name))


def _refresh_token_then(connection: Connection, refresh_token: StoredRefreshToken, *, fallback_ready: bool) -> Step:
    fallback = connection.fallback_grant
    if fallback is not None and fallback.row.renews and fallback_ready:
        renewal_at = renewal_time(refresh_token)
        return Step(f"renewed by grant {fallback} from {minute(renewal_at)} on")
    other = connection.fallback_grant if connection.grant is Grant.REFRESH_TOKEN else connection.grant
    if other is not None and (fallback_ready or other is not connection.fallback_grant):
        return Step(f"tokens come by grant {other}")
    return Step("refreshing stops, unless a person runs: ", steps.authorize(connection.name))


def _lives(token: StoredAccessToken | None) -> tuple[Life, ...]:
    if token is None or token.issued_at is None or token.expires_at is None:
        return ()
    return (*recall(token.recent, token.issued_at), (token.issued_at, token.expires_at))


def _revoked_at(token: StoredAccessToken | None) -> datetime | None:
    """Revoking ends the life that the tags tell of."""
    return token.expires_at if token is not None and token.revoked else None


def _refreshed_at(token: StoredAccessToken | None) -> tuple[datetime, ...]:
    confirmed = (token.confirmed_at,) if token is not None and token.confirmed_at is not None else ()
    return (*(begins for begins, _ in _lives(token)), *confirmed)


def _lives_as_issued(token: StoredAccessToken | None) -> bool:
    """Whether its life says how long ServiceNow lets a token live; how long Entra does is set nowhere there."""
    if token is None or (token.grant is not None and token.grant.row.from_half_of_life):
        return False
    return token.confirmed_at is None and not token.revoked


def _last_attempt(side: ConsumerSide) -> tuple[datetime | None, str | None]:
    """When it was, and what came of it; of the same moment the token's own tags tell first."""
    token, record = side.access_token, side.record
    published = not record.consecutive_failures or record.last_cause != Cause.PUBLISH_FAILED
    attempts = (
        (_revoked_at(token), Outcome.REVOKED.value),
        (token.life[0] if token and token.life and published else None, Outcome.REFRESHED.value),
        (record.last_attempt_at, record.last_outcome),
    )
    known = [(at, outcome) for at, outcome in attempts if at is not None]
    return max(known, key=lambda attempt: attempt[0], default=(None, record.last_outcome))
