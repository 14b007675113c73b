"""Reports, statuses and histories for JSON: instants in ISO 8601 UTC, spans in seconds, nothing that is not known."""

from dataclasses import fields
from datetime import datetime
from typing import TYPE_CHECKING

from refresher.model.causes import diagnose
from refresher.model.check import Check
from refresher.model.errors import VaultError
from refresher.model.moments import format_instant
from refresher.model.report import RunReport, Warning_
from refresher.model.stored import KeyLife
from refresher.model.timing import Reserve
from refresher.policy.attempts import Attempt
from refresher.status.connection_status import ConnectionStatus
from refresher.status.copies import TargetStatus
from refresher.status.history import History, Issue
from refresher.status.timer import TimerStatus

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


def report_body(report: RunReport, now: datetime) -> dict[str, object]:
    """One report; `expires_in` counts from now."""
    expires_at = report.access_token_expires_at
    return _known(
        connection=report.connection,
        outcome=report.outcome,
        message=report.message,
        cause=report.cause,
        checks=diagnose(report.cause, report.connection).checks if report.cause else None,
        hint=report.hint,
        reason=report.reason,
        working=report.working,
        grant=report.grant,
        attempts=report.attempts,
        duration_ms=report.duration_ms,
        expires_at=expires_at,
        expires_in=round((expires_at - now).total_seconds()) if expires_at else None,
        refresh_at=report.refresh_at,
        in_hand=report.reserve,
        refresh_token_expires_at=report.refresh_token_expires_at,
        consecutive_failures=report.consecutive_failures,
        user_name=report.user_name,
        run_id=report.run_id,
        trigger=report.trigger,
        transaction_id=report.transaction_id,
        warnings=report.warnings,
    )


def check_body(check: Check) -> dict[str, object]:
    """One check of the doctor."""
    return _known(
        connection=check.connection,
        name=check.name,
        verdict=check.verdict,
        detail=check.detail,
        remedy=check.remedy,
        suspected=check.suspected or None,
    )


def body_of(found: ConnectionStatus | TimerStatus | History) -> dict[str, object]:
    """All fields of what was found: each of them is for people."""
    return _known(**_fields(found))


def _fields(value: "DataclassInstance") -> dict[str, object]:
    return {field.name: getattr(value, field.name) for field in fields(value)}


def _known(**values: object) -> dict[str, object]:
    return {name: _plain(value) for name, value in values.items() if value is not None}


def _plain(value: object) -> object:
    """A value as JSON has it. A secret is not made plain, and JSON refuses it."""
    match value:
        case datetime():
            return format_instant(value)
        case tuple():
            return [_plain(each) for each in value]
        case Reserve(left=left, text=text):
            named: dict[str, object] = {"seconds": round(left.total_seconds()), "message": text}
        case KeyLife(name=name, expires_on=ends_at):
            named = {"name": name, "expires_at": ends_at or "unknown"}
        case VaultError(cause=cause, message=message):
            named = {"cause": cause, "message": message}
        case Attempt() | Issue() | TargetStatus() | Warning_():
            named = _fields(value)
        case _:
            return value
    return _known(**named)
