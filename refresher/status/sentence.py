"""How a connection stands, in one sentence: what its state means, and what keeps it there."""

from refresher.keyvault.found import Overview
from refresher.model.causes import Cause, Kind
from refresher.status.connection_status import State
from refresher.status.copies import TargetStatus

_MESSAGES = {
    State.FRESH: "the token works and is fresh",
    State.DUE: "the token works; the next tick refreshes it",
    State.EXPIRING: "the token works, but ends before the next tick",
    State.EXPIRED: "there is no working token",
    State.REFUSED: "ServiceNow refuses the token, whatever its dates say",
    State.FAILING: "refreshing fails; the token still works",
    State.AUTHORIZATION_REQUIRED: "a person must authorize again",
    State.UNKNOWN: "the vault cannot be read",
}
_AFTER_REVOKING = {
    State.AUTHORIZATION_REQUIRED: "a person must authorize again",
    State.EXPIRED: "the next tick starts a new life by another grant",
}
_BY_DATES = {
    State.FRESH: "by its dates the token is fresh",
    State.DUE: "by its dates the token lives; the next tick refreshes it",
    State.EXPIRING: "by its dates the token lives, but ends before the next tick",
    State.FAILING: "refreshing fails; by its dates the token still lives",
}


def say(state: State, targets: tuple[TargetStatus, ...], found: Overview, *, tried: bool) -> str:
    """The sentence; `tried` says that the instance accepted the token just now."""
    token, record, blocked = found.side.access_token, found.side.record, found.hindered
    message = _MESSAGES[state] if tried or state not in _BY_DATES else _BY_DATES[state]
    put_right = put_right_in(found)
    if put_right and state in {State.FAILING, State.EXPIRED, State.REFUSED}:
        return f"{message}; {', '.join(put_right)}: stored after the last attempt, and not tried yet"
    if token is not None and token.revoked and state in {State.AUTHORIZATION_REQUIRED, State.EXPIRED}:
        return f"the tokens were revoked; {_AFTER_REVOKING[state]}"
    subject = "the token works" if tried else "by its dates the token lives"
    if state in {State.FRESH, State.DUE}:
        for target in targets:
            if target.working is False and target.current is None:
                return f"{subject}, but {target.name} {target.remark}"
        if state is State.DUE and any(target.current is False for target in targets):
            return f"{subject}, but not every target holds it; the next tick publishes it again"
    if state is State.FAILING and record.last_cause == Cause.PUBLISH_FAILED and blocked is None:
        message = message.replace("refreshing", "publishing", 1)
    if state is State.EXPIRED and token is None and any(target.working for target in targets):
        message = "the connection's own secret holds no token"
    if blocked is not None and state in {State.FAILING, State.EXPIRED, State.REFUSED}:
        return f"{message}: {blocked.message}"
    dead = [target.name for target in targets if target.working is False]
    return f"{message}, but the copy in {dead[0]} does not" if dead and state is State.FAILING else message


def put_right_in(found: Overview) -> tuple[str, ...]:
    """Names of what was stored since something was refused: the next refresh sends it, and may succeed."""
    record, cause = found.side.record, Cause.of(found.side.record.last_cause)
    refused = cause is not None and cause.row.kind in {Kind.REFUSED, Kind.PERSON}
    return found.untried if refused and record.consecutive_failures and found.hindered is None else ()
