"""`make bench`: measure, print a table for each experiment, and write the figures where one says so."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import experiments
from benchmarks.experiments import Bench, Row
from benchmarks.plot import draw_scaling

EXPERIMENTS: Mapping[str, Callable[[Bench], Iterator[Row]]] = {
    "a": experiments.cold,
    "b": experiments.warm,
    "c": experiments.nothing_due,
    "d": experiments.scaling,
    "e": experiments.throttled,
    "g": experiments.imports,
}


def main() -> int:
    """Run the experiments; memory, (f), is measured with (d)."""
    options = argparse.ArgumentParser(prog="make bench", description=__doc__)
    options.add_argument("--only", default="".join(EXPERIMENTS), help="letters of the experiments (%(default)s)")
    options.add_argument(
        "--turns", type=int, default=7, help="turns of each, of which the median counts (%(default)s)"
    )
    options.add_argument("--python", default=sys.executable, help="interpreter with the deployed packages only")
    options.add_argument("--json", type=Path, metavar="FILE", help="write the figures")
    options.add_argument("--plot", type=Path, metavar="FILE", help="draw (d) as SVG")
    given = options.parse_args()
    figures: dict[str, list[Row]] = {}
    for letter in given.only:
        measure = EXPERIMENTS[letter]
        print(f"\n{measure.__doc__}\n", flush=True)
        figures[letter] = []
        for row in measure(Bench(python=given.python, turns=given.turns)):
            if not figures[letter]:
                _print_line(list(row))
                _print_line(["---"] * len(row))
            _print_line([str(value) for value in row.values()])
            figures[letter].append(row)
    if given.json:
        given.json.parent.mkdir(parents=True, exist_ok=True)
        given.json.write_text(json.dumps(figures, indent=1) + "\n", "utf-8")
    if given.plot and "d" in figures:
        given.plot.write_text(draw_scaling(figures["d"]), "utf-8")
    # A refresh that fails is quick, and no figure.
    return 1 if any(row.get("failed") for rows in figures.values() for row in rows) else 0


def _print_line(cells: Sequence[str]) -> None:
    print(f"| {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    sys.exit(main())
