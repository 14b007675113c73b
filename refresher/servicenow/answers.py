"""What an instance said when it was asked, as plain values: of a token, of the tries for a token."""

from dataclasses import dataclass
from enum import StrEnum

ANSWER_TAKES = 5.0
"""Seconds. With less left nothing is asked for: an answer that nobody waits for can cost the refresh token."""
REFUSALS_APART = 2.0
"""Seconds between two refusals of a token, so that a node that is just going away does not count as an answer."""
TRIAL_TAKES = 1.0
"""Seconds. With less left after that, a token is not tried again."""


class Verdict(StrEnum):
    """What the API says of an access token."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Answer of the probe; `user_name` where it told who the token acts as."""

    verdict: Verdict
    user_name: str | None = None
    transaction_id: str | None = None
    remark: str | None = None
    """What kept the instance from a plain answer, in words of our own."""


@dataclass(slots=True, kw_only=True)
class Attempts:
    """What happened while a token was requested: tries made, and whether the answer to one may have been lost."""

    made: int = 0
    answer_lost: bool = False
    password_sent: bool = False
    """Whether one came with a password, which may have been seen."""
