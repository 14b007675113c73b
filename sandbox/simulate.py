"""`make simulate`: weeks of faults in seconds, for the product and for the straight-line refresher.

Both live through the same trace (sandbox/trace.py), each in a sandbox of its own. The product is the whole app, its
settings, the SDK and httpx included, run at every tick; only TLS, sockets and the identity endpoint are left out
(sandbox/direct.py). What counts is the consumer: whether the token that the vault holds is one that the instance
accepts, to the second. Time in which ServiceNow itself was down is counted apart.
"""

import argparse
import json
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

import httpx
from azure.core.exceptions import AzureError

from benchmarks.straight_line import refresh as straight_line_refresh
from refresher.outcome import Outcome, RunRequest
from refresher.tokens import Trigger
from sandbox.clock import START
from sandbox.direct import DirectSandbox, Killed, Process
from sandbox.host import direct_app
from sandbox.personality import Personality
from sandbox.picture import draw_picture
from sandbox.trace import DOWNTIME, WITHOUT_TICKS, Kind, Trace, draw_trace, length, union, without
from sandbox.weather import TraceWeather

TARGET = "servicenow--action--global--oauth-token"
_TICK = 5.0
_LATE = 2.0
"""Seconds that a timer fires late, at most."""
_SETTLED = 1.0
"""Minutes after which the first token must be there."""

Spans = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How the instance is set up, and the settings that go with it."""

    name: str
    personality: Personality
    settings: dict[str, str]


def _scenario(name: str, *, days: int, rotates: bool = False, same: bool = False, minutes: int = 60) -> Scenario:
    lifetime = timedelta(days=days)
    return Scenario(
        name=name,
        personality=Personality(
            rotates=rotates,
            same_token=same,
            refresh_token_lifetime=lifetime,
            access_token_lifetime=timedelta(minutes=minutes),
        ),
        settings={
            "SERVICENOW_FALLBACK_GRANT": "password",
            "SERVICENOW_REFRESH_TOKEN_LIFETIME": str(int(lifetime.total_seconds())),
        },
    )


SCENARIOS = {
    scenario.name: scenario
    for scenario in (
        _scenario("100d", days=100),
        _scenario("24h", days=1),
        _scenario("100d-rotating", days=100, rotates=True),
        _scenario("24h-rotating", days=1, rotates=True),
        _scenario("2h-tokens", days=100, minutes=120),
        _scenario("30min-tokens", days=100, minutes=30),
        _scenario("same-token", days=100, same=True),
    )
}


@dataclass(slots=True, kw_only=True)
class Result:
    """What a consumer of one refresher met in one trace; spans in minutes since the beginning."""

    refresher: str
    scenario: str
    seed: int
    days: float
    down: Spans
    gaps: Spans
    """Without a token that the instance accepts, outside of its own downtime."""
    platform_away: Spans
    """No program runs that could refresh, until the first tick after it."""
    runs: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    kills: int = 0
    healthy_at_the_end: bool = False

    @property
    def up_minutes(self) -> float:
        """Minutes in which ServiceNow was up."""
        return self.days * 24 * 60 - length(self.down)

    @property
    def availability(self) -> float:
        """Share of those minutes with a token that works."""
        return 1 - length(self.gaps) / self.up_minutes

    @property
    def minutes_by_platform(self) -> float:
        """Minutes of the gaps in which the platform of the refresher itself was away."""
        return length(self.gaps) - length(without(self.gaps, self.platform_away))

    @property
    def longest_gap(self) -> float:
        """Minutes."""
        return max((ends - begins for begins, ends in self.gaps), default=0.0)


class Consumer:
    """Looks into the vault after every run, and knows when the token there was written and when it ends."""

    def __init__(self, sandbox: DirectSandbox, name: str) -> None:
        self._sandbox = sandbox
        self._name = name
        self._seen: tuple[str, float] | None = None
        self._held: list[tuple[float, float]] = []

    def look(self) -> None:
        """Note the token that is there now."""
        secret = self._sandbox.vault.get(self._name)
        if secret is None:
            return
        ends_at = self._sandbox.instance.access_token_ends_at(secret.value)
        ends = _minute(ends_at.timestamp()) if ends_at is not None else 0.0
        if self._seen == (secret.value, ends):
            return
        # Key Vault's dates have whole seconds: take the next one.
        written = _minute(secret.created_on.timestamp() + 1)
        if self._seen is not None and self._seen[0] == secret.value:
            written = _minute(self._sandbox.clock.now().timestamp())
        self._seen = (secret.value, ends)
        self._held.append((written, ends))

    def gaps(self, trace: Trace) -> Spans:
        """When there was no token, or one that had ended."""
        covered: Spans = []
        for (written, ends), following in zip(self._held, [*self._held[1:], None], strict=True):
            until = min(ends, following[0]) if following is not None else ends
            if until > written:
                covered.append((written, until))
        return without([(_SETTLED, trace.minutes)], union(covered))


def _minute(timestamp: float) -> float:
    return (timestamp - START.timestamp()) / 60


def simulate_product(trace: Trace, scenario: Scenario) -> Result:
    """The product, on its ticks."""
    sandbox, weather = _sandbox(trace, scenario, "product")
    consumer = Consumer(sandbox, TARGET)
    result = _result("product", trace, scenario)
    process = Process(sandbox)
    app = direct_app(sandbox, process, trace.seed, **scenario.settings)
    for _ in _ticks(trace, sandbox, weather, every_five_minutes=True):
        weather.begin_run(process, 20)
        try:
            (report,) = app.tick(RunRequest(trigger=Trigger.TIMER))
            result.outcomes[report.outcome] += 1
        except Killed:
            result.kills += 1
            process = Process(sandbox)
            app = direct_app(sandbox, process, trace.seed, **scenario.settings)
        result.runs += 1
        consumer.look()
    result.gaps = without(consumer.gaps(trace), result.down)
    result.healthy_at_the_end = _is_healthy(sandbox, TARGET)
    return result


def simulate_straight_line(trace: Trace, scenario: Scenario) -> Result:
    """The straight-line refresher, at :00 and :50, with the SDK's own retries."""
    sandbox, weather = _sandbox(trace, scenario, "straight line")
    consumer = Consumer(sandbox, "servicenow-oauth-token")
    result = _result("straight line", trace, scenario)
    for _ in _ticks(trace, sandbox, weather, every_five_minutes=False):
        process = Process(sandbox)
        weather.begin_run(process, 8)
        try:
            straight_line_refresh(
                sandbox.vault.url,
                sandbox.instance.url,
                client=process.make_default_secret_client(sandbox.vault.url),
                transport=process.instance_transport(),
            )
            result.outcomes["refreshed"] += 1
        except Killed:
            result.kills += 1
        except (AzureError, OSError, RuntimeError, ValueError, KeyError, httpx.HTTPError):
            result.outcomes["failed"] += 1
        result.runs += 1
        consumer.look()
    result.gaps = without(consumer.gaps(trace), result.down)
    result.healthy_at_the_end = _is_healthy(sandbox, "servicenow-oauth-token")
    return result


def _sandbox(trace: Trace, scenario: Scenario, who: str) -> tuple[DirectSandbox, TraceWeather]:
    sandbox = DirectSandbox(scenario.personality, log=False)
    sandbox.add_connection(username=True)
    weather = TraceWeather(trace, sandbox, f"{trace.seed} {who}")
    sandbox.weather = weather
    return sandbox, weather


def _result(who: str, trace: Trace, scenario: Scenario) -> Result:
    down = trace.spans(DOWNTIME)
    away = [(begins, ends + _TICK) for begins, ends in trace.spans({Kind.PLATFORM_OUTAGE})]
    return Result(
        refresher=who,
        scenario=scenario.name,
        seed=trace.seed,
        days=trace.days,
        down=down,
        gaps=[],
        platform_away=union(away),
    )


def _is_healthy(sandbox: DirectSandbox, name: str) -> bool:
    """Whether the refresh token in the vault is one that ServiceNow accepts, and the access token was."""
    refresh_token, access_token = sandbox.vault.get("servicenow-refresh-token"), sandbox.vault.get(name)
    return (
        refresh_token is not None
        and access_token is not None
        and sandbox.instance.is_living_refresh_token(refresh_token.value)
        and sandbox.instance.access_token_ends_at(access_token.value) is not None
    )


def _ticks(trace: Trace, sandbox: DirectSandbox, weather: TraceWeather, *, every_five_minutes: bool) -> Iterator[None]:
    """Move the clock from tick to tick; those that fall into an outage of the platform, or a run, do not happen."""
    lateness = random.Random(f"{trace.seed} lateness")
    silent = trace.spans(WITHOUT_TICKS)
    for number in range(int(trace.minutes / _TICK)):
        minute = number * _TICK
        late = lateness.uniform(0, _LATE) / 60
        if not every_five_minutes and minute % 60 not in {0, 50}:
            continue
        while silent and silent[0][1] <= minute:
            silent.pop(0)
        if (silent and silent[0][0] <= minute) or weather.minute() > minute + late:
            continue
        sandbox.clock.advance(timedelta(minutes=minute + late - weather.minute()))
        yield


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One trace with one scenario."""

    days: float
    seed: int
    harshness: float
    scenario: str


def run_job(job: Job) -> tuple[Result, Result]:
    """Simulate both refreshers."""
    trace = draw_trace(job.days, job.seed, job.harshness)
    scenario = SCENARIOS[job.scenario]
    return simulate_product(trace, scenario), simulate_straight_line(trace, scenario)


def _log_nothing() -> None:
    """In a process that only simulates, a million events would be formatted for nobody."""
    logging.disable(logging.CRITICAL)


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate, print, and exit with 0 where the product kept its promise."""
    options = _parse(arguments)
    names = options.scenarios.split(",")
    jobs = [
        Job(days=options.days, seed=options.seed + number, harshness=options.harshness, scenario=name)
        for number in range(options.traces)
        for name in (names if options.traces == 1 else [names[number % len(names)]])
    ]
    began = time.perf_counter()
    with ProcessPoolExecutor(options.processes, initializer=_log_nothing) as pool:
        results = [result for pair in pool.map(run_job, jobs) for result in pair]
    if options.picture:
        trace = draw_trace(jobs[0].days, jobs[0].seed, jobs[0].harshness)
        of_first_trace = [result for result in results if result.seed == jobs[0].seed]
        options.picture.write_text(draw_picture(trace, *of_first_trace), "utf-8")
    if options.json:
        print(json.dumps(_as_json(results, options), indent=2))
    else:
        _print(results, options, time.perf_counter() - began)
    product = [result for result in results if result.refresher == "product"]
    return 0 if _availability(product) >= 0.9999 and all(each.healthy_at_the_end for each in product) else 1


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make simulate", description=__doc__)
    parser.add_argument("--days", type=float, default=30, help="days of a trace (30)")
    parser.add_argument("--seed", type=int, default=1, help="seed of the first trace (1)")
    parser.add_argument("--traces", type=int, default=1, help="traces; scenarios take turns where there are several")
    parser.add_argument("--scenarios", default="100d,24h", help=f"of {', '.join(SCENARIOS)}")
    parser.add_argument("--harshness", type=float, default=1.0, help="multiplies the rates of all incidents (1)")
    parser.add_argument("--processes", type=int, default=None, help="processes side by side (one per processor)")
    parser.add_argument("--picture", type=Path, metavar="FILE", help="write the timelines of the first trace as SVG")
    parser.add_argument("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _print(results: Sequence[Result], options: argparse.Namespace, took: float) -> None:
    days = sum(result.days for result in results) / 2
    print(f"{days:g} simulated days, seed {options.seed}, harshness {options.harshness:g}, in {took:.0f} s")
    print()
    print(
        f"{'refresh token':<16} {'seed':>4}  {'refresher':<14} {'available':>10} {'without':>10} {'longest':>9}  runs"
    )
    for result in results:
        _print_row(result.scenario, str(result.seed), result.refresher, [result])
    for who in ("product", "straight line"):
        _print_row("all", "", who, [result for result in results if result.refresher == who])
    down = sum(length(result.down) for result in results) / 2
    print()
    print(f"available: share of the time in which ServiceNow was up (it was down {down / 60:.1f} h of {days:g} days)")
    product = [result for result in results if result.refresher == "product"]
    lost, away = _minutes_without(product), sum(result.minutes_by_platform for result in product)
    print(
        f"of the product's {lost:.1f} min without a token, {away:.1f} min were outages of the platform, in which no "
        f"timer fired: {1 - (lost - away) / _up_minutes(product):.4%} without them"
    )
    for result in results:
        if result.refresher == "product" and not result.healthy_at_the_end:
            print(f"{result.scenario}, seed {result.seed}: the refresh token in the vault is dead at the end")


def _print_row(scenario: str, seed: str, who: str, results: Sequence[Result]) -> None:
    without_token = _minutes_without(results)
    longest = max(result.longest_gap for result in results)
    runs = sum(result.runs for result in results)
    share = f"{_availability(results):.4%}"
    print(f"{scenario:<16} {seed:>4}  {who:<14} {share:>10} {_span(without_token):>10} {_span(longest):>9}  {runs}")


def _minutes_without(results: Sequence[Result]) -> float:
    return sum(length(result.gaps) for result in results)


def _up_minutes(results: Sequence[Result]) -> float:
    return sum(result.up_minutes for result in results)


def _availability(results: Sequence[Result]) -> float:
    return 1 - _minutes_without(results) / _up_minutes(results)


def _span(minutes: float) -> str:
    return f"{minutes / 60:.1f} h" if minutes >= 180 else f"{minutes:.1f} min"


def _as_json(results: Sequence[Result], options: argparse.Namespace) -> dict[str, object]:
    return {
        "days": options.days,
        "seed": options.seed,
        "harshness": options.harshness,
        "availability": {
            who: _availability([each for each in results if each.refresher == who])
            for who in ("product", "straight line")
        },
        "results": [
            {
                "refresher": result.refresher,
                "scenario": result.scenario,
                "seed": result.seed,
                "days": result.days,
                "availability": result.availability,
                "minutes_without_token": round(length(result.gaps), 3),
                "longest_gap_minutes": round(result.longest_gap, 3),
                "minutes_by_platform": round(result.minutes_by_platform, 3),
                "instance_down_minutes": round(length(result.down), 3),
                "runs": result.runs,
                "killed": result.kills,
                "outcomes": dict(result.outcomes),
                "authorization_required": result.outcomes[Outcome.AUTHORIZATION_REQUIRED],
                "healthy_at_the_end": result.healthy_at_the_end,
                "gaps": [[round(begins, 3), round(ends, 3)] for begins, ends in result.gaps],
            }
            for result in results
        ],
    }


if __name__ == "__main__":
    sys.exit(main())
