"""Tokens tried at their instances, side by side and within one deadline; what had no turn in it is not known."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from refresher.model.clock import Deadline
from refresher.model.connection import Connection
from refresher.model.tokens import Secret
from refresher.servicenow.answers import Probe
from refresher.servicenow.instances import ServiceNow

TRYING_TAKES = timedelta(seconds=5)
"""For all tokens together, however many there are."""
_AT_ONCE = 64

Wanted = tuple[Connection, Secret]


def try_side_by_side(servicenow: ServiceNow, wanted: Sequence[Wanted], deadline: Deadline) -> tuple[Probe, ...]:
    """What each instance says of its token, each asked on a connection of its own. Never raises."""
    if len(wanted) == 1:
        return (servicenow.try_token(wanted[0][0], wanted[0][1], deadline),)
    with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(wanted))), thread_name_prefix="trial") as pool:
        return tuple(pool.map(lambda each: servicenow.try_token(each[0], each[1], deadline), wanted))
