"""Both refreshers, the product and the straight line, in one trace of faults (`trace`), to the second.

Each has a sandbox of its own. The product is the whole app, its settings, the SDK and httpx included, run at every
tick; only TLS, sockets and the identity endpoint are left out (sandbox/direct.py). What counts is the consumer:
whether the token that the vault holds is one that the instance accepts. Time in which ServiceNow itself was down is
counted apart.
"""

import random
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import httpx
from azure.core.exceptions import AzureError

from benchmarks.straight_line import refresh as straight_line_refresh
from refresher.model.report import RunRequest, Trigger
from sandbox.clock import START
from sandbox.direct import DirectSandbox, Killed, Process
from sandbox.entra import OidcEntity, Registration
from sandbox.personality import Personality
from sandbox.simulation.trace import DOWNTIME, WITHOUT_TICKS, Kind, Trace, draw_trace, length, union, without
from sandbox.simulation.weather import TraceWeather
from sandbox.trial.host import direct_app, environment

APPLICATION = "00000000-0000-4000-8000-0000000000a1"
TARGET = "servicenow--action--global--oauth-token"
_TICK = 5
EVERY_FIVE, EVERY_FIFTEEN = frozenset(range(0, 60, 5)), frozenset(range(0, 60, 15))
GUIDE = frozenset({0, 50})
"""Minutes of an hour at which a timer fires: of the product, and of the guide's expression `0 */50 * * * *`."""
_LATE = 2.0
"""Seconds that a timer fires late, at most."""
_START = 0.25
"""Minutes that the host needs until it fires, once it is there again."""
_AN_INSTANT = 0.0001
_SETTLED = 1.0
"""Minutes after which the first token must be there."""

Spans = list[tuple[float, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """How the instance is set up, and the settings that go with it."""

    name: str
    personality: Personality
    settings: dict[str, str]
    entra: bool = False
    """Whether ServiceNow trusts Microsoft Entra's token for the app; the straight line keeps its refresh token."""


def _scenario(
    name: str, *, days: int, rotates: bool = False, same: bool = False, extends: bool = False, minutes: int = 60
) -> Scenario:
    lifetime = timedelta(days=days)
    return Scenario(
        name=name,
        personality=Personality(
            rotates=rotates,
            same_token=same,
            extends=extends,
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
        _scenario("same-token-extended", days=100, same=True, extends=True),
        Scenario(
            name="entra-id",
            personality=Personality(),
            settings={
                "SERVICENOW_GRANT": "entra_id",
                "SERVICENOW_ENTRA_SCOPE": f"{APPLICATION}/.default",
            },
            entra=True,
        ),
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
    """No program runs that could refresh, until the tick that makes up for it."""
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
        for (written, ends), following in zip(self._held, [*self._held[1:], None], strict=False):
            until = min(ends, following[0]) if following is not None else ends
            if until > written:
                covered.append((written, until))
        return without([(_SETTLED, trace.minutes)], union(covered))


def _minute(timestamp: float) -> float:
    return (timestamp - START.timestamp()) / 60


def simulate_product(trace: Trace, scenario: Scenario) -> Result:
    """The product, on its ticks."""
    sandbox, weather = _sandbox(trace, scenario, "product")
    # azure-identity asks the environment where the identity endpoint is.
    with environment(sandbox.environ()):
        return _simulate_product(trace, scenario, sandbox, weather)


def _simulate_product(trace: Trace, scenario: Scenario, sandbox: DirectSandbox, weather: TraceWeather) -> Result:
    consumer = Consumer(sandbox, TARGET)
    result = _result("product", trace, scenario)
    process = Process(sandbox)
    app = direct_app(sandbox, process, trace.seed, **scenario.settings)
    for dies_at in _ticks(trace, sandbox, weather, EVERY_FIVE):
        process.dies_at = dies_at
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
    result.healthy_at_the_end = scenario.entra or _is_healthy(sandbox, TARGET)
    return result


def simulate_straight_line(trace: Trace, scenario: Scenario, at: Collection[int] = GUIDE) -> Result:
    """The straight-line refresher, at these minutes of each hour, with the SDK's own retries."""
    sandbox, weather = _sandbox(trace, scenario, "straight line")
    consumer = Consumer(sandbox, "servicenow-oauth-token")
    result = _result("straight line", trace, scenario)
    for dies_at in _ticks(trace, sandbox, weather, at):
        process = Process(sandbox)
        process.dies_at = dies_at
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
    if scenario.entra:
        sandbox.entra.registrations[APPLICATION] = Registration(client_id=APPLICATION)
        sandbox.instance.oidc = OidcEntity(client_id=APPLICATION)
    weather = TraceWeather(trace, sandbox, f"{trace.seed} {who}")
    sandbox.weather = weather
    return sandbox, weather


def _result(who: str, trace: Trace, scenario: Scenario) -> Result:
    down = trace.spans(DOWNTIME)
    away = [(begins, ends + _START) for begins, ends in trace.spans({Kind.PLATFORM_OUTAGE})]
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


def _ticks(
    trace: Trace, sandbox: DirectSandbox, weather: TraceWeather, at: Collection[int]
) -> Iterator[datetime | None]:
    """Move the clock from tick to tick, and say of each when the host goes away next.

    A tick that falls into a run does not happen.
    """
    lateness = random.Random(f"{trace.seed} lateness")
    silent = trace.spans(WITHOUT_TICKS)
    schedule = firings(
        silent,
        trace.minutes,
        at,
        interrupted=lambda begins: weather.minute() > begins - _AN_INSTANT,
    )
    for minute in schedule:
        fires_at = minute + lateness.uniform(0, _LATE) / 60
        if weather.minute() > fires_at:
            continue
        sandbox.clock.advance(timedelta(minutes=fires_at - weather.minute()))
        goes_away = next((begins for begins, _ in silent if begins > fires_at), None)
        yield START + timedelta(minutes=goes_away) if goes_away is not None else None


def firings(
    silent: Sequence[tuple[float, float]],
    minutes: float,
    at: Collection[int],
    *,
    interrupted: Callable[[float], bool] = lambda _: False,
) -> Iterator[float]:
    """When the timer fires, if nothing fires in these spans (in order, and apart); `at` are minutes of an hour.

    The host keeps the schedule's state (timer trigger with `useMonitor`): where it missed ticks, or one of them was
    `interrupted` by the span that begins then, it makes up for them with one, as soon as it is there again.
    """
    coming = list(reversed(silent))
    missed = False
    for number in range(int(minutes / _TICK)):
        minute = number * _TICK
        while coming and coming[-1][1] <= minute:
            begins, ends = coming.pop()
            if missed or interrupted(begins):
                yield ends + _START
            missed = False
        scheduled = minute % 60 in at
        if coming and coming[-1][0] <= minute:
            missed |= scheduled
        elif scheduled:
            yield minute


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
