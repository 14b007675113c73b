"""What a request for a token leaves in the record: before it is sent, once it is refused, once it yields a token.

Before a request that could do harm if nobody remembered it, the record is written: a password counts as refused
until the answer says otherwise (so that crashes cannot lock the user out), and a refresh token that rotates is
marked as spent (so that its loss is recognized, and a vault that cannot be written never costs it).
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import NamedTuple

from refresher.model.causes import Cause
from refresher.model.errors import TokenEndpointError
from refresher.model.grants import Grant
from refresher.model.stored import StoredAccessToken, StoredRefreshToken
from refresher.policy.due import Urgency
from refresher.policy.grants import REFUSALS_THAT_CONDEMN
from refresher.policy.password_gate import PasswordRefusals
from refresher.policy.record import RefreshRecord

_TRIES_AFTER_REFUSAL = 2
_CLOCKS_DIFFER = timedelta(minutes=5)
_RUNS_OF_A_PASSING_FAULT = 6
"""Half an hour of ticks."""


class Sent(NamedTuple):
    """A grant, and the versions of the secrets that a refusal would be held against; None where there are none."""

    grant: Grant
    refresh_token: str | None = None
    password: str | None = None
    user: str | None = None
    """Mark of the user whose password it is."""

    @property
    def is_refresh(self) -> bool:
        """Whether the stored refresh token is what is sent."""
        return self.grant is Grant.REFRESH_TOKEN


def may_rotate(
    refresh_token: StoredRefreshToken | None, access_token: StoredAccessToken | None, record: RefreshRecord
) -> bool:
    """Whether ServiceNow replaces the refresh token at its use, or nobody knows yet.

    It does not where an access token was obtained by it later than this version of it was stored.
    """
    if record.rotates or refresh_token is None or access_token is None or access_token.life is None:
        return True
    if access_token.grant is not Grant.REFRESH_TOKEN or refresh_token.stored_at is None:
        return True
    return access_token.life[0] - refresh_token.stored_at <= _CLOCKS_DIFFER


def before_try(record: RefreshRecord, sent: Sent, now: datetime) -> RefreshRecord:
    """The record that must be written before the request; an equal one where nothing is at stake."""
    if sent.grant.row.sends_password and sent.password is not None:
        tried = record.password.of(sent.password).before_try(now, sent.user)
        return replace(record.before_attempt(now), password=tried)
    if sent.is_refresh and record.rotates:
        return record.before_attempt(now).with_spent_refresh_token(sent.refresh_token)
    return record


def refusals_tolerated(record: RefreshRecord, sent: Sent, urgency: Urgency) -> int:
    """How often the generic 401 is met with another try in the same run.

    What was refused before is tried once, unless consumers are about to be without a token, and for as long as a
    passing fault may last. What may be refused for good, and is sent at every tick of a day, is no more than twice.
    """
    hopeful_runs = _RUNS_OF_A_PASSING_FAULT if urgency is Urgency.MANDATORY else 0
    before = record.refresh_token_refusals_of(sent.refresh_token) if sent.is_refresh else record.refused_ticks
    if sent.grant.row.sends_password or before > hopeful_runs:
        return 0
    return _TRIES_AFTER_REFUSAL if sent.is_refresh or not before else 1


def after_refusal(
    record: RefreshRecord,
    sent: Sent,
    error: TokenEndpointError,
    *,
    untried: PasswordRefusals,
    answer_lost: bool,
    counts: bool = True,
) -> tuple[RefreshRecord, Cause | None]:
    """The record once a grant has failed, and the cause where only a person can help now.

    `untried` is what was held against the password before the try; `answer_lost` says that an answer of this refresh
    token's, in this run or an earlier one, may have been lost. A refusal `counts` once in a tick.
    """
    if sent.grant.row.sends_password:
        record = replace(record, password=record.password.after_error(untried, error))
        return record, Cause.PASSWORD_REFUSED if record.password.of(sent.password).shut else None
    if not sent.is_refresh:
        return record, None
    refusals = record.refresh_token_refusals_of(sent.refresh_token)
    if sent.refresh_token is not None and error.refused:
        refusals = max(1, refusals + counts) if error.grant_refused else refusals
        record = record.with_refresh_token_refusals(sent.refresh_token, refusals)
    lost = answer_lost and record.rotates
    record = record.with_spent_refresh_token(sent.refresh_token if lost else None)
    if not error.grant_refused:
        return record, None
    # A generic 401 also passes: what was lost, or is dead, is refused again at the next tick.
    if error.cause is not Cause.INVALID_GRANT and refusals < REFUSALS_THAT_CONDEMN:
        return record, None
    return record, Cause.ROTATED_TOKEN_LOST if lost else Cause.REFRESH_TOKEN_REFUSED


def after_success(record: RefreshRecord, sent: Sent) -> RefreshRecord:
    """The record once a grant has yielded a token: what was held against it is forgotten."""
    if sent.grant.row.sends_password:
        return replace(record, password=PasswordRefusals())
    if sent.is_refresh:
        return record.with_refresh_token_refusals("", 0).with_spent_refresh_token(None)
    return record
