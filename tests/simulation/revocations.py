"""How long a revoked token stays in the vault, simulated.

Now and then somebody revokes the access token that the vault holds, at a random moment; the product ticks every five
minutes, up to two seconds late. Healed is it once the consumer's secret holds a token that the instance accepts.
"""

import random
from dataclasses import dataclass, field
from datetime import timedelta

from refresher.model.report import RunRequest, Trigger
from sandbox.direct import DirectSandbox, Process
from sandbox.personality import Personality
from sandbox.simulation.scenarios import TARGET
from sandbox.trial.host import direct_app

_TICK = 5 * 60.0
_LATE = 2.0
"""Seconds that a timer fires late, at most."""
_APART = 3600.0
"""Seconds between two revocations, at least: within a refresh interval the second one waits, by design."""


@dataclass(slots=True, kw_only=True)
class Outcome:
    """Minutes until each revoked token was replaced by one that works, and what the days cost."""

    minutes: list[float] = field(default_factory=list)
    requests: int = 0
    """To the instance."""


def simulate(days: float, seed: int, *, mean_hours: float, **settings: str) -> Outcome:
    """So many days, with a revocation every so many hours on average, and one more between any two."""
    chance = random.Random(f"{seed} revocations")
    sandbox = DirectSandbox(Personality())
    sandbox.add_connection()
    app = direct_app(sandbox, Process(sandbox), seed, **settings)
    began, outcome = sandbox.clock.now(), Outcome()
    revoked_at: float | None = None
    coming = _APART + chance.expovariate(1 / (mean_hours * 3600))

    def seconds() -> float:
        return (sandbox.clock.now() - began).total_seconds()

    def is_living() -> bool:
        held = sandbox.vault.get(TARGET)
        return held is not None and sandbox.instance.is_living_access_token(held.value)

    for number in range(int(days * 24 * 3600 / _TICK)):
        fires_at = number * _TICK + chance.uniform(0, _LATE)
        if coming < fires_at and revoked_at is None:
            held = sandbox.vault.get(TARGET)
            if held is not None and is_living():
                sandbox.instance.kill_access_token(held.value)
                revoked_at = coming
            coming += _APART + chance.expovariate(1 / (mean_hours * 3600))
        sandbox.clock.advance(timedelta(seconds=max(0.0, fires_at - seconds())))
        app.tick(RunRequest(trigger=Trigger.TIMER))
        if revoked_at is not None and is_living():
            outcome.minutes.append((seconds() - revoked_at) / 60)
            revoked_at = None
        outcome.requests += len(sandbox.log.select(service="instance"))
        sandbox.log.clear()
    return outcome
