"""The timelines of a simulation as one SVG picture: green where a consumer held a token that works, red where not."""

from collections.abc import Iterable

from sandbox.simulation.scenarios import Result
from sandbox.simulation.trace import DOWNTIME, Kind, Trace

_WIDTH, _LEFT, _RIGHT = 1200, 170, 140
_LANE, _PITCH, _TOP = 46, 74, 92
_GREEN, _RED, _GREY, _INK, _SOFT = "#2e9e5b", "#d1242f", "#9aa4af", "#1f2328", "#59636e"
_LEAST = 2.0
"""Pixels: a gap of a minute must still be seen."""


def draw_picture(trace: Trace, *timelines: Result) -> str:
    """Draw the timelines, one below the other."""
    scale = (_WIDTH - _LEFT - _RIGHT) / trace.minutes
    height = _TOP + _PITCH * len(timelines) + 84
    opening = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" '
        f'height="{height}" font-family="system-ui, Helvetica, Arial, sans-serif">'
    )
    parts = [
        opening,
        f'<rect width="{_WIDTH}" height="{height}" fill="#ffffff"/>',
        _text(24, 36, "Does a reader of the vault hold a token that ServiceNow accepts?", 22, weight=600),
        _text(24, 62, _subtitle(trace), 14, _SOFT),
    ]
    for number, timeline in enumerate(timelines):
        parts += _lane(timeline, trace, scale, _TOP + _PITCH * number)
    bottom = _TOP + _PITCH * len(timelines)
    parts += _incidents(trace, scale, bottom - 22)
    parts += _axis(trace, scale, bottom + 8)
    parts += _legend(bottom + 58)
    return "\n".join([*parts, "</svg>", ""])


def _subtitle(trace: Trace) -> str:
    return (
        f"{trace.days:g} simulated days, {len(trace.incidents)} incidents (seed {trace.seed}): outages, 401 bursts, "
        "429s, lost answers, Key Vault faults, killed workers, lost ticks"
    )


def _lane(timeline: Result, trace: Trace, scale: float, top: float) -> list[str]:
    width = trace.minutes * scale
    bad = timeline.availability < 0.9999
    name = "this product" if timeline.refresher == "product" else timeline.refresher
    longest = timeline.longest_gap
    told = f"longest gap {longest / 60:.1f} h" if longest >= 120 else f"longest gap {longest:.0f} min"
    return [
        _text(_LEFT - 14, top + 22, name, 16, anchor="end", weight=600),
        _text(_LEFT - 14, top + 40, f"refresh token: {timeline.scenario}", 12, _SOFT, anchor="end"),
        f'<rect x="{_LEFT}" y="{top}" width="{width:.1f}" height="{_LANE}" fill="{_GREEN}"/>',
        *_bars(timeline.gaps, scale, top, _LANE, _RED, _LEAST),
        *_bars(timeline.down, scale, top, _LANE, _GREY, 1.0),
        _text(_LEFT + width + 12, top + 22, f"{timeline.availability:.3%}", 19, _RED if bad else _GREEN, weight=700),
        _text(_LEFT + width + 12, top + 41, told, 12, _SOFT),
    ]


def _bars(
    spans: Iterable[tuple[float, float]], scale: float, top: float, height: float, colour: str, least: float
) -> list[str]:
    return [
        f'<rect x="{_LEFT + begins * scale:.1f}" y="{top}" width="{max(least, (ends - begins) * scale):.1f}" '
        f'height="{height}" fill="{colour}"/>'
        for begins, ends in spans
    ]


def _incidents(trace: Trace, scale: float, top: float) -> list[str]:
    ticks = [
        f'<rect x="{_LEFT + each.begins * scale:.1f}" y="{top}" width="1.5" height="12" fill="#bf8700"/>'
        for each in trace.incidents
        if each.kind not in DOWNTIME and each.kind in set(Kind)
    ]
    return [_text(_LEFT - 14, top + 11, "other incidents", 12, _SOFT, anchor="end"), *ticks]


def _axis(trace: Trace, scale: float, top: float) -> list[str]:
    step = max(1, round(trace.days / 15))
    return [
        _text(_LEFT + day * 1440 * scale, top + 16, f"{day}", 12, _SOFT, anchor="middle")
        for day in range(0, int(trace.days) + 1, step)
    ] + [_text(_LEFT + trace.minutes * scale + 12, top + 16, "days", 12, _SOFT)]


def _legend(top: float) -> list[str]:
    parts, left = [], float(_LEFT)
    for colour, meaning in ((_GREEN, "a token that works"), (_RED, "none"), (_GREY, "ServiceNow itself is down")):
        parts += [
            f'<rect x="{left}" y="{top - 11}" width="14" height="14" fill="{colour}"/>',
            _text(left + 22, top + 1, meaning, 13, _SOFT),
        ]
        left += 54 + 7.2 * len(meaning)
    return parts


def _text(
    x: float, y: float, text: str, size: int, colour: str = _INK, *, anchor: str = "start", weight: int = 400
) -> str:
    return (
        f'<text x="{x:.1f}" y="{y:.1f}" font-size="{size}" fill="{colour}" text-anchor="{anchor}" '
        f'font-weight="{weight}">{text}</text>'
    )
