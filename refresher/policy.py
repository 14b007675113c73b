"""What a run should do, decided from plain values: is a refresh due, by which grants, what may be tried again.

Nothing here does I/O, reads a clock, draws a random number or logs; each decision carries its reason.

Refresh age: a token is due 50 minutes (the configured interval) after its issue, or at 5/6 of its life if that is
sooner, at the tick nearest to that moment; and in any case when it ends within two ticks.
Two thresholds: until the token would end before the next tick, a failure is advisory and the old token stays in
use; from then on it is an error (the pattern of botocore's refreshable credentials).
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from refresher.connection import Connection, PublishTarget
from refresher.errors import Cause, TokenEndpointError
from refresher.password_gate import Gate
from refresher.record import RefreshRecord, StoredAccessToken, StoredRefreshToken
from refresher.tokens import AccessToken, Grant

REFUSALS_THAT_CONDEMN = 2
"""Runs in which the generic 401 met a refresh token before it is taken at its word."""
_RENEW_AT_LEAST = timedelta(hours=1)
_RENEW_AT_MOST = timedelta(days=7)
_MARGIN = timedelta(minutes=1)
"""What a tick may start late, and the run take, before the next one can have replaced a token."""
_FEW_CONNECTIONS = 20


class Reason(StrEnum):
    """Why a run does, or does not, ask for a token."""

    FRESH = "fresh"
    FORCED = "forced"
    ACCESS_TOKEN_MISSING = "access_token_missing"  # noqa: S105
    METADATA_MISSING = "access_token_metadata_missing"
    CLOCK_SKEW = "clock_skew"
    ACCESS_TOKEN_EXPIRED = "access_token_expired"  # noqa: S105
    ACCESS_TOKEN_ENDING = "access_token_ending"  # noqa: S105
    ACCESS_TOKEN_AGING = "access_token_aging"  # noqa: S105
    TARGET_MISSING = "publish_target_missing"
    TARGET_DIFFERS = "publish_target_differs"
    TARGET_AHEAD = "publish_target_ahead"


class Urgency(StrEnum):
    """Whether a failure still leaves a token that works until the next tick."""

    ADVISORY = "advisory"
    MANDATORY = "mandatory"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How often the timer ticks, at what age a token is due, and how far ahead many connections are spread."""

    interval: timedelta
    tick: timedelta
    spread: timedelta = timedelta()

    @classmethod
    def of(cls, interval: timedelta, tick: timedelta, connections: int) -> "Timing":
        """With more than a few connections, those that started together drift apart by up to two ticks."""
        return cls(interval=interval, tick=tick, spread=2 * tick if connections > _FEW_CONNECTIONS else timedelta())


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetState:
    """What a publish target holds; `holds` is None where it is missing, `known` False where it cannot be read."""

    target: PublishTarget
    holds: StoredAccessToken | None
    known: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDue:
    """Nothing to do until `refresh_at`."""

    reason: Reason
    refresh_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Republish:
    """The stored token is good, but these targets do not hold it."""

    reason: Reason
    targets: tuple[PublishTarget, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refresh:
    """A new token is due."""

    reason: Reason
    urgency: Urgency


Decision = NotDue | Republish | Refresh


def decide_refresh(
    connection: str,
    access_token: StoredAccessToken | None,
    targets: tuple[TargetState, ...],
    timing: Timing,
    now: datetime,
    *,
    force: bool = False,
) -> Decision:
    """Decide what one connection needs now: the first check that has an opinion wins."""
    urgency = evaluate_urgency(access_token, timing, now)
    if force:
        return Refresh(reason=Reason.FORCED, urgency=urgency)
    if access_token is None:
        return Refresh(reason=Reason.ACCESS_TOKEN_MISSING, urgency=urgency)
    if access_token.life is None:
        return Refresh(reason=Reason.METADATA_MISSING, urgency=urgency)
    started_at, expires_at = access_token.life
    refresh_at = refresh_time(connection, started_at, expires_at, timing)
    checks: tuple[tuple[Callable[[], bool], Reason], ...] = (
        (lambda: started_at > now, Reason.CLOCK_SKEW),
        (lambda: expires_at <= now, Reason.ACCESS_TOKEN_EXPIRED),
        (lambda: expires_at - now <= 2 * timing.tick, Reason.ACCESS_TOKEN_ENDING),
        (lambda: now >= refresh_at - timing.tick / 2, Reason.ACCESS_TOKEN_AGING),
        (lambda: any(_is_ahead(target, access_token, now) for target in targets), Reason.TARGET_AHEAD),
    )
    for applies, reason in checks:
        if applies():
            return Refresh(reason=reason, urgency=urgency)
    return _decide_publishing(access_token, targets) or NotDue(reason=Reason.FRESH, refresh_at=refresh_at)


def refresh_time(connection: str, started_at: datetime, expires_at: datetime, timing: Timing) -> datetime:
    """When a token that lives from `started_at` to `expires_at` falls due; stable for each connection."""
    age = min(timing.interval, (expires_at - started_at) * 5 / 6)
    share = zlib.crc32(connection.encode()) / 2**32
    return started_at + max(timedelta(), age - timing.spread * share)


def evaluate_urgency(access_token: StoredAccessToken | None, timing: Timing, now: datetime) -> Urgency:
    """Mandatory once the stored token is not known to live until the next tick has had its chance."""
    if access_token is not None and access_token.lives_at(now + timing.tick + _MARGIN):
        return Urgency.ADVISORY
    return Urgency.MANDATORY


def _is_ahead(state: TargetState, access_token: StoredAccessToken, now: datetime) -> bool:
    """A target can hold a newer token than the main secret where a run could write only the former."""
    held = state.holds
    if held is None or held.value == access_token.value or held.expires_at is None or access_token.expires_at is None:
        return False
    return held.expires_at > access_token.expires_at and held.lives_at(now)


def _decide_publishing(access_token: StoredAccessToken, targets: tuple[TargetState, ...]) -> Republish | None:
    missing = tuple(state.target for state in targets if state.known and state.holds is None)
    differing = tuple(
        state.target for state in targets if state.holds is not None and state.holds.value != access_token.value
    )
    if not missing and not differing:
        return None
    return Republish(
        reason=Reason.TARGET_MISSING if missing else Reason.TARGET_DIFFERS,
        targets=missing + differing,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantPlan:
    """Grants to try, in this order; where there are none, `blocked` says why.

    A person must act then, unless there is a moment `until` which it is blocked.
    """

    grants: tuple[Grant, ...]
    blocked: Cause | None = None
    until: datetime | None = None


def plan_grants(
    connection: Connection,
    refresh_token: StoredRefreshToken | None,
    password_version: str | None,
    record: RefreshRecord,
    now: datetime,
    *,
    force: bool = False,
) -> GrantPlan:
    """Choose the grants of a run: the connection's own, its fallback, and a stored refresh token as a last resort."""
    password = record.password.of(password_version)
    gate = Gate.OPEN if force else password.gate(now)
    configured = [connection.grant, connection.fallback_grant]
    grants = [grant for grant in configured if grant is not None]
    if refresh_token is None:
        grants = [grant for grant in grants if grant is not Grant.REFRESH_TOKEN]
    elif Grant.REFRESH_TOKEN not in grants:
        grants.append(Grant.REFRESH_TOKEN)
    elif refresh_token_gives_way(connection, refresh_token, record, now):
        grants.sort(key=lambda grant: grant is Grant.REFRESH_TOKEN)
    open_grants = tuple(grant for grant in grants if grant is not Grant.PASSWORD or gate is Gate.OPEN)
    if open_grants:
        return GrantPlan(grants=open_grants)
    if not grants:
        return GrantPlan(grants=(), blocked=Cause.REFRESH_TOKEN_MISSING)
    until = password.paused_until if gate is Gate.PAUSED else None
    return GrantPlan(grants=(), blocked=Cause.PASSWORD_REFUSED, until=until)


def is_ready(grant: Grant | None, *, password_version: str | None, has_key: bool, record: RefreshRecord) -> bool:
    """Whether a fallback grant could start a new life today: its credentials are there, and not refused for good."""
    match grant:
        case Grant.PASSWORD:
            return password_version is not None and not record.password.of(password_version).shut
        case Grant.JWT_BEARER:
            return has_key
        case _:
            return grant is not None


def refresh_token_gives_way(
    connection: Connection, refresh_token: StoredRefreshToken, record: RefreshRecord, now: datetime
) -> bool:
    """Whether the fallback grant comes first: the refresh token is near its end, or was refused repeatedly.

    Only a grant that returns a new refresh token is worth using before the old one has really ended.
    """
    if record.refresh_token_refusals_of(refresh_token.version) >= REFUSALS_THAT_CONDEMN:
        return True
    if connection.fallback_grant is Grant.PASSWORD:
        return now >= renewal_time(connection, refresh_token)
    return now >= refresh_token.expires_at


def renewal_time(connection: Connection, refresh_token: StoredRefreshToken) -> datetime:
    """When a new life is begun: the last share of the old one, at least an hour and at most seven days."""
    window = (refresh_token.expires_at - refresh_token.issued_at) * connection.renewal_share
    return refresh_token.expires_at - min(max(window, _RENEW_AT_LEAST), _RENEW_AT_MOST)


def may_fall_back(
    error: TokenEndpointError,
    *,
    refusals_before: int,
    urgency: Urgency,
    force: bool,
    answer_lost: bool,
    next_is_sound: bool = False,
) -> bool:
    """Whether the next grant may be tried in the same run, after `error` met this one.

    A wrong client fails every grant. One generic 401 while the old token still works waits for the next tick, unless
    the next grant is a refresh token that was never refused (`next_is_sound`). A fault of the instance (no answer,
    429, 5xx) meets the next grant as well.
    """
    if not error.grant_refused:
        return False
    if not error.ambiguous or next_is_sound:
        return True
    repeated = refusals_before + 1 >= REFUSALS_THAT_CONDEMN
    return repeated or force or answer_lost or urgency is Urgency.MANDATORY


def needs_person(error: TokenEndpointError, *, refresh_token_refusals: int, grants_tried: tuple[Grant, ...]) -> bool:
    """Whether, all grants having failed, only a new authorization can help; it brings a refresh token."""
    if not error.grant_refused or Grant.REFRESH_TOKEN not in grants_tried:
        return False
    return error.cause is Cause.INVALID_GRANT or refresh_token_refusals >= REFUSALS_THAT_CONDEMN


class Choice(StrEnum):
    """Which of two tokens consumers should read."""

    NEW = "new"
    STORED = "stored"
    SAME = "same"


def choose_token(stored: StoredAccessToken | None, new: AccessToken, now: datetime) -> Choice:
    """Choose between the stored and the new token; STORED holds only if a probe says that it is still accepted.

    The end of a token that seems to be issued in the future is as wrong as its beginning.
    """
    if stored is None:
        return Choice.NEW
    if stored.value == new.value:
        return Choice.SAME
    if stored.issued_at is not None and stored.issued_at > now:
        return Choice.NEW
    if stored.expires_at is not None and stored.expires_at > new.expires_at and stored.lives_at(now):
        return Choice.STORED
    return Choice.NEW
