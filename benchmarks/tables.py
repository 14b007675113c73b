"""The figures as Markdown tables, and their places in a document: between `<!-- (a) -->` and `<!-- end -->`."""

import re
from collections.abc import Mapping, Sequence

Row = Mapping[str, object]
_HEADINGS = {
    "hop_ms": "ms per hop",
    "lease": "lease",
    "connections": "connections",
    "ms": "product, ms",
    "straight_line_ms": "straight line, ms",
    "seconds": "product, s",
    "straight_line_seconds": "straight line, s",
    "ratio": "ratio",
    "cpu_ms": "product, CPU ms",
    "straight_line_cpu_ms": "straight line, CPU ms",
    "cpu_ms_each": "CPU ms each",
    "requests": "requests",
    "straight_line_requests": "straight line, requests",
    "requests_each": "requests each",
    "memory_mb": "memory, MB",
    "created": "secrets created",
    "least_seconds": "least that the limit allows, s",
    "share_of_limit": "share of the limit used",
    "refused_429": "answers 429",
    "failed": "failed",
    "who": "who",
    "packages": "packages' modules, CPU ms",
    "own": "own modules, CPU ms",
    "dataclasses": "own dataclasses, CPU ms",
    "refresh": "refresh itself, CPU ms",
    "modules": "modules",
    "own_modules": "of its own",
    "own_dataclasses": "own dataclasses",
}


def draw_table(rows: Sequence[Row]) -> str:
    """One experiment's table."""
    head = [_HEADINGS[key] for key in rows[0]]
    lines = [head, ["---"] * len(head), *([_cell(value) for value in row.values()] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def fill(document: str, figures: Mapping[str, Sequence[Row]]) -> str:
    """The document with the tables of these experiments in their places, all others as they were."""
    for letter, rows in figures.items():
        place = re.compile(rf"(<!-- \({letter}\) -->\n).*?(<!-- end -->)", re.DOTALL)
        table = draw_table(rows)
        document = place.sub(lambda found, table=table: f"{found[1]}{table}\n{found[2]}", document)  # type: ignore[misc]
    return document


def _cell(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
