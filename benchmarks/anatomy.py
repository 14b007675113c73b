"""Where the CPU of a cold refresh goes: the packages' modules, the program's own, and the refresh itself.

`PYTHON -m benchmarks.anatomy PREFIX...` reads the names of modules, imports those of others and then those whose name
begins with a prefix, and prints what each took; what a cold refresh took besides is the refresh.
"""

import dataclasses
import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

from benchmarks.contender import cold_command, environment

OWN = ("refresher", "function_app", "benchmarks.straight_line")
_PARTS = ("packages", "own", "dataclasses", "refresh")


def dissect(
    python: str,
    who: str,
    environ: Mapping[str, str],
    names: Sequence[str],
    *,
    turns: int,
    before_each: Callable[[], None],
) -> dict[str, float | int]:
    """Milliseconds of CPU by part (the median of several turns), and how many modules and dataclasses there are."""
    took: list[dict[str, float]] = []
    for _ in range(turns):
        before_each()
        cold = _ask([*cold_command(python, who, names), "--modules"], environ)
        parts = _ask([python, "-m", "benchmarks.anatomy", *OWN], environ, json.dumps(cold["modules"]))
        loaded = cold["modules"]
        took.append(
            {
                **parts,
                "refresh": cold["cpu"] - parts["packages"] - parts["own"] - parts["dataclasses"],
                "modules": len(loaded),
                "own_modules": sum(name.startswith(OWN) for name in loaded),
            }
        )
    return {
        **{part: round(median(each[part] for each in took) * 1000) for part in _PARTS},
        **{counted: round(took[-1][counted]) for counted in ("modules", "own_modules", "own_dataclasses")},
    }


def _ask(command: Sequence[str], environ: Mapping[str, str], text: str = "") -> dict[str, Any]:
    done = subprocess.run(
        command, env=environment(environ), input=text, capture_output=True, text=True, check=True
    ).stdout
    answer: dict[str, Any] = json.loads(done)
    return answer


def main() -> None:
    """Import, and say what it took."""
    own = tuple(sys.argv[1:])
    names = json.load(sys.stdin)
    import azure.functions  # noqa: F401, PLC0415 - the worker has loaded it before the app of either

    packages = _import(name for name in names if not name.startswith(own))
    spent: list[float] = []
    counted: Callable[..., object] = dataclasses._process_class  # type: ignore[attr-defined]  # noqa: SLF001

    def process_class(*arguments: object, **keywords: object) -> object:
        began = time.process_time()
        made = counted(*arguments, **keywords)
        spent.append(time.process_time() - began)
        return made

    dataclasses._process_class = process_class  # type: ignore[attr-defined]  # noqa: SLF001
    ours = _import(name for name in names if name.startswith(own))
    print(
        json.dumps(
            {
                "packages": packages,
                "own": ours - sum(spent),
                "dataclasses": sum(spent),
                "own_dataclasses": len(spent),
            }
        )
    )


def _import(names: Iterable[str]) -> float:
    began = time.process_time()
    for name in names:
        # Some are in sys.modules under a name that cannot be imported.
        with suppress(ImportError):
            importlib.import_module(name)
    return time.process_time() - began


if __name__ == "__main__":
    main()
