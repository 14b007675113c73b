"""The expiry of a secret, where a policy of the vault has a say in it: what the value is worth, no date may cost.

Azure Policy can demand an expiry of every secret, limit how far away it is, or how near; its refusal looks like that
of a missing permission. So what was refused is tried again with other dates, the best first. Nothing is decided by
this attribute: the tags tell the true end.
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import TypeVar

from refresher.model.errors import VaultError

_T = TypeVar("_T")
_USUAL_LIMITS = tuple(timedelta(days=days) for days in (365, 90, 30, 7, 1))
_CLOCKS_DIFFER = timedelta(hours=1)
_DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


class RefusedError(VaultError):
    """The vault refuses to store it so: for want of a permission, or for what a policy says of its expiry."""


def dates_to_try(wanted: datetime | None, now: datetime) -> tuple[datetime | None, ...]:
    """The wanted date, those that usual policies accept, the latest first, and none; None leaves it as it is."""
    usual = tuple((now + limit - _CLOCKS_DIFFER).replace(microsecond=0) for limit in _USUAL_LIMITS)
    return (None, *usual) if wanted is None else (wanted, *usual, None)


class Dates:
    """What one vault was seen to accept, for the life of the process."""

    def __init__(self) -> None:
        self.remark: str | None = None
        """What a policy of the vault refuses; None where it refuses nothing, as far as is known."""
        self._longest: timedelta | None = None
        self._refused: timedelta | None = None
        """How far away the expiry was that the remark is about; None where it is about a secret without one."""

    def first_accepted(
        self,
        write: Callable[[datetime | None], _T],
        wanted: datetime | None,
        now: datetime,
        *,
        or_none: bool = True,
    ) -> _T:
        """Write with the first date that is accepted; `or_none`: without one, at the last.

        Raises VaultError: the first refusal, where none is accepted.
        """
        refusals: list[RefusedError] = []
        for date in self._in_order(wanted, now):
            if date is None and wanted is not None and not or_none:
                continue
            try:
                written = write(date)
            except RefusedError as error:
                refusals.append(error)
                continue
            if refusals:
                self._note(wanted, date, now)
            elif date == wanted:
                self._forget_what_passed(wanted, now)
            return written
        raise refusals[0]

    def _in_order(self, wanted: datetime | None, now: datetime) -> tuple[datetime | None, ...]:
        """Without those that are known to be too far away."""
        dates = dates_to_try(wanted, now)
        if self._longest is None or wanted is None or wanted <= now + self._longest:
            return dates
        return tuple(date for date in dates if date is None or date <= now + self._longest)

    def _forget_what_passed(self, accepted: datetime | None, now: datetime) -> None:
        """What was refused once, for another reason, and is accepted now: a policy counts in days."""
        if accepted is None or self._refused is None or self._longest is not None:
            return
        if (accepted - now) // _DAY <= self._refused // _DAY:
            self.remark = None

    def _note(self, wanted: datetime | None, accepted: datetime | None, now: datetime) -> None:
        self._refused = wanted - now if wanted is not None else None
        if wanted is None:
            self.remark = "demands an expiry of every secret"
        elif accepted is None:
            self.remark = f"refuses every expiry that was tried for a secret that ends on {wanted:%Y-%m-%d}"
        elif accepted > wanted:
            self.remark = f"refuses an expiry as near as {wanted:%Y-%m-%d}"
        else:
            self._longest = accepted - now + _SECOND  # dates are rounded down to one
            days = round(self._longest / _DAY)
            self.remark = f"limits how far away an expiry may be: {days} days were accepted"
