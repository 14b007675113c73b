"""The last attempts of a connection: one tale of failures, successes and revocations, newest first."""

from refresher.policy.attempts import REMEMBERED, Attempt, last_attempts, with_failure
from tests.factories import HOUR, MINUTE, NOON

FAILED = tuple(Attempt(NOON - number * MINUTE, f"cause_{'abc'[number]}") for number in range(3))


def test_a_failure_comes_before_the_others() -> None:
    new = Attempt(NOON + MINUTE, "new")
    assert with_failure(FAILED, new.at, "new", counts=True) == (new, *FAILED)


def test_one_of_the_same_tick_stands_in_the_place_of_the_last() -> None:
    new = Attempt(NOON + MINUTE, "new")
    assert with_failure(FAILED, new.at, "new", counts=False) == (new, *FAILED[1:])
    assert with_failure((), new.at, "new", counts=False) == (new,)


def test_successes_and_revocations_stand_among_the_failures_where_they_belong() -> None:
    tale = last_attempts(FAILED, [NOON - HOUR, NOON - MINUTE / 2], revoked_at=NOON + HOUR)
    assert [(each.at, each.code) for each in tale] == [
        (NOON + HOUR, "revoked"),
        (NOON, "cause_a"),
        (NOON - MINUTE / 2, "refreshed"),
        (NOON - MINUTE, "cause_b"),
        (NOON - 2 * MINUTE, "cause_c"),
        (NOON - HOUR, "refreshed"),
    ]


def test_only_the_newest_are_told() -> None:
    tale = last_attempts(FAILED, [NOON - number * HOUR for number in range(1, 9)])
    assert [each.at for each in tale] == sorted((each.at for each in tale), reverse=True)
    assert len(tale) == REMEMBERED
    assert tale[-1].at == NOON - 3 * HOUR
