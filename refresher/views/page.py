"""The status as one page for a browser: no script, no asset from elsewhere, every word escaped.

Its style stands inside of it, and the Content-Security-Policy permits that one style by its digest and nothing else.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from html import escape as for_html

from refresher.model.steps import Command, Step
from refresher.status.health import ConnectionStatus
from refresher.status.lives import REMEMBERED, Life, gaps, union
from refresher.status.timer import TimerStatus
from refresher.views.facts import Fact, facts
from refresher.views.terminal import visible
from refresher.views.verdict import Gravity, gravity, verdict
from refresher.views.words import span_text

_AHEAD = timedelta(hours=2)
_TOLD = 3
"""Gaps that are told in words; all are drawn."""
_STYLE = """
:root{color-scheme:light dark;--ground:#f5f6f8;--card:#fff;--ink:#1b1f24;--faint:#57606a;--line:#d8dee4;
--good:#1a7f37;--warn:#9a6700;--bad:#cf222e;--unknown:#8c959f}
@media(prefers-color-scheme:dark){:root{--ground:#0d1117;--card:#161b22;--ink:#e6edf3;--faint:#9198a1;--line:#30363d;
--good:#3fb950;--warn:#d29922;--bad:#f85149;--unknown:#6e7681}}
*{box-sizing:border-box}
body{margin:0;padding:1.25rem;background:var(--ground);color:var(--ink);font:1rem/1.5 system-ui,sans-serif}
main{max-width:60rem;margin:auto}
h1{font-size:1.35rem;margin:0}
header p{margin:.15rem 0 1.25rem;color:var(--faint)}
article{background:var(--card);border:1px solid var(--line);border-left:.4rem solid var(--unknown);
border-radius:.5rem;padding:1rem 1.1rem;margin-bottom:1rem}
article.good{border-left-color:var(--good)}
article.warn{border-left-color:var(--warn)}
article.bad{border-left-color:var(--bad)}
h2{font-size:1.1rem;margin:0;display:flex;gap:.6rem;flex-wrap:wrap;align-items:baseline}
.state{font-size:.85rem;font-weight:600}
.good .state{color:var(--good)}
.warn .state{color:var(--warn)}
.bad .state{color:var(--bad)}
.next{border:1px solid var(--line);border-radius:.4rem;padding:.6rem .8rem;margin:.75rem 0;overflow-wrap:anywhere}
.next b{display:block;font-size:.8rem;color:var(--faint)}
code{font:.9em/1.5 ui-monospace,monospace;background:var(--ground);padding:.1em .3em;border-radius:.25rem;
overflow-wrap:anywhere}
.next code{display:block;margin:.3rem 0;padding:.35rem .5rem}
svg{display:block;width:100%;height:1.6rem;margin:.75rem 0 0;border-radius:.25rem;background:var(--line)}
.held{fill:var(--good)}
.ahead{fill:var(--good);opacity:.35}
.gap{fill:var(--bad)}
.now{fill:var(--ink)}
.scale{display:flex;justify-content:space-between;font-size:.75rem;color:var(--faint);margin:0}
.told{margin:.1rem 0 .75rem}
dl{display:grid;grid-template-columns:repeat(auto-fit,minmax(13rem,1fr));gap:.6rem 1.25rem;margin:.75rem 0 0}
dt{font-size:.8rem;color:var(--faint)}
dd{margin:0;overflow-wrap:anywhere}
ul{margin:.75rem 0 0;padding-left:1.2rem;overflow-wrap:anywhere}
"""
_DIGEST = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
HEADERS = {
    "Content-Security-Policy": f"default-src 'none'; style-src 'sha256-{_DIGEST}'; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}


def status_page(statuses: Sequence[ConnectionStatus], timer: TimerStatus, now: datetime) -> str:
    """The page."""
    heading = escape(verdict(statuses, timer))
    cards = "".join(_card(status, now) for status in sorted(statuses, key=gravity, reverse=True))
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="refresh" content="60">'
        f"<title>{heading}</title><style>{_STYLE}</style></head>"
        f"<body><main><header><h1>{heading}</h1>"
        f"<p>ServiceNow token refresher, {now:%Y-%m-%d %H:%M:%S} UTC; loads again every minute. "
        f"{escape(timer.message.capitalize())}.</p></header>{_timer(timer)}"
        f"{cards}</main></body></html>"
    )


def _timer(timer: TimerStatus) -> str:
    """What is to be done about it, and nothing where that is nothing."""
    told = "".join(f"<div>{escape(remark)}</div>" for remark in timer.remarks)
    if timer.next_step:
        told += f'<div class="next"><b>Next step</b>{_step(timer.next_step)}</div>'
    tone = "warn" if timer.healthy else "bad"
    return f'<article class="{tone}"><h2>timer</h2>{told}</article>' if told else ""


def _tone(status: ConnectionStatus) -> str:
    return "good" if gravity(status) is Gravity.HEALTHY else "warn" if gravity(status) <= Gravity.WORRYING else "bad"


def escape(text: str) -> str:
    """Words as a page may hold them: one line of visible signs, and none that HTML knows."""
    return for_html(visible(text))


def _card(status: ConnectionStatus, now: datetime) -> str:
    state = status.state.value.replace("_", " ")
    cause = f" ({escape(status.cause)})" if status.cause else ""
    following = ""
    if status.next_step:
        following = f'<div class="next"><b>Next step</b>{_step(status.next_step)}</div>'
    known = facts(status, now)
    heading = f'{escape(status.connection)} <span class="state">{escape(state)}</span>'
    return (
        f'<article class="{_tone(status)}"><h2>{heading}</h2>'
        f"<div>{escape(status.message)}{cause}</div>{following}{_timeline(status.lives, now)}"
        f"<dl>{_cells(known)}</dl>{_lines(known)}</article>"
    )


def _step(step: Step) -> str:
    """Words and commands, each on a line of its own."""
    return "".join(_tagged("code" if isinstance(piece, Command) else "div", piece) for piece in step.apart())


def _with_commands(step: Step) -> str:
    return "".join(_tagged("code", piece) if isinstance(piece, Command) else escape(piece) for piece in step.pieces)


def _tagged(tag: str, piece: str | Command) -> str:
    return f"<{tag}>{escape(str(piece))}</{tag}>"


def _timeline(lives: Sequence[Life], now: datetime) -> str:
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
    spoken = f"Last {span_text(now - known)}: {_told(missing, now)}"
    return (
        f'<svg viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label="{escape(spoken)}">'
        f'{"".join(shapes)}</svg><p class="scale"><span>24 h ago</span><span>in 2 h</span></p>'
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


def _cells(known: Sequence[Fact]) -> str:
    cells = ((fact.label.capitalize(), f"{fact.text}{_more(fact)}") for fact in known if fact.cell)
    return "".join(f"<div><dt>{escape(label)}</dt><dd>{escape(text)}</dd></div>" for label, text in cells if text)


def _lines(known: Sequence[Fact]) -> str:
    lines = [fact for fact in known if not fact.cell]
    items = "".join(
        f"<li>{escape(fact.label)}: {_with_commands(fact.text)}{escape(_more(fact))}</li>" for fact in lines
    )
    return f"<ul>{items}</ul>" if items else ""


def _more(fact: Fact) -> str:
    return f" ({fact.more})" if fact.more else ""
