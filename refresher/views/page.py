"""The status as one page for a browser: no script, no asset from elsewhere, every word escaped.

What is broken stands first, and in it what a phone can do. A healthy connection is a row, which opens.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from html import escape as for_html
from urllib.parse import urlencode

from refresher import RUNBOOK
from refresher.model.steps import Command, Step
from refresher.status.connection_status import ConnectionStatus, State
from refresher.status.timer import TimerStatus
from refresher.views.facts import Fact, facts
from refresher.views.folding import fold
from refresher.views.style import STYLE
from refresher.views.terminal import visible
from refresher.views.timeline import timeline
from refresher.views.verdict import Gravity, found, gravity, verdict
from refresher.views.words import together_text

Key = Mapping[str, str]
"""What the query of the page's address opened it with: `code`, and whose it is."""


def status_page(
    statuses: Sequence[ConnectionStatus], timer: TimerStatus, now: datetime, key: Key | None = None
) -> str:
    """The page; with a key, what it shows can be refreshed from it."""
    groups = fold(map(found, statuses), everything=len(statuses) == 1)
    opened = [[finding.what for finding in group] for group in reversed(groups)]
    shown = {status.connection for group in opened for status in group}
    cards = "".join(_card(group, now, key) for group in opened)
    rows = "".join(_row(status, now, key) for status in statuses if status.connection not in shown)
    return _document(
        verdict(statuses, timer),
        f"<p>ServiceNow token refresher, {now:%Y-%m-%d %H:%M:%S} UTC. {escape(timer.message.capitalize())}. "
        f'<a href="">Load again</a></p></header>{_timer(timer)}{cards}{rows}',
    )


def answer_page(title: str, lines: Sequence[str], key: Key) -> str:
    """What came of a refresh that the page asked for, or why there is no page, and the way back."""
    told = "".join(f"<p>{escape(line)}</p>" for line in lines)
    back = escape(f"status?{urlencode(key)}")
    return _document(title, f'</header><article>{told}<p><a href="{back}">Back to the status</a></p></article>')


def _document(heading: str, rest: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(heading)}</title><style>{STYLE}</style></head>"
        f"<body><main><header><h1>{escape(heading)}</h1>{rest}</main></body></html>"
    )


def escape(text: str) -> str:
    """Words as a page may hold them: one line of visible signs, and none that HTML knows."""
    return for_html(visible(text))


def _timer(timer: TimerStatus) -> str:
    """What is to be done about it, and nothing where that is nothing."""
    told = "".join(f"<div>{escape(remark)}</div>" for remark in timer.remarks)
    if timer.next_step:
        told += f'<div class="next"><b>Next step</b>{_step(timer.next_step)}</div>'
    tone = "warn" if timer.healthy else "bad"
    return f'<article class="{tone}"><h2>timer</h2>{told}</article>' if told else ""


def _tone(status: ConnectionStatus) -> str:
    return "good" if gravity(status) is Gravity.HEALTHY else "warn" if gravity(status) <= Gravity.WORRYING else "bad"


def _card(statuses: Sequence[ConnectionStatus], now: datetime, key: Key | None) -> str:
    """A connection; or an instance with all that have the same, of which the first tells what there is to know."""
    first, *others = statuses
    together = ""
    if others:
        together = f"<div>{escape(together_text(statuses))}</div>"
    heading = f'{escape(first.connection)} <span class="state">{_state(first)}</span>'
    return f'<article class="{_tone(first)}"><h2>{heading}</h2>{together}{_body(first, now, key)}</article>'


def _row(status: ConnectionStatus, now: datetime, key: Key | None) -> str:
    """A healthy connection in a line, which opens."""
    ends = next((f"{fact.text}" for fact in facts(status, now) if fact.label == "access token"), "")
    told = (_state(status), escape(ends), escape(status.user_name or ""), escape(status.instance_url))
    spans = "".join(f"<span>{each}</span>" for each in told if each)
    return (
        f'<details class="good"><summary>{escape(status.connection)}{spans}</summary>'
        f"{_body(status, now, key)}</details>"
    )


def _state(status: ConnectionStatus) -> str:
    return status.state.value.replace("_", " ")


def _body(status: ConnectionStatus, now: datetime, key: Key | None) -> str:
    cause = f" ({escape(status.cause)})" if status.cause else ""
    following = ""
    if status.next_step:
        following = f'<div class="next"><b>Next step</b>{_step(status.next_step)}</div>'
    known = facts(status, now)
    return (
        f"<div>{escape(status.message)}{cause}</div>{_from_here(status, key)}{following}{_runbook(status)}"
        f"{timeline(status.lives, now)}<dl>{_cells(known)}</dl>{_lines(known)}"
    )


def _from_here(status: ConnectionStatus, key: Key | None) -> str:
    """What a phone can do: nothing where only a person with a shell helps, or nobody can read the vault."""
    if status.state in {State.AUTHORIZATION_REQUIRED, State.UNKNOWN}:
        return ""
    name = escape(status.connection)
    portal = f"Function App &gt; refresh_now &gt; Code + Test &gt; Test/Run, POST, connection={name}, force=true"
    if not key:
        return f'<div class="next"><b>From a phone, in the portal</b><div>{portal}</div></div>'
    action = escape(f"refresh?{urlencode({'connection': status.connection, 'force': 'true', **key})}")
    form = f'<form method="post" action="{action}"><button>Refresh {name} now</button></form>'
    return f'<div class="next"><b>From here</b>{form}<div>Or in the portal: {portal}</div></div>'


def _runbook(status: ConnectionStatus) -> str:
    if status.cause is None:
        return ""
    place = escape(f"{RUNBOOK}causes.md#{status.cause}")
    link = f'<a href="{place}">{place}</a>' if place.startswith("https:") else place
    return f"<div>Runbook: {link}</div>"


def _step(step: Step) -> str:
    """Words and commands, each on a line of its own."""
    return "".join(
        _code(piece) if isinstance(piece, Command) else f"<div>{escape(piece)}</div>" for piece in step.apart()
    )


def _with_commands(step: Step) -> str:
    return "".join(_code(piece) if isinstance(piece, Command) else escape(piece) for piece in step.pieces)


def _code(command: Command) -> str:
    """A command, whose line a narrow screen may break at its spaces: not at a hyphen, where it would read as two."""
    return f"<code>{escape(str(command)).replace(' ', ' <wbr>')}</code>"


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
