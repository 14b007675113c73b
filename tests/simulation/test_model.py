"""The promise, tried on random histories: whatever happens, in whatever order, nothing is ever made worse.

Hypothesis makes up histories of ticks, forced runs, clock jumps, faults of every service, kills, overlapping runs and
operators who change secrets by hand. After each step the invariants below must hold; at the end all faults end, what
operators broke is mended, and two ticks later the connection is fresh. A history that breaks the promise is printed as
a short program, made as small as possible.

MODEL_SEQUENCES=5000 tries as many histories, other ones each time (tests/README.md).
"""

import json
import os
from collections.abc import Callable
from datetime import timedelta

from hypothesis import HealthCheck, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from refresher.model.causes import Cause
from refresher.model.report import Outcome
from refresher.telemetry import outcome_event
from sandbox import CANARY_PREFIX
from sandbox.personality import Personality
from sandbox.vault import Policy
from tests.simulation.trouble import MINUTE, NAMES, NEIGHBOUR, PERSONALITIES, POLICIES, TROUBLE, Trouble
from tests.simulation.watched import MAIN, Run
from tests.simulation.world import World

SEQUENCES = int(os.environ.get("MODEL_SEQUENCES", "1"))
SECOND, TICK, DAY = timedelta(seconds=1), timedelta(minutes=5), timedelta(days=1)
WAITS = st.sampled_from([45 * MINUTE, 50 * MINUTE, 0 * MINUTE, 120 * MINUTE, 95 * DAY])
TICKS = st.sampled_from([1, 0, 2, 5])
SPOILT = ["deleted", "purged", "stripped of its tags", "disabled", "hidden"]
CREDENTIALS = st.sampled_from(
    [
        ("refresh token",),
        ("refresh token", "password"),
        ("refresh token", "password"),
        ("password",),
        ("client secret",),
    ]
)


class Promise(RuleBasedStateMachine):
    """Whoever reads the vault gets a token that ServiceNow accepts."""

    def __init__(self) -> None:
        super().__init__()
        self.world: World

    @initialize(personality=PERSONALITIES, fallback=st.booleans(), shared=st.booleans(), ticks=TICKS)
    def a_connection_is_set_up(self, personality: Personality, fallback: bool, shared: bool, ticks: int) -> None:
        self.world = World(personality, fallback=fallback, shared=shared)
        self.ticks(ticks)

    def ticks(self, number: int) -> None:
        """Let so many ticks pass."""
        for _ in range(number):
            self.world.wait(TICK)
            self.world.tick()
            self.the_promise_holds()

    # Time, runs, and trouble.

    @rule(wait=WAITS, ticks=TICKS)
    def time_passes(self, wait: timedelta, ticks: int) -> None:
        self.world.wait(wait)
        self.ticks(ticks)

    @rule(wait=WAITS, trouble=TROUBLE, ticks=TICKS)
    def trouble_comes(self, wait: timedelta, trouble: list[Trouble], ticks: int) -> None:
        self.world.wait(wait)
        self.world.meet(trouble)
        self.ticks(ticks)

    @rule(trouble=TROUBLE)
    def a_run_is_forced(self, trouble: list[Trouble]) -> None:
        self.world.meet(trouble)
        self.world.force()

    @rule(ticks=TICKS)
    def all_trouble_ends(self, ticks: int) -> None:
        self.world.faults_end()
        self.ticks(ticks)

    @rule(seconds=st.integers(1, 120), ticks=TICKS)
    def the_clock_is_put_back(self, seconds: int, ticks: int) -> None:
        self.world.wait(-seconds * SECOND)
        self.ticks(ticks)

    # ServiceNow, and operators.

    @rule(personality=PERSONALITIES, ticks=TICKS)
    def servicenow_changes_its_habits(self, personality: Personality, ticks: int) -> None:
        self.world.instance.personality = personality
        self.ticks(ticks)

    @rule(credentials=CREDENTIALS, ticks=TICKS)
    def credentials_change_at_servicenow(self, credentials: tuple[str, ...], ticks: int) -> None:
        for credential in credentials:
            self.world.change_at_servicenow(credential)
        self.ticks(ticks)

    @rule(name=NAMES, value=st.sampled_from(["CANARY-wrong", "CANARY wrong", "", " \n"]), ticks=TICKS)
    def an_operator_stores_something_wrong(self, name: str, value: str, ticks: int) -> None:
        self.world.put(name, value)
        self.ticks(ticks)

    @rule(name=NAMES, how=st.sampled_from(SPOILT), ticks=TICKS)
    def a_secret_is_spoiled(self, name: str, how: str, ticks: int) -> None:
        self.world.spoil(name, how)
        self.ticks(ticks)

    @precondition(lambda self: self.world.shared)
    @rule(password=st.sampled_from(["as it is", "right", "CANARY-wrong"]), trouble=TROUBLE, ticks=st.integers(1, 4))
    def another_connection_sends_the_password(self, password: str, trouble: list[Trouble], ticks: int) -> None:
        """For the same user, which ServiceNow locks, whoever sends it."""
        if password != "as it is":
            self.world.put(f"{NEIGHBOUR}-password", self.world.user.password if password == "right" else password)
        self.world.meet(trouble)
        for _ in range(ticks):
            self.world.wait(TICK)
            self.world.neighbour_runs()

    @rule(policy=POLICIES, ticks=TICKS)
    def a_policy_of_the_vaults_changes(self, policy: Policy, ticks: int) -> None:
        self.world.let_policy_be(policy)
        self.ticks(ticks)

    @rule(authorize=st.booleans())
    def operators_mend_what_is_wrong(self, authorize: bool) -> None:
        self.world.put_right()
        if authorize:
            self.world.authorize_again()

    # What holds after every step.

    @invariant()
    def the_promise_holds(self) -> None:
        run = self.world.last
        if run is None:
            return
        self.a_token_that_works_gives_way_only_to_another(run)
        self.no_refresh_token_is_dropped_for_a_worse_one(run)
        self.what_a_person_stored_meanwhile_stays(run)
        self.token_requests_never_overlap(run)
        self.passwords_are_tried_a_few_times_only()
        self.nothing_happens_that_nobody_foresaw(run)
        self.no_secret_leaves_the_process(run)

    def a_token_that_works_gives_way_only_to_another(self, run: Run) -> None:
        """Unless ServiceNow cannot be asked about it, or the dates of the one before cannot be trusted.

        A copy follows the main secret, and may lose a token that the main secret does not hold.
        """
        main = run.before[MAIN]
        if main is None or not main.dated or run.without_probe:
            return
        for place, before in run.before.items():
            after, accepted_until = run.after[place], run.still_accepted.get(place)
            if before is None or before.value != main.value or accepted_until is None:
                continue
            assert after is not None, f"{place}: taken away"
            assert after.ends_at is not None, f"{place}: replaced by one that ServiceNow refuses"

    def no_refresh_token_is_dropped_for_a_worse_one(self, run: Run) -> None:
        """What is stored was stored before, or received in this run; and no dead one while a living one was received.

        A received one is lost only where the vault fails to store it, or the program is killed before.
        """
        stored = run.refresh_token_after
        assert stored in {run.refresh_token_before, run.deleted_refresh_token, run.stored_by_hand, *run.received}
        if run.received and not run.killed and not run.unstored and run.stored_by_hand is None:
            assert stored in run.received
            assert run.refresh_token_lives or not run.living_received

    def what_a_person_stored_meanwhile_stays(self, run: Run) -> None:
        """Unless it was sent and replaced, or stored in the hop between the last look and the write."""
        if run.by_hand is not None and run.by_hand != run.refresh_token_after:
            assert not self.world.instance.is_living_refresh_token(run.by_hand)

    def token_requests_never_overlap(self, run: Run) -> None:
        """Unless the lease service is away and the token about to end, or the process outlasted its lease."""
        assert run.without_leases or run.frozen or run.most_token_requests_at_once <= 1

    def passwords_are_tried_a_few_times_only(self) -> None:
        """Four refusals of what is stored without a success, and one more for each run that an engineer forces.

        Whichever connection sends it: they share the user.
        """
        assert self.world.sandbox.passwords_refused <= self.world.password_tries

    def nothing_happens_that_nobody_foresaw(self, run: Run) -> None:
        """Every failure has a cause of the closed list."""
        assert all(report.cause is not Cause.UNEXPECTED for report in run.reports)

    def no_secret_leaves_the_process(self, run: Run) -> None:
        """Neither in a report nor in the log."""
        for report in run.reports:
            assert CANARY_PREFIX not in repr(report)
            assert CANARY_PREFIX not in json.dumps(outcome_event(report, self.world.clock.now()), default=str)
        assert not any(CANARY_PREFIX in line for line in self.world.log.lines)
        self.world.log.lines.clear()

    # How it ends.

    def teardown(self) -> None:
        """The faults end, what operators broke is mended: two ticks later the token is fresh.

        That a forced run failed is remembered until the next refresh, which leaves nothing of it.
        """
        if not hasattr(self, "world"):
            return
        try:
            self.world.faults_end()
            self.world.put_right()
            self.two_ticks_bring_it_back(self.world.is_served)
            self.world.wait(45 * MINUTE)
            self.two_ticks_bring_it_back(self.world.is_fresh)
        finally:
            self.world.close()

    def two_ticks_bring_it_back(self, is_back: Callable[[], bool]) -> None:
        """Or else the refresh token is dead, no fallback was configured, and the product asks for a person by name."""
        self.ticks(2)
        if is_back():
            return
        assert self.world.last is not None
        (report,) = self.world.last.reports
        assert report.outcome is Outcome.AUTHORIZATION_REQUIRED, report
        assert not self.world.fallback
        assert not self.world.refresh_token_lives()
        assert report.cause in {Cause.REFRESH_TOKEN_MISSING, Cause.REFRESH_TOKEN_REFUSED, Cause.ROTATED_TOKEN_LOST}
        assert report.cause is Cause.ROTATED_TOKEN_LOST or not self.world.lost_by_rotation
        self.world.authorize_again()
        self.ticks(2)
        assert self.world.is_fresh()


TestPromise = Promise.TestCase
TestPromise.settings = settings(
    max_examples=SEQUENCES,
    stateful_step_count=20,
    derandomize=SEQUENCES < 100,
    deadline=None,
    print_blob=True,
    suppress_health_check=[HealthCheck.too_slow],
)
