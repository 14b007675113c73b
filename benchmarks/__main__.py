"""`make bench`: measure, print a table for each experiment, and write the figures where one says so."""

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks import experiments
from benchmarks.experiments import Bench, Row
from benchmarks.plot import draw_scaling
from benchmarks.tables import draw_table, fill

_ROOT = Path(__file__).parent.parent
FIGURES = _ROOT / "benchmarks" / "figures.json"
DOCUMENT = _ROOT / "benchmarks" / "README.md"
PICTURE = _ROOT / "docs" / "images" / "scaling.svg"
EXPERIMENTS: Mapping[str, Callable[[Bench], Iterator[Row]]] = {
    "a": experiments.cold,
    "b": experiments.warm,
    "c": experiments.nothing_due,
    "d": experiments.scaling,
    "e": experiments.throttled,
    "g": experiments.anatomy,
}


def main() -> int:
    """Run the experiments; memory, (f), is measured with (d)."""
    options = argparse.ArgumentParser(prog="make bench", description=__doc__)
    options.add_argument("--only", default="".join(EXPERIMENTS), help="letters of the experiments (%(default)s)")
    options.add_argument(
        "--turns", type=int, default=7, help="turns of each, of which the median counts (%(default)s)"
    )
    options.add_argument("--python", default=sys.executable, help="interpreter with the deployed packages only")
    options.add_argument("--save", action="store_true", help="keep figures, tables and picture in the repository")
    given = options.parse_args()
    figures: dict[str, list[Row]] = {}
    for letter in given.only:
        measure = EXPERIMENTS[letter]
        print(f"\n{measure.__doc__}\n", flush=True)
        figures[letter] = list(measure(Bench(python=given.python, turns=given.turns)))
        print(draw_table(figures[letter]), flush=True)
    if given.save:
        _save(figures)
    # A refresh that fails is quick, and no figure.
    return 1 if any(row.get("failed") for rows in figures.values() for row in rows) else 0


def _save(figures: Mapping[str, Sequence[Row]]) -> None:
    kept = json.loads(FIGURES.read_text("utf-8")) if FIGURES.exists() else {}
    kept.update(figures)
    FIGURES.write_text(json.dumps(kept, indent=1, sort_keys=False) + "\n", "utf-8")
    DOCUMENT.write_text(fill(DOCUMENT.read_text("utf-8"), kept), "utf-8")
    if "d" in figures:
        PICTURE.write_text(draw_scaling(figures["d"]), "utf-8")


if __name__ == "__main__":
    sys.exit(main())
