"""`make simulate`: weeks of faults in seconds, for the product and for the straight-line refresher, as a table."""

import argparse
import json
import logging
import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path

from refresher.model.report import Outcome
from refresher.views.terminal import while_read
from sandbox.alone import be_alone
from sandbox.simulation.picture import draw_picture
from sandbox.simulation.scenarios import SCENARIOS, Job, Result, run_job
from sandbox.simulation.trace import draw_trace, length


def _in_a_process(job: Job) -> tuple[Result, Result]:
    """A process for each, so that a trace comes out the same whatever ran before it: the SDK remembers vaults.

    Over a pipe: a pool of processes needs semaphores, and with them a /dev/shm that may be full or forbidden.
    """
    spawn = get_context("spawn")
    receiving, sending = spawn.Pipe(duplex=False)
    process = spawn.Process(target=_work, args=(job, sending))
    process.start()
    sending.close()
    pair: tuple[Result, Result] = receiving.recv()
    process.join()
    return pair


def _work(job: Job, sending: Connection) -> None:
    # In a process that only simulates, a million events would be formatted for nobody.
    logging.disable(logging.CRITICAL)
    sending.send(run_job(job))


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
    with ThreadPoolExecutor(options.processes or os.cpu_count()) as threads:
        results = [result for pair in threads.map(_in_a_process, jobs) for result in pair]
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
    be_alone()
    sys.exit(while_read(main))
