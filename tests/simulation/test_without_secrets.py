"""Grant entra_id in the faults of the simulation: what fails most there, ServiceNow's token endpoint, is not asked."""

import pytest

from sandbox.simulation.scenarios import SCENARIOS, Result, simulate_product
from sandbox.simulation.trace import Kind, draw_trace, length
from tests.sampling import sampled

TWELVE_DAYS = 12.0
"""Their incidents, in less: each of the kinds that can end a token meets one."""


@pytest.mark.parametrize(("seed", "days"), sampled([*((seed, 1.5) for seed in range(1, 5)), (1, 0.2)], [(1, 0.2)]))
def test_readers_hold_a_token_at_all_times_but_for_the_platforms_own_outages(seed: int, days: float) -> None:
    """99.999 % and more, outages of the identity endpoint of an hour included, and no less than by refresh token."""
    trace = draw_trace(days, seed, TWELVE_DAYS / days)
    assert trace.spans({Kind.IDENTITY_FAILING, Kind.REFUSALS, Kind.RATE_LIMIT})
    result = simulate_product(trace, SCENARIOS["entra-id"])
    assert minutes_lost(result) / result.up_minutes <= 0.00001, result.gaps
    assert result.outcomes["refreshed"] >= round(2 * days)
    assert minutes_lost(result) <= minutes_lost(simulate_product(trace, SCENARIOS["100d"]))


def minutes_lost(result: Result) -> float:
    """Without a token, the platform's own outages aside."""
    return length(result.gaps) - result.minutes_by_platform


@pytest.mark.exhaustive
def test_its_tokens_are_looked_at_as_servicenow_does() -> None:
    """A consumer that held a token which nobody accepts would be without one: so it is, where nothing is trusted."""
    trace = draw_trace(0.1, 1)
    scenario = SCENARIOS["entra-id"]
    assert simulate_product(trace, scenario).gaps == []
    settings = {**scenario.settings, "SERVICENOW_ENTRA_SCOPE": "00000000-0000-4000-8000-0000000000a2/.default"}
    untrusted = type(scenario)(name="x", personality=scenario.personality, settings=settings, entra=True)
    assert length(simulate_product(trace, untrusted).gaps) > 100
