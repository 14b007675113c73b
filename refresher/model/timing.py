"""How often things happen, and what is left where they do not."""

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

LONGEST_LIFETIME = timedelta(days=3650)
"""Of any token: some set its end thousands of years away, where nothing can be reckoned from."""
_FEW_CONNECTIONS = 20


class Timing(NamedTuple):
    """How often the timer ticks, at what age a token is due, and how far ahead many connections are spread."""

    interval: timedelta
    tick: timedelta
    spread: timedelta = timedelta()

    @classmethod
    def of(cls, interval: timedelta, tick: timedelta, connections: int) -> "Timing":
        """With more than a few connections, those that started together drift apart by up to two ticks."""
        return cls(interval=interval, tick=tick, spread=2 * tick if connections > _FEW_CONNECTIONS else timedelta())


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """How long an outage of ServiceNow is survived that begins when a token falls due, and the sentence about it."""

    left: timedelta
    text: str
