"""What a run should do, decided from plain values: is a refresh due, by which grants, what may be tried again.

Nothing here does I/O, reads a clock, draws a random number or logs; each decision carries its reason.

Refresh age: a token is due 50 minutes (the configured interval) after its issue, or at 5/6 of its life if that is
sooner, at the tick nearest to that moment; and in any case when it ends within two ticks.
Two thresholds: until the token would end before the next tick, a failure is advisory and the old token stays in
use; from then on it is an error (the pattern of botocore's refreshable credentials).
"""

import zlib
from collections.abc import Callable
from datetime import datetime, timedelta
from enum import StrEnum
from typing import NamedTuple

from refresher.model.connection import SecretIdentifier
from refresher.model.grants import Grant
from refresher.model.stored import StoredAccessToken, TargetState
from refresher.model.timing import Timing

_ASKED_AGAIN = 24
"""Share of a life between two questions for a token that may be the same for hours: of a day, the refresh interval."""
_CLOCKS_DIFFER = timedelta(hours=1)
"""What is further ahead was written by a clock that was wrong."""
_MARGIN = timedelta(minutes=1)
"""What a tick may start late, and the run take, before the next one can have replaced a token."""


class Reason(StrEnum):
    """Why a run does, or does not, ask for a token."""

    FRESH = "fresh"
    FORCED = "forced"
    ACCESS_TOKEN_MISSING = "access_token_missing"  # noqa: S105
    METADATA_MISSING = "access_token_metadata_missing"
    CLOCK_SKEW = "clock_skew"
    ACCESS_TOKEN_EXPIRED = "access_token_expired"  # noqa: S105
    ACCESS_TOKEN_ENDING = "access_token_ending"  # noqa: S105
    ACCESS_TOKEN_REFUSED = "access_token_refused"  # noqa: S105
    ACCESS_TOKEN_AGING = "access_token_aging"  # noqa: S105
    ACCESS_TOKEN_UNREADABLE = "access_token_unreadable"  # noqa: S105
    TARGET_MISSING = "publish_target_missing"
    TARGET_DIFFERS = "publish_target_differs"
    TARGET_AHEAD = "publish_target_ahead"


class Urgency(StrEnum):
    """Whether a failure still leaves a token that works until the next tick."""

    ADVISORY = "advisory"
    MANDATORY = "mandatory"


class NotDue(NamedTuple):
    """Nothing to do until `refresh_at`."""

    reason: Reason
    refresh_at: datetime


class Republish(NamedTuple):
    """The stored token is good, but these targets do not hold it."""

    reason: Reason
    targets: tuple[SecretIdentifier, ...]


class Refresh(NamedTuple):
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
    refresh_at = refresh_time(connection, started_at, expires_at, timing, grant=access_token.grant, now=now)
    shared = shared_targets(access_token.publisher, targets, timing, now)
    ours = tuple(target for target in targets if target not in shared)
    checks: tuple[tuple[Callable[[], bool], Reason], ...] = (
        (lambda: started_at > now, Reason.CLOCK_SKEW),
        (lambda: not access_token.lives_at(now), Reason.ACCESS_TOKEN_EXPIRED),
        (lambda: expires_at - now <= 2 * timing.tick, Reason.ACCESS_TOKEN_ENDING),
        (lambda: now >= refresh_at - timing.tick / 2, Reason.ACCESS_TOKEN_AGING),
        (lambda: any(_is_ahead(target, access_token, now) for target in ours), Reason.TARGET_AHEAD),
    )
    for applies, reason in checks:
        if applies():
            return Refresh(reason=reason, urgency=urgency)
    return _decide_publishing(access_token, ours) or NotDue(reason=Reason.FRESH, refresh_at=refresh_at)


def decide_undated(
    last_attempt_at: datetime | None, timing: Timing, now: datetime, *, known: bool
) -> NotDue | Refresh:
    """Decide where no token's dates can be read: once in each interval, by the record, and never without that.

    `known`: whether the record can be read, and there is a place to write to.
    """
    since = now - last_attempt_at if last_attempt_at is not None else None
    if known and (since is None or not timedelta() <= since < timing.interval - timing.tick / 2):
        return Refresh(reason=Reason.ACCESS_TOKEN_UNREADABLE, urgency=Urgency.ADVISORY)
    return NotDue(reason=Reason.ACCESS_TOKEN_UNREADABLE, refresh_at=(last_attempt_at or now) + timing.interval)


def is_kept_out(
    connection: str,
    held_since: datetime | None,
    access_token: StoredAccessToken | None,
    last_attempt_at: datetime | None,
    timing: Timing,
    now: datetime,
) -> bool:
    """Whether a lease that is held now has been held in two ticks running, as far as anybody can tell.

    Where its holder did not say since when, or a moment to come: the token was due a tick ago, and nobody has tried
    anything since.
    """
    if held_since is not None and held_since <= now:
        return now - held_since >= timing.tick
    if access_token is None or access_token.life is None:
        return False
    due_at = refresh_time(connection, *access_token.life, timing, grant=access_token.grant) - timing.tick / 2
    tried_at = last_attempt_at if last_attempt_at is not None and last_attempt_at <= now else due_at
    return now - max(due_at, tried_at) >= timing.tick


def refresh_age(lifetime: timedelta, timing: Timing, grant: Grant | None = None) -> timedelta:
    """How old a token of that life grows before it falls due; those of many connections a little less."""
    if grant is not None and grant.row.from_half_of_life:
        return lifetime / 2
    return min(timing.interval, lifetime * 5 / 6)


def refresh_time(
    connection: str,
    started_at: datetime,
    expires_at: datetime,
    timing: Timing,
    *,
    grant: Grant | None = None,
    now: datetime | None = None,
) -> datetime:
    """When a token that lives from `started_at` to `expires_at` falls due; stable for each connection.

    Where the same token may come again for hours, it is asked for from half of its life on, again and again: of the
    moments for that, the first that is not over at `now`.
    """
    life = expires_at - started_at
    share = zlib.crc32(connection.encode()) / 2**32
    due_at = started_at + max(timedelta(), refresh_age(life, timing, grant) - timing.spread * share)
    if grant is None or not grant.row.from_half_of_life:
        return due_at
    pause = max(timing.tick, min(timing.interval, life / _ASKED_AGAIN))
    over = (now or due_at) - timing.tick / 2 - due_at
    return due_at + max(0, -(-over // pause)) * pause


def evaluate_urgency(access_token: StoredAccessToken | None, timing: Timing, now: datetime) -> Urgency:
    """Mandatory once the stored token is not known to live until the next tick has had its chance."""
    if access_token is not None and access_token.lives_at(now + timing.tick + _MARGIN):
        return Urgency.ADVISORY
    return Urgency.MANDATORY


def shared_targets(
    publisher: str | None, targets: tuple[TargetState, ...], timing: Timing, now: datetime
) -> tuple[TargetState, ...]:
    """Targets that hold a living token which another than `publisher` published: each would answer the other for ever.

    They get ours at the next refresh, or once that one ends.
    """
    return tuple(
        state
        for state in targets
        if state.holds is not None
        and publisher is not None
        and state.holds.publisher not in {None, publisher}
        and state.holds.lives_at(now + timing.tick)
    )


def _is_ahead(state: TargetState, access_token: StoredAccessToken, now: datetime) -> bool:
    """A target can hold a newer token than the main secret where a run could write only the former.

    One of the far future is a wrong clock's, and would be ahead at every tick until then.
    """
    held = state.holds
    if held is None or held.value == access_token.value or held.issued_at is None or access_token.issued_at is None:
        return False
    return access_token.issued_at < held.issued_at <= now + _CLOCKS_DIFFER and held.lives_at(now)


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
