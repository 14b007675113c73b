"""The states of a connection, and all that is known of one, as `health` judges it and views show it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from refresher.model.causes import Cause
from refresher.model.errors import VaultError
from refresher.model.report import Warning_
from refresher.model.steps import Step
from refresher.model.stored import KeyLife
from refresher.model.timing import Reserve
from refresher.policy.attempts import Attempt
from refresher.servicenow.answers import Verdict
from refresher.status.copies import TargetStatus
from refresher.status.lives import Life


class State(StrEnum):
    """States in which an engineer finds a connection."""

    FRESH = "fresh"
    DUE = "due"
    EXPIRING = "expiring"
    EXPIRED = "expired"
    REFUSED = "refused"
    """Its dates say that it lives, and ServiceNow refuses it."""
    FAILING = "failing"
    AUTHORIZATION_REQUIRED = "authorization_required"
    UNKNOWN = "unknown"
    """The vault cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionStatus:
    """All that `status` says of one connection."""

    connection: str
    instance_url: str = ""
    state: State
    working: bool | None
    """Whether whoever reads the vault gets a token that works, from the connection's own secret and every target."""
    message: str
    basis: str | None = None
    """On what that rests: a trial just now, or dates."""
    tried: Verdict | None = None
    """What ServiceNow said of the connection's own token; None where it was not asked."""
    user_name: str | None = None
    """Whom it acts as, as ServiceNow told just now, or at the last refresh."""
    next_step: Step | None = None
    cause: Cause | None = None
    checks: tuple[str, ...] = ()
    """What to look at for that cause, in order."""
    lives: tuple[Life, ...] = ()
    """Lives of the tokens of the last day, the current one last, as far as they are known."""
    issued_at: datetime | None = None
    expires_at: datetime | None = None
    refresh_at: datetime | None = None
    in_hand: Reserve | None = None
    refresh_token_expires_at: datetime | None = None
    refresh_token_then: Step | None = None
    signing_key: KeyLife | VaultError | None = None
    """When the key of a vault ends that signs, or why that cannot be said; None where none has to sign."""
    last_attempt_at: datetime | None = None
    last_outcome: str | None = None
    consecutive_failures: int = 0
    attempts: tuple[Attempt, ...] = ()
    """The last ones, newest first, as far as they are known."""
    targets: tuple[TargetStatus, ...] = ()
    warnings: tuple[Warning_, ...] = ()
