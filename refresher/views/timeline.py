"""The last day of a connection and its next hours, drawn for the page and told in words."""

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from html import escape

from refresher.status.lives import REMEMBERED, Life, gaps, union
from refresher.views.words import span_text

_AHEAD = timedelta(hours=2)
_TOLD = 3
"""Gaps that are told in words; all are drawn."""


def timeline(lives: Sequence[Life], now: datetime) -> str:
    """The last day and the next hours; grey is what is not known."""
    if not lives:
        return ""
    since, until = now - REMEMBERED, now + _AHEAD
    known = max(since, min(begins for begins, _ in lives))
    covered = union(lives)
    missing = gaps(lives, known, now) if known < now else ()
    shapes = (
        *_shapes("held", ((begins, min(ends, now)) for begins, ends in covered), since, until),
        *_shapes("gap", missing, since, until),
        *_shapes("ahead", ((max(begins, now), ends) for begins, ends in covered), since, until),
        f'<rect class="now" x="{_place(now, since, until):.2f}" y="0" width="2" height="10"/>',
    )
    spoken = f"Last {span_text(now - known)}, by dates: {_told(missing, now)}"
    return (
        f'<svg viewBox="0 0 1000 10" preserveAspectRatio="none" aria-hidden="true">{"".join(shapes)}</svg>'
        '<p class="scale" aria-hidden="true"><span>24 h ago</span><span>in 2 h</span></p>'
        f'<p class="told">{escape(spoken)}</p>'
    )


def _told(missing: Sequence[Life], now: datetime) -> str:
    """The gaps in words: how long in all, and when the last of them were."""
    if not missing:
        return "a token at all times"
    lacked = sum(((ends - begins) for begins, ends in missing), timedelta())
    last = missing[-_TOLD:]
    spans = [f"{begins:%H:%M} to {'now' if ends >= now else f'{ends:%H:%M}'}" for begins, ends in last]
    more = f"{len(missing) - len(last)} more and " if len(missing) > len(last) else ""
    return f"{span_text(lacked)} without a token: {more}{', '.join(spans)} UTC"


def _shapes(kind: str, spans: Iterable[Life], since: datetime, until: datetime) -> list[str]:
    shapes = []
    for begins, ends in spans:
        left, right = _place(max(begins, since), since, until), _place(min(ends, until), since, until)
        if right > left:
            # What lasted a minute must still be seen.
            width = max(right - left, 3) if kind == "gap" else right - left
            shapes.append(f'<rect class="{kind}" x="{left:.2f}" y="0" width="{width:.2f}" height="10"/>')
    return shapes


def _place(moment: datetime, since: datetime, until: datetime) -> float:
    return 1000 * ((moment - since) / (until - since))
