"""The picture of (d): how long a tick takes in which so many connections are due; both axes are logarithmic."""

import math
from collections.abc import Mapping, Sequence

_LEFT, _TOP, _WIDTH, _HEIGHT = 86, 70, 560, 320
_INK, _SOFT, _PRODUCT, _OTHER = "#1f2328", "#59636e", "#2e9e5b", "#d1242f"
_LIMIT = "for 1,000, the vault's limit on new versions allows no less than 60 s"
_SECONDS = (0.1, 1, 10, 100, 1000)
PICTURED_HOP = 30
"""Milliseconds: what a request takes within a region and a little more."""


def draw_scaling(rows: Sequence[Mapping[str, object]]) -> str:
    """Draw the experiment's rows of one hop as SVG."""
    rows = [row for row in rows if row["hop_ms"] == PICTURED_HOP]
    many = [_number(row, "connections") for row in rows]
    opening = (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 800 460" width="800" height="460" '
        'font-family="system-ui, Helvetica, Arial, sans-serif">'
    )
    parts = [
        opening,
        '<rect width="800" height="460" fill="#ffffff"/>',
        _text(24, 34, "Seconds until every connection is refreshed", 20, _INK),
        _text(24, 56, f"one process, {PICTURED_HOP} ms for each request on its way; {_LIMIT}", 13, _SOFT),
        *(_grid_line(seconds) for seconds in _SECONDS),
        *(_text(_x(each), _TOP + _HEIGHT + 24, f"{each:g}", 13, _SOFT, "middle") for each in many),
        _text(_LEFT + _WIDTH / 2, _TOP + _HEIGHT + 48, "connections", 13, _SOFT, "middle"),
        *_series("straight line", _OTHER, many, [_number(row, "straight_line_seconds") for row in rows], above=True),
        *_series("this product", _PRODUCT, many, [_number(row, "seconds") for row in rows], above=False),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _series(name: str, colour: str, many: Sequence[float], seconds: Sequence[float], *, above: bool) -> list[str]:
    points = [(_x(each), _y(took)) for each, took in zip(many, seconds, strict=True)]
    aside = -12 if above else 22
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return [
        f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="3"/>',
        *(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4.5" fill="{colour}"/>' for x, y in points),
        *(
            _text(x, y + aside, _told(took), 12, colour, "middle")
            for (x, y), took in zip(points, seconds, strict=True)
        ),
        _text(points[-1][0] + 14, points[-1][1] + 5, name, 15, colour),
    ]


def _grid_line(seconds: float) -> str:
    y = _y(seconds)
    line = f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + _WIDTH}" y2="{y:.1f}" stroke="#d0d7de"/>'
    return line + _text(_LEFT - 12, y + 4, f"{seconds:g} s", 13, _SOFT, "end")


def _x(connections: float) -> float:
    return _LEFT + 20 + (_WIDTH - 40) * math.log10(connections) / 3


def _y(seconds: float) -> float:
    low, high = math.log10(_SECONDS[0]), math.log10(_SECONDS[-1])
    return _TOP + _HEIGHT * (high - math.log10(seconds)) / (high - low)


def _told(seconds: float) -> str:
    return f"{seconds:.2f}" if seconds < 1 else f"{seconds:.1f}" if seconds < 100 else f"{seconds:.0f}"


def _number(row: Mapping[str, object], key: str) -> float:
    value = row[key]
    if not isinstance(value, int | float):
        message = f"{key} is no number"
        raise TypeError(message)
    return float(value)


def _text(x: float, y: float, text: str, size: int, colour: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}">{text}</text>'
