"""The picture of the package's rooms, drawn from its imports: `python -m tests.promises.house` draws it anew.

Floors come from the import contract in pyproject.toml, rooms and arrows from the code; an arrow that others imply by a
detour is left out, so that what is left can be followed with a finger.
"""

import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path

import grimp

ROOT = Path(__file__).parents[2]
PICTURE = ROOT / "docs" / "images" / "house.svg"
_WIDTH, _FLOOR, _ROOM_HEIGHT = 760, 74, 34
_LETTER, _PADDING = 8.4, 24
_STYLE = """
  text { font: 14px ui-monospace, monospace; text-anchor: middle; fill: #1f2328 }
  rect { fill: #ddf4ff; stroke: #0969da }
  path { fill: none; stroke: #57606a; stroke-width: 1.2; marker-end: url(#tip) }
  marker path { fill: #57606a; stroke: none; marker-end: none }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    rect { fill: #0c2d6b; stroke: #58a6ff }
    path { stroke: #8b949e }
    marker path { fill: #8b949e; stroke: none }
  }
"""


def floors() -> list[list[str]]:
    """The rooms by floor, the highest first, as the import contract names them."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (layers,) = (contract["layers"] for contract in contracts if contract["id"] == "floors")
    return [[room.strip() for room in row.split("|")] for row in layers]


def arrows() -> dict[str, set[str]]:
    """For each room the rooms that it imports from."""
    graph = grimp.build_graph("refresher", cache_dir=None)
    found: dict[str, set[str]] = {}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            here, there = _room(module), _room(imported)
            if here and there and here != there:
                found.setdefault(here, set()).add(there)
    return found


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] != "__main__" else ""


def without_detours(graph: Mapping[str, Iterable[str]]) -> list[tuple[str, str]]:
    """The arrows that no chain of others implies."""
    return sorted(
        (here, there)
        for here, targets in graph.items()
        for there in targets
        if not any(there in _reached(graph, other) for other in set(targets) - {there})
    )


def _reached(graph: Mapping[str, Iterable[str]], start: str) -> set[str]:
    found: set[str] = set()
    waiting = [start]
    while waiting:
        for following in graph.get(waiting.pop(), ()):
            if following not in found:
                found.add(following)
                waiting.append(following)
    return found


def draw() -> str:
    """The picture as SVG."""
    rows = floors()
    places: dict[str, tuple[float, float, float]] = {}
    for number, rooms in enumerate(rows):
        widths = [len(room) * _LETTER + _PADDING for room in rooms]
        gap = (_WIDTH - sum(widths)) / (len(rooms) + 1)
        left = gap
        for room, width in zip(rooms, widths, strict=True):
            places[room] = (left, 12 + number * _FLOOR, width)
            left += width + gap
    lines = [_arrow(places[here], places[there]) for here, there in without_detours(arrows())]
    boxes = [
        f'<rect x="{x:.0f}" y="{y}" width="{width:.0f}" height="{_ROOM_HEIGHT}" rx="6"/>'
        f'<text x="{x + width / 2:.0f}" y="{y + 22}">{room}</text>'
        for room, (x, y, width) in places.items()
    ]
    height = len(rows) * _FLOOR - 16
    tip = '<marker id="tip" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">'
    title = "<title>The rooms of the package, floor by floor: arrows point to what a room imports</title>"
    marker = f'<defs>{tip}<path d="M0 0L8 4L0 8z"/></marker></defs>'
    return "\n".join([head, title, f"<style>{_STYLE}</style>", marker, *lines, *boxes, "</svg>", ""])


def _arrow(source: tuple[float, float, float], target: tuple[float, float, float]) -> str:
    from_x, from_y = source[0] + source[2] / 2, source[1] + _ROOM_HEIGHT
    to_x, to_y = target[0] + target[2] / 2, target[1]
    bend = (to_y - from_y) / 2
    return (
        f'<path d="M{from_x:.0f} {from_y}C{from_x:.0f} {from_y + bend:.0f} {to_x:.0f} {to_y - bend:.0f} '
        f'{to_x:.0f} {to_y}"/>'
    )


if __name__ == "__main__":
    PICTURE.write_text(draw(), "utf-8")
