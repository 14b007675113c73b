"""How often a password is sent: a wrong one, sent often, locks the integration user out of ServiceNow.

A try counts as refused before it is sent, so that crash loops and several processes together cannot exceed the
limit, and no longer where its answer says nothing of the password. Three refusals in a row of one version shut the
gate, until the secret has a new version or an operator forces a run.

ServiceNow's generic 401 also stands for faults that pass, and such a fault refuses everything. So the third try waits
until it will have passed; and a refusal that came in a run in which the refresh token was refused as well is in doubt,
and is forgotten when that same refresh token works again.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from enum import StrEnum

from refresher.errors import Cause, TokenEndpointError
from refresher.record import RefreshRecord

TRIES = 3
PAUSE = timedelta(minutes=30)
"""Between the second try and the third: faults that refuse everything rarely last longer."""


class Gate(StrEnum):
    """Whether a password may be sent; PAUSED until `paused_until`."""

    OPEN = "open"
    PAUSED = "paused"
    SHUT = "shut"


def gate_of(record: RefreshRecord, version: str | None, now: datetime) -> Gate:
    """The gate of that version of the password."""
    refusals = record.password_refusals_of(version)
    if refusals >= TRIES:
        return Gate.SHUT
    # A moment in the future is a wrong clock's, and no reason to wait.
    tried_at = record.password_tried_at
    if refusals == TRIES - 1 and tried_at is not None and tried_at <= now < tried_at + PAUSE:
        return Gate.PAUSED
    return Gate.OPEN


def paused_until(record: RefreshRecord) -> datetime | None:
    """When a paused gate opens; None where nothing was tried."""
    return record.password_tried_at + PAUSE if record.password_tried_at is not None else None


def before_try(record: RefreshRecord, version: str, now: datetime) -> RefreshRecord:
    """The record before the password is sent: refused, until the answer says otherwise."""
    tries = record.password_refusals_of(version)
    in_doubt = record.password_refusals_in_doubt if tries else 0
    return record.with_password_refusals(version, tries + 1, in_doubt=in_doubt, tried_at=now)


def after_error(
    record: RefreshRecord, untried: RefreshRecord, version: str, error: TokenEndpointError
) -> RefreshRecord:
    """The record once the answer is known; `untried` is the one before the password was sent."""
    if error.cause is Cause.INVALID_GRANT:
        return record.with_password_refusals(version, TRIES, tried_at=record.password_tried_at)
    if error.grant_refused:
        return record
    return record.with_password_refusals(
        untried.refused_password_version or "",
        untried.password_refusals,
        in_doubt=untried.password_refusals_in_doubt,
        tried_at=untried.password_tried_at,
    )


def in_doubt(record: RefreshRecord) -> RefreshRecord:
    """The record of a run in which the refresh token was refused as well as the password."""
    return replace(
        record, password_refusals_in_doubt=min(record.password_refusals, record.password_refusals_in_doubt + 1)
    )


def after_refresh(record: RefreshRecord, refresh_token_version: str | None) -> RefreshRecord:
    """The record once a refresh token works: what refused it before was no judge of the password either."""
    was_refused = record.refresh_token_refusals_of(refresh_token_version) > 0
    forgotten = record.password_refusals_in_doubt if was_refused else 0
    return record.with_password_refusals(
        record.refused_password_version or "",
        record.password_refusals - forgotten,
        tried_at=record.password_tried_at,
    )
