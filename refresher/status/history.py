"""The refreshes of a connection, read back from the versions of its access token and their tags.

Key Vault lists versions by their ids, not by time: the tags order them. A version without our tags was written by
hand; its creation and its attribute stand in for them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from refresher.keyvault.tags import parse_access_token, parse_record
from refresher.model.stored import StoredSecret
from refresher.policy.attempts import Attempt, last_attempts
from refresher.status.lives import Life, gaps


@dataclass(frozen=True, slots=True, kw_only=True)
class Issue:
    """One access token that was published; what its tags do not tell is None."""

    issued_at: datetime
    expires_at: datetime | None
    confirmed_at: datetime | None
    trigger: str | None
    grant: str | None
    run_id: str | None
    reason: str | None
    by_hand: bool
    revoked: bool = False
    """Whether an operator ended it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class History:
    """The issues of a connection, oldest first, and the stretches in between in which no token lived."""

    connection: str
    issues: tuple[Issue, ...]
    gaps: tuple[Life, ...]
    attempts: tuple[Attempt, ...] = ()
    """The last ones, newest first, failures too."""

    @property
    def lives(self) -> tuple[Life, ...]:
        """From issue to end, for those whose end is known."""
        return _lives(self.issues)


def read_history(
    connection: str, versions: Iterable[StoredSecret], records: Iterable[StoredSecret], now: datetime
) -> History:
    """Order the versions, and find the gaps from the first of them until now; the newest record knows the failures."""
    issues = tuple(sorted(filter(None, map(_issue, versions)), key=lambda issue: issue.issued_at))
    uncovered = gaps(_lives(issues), issues[0].issued_at, now) if issues else ()
    record = parse_record(max(records, key=lambda each: each.created_on or _NEVER, default=None))
    refreshed_at = {
        moment for issue in issues for moment in (issue.issued_at, issue.confirmed_at) if moment is not None
    }
    revoked_at = next((issue.expires_at for issue in reversed(issues) if issue.revoked), None)
    attempts = last_attempts(record.failures, refreshed_at, revoked_at=revoked_at)
    return History(connection=connection, issues=issues, gaps=uncovered, attempts=attempts)


_NEVER = datetime.min.replace(tzinfo=UTC)


def _issue(version: StoredSecret) -> Issue | None:
    token = parse_access_token(version)
    issued_at = token.issued_at or version.created_on
    if issued_at is None:
        return None
    return Issue(
        issued_at=issued_at,
        expires_at=token.expires_at or version.expires_on,
        confirmed_at=token.confirmed_at,
        trigger=token.trigger,
        grant=token.grant.value if token.grant else None,
        run_id=token.run_id,
        reason=version.tags.get("reason"),
        by_hand=token.issued_at is None,
        revoked=token.revoked,
    )


def _lives(issues: Iterable[Issue]) -> tuple[Life, ...]:
    return tuple((issue.issued_at, issue.expires_at) for issue in issues if issue.expires_at is not None)
