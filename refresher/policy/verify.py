"""Whether a stored token is tried at its instance, and what follows where the instance refuses it.

Dates say how long a token was to live; only the instance knows whether it was revoked or its user shut out. But an
API access policy refuses a living token with the same 401: so a refusal counts only where this very probe accepted
a token of the connection before, it leads to one refresh within a refresh interval, and where a herd is refused at
one instance, one connection goes first.
"""

import zlib
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from refresher.model import steps
from refresher.model.causes import Cause, Kind
from refresher.model.connection import Connection
from refresher.model.grants import Grant
from refresher.model.report import Warning_, WarningCode
from refresher.model.steps import Step
from refresher.model.stored import StoredAccessToken
from refresher.model.timing import Timing
from refresher.model.tokens import Secret
from refresher.policy.due import Decision, Reason, Refresh, Urgency
from refresher.policy.grants import REFUSALS_THAT_CONDEMN, GrantPlan
from refresher.policy.record import RefreshRecord

HERD = 3
"""Connections of one instance that are refused together: it may be the instance, and not their tokens."""
_RUN_TAKES = timedelta(minutes=1)
"""Of the last tick: a token that its run published is a tick old at the next one, all the same."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Consequence(StrEnum):
    """What follows a refusal."""

    REFRESH = "refresh"
    WAIT = "wait"
    """It does not work, and a refresh for this reason alone is not permitted now."""
    WARN = "warn"
    """The probe never accepted a token of this connection: that it refuses one says nothing of the token."""


def is_tried_each_tick(connection: Connection, timing: Timing) -> bool:
    """Whether its instance is asked in every tick as a rule: for a new token, or about the stored one."""
    every = timing.tick if connection.verify_interval is None else connection.verify_interval
    return connection.probe_path is not None and timedelta() < every <= timing.tick


def is_to_be_tried(
    connection: Connection, token: StoredAccessToken | None, timing: Timing, now: datetime, *, by_timer: bool
) -> bool:
    """Whether to ask the instance in this tick; the clock decides between ticks, so that nothing has to be kept."""
    every = timing.tick if connection.verify_interval is None else connection.verify_interval
    if connection.probe_path is None or not every or token is None or not token.value or not token.lives_at(now):
        return False
    accepted_at = token.life[0] if token.life is not None and is_proven(connection, token) else None
    if accepted_at is not None and timedelta() <= now - accepted_at < timing.tick - _RUN_TAKES:
        return False
    return not by_timer or _is_its_tick(connection.name, every, timing.tick, now)


def _is_its_tick(name: str, every: timedelta, tick: timedelta, now: datetime) -> bool:
    """Whether a multiple of the interval, moved by the connection's own share of it, lies in the tick at that time."""
    moved = every * (zlib.crc32(name.encode()) / 2**32)
    begun = (now - _EPOCH) // tick * tick
    return every <= tick or (begun + moved) // every != (begun - tick + moved) // every


def is_proven(connection: Connection, token: StoredAccessToken) -> bool:
    """Whether this very probe accepted a token of the connection before: if not, its refusals say nothing of one."""
    return token.accepted_by == connection.probe_mark


def after_refusals(
    connection: Connection, token: StoredAccessToken, record: RefreshRecord | None, timing: Timing, now: datetime
) -> tuple[Consequence, str]:
    """What follows where the instance refused the stored token twice, and why nothing does.

    `record` is None where it cannot be read: nobody knows then what was tried before.
    """
    if not is_proven(connection, token):
        return Consequence.WARN, ""
    if connection.grant.row.sends_password:
        return Consequence.WAIT, f"the grant {connection.grant} is not used for that alone"
    if record is None:
        return Consequence.WAIT, "whether a refresh for that alone was tried before cannot be read"
    if not _may_be_refreshed_for_it(record, timing, now):
        return Consequence.WAIT, "a refresh for that alone was tried within the last refresh interval"
    return Consequence.REFRESH, ""


def is_unheard(cause: Cause, refusals: int) -> bool:
    """Whether a refresh that ended so decided nothing, so that the next tick may begin another.

    The instance served nobody; or its generic 401, which also passes, met the refresh token in so few runs
    (`refusals`) that one more has to condemn it, and another grant or a person to help.
    """
    undecided = cause is Cause.ACCESS_DENIED and 0 < refusals < REFUSALS_THAT_CONDEMN
    return undecided or cause.row.kind in {Kind.AWAY, Kind.THROTTLED}


def goes_first(refused: Mapping[str, str], healed: frozenset[str] = frozenset()) -> Mapping[str, str]:
    """Of refused connections and their instances, in order: those that wait, and for which one each of them does.

    `healed` are instances at which a token that was got for this reason is known to be accepted: nobody waits there.
    """
    of_instance = Counter(refused.values())
    first: dict[str, str] = {}
    waiting = {}
    for name, instance in refused.items():
        pioneer = first.setdefault(instance, name)
        if pioneer != name and of_instance[instance] >= HERD and instance not in healed:
            waiting[name] = pioneer
    return waiting


def insist(
    decision: Decision,
    token: StoredAccessToken | None,
    refused: Secret | None,
    record: RefreshRecord,
    timing: Timing,
    now: datetime,
) -> Decision:
    """The decision by dates, unless the token is still the one that was refused and may be replaced for that.

    Never more urgent than its dates: this reason opens no fallback grant.
    """
    if isinstance(decision, Refresh) or refused is None or token is None or token.value != refused:
        return decision
    if not _may_be_refreshed_for_it(record, timing, now):
        return decision
    return Refresh(reason=Reason.ACCESS_TOKEN_REFUSED, urgency=Urgency.ADVISORY)


def restrain(plan: GrantPlan, connection: Connection) -> GrantPlan:
    """The plan of a refresh for this reason alone: what else may be tried goes by the refresh token's own refusals."""
    if connection.grant is Grant.REFRESH_TOKEN and Grant.REFRESH_TOKEN in plan.grants:
        return plan
    own = (grant for grant in plan.grants if grant is connection.grant and not grant.row.sends_password)
    return GrantPlan(grants=tuple(own))


def _may_be_refreshed_for_it(record: RefreshRecord, timing: Timing, now: datetime) -> bool:
    at = record.access_token_refused_at
    return at is None or not timedelta() <= now - at < timing.interval


def user_changed(stored: StoredAccessToken | None, user_name: str | None) -> tuple[Warning_, ...]:
    """A warning where the token acts as somebody else than at the last refresh; none where either is not known."""
    before = stored.user_name if stored is not None else None
    if before is None or user_name is None or before == user_name:
        return ()
    message = f"the token acts as {user_name}; at the refresh before it acted as {before}"
    hint = Step("See whether that was meant: the user's roles are what consumers may do. Otherwise authorize again.")
    return (Warning_(code=WarningCode.USER_CHANGED, message=message, hint=hint),)


def user_before(stored: StoredAccessToken | None, user_name: str | None, *, by_hand: bool) -> str | None:
    """Whom tokens acted as before the user changed, to be kept beside the next one; None where nobody need know.

    A change is remembered until it is undone, or a person refreshes `by_hand` who could have read of it.
    """
    if stored is None:
        return None
    changed = bool(user_changed(stored, user_name))
    before = stored.user_before or (stored.user_name if changed else None)
    return before if before != user_name and (changed or not by_hand) else None


def user_still_changed(connection: str, stored: StoredAccessToken | None) -> tuple[Warning_, ...]:
    """The warning of a change that nobody has answered for."""
    if stored is None or stored.user_before is None or stored.user_name is None:
        return ()
    message = f"the token acts as {stored.user_name}; before, tokens of {connection} acted as {stored.user_before}"
    hint = Step(
        "Was it meant? Then say so: ", steps.refresh(connection, force=True), ". Otherwise correct what was stored."
    )
    return (Warning_(code=WarningCode.USER_CHANGED, message=message, hint=hint),)


def refused_without_proof(connection: Connection) -> Warning_:
    """The warning of a refusal that does not count."""
    message = (
        "ServiceNow refuses the stored token at PROBE_PATH (401), where it never accepted one of this connection: an "
        "access policy, or the token"
    )
    return Warning_(code=WarningCode.VERIFICATION_REFUSED, message=message, hint=behind_a_policy(connection))


def behind_a_policy(connection: Connection) -> Step:
    """What to do where the probe's path is shut, and not the token dead."""
    path = (connection.probe_path or "").partition("?")[0]
    return Step(
        f"Most likely a REST API access policy or an ACL keeps this user or address out of PROBE_PATH, {path}: let it "
        "through (System Web Services > REST API Access Policies), or set PROBE_PATH to what the user is there to "
        "read, its incidents for example: ",
        steps.set_app_setting("PROBE_PATH", "/api/now/table/incident?sysparm_limit=1"),
    )
