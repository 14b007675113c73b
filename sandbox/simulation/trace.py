"""Fault traces: what goes wrong on some days, drawn from a documented distribution by a seed.

Incidents of each kind begin at random (exponential gaps with the mean given), and last a random time between the
shortest and the longest, short ones being more frequent (log-uniform). Beside them, single requests fail now and
then. The rates are assumptions, on the harsh side of what installations report; `harshness` multiplies them all.
"""

import math
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """What can be the matter."""

    INSTANCE_DOWN = "instance_down"
    MAINTENANCE = "maintenance"
    HIBERNATION = "hibernation"
    REFUSALS = "refusals"
    RATE_LIMIT = "rate_limit"
    SLOWNESS = "slowness"
    VAULT_THROTTLING = "vault_throttling"
    VAULT_FAILING = "vault_failing"
    LEASES_DOWN = "leases_down"
    IDENTITY_FAILING = "identity_failing"
    RESTART = "restart"
    PLATFORM_OUTAGE = "platform_outage"
    KILL = "kill"


DOWNTIME = frozenset({Kind.INSTANCE_DOWN, Kind.MAINTENANCE, Kind.HIBERNATION})
"""ServiceNow as a whole is away: a token, however good, serves nobody."""
WITHOUT_TICKS = frozenset({Kind.RESTART, Kind.PLATFORM_OUTAGE})


@dataclass(frozen=True, slots=True, kw_only=True)
class Hazard:
    """How often a kind of incident begins, how long it lasts, and the share of its requests that it meets."""

    kind: Kind
    mean_days: float
    shortest: float
    longest: float
    share: float
    what: str


HAZARDS = (
    Hazard(
        kind=Kind.INSTANCE_DOWN,
        mean_days=10,
        shortest=1,
        longest=20,
        share=1.0,
        what="the instance refuses connections, answers 503 or not at all",
    ),
    Hazard(
        kind=Kind.MAINTENANCE,
        mean_days=60,
        shortest=30,
        longest=240,
        share=1.0,
        what="the same for the time of a patch, a clone or an upgrade",
    ),
    Hazard(
        kind=Kind.HIBERNATION,
        mean_days=90,
        shortest=60,
        longest=720,
        share=1.0,
        what="a developer instance sleeps until somebody wakes it; it answers 200 with a page",
    ),
    Hazard(
        kind=Kind.REFUSALS,
        mean_days=3,
        shortest=1,
        longest=30,
        share=0.8,
        what="the token endpoint answers its generic 401 without a reason",
    ),
    Hazard(
        kind=Kind.RATE_LIMIT,
        mean_days=2,
        shortest=1,
        longest=20,
        share=0.8,
        what="the instance answers 429, with Retry-After (1 to 60 s) or without",
    ),
    Hazard(
        kind=Kind.SLOWNESS,
        mean_days=4,
        shortest=2,
        longest=30,
        share=0.4,
        what="the instance does not answer in time; half of these requests had their effect",
    ),
    Hazard(
        kind=Kind.VAULT_THROTTLING,
        mean_days=3,
        shortest=0.5,
        longest=10,
        share=0.7,
        what="Key Vault answers 429 with Retry-After (1 to 10 s)",
    ),
    Hazard(
        kind=Kind.VAULT_FAILING,
        mean_days=20,
        shortest=1,
        longest=15,
        share=0.9,
        what="Key Vault answers 503, not at all, or loses the answer of a request that it carried out",
    ),
    Hazard(
        kind=Kind.LEASES_DOWN,
        mean_days=10,
        shortest=2,
        longest=60,
        share=1.0,
        what="the storage account of the lease answers 503 or not at all",
    ),
    Hazard(
        kind=Kind.IDENTITY_FAILING,
        mean_days=15,
        shortest=1,
        longest=60,
        share=0.9,
        what="the identity endpoint answers 500 without a reason, or not at all; only grant entra_id asks it here",
    ),
    Hazard(
        kind=Kind.RESTART,
        mean_days=4,
        shortest=2,
        longest=10,
        share=1.0,
        what="a deploy or a restart: no timer fires",
    ),
    Hazard(
        kind=Kind.PLATFORM_OUTAGE,
        mean_days=120,
        shortest=15,
        longest=45,
        share=1.0,
        what="the platform is away: no timer fires",
    ),
    Hazard(
        kind=Kind.KILL,
        mean_days=1,
        shortest=0.1,
        longest=0.2,
        share=1.0,
        what="the worker is killed at one of the requests of the next run that does something",
    ),
)
NOISE = 0.002
"""Share of all requests that fail by themselves: half are dropped unseen, half are carried out and not answered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident; times in minutes since the beginning."""

    hazard: Hazard
    begins: float
    ends: float

    @property
    def kind(self) -> Kind:
        """What is the matter."""
        return self.hazard.kind


@dataclass(frozen=True, slots=True, kw_only=True)
class Trace:
    """What goes wrong in so many days."""

    seed: int
    days: float
    incidents: tuple[Incident, ...]

    @property
    def minutes(self) -> float:
        """Its length."""
        return self.days * 24 * 60

    def spans(self, kinds: Iterable[Kind]) -> list[tuple[float, float]]:
        """When any incident of these kinds lasts: spans that do not overlap, in order."""
        chosen = frozenset(kinds)
        return union((each.begins, each.ends) for each in self.incidents if each.kind in chosen)


def draw_trace(days: float, seed: int, harshness: float = 1.0) -> Trace:
    """Draw a trace; the same one for the same arguments."""
    incidents: list[Incident] = []
    for hazard in HAZARDS:
        incidents += _draw(hazard, days * 24 * 60, random.Random(f"{seed} {hazard.kind}"), harshness)
    return Trace(seed=seed, days=days, incidents=tuple(sorted(incidents, key=lambda each: each.begins)))


def _draw(hazard: Hazard, minutes: float, chance: random.Random, harshness: float) -> Iterator[Incident]:
    begins = 0.0
    while True:
        begins += chance.expovariate(harshness / (hazard.mean_days * 24 * 60))
        if begins >= minutes:
            return
        lasts = math.exp(chance.uniform(math.log(hazard.shortest), math.log(hazard.longest)))
        yield Incident(hazard=hazard, begins=begins, ends=min(minutes, begins + lasts))
        begins += lasts


def union(spans: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The spans joined where they overlap."""
    joined: list[tuple[float, float]] = []
    for begins, ends in sorted(spans):
        if joined and begins <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], ends))
        else:
            joined.append((begins, ends))
    return joined


def without(spans: Iterable[tuple[float, float]], holes: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """What is left of the spans outside of the holes (which are in order and do not overlap)."""
    left: list[tuple[float, float]] = []
    for first, ends in spans:
        begins = first
        for hole_begins, hole_ends in holes:
            if hole_ends <= begins or hole_begins >= ends:
                continue
            if hole_begins > begins:
                left.append((begins, hole_begins))
            begins = max(begins, hole_ends)
        if begins < ends:
            left.append((begins, ends))
    return left


def length(spans: Iterable[tuple[float, float]]) -> float:
    """How long the spans last together."""
    return sum(ends - begins for begins, ends in spans)
