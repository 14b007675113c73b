"""The rules of how often a password is sent: bounded while it is refused, and not given up for a passing fault."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from refresher.model.causes import Cause
from refresher.model.errors import TokenEndpointError
from refresher.policy.password_gate import LONG_PAUSE, PAUSE, TRIES, PasswordRefusals
from tests.factories import MINUTE, NOON, SECOND

NONE = PasswordRefusals(version="p1")
GENERIC = TokenEndpointError("for the test", cause=Cause.ACCESS_DENIED)


def refused(count: int) -> PasswordRefusals:
    """So many refusals of version p1, the last one at noon."""
    return replace(NONE, count=count, tried_at=NOON)


def unclear(count: int) -> PasswordRefusals:
    """So many tries that were not answered in clear, the last one at noon."""
    return replace(NONE, unclear=count, tried_at=NOON)


class TestGate:
    """Two tries at once, two more after half an hour each, and none after that."""

    @pytest.mark.parametrize(
        ("held", "after", "is_open", "shut"),
        [
            (NONE, 0 * MINUTE, True, False),
            (refused(1), 0 * MINUTE, True, False),
            (refused(2), 0 * MINUTE, False, False),
            (refused(2), PAUSE - SECOND, False, False),
            (refused(2), PAUSE, True, False),
            (refused(2), -SECOND, True, False),
            (refused(3), PAUSE - SECOND, False, False),
            (refused(3), PAUSE, True, False),
            (refused(4), 0 * MINUTE, False, True),
            (refused(4), 365 * 24 * 60 * MINUTE, False, True),
            (refused(9), PAUSE, False, True),
            (unclear(1), 0 * MINUTE, True, False),
            (unclear(2), PAUSE - SECOND, False, False),
            (unclear(3), PAUSE, True, False),
            (unclear(4), LONG_PAUSE - SECOND, False, False),
            (unclear(4), LONG_PAUSE, True, False),
            (unclear(9), LONG_PAUSE, True, False),
            (replace(unclear(2), count=1), PAUSE, True, False),
            (replace(unclear(3), count=1), LONG_PAUSE, False, True),
        ],
    )
    def test_by_what_is_held_against_it_and_the_time_since(
        self, held: PasswordRefusals, after: timedelta, is_open: bool, shut: bool
    ) -> None:
        assert (held.is_open(NOON + after), held.shut) == (is_open, shut)

    @pytest.mark.parametrize(
        ("held", "until"),
        [
            (NONE, None),
            (refused(1), None),
            (refused(2), NOON + PAUSE),
            (refused(3), NOON + PAUSE),
            (refused(4), None),
            (unclear(1), None),
            (unclear(2), NOON + PAUSE),
            (unclear(4), NOON + LONG_PAUSE),
            (replace(unclear(3), count=1), None),
        ],
    )
    def test_a_pause_says_its_end(self, held: PasswordRefusals, until: datetime | None) -> None:
        assert held.paused_until == until

    @pytest.mark.parametrize(
        ("held", "after", "asks"),
        [
            (refused(2), PAUSE, False),
            (unclear(1), 0 * MINUTE, True),
            (replace(refused(1), unclear=1), LONG_PAUSE - SECOND, True),
            (unclear(1), LONG_PAUSE, False),
            (replace(unclear(1), tried_at=None), 0 * MINUTE, False),
        ],
    )
    def test_after_an_unclear_answer_the_way_is_asked_for_first(
        self, held: PasswordRefusals, after: timedelta, *, asks: bool
    ) -> None:
        assert held.asks_the_way(NOON + after) is asks

    def test_what_does_not_say_when_is_no_reason_to_wait(self) -> None:
        assert replace(refused(2), tried_at=None).is_open(NOON)

    def test_the_figures_that_the_documents_name(self) -> None:
        assert (4, timedelta(minutes=30), timedelta(hours=6)) == (TRIES, PAUSE, LONG_PAUSE)

    @pytest.mark.parametrize("version", ["p2", None])
    def test_another_version_is_not_judged_by_it(self, version: str | None) -> None:
        held = refused(3)
        assert held.of("p1") == held
        assert held.of(version) == PasswordRefusals(version=version)

    @pytest.mark.parametrize("recorded", ["p1.u1.c1", "p1"])
    def test_what_is_judged_together_is_known_by_all_versions_or_as_once_by_the_passwords(self, recorded: str) -> None:
        held = replace(refused(3), version=recorded, user="mark")
        assert held.of("p1.u1.c1") == replace(held, version="p1.u1.c1")
        assert held.of("p2.u1.c1") == PasswordRefusals(version="p2.u1.c1")

    def test_a_try_says_for_whom(self) -> None:
        assert NONE.before_try(NOON, "mark") == replace(NONE, count=1, tried_at=NOON, user="mark")

    def test_no_version_is_none_of_another(self) -> None:
        assert replace(refused(3), version=None).of(None) == PasswordRefusals()


class TestSharedUser:
    """What other connections met counts together, since the password last worked."""

    @pytest.mark.parametrize(
        ("tried_at", "since", "counts"),
        [
            (NOON - MINUTE, None, True),
            (NOON - MINUTE, NOON - 2 * MINUTE, True),
            (NOON - 2 * MINUTE, NOON - MINUTE, False),
            (NOON + MINUTE, NOON - MINUTE, True),
            (NOON + timedelta(days=365), None, False),
            (NOON + timedelta(days=365), NOON - MINUTE, False),
            (None, None, False),
        ],
    )
    def test_but_no_try_of_a_year_to_come(
        self, tried_at: datetime | None, since: datetime | None, *, counts: bool
    ) -> None:
        """Of somebody whose clock was wrong: no success would ever be later."""
        other = replace(refused(TRIES - 1), tried_at=tried_at)
        assert refused(1).with_others([other], since, NOON).shut is counts

    @pytest.mark.parametrize(
        ("tried_at", "vault_ahead", "counts"),
        [
            (NOON - 11 * MINUTE, 10 * MINUTE, True),
            (NOON - 12 * MINUTE, 10 * MINUTE, False),
            (NOON + timedelta(days=365), -timedelta(days=365), True),
            (NOON + timedelta(days=365), -timedelta(days=365) - 2 * MINUTE, False),
            (datetime.min.replace(tzinfo=UTC), -timedelta(days=365_000), False),
        ],
    )
    def test_when_a_try_was_is_told_by_the_vaults_clock(
        self, tried_at: datetime, vault_ahead: timedelta, *, counts: bool
    ) -> None:
        """Since passwords are dated by that one."""
        other = replace(refused(TRIES - 1), tried_at=tried_at, vault_ahead=vault_ahead)
        assert refused(1).with_others([other], NOON - MINUTE, NOON).shut is counts

    @pytest.mark.parametrize(
        ("tried_at", "count", "counts"),
        [
            (NOON - LONG_PAUSE + SECOND, 0, True),
            (NOON - LONG_PAUSE, 0, False),
            (NOON - LONG_PAUSE, 1, True),
        ],
    )
    def test_what_was_unclear_to_them_counts_for_hours_or_with_a_refusal(
        self, tried_at: datetime, count: int, *, counts: bool
    ) -> None:
        other = replace(unclear(2), tried_at=tried_at, count=count)
        together = NONE.with_others([other], None, NOON)
        assert (together.unclear, together.tried_at) == ((2, tried_at) if counts else (0, None))


class TestCounting:
    """A try counts before it is sent; the answer may take that back."""

    def test_a_try_counts_before_it_is_sent(self) -> None:
        assert NONE.before_try(NOON) == refused(1)
        assert refused(1).before_try(NOON) == refused(2)

    @pytest.mark.parametrize("cause", [Cause.ACCESS_DENIED, Cause.REQUEST_REFUSED, Cause.UNSUPPORTED_GRANT_TYPE])
    def test_a_refusal_stays_counted(self, cause: Cause) -> None:
        assert refused(2).after_error(NONE, TokenEndpointError("", cause=cause)) == refused(2)

    @pytest.mark.parametrize("untried", [NONE, refused(1), refused(2)])
    @pytest.mark.parametrize(
        "error",
        [
            TokenEndpointError("", cause=Cause.INVALID_CLIENT),
            TokenEndpointError("", cause=Cause.INSTANCE_HIBERNATING),
            TokenEndpointError("", cause=Cause.INSTANCE_UNREACHABLE, sent=False),
        ],
        ids=["client", "asleep", "not sent"],
    )
    def test_what_nobody_looked_at_leaves_no_trace(self, error: TokenEndpointError, untried: PasswordRefusals) -> None:
        assert untried.before_try(NOON + 7 * MINUTE).after_error(untried, error) == untried

    @pytest.mark.parametrize("cause", [Cause.INSTANCE_TIMEOUT, Cause.INSTANCE_ERROR, Cause.NOT_A_TOKEN])
    @pytest.mark.parametrize("untried", [NONE, refused(1), replace(refused(1), unclear=2)])
    def test_what_was_sent_and_not_answered_in_clear_counts_beside_the_refusals(
        self, cause: Cause, untried: PasswordRefusals
    ) -> None:
        after = untried.before_try(NOON + MINUTE, "mark").after_error(untried, TokenEndpointError("", cause=cause))
        assert after == replace(untried, unclear=untried.unclear + 1, tried_at=NOON + MINUTE, user="mark")

    def test_a_definite_refusal_shuts_the_gate_at_once(self) -> None:
        error = TokenEndpointError("", cause=Cause.INVALID_GRANT)
        assert refused(2).after_error(NONE, error) == refused(TRIES)


class TestLockOut:
    """ServiceNow locks a user at five failed logins in a row."""

    @given(st.lists(st.sampled_from([0, 1, 5, 30, 10_000])))
    def test_whenever_it_is_tried_it_is_sent_four_times_at_most(self, waits: list[int]) -> None:
        held, sent, now = NONE, 0, NOON
        for minutes in waits:
            now += minutes * MINUTE
            if held.is_open(now):
                sent += 1
                held = held.before_try(now).after_error(held, GENERIC)
        assert sent <= 4

    @given(st.lists(st.tuples(st.sampled_from([0, 1, 5, 30, 10_000]), st.booleans())))
    def test_nor_more_often_with_answers_that_do_not_arrive_once_one_did(self, tries: list[tuple[int, bool]]) -> None:
        held, now = NONE, NOON
        for minutes, arrives in tries:
            now += minutes * MINUTE
            if held.is_open(now):
                assert held.count == 0 or held.count + held.unclear < TRIES
                error = GENERIC if arrives else TokenEndpointError("", cause=Cause.INSTANCE_ERROR)
                held = held.before_try(now).after_error(held, error)
