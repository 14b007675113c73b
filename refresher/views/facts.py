"""What there is to know of a connection, as labels and texts: page and terminal show the same ones.

A `cell` has a place in the terminal's table, with a short text; the rest is told in lines.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from refresher.model.causes import Kind
from refresher.model.report import Outcome
from refresher.model.steps import Step
from refresher.policy.forecast import ENDING
from refresher.status.connection_status import ConnectionStatus, State
from refresher.views.words import ago_text, attempts_text, holds, key_text, span_text


@dataclass(frozen=True, slots=True)
class Fact:
    """One fact; commands in its text are known as such. `more` is for where there is room."""

    label: str
    text: Step
    more: str = ""
    cell: bool = False


def facts(status: ConnectionStatus, now: datetime) -> tuple[Fact, ...]:
    """All of them, the cells first: each status has the same ones, in the same order."""
    return (*_cells(status, now), *_told(status, now))


def _cells(status: ConnectionStatus, now: datetime) -> Iterator[Fact]:
    unknown = status.state is State.UNKNOWN
    none = ("unknown" if unknown else "none", "")
    current = sum(target.current is True for target in status.targets)
    ended = "refused" if status.state is State.REFUSED else "revoked" if _is_revoked(status) else ""
    cells = {
        "access token": (ended, "") if ended else _end(status.expires_at, now) or none,
        "age": (span_text(now - status.issued_at) if status.issued_at else "", ""),
        "next refresh": ("", "") if unknown else _next_refresh(status, now),
        "refresh token": _refresh_token(status, now) or none,
        "targets": (
            "" if unknown else f"{current} of {len(status.targets)}",
            ", ".join(target.name for target in status.targets),
        ),
    }
    for label, (text, more) in cells.items():
        yield Fact(label, Step(text), more, cell=True)


def _told(status: ConnectionStatus, now: datetime) -> Iterator[Fact]:
    named = {"known": status.basis, "user": status.user_name, "instance": status.instance_url}
    yield from (Fact(label, Step(text)) for label, text in named.items() if text)
    yield from _attempts(status, now)
    if status.in_hand is not None and status.working and not status.consecutive_failures:
        yield Fact("if ServiceNow is away", Step(status.in_hand.text))
    for target in status.targets:
        if not target.current:
            yield Fact(f"target {target.name} in {target.vault_url}", Step(holds(target)))
    if status.refresh_token_then and not ENDING & {warning.code for warning in status.warnings}:
        yield Fact("when the refresh token ends", status.refresh_token_then)
    if status.signing_key is not None:
        yield Fact("signing key", Step(key_text(status.signing_key, now)))
    for warning in status.warnings:
        yield Fact("warning", Step(f"{warning.message}. ", warning.hint))
    for check in status.checks:
        yield Fact("check", Step(check))


def _attempts(status: ConnectionStatus, now: datetime) -> Iterator[Fact]:
    if status.last_attempt_at is not None:
        count = status.consecutive_failures
        failures = f", {count} failure{'s' if count > 1 else ''} in a row" if count else ""
        ago = ago_text(now - status.last_attempt_at)
        text = Step(f"{ago}: {status.last_outcome or 'unknown'}{failures}")
        yield Fact("last attempt", text, _clock(status.last_attempt_at, now))
    if status.attempts:
        yield Fact("last attempts (UTC)", Step(attempts_text(status.attempts, now)))


def _is_revoked(status: ConnectionStatus) -> bool:
    """Whether somebody ended the token's life, whatever time their clock told."""
    return any(each.at == status.expires_at and each.code == Outcome.REVOKED for each in status.attempts)


def _end(moment: datetime | None, now: datetime) -> tuple[str, str] | None:
    if moment is None:
        return None
    ahead = moment - now
    text = f"ends in {span_text(ahead)}" if ahead > timedelta() else f"ended {span_text(-ahead)} ago"
    return text, _clock(moment, now)


def _refresh_token(status: ConnectionStatus, now: datetime) -> tuple[str, str] | None:
    """Its end, unless ServiceNow refuses it, or refuses something and does not say what."""
    cause = status.cause.row if status.cause is not None else None
    if cause is not None and cause.ends_refresh_token:
        return "refused", ""
    doubted = status.consecutive_failures and cause is not None and cause.kind is Kind.REFUSED
    return ("in doubt", "") if doubted else _end(status.refresh_token_expires_at, now)


def _next_refresh(status: ConnectionStatus, now: datetime) -> tuple[str, str]:
    at = status.refresh_at
    due = at is None or at <= now
    if status.state is State.AUTHORIZATION_REQUIRED:
        return "overdue" if due else "none", ""
    if at is None or due or status.state is State.REFUSED or _is_revoked(status):
        return "overdue" if status.consecutive_failures else "next tick", ""
    return f"in {span_text(at - now)}", _clock(at, now)


def _clock(moment: datetime, now: datetime) -> str:
    """The time; with its day where that is another one."""
    day = "" if abs(moment - now) < timedelta(hours=12) else f"{moment:%Y-%m-%d} "
    return f"{day}{moment:%H:%M} UTC"
