"""Which of a connection's checks is the cause, and which only follows from it. No I/O.

A token that does not work, and a copy that nobody can use, are what people notice; what they should mend is whatever
failed before. The first suspicion is the first check that fails in the order in which things depend on each other.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from refresher.doctor.instance_checks import CLOCK, INSTANCE, TOKEN_ENDPOINT
from refresher.doctor.last_refresh import LAST_REFRESH
from refresher.doctor.lease_checks import LEASE
from refresher.doctor.remedies import follows_from
from refresher.doctor.standing import ACCESS_TOKEN_LIFE, REFRESH_TOKEN_LIFE, SIMPLE_CHAT, TIMER, TOKEN
from refresher.doctor.surroundings import IDENTITY
from refresher.model.check import Check, Verdict

_SECRETS = ""
"""Stands for the checks of secrets, which have their names."""
_ORDER = (
    IDENTITY,
    "settings",
    _SECRETS,
    INSTANCE,
    TOKEN_ENDPOINT,
    CLOCK,
    LAST_REFRESH,
    REFRESH_TOKEN_LIFE,
    LEASE,
    TIMER,
    ACCESS_TOKEN_LIFE,
    TOKEN,
    SIMPLE_CHAT,
)
_SYMPTOMS = frozenset({TOKEN, SIMPLE_CHAT})
_GRAVITY = {Verdict.FAIL: 0, Verdict.WARN: 1, Verdict.PASS: 2}


def in_the_way(checks: Iterable[Check]) -> tuple[str, ...]:
    """Names of those that fail for a reason of their own; an instance that limits requests is a reason as well."""
    return tuple(
        check.name
        for check in checks
        if (check.verdict is Verdict.FAIL and check.name not in _SYMPTOMS and not check.follows)
        or (check.verdict is Verdict.WARN and check.name == TOKEN_ENDPOINT)
    )


def concluded(checks: Sequence[Check], *, heals: bool, by_clock: bool, copies: Collection[str]) -> tuple[Check, ...]:
    """The checks of a connection, the first suspicion marked, and symptoms with what they follow from.

    `heals`: a refresh is what the token needs, and none failed. `by_clock`: it has ended by this machine's clock
    alone, which is wrong. `copies`: names of what consumers read, which nobody can mend before there is a token.
    """
    reasons = (CLOCK,) if by_clock else in_the_way(checks)
    told = [
        replace(check, follows=True, remedy=follows_from(reasons))
        if check.verdict is Verdict.FAIL and check.name in _SYMPTOMS and reasons and not heals
        else check
        for check in checks
    ]
    graver = [check for check in told if check.verdict is not Verdict.PASS and not check.follows]
    if not graver:
        return tuple(told)
    first = min(graver, key=lambda check: (_GRAVITY[check.verdict], check.standing, _depth(check, copies)))
    return tuple(replace(check, suspected=check is first) for check in told)


def _depth(check: Check, copies: Collection[str]) -> int:
    if check.name in copies:
        return _ORDER.index(LAST_REFRESH) + 1
    return _ORDER.index(check.name if check.name in _ORDER else _SECRETS)
