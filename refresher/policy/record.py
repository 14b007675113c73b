"""What the next run must know of the failures before it, and how each event changes it."""

from dataclasses import dataclass, field, replace
from datetime import datetime

from refresher.model.causes import Cause, Kind
from refresher.model.stored import StoredAccessToken
from refresher.policy.attempts import Attempt, with_failure
from refresher.policy.password_gate import PasswordRefusals


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshRecord:
    """What the next run must know of the failures before it."""

    last_attempt_at: datetime | None = None
    last_outcome: str | None = None
    last_cause: str | None = None
    consecutive_failures: int = 0
    password: PasswordRefusals = field(default_factory=PasswordRefusals)
    refused_refresh_token_version: str | None = None
    refresh_token_refusals: int = 0
    spent_refresh_token_version: str | None = None
    """The version that a request may have used up: ServiceNow rotates, and no successor of it was stored."""
    rotates: bool = False
    """Whether ServiceNow was ever seen to replace this connection's refresh token at its use."""
    access_token_refused_at: datetime | None = None
    """When a refresh was last begun for no other reason than that ServiceNow refused the stored access token."""
    failures: tuple[Attempt, ...] = field(default=(), compare=False)
    """The last of them, for people: no difference that is worth a write."""

    def is_settled(self, stored: "RefreshRecord") -> bool:
        """Whether a success leaves `stored`, which the vault holds, as true as it is: nothing to put right or add."""
        return not (stored.is_open or self.is_open) and self.memory == stored.memory

    @property
    def is_open(self) -> bool:
        """Whether it tells of a failure, or of an attempt that did not end."""
        return bool(self.consecutive_failures) or self.last_outcome == ATTEMPT_STARTED

    @property
    def written_at(self) -> datetime | None:
        """When it was last written, by the clock of whoever did: the latest moment that it tells of."""
        moments = (self.last_attempt_at, self.password.tried_at, self.access_token_refused_at)
        return max((each for each in moments if each is not None), default=None)

    @property
    def refused_ticks(self) -> int:
        """How many ticks have failed in a row, where the last did since ServiceNow said no to all that was tried."""
        cause = Cause.of(self.last_cause)
        return self.consecutive_failures if cause is not None and cause.row.kind in {Kind.REFUSED, Kind.PERSON} else 0

    @property
    def memory(self) -> tuple[object, ...]:
        """What outlives the success of a run."""
        return (
            self.password,
            self.refused_refresh_token_version,
            self.refresh_token_refusals,
            self.spent_refresh_token_version,
            self.rotates,
            self.access_token_refused_at,
        )

    def after_success(self, now: datetime, outcome: str) -> "RefreshRecord":
        """The record once a failure is over. What was refused stays refused: another grant's success mends nothing."""
        return replace(self, last_attempt_at=now, last_outcome=outcome, last_cause=None, consecutive_failures=0)

    def read_beside(self, token: StoredAccessToken | None, now: datetime) -> "RefreshRecord":
        """The record as people should read it: where a token was issued after the last attempt, that failure is over.

        A vault that takes tokens and no record leaves it as it was. What failed in publishing, no token's dates tell.
        """
        since = token.life[0] if token is not None and token.life is not None else None
        told, last = self.last_attempt_at, Cause.of(self.last_cause)
        if since is None or told is None or not told < since <= now or last is Cause.PUBLISH_FAILED:
            return self
        return self.after_success(since, "refreshed") if self.consecutive_failures else self

    def after_failure(self, now: datetime, outcome: str, cause: str, *, counts: bool = True) -> "RefreshRecord":
        """The record after one more failed run; one in the same tick as another does not count."""
        return replace(
            self,
            last_attempt_at=now,
            last_outcome=outcome,
            last_cause=cause,
            consecutive_failures=max(1, self.consecutive_failures + counts),
            failures=with_failure(self.failures, now, cause, counts=counts),
        )

    def before_attempt(self, now: datetime) -> "RefreshRecord":
        """The record before a request that may cost the refresh token or count against a password."""
        return replace(self, last_attempt_at=now, last_outcome=ATTEMPT_STARTED)

    def with_refresh_token_refusals(self, version: str, count: int) -> "RefreshRecord":
        """The record with `count` refusals of that version of the refresh token."""
        return replace(self, refused_refresh_token_version=version if count else None, refresh_token_refusals=count)

    def with_spent_refresh_token(self, version: str | None) -> "RefreshRecord":
        """The record with a refresh token that may be used up; None where none is."""
        return replace(self, spent_refresh_token_version=version)

    def with_access_token_refused(self, at: datetime | None) -> "RefreshRecord":
        """The record before a refresh whose only reason is that the stored access token was refused."""
        return replace(self, access_token_refused_at=at)

    def refresh_token_refusals_of(self, version: str | None) -> int:
        """In how many runs in a row that version of the refresh token was refused."""
        same = version is not None and version == self.refused_refresh_token_version
        return self.refresh_token_refusals if same else 0

    def was_sent(self, version: str) -> bool:
        """Whether a request sent that version of the refresh token, and did not end well."""
        return version in {self.refused_refresh_token_version, self.spent_refresh_token_version}

    def may_be_spent(self, version: str | None) -> bool:
        """Whether a request may have used up that version of the refresh token."""
        return version is not None and version == self.spent_refresh_token_version


ATTEMPT_STARTED = "started"
