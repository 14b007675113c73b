"""The rules of how often a password is sent: bounded while it is refused, and not given up for a passing fault."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from refresher.model.causes import Cause
from refresher.model.errors import TokenEndpointError
from refresher.policy.password_gate import PAUSE, TRIES, PasswordRefusals
from tests.factories import MINUTE, NOON, SECOND

NONE = PasswordRefusals(version="p1")
GENERIC = TokenEndpointError("for the test", cause=Cause.ACCESS_DENIED)


def refused(count: int) -> PasswordRefusals:
    """So many refusals of version p1, the last one at noon."""
    return replace(NONE, count=count, tried_at=NOON)


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
        ],
    )
    def test_a_pause_says_its_end(self, held: PasswordRefusals, until: datetime | None) -> None:
        assert held.paused_until == until

    def test_what_does_not_say_when_is_no_reason_to_wait(self) -> None:
        assert replace(refused(2), tried_at=None).is_open(NOON)

    def test_the_figures_that_the_documents_name(self) -> None:
        assert (4, timedelta(minutes=30)) == (TRIES, PAUSE)

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


class TestCounting:
    """A try counts before it is sent; the answer may take that back."""

    def test_a_try_counts_before_it_is_sent(self) -> None:
        assert NONE.before_try(NOON) == refused(1)
        assert refused(1).before_try(NOON) == refused(2)

    @pytest.mark.parametrize("cause", [Cause.ACCESS_DENIED, Cause.REQUEST_REFUSED, Cause.UNSUPPORTED_GRANT_TYPE])
    def test_a_refusal_stays_counted(self, cause: Cause) -> None:
        assert refused(2).after_error(NONE, TokenEndpointError("", cause=cause)) == refused(2)

    @pytest.mark.parametrize("cause", [Cause.INSTANCE_TIMEOUT, Cause.INSTANCE_ERROR, Cause.INVALID_CLIENT])
    @pytest.mark.parametrize("untried", [NONE, refused(1), refused(2)])
    def test_what_says_nothing_of_the_password_leaves_no_trace(self, cause: Cause, untried: PasswordRefusals) -> None:
        tried = untried.before_try(NOON + 7 * MINUTE)
        assert tried.after_error(untried, TokenEndpointError("", cause=cause)) == untried

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
