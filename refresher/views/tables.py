"""What a person at a terminal sees: tables, a picture of the coverage, remedies.

With `rich` installed (an extra that is not deployed) and a terminal to show it, tables have colour; everywhere else
the same words come as plain text.
"""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from refresher import RUNBOOK
from refresher.model.check import Verdict
from refresher.model.steps import Command, Step
from refresher.status.connection_status import ConnectionStatus, State
from refresher.status.history import History, Issue
from refresher.status.lives import REMEMBERED, cells
from refresher.status.timer import TimerStatus
from refresher.views.facts import Fact, facts
from refresher.views.folding import fold
from refresher.views.terminal import say, visible
from refresher.views.verdict import found, gravity, verdict
from refresher.views.words import attempts_text, span_text, together_text

_CELLS = 72
_GAP = "GAP"
_STYLES: Mapping[str, str] = {
    State.FRESH: "green",
    State.DUE: "green",
    State.EXPIRING: "yellow",
    State.FAILING: "yellow",
    State.EXPIRED: "bold red",
    State.REFUSED: "bold red",
    State.AUTHORIZATION_REQUIRED: "bold red",
    State.UNKNOWN: "bold magenta",
    Verdict.PASS: "green",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "bold red",
    _GAP: "bold red",
}
Row = Sequence[str]


def show_statuses(
    statuses: Sequence[ConnectionStatus], timer: TimerStatus, now: datetime, *, everything: bool = False
) -> None:
    """The verdict, a line for each connection, then what to know and to do; the gravest last, where the prompt is."""
    say(verdict(statuses, timer))
    say()
    ordered = sorted(statuses, key=gravity)
    known = {status.connection: facts(status, now) for status in ordered}
    labels = [fact.label for fact in known[ordered[0].connection] if fact.cell]
    rows = [
        (each.connection, each.state, *(fact.text for fact in known[each.connection] if fact.cell)) for each in ordered
    ]
    print_table(("connection", "state", *labels), rows)
    groups = fold(map(found, statuses), everything=everything or len(statuses) == 1)
    if timer.healthy:
        _show_timer(timer)
    for group in groups:
        _show_group([finding.what for finding in group], known)
    if not timer.healthy:
        _show_timer(timer)


def _show_group(statuses: Sequence[ConnectionStatus], known: Mapping[str, Sequence[Fact]]) -> None:
    """A connection; or an instance with all that have the same, of which the first tells what there is to know."""
    first, *others = statuses
    say()
    if others:
        say_wrapped("", together_text(statuses))
    say(f"{first.connection}: {first.message}{f' ({first.cause})' if first.cause else ''}")
    for fact in known[first.connection]:
        if not fact.cell:
            lead = f"  {fact.label}: "
            if fact.text.commands:
                say(f"{lead}{fact.text}")
            else:
                say_wrapped(lead, fact.text)
    for step in dict.fromkeys(status.next_step for status in statuses if status.next_step):
        show_step(step)
    if first.cause:
        say(f"  runbook: {RUNBOOK}causes.md#{first.cause}")


def _show_timer(timer: TimerStatus) -> None:
    say()
    say(f"timer: {timer.message}")
    for remark in timer.remarks:
        say_wrapped("  warning: ", remark)
    if timer.next_step:
        show_step(timer.next_step)


def show_history(history: History, now: datetime, limit: int) -> None:
    """A picture of the last day, then the newest issues with the gaps between them, newest first."""
    if not history.issues:
        failed = f"; {attempts_text(history.attempts, now)} (UTC)" if history.attempts else ""
        say(f"{history.connection}: no token was ever published here{failed}")
        return
    since = max(now - REMEMBERED, history.issues[0].issued_at)
    count, first = len(history.issues), _clock(history.issues[0].issued_at)
    say(f"{history.connection}: {count} token{'s' if count > 1 else ''} since {first} UTC")
    if since < now:
        width = min(_CELLS, _columns() - 2)
        say(f"|{picture(cells(history.lives, since, now, width))}|")
        say(f" {_clock(since)}{_clock(now).rjust(width - len(_clock(since)))}")
    if history.attempts:
        say()
        say(f"last attempts (UTC): {attempts_text(history.attempts, now)}")
    last = history.issues[-1]
    rows: list[tuple[datetime, Row]] = [(issue.issued_at, _issue_row(issue)) for issue in history.issues[-limit:]]
    for begins, ends in history.gaps:
        if begins >= rows[0][0]:
            told = f"{span_text(ends - begins)}{' so far' if begins >= last.issued_at else ''}"
            rows.append((begins, (_clock(begins), _GAP, "", "", told, "")))
    say()
    head = ("issued (UTC)", "lives", "trigger", "grant", "reason", "run id")
    print_table(head, [row for _, row in sorted(rows, key=lambda each: each[0], reverse=True)])


def _issue_row(issue: Issue) -> Row:
    lived = span_text(issue.expires_at - issue.issued_at) if issue.expires_at else "unknown"
    lived = f"{lived}, revoked" if issue.revoked else lived
    trigger = "by hand" if issue.by_hand else issue.trigger or "unknown"
    grant = issue.grant or "unknown"
    return _clock(issue.issued_at), lived, trigger, grant, issue.reason or "", issue.run_id or ""


def show_step(step: Step, label: str = "next: ") -> None:
    """What to do next: each command that comes after words on a line of its own, to be copied."""
    lead = f"  {label}"
    for piece in step.apart():
        if isinstance(piece, Command):
            say(f"{lead or '      '}{piece}")
        else:
            say_wrapped(lead or "    ", piece)
        lead = ""


def say_wrapped(lead: str, words: str) -> None:
    """Words that a terminal need not break; a command stays whole, to be copied."""
    words = visible(words)
    wrapped = textwrap.wrap(words, _columns(), initial_indent=lead, subsequent_indent="    ")
    for line in wrapped if sys.stdout.isatty() and words else [f"{lead}{words}"]:
        say(line)


def picture(covered: Iterable[bool]) -> str:
    """Covered time as full blocks and gaps as dots, in characters that the terminal can show."""
    try:
        "\u2588".encode(sys.stdout.encoding or "ascii")
        full = "\u2588"
    except (UnicodeEncodeError, LookupError):
        full = "#"
    return "".join(full if each else "." for each in covered)


def print_table(head: Row, rows: Sequence[Row]) -> None:
    """Columns as wide as what stands in them."""
    rows = [[visible(cell) for cell in row] for row in rows]
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and _print_rich_table(head, rows):
        return
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        say("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _print_rich_table(head: Row, rows: Sequence[Row]) -> bool:
    try:
        from rich.console import Console  # noqa: PLC0415 - an extra
        from rich.table import Table  # noqa: PLC0415
        from rich.text import Text  # noqa: PLC0415
    except ImportError:
        return False
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    for name in head:
        # In a narrow terminal names may break, and none of them is cut.
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console().print(table)
    return True


def _columns() -> int:
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else _CELLS + 2


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
