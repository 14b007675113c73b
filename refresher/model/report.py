"""What came of a run: values for the log, the terminal, HTTP and exit codes."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.steps import Step
from refresher.model.timing import Reserve


class Trigger(StrEnum):
    """What started a run."""

    TIMER = "timer"
    HTTP = "http"
    QUEUE = "queue"
    CLI = "cli"


class WarningCode(StrEnum):
    """Closed list of warnings; alerts are written against these codes."""

    REFRESH_TOKEN_ENDING = "refresh_token_ending"  # noqa: S105
    REFRESH_TOKEN_ENDING_SOON = "refresh_token_ending_soon"  # noqa: S105
    STOPS_WITHOUT_A_PERSON = "stops_without_a_person"
    SIGNING_KEY_ENDING = "signing_key_ending"
    SIGNING_KEY_ENDING_SOON = "signing_key_ending_soon"
    SIGNING_KEY_END_UNKNOWN = "signing_key_end_unknown"
    ACCESS_TOKEN_SHORT = "access_token_short"  # noqa: S105
    ACCESS_TOKEN_LONG = "access_token_long"  # noqa: S105
    UNCHANGED = "unchanged"
    GRANT_FAILED = "grant_failed"
    PROBE_INCONCLUSIVE = "probe_inconclusive"
    VERIFICATION_REFUSED = "verification_refused"
    CREDENTIAL_UNSEEN = "credential_unseen"
    USER_CHANGED = "user_changed"
    LEASE_UNAVAILABLE = "lease_unavailable"
    RECORD_NOT_WRITTEN = "record_not_written"
    TAGS_LOST = "tags_lost"
    TARGET_SHARED = "publish_target_shared"
    EXPIRY_REFUSED = "expiry_refused"
    REFRESH_TOKEN_MASKED = "refresh_token_masked"  # noqa: S105
    REFRESH_TOKEN_REPLACED = "refresh_token_replaced"  # noqa: S105
    REFRESH_TOKEN_NOT_DESCRIBED = "refresh_token_not_described"  # noqa: S105
    PASSWORD_NOT_STORED = "password_not_stored"  # noqa: S105


@dataclass(frozen=True, slots=True, kw_only=True)
class Warning_:  # noqa: N801 - `Warning` is Python's own
    """One warning, with the next step."""

    code: WarningCode
    message: str
    hint: Step


LONGEST_TEXT = 256
"""Of what a person says: what a tag holds."""


def one_line(text: str) -> str:
    """What a person says, fit for log, tag and terminal. Raises ValueError for what is too long or not printable."""
    line = " ".join(text.split())
    if len(text) > LONGEST_TEXT or not line.isprintable():
        message = f"not a printable text of at most {LONGEST_TEXT} characters"
        raise ValueError(message)
    return line


class Outcome(StrEnum):
    """How a run of one connection ended."""

    REFRESHED = "refreshed"
    PUBLISHED = "published"
    """The stored token was good; targets that lacked it were written."""
    UNCHANGED = "unchanged"
    """ServiceNow answered with the token that is stored already."""
    NOT_DUE = "not_due"
    BUSY = "busy"
    PUT_OFF = "put_off"
    """The time was over before it could begin, or end: nothing is known of the token."""
    KEPT = "kept"
    """The run failed, and the old token works until the next tick at least."""
    FAILED = "failed"
    AUTHORIZATION_REQUIRED = "authorization_required"
    REVOKED = "revoked"
    """An operator had the tokens revoked."""


SUCCESSES = frozenset({Outcome.REFRESHED, Outcome.PUBLISHED, Outcome.UNCHANGED, Outcome.NOT_DUE, Outcome.REVOKED})


class RunRequest(NamedTuple):
    """Who wants a run, and why. `reason` is what an operator said."""

    trigger: Trigger
    force: bool = False
    reason: str | None = None
    again: bool = False
    """Whether the connection has run in this tick already: failures and refusals count once."""
    on_progress: Callable[[str], None] = lambda _: None


class RunReport(NamedTuple):
    """The result for one connection. `working` says whether its token works now; None where it cannot be said."""

    connection: str
    run_id: str
    trigger: Trigger
    outcome: Outcome
    message: str
    reason: str | None = None
    cause: Cause | None = None
    hint: Step | None = None
    grant: Grant | None = None
    attempts: int = 0
    duration_ms: int = 0
    working: bool | None = None
    access_token_obtained_at: datetime | None = None
    access_token_expires_at: datetime | None = None
    refresh_token_expires_at: datetime | None = None
    refresh_at: datetime | None = None
    reserve: Reserve | None = None
    consecutive_failures: int = 0
    transaction_id: str | None = None
    user_name: str | None = None
    tried: str | None = None
    """What ServiceNow said of the stored token in this tick (a `Verdict`); None where it was not asked."""
    retry_after: float | None = None
    password_sent: bool = False
    """Whether a password was sent, and may have been seen."""
    operator_reason: str | None = None
    warnings: tuple[Warning_, ...] = ()
