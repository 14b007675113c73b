"""How often a password is sent: a wrong one, sent often, locks the integration user out of ServiceNow.

A try counts as refused before it is sent, so that crash loops and several processes together cannot exceed the
limit, and no longer where its answer says nothing of the password. ServiceNow's generic 401 also stands for faults
that pass, so that the first two tries follow at once and each later one waits until such a fault will have passed.
After four refusals the gate is shut, until password, user name or client secret has a new version (each of them may be
what was refused), or an operator forces a run: ServiceNow locks a user at five failed logins in a row. It locks the
user, whichever connection sends the password: those of one user share the tries.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from refresher.model.causes import Cause
from refresher.model.errors import TokenEndpointError

PAUSE = timedelta(minutes=30)
"""Faults that refuse everything rarely last longer."""
_WAITS = (timedelta(), timedelta(), PAUSE, PAUSE)
"""Before each try, since the one before it."""
TRIES = len(_WAITS)


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRefusals:
    """How often one version of a password was refused since it last worked, and when it was last sent."""

    version: str | None = None
    count: int = 0
    tried_at: datetime | None = None
    user: str | None = None
    """Mark of the user for whom it was last sent (`Secret.name_mark`); records of old tell none."""

    def of(self, version: str | None) -> "PasswordRefusals":
        """What is held against that version: nothing, if another one was refused.

        Records of old name the password's own version only, which is the first part of what is judged together.
        """
        same = version is not None and self.version in {version, version.partition(".")[0]}
        return replace(self, version=version) if same else PasswordRefusals(version=version)

    def with_others(
        self, others: "Iterable[PasswordRefusals]", since: datetime | None, now: datetime
    ) -> "PasswordRefusals":
        """Together with what other connections met since then, who send a password for the same user.

        A try in the future is a wrong clock's: by it, no success would ever be the later one.
        """
        until = now + PAUSE
        dated = [(each.tried_at, each.count) for each in others if each.tried_at is not None]
        counted = [count for tried_at, count in dated if tried_at < until and (since is None or tried_at >= since)]
        return replace(self, count=self.count + sum(counted))

    @property
    def shut(self) -> bool:
        """Whether the password is not sent again."""
        return self.count >= TRIES

    @property
    def paused_until(self) -> datetime | None:
        """When it may be sent again; None where that is never, or at once."""
        if self.shut or self.tried_at is None or not _WAITS[self.count]:
            return None
        return self.tried_at + _WAITS[self.count]

    def is_open(self, now: datetime) -> bool:
        """Whether the password may be sent now. A try in the future is a wrong clock's, and no reason to wait."""
        until = self.paused_until
        return not self.shut and (until is None or not until - PAUSE <= now < until)

    def before_try(self, now: datetime, user: str | None = None) -> "PasswordRefusals":
        """Before the password is sent for that user: refused, until the answer says otherwise."""
        return replace(self, count=self.count + 1, tried_at=now, user=user)

    def after_error(self, untried: "PasswordRefusals", error: TokenEndpointError) -> "PasswordRefusals":
        """Once the answer is known; `untried` is what there was before the password was sent."""
        if error.cause is Cause.INVALID_GRANT:
            return replace(self, count=TRIES)
        return self if error.grant_refused else untried
