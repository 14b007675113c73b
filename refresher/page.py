"""The status as one page for a browser: no script, no asset from elsewhere, every word escaped.

Its style stands inside of it, and the Content-Security-Policy permits that one style by its digest and nothing else.
"""

import base64
import hashlib
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from html import escape

from refresher.coverage import REMEMBERED, Life, gaps, union
from refresher.health import ConnectionStatus, State
from refresher.render import span_text

_AHEAD = timedelta(hours=2)
_CALM = frozenset({State.FRESH, State.DUE})
_WORRYING = frozenset({State.EXPIRING, State.FAILING})
_TONES = ("bad", "warn", "good")
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
svg{display:block;width:100%;height:1.6rem;margin:.75rem 0 0;border-radius:.25rem;background:var(--line)}
.held{fill:var(--good)}
.ahead{fill:var(--good);opacity:.35}
.gap{fill:var(--bad)}
.now{fill:var(--ink)}
.scale{display:flex;justify-content:space-between;font-size:.75rem;color:var(--faint);margin:0 0 .75rem}
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


def status_page(statuses: Sequence[ConnectionStatus], now: datetime) -> str:
    """The page."""
    working = sum(status.working is True for status in statuses)
    if working == len(statuses):
        verdict = "Every connection holds a working token"
    else:
        verdict = f"{len(statuses) - working} of {len(statuses)} connections without a working token"
    gravest_first = sorted(statuses, key=lambda status: _TONES.index(_tone(status)))
    cards = "".join(_card(status, now) for status in gravest_first)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        '<meta http-equiv="refresh" content="60">'
        f"<title>{escape(verdict)}</title><style>{_STYLE}</style></head>"
        f"<body><main><header><h1>{escape(verdict)}</h1>"
        f"<p>ServiceNow token refresher, {now:%Y-%m-%d %H:%M:%S} UTC</p></header>{cards}</main></body></html>"
    )


def _tone(status: ConnectionStatus) -> str:
    return "good" if status.state in _CALM else "warn" if status.state in _WORRYING else "bad"


def _card(status: ConnectionStatus, now: datetime) -> str:
    state = status.state.value.replace("_", " ")
    cause = f" ({escape(status.cause)})" if status.cause else ""
    following = ""
    if status.next_step:
        following = f'<p class="next"><b>Next step</b>{escape(status.next_step)}</p>'
    heading = f'{escape(status.connection)} <span class="state">{escape(state)}</span>'
    return (
        f'<article class="{_tone(status)}"><h2>{heading}</h2>'
        f"<div>{escape(status.message)}{cause}</div>{following}{_timeline(status.lives, now)}"
        f"<dl>{_facts(status, now)}</dl>{_remarks(status)}</article>"
    )


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
    lacked = sum(((ends - begins) for begins, ends in missing), timedelta())
    told = f"{span_text(lacked)} without a token" if missing else "no gap"
    spoken = f"Coverage of the last {span_text(now - known)}: {told}"
    return (
        f'<svg viewBox="0 0 1000 10" preserveAspectRatio="none" role="img" aria-label="{escape(spoken)}">'
        f'{"".join(shapes)}</svg><p class="scale"><span>24 h ago</span><span>{escape(spoken)}</span>'
        "<span>in 2 h</span></p>"
    )


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


def _facts(status: ConnectionStatus, now: datetime) -> str:
    facts = [
        ("Access token", _token(status, now)),
        ("Next refresh", _when(status.refresh_at, now)),
        ("Last attempt", _attempt(status, now)),
        ("Refresh token ends", _when(status.refresh_token_expires_at, now)),
        ("When it ends", status.refresh_token_then),
        ("Failures in a row", str(status.consecutive_failures) if status.consecutive_failures else None),
    ]
    return "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(fact)}</dd></div>" for name, fact in facts if fact)


def _token(status: ConnectionStatus, now: datetime) -> str:
    if status.expires_at is None:
        return "none" if status.working is not None else "unknown"
    age = f", issued {span_text(now - status.issued_at)} ago" if status.issued_at else ""
    return f"{'ends' if status.expires_at > now else 'ended'} {_when(status.expires_at, now)}{age}"


def _attempt(status: ConnectionStatus, now: datetime) -> str | None:
    if status.last_attempt_at is None:
        return None
    return f"{_when(status.last_attempt_at, now)}: {status.last_outcome or 'unknown'}"


def _remarks(status: ConnectionStatus) -> str:
    held = {True: "holds the current token", False: "does not hold the current token", None: "cannot be read"}
    remarks = [f"Target {target.name} {held[target.current]}" for target in status.targets]
    remarks += [f"Warning: {warning.message}. {warning.hint}" for warning in status.warnings]
    return f"<ul>{''.join(f'<li>{escape(remark)}</li>' for remark in remarks)}</ul>" if remarks else ""


def _when(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return ""
    distance = f"in {span_text(moment - now)}" if moment > now else f"{span_text(now - moment)} ago"
    return f"{distance} ({moment:%Y-%m-%d %H:%M} UTC)"
