"""What all connections come to, in a line: the heading of the page, and the first line at a terminal.

It says no more than the connections do, and no less: what is graver than it would contradict it.
"""

from collections.abc import Sequence
from enum import IntEnum

from refresher.model.causes import Kind
from refresher.model.report import WarningCode
from refresher.servicenow.answers import Verdict
from refresher.servicenow.probing import PATH_IS_SHUT
from refresher.status.connection_status import ConnectionStatus, State
from refresher.status.timer import TimerStatus
from refresher.views.folding import Finding

_OF_THE_INSTANCE = frozenset({Kind.AWAY, Kind.THROTTLED, Kind.ANSWER, Kind.REFUSED})
"""What several connections of an instance have for one reason."""


STANDING = frozenset(
    {WarningCode.STOPS_WITHOUT_A_PERSON, WarningCode.ACCESS_TOKEN_LONG, WarningCode.SIGNING_KEY_END_UNKNOWN}
)
"""Warnings of how it was set up: they stand every day, and are no news."""


class Gravity(IntEnum):
    """How grave it is, for the order of what is told."""

    HEALTHY = 0
    WARNED = 1
    WORRYING = 2
    """A token works, and refreshing it fails, or comes late."""
    UNKNOWN = 3
    CALLED = 4
    """A token works, and only a person can see to the next one."""
    BROKEN = 5


def gravity(status: ConnectionStatus) -> Gravity:
    """How grave the state of one connection is."""
    if status.working is False:
        return Gravity.BROKEN
    if status.working is None:
        return Gravity.UNKNOWN
    match status.state:
        case State.AUTHORIZATION_REQUIRED:
            return Gravity.CALLED
        case State.FRESH | State.DUE:
            unsure = status.tried is Verdict.UNKNOWN or any(target.working is None for target in status.targets)
            unsure |= (status.basis or "").endswith(PATH_IS_SHUT)
            warned = any(warning.code not in STANDING for warning in status.warnings)
            return Gravity.WARNED if warned or unsure else Gravity.HEALTHY
        case _:
            return Gravity.WORRYING


def found(status: ConnectionStatus) -> Finding[ConnectionStatus]:
    """The status as something to be folded."""
    cause = status.cause
    shared = cause.value if cause is not None and cause.row.kind in _OF_THE_INSTANCE else None
    return Finding(
        connection=status.connection,
        instance=status.instance_url,
        gravity=gravity(status),
        shared=shared or (status.basis if status.tried is Verdict.UNKNOWN else None),
        what=status,
    )


def verdict(statuses: Sequence[ConnectionStatus], timer: TimerStatus) -> str:
    """The line."""
    grave = [gravity(status) for status in statuses]
    total = f"of {len(statuses)} connection{'s' if len(statuses) > 1 else ''}"
    parts = [f"{grave.count(degree)} {total} {words}" for degree, words in _WORDS.items() if degree in grave]
    if not timer.healthy:
        parts.append("the timer does not fire")
    if Gravity.BROKEN not in grave and Gravity.UNKNOWN not in grave:
        parts = [_all_work(statuses), *parts]
        return ", but ".join((parts[0], "; ".join(parts[1:]))) if len(parts) > 1 else parts[0]
    return "; ".join(parts)


_WORDS = {
    Gravity.BROKEN: "without a working token",
    Gravity.CALLED: "waiting for a person",
    Gravity.UNKNOWN: "cannot be judged",
    Gravity.WORRYING: "failing or about to end",
    Gravity.WARNED: "with a warning",
}


def _all_work(statuses: Sequence[ConnectionStatus]) -> str:
    """What a trial of each has shown; dates alone are said to be dates."""
    tried = sum(status.tried is Verdict.ACCEPTED for status in statuses)
    if tried == len(statuses):
        return "Every connection holds a working token"
    return f"By dates every connection holds a living token{f' ({tried} of them tried)' if tried else ''}"
