"""Copies for consumers, judged as the consumer sees them: what cannot be read, or is refused, is no token."""

from dataclasses import dataclass
from datetime import datetime

from refresher.keyvault.found import ConsumerSide
from refresher.model.causes import Cause
from refresher.model.errors import VaultError
from refresher.model.stored import StoredAccessToken, TargetState
from refresher.servicenow.answers import Verdict
from refresher.status.lives import recall
from refresher.status.tried import Trial, verdict_on, works


@dataclass(frozen=True, slots=True, kw_only=True)
class TargetStatus:
    """Whether a target holds the current token, and whether any that works; None where that cannot be said."""

    name: str
    vault_url: str
    current: bool | None
    working: bool | None
    remark: str | None = None
    """What there is to say of it beyond that, as the end of a sentence."""


def judge_copies(side: ConsumerSide, trial: Trial, now: datetime) -> tuple[TargetStatus, ...]:
    """Judge every target's copy."""
    return tuple(_judge(state, side, trial, now) for state in side.targets)


def _judge(state: TargetState, side: ConsumerSide, trial: Trial, now: datetime) -> TargetStatus:
    token, held, remark = side.access_token, state.holds, None
    current: bool | None = None
    working: bool | None = None
    if state.known:
        current = held is not None and token is not None and held.value == token.value
        working = works(held, trial, now) or (current and works(token, trial, now))
        if not current and verdict_on(held, trial) is Verdict.REJECTED:
            remark = "holds another token, which ServiceNow refuses"
    else:
        working, remark = _unreadable(side.target_errors.get(state.target), side, now)
    return TargetStatus(
        name=state.target.name, vault_url=state.target.vault_url, current=current, working=working, remark=remark
    )


def _unreadable(error: VaultError | None, side: ConsumerSide, now: datetime) -> tuple[bool | None, str | None]:
    """One that is disabled is so for its readers too; any other may work until the token ends that it last got."""
    if error is not None and error.cause is Cause.SECRET_DISABLED:
        return False, "is disabled: its readers find no token"
    ends_at = _last_known_end(side.access_token, publishing_failed=side.record.last_cause == Cause.PUBLISH_FAILED)
    if side.access_token is not None and ends_at is not None and ends_at <= now:
        return False, "cannot be read, and the last token that it is known to have got has ended"
    return None, f"cannot be read: {error.message}" if error is not None else None


def _last_known_end(token: StoredAccessToken | None, *, publishing_failed: bool) -> datetime | None:
    if token is None or token.issued_at is None or not publishing_failed:
        return token.expires_at if token is not None else None
    before = recall(token.recent, token.issued_at)
    return before[-1][1] if before else token.expires_at
