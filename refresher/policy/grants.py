"""By which grants a run asks for a token, and when the next one may be tried.

Pure: no I/O, no clock, no logging; each decision carries its reason.
"""

from datetime import datetime, timedelta
from typing import NamedTuple

from refresher.model.causes import Cause
from refresher.model.connection import Connection
from refresher.model.errors import TokenEndpointError
from refresher.model.grants import Grant
from refresher.model.stored import StoredRefreshToken
from refresher.policy.due import Urgency
from refresher.policy.record import RefreshRecord

REFUSALS_THAT_CONDEMN = 2
"""Runs in which the generic 401 met a refresh token before it is taken at its word."""


_RENEW_IN_THE_LAST = 0.1
"""Share of a refresh token's life, at its end, in which a new life is begun."""
_RENEW_AT_LEAST = timedelta(hours=1)
_RENEW_AT_MOST = timedelta(days=7)


class GrantPlan(NamedTuple):
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
    may_send = force or password.is_open(now)
    grants = list(connection.configured_grants)
    if refresh_token is None:
        grants = [grant for grant in grants if grant is not Grant.REFRESH_TOKEN]
    elif Grant.REFRESH_TOKEN not in grants:
        # Beside the app's own identity it may be another user's, from the time before.
        usable = connection.grant is not Grant.ENTRA_ID and connection.has_client_secret
        grants += [Grant.REFRESH_TOKEN] if usable else []
    elif refresh_token_gives_way(connection, refresh_token, record, now):
        grants.sort(key=lambda grant: grant is Grant.REFRESH_TOKEN)
    open_grants = tuple(grant for grant in grants if not grant.row.sends_password or may_send)
    if open_grants:
        return GrantPlan(grants=open_grants)
    if not grants:
        return GrantPlan(grants=(), blocked=Cause.REFRESH_TOKEN_MISSING)
    return GrantPlan(grants=(), blocked=Cause.PASSWORD_REFUSED, until=password.paused_until)


def is_ready(grant: Grant | None, *, complete: bool, password_version: str | None, record: RefreshRecord) -> bool:
    """Whether a fallback grant could start a new life today: its secrets are there, and not refused for good."""
    if grant is None or not complete:
        return False
    return not (grant.row.sends_password and record.password.of(password_version).shut)


def refresh_token_gives_way(
    connection: Connection, refresh_token: StoredRefreshToken, record: RefreshRecord, now: datetime
) -> bool:
    """Whether the fallback grant comes first: the refresh token is near its end, or was refused repeatedly.

    Only a grant that returns a new refresh token is worth using before the old one has really ended.
    """
    if record.refresh_token_refusals_of(refresh_token.version) >= REFUSALS_THAT_CONDEMN:
        return True
    if connection.fallback_grant is not None and connection.fallback_grant.row.renews:
        return now >= renewal_time(refresh_token)
    return now >= refresh_token.expires_at


def renewal_time(refresh_token: StoredRefreshToken) -> datetime:
    """When a new life is begun: the last share of the old one, at least an hour and at most seven days."""
    window = (refresh_token.expires_at - refresh_token.issued_at) * _RENEW_IN_THE_LAST
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
