"""When a stored token is tried, and what follows where it is refused: the whole decision, from plain values."""

from datetime import timedelta
from itertools import pairwise

import pytest

from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.report import WarningCode
from refresher.model.stored import StoredAccessToken
from refresher.model.tokens import Secret
from refresher.policy.due import NotDue, Reason, Refresh, Republish, Urgency
from refresher.policy.grants import GrantPlan
from refresher.policy.record import RefreshRecord
from refresher.policy.verify import (
    Consequence,
    after_refusals,
    goes_first,
    insist,
    is_to_be_tried,
    is_tried_each_tick,
    is_unheard,
    refused_without_proof,
    restrain,
    user_before,
    user_changed,
    user_still_changed,
)
from tests.factories import HOUR, MINUTE, NOON, SECOND, TIMING, connection, stored_access_token, target

PLAIN = connection()
MARK = PLAIN.probe_mark


def token(**changes: object) -> StoredAccessToken:
    return stored_access_token(**{"accepted_by": MARK, **changes})


@pytest.mark.parametrize(
    ("age", "stored", "expected"),
    [
        (10 * MINUTE, token(), True),
        (4 * MINUTE + 57 * SECOND, token(), True),  # the next tick after the one that published it
        (3 * MINUTE + 59 * SECOND, token(), False),  # ServiceNow has just accepted it
        (MINUTE, token(accepted_by=None), True),  # published, and never accepted
        (MINUTE, token(accepted_by="another path"), True),
        (-MINUTE, token(), True),  # a wrong clock says nothing
        (31 * MINUTE, token(confirmed_at=NOON + 30 * MINUTE), False),
        (HOUR, token(), False),  # ended
        (10 * MINUTE, token(expires_at=None), False),
        (10 * MINUTE, stored_access_token(""), False),
        (10 * MINUTE, None, False),
    ],
)
def test_a_token_is_tried_while_it_lives_and_was_not_just_accepted(
    age: timedelta, stored: StoredAccessToken | None, *, expected: bool
) -> None:
    assert is_to_be_tried(PLAIN, stored, TIMING, NOON + age, by_timer=True) is expected


@pytest.mark.parametrize("settings", [{"PROBE_PATH": ""}, {"VERIFY_INTERVAL_MINUTES": "0"}])
@pytest.mark.parametrize("by_timer", [True, False])
def test_nothing_is_tried_where_that_was_turned_off(settings: dict[str, str], *, by_timer: bool) -> None:
    assert not is_to_be_tried(connection(**settings), token(), TIMING, NOON + 30 * MINUTE, by_timer=by_timer)


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, True),
        ({"VERIFY_INTERVAL_MINUTES": "5"}, True),
        ({"VERIFY_INTERVAL_MINUTES": "60"}, False),
        ({"VERIFY_INTERVAL_MINUTES": "0"}, False),
        ({"PROBE_PATH": ""}, False),
    ],
)
def test_what_asks_an_instance_is_loaded_ahead_where_each_tick_does(
    settings: dict[str, str], *, expected: bool
) -> None:
    assert is_tried_each_tick(connection(**settings), TIMING) is expected


@pytest.mark.parametrize("minutes", [15, 25, 60, 7, 4, 5])
@pytest.mark.parametrize("late", [0, 1, 119])
def test_the_clock_decides_at_which_ticks_and_each_interval_has_one(minutes: int, late: int) -> None:
    """However late a tick fires, and whatever was kept: nothing is."""
    each = connection(VERIFY_INTERVAL_MINUTES=str(minutes))
    stored = token(accepted_by=None, expires_at=NOON + 48 * HOUR)
    ticks = [NOON + number * 5 * MINUTE for number in range(12 * 24)]
    tried = [at for at in ticks if is_to_be_tried(each, stored, TIMING, at + timedelta(seconds=late), by_timer=True)]
    assert len(tried) == pytest.approx(24 * 60 / max(5, minutes), abs=1)
    gaps = {after - before for before, after in pairwise(tried)}
    assert max(gaps) <= max(minutes, 5) * MINUTE + TIMING.tick
    assert is_to_be_tried(each, stored, TIMING, NOON + 3 * MINUTE, by_timer=False)


def test_connections_with_a_long_interval_are_not_tried_all_at_once() -> None:
    named = connection(VERIFY_INTERVAL_MINUTES="60")
    by_tick: dict[int, int] = {}
    for number in range(120):
        each = named._replace(name=f"c{number}")
        for tick in range(12):
            at = NOON + tick * 5 * MINUTE
            by_tick[tick] = by_tick.get(tick, 0) + is_to_be_tried(each, token(), TIMING, at, by_timer=True)
    assert sum(by_tick.values()) >= 108  # those of the first tick were accepted just before
    assert max(by_tick.values()) < 25


RECENTLY = RefreshRecord(access_token_refused_at=NOON - 49 * MINUTE)
LONG_AGO = RefreshRecord(access_token_refused_at=NOON - 50 * MINUTE)
FROM_THE_FUTURE = RefreshRecord(access_token_refused_at=NOON + MINUTE)


@pytest.mark.parametrize(
    ("settings", "accepted_by", "record", "expected"),
    [
        ({}, MARK, RefreshRecord(), Consequence.REFRESH),
        ({}, MARK, LONG_AGO, Consequence.REFRESH),
        ({}, MARK, FROM_THE_FUTURE, Consequence.REFRESH),
        ({}, MARK, RECENTLY, Consequence.WAIT),
        ({}, MARK, None, Consequence.WAIT),
        ({}, None, RefreshRecord(), Consequence.WARN),
        ({"PROBE_PATH": "/api/now/table/incident"}, MARK, RefreshRecord(), Consequence.WARN),
        ({"SERVICENOW_INSTANCE_URL": "https://y.service-now.com"}, MARK, RefreshRecord(), Consequence.WARN),
        ({"SERVICENOW_GRANT": "password"}, MARK, RefreshRecord(), Consequence.WAIT),
        ({"SERVICENOW_GRANT": "client_credentials"}, MARK, RefreshRecord(), Consequence.REFRESH),
    ],
)
def test_what_follows_two_refusals(
    settings: dict[str, str], accepted_by: str | None, record: RefreshRecord | None, expected: Consequence
) -> None:
    consequence, why = after_refusals(connection(**settings), token(accepted_by=accepted_by), record, TIMING, NOON)
    assert consequence is expected
    assert bool(why) is (expected is Consequence.WAIT)


@pytest.mark.parametrize(
    ("settings", "record", "why"),
    [
        ({"SERVICENOW_GRANT": "password"}, RefreshRecord(), "the grant password is not used for that alone"),
        ({}, None, "whether a refresh for that alone was tried before cannot be read"),
        ({}, RECENTLY, "a refresh for that alone was tried within the last refresh interval"),
    ],
)
def test_why_nothing_follows_is_said(settings: dict[str, str], record: RefreshRecord | None, why: str) -> None:
    assert after_refusals(connection(**settings), token(), record, TIMING, NOON) == (Consequence.WAIT, why)


def test_a_refusal_that_does_not_count_is_warned_of() -> None:
    warning = refused_without_proof(PLAIN)
    assert warning.code is WarningCode.VERIFICATION_REFUSED
    assert warning.message == (
        "ServiceNow refuses the stored token at PROBE_PATH (401), where it never accepted one of this connection: an "
        "access policy, or the token"
    )
    assert warning.hint.startswith("Most likely a REST API access policy or an ACL keeps this user or address out of")
    assert "'PROBE_PATH=/api/now/table/incident?sysparm_limit=1'" in warning.hint


@pytest.mark.parametrize(
    ("refused", "healed", "waiting"),
    [
        ({"a": "x", "b": "x"}, (), {}),
        ({"a": "x", "b": "x", "c": "x"}, (), {"b": "a", "c": "a"}),
        ({"a": "x", "b": "y", "c": "x", "d": "x", "e": "y"}, (), {"c": "a", "d": "a"}),
        ({"a": "x", "b": "x", "c": "x"}, ("x",), {}),
        ({}, (), {}),
    ],
)
def test_of_a_herd_one_goes_first(refused: dict[str, str], healed: tuple[str, ...], waiting: dict[str, str]) -> None:
    assert goes_first(refused, frozenset(healed)) == waiting


NOT_DUE = NotDue(reason=Reason.FRESH, refresh_at=NOON + HOUR)
AGING = Refresh(reason=Reason.ACCESS_TOKEN_AGING, urgency=Urgency.MANDATORY)
AGAIN = Republish(reason=Reason.TARGET_MISSING, targets=(target(None).target,))
BY_REFUSAL = Refresh(reason=Reason.ACCESS_TOKEN_REFUSED, urgency=Urgency.ADVISORY)
VALUE = token().value


@pytest.mark.parametrize(
    ("decision", "refused", "record", "expected"),
    [
        (NOT_DUE, VALUE, RefreshRecord(), BY_REFUSAL),
        (AGAIN, VALUE, RefreshRecord(), BY_REFUSAL),  # a dead token is not worth a copy
        (AGING, VALUE, RefreshRecord(), AGING),  # its dates are the better reason
        (NOT_DUE, Secret("CANARY-older"), RefreshRecord(), NOT_DUE),  # somebody was faster
        (NOT_DUE, None, RefreshRecord(), NOT_DUE),
        (NOT_DUE, VALUE, RECENTLY, NOT_DUE),
        (NOT_DUE, VALUE, LONG_AGO, BY_REFUSAL),
    ],
)
def test_a_refusal_makes_a_refresh_due_that_is_never_urgent(
    decision: NotDue | Republish | Refresh,
    refused: Secret | None,
    record: RefreshRecord,
    expected: NotDue | Republish | Refresh,
) -> None:
    assert insist(decision, token(), refused, record, TIMING, NOON) == expected


@pytest.mark.parametrize(
    ("settings", "planned", "left"),
    [
        ({}, ("refresh_token",), ("refresh_token",)),
        (
            {"SERVICENOW_FALLBACK_GRANT": "password"},
            ("refresh_token", "password"),
            ("refresh_token", "password"),
        ),  # the refresh token's own refusals decide
        (
            {"SERVICENOW_FALLBACK_GRANT": "password"},
            ("password", "refresh_token"),
            ("password", "refresh_token"),
        ),  # by the refresh token's own dates
        ({"SERVICENOW_FALLBACK_GRANT": "password"}, ("password",), ()),
        ({"SERVICENOW_FALLBACK_GRANT": "client_credentials"}, ("client_credentials",), ()),
        ({"SERVICENOW_GRANT": "password"}, ("password",), ()),
        ({"SERVICENOW_GRANT": "client_credentials"}, ("client_credentials",), ("client_credentials",)),
    ],
)
def test_a_refusal_alone_opens_no_fallback_and_sends_no_password(
    settings: dict[str, str], planned: tuple[str, ...], left: tuple[str, ...]
) -> None:
    plan = GrantPlan(grants=tuple(Grant(each) for each in planned))
    assert restrain(plan, connection(**settings)).grants == tuple(Grant(each) for each in left)


@pytest.mark.parametrize(
    ("cause", "refusals", "none"),
    [
        (Cause.ACCESS_DENIED, 0, False),  # another grant's, which condemns nothing
        (Cause.ACCESS_DENIED, 1, True),
        (Cause.ACCESS_DENIED, 2, False),
        (Cause.REFRESH_TOKEN_REFUSED, 1, False),
    ],
)
def test_nor_did_one_decide_after_which_one_more_refusal_condemns(cause: Cause, refusals: int, *, none: bool) -> None:
    assert is_unheard(cause, refusals) is none


def test_a_refresh_that_nobody_heard_was_none() -> None:
    assert [cause for cause in Cause if is_unheard(cause, 0)] == [
        Cause.INSTANCE_UNREACHABLE,
        Cause.INSTANCE_TIMEOUT,
        Cause.INSTANCE_THROTTLED,
        Cause.INSTANCE_ERROR,
        Cause.INSTANCE_HIBERNATING,
    ]


@pytest.mark.parametrize(
    ("was", "before", "now", "by_hand", "remembered"),
    [
        ("a.user", None, "a.user", False, None),
        ("a.user", None, "b.user", False, "a.user"),
        ("a.user", None, "b.user", True, "a.user"),
        ("b.user", "a.user", "b.user", False, "a.user"),
        ("b.user", "a.user", "b.user", True, None),
        ("b.user", "a.user", "c.user", False, "a.user"),
        ("b.user", "a.user", "a.user", False, None),
        ("b.user", "a.user", None, False, "a.user"),
    ],
)
def test_the_user_before_is_remembered_until_it_is_back_or_a_person_refreshes(
    was: str, before: str | None, now: str | None, remembered: str | None, *, by_hand: bool
) -> None:
    assert user_before(token(user_name=was, user_before=before), now, by_hand=by_hand) == remembered


@pytest.mark.parametrize(
    ("before", "now", "warned"),
    [("a.user", "b.user", True), ("a.user", "a.user", False), (None, "b.user", False), ("a.user", None, False)],
)
def test_another_user_is_warned_of(before: str | None, now: str | None, *, warned: bool) -> None:
    warnings = user_changed(token(user_name=before), now)
    assert len(warnings) == warned
    for each in warnings:
        assert each.code is WarningCode.USER_CHANGED
        assert each.message == "the token acts as b.user; at the refresh before it acted as a.user"
        assert each.hint == (
            "See whether that was meant: the user's roles are what consumers may do. Otherwise authorize again."
        )


@pytest.mark.parametrize(
    ("stored", "warned"),
    [
        (token(user_name="b.user", user_before="a.user"), True),
        (token(user_name="b.user"), False),
        (token(user_before="a.user"), False),
        (None, False),
    ],
)
def test_a_change_of_the_user_is_told_of_until_somebody_answers(
    stored: StoredAccessToken | None, *, warned: bool
) -> None:
    warnings = user_still_changed("servicenow", stored)
    assert len(warnings) == warned
    for each in warnings:
        assert each.code is WarningCode.USER_CHANGED
        assert each.message == "the token acts as b.user; before, tokens of servicenow acted as a.user"
        assert each.hint == (
            "Was it meant? Then say so: python -m refresher refresh servicenow --force. "
            "Otherwise correct what was stored."
        )
