"""What keeps two refreshers apart: each rule, and that none can be left out."""

import pytest

from refresher.policy.exclusion import LONGEST_OVERLAP, may_release, reads_stand
from tests.sampling import sampled, thinned
from tests.unit.policy.refreshers import Rules, explore

TICK, FORCE = False, True
RUNS = [((TICK, FORCE), (TICK,))]


def however_long(seen: str | None, acquired: str | None, _: float) -> bool:
    """The rule without its clock."""
    return reads_stand(seen, acquired, 0.0)


@pytest.mark.parametrize(
    ("seen", "acquired", "took", "stands"),
    [
        ('"0x1"', '"0x1"', 0.0, True),
        ('"0x1"', '"0x1"', LONGEST_OVERLAP, True),
        ('"0x1"', '"0x1"', LONGEST_OVERLAP + 0.001, False),
        ('"0x1"', '"0x2"', 0.0, False),
        (None, '"0x1"', 0.0, False),
        ('"0x1"', None, 0.0, False),
        (None, None, 0.0, False),
    ],
)
def test_reads_stand_where_nobody_wrote_a_note_meanwhile(
    seen: str | None, acquired: str | None, took: float, stands: bool
) -> None:
    assert reads_stand(seen, acquired, took) is stands


@pytest.mark.parametrize(
    ("writes", "noted", "may"), [(True, True, True), (True, False, False), (False, True, True), (False, False, True)]
)
def test_who_wrote_without_a_note_lets_nobody_in(writes: bool, noted: bool, may: bool) -> None:
    assert may_release(writes=writes, noted=noted) is may


@pytest.mark.parametrize(
    ("first", "second"),
    sampled([*RUNS, ((TICK, FORCE), (TICK, FORCE)), ((TICK, TICK), (FORCE,))], RUNS),
)
@pytest.mark.exhaustive
def test_no_order_of_their_steps_spends_a_token_twice(first: tuple[bool, ...], second: tuple[bool, ...]) -> None:
    wrong, worlds = explore(first, second)
    assert wrong == set()
    assert worlds > 1000


@pytest.mark.parametrize(
    "broken",
    thinned(
        [
            Rules(reads_stand=lambda *_: True),
            Rules(reads_stand=however_long),
            Rules(may_release=lambda *_: True),
            Rules(reads_stand=however_long, waits_for_note=False, notes_fail=False),
        ],
        3,
    ),
    ids=["believe every read", "however long it took", "release without a note", "and write before it stands"],
)
def test_without_any_of_the_rules_one_does(broken: Rules) -> None:
    """So the search finds what it is meant to find."""
    wrong, _ = explore((TICK,), (FORCE,), broken)
    assert "a spent refresh token was sent" in wrong


def test_where_notes_are_written_the_clock_is_not_needed() -> None:
    """Two lines of defence: a holder that writes only once its note stands is seen however long a reading took."""
    wrong, _ = explore((TICK,), (FORCE,), Rules(reads_stand=however_long, notes_fail=False))
    assert wrong == set()
