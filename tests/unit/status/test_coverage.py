"""Which stretches of time had a token, and the day that a tag remembers."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st

from refresher.status.lives import REMEMBERED, cells, gaps, recall, remember, union
from sandbox import Sandbox
from tests.conftest import MakeApp, tick

NOON = datetime(2026, 1, 5, 12, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return NOON + timedelta(minutes=minutes)


lives = st.lists(
    st.tuples(st.integers(-2000, 2000), st.integers(0, 300)).map(lambda each: (at(each[0]), at(each[0] + each[1])))
)


@given(lives)
def test_gaps_and_lives_fill_the_time_without_overlapping(spans: list[tuple[datetime, datetime]]) -> None:
    since, until = at(-1000), at(1000)
    uncovered = gaps(spans, since, until)
    covered = [(max(begins, since), min(ends, until)) for begins, ends in union(spans)]
    total = sum(((ends - begins) for begins, ends in (*uncovered, *covered) if ends > begins), timedelta())
    assert total == until - since
    assert all(before[1] < after[0] for before, after in pairwise(uncovered))


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 9000)), max_size=80))
def test_a_tag_recalls_the_last_day_whatever_happened(steps: list[tuple[int, int]]) -> None:
    """Written at each refresh, it tells of the tokens before, as far as a day and 256 characters reach."""
    issued, tag, known = NOON, None, []
    life = (issued, issued + timedelta(hours=1))
    for wait, lived in steps:
        following = issued + timedelta(minutes=wait)
        tag = remember(tag, life, following)
        known.append(life)
        assert len(tag) <= 256
        recalled = recall(tag, following)
        assert list(recalled) == known[len(known) - len(recalled) :]
        assert recalled
        assert all(each[0] >= following - REMEMBERED for each in recalled[:-1]) or len(recalled) == 1
        issued, life = following, (following, following + timedelta(minutes=lived))


@given(st.text(max_size=300))
def test_a_tag_that_a_person_edited_is_no_error(tag: str) -> None:
    for begins, ends in recall(tag, NOON):
        assert begins <= ends
        assert begins <= NOON
    assert remember(tag, (at(-50), at(10)), NOON).startswith("50/60")


def test_cells_are_covered_throughout_or_not_at_all() -> None:
    spans = [(at(0), at(30)), (at(31), at(60))]
    assert cells(spans, at(0), at(60), 4) == (True, True, False, True)


@pytest.mark.exhaustive
@pytest.mark.wire("any")
def test_a_day_of_refreshes_is_known_after_one_read(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    app = make_app()
    for _ in range(32):
        tick(app)
        sandbox.clock.advance(timedelta(minutes=50))
    (status,) = app.status()
    now = sandbox.clock.now()
    assert gaps(status.lives, now - timedelta(hours=23), now) == ()
    assert len(status.lives) == 29  # 28 times 50 minutes are the last that fit into a day, and the current one
    sandbox.clock.advance(timedelta(minutes=40))
    tick(app)
    (status,) = app.status()
    ((begins, ends),) = gaps(status.lives, now, sandbox.clock.now())
    assert timedelta(minutes=29) <= ends - begins <= timedelta(minutes=31)
