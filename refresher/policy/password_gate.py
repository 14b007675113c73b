"""How often a password is sent: a wrong one, sent often, locks the integration user out of ServiceNow.

A try counts as refused before it is sent, so that crash loops and several processes together cannot exceed the
limit. ServiceNow's generic 401 also stands for faults that pass, so that the first two tries follow at once and each
later one waits until such a fault will have passed. After four tries with a refusal among them the gate is shut, until
password, user name or client secret has a new version (each of them may be what was refused), or an operator forces a
run: ServiceNow locks a user at five failed logins in a row. It locks the user, whichever connection sends the
password: those of one user share the tries. A try without a clear answer (a page, a 502, none) may have been refused
as well: it counts beside the refusals, but an outage shuts no gate. It is asked without a password then whether a
refusal arrives as one, and where four such tries are on record, hours lie between two.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from refresher.model.causes import Cause
from refresher.model.errors import TokenEndpointError

PAUSE = timedelta(minutes=30)
"""Faults that refuse everything rarely last longer."""
_WAITS = (timedelta(), timedelta(), PAUSE, PAUSE)
"""Before each try, since the one before it."""
TRIES = len(_WAITS)
LONG_PAUSE = timedelta(hours=6)
"""Before any further try that may be the one too many, and after which the way is not asked for first."""
_RESOLUTION = timedelta(seconds=1)
"""Of the vault's clock, as secrets tell it."""
_NEVER_SEEN = frozenset({Cause.INVALID_CLIENT, Cause.INSTANCE_HIBERNATING})
"""Answers of an instance that did not look at the password."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PasswordRefusals:
    """How often one version of a password was refused since it last worked, and when it was last sent."""

    version: str | None = None
    count: int = 0
    unclear: int = 0
    """Tries beside them that were sent, and of which no answer says whether they were refused."""
    tried_at: datetime | None = None
    user: str | None = None
    """Mark of the user for whom it was last sent (`Secret.name_mark`); records of old tell none."""
    vault_ahead: timedelta = field(default=timedelta(), compare=False)
    """How far the vault's clock was ahead of that of whoever sent it; not stored, but seen where it is read."""

    def was_tried_since(self, moment: datetime) -> bool:
        """Whether it was last sent at that moment of the vault's clock, or later."""
        return self.tried_at is not None and moment - self.tried_at <= self.vault_ahead + _RESOLUTION

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

        `since` is of the vault's clock, and `now` of our own. A try that lies in the future of both is a wrong
        clock's: by it, no success would ever be the later one. What was only unclear to them counts for hours: an
        outage of long ago is no reason to wait.
        """
        tried = [(each.tried_at, each) for each in others if each.tried_at is not None]
        dated = [(at, each) for at, each in tried if at - now < PAUSE - min(timedelta(), each.vault_ahead)]
        counted = [(at, each) for at, each in dated if since is None or each.was_tried_since(since)]
        unclear = [(at, each) for at, each in counted if each.unclear and (each.count or now - at < LONG_PAUSE)]
        return replace(
            self,
            count=self.count + sum(each.count for _, each in counted),
            unclear=self.unclear + sum(each.unclear for _, each in unclear),
            tried_at=max((at for at in (self.tried_at, *(at for at, _ in unclear)) if at is not None), default=None),
        )

    @property
    def shut(self) -> bool:
        """Whether the password is not sent again."""
        return self.count > 0 and self.count + self.unclear >= TRIES

    @property
    def paused_until(self) -> datetime | None:
        """When it may be sent again; None where that is never, or at once."""
        if self.shut or self.tried_at is None or not self._pause:
            return None
        return self.tried_at + self._pause

    @property
    def _pause(self) -> timedelta:
        sent = self.count + self.unclear
        return _WAITS[sent] if sent < TRIES else LONG_PAUSE

    def is_open(self, now: datetime) -> bool:
        """Whether the password may be sent now. A try in the future is a wrong clock's, and no reason to wait."""
        until = self.paused_until
        return not self.shut and (until is None or not until - self._pause <= now < until)

    def asks_the_way(self, now: datetime) -> bool:
        """Whether to see first, without a password, that a refusal would arrive as one.

        Not for ever: something on the way may mask refusals alone, and let a token through.
        """
        return self.unclear > 0 and self.tried_at is not None and now - self.tried_at < LONG_PAUSE

    def before_try(self, now: datetime, user: str | None = None) -> "PasswordRefusals":
        """Before the password is sent for that user: refused, until the answer says otherwise."""
        return replace(self, count=self.count + 1, tried_at=now, user=user)

    def after_error(self, untried: "PasswordRefusals", error: TokenEndpointError) -> "PasswordRefusals":
        """Once the answer is known, or that none came; `untried` is what there was before the password was sent."""
        if error.cause is Cause.INVALID_GRANT:
            return replace(self, count=TRIES)
        if not error.sent or error.cause in _NEVER_SEEN:
            return untried
        return self if error.grant_refused else replace(self, count=untried.count, unclear=untried.unclear + 1)
