"""The connections of one instance spread within a tick, by their names alone."""

import zlib
from collections import Counter

import pytest

from refresher.policy.due import Urgency
from refresher.policy.herd import FEW, seconds_to_others

NAMES = tuple(f"team-{number}" for number in range(200))


def waits(names: tuple[str, ...], urgency: Urgency = Urgency.ADVISORY) -> list[float]:
    """What each of them leaves to the others."""
    return [seconds_to_others(name, len(names), urgency) for name in names]


def test_many_are_spread_over_seconds_the_same_ones_each_time() -> None:
    found = waits(NAMES)
    assert found == waits(NAMES)
    per_second = Counter(int(seconds) for seconds in found)
    assert set(per_second) == set(range(20))
    assert max(per_second.values()) <= 20


def test_those_that_fall_due_at_one_tick_are_spread_as_well() -> None:
    """Which tick that is, another share of the name decides."""
    together = [name for name in NAMES if zlib.crc32(name.encode()) / 2**32 < 0.3]
    found = [seconds_to_others(name, len(NAMES), Urgency.ADVISORY) for name in together]
    assert min(found) < 3
    assert max(found) > 17


@pytest.mark.parametrize(("names", "longest"), [(NAMES[:FEW], 0), (NAMES[: FEW + 1], 1.7), (NAMES * 5, 20)])
def test_a_few_need_no_order_and_nobody_waits_long(names: tuple[str, ...], longest: float) -> None:
    assert max(waits(names)) <= longest
    assert sum(waits(names)) > 0 or longest == 0


def test_a_token_that_is_about_to_end_goes_first() -> None:
    assert not any(waits(NAMES, Urgency.MANDATORY))
