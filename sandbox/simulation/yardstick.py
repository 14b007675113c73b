"""`python -m sandbox.simulation.yardstick`: an honest yardstick, the guide's script run more often than it suggests.

The straight line at :00 and :50, every 15 and every 5 minutes; the product with intervals of 50 and 25 minutes; access
tokens of one, two and eight hours; refresh tokens of 100 days, all in the same weather. The lesson is the reserve:
what is left of a token when ServiceNow goes away.
"""

import argparse
import logging
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from sandbox.simulation.scenarios import (
    EVERY_FIFTEEN,
    EVERY_FIVE,
    GUIDE,
    SCENARIOS,
    Result,
    Scenario,
    simulate_product,
    simulate_straight_line,
)
from sandbox.simulation.trace import Trace, draw_trace, length

_HOURS = (1, 2, 8)


def _product(minutes: int) -> Callable[[Trace, Scenario], Result]:
    def simulate(trace: Trace, scenario: Scenario) -> Result:
        settings = {**scenario.settings, "REFRESH_INTERVAL_MINUTES": str(minutes)}
        return simulate_product(trace, replace(scenario, settings=settings))

    return simulate


COMPARED: Mapping[str, Callable[[Trace, Scenario], Result]] = {
    "product, 50 minutes": _product(50),
    "product, 25 minutes": _product(25),
    "script at :00 and :50": lambda trace, scenario: simulate_straight_line(trace, scenario, GUIDE),
    "script at */15": lambda trace, scenario: simulate_straight_line(trace, scenario, EVERY_FIFTEEN),
    "script at */5": lambda trace, scenario: simulate_straight_line(trace, scenario, EVERY_FIVE),
}


def measured(name: str, hours: int, traces: Sequence[Trace], *, rotates: bool = False) -> str:
    """One row: share of the time in which ServiceNow was up with a working token, minutes without, the longest gap."""
    plain = SCENARIOS["100d-rotating" if rotates else "100d"]
    personality = replace(plain.personality, access_token_lifetime=timedelta(hours=hours))
    results = [COMPARED[name](trace, replace(plain, personality=personality)) for trace in traces]
    lost, up = sum(length(each.gaps) for each in results), sum(each.up_minutes for each in results)
    longest = max(each.longest_gap for each in results)
    alive = "" if all(each.healthy_at_the_end for each in results) else "; the refresh token is dead at the end"
    return f"{hours} h | {name} | {1 - lost / up:.4%} | {lost:.1f} min | {longest:.1f} min{alive}"


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate and print, row by row."""
    parser = argparse.ArgumentParser(prog="python -m sandbox.simulation.yardstick", description=__doc__)
    parser.add_argument("--days", type=float, default=36, help="days of a trace (36)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first trace (1)")
    parser.add_argument("--traces", type=int, default=4, help="traces (4)")
    parser.add_argument("--rotating", action="store_true", help="refresh tokens that rotate")
    options = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    traces = [draw_trace(options.days, options.seed + number) for number in range(options.traces)]
    for hours in _HOURS:
        for name in COMPARED:
            print(measured(name, hours, traces, rotates=options.rotating), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
