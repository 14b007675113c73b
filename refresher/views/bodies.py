"""Reports and statuses as values for JSON (instants in ISO 8601 UTC, spans in seconds) and for people."""

from collections.abc import Iterable
from datetime import datetime

from refresher.model.causes import diagnose
from refresher.model.check import Check
from refresher.model.errors import VaultError
from refresher.model.moments import format_instant
from refresher.model.report import RunReport, Warning_
from refresher.model.stored import KeyLife
from refresher.model.timing import Reserve
from refresher.policy.attempts import Attempt
from refresher.status.health import ConnectionStatus
from refresher.status.history import History
from refresher.status.timer import TimerStatus


def report_body(report: RunReport, now: datetime) -> dict[str, object]:
    """One report as JSON; instants in ISO 8601, spans in seconds."""
    expires_at = report.access_token_expires_at
    return _known(
        connection=report.connection,
        outcome=report.outcome.value,
        message=report.message,
        cause=report.cause.value if report.cause else None,
        checks=list(diagnose(report.cause, report.connection).checks) if report.cause else None,
        hint=report.hint,
        reason=report.reason,
        working=report.working,
        grant=report.grant.value if report.grant else None,
        attempts=report.attempts,
        duration_ms=report.duration_ms,
        expires_at=_instant(expires_at),
        expires_in=round((expires_at - now).total_seconds()) if expires_at else None,
        refresh_at=_instant(report.refresh_at),
        in_hand=_in_hand(report.reserve),
        refresh_token_expires_at=_instant(report.refresh_token_expires_at),
        consecutive_failures=report.consecutive_failures,
        user_name=report.user_name,
        run_id=report.run_id,
        trigger=report.trigger.value,
        transaction_id=report.transaction_id,
        warnings=[_warning_body(warning) for warning in report.warnings],
    )


def timer_body(timer: TimerStatus) -> dict[str, object]:
    """Whether the timer fires, as JSON."""
    return _known(
        state=timer.state.value,
        last_tick_at=_instant(timer.last_tick_at),
        message=timer.message,
        next_step=timer.next_step,
        remarks=list(timer.remarks),
    )


def status_body(status: ConnectionStatus) -> dict[str, object]:
    """One status as JSON."""
    return _known(
        connection=status.connection,
        instance_url=status.instance_url,
        state=status.state.value,
        working=status.working,
        message=status.message,
        basis=status.basis,
        tried=status.tried.value if status.tried else None,
        user_name=status.user_name,
        next_step=status.next_step,
        cause=status.cause.value if status.cause else None,
        checks=list(status.checks) or None,
        issued_at=_instant(status.issued_at),
        expires_at=_instant(status.expires_at),
        refresh_at=_instant(status.refresh_at),
        in_hand=_in_hand(status.reserve),
        refresh_token_expires_at=_instant(status.refresh_token_expires_at),
        refresh_token_then=status.refresh_token_then,
        signing_key=_signing_key(status),
        last_attempt_at=_instant(status.last_attempt_at),
        last_outcome=status.last_outcome,
        consecutive_failures=status.consecutive_failures,
        attempts=attempts_body(status.attempts) or None,
        targets=[
            _known(
                name=target.name,
                vault_url=target.vault_url,
                current=target.current,
                working=target.working,
                remark=target.remark,
            )
            for target in status.targets
        ],
        warnings=[_warning_body(warning) for warning in status.warnings],
        lives=[[_instant(begins), _instant(ends)] for begins, ends in status.lives],
    )


def _in_hand(reserve: Reserve | None) -> dict[str, object] | None:
    return {"seconds": round(reserve.left.total_seconds()), "message": reserve.text} if reserve is not None else None


def _signing_key(status: ConnectionStatus) -> dict[str, object] | None:
    """The end of the key that signs in a vault: `unknown` is an answer of its own."""
    match status.signing_key:
        case KeyLife(name=name, expires_on=ends_at):
            return {"name": name, "expires_at": _instant(ends_at) or "unknown"}
        case VaultError() as error:
            return {"cause": error.cause.value, "message": error.message}
        case _:
            return None


def attempts_body(attempts: Iterable[Attempt]) -> list[dict[str, str]]:
    """The last attempts as JSON, newest first."""
    return [{"at": format_instant(attempt.at), "code": attempt.code} for attempt in attempts]


def history_body(history: History) -> dict[str, object]:
    """The history of one connection as JSON, oldest first."""
    return {
        "connection": history.connection,
        "issues": [
            _known(
                issued_at=_instant(issue.issued_at),
                expires_at=_instant(issue.expires_at),
                confirmed_at=_instant(issue.confirmed_at),
                trigger=issue.trigger,
                grant=issue.grant,
                run_id=issue.run_id,
                reason=issue.reason,
                by_hand=issue.by_hand,
                revoked=issue.revoked or None,
            )
            for issue in history.issues
        ],
        "attempts": attempts_body(history.attempts),
        "gaps": [[_instant(begins), _instant(ends)] for begins, ends in history.gaps],
    }


def check_body(check: Check) -> dict[str, object]:
    """One check of the doctor as JSON."""
    return _known(
        connection=check.connection,
        name=check.name,
        verdict=check.verdict.value,
        detail=check.detail,
        remedy=check.remedy,
        suspected=check.suspected or None,
    )


def _warning_body(warning: Warning_) -> dict[str, str]:
    return {"code": warning.code.value, "message": warning.message, "hint": warning.hint}


def _instant(moment: datetime | None) -> str | None:
    return format_instant(moment) if moment is not None else None


def _known(**body: object) -> dict[str, object]:
    return {name: value for name, value in body.items() if value is not None}
