"""What a person at a terminal sees: tables, a picture of the coverage, remedies.

With `rich` installed (an extra that is not deployed) and a terminal to show it, tables have colour; everywhere else
the same words come as plain text.
"""

import os
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta

from refresher.model.check import Check, Verdict
from refresher.model.steps import Command, Step
from refresher.policy.forecast import ENDING
from refresher.status.health import ConnectionStatus, State
from refresher.status.history import History
from refresher.status.lives import REMEMBERED, cells
from refresher.views.words import holds, key_text, span_text

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


def show_statuses(statuses: Sequence[ConnectionStatus], now: datetime) -> None:
    """A table, then what to know and to do of each connection."""
    head = ("connection", "state", "access token", "age", "next refresh", "refresh token", "targets")
    _print_table(head, [_status_row(status, now) for status in statuses])
    for status in statuses:
        print()
        print(f"{status.connection}: {status.message}{f' ({status.cause})' if status.cause else ''}")
        if status.basis:
            print(f"  the word of it: {status.basis}")
        if status.last_attempt_at is not None:
            failures = f", {status.consecutive_failures} failures in a row" if status.consecutive_failures else ""
            ago = f"{span_text(now - status.last_attempt_at)} ago"
            print(f"  last attempt: {ago}: {status.last_outcome or 'unknown'}{failures}")
        for target in status.targets:
            if not target.current:
                print(f"  target {target.name} in {target.vault_url} {holds(target)}")
        for line in _what_comes(status, now):
            print(line)
        show_what_to_check(status.checks)
        if status.next_step:
            show_step(status.next_step)
        if status.cause:
            print(f"  runbook: docs/runbook/causes.md#{status.cause}")


def _what_comes(status: ConnectionStatus, now: datetime) -> Iterator[str]:
    """What ends, and what is warned of."""
    if status.refresh_token_then and not ENDING & {warning.code for warning in status.warnings}:
        yield f"  when the refresh token ends: {status.refresh_token_then}"
    if status.signing_key is not None:
        yield f"  signing key: {key_text(status.signing_key, now)}"
    for warning in status.warnings:
        yield f"  warning: {warning.message}. {warning.hint}"


def _status_row(status: ConnectionStatus, now: datetime) -> Row:
    unknown = status.state is State.UNKNOWN
    current = sum(target.current is True for target in status.targets)
    return (
        status.connection,
        status.state,
        "unknown" if unknown else _token_cell(status, now),
        span_text(now - status.issued_at) if status.issued_at else "",
        "" if unknown else _due_cell(status, now),
        _refresh_token_cell(status, now),
        "" if unknown else f"{current} of {len(status.targets)}",
    )


def _token_cell(status: ConnectionStatus, now: datetime) -> str:
    if status.expires_at is None:
        return "none"
    if status.expires_at <= now:
        return f"ended {span_text(now - status.expires_at)} ago"
    return f"ends in {span_text(status.expires_at - now)}"


def _due_cell(status: ConnectionStatus, now: datetime) -> str:
    if status.refresh_at is None or status.refresh_at <= now:
        return "overdue" if status.consecutive_failures else "next tick"
    return f"in {span_text(status.refresh_at - now)}"


def _refresh_token_cell(status: ConnectionStatus, now: datetime) -> str:
    if status.refresh_token_refused:
        return "refused"
    if status.refresh_token_expires_at is None:
        return "none" if status.state is not State.UNKNOWN else ""
    distance = status.refresh_token_expires_at - now
    return f"ends in {span_text(distance)}" if distance > timedelta() else f"ended {span_text(-distance)} ago"


def show_history(history: History, now: datetime, limit: int) -> None:
    """A picture of the last day, then the newest issues with the gaps between them, newest first."""
    if not history.issues:
        print(f"{history.connection}: no token was ever published here")
        return
    since = max(now - REMEMBERED, history.issues[0].issued_at)
    count, first = len(history.issues), _clock(history.issues[0].issued_at)
    print(f"{history.connection}: {count} token{'s' if count > 1 else ''} since {first} UTC")
    if since < now:
        width = min(_CELLS, _columns() - 2)
        print(f"|{picture(cells(history.lives, since, now, width))}|")
        print(f" {_clock(since)}{_clock(now).rjust(width - len(_clock(since)))}")
    last = history.issues[-1]
    rows: list[tuple[datetime, Row]] = [
        (
            issue.issued_at,
            (
                _clock(issue.issued_at),
                span_text(issue.expires_at - issue.issued_at) if issue.expires_at else "unknown",
                "by hand" if issue.by_hand else issue.trigger or "unknown",
                issue.grant or "unknown",
                issue.reason or "",
                issue.run_id or "",
            ),
        )
        for issue in history.issues[-limit:]
    ]
    rows += [
        (
            begins,
            (
                _clock(begins),
                _GAP,
                "",
                "",
                f"{span_text(ends - begins)}{' so far' if begins >= last.issued_at else ''}",
                "",
            ),
        )
        for begins, ends in history.gaps
        if begins >= rows[0][0]
    ]
    print()
    head = ("issued (UTC)", "lives", "trigger", "grant", "reason", "run id")
    _print_table(head, [row for _, row in sorted(rows, key=lambda each: each[0], reverse=True)])


def show_checks(checks: Sequence[Check]) -> None:
    """A table, then the remedies, the gravest first."""
    rows = [(check.verdict, check.connection or "", check.name, check.detail) for check in checks]
    _print_table(("", "connection", "check", "found"), rows)
    for check in sorted(checks, key=lambda check: check.verdict is not Verdict.FAIL):
        if check.remedy:
            print(f"\n{check.verdict}: {f'{check.connection}: ' if check.connection else ''}{check.name}")
            show_step(check.remedy, label="")


def show_what_to_check(checks: Iterable[str]) -> None:
    """Where a cause is likely to be found, the likeliest place first."""
    for check in checks:
        print(_wrapped("  check: ", check))


def show_step(step: Step, label: str = "next: ") -> None:
    """What to do next: each command that comes after words on a line of its own, to be copied."""
    lead = f"  {label}"
    for piece in step.apart():
        print(f"{lead or '      '}{piece}" if isinstance(piece, Command) else _wrapped(lead or "    ", piece))
        lead = ""


def _wrapped(lead: str, words: str) -> str:
    """Words that a terminal need not break; a command stays whole, to be copied."""
    if not sys.stdout.isatty():
        return f"{lead}{words}"
    return textwrap.fill(words, _columns(), initial_indent=lead, subsequent_indent="    ")


def picture(covered: Iterable[bool]) -> str:
    """Covered time as full blocks and gaps as dots, in characters that the terminal can show."""
    try:
        "\u2588".encode(sys.stdout.encoding or "ascii")
        full = "\u2588"
    except (UnicodeEncodeError, LookupError):
        full = "#"
    return "".join(full if each else "." for each in covered)


def _print_table(head: Row, rows: Sequence[Row]) -> None:
    if sys.stdout.isatty() and not os.environ.get("NO_COLOR") and _print_rich_table(head, rows):
        return
    widths = [max(len(row[column]) for row in (head, *rows)) for column in range(len(head))]
    for row in (head, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


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
