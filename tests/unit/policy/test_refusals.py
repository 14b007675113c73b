"""What a request for a token leaves in the record: every grant with every error, and what comes before and after."""

from dataclasses import replace

import pytest

from refresher.model.causes import Cause
from refresher.model.errors import TokenEndpointError
from refresher.model.grants import UNATTENDED, Grant
from refresher.model.stored import StoredAccessToken, StoredRefreshToken
from refresher.policy.due import Urgency
from refresher.policy.password_gate import TRIES, PasswordRefusals
from refresher.policy.record import ATTEMPT_STARTED, RefreshRecord
from refresher.policy.refusals import (
    Sent,
    after_refusal,
    after_success,
    before_try,
    may_rotate,
    refusals_tolerated,
)
from tests.factories import HOUR, MINUTE, NOON, SECOND, refresh_token, stored_access_token
from tests.sampling import thinned

CLEAN = RefreshRecord()
ROTATES = RefreshRecord(rotates=True)
REFUSED_ONCE = CLEAN.with_refresh_token_refusals("r1", 1)
PASSWORD_REFUSED = RefreshRecord(password=PasswordRefusals(version="p1", count=1, tried_at=NOON))
HELD = replace(REFUSED_ONCE.with_spent_refresh_token("r1"), password=PASSWORD_REFUSED.password)
REFUSALS = [Cause.ACCESS_DENIED, Cause.INVALID_GRANT, Cause.UNSUPPORTED_GRANT_TYPE, Cause.REQUEST_REFUSED]
FAULTS = [
    Cause.INVALID_CLIENT,
    Cause.INSTANCE_UNREACHABLE,
    Cause.INSTANCE_TIMEOUT,
    Cause.INSTANCE_THROTTLED,
    Cause.INSTANCE_ERROR,
    Cause.INSTANCE_HIBERNATING,
    Cause.NOT_A_TOKEN,
]
"""What says nothing of the grant: the record stays as it was before the try."""


def sent(grant: Grant) -> Sent:
    """A request of a connection that has everything."""
    return Sent(grant=grant, refresh_token="r1", password="p1")


def refuse(
    record: RefreshRecord, grant: Grant, cause: Cause, *, answer_lost: bool = False
) -> tuple[RefreshRecord, Cause | None]:
    """The record after that error, and the cause where a person must act."""
    error, tried = TokenEndpointError("for the test", cause=cause), before_try(record, sent(grant), NOON)
    return after_refusal(tried, sent(grant), error, untried=record.password, answer_lost=answer_lost)


class TestAfterRefusal:
    """One table: grant by error."""

    @pytest.mark.parametrize("record", thinned([CLEAN, ROTATES, REFUSED_ONCE, PASSWORD_REFUSED], 2))
    @pytest.mark.parametrize("cause", thinned(FAULTS, 4))
    @pytest.mark.parametrize("grant", UNATTENDED)
    def test_a_fault_is_held_against_nothing(self, grant: Grant, cause: Cause, record: RefreshRecord) -> None:
        after, person = refuse(record, grant, cause)
        assert (replace(after, password=record.password).memory, person) == (record.memory, None)

    def test_but_a_password_may_have_been_refused(self) -> None:
        after, _ = refuse(CLEAN, Grant.PASSWORD, Cause.INSTANCE_ERROR)
        assert after.password == PasswordRefusals(version="p1", unclear=1, tried_at=NOON)

    @pytest.mark.parametrize("cause", [*REFUSALS, *FAULTS])
    @pytest.mark.parametrize("grant", [Grant.CLIENT_CREDENTIALS, Grant.JWT_BEARER])
    def test_what_nobody_can_lose_leaves_no_trace(self, grant: Grant, cause: Cause) -> None:
        assert refuse(HELD, grant, cause) == (HELD, None)

    @pytest.mark.parametrize(
        ("before", "cause", "count", "asks"),
        [
            (0, Cause.ACCESS_DENIED, 1, None),
            (1, Cause.ACCESS_DENIED, 2, Cause.REFRESH_TOKEN_REFUSED),
            (5, Cause.ACCESS_DENIED, 6, Cause.REFRESH_TOKEN_REFUSED),
            (0, Cause.INVALID_GRANT, 1, Cause.REFRESH_TOKEN_REFUSED),
            (0, Cause.UNSUPPORTED_GRANT_TYPE, 1, None),
            (0, Cause.REQUEST_REFUSED, 1, None),
            (1, Cause.REQUEST_REFUSED, 2, Cause.REFRESH_TOKEN_REFUSED),
            (1, Cause.INVALID_CLIENT, 1, None),
        ],
    )
    def test_of_the_refresh_token(self, before: int, cause: Cause, count: int, asks: Cause | None) -> None:
        record = CLEAN.with_refresh_token_refusals("r1", before)
        after, person = refuse(record, Grant.REFRESH_TOKEN, cause)
        assert (after, person) == (CLEAN.with_refresh_token_refusals("r1", count), asks)

    def test_refusals_of_another_refresh_token_do_not_count(self) -> None:
        after, person = refuse(CLEAN.with_refresh_token_refusals("r0", 5), Grant.REFRESH_TOKEN, Cause.ACCESS_DENIED)
        assert (after, person) == (REFUSED_ONCE, None)

    @pytest.mark.parametrize(
        ("before", "cause", "count", "asks"),
        [
            (0, Cause.ACCESS_DENIED, 1, None),
            (TRIES - 2, Cause.ACCESS_DENIED, TRIES - 1, None),
            (TRIES - 1, Cause.ACCESS_DENIED, TRIES, Cause.PASSWORD_REFUSED),
            (0, Cause.INVALID_GRANT, TRIES, Cause.PASSWORD_REFUSED),
            (0, Cause.REQUEST_REFUSED, 1, None),
            (0, Cause.UNSUPPORTED_GRANT_TYPE, 1, None),
        ],
    )
    def test_of_the_password(self, before: int, cause: Cause, count: int, asks: Cause | None) -> None:
        record = RefreshRecord(password=PasswordRefusals(version="p1", count=before))
        after, person = refuse(record, Grant.PASSWORD, cause)
        assert after.password == PasswordRefusals(version="p1", count=count, tried_at=NOON)
        assert person is asks

    @pytest.mark.parametrize(
        ("record", "answer_lost", "cause", "spent", "asks"),
        [
            (ROTATES, True, Cause.ACCESS_DENIED, "r1", None),
            (ROTATES.with_refresh_token_refusals("r1", 1), True, Cause.ACCESS_DENIED, "r1", Cause.ROTATED_TOKEN_LOST),
            (ROTATES, True, Cause.INVALID_GRANT, "r1", Cause.ROTATED_TOKEN_LOST),
            (ROTATES, True, Cause.INSTANCE_TIMEOUT, "r1", None),
            (ROTATES, False, Cause.ACCESS_DENIED, None, None),
            (ROTATES.with_spent_refresh_token("r1"), False, Cause.INSTANCE_ERROR, None, None),
            (CLEAN, True, Cause.ACCESS_DENIED, None, None),
        ],
    )
    def test_a_rotated_token_whose_answer_was_lost(
        self, record: RefreshRecord, answer_lost: bool, cause: Cause, spent: str | None, asks: Cause | None
    ) -> None:
        """One generic 401 says nothing: a person is asked for when it is repeated in the next run."""
        after, person = refuse(record, Grant.REFRESH_TOKEN, cause, answer_lost=answer_lost)
        assert (after.spent_refresh_token_version, person) == (spent, asks)


BY_REFRESH = stored_access_token(grant=Grant.REFRESH_TOKEN)
LONG_STORED = refresh_token()._replace(stored_at=NOON - HOUR)


@pytest.mark.parametrize(
    ("held", "token", "record", "expected"),
    [
        (LONG_STORED, BY_REFRESH, CLEAN, False),
        (LONG_STORED, BY_REFRESH, ROTATES, True),
        (None, BY_REFRESH, CLEAN, True),
        (LONG_STORED, None, CLEAN, True),
        (LONG_STORED, BY_REFRESH._replace(expires_at=None), CLEAN, True),
        (LONG_STORED, BY_REFRESH._replace(grant=Grant.PASSWORD), CLEAN, True),
        (LONG_STORED, BY_REFRESH._replace(grant=None), CLEAN, True),
        (LONG_STORED._replace(stored_at=None), BY_REFRESH, CLEAN, True),
        # Stored beside the token that came with it: their clocks are two.
        (LONG_STORED._replace(stored_at=NOON - 5 * MINUTE), BY_REFRESH, CLEAN, True),
        (LONG_STORED._replace(stored_at=NOON - 5 * MINUTE - SECOND), BY_REFRESH, CLEAN, False),
        (LONG_STORED._replace(stored_at=NOON + MINUTE), BY_REFRESH, CLEAN, True),
    ],
)
def test_a_refresh_token_may_rotate_until_it_yielded_a_token_and_stayed(
    held: StoredRefreshToken | None, token: StoredAccessToken | None, record: RefreshRecord, *, expected: bool
) -> None:
    assert may_rotate(held, token, record) is expected


class TestBeforeTry:
    """What a crash in the middle of a request must leave behind."""

    @pytest.mark.parametrize("grant", [Grant.REFRESH_TOKEN, Grant.CLIENT_CREDENTIALS, Grant.JWT_BEARER])
    def test_where_nothing_is_at_stake_nothing_is_written(self, grant: Grant) -> None:
        assert before_try(PASSWORD_REFUSED, sent(grant), NOON) == PASSWORD_REFUSED

    def test_a_password_counts_as_refused(self) -> None:
        after = before_try(PASSWORD_REFUSED, sent(Grant.PASSWORD), NOON)
        assert after.password == PasswordRefusals(version="p1", count=2, tried_at=NOON)
        assert (after.last_outcome, after.last_attempt_at) == (ATTEMPT_STARTED, NOON)

    def test_the_user_whose_password_it_is_goes_with_it(self) -> None:
        after = before_try(CLEAN, sent(Grant.PASSWORD)._replace(user="mark"), NOON)
        assert after.password == PasswordRefusals(version="p1", count=1, tried_at=NOON, user="mark")

    def test_a_password_that_nobody_stored_is_nobodys(self) -> None:
        assert before_try(CLEAN, Sent(grant=Grant.PASSWORD), NOON) == CLEAN

    def test_a_refresh_token_that_rotates_counts_as_spent(self) -> None:
        after = before_try(ROTATES, sent(Grant.REFRESH_TOKEN), NOON)
        assert (after.spent_refresh_token_version, after.last_outcome) == ("r1", ATTEMPT_STARTED)
        assert after.last_attempt_at == NOON


class TestAfterSuccess:
    """What was held against a grant is forgotten, and nothing else."""

    def test_of_the_refresh_token(self) -> None:
        assert after_success(HELD, sent(Grant.REFRESH_TOKEN)) == PASSWORD_REFUSED

    def test_of_the_password(self) -> None:
        assert after_success(HELD, sent(Grant.PASSWORD)) == replace(HELD, password=PasswordRefusals())

    @pytest.mark.parametrize("grant", [Grant.CLIENT_CREDENTIALS, Grant.JWT_BEARER])
    def test_of_another(self, grant: Grant) -> None:
        assert after_success(HELD, sent(grant)) == HELD


@pytest.mark.parametrize(
    ("grant", "refusals", "urgency", "tolerated"),
    [
        (Grant.REFRESH_TOKEN, 0, Urgency.ADVISORY, 2),
        (Grant.REFRESH_TOKEN, 1, Urgency.ADVISORY, 0),
        (Grant.REFRESH_TOKEN, 6, Urgency.MANDATORY, 2),
        (Grant.REFRESH_TOKEN, 7, Urgency.MANDATORY, 0),
        (Grant.PASSWORD, 0, Urgency.MANDATORY, 0),
        (Grant.CLIENT_CREDENTIALS, 7, Urgency.ADVISORY, 2),
        (Grant.JWT_BEARER, 7, Urgency.ADVISORY, 2),
    ],
)
def test_how_often_the_generic_refusal_is_met_with_another_try(
    grant: Grant, refusals: int, urgency: Urgency, tolerated: int
) -> None:
    record = CLEAN.with_refresh_token_refusals("r1", refusals)
    assert refusals_tolerated(record, sent(grant), urgency) == tolerated


@pytest.mark.parametrize(
    ("ticks", "cause", "urgency", "tolerated"),
    [
        (0, Cause.ACCESS_DENIED, Urgency.MANDATORY, 2),
        (1, Cause.ACCESS_DENIED, Urgency.ADVISORY, 0),
        (1, Cause.ACCESS_DENIED, Urgency.MANDATORY, 1),
        (6, Cause.REQUEST_REFUSED, Urgency.MANDATORY, 1),
        (7, Cause.ACCESS_DENIED, Urgency.MANDATORY, 0),
        (7, Cause.INSTANCE_ERROR, Urgency.MANDATORY, 2),
    ],
)
@pytest.mark.parametrize("grant", [Grant.CLIENT_CREDENTIALS, Grant.JWT_BEARER])
def test_what_ticks_before_refused_is_asked_twice_and_then_once(
    grant: Grant, ticks: int, cause: Cause, urgency: Urgency, tolerated: int
) -> None:
    record = replace(CLEAN, consecutive_failures=ticks, last_cause=cause)
    assert refusals_tolerated(record, sent(grant), urgency) == tolerated
