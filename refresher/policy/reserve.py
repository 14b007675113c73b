"""What is in hand: how long ServiceNow may be away before readers are without a token, and what makes it longer.

A token that falls due is replaced if ServiceNow answers; if not, what is left of its life is all that there is. A
longer life costs nothing but what a stolen token is worth; a shorter interval costs versions of the secrets.
"""

from datetime import timedelta

from refresher.model.grants import Grant
from refresher.model.timing import Reserve, Timing
from refresher.policy.due import refresh_age

_ENOUGH = timedelta(hours=1)
_LONGER = timedelta(seconds=7200)
_SHORTER = timedelta(minutes=25)


def reserve(lifetime: timedelta, timing: Timing, grant: Grant | None = None) -> Reserve:
    """What is in hand of a token that lives so long, and where that is little, what would be in hand instead.

    The life of a token of Microsoft Entra's is nobody's to choose.
    """
    left = lifetime - refresh_age(lifetime, timing, grant)
    said = [f"{_minutes(left)} min in hand"]
    if left < _ENOUGH and (grant is None or not grant.row.from_half_of_life):
        longer = _LONGER - refresh_age(_LONGER, timing)
        shorter = lifetime - refresh_age(lifetime, timing._replace(interval=_SHORTER))
        if longer > left:
            said.append(f"with a lifespan of {_LONGER.total_seconds():.0f} s: {_minutes(longer)} min")
        if shorter > left:
            said.append(f"or REFRESH_INTERVAL_MINUTES={_minutes(_SHORTER)}: {_minutes(shorter)} min")
    return Reserve(left=left, text="; ".join(said))


def _minutes(span: timedelta) -> str:
    return f"{span.total_seconds() / 60:.0f}"
