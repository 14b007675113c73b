"""What a person at a terminal sees: tables, a picture of the coverage, remedies.

With `rich` installed (an extra that is not deployed) and a terminal to show it, tables have colour; everywhere else
the same words come as plain text.
"""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from refresher.checks import Check, Verdict
from refresher.coverage import REMEMBERED, cells
from refresher.health import ConnectionStatus, State
from refresher.history import History
from refresher.render import span_text

_CELLS = 72
_STYLES: Mapping[str, str] = {
    State.FRESH: "green",
    State.DUE: "green",
    State.EXPIRING: "yellow",
    State.FAILING: "yellow",
    State.EXPIRED: "bold red",
    State.AUTHORIZATION_REQUIRED: "bold red",
    State.UNKNOWN: "bold magenta",
    Verdict.PASS: "green",
    Verdict.WARN: "yellow",
    Verdict.FAIL: "bold red",
}
Row = Sequence[str]


def show_statuses(statuses: Sequence[ConnectionStatus], now: datetime) -> None:
    """A table, then what to know and to do of each connection."""
    head = ("connection", "state", "token", "next refresh", "refresh token", "last attempt", "targets")
    _print_table(head, [_status_row(status, now) for status in statuses])
    for status in statuses:
        print()
        print(f"{status.connection}: {status.message}{f' ({status.cause})' if status.cause else ''}")
        if status.consecutive_failures:
            print(f"  failures in a row: {status.consecutive_failures}")
        if status.refresh_token_then:
            print(f"  when the refresh token ends: {status.refresh_token_then}")
        for target in status.targets:
            if not target.current:
                what = "cannot be read" if target.current is None else "does not hold the current token"
                print(f"  target {target.name} in {target.vault_url} {what}")
        for warning in status.warnings:
            print(f"  warning: {warning.message}. {warning.hint}")
        if status.next_step:
            print(f"  next: {status.next_step}")


def _status_row(status: ConnectionStatus, now: datetime) -> Row:
    attempt = "none"
    if status.last_attempt_at is not None:
        attempt = f"{span_text(now - status.last_attempt_at)} ago: {status.last_outcome or 'unknown'}"
    current = sum(target.current is True for target in status.targets)
    return (
        status.connection,
        status.state,
        _token_cell(status, now),
        _until(status.refresh_at, now),
        _until(status.refresh_token_expires_at, now),
        attempt,
        f"{current} of {len(status.targets)} current",
    )


def _token_cell(status: ConnectionStatus, now: datetime) -> str:
    if status.expires_at is None:
        return "none"
    if status.expires_at <= now:
        return f"ended {span_text(now - status.expires_at)} ago"
    age = f", {span_text(now - status.issued_at)} old" if status.issued_at else ""
    return f"ends in {span_text(status.expires_at - now)}{age}"


def show_history(history: History, now: datetime, limit: int) -> None:
    """A picture of the last day, then the newest issues with the gaps between them, newest first."""
    if not history.issues:
        print(f"{history.connection}: no token was ever published here")
        return
    since = max(now - REMEMBERED, history.issues[0].issued_at)
    print(f"{history.connection}: {len(history.issues)} tokens since {_clock(history.issues[0].issued_at)}")
    if since < now:
        print(f"{_clock(since)} |{picture(cells(history.lives, since, now, _CELLS))}| {_clock(now)}")
    rows: list[tuple[datetime, Row]] = [
        (
            issue.issued_at,
            (
                _clock(issue.issued_at),
                span_text(issue.expires_at - issue.issued_at) if issue.expires_at else "unknown",
                "by hand" if issue.by_hand else issue.trigger or "unknown",
                issue.grant or "unknown",
                issue.run_id or "",
                issue.reason or "",
            ),
        )
        for issue in history.issues[-limit:]
    ]
    rows += [
        (begins, (_clock(begins), f"GAP of {span_text(ends - begins)}", "", "", "", f"until {_clock(ends)}"))
        for begins, ends in history.gaps
        if begins >= rows[0][0]
    ]
    print()
    head = ("issued (UTC)", "lives", "trigger", "grant", "run id", "reason")
    _print_table(head, [row for _, row in sorted(rows, key=lambda each: each[0], reverse=True)])


def show_checks(checks: Sequence[Check]) -> None:
    """A table, then the remedies."""
    rows = [(check.verdict, check.connection or "", check.name, check.detail) for check in checks]
    _print_table(("", "connection", "check", "found"), rows)
    for check in checks:
        if check.remedy:
            print(f"\n{check.verdict}: {f'{check.connection}: ' if check.connection else ''}{check.name}")
            print(f"  {check.remedy}")


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
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in head:
        table.add_column(name)
    for row in rows:
        table.add_row(*(Text(cell, style=_STYLES.get(cell, "")) for cell in row))
    Console().print(table)
    return True


def _until(moment: datetime | None, now: datetime) -> str:
    if moment is None:
        return "unknown"
    return f"in {span_text(moment - now)}" if moment > now else f"{span_text(now - moment)} ago"


def _clock(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S}"
