"""How often a password is sent: bounded while it is refused, and still there when a fault that refused all is over."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from refresher.errors import Cause, TokenEndpointError
from refresher.password_gate import (
    PAUSE,
    TRIES,
    Gate,
    after_error,
    after_refresh,
    before_try,
    gate_of,
    in_doubt,
    paused_until,
)
from refresher.record import RefreshRecord
from tests.factories import MINUTE, NOON, SECOND

NEVER = RefreshRecord()
REFUSED = TokenEndpointError("for the test", cause=Cause.ACCESS_DENIED)


def refused(times: int, *, doubtful: int = 0) -> RefreshRecord:
    """The record after so many refusals of version p1, the last one at noon."""
    return NEVER.with_password_refusals("p1", times, in_doubt=doubtful, tried_at=NOON)


class TestGate:
    """Three refusals in a row shut it; between the second and the third try lies half an hour."""

    @pytest.mark.parametrize(
        ("refusals", "after", "gate"),
        [
            (0, 0 * MINUTE, Gate.OPEN),
            (1, 0 * MINUTE, Gate.OPEN),
            (2, 0 * MINUTE, Gate.PAUSED),
            (2, PAUSE - SECOND, Gate.PAUSED),
            (2, PAUSE, Gate.OPEN),
            (2, -SECOND, Gate.OPEN),
            (3, 0 * MINUTE, Gate.SHUT),
            (3, 365 * 24 * 60 * MINUTE, Gate.SHUT),
            (9, PAUSE, Gate.SHUT),
        ],
    )
    def test_by_refusals_and_the_time_since_the_last(self, refusals: int, after: timedelta, gate: Gate) -> None:
        assert gate_of(refused(refusals), "p1", NOON + after) is gate

    @pytest.mark.parametrize("version", ["p2", None])
    def test_another_version_is_not_judged_by_it(self, version: str | None) -> None:
        assert gate_of(refused(3), version, NOON) is Gate.OPEN

    def test_a_record_that_does_not_say_when_is_no_reason_to_wait(self) -> None:
        assert gate_of(replace(refused(2), password_tried_at=None), "p1", NOON) is Gate.OPEN
        assert paused_until(NEVER) is None
        assert paused_until(refused(2)) == NOON + timedelta(minutes=30)


class TestCounting:
    """A try counts before it is sent; the answer may take that back."""

    def test_a_try_counts_before_it_is_sent(self) -> None:
        assert before_try(NEVER, "p1", NOON) == refused(1)
        assert before_try(refused(1, doubtful=1), "p1", NOON) == refused(2, doubtful=1)

    def test_a_new_version_begins_anew(self) -> None:
        record = before_try(refused(3, doubtful=3), "p2", NOON)
        assert (record.password_refusals_of("p1"), record.password_refusals_of("p2")) == (0, 1)
        assert record.password_refusals_in_doubt == 0

    @pytest.mark.parametrize("cause", [Cause.ACCESS_DENIED, Cause.REQUEST_REFUSED, Cause.UNSUPPORTED_GRANT_TYPE])
    def test_a_refusal_stays_counted(self, cause: Cause) -> None:
        record = before_try(refused(1), "p1", NOON)
        assert after_error(record, refused(1), "p1", TokenEndpointError("", cause=cause)) == refused(2)

    @pytest.mark.parametrize("cause", [Cause.INSTANCE_TIMEOUT, Cause.INSTANCE_ERROR, Cause.INVALID_CLIENT])
    @pytest.mark.parametrize("untried", [NEVER, refused(1), refused(2, doubtful=1)])
    def test_what_says_nothing_of_the_password_leaves_no_trace(self, cause: Cause, untried: RefreshRecord) -> None:
        record = before_try(untried, "p1", NOON + 7 * MINUTE)
        assert after_error(record, untried, "p1", TokenEndpointError("", cause=cause)) == untried

    def test_a_definite_refusal_shuts_the_gate_at_once(self) -> None:
        record = before_try(NEVER, "p1", NOON)
        error = TokenEndpointError("", cause=Cause.INVALID_GRANT)
        assert after_error(record, NEVER, "p1", error) == refused(TRIES)


class TestDoubt:
    """What refused the refresh token as well is no judge, once that token works again."""

    DOUBTED = refused(3, doubtful=2).with_refresh_token_refusals("r1", 3)

    def test_a_refresh_token_that_works_again_takes_the_doubtful_refusals_with_it(self) -> None:
        assert after_refresh(self.DOUBTED, "r1") == refused(1).with_refresh_token_refusals("r1", 3)

    @pytest.mark.parametrize("version", ["r2", None])
    def test_another_refresh_token_proves_nothing(self, version: str | None) -> None:
        after = after_refresh(self.DOUBTED, version)
        assert (after.password_refusals, after.password_refusals_in_doubt) == (3, 0)
        assert gate_of(after, "p1", NOON) is Gate.SHUT

    def test_a_refresh_token_that_was_not_refused_proves_nothing(self) -> None:
        assert after_refresh(refused(2), "r1") == refused(2)

    @given(st.lists(st.booleans(), max_size=9))
    def test_no_more_is_forgotten_than_was_in_doubt(self, refusals: list[bool]) -> None:
        record = NEVER
        for doubtful in refusals:
            record = before_try(record, "p1", NOON)
            record = after_error(record, NEVER, "p1", REFUSED)
            record = in_doubt(record) if doubtful else record
        left = after_refresh(record.with_refresh_token_refusals("r1", 1), "r1")
        assert left.password_refusals == refusals.count(False)
