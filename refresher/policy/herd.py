"""How the connections of one instance spread within a tick: by their names, so that no process need know of others.

An instance serves a few requests at a time. Many connections that fall due together would keep it busy, and be
refused for what they do themselves; those whose token lasts can leave the others some seconds.
"""

import hashlib

from refresher.policy.due import Urgency

FEW = 16
"""Connections that need no order."""
_EACH = 0.1
"""Seconds: so many requests a second are no weather."""
_LONGEST = 20.0
"""Seconds, of which the platform bills the waiting."""


def seconds_to_others(connection: str, many: int, urgency: Urgency) -> float:
    """Seconds that a run leaves to others of so `many` with its instance; none where its token is about to end."""
    if many <= FEW or urgency is Urgency.MANDATORY:
        return 0.0
    # Not the number by which it falls due: those of one tick would stay together.
    share = int.from_bytes(hashlib.sha256(connection.encode()).digest()[:4]) / 2**32
    return min(_LONGEST, many * _EACH) * share
