"""The measurements (a) to (g): each compares the product with the straight line in one run, turn by turn.

A figure is the median of several turns. What counts is the ratio: both meet the same sandbox, the same time for each
request (the "hop") and the same other load of the machine. The product runs with a file lock, as the straight line
has no lease at all; what the blob lease adds is measured beside it.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.anatomy import dissect
from benchmarks.contender import PRODUCT, STRAIGHT_LINE, Contender, Took, refresh_cold
from benchmarks.stage import Stage, names_of
from sandbox.vault import Throttling

HOPS = (0, 30, 100)
"""Milliseconds that each request takes on its way."""
SCALES = (1, 10, 100, 1000)
_LIMIT = Throttling()
Row = dict[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """The interpreter of the deployed packages, and how many turns each takes."""

    python: str
    turns: int


def cold(bench: Bench) -> Iterator[Row]:
    """(a) A cold process to refreshed: from the first import of the app on."""
    yield from _for_each_hop(bench, _cold)


def warm(bench: Bench) -> Iterator[Row]:
    """(b) A warm refresh."""
    yield from _for_each_hop(bench, _warm)


def _for_each_hop(bench: Bench, measure: Callable[[Bench, Stage, Mapping[str, str], Row], Row]) -> Iterator[Row]:
    for hop in HOPS:
        with Stage(1, latency=hop / 1000) as stage:
            for lease in (False, True):
                environ = {**stage.environ, **({} if lease else {"LEASE_CONTAINER_URL": ""})}
                yield measure(bench, stage, environ, {"hop_ms": hop, "lease": "blob" if lease else "file"})


def _cold(bench: Bench, stage: Stage, environ: Mapping[str, str], about: Row) -> Row:
    return about | _compare(
        stage,
        bench.turns,
        lambda: refresh_cold(bench.python, PRODUCT, environ, names_of(1, "p")),
        lambda: refresh_cold(bench.python, STRAIGHT_LINE, environ, names_of(1, "s")),
    )


def _warm(bench: Bench, stage: Stage, environ: Mapping[str, str], about: Row) -> Row:
    with (
        Contender(bench.python, PRODUCT, environ) as product,
        Contender(bench.python, STRAIGHT_LINE, environ) as straight_line,
    ):
        return about | _compare(
            stage,
            2 * bench.turns,
            lambda: product.refresh(names_of(1, "p")),
            lambda: straight_line.refresh(names_of(1, "s")),
        )


def nothing_due(bench: Bench) -> Iterator[Row]:
    """(c) A warm tick with nothing due."""
    for hop in HOPS:
        with Stage(1, latency=hop / 1000) as stage, Contender(bench.python, PRODUCT, stage.environ) as product:
            for _ in range(3):
                product.refresh([])
            stage.requests()
            took = [product.refresh([]) for _ in range(4 * bench.turns)]
            requests = stage.requests()["all"] / len(took)
            yield {"hop_ms": hop, "ms": _ms(took), "cpu_ms": _cpu_ms(took), "requests": round(requests)}


def scaling(bench: Bench) -> Iterator[Row]:
    """(d) Many connections that are due in one tick. The straight line's thousand is ten times its hundred."""
    for hop in HOPS:
        yield from scaling_at(bench, hop)


def scaling_at(bench: Bench, hop: int) -> Iterator[Row]:
    """(d) with so many milliseconds for each hop."""
    straight_line = 0.0
    for many in SCALES:
        with Stage(many, latency=hop / 1000) as stage:
            environ = {**stage.environ, "LEASE_CONTAINER_URL": ""}
            turns = max(1, min(bench.turns, 300 // many))
            with Contender(bench.python, PRODUCT, environ) as product:
                took = list(_spaced(stage, product, many, turns))
                requests = stage.requests()["all"] / turns / many
            if many < SCALES[-1]:
                with Contender(bench.python, STRAIGHT_LINE, environ) as other:
                    straight_line = median(other.refresh(names_of(many, "s")).seconds for _ in range(turns))
            else:
                straight_line *= many / SCALES[-2]
        seconds = median(each.seconds for each in took)
        yield {
            "hop_ms": hop,
            "connections": many,
            "seconds": round(seconds, 3),
            "straight_line_seconds": round(straight_line, 3),
            "ratio": round(seconds / straight_line, 3),
            "cpu_ms_each": round(_cpu_ms(took) / many, 1),
            "requests_each": round(requests, 1),
            "memory_mb": round(max(each.memory for each in took), 1),
            "failed": sum(each.failed for each in took),
        }


def _spaced(stage: Stage, product: Contender, many: int, turns: int) -> Iterator[Took]:
    """Warm ticks in which all is due, far enough apart for the vault, as ticks are."""
    if many < SCALES[-1]:
        product.refresh([])
    stage.requests()
    for turn in range(turns):
        if turn or many < SCALES[-1]:
            time.sleep(_LIMIT.per_seconds)
        stage.age()
        yield product.refresh([])


def throttled(bench: Bench) -> Iterator[Row]:
    """(e) A thousand connections on a vault that throttles at its documented limit."""
    many = SCALES[-1]
    with Stage(many, latency=0.03, throttled=True) as stage:
        with Contender(bench.python, PRODUCT, {**stage.environ, "LEASE_CONTAINER_URL": ""}) as product:
            took = product.refresh([])
        requests = stage.requests()
    # So many may be written at once, and as many more each time that these have left the window.
    least = (requests["created"] - 1) // _LIMIT.creations * _LIMIT.per_seconds
    yield {
        "connections": many,
        "seconds": round(took.seconds, 1),
        "created": requests["created"],
        "least_seconds": round(least, 1),
        "share_of_limit": round(least / took.seconds, 3),
        "refused_429": requests.get("429", 0),
        "failed": took.failed,
        "memory_mb": round(took.memory, 1),
    }


def anatomy(bench: Bench) -> Iterator[Row]:
    """(g) Where the CPU of a cold refresh goes; azure.functions aside, which the worker has loaded before."""
    with Stage(1) as stage:
        environ = {**stage.environ, "LEASE_CONTAINER_URL": ""}
        for who, letter in ((PRODUCT, "p"), (STRAIGHT_LINE, "s")):
            names = names_of(1, letter)
            refresh_cold(bench.python, who, environ, names)
            yield {
                "who": who,
                **dissect(bench.python, who, environ, names, turns=bench.turns, before_each=stage.age),
            }


def _compare(stage: Stage, turns: int, product: Callable[[], Took], straight_line: Callable[[], Took]) -> Row:
    ours: list[Took] = []
    theirs: list[Took] = []
    product()
    straight_line()
    counted: list[Mapping[str, int]] = []
    for _ in range(turns):
        stage.age()
        stage.requests()
        ours.append(product())
        counted.append(stage.requests())
        theirs.append(straight_line())
        counted.append(stage.requests())
    return {
        "ms": _ms(ours),
        "straight_line_ms": _ms(theirs),
        "ratio": round(median(a.seconds / b.seconds for a, b in zip(ours, theirs, strict=True)), 2),
        "cpu_ms": _cpu_ms(ours),
        "straight_line_cpu_ms": _cpu_ms(theirs),
        "requests": counted[-2]["all"],
        "straight_line_requests": counted[-1]["all"],
        "failed": sum(each.failed for each in ours),
    }


def _ms(took: Sequence[Took]) -> float:
    return round(median(each.seconds for each in took) * 1000, 1)


def _cpu_ms(took: Sequence[Took]) -> float:
    return round(median(each.cpu for each in took) * 1000, 1)
