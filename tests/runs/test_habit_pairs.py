"""Two habits of an instance at once, and a habit with a passing fault: the consumer's token works all the same.

Over the sandbox without sockets, with the SDK's own clients, so that each pair runs for hours of virtual time.
"""

import itertools
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from refresher.model.report import RunRequest, Trigger
from sandbox import Personality
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Action, Drop, DropAfter, Fault, Garbage, Refuse, Respond, Stall, Throttle, Truncate
from sandbox.trial.host import direct_app
from tests.sampling import each_once, sampled

HABITS: Mapping[str, Mapping[str, Any]] = {
    "rotates": {"rotates": True},
    "slides": {"slides": True},
    "same_token": {"same_token": True},
    "same_token_extended": {"same_token": True, "extends": True},
    "thirty_minutes": {"access_token_lifetime": timedelta(minutes=30)},
    "eight_hours": {"access_token_lifetime": timedelta(hours=8)},
    "refresh_token_of_three_hours": {"refresh_token_lifetime": timedelta(hours=3)},
    "expires_in_as_text": {"expires_in_as_text": True},
    "refresh_token_null": {"refresh_token_in_answer": "null"},
    "refresh_token_absent": {"refresh_token_in_answer": "absent"},
    "precise_errors": {"precise_errors": True},
    "passing_401s": {"refuse_first": 2},
    "probe_forbidden": {"probe_status": 403},
    "probe_throttled": {"probe_status": 429},
}
FAULTS: Mapping[str, Action] = {
    "throttled_for_seconds": Throttle(3),
    "throttled_until_a_date": Throttle(None),
    "failing": Respond(503, {}, b"<html>"),
    "slow": Stall(),
    "slow_with_effect": Stall(effect=True),
    "dropped": Drop(),
    "dropped_with_effect": DropAfter(),
    "refused": Refuse(),
    "cut_short": Truncate(),
    "not_json": Garbage(b"<html>"),
}


def makes_sense(one: str, other: str) -> bool:
    """Whether both can be true of one instance."""
    silent = {"refresh_token_null", "refresh_token_absent"}
    if {one, other} & silent and "rotates" in {one, other}:
        return False  # A server that rotates and tells nobody leaves nothing to work with.
    return not HABITS[one].keys() & HABITS[other].keys()


PAIRS = [pair for pair in itertools.combinations(HABITS, 2) if makes_sense(*pair)]
HARD = list(itertools.product(["rotates", "same_token", "thirty_minutes", "refresh_token_of_three_hours"], FAULTS))


def run_for_hours(personality: Personality, fault: Action | None = None) -> None:
    """Tick every five minutes, from the second refresh on with a fault at each; a consumer's token always works."""
    sandbox = DirectSandbox(personality)
    sandbox.add_connection(username=True)
    lifetime = str(int(personality.refresh_token_lifetime.total_seconds()))
    settings = {"SERVICENOW_FALLBACK_GRANT": "password", "SERVICENOW_REFRESH_TOKEN_LIFETIME": lifetime}
    app = direct_app(sandbox, Process(sandbox), 0, **settings)
    began = sandbox.clock.now()
    faults: list[Fault] = []
    for number in range(48):
        sandbox.clock.advance(began + timedelta(minutes=5 * number) - sandbox.clock.now())
        if fault is not None and number % 5 == 4:
            sandbox.faults.clear()
            action = fault
            if fault == Throttle(None):
                action = Throttle(sandbox.clock.now() + timedelta(seconds=3))
            faults.append(sandbox.faults.add(Fault(service="instance", path="/oauth_token.do", action=action)))
        (report,) = app.tick(RunRequest(trigger=Trigger.TIMER))
        held = sandbox.vault.get("servicenow--action--global--oauth-token")
        assert held is not None, report
        assert sandbox.instance.is_living_access_token(held.value), f"tick {number}: {report}"
    assert fault is None or any((each.times or 0) <= 0 for each in faults), "no request met the fault"


@pytest.mark.parametrize(("one", "other"), sampled(PAIRS, each_once(PAIRS)[:1]))
def test_two_habits_at_once(one: str, other: str) -> None:
    """Any two habits that an instance may have together."""
    run_for_hours(replace(Personality(), **HABITS[one], **HABITS[other]))


@pytest.mark.parametrize(("habit", "fault"), sampled(HARD, each_once(HARD)[:1]))
def test_a_habit_with_a_passing_fault(habit: str, fault: str) -> None:
    """Any fault of the token endpoint, with the habits that make the tokens' lives hard."""
    run_for_hours(replace(Personality(), **HABITS[habit]), FAULTS[fault])
