"""The decisions: what is due and how urgent, which grants, when to fall back, which token consumers should read."""

import zlib
from datetime import datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from refresher.model.causes import Cause
from refresher.model.errors import TokenEndpointError
from refresher.model.grants import Grant
from refresher.model.stored import StoredAccessToken, TargetState
from refresher.model.timing import Timing
from refresher.policy.due import (
    NotDue,
    Reason,
    Refresh,
    Republish,
    Urgency,
    decide_refresh,
    decide_undated,
    evaluate_urgency,
    is_kept_out,
    refresh_time,
    shared_targets,
)
from refresher.policy.grants import is_ready, may_fall_back, plan_grants, renewal_time
from refresher.policy.password_gate import PAUSE, TRIES, PasswordRefusals
from refresher.policy.record import RefreshRecord
from tests.factories import (
    HOUR,
    MINUTE,
    NOON,
    SECOND,
    TIMING,
    connection,
    refresh_token,
    stored_access_token,
    target,
)

G = Grant


def decide(
    token: StoredAccessToken | None,
    now: datetime,
    *targets: TargetState,
    force: bool = False,
    timing: Timing = TIMING,
) -> NotDue | Republish | Refresh:
    return decide_refresh("servicenow", token, targets, timing, now, force=force)


class TestWhatIsDue:
    """A token of an hour falls due at 50 minutes, one of half an hour at 25, at the nearest tick of five minutes."""

    @pytest.mark.parametrize(
        ("lifetime", "age", "reason"),
        [
            (HOUR, timedelta(), None),
            (HOUR, 47 * MINUTE + 29 * SECOND, None),
            (HOUR, 47 * MINUTE + 30 * SECOND, Reason.ACCESS_TOKEN_AGING),
            (HOUR, 50 * MINUTE - SECOND, Reason.ACCESS_TOKEN_AGING),
            (HOUR, 50 * MINUTE, Reason.ACCESS_TOKEN_ENDING),
            (HOUR, HOUR - SECOND, Reason.ACCESS_TOKEN_ENDING),
            (HOUR, HOUR, Reason.ACCESS_TOKEN_EXPIRED),
            (HOUR, 100 * HOUR, Reason.ACCESS_TOKEN_EXPIRED),
            (30 * MINUTE, 20 * MINUTE - SECOND, None),
            (30 * MINUTE, 20 * MINUTE, Reason.ACCESS_TOKEN_ENDING),
            (54 * MINUTE, 42 * MINUTE + 29 * SECOND, None),
            (54 * MINUTE, 42 * MINUTE + 30 * SECOND, Reason.ACCESS_TOKEN_AGING),
            (8 * HOUR, 47 * MINUTE, None),
            (8 * HOUR, 47 * MINUTE + 30 * SECOND, Reason.ACCESS_TOKEN_AGING),
            (10 * MINUTE, timedelta(), Reason.ACCESS_TOKEN_ENDING),
            (HOUR, -SECOND, Reason.CLOCK_SKEW),
        ],
    )
    def test_by_age_and_by_end(self, lifetime: timedelta, age: timedelta, reason: Reason | None) -> None:
        """To the second."""
        decision = decide(stored_access_token(expires_at=NOON + lifetime), NOON + age)
        if reason is None:
            due = NOON + min(50 * MINUTE, lifetime * 5 / 6)
            assert decision == NotDue(reason=Reason.FRESH, refresh_at=due)
        else:
            assert isinstance(decision, Refresh)
            assert decision.reason is reason

    def test_no_token_is_due(self) -> None:
        """At once, and urgently."""
        assert decide(None, NOON) == Refresh(reason=Reason.ACCESS_TOKEN_MISSING, urgency=Urgency.MANDATORY)

    @pytest.mark.parametrize("missing", [{"issued_at": None}, {"expires_at": None}])
    def test_a_token_without_its_dates_is_due(self, missing: dict[str, None]) -> None:
        """Somebody wrote it by hand; nobody knows when it ends."""
        decision = decide(stored_access_token(**missing), NOON)
        assert decision == Refresh(reason=Reason.METADATA_MISSING, urgency=decision_urgency(missing))

    def test_nobody_forces_it_unasked(self) -> None:
        """As `status` asks."""
        assert isinstance(decide_refresh("servicenow", stored_access_token(), (), TIMING, NOON), NotDue)

    def test_an_operator_can_force_it(self) -> None:
        """Whatever its age; the urgency stays what the token says."""
        assert decide(stored_access_token(), NOON, force=True) == Refresh(
            reason=Reason.FORCED, urgency=Urgency.ADVISORY
        )
        assert decide(None, NOON, force=True) == Refresh(reason=Reason.FORCED, urgency=Urgency.MANDATORY)

    def test_a_confirmed_token_counts_from_its_confirmation(self) -> None:
        """What ServiceNow returned again is asked for again when it nears its end, not at every tick."""
        token = stored_access_token(confirmed_at=NOON + 50 * MINUTE, expires_at=NOON + 70 * MINUTE)
        decision = decide(token, NOON + 55 * MINUTE)
        assert decision == NotDue(reason=Reason.FRESH, refresh_at=NOON + 50 * MINUTE + 20 * MINUTE * 5 / 6)
        assert isinstance(decide(token, NOON + 60 * MINUTE), Refresh)

    @given(
        st.timedeltas(min_value=12 * MINUTE, max_value=48 * HOUR),
        st.timedeltas(min_value=timedelta(), max_value=50 * HOUR),
        st.timedeltas(min_value=timedelta(), max_value=5 * HOUR),
    )
    def test_once_due_it_stays_due(self, lifetime: timedelta, age: timedelta, later: timedelta) -> None:
        """Nothing but a new token makes a connection fresh again."""
        token = stored_access_token(expires_at=NOON + lifetime)
        if isinstance(decide(token, NOON + age), Refresh):
            assert isinstance(decide(token, NOON + age + later), Refresh)

    @given(
        st.timedeltas(min_value=timedelta(), max_value=48 * HOUR),
        st.timedeltas(min_value=MINUTE, max_value=HOUR),
        st.timedeltas(min_value=-HOUR, max_value=50 * HOUR),
    )
    def test_a_token_that_is_not_due_outlives_two_ticks(
        self, lifetime: timedelta, tick: timedelta, age: timedelta
    ) -> None:
        """So one lost tick costs nothing."""
        timing = Timing(interval=50 * MINUTE, tick=tick)
        now = NOON + age
        if isinstance(decide(stored_access_token(expires_at=NOON + lifetime), now, timing=timing), NotDue):
            assert now + 2 * tick < NOON + lifetime


def decision_urgency(missing: dict[str, None]) -> Urgency:
    """A token whose end is known may still be known to live; without an end nobody can say."""
    return Urgency.MANDATORY if "expires_at" in missing else Urgency.ADVISORY


class TestUrgency:
    """A failure is advisory while the old token outlives the next tick, with a minute for its lateness."""

    @pytest.mark.parametrize(
        ("remaining", "urgency"),
        [
            (6 * MINUTE, Urgency.MANDATORY),
            (6 * MINUTE + SECOND, Urgency.ADVISORY),
            (timedelta(), Urgency.MANDATORY),
            (-HOUR, Urgency.MANDATORY),
        ],
    )
    def test_by_what_remains(self, remaining: timedelta, urgency: Urgency) -> None:
        """To the second."""
        assert evaluate_urgency(stored_access_token(expires_at=NOON + remaining), TIMING, NOON) is urgency

    def test_no_token_is_urgent(self) -> None:
        """There is nothing to keep."""
        assert evaluate_urgency(None, TIMING, NOON) is Urgency.MANDATORY


class TestCopies:
    """Copies are written again without asking ServiceNow; one that is ahead leads to a refresh."""

    @pytest.mark.parametrize(
        ("state", "reason"),
        [
            (target(None), Reason.TARGET_MISSING),
            (target(stored_access_token("CANARY-other")), Reason.TARGET_DIFFERS),
            (target(stored_access_token("CANARY-other", expires_at=None)), Reason.TARGET_DIFFERS),
            (target(stored_access_token("CANARY-other", expires_at=NOON + HOUR)), Reason.TARGET_DIFFERS),
        ],
    )
    def test_what_is_missing_or_differs_is_published_again(self, state: TargetState, reason: Reason) -> None:
        """Only that target."""
        good = target(stored_access_token(), "good")
        assert decide(stored_access_token(), NOON, good, state) == Republish(reason=reason, targets=(state.target,))

    def test_missing_and_differing_are_written_together(self) -> None:
        """One run mends all."""
        missing, differing = target(None, "one"), target(stored_access_token("CANARY-other"), "two")
        assert decide(stored_access_token(), NOON, differing, missing) == Republish(
            reason=Reason.TARGET_MISSING, targets=(missing.target, differing.target)
        )

    def test_what_cannot_be_read_is_left_alone(self) -> None:
        """Nobody knows what it holds."""
        assert isinstance(decide(stored_access_token(), NOON, target(None, known=False)), NotDue)

    def test_a_newer_copy_leads_to_a_refresh(self) -> None:
        """The main secret could not be written, when the copy was; which of them ends later says nothing."""
        ahead = target(stored_access_token("CANARY-newer", issued_at=NOON + SECOND, expires_at=NOON + HOUR - SECOND))
        decision = decide(stored_access_token(), NOON, ahead)
        assert decision == Refresh(reason=Reason.TARGET_AHEAD, urgency=Urgency.ADVISORY)

    def test_unless_it_has_ended(self) -> None:
        """A dead one is only different."""
        ended = stored_access_token("CANARY-newer", issued_at=NOON + SECOND, expires_at=NOON + 2 * SECOND)
        assert isinstance(decide(stored_access_token(), NOON + 3 * SECOND, target(ended)), Republish)

    def test_nor_one_of_a_year_to_come(self) -> None:
        """Of somebody whose clock was wrong: if it cannot be written, it would be ahead for a year."""
        future = stored_access_token("CANARY-newer", issued_at=NOON + 8760 * HOUR, expires_at=NOON + 8761 * HOUR)
        assert isinstance(decide(stored_access_token(), NOON, target(future)), Republish)

    def test_nor_an_older_one_whatever_its_end(self) -> None:
        """A longer life was given up with it."""
        older = stored_access_token("CANARY-older", issued_at=NOON - HOUR, expires_at=NOON + 8 * HOUR)
        assert isinstance(decide(stored_access_token(), NOON, target(older)), Republish)

    def test_a_due_token_is_refreshed_before_it_is_copied(self) -> None:
        """No stale token is spread."""
        assert isinstance(decide(stored_access_token(), NOON + 50 * MINUTE, target(None)), Refresh)


class TestCopiesOfAnother:
    """A target to which another installation publishes: each would answer the other at every tick."""

    OURS = stored_access_token(publisher="a of https://v")
    THEIRS = stored_access_token("CANARY-theirs", publisher="b of https://w")

    @pytest.mark.parametrize(
        ("holds", "publisher", "shared"),
        [
            (THEIRS, "a of https://v", True),
            (THEIRS, None, False),  # nobody knows who published ours
            (OURS, "a of https://v", False),
            (stored_access_token("CANARY-theirs"), "a of https://v", False),  # nor who published that
            (None, "a of https://v", False),
            (THEIRS._replace(expires_at=NOON + 5 * MINUTE), "a of https://v", False),  # it ends before the next tick
            (THEIRS._replace(expires_at=NOON + 5 * MINUTE + SECOND), "a of https://v", True),
        ],
    )
    def test_by_what_it_holds(self, holds: StoredAccessToken | None, publisher: str | None, *, shared: bool) -> None:
        state = target(holds)
        assert shared_targets(publisher, (state,), TIMING, NOON) == ((state,) if shared else ())

    def test_it_gets_ours_at_the_next_refresh_and_not_before(self) -> None:
        assert isinstance(decide(self.OURS, NOON + MINUTE, target(self.THEIRS)), NotDue)
        assert isinstance(decide(self.OURS._replace(publisher=None), NOON + MINUTE, target(self.THEIRS)), Republish)

    @pytest.mark.parametrize("changes", [{"issued_at": None}, {"issued_at": NOON}])
    def test_one_that_does_not_say_since_when_is_not_ahead(self, changes: dict[str, None]) -> None:
        held = stored_access_token("CANARY-other", **changes)
        assert isinstance(decide(stored_access_token(), NOON + MINUTE, target(held)), Republish)


class TestHeldWithoutEnd:
    """A lease that keeps everybody out is told from one that is just held, whatever somebody's clock said."""

    @pytest.mark.parametrize("last_attempt_at", [None, NOON - 2 * HOUR, NOON + 8760 * HOUR])
    @pytest.mark.parametrize("since", [None, NOON + 8760 * HOUR])
    @pytest.mark.parametrize(("age", "kept_out"), [(51 * MINUTE, False), (56 * MINUTE, True)])
    def test_where_nobody_says_since_when(
        self, age: timedelta, since: datetime | None, last_attempt_at: datetime | None, *, kept_out: bool
    ) -> None:
        token = stored_access_token(issued_at=NOON - age, expires_at=NOON - age + 2 * HOUR)
        assert is_kept_out("servicenow", since, token, last_attempt_at, TIMING, NOON) is kept_out

    @pytest.mark.parametrize(("minutes", "kept_out"), [(0, False), (4, False), (5, True), (600, True)])
    def test_where_its_holder_does(self, minutes: int, *, kept_out: bool) -> None:
        assert is_kept_out("servicenow", NOON - minutes * MINUTE, None, None, TIMING, NOON) is kept_out

    def test_one_that_was_taken_this_very_moment_keeps_nobody_out(self) -> None:
        overdue = stored_access_token(issued_at=NOON - 2 * HOUR, expires_at=NOON - HOUR)
        assert not is_kept_out("servicenow", NOON, overdue, None, TIMING, NOON)

    @pytest.mark.parametrize("token", [None, stored_access_token(issued_at=None)])
    def test_where_nobody_says_anything_nobody_knows(self, token: StoredAccessToken | None) -> None:
        assert not is_kept_out("servicenow", None, token, None, TIMING, NOON)

    @pytest.mark.parametrize(("since_try", "kept_out"), [(0, False), (4, False), (5, True), (60, True)])
    def test_a_try_that_came_since_counts_from_then(self, since_try: int, *, kept_out: bool) -> None:
        overdue = stored_access_token(issued_at=NOON - 3 * HOUR, expires_at=NOON - 2 * HOUR)
        assert is_kept_out("servicenow", None, overdue, NOON - since_try * MINUTE, TIMING, NOON) is kept_out

    @pytest.mark.parametrize(("minutes", "kept_out"), [(52, False), (53, True)])
    def test_it_is_due_half_a_tick_before_its_time(self, minutes: float, *, kept_out: bool) -> None:
        token = stored_access_token(issued_at=NOON - minutes * MINUTE, expires_at=NOON + HOUR)
        assert is_kept_out("servicenow", None, token, None, TIMING, NOON) is kept_out

    @pytest.mark.parametrize(("minutes", "kept_out"), [(120, False), (123, True)])
    def test_one_that_is_due_at_half_of_its_life_is_waited_for_until_then(
        self, minutes: float, *, kept_out: bool
    ) -> None:
        token = stored_access_token(
            issued_at=NOON - minutes * MINUTE, expires_at=NOON - minutes * MINUTE + 4 * HOUR, grant=G.ENTRA_ID
        )
        assert is_kept_out("servicenow", None, token, None, TIMING, NOON) is kept_out


class TestUndated:
    """Where no token's dates can be read: once in each interval, by the record."""

    @pytest.mark.parametrize(
        ("since", "known", "due"),
        [
            (None, True, True),
            (None, False, False),
            (47 * MINUTE, True, False),
            (47.5 * MINUTE, True, True),
            (47.5 * MINUTE, False, False),
            (timedelta(), True, False),
            (-SECOND, True, True),  # of a clock that was ahead: it would hold for ever
            (-SECOND, False, False),
        ],
    )
    def test_by_the_last_attempt(self, since: timedelta | None, *, known: bool, due: bool) -> None:
        last = NOON - since if since is not None else None
        decision = decide_undated(last, TIMING, NOON, known=known)
        unreadable = Reason.ACCESS_TOKEN_UNREADABLE
        if due:
            assert decision == Refresh(reason=unreadable, urgency=Urgency.ADVISORY)
        else:
            assert decision == NotDue(reason=unreadable, refresh_at=(last or NOON) + 50 * MINUTE)


class TestManyConnections:
    """More than twenty are spread over two ticks, each always by the same share, and never later than the age."""

    def test_a_few_are_not_spread(self) -> None:
        """Twenty are few."""
        assert Timing.of(50 * MINUTE, 5 * MINUTE, 20).spread == timedelta()
        assert Timing.of(50 * MINUTE, 5 * MINUTE, 21).spread == 10 * MINUTE

    @given(st.from_regex(r"[a-z][a-z0-9-]{0,40}", fullmatch=True))
    def test_each_has_its_own_moment_within_the_spread(self, name: str) -> None:
        """A share of the spread earlier, by a checksum of its name."""
        timing = Timing.of(50 * MINUTE, 5 * MINUTE, 1000)
        moment = refresh_time(name, NOON, NOON + HOUR, timing)
        share = zlib.crc32(name.encode()) / 2**32
        assert moment == NOON + 50 * MINUTE - 10 * MINUTE * share
        assert NOON + 40 * MINUTE <= moment <= NOON + 50 * MINUTE

    def test_a_very_short_life_is_not_due_before_its_beginning(self) -> None:
        """The spread does not reach further back than the issue."""
        timing = Timing.of(50 * MINUTE, 5 * MINUTE, 1000)
        moments = [refresh_time(f"c{number}", NOON, NOON + 2 * MINUTE, timing) for number in range(50)]
        assert min(moments) == NOON


PASSWORD = {"SERVICENOW_FALLBACK_GRANT": "password"}
REFUSED_ONCE = RefreshRecord().with_refresh_token_refusals("r1", 1)
REFUSED_TWICE = RefreshRecord().with_refresh_token_refusals("r1", 2)
PASSWORD_SPENT = RefreshRecord(password=PasswordRefusals(version="p1", count=TRIES))
JWT = {"SERVICENOW_JWT": '{"sub": "u"}'}
NEAR_THE_END = NOON + timedelta(days=93)


class TestPlan:
    """The connection's grant, then its fallback; the fallback first where the refresh token gives way."""

    @pytest.mark.parametrize(
        ("settings", "has_refresh_token", "record", "now", "grants"),
        [
            ({}, True, RefreshRecord(), NOON, [G.REFRESH_TOKEN]),
            ({}, True, REFUSED_TWICE, NOON, [G.REFRESH_TOKEN]),
            ({}, True, RefreshRecord(), NOON + timedelta(days=200), [G.REFRESH_TOKEN]),
            (PASSWORD, True, RefreshRecord(), NOON, [G.REFRESH_TOKEN, G.PASSWORD]),
            (PASSWORD, False, RefreshRecord(), NOON, [G.PASSWORD]),
            (PASSWORD, True, REFUSED_ONCE, NOON, [G.REFRESH_TOKEN, G.PASSWORD]),
            (PASSWORD, True, REFUSED_TWICE, NOON, [G.PASSWORD, G.REFRESH_TOKEN]),
            (PASSWORD, True, RefreshRecord(), NEAR_THE_END - SECOND, [G.REFRESH_TOKEN, G.PASSWORD]),
            (PASSWORD, True, RefreshRecord(), NEAR_THE_END, [G.PASSWORD, G.REFRESH_TOKEN]),
            (PASSWORD, True, PASSWORD_SPENT, NEAR_THE_END, [G.REFRESH_TOKEN]),
            (
                {"SERVICENOW_FALLBACK_GRANT": "client_credentials"},
                True,
                RefreshRecord(),
                NEAR_THE_END,
                [G.REFRESH_TOKEN, G.CLIENT_CREDENTIALS],
            ),
            (
                {"SERVICENOW_FALLBACK_GRANT": "client_credentials"},
                True,
                RefreshRecord(),
                NOON + timedelta(days=100),
                [G.CLIENT_CREDENTIALS, G.REFRESH_TOKEN],
            ),
            ({"SERVICENOW_GRANT": "client_credentials"}, False, RefreshRecord(), NOON, [G.CLIENT_CREDENTIALS]),
            (
                {"SERVICENOW_GRANT": "client_credentials"},
                True,
                RefreshRecord(),
                NOON,
                [G.CLIENT_CREDENTIALS, G.REFRESH_TOKEN],
            ),
            ({"SERVICENOW_GRANT": "jwt_bearer", **JWT}, False, RefreshRecord(), NOON, [G.JWT_BEARER]),
            (
                {"SERVICENOW_GRANT": "jwt_bearer", "SERVICENOW_FALLBACK_GRANT": "password", **JWT},
                False,
                RefreshRecord(),
                NOON,
                [G.JWT_BEARER, G.PASSWORD],
            ),
            ({"SERVICENOW_GRANT": "password"}, True, RefreshRecord(), NOON, [G.PASSWORD, G.REFRESH_TOKEN]),
        ],
    )
    def test_grants_in_order(
        self,
        settings: dict[str, str],
        has_refresh_token: bool,
        record: RefreshRecord,
        now: datetime,
        grants: list[Grant],
    ) -> None:
        """For each set-up and each past."""
        token = refresh_token() if has_refresh_token else None
        plan = plan_grants(connection(**settings), token, "p1", record, now)
        assert (list(plan.grants), plan.blocked) == (grants, None)

    def test_nothing_left_says_why(self) -> None:
        """A person must authorize, or store the right password."""
        missing = plan_grants(connection(), None, None, RefreshRecord(), NOON)
        assert (missing.grants, missing.blocked) == ((), Cause.REFRESH_TOKEN_MISSING)
        refused = plan_grants(connection(**PASSWORD), None, "p1", PASSWORD_SPENT, NOON)
        assert (refused.grants, refused.blocked) == ((), Cause.PASSWORD_REFUSED)

    @pytest.mark.parametrize(
        ("refusals", "version", "force", "admitted"),
        [
            (TRIES - 1, "p1", False, True),
            (TRIES, "p1", False, False),
            (TRIES + 1, "p1", False, False),
            (TRIES, "p2", False, True),
            (TRIES, None, False, True),
            (TRIES, "p1", True, True),
        ],
    )
    def test_a_refused_password_waits_for_a_newer_one_or_an_operator(
        self, refusals: int, version: str | None, force: bool, admitted: bool
    ) -> None:
        """Four refusals in a row of one version shut the gate."""
        record = RefreshRecord(password=PasswordRefusals(version="p1", count=refusals))
        plan = plan_grants(connection(**PASSWORD), None, version, record, NOON, force=force)
        assert (Grant.PASSWORD in plan.grants) is admitted

    def test_a_paused_password_stands_aside_for_the_other_grants_and_says_until_when(self) -> None:
        paused = RefreshRecord(password=PasswordRefusals(version="p1", count=2, tried_at=NOON))
        only, beside = connection(SERVICENOW_GRANT="password"), connection(**PASSWORD)
        assert plan_grants(beside, refresh_token(), "p1", paused, NOON).grants == (Grant.REFRESH_TOKEN,)
        blocked = plan_grants(only, None, "p1", paused, NOON)
        assert (blocked.grants, blocked.blocked, blocked.until) == ((), Cause.PASSWORD_REFUSED, NOON + PAUSE)
        assert plan_grants(only, None, "p1", paused, NOON + PAUSE).grants == (Grant.PASSWORD,)
        assert plan_grants(only, None, "p1", paused, NOON, force=True).grants == (Grant.PASSWORD,)
        held = PasswordRefusals(version="p1", count=TRIES, tried_at=NOON)
        assert plan_grants(only, None, "p1", RefreshRecord(password=held), NOON).until is None, "a person must act"

    def test_refusals_of_another_refresh_token_do_not_count(self) -> None:
        """A new version starts with a clean record."""
        plan = plan_grants(connection(**PASSWORD), refresh_token(version="r2"), "p1", REFUSED_TWICE, NOON)
        assert plan.grants == (Grant.REFRESH_TOKEN, Grant.PASSWORD)

    @pytest.mark.parametrize(
        ("lifetime", "window"),
        [
            (timedelta(days=100), timedelta(days=7)),
            (timedelta(days=70), timedelta(days=7)),
            (timedelta(days=60), timedelta(days=6)),
            (timedelta(days=1), timedelta(hours=2.4)),
            (timedelta(hours=10), HOUR),
            (timedelta(hours=2), HOUR),
        ],
    )
    def test_the_last_tenth_is_at_least_an_hour_and_at_most_seven_days(
        self, lifetime: timedelta, window: timedelta
    ) -> None:
        """Where a new life begins."""
        assert renewal_time(refresh_token(lifetime)) == NOON + lifetime - window


class TestReadiness:
    """A fallback grant renews only where it could be used today."""

    @pytest.mark.parametrize(
        ("grant", "password_version", "complete", "record", "ready"),
        [
            (None, "p1", True, RefreshRecord(), False),
            (G.CLIENT_CREDENTIALS, None, True, PASSWORD_SPENT, True),
            (G.JWT_BEARER, None, True, PASSWORD_SPENT, True),
            (G.JWT_BEARER, "p1", False, RefreshRecord(), False),
            (G.PASSWORD, "p1", True, RefreshRecord(), True),
            (G.PASSWORD, None, False, RefreshRecord(), False),
            (G.PASSWORD, "p1", True, RefreshRecord(password=PasswordRefusals(version="p1", count=2)), True),
            (G.PASSWORD, "p1", True, PASSWORD_SPENT, False),
            (G.PASSWORD, "p2", True, PASSWORD_SPENT, True),
        ],
    )
    def test_by_its_credentials_and_their_past(
        self, grant: Grant | None, password_version: str | None, complete: bool, record: RefreshRecord, ready: bool
    ) -> None:
        """A refused password is none until a newer one is there."""
        assert is_ready(grant, password_version=password_version, complete=complete, record=record) is ready


def error(cause: Cause) -> TokenEndpointError:
    return TokenEndpointError("for the test", cause=cause)


class TestFallingBack:
    """One generic 401 condemns nothing while the old token works."""

    @pytest.mark.parametrize(
        ("cause", "conditions", "expected"),
        [
            (Cause.ACCESS_DENIED, {}, False),
            (Cause.ACCESS_DENIED, {"refusals_before": 1}, True),
            (Cause.ACCESS_DENIED, {"urgency": Urgency.MANDATORY}, True),
            (Cause.ACCESS_DENIED, {"force": True}, True),
            (Cause.ACCESS_DENIED, {"answer_lost": True}, True),
            (Cause.ACCESS_DENIED, {"next_is_sound": True}, True),
            (Cause.INVALID_GRANT, {}, True),
            (Cause.UNSUPPORTED_GRANT_TYPE, {}, True),
            (Cause.REQUEST_REFUSED, {}, True),
            (Cause.INVALID_CLIENT, {"urgency": Urgency.MANDATORY, "force": True}, False),
            (Cause.INVALID_CLIENT, {"next_is_sound": True}, False),
            (Cause.INSTANCE_ERROR, {"urgency": Urgency.MANDATORY}, False),
            (Cause.INSTANCE_ERROR, {"next_is_sound": True}, False),
            (Cause.INSTANCE_THROTTLED, {"urgency": Urgency.MANDATORY}, False),
            (Cause.INSTANCE_TIMEOUT, {"urgency": Urgency.MANDATORY, "force": True}, False),
            (Cause.NOT_A_TOKEN, {"urgency": Urgency.MANDATORY}, False),
        ],
    )
    def test_by_cause_and_conditions(self, cause: Cause, conditions: dict[str, object], expected: bool) -> None:
        """A wrong client or an instance that is down meets every grant."""
        given_ = {
            "refusals_before": 0,
            "urgency": Urgency.ADVISORY,
            "force": False,
            "answer_lost": False,
            **conditions,
        }
        assert may_fall_back(error(cause), **given_) is expected  # type: ignore[arg-type]


class TestATokenOfTheIdentity:
    """It may be the same one for hours: asked for from half of its life on, again and again."""

    DAY = timedelta(hours=24)

    @pytest.mark.parametrize(
        ("hours", "due"), [(11.9, False), (12, True), (12.25, False), (12.8, True), (13.2, False), (23.9, True)]
    )
    def test_it_falls_due_at_half_of_its_life_and_every_interval_after(self, hours: float, due: bool) -> None:
        token = stored_access_token(expires_at=NOON + self.DAY, grant=G.ENTRA_ID)
        decision = decide_refresh("servicenow", token, (), TIMING, NOON + timedelta(hours=hours))
        assert isinstance(decision, Refresh) is due

    @given(st.integers(10, 48 * 60), st.floats(0, 0.99))
    def test_the_next_question_is_never_further_away_than_an_interval_once_half_is_over(
        self, minutes: int, share: float
    ) -> None:
        life = timedelta(minutes=minutes)
        now = NOON + life / 2 + life / 2 * share
        asked = refresh_time("servicenow", NOON, NOON + life, TIMING, grant=G.ENTRA_ID, now=now)
        assert now - TIMING.tick / 2 <= asked <= now + max(TIMING.interval, TIMING.tick)

    def test_of_another_grant_it_falls_due_by_its_age(self) -> None:
        assert refresh_time("servicenow", NOON, NOON + self.DAY, TIMING, grant=G.PASSWORD) == NOON + TIMING.interval

    def test_a_stored_refresh_token_is_no_last_resort_beside_it(self) -> None:
        """It may be another user's."""
        settings = connection(SERVICENOW_GRANT="entra_id", SERVICENOW_ENTRA_SCOPE="api://x")
        plan = plan_grants(settings, refresh_token(), None, RefreshRecord(), NOON)
        assert plan.grants == (G.ENTRA_ID,)
