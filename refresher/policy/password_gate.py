"""How often a password is sent: a wrong one, sent often, locks the integration user out of ServiceNow.

A try counts as refused before it is sent, so that crash loops and several processes together cannot exceed the
limit, and no longer where its answer says nothing of the password. Three refusals in a row of one version shut the
gate, until the secret has a new version or an operator forces a run.

ServiceNow's generic 401 also stands for faults that pass, and such a fault refuses everything. So a refusal that came
in a run in which the refresh token was refused as well is in doubt: the next try waits until such a fault will have
passed, and when that same refresh token works again the refusal is forgiven. Forgiven or not, no version is refused
more than four times without a success in between: ServiceNow locks a user at five.
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from refresher.model.causes import Cause
from refresher.model.errors import TokenEndpointError

TRIES = 3
TRIES_IN_ALL = 4
"""Those that were forgiven included."""
PAUSE = timedelta(minutes=30)
"""Faults that refuse everything rarely last longer."""


class Gate(StrEnum):
    """Whether a password may be sent; PAUSED until `paused_until`."""

    OPEN = "open"
    PAUSED = "paused"
    SHUT = "shut"


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRefusals:
    """What is held against one version of a password, since it last worked."""

    version: str | None = None
    count: int = 0
    in_doubt: int = 0
    """How many of them came in runs in which the refresh token was refused as well."""
    forgiven: int = 0
    """How many more there were, until that refresh token worked again."""
    tried_at: datetime | None = None

    def of(self, version: str | None) -> "PasswordRefusals":
        """What is held against that version: nothing, if another one was refused."""
        return self if version is not None and version == self.version else PasswordRefusals(version=version)

    @property
    def shut(self) -> bool:
        """Whether the password is not sent again."""
        return self.count >= TRIES or self.count + self.forgiven >= TRIES_IN_ALL

    @property
    def paused_until(self) -> datetime | None:
        """When it may be sent again; None where that is at once."""
        waits = self.count == TRIES - 1 or self.in_doubt > 0
        return self.tried_at + PAUSE if waits and self.tried_at is not None else None

    def gate(self, now: datetime) -> Gate:
        """Whether the password may be sent now. A try in the future is a wrong clock's, and no reason to wait."""
        if self.shut:
            return Gate.SHUT
        until = self.paused_until
        return Gate.PAUSED if until is not None and until - PAUSE <= now < until else Gate.OPEN

    def before_try(self, now: datetime) -> "PasswordRefusals":
        """Before the password is sent: refused, until the answer says otherwise."""
        return replace(self, count=self.count + 1, tried_at=now)

    def after_error(self, untried: "PasswordRefusals", error: TokenEndpointError) -> "PasswordRefusals":
        """Once the answer is known; `untried` is what there was before the password was sent."""
        if error.cause is Cause.INVALID_GRANT:
            return replace(self, count=TRIES, in_doubt=0)
        return self if error.grant_refused else untried

    def doubted(self) -> "PasswordRefusals":
        """After a run in which the refresh token was refused as well."""
        return replace(self, in_doubt=min(self.count, self.in_doubt + 1))

    def after_refresh(self, *, was_refused: bool) -> "PasswordRefusals":
        """Once a refresh token works; if it was refused before, what refused it was no judge of the password."""
        forgiven = self.in_doubt if was_refused else 0
        return replace(self, count=self.count - forgiven, in_doubt=0, forgiven=self.forgiven + forgiven)
