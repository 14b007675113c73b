"""`python -m sandbox.simulation.revocations`: how long a revoked token stays in the vault, and what finding out costs.

Now and then somebody revokes the access token that the vault holds, at a random moment; the product ticks every five
minutes, up to two seconds late. Healed is it once the consumer's secret holds a token that the instance accepts.
With `--faults` the incidents of `make simulate` go on meanwhile.
"""

import argparse
import logging
import random
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from statistics import median

from refresher.model.report import RunRequest, Trigger
from sandbox.direct import DirectSandbox, Killed, Process
from sandbox.personality import Personality
from sandbox.simulation.scenarios import TARGET
from sandbox.simulation.trace import draw_trace
from sandbox.simulation.weather import TraceWeather
from sandbox.trial.host import direct_app

_TICK = 5 * 60.0
_LATE = 2.0
"""Seconds that a timer fires late, at most."""
_APART = 3600.0
"""Seconds between two revocations, at least: within a refresh interval the second one waits, by design."""
_COMPARED = {"tried at each tick": "", "every 15 minutes": "15", "never (VERIFY_INTERVAL_MINUTES=0)": "0"}


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Minutes until each revoked token was replaced by one that works, and what the days cost."""

    days: float
    minutes: list[float] = field(default_factory=list)
    requests: int = 0
    """To the instance."""
    token_requests: int = 0

    def told(self, name: str) -> str:
        """One row of the table."""
        each = f"{median(self.minutes):>7.1f} {max(self.minutes):>7.1f}"
        daily = f"{self.requests / self.days:>9.0f} {self.token_requests / self.days:>14.0f}"
        return f"{name:<34} {len(self.minutes):>8} {each} {daily}"


def simulate(days: float, seed: int, *, faults: bool = False, mean_hours: float = 6.0, **settings: str) -> Outcome:
    """So many days, with a revocation every so many hours on average, and one more between any two."""
    chance = random.Random(f"{seed} revocations")
    sandbox = DirectSandbox(Personality())
    sandbox.add_connection()
    process = Process(sandbox)
    app = direct_app(sandbox, process, seed, **settings)
    began, outcome = sandbox.clock.now(), Outcome(days=days)
    weather = TraceWeather(draw_trace(days, seed, 1.0), sandbox, str(seed)) if faults else None
    if weather is not None:
        sandbox.weather = weather
    revoked_at: float | None = None
    coming = _APART + chance.expovariate(1 / (mean_hours * 3600))

    def seconds() -> float:
        return (sandbox.clock.now() - began).total_seconds()

    for number in range(int(days * 24 * 3600 / _TICK)):
        fires_at = number * _TICK + chance.uniform(0, _LATE)
        if coming < fires_at and revoked_at is None:
            held = sandbox.vault.get(TARGET)
            if held is not None and sandbox.instance.is_living_access_token(held.value):
                sandbox.instance.kill_access_token(held.value)
                revoked_at = coming
            coming += _APART + chance.expovariate(1 / (mean_hours * 3600))
        sandbox.clock.advance(timedelta(seconds=max(0.0, fires_at - seconds())))
        if weather is not None:
            weather.begin_run(process, 20)
        try:
            app.tick(RunRequest(trigger=Trigger.TIMER))
        except Killed:
            process = Process(sandbox)
            app = direct_app(sandbox, process, seed, **settings)
        held = sandbox.vault.get(TARGET)
        if revoked_at is not None and held is not None and sandbox.instance.is_living_access_token(held.value):
            outcome.minutes.append((seconds() - revoked_at) / 60)
            revoked_at = None
        to_instance = [each.path for each in sandbox.log.select(service="instance")]
        outcome.requests += len(to_instance)
        outcome.token_requests += to_instance.count("/oauth_token.do")
        sandbox.log.clear()
    return outcome


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate with and without trials, and print a table."""
    parser = argparse.ArgumentParser(prog="revocations", description=__doc__)
    parser.add_argument("--days", type=float, default=30)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--faults", action="store_true", help="with the incidents of `make simulate`")
    given = parser.parse_args(arguments)
    logging.disable(logging.CRITICAL)
    print(f"{'':<34} {'revoked':>8} {'median':>7} {'longest':>7} {'requests':>9} {'token requests':>14}")
    for name, every in _COMPARED.items():
        print(simulate(given.days, given.seed, faults=given.faults, VERIFY_INTERVAL_MINUTES=every).told(name))
    print("minutes from the revocation to a token that works; requests to the instance in a day")
    return 0


if __name__ == "__main__":
    sys.exit(main())
