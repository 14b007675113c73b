"""What a status tells of one connection once its token was tried: every field, and what each rests on."""

from datetime import timedelta

import pytest

from refresher.keyvault.found import Overview
from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.report import WarningCode
from refresher.model.stored import KeyLife, StoredAccessToken, TargetState
from refresher.policy.attempts import Attempt
from refresher.policy.record import RefreshRecord
from refresher.servicenow.answers import Probe, Verdict
from refresher.status.connection_status import ConnectionStatus, State
from refresher.status.health import evaluate
from refresher.status.tried import Trial, Tried
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    TIMING,
    connection,
    consumer_side,
    refresh_token,
    stored_access_token,
    target,
)

PLAIN = connection()
TOKEN = stored_access_token(
    accepted_by=PLAIN.probe_mark, grant=Grant.REFRESH_TOKEN, publisher="servicenow of https://v", user_name="a.user"
)
LATER = NOON + 10 * MINUTE


def tried(token: StoredAccessToken, verdict: Verdict, **fields: str) -> Trial:
    """What its instance said of it five seconds ago."""
    return {token.value: Tried(probe=Probe(verdict=verdict, **fields), at=LATER - 5 * SECOND)}


def told(
    token: StoredAccessToken | None = TOKEN,
    *,
    trial: Trial | None = None,
    targets: tuple[TargetState, ...] = (),
    record: RefreshRecord | None = None,
    key: KeyLife | None = None,
    late: timedelta = 10 * MINUTE,
) -> ConnectionStatus:
    side = consumer_side(token, targets=targets, record=record or RefreshRecord())
    found = Overview(side=side, refresh_token=refresh_token(), key=key, fallback_ready=True)
    return evaluate(PLAIN, found, TIMING, NOON + late, trial=trial or {}, untried="--offline")


def test_one_that_works_is_told_with_all_that_is_known() -> None:
    failed = Attempt(NOON - MINUTE, "instance_error")
    found = told(
        trial=tried(TOKEN, Verdict.ACCEPTED, user_name="a.user"),
        record=RefreshRecord(last_attempt_at=NOON - MINUTE, failures=(failed,)),
        key=KeyLife(name="signer", expires_on=NOON + timedelta(days=365)),
    )
    assert (found.state, found.working, found.message) == (State.FRESH, True, "the token works and is fresh")
    assert (found.tried, found.user_name) == (Verdict.ACCEPTED, "a.user")
    assert found.basis == "tried 5 s ago, accepted, acts as a.user"
    assert (found.cause, found.next_step) == (None, None)
    assert found.lives == ((NOON, NOON + HOUR),)
    assert (found.issued_at, found.expires_at) == (NOON, NOON + HOUR)
    assert found.refresh_at == NOON + 50 * MINUTE
    assert found.in_hand is not None
    assert found.in_hand.left == 10 * MINUTE
    assert found.signing_key == KeyLife(name="signer", expires_on=NOON + timedelta(days=365))
    assert (found.last_attempt_at, found.last_outcome) == (NOON, "refreshed")
    assert found.attempts == (Attempt(NOON, "refreshed"), failed)
    assert {each.code for each in found.warnings} == {WarningCode.STOPS_WITHOUT_A_PERSON}


def test_one_that_was_not_tried_says_why_and_whom_it_last_acted_as() -> None:
    found = told()
    assert (found.tried, found.user_name) == (None, "a.user")
    assert found.basis == "by its dates; not tried: --offline"
    assert found.message == "by its dates the token is fresh"


def test_one_that_acts_as_somebody_else_is_told_of() -> None:
    found = told(trial=tried(TOKEN, Verdict.ACCEPTED, user_name="b.user"))
    assert found.user_name == "b.user"
    assert [each.message for each in found.warnings if each.code is WarningCode.USER_CHANGED] == [
        "the token acts as b.user; at the refresh before it acted as a.user"
    ]
    since = told(TOKEN._replace(user_name="b.user", user_before="a.user"))
    assert [each.message for each in since.warnings if each.code is WarningCode.USER_CHANGED] == [
        "the token acts as b.user; before, tokens of servicenow acted as a.user"
    ]


def test_one_that_is_refused_does_not_work_whatever_its_dates_say() -> None:
    found = told(trial=tried(TOKEN, Verdict.REJECTED))
    assert (found.state, found.working, found.cause) == (State.REFUSED, False, Cause.ACCESS_TOKEN_REFUSED)
    assert found.basis == "tried 5 s ago, refused (401)"


def test_one_that_a_probe_refuses_which_never_accepted_any_is_judged_by_its_dates() -> None:
    stranger = TOKEN._replace(accepted_by=None)
    found = told(stranger, trial=tried(stranger, Verdict.REJECTED, remark="401"))
    assert (found.state, found.working) == (State.FRESH, True)
    assert WarningCode.VERIFICATION_REFUSED in {each.code for each in found.warnings}


@pytest.mark.parametrize(
    ("late", "step"),
    [
        (HOUR + 5 * MINUTE, "python -m refresher refresh servicenow --force"),
        (
            HOUR + 5 * MINUTE + SECOND,
            "No tick has refreshed it, and none says why: python -m refresher doctor servicenow",
        ),
    ],
)
def test_one_that_ticks_passed_over_leads_to_doctor(late: timedelta, step: str) -> None:
    found = told(late=late)
    assert (found.state, str(found.next_step)) == (State.EXPIRED, step)


def test_one_that_was_revoked_tells_so_among_its_attempts() -> None:
    found = told(TOKEN._replace(revoked=True, expires_at=NOON + 5 * MINUTE))
    assert (found.state, found.working, found.in_hand) == (State.EXPIRED, False, None)
    assert (found.last_attempt_at, found.last_outcome) == (NOON + 5 * MINUTE, "revoked")
    assert [each.code for each in found.attempts] == ["revoked", "refreshed"]


def test_one_that_came_again_was_refreshed_when_it_was_confirmed() -> None:
    found = told(TOKEN._replace(confirmed_at=NOON + 5 * MINUTE))
    assert [each.at for each in found.attempts] == [NOON + 5 * MINUTE, NOON]
    assert (found.in_hand, found.last_attempt_at) == (None, NOON + 5 * MINUTE)


def test_one_that_lost_its_tags_and_a_copy_of_another_are_warned_of() -> None:
    codes = {each.code for each in told(TOKEN._replace(described=False)).warnings}
    assert WarningCode.TAGS_LOST in codes
    theirs = target(stored_access_token("CANARY-theirs", publisher="other of https://w"))
    codes = {each.code for each in told(targets=(theirs,)).warnings}
    assert WarningCode.TARGET_SHARED in codes


@pytest.mark.parametrize(("failures", "stops"), [(1, True), (2, False)])
def test_what_will_come_of_the_refresh_token_is_no_news_while_refreshing_fails(failures: int, *, stops: bool) -> None:
    record = RefreshRecord(
        last_attempt_at=NOON + 5 * MINUTE,
        last_outcome="kept",
        last_cause="instance_error",
        consecutive_failures=failures,
    )
    found = told(record=record)
    assert found.state is State.FAILING
    assert (found.refresh_token_then is not None) is stops
    assert (WarningCode.STOPS_WITHOUT_A_PERSON in {each.code for each in found.warnings}) is stops


def test_nothing_to_tell_is_told_as_such() -> None:
    found = told(None)
    assert (found.lives, found.in_hand, found.refresh_at, found.attempts) == ((), None, None, ())
    assert (found.state, found.user_name, found.basis) == (State.EXPIRED, None, None)


def test_entra_s_token_is_due_from_half_of_its_life_and_says_nothing_of_lifespans() -> None:
    found = told(TOKEN._replace(grant=Grant.ENTRA_ID), late=40 * MINUTE)
    assert (found.refresh_at, found.in_hand) == (NOON + 40 * MINUTE, None)
