"""Results as HTTP: status code, headers, JSON body. Errors are problem details (RFC 9457)."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus

from refresher.errors import Cause, RefresherError, SettingsError
from refresher.health import ConnectionStatus
from refresher.outcome import SUCCESSES, Outcome, RunReport
from refresher.record import format_instant
from refresher.render import report_body, status_body

_NO_STORE = {"Cache-Control": "no-store"}
_BUSY_RETRY_AFTER = 60.0
_UNAVAILABLE = frozenset(
    {
        Cause.IDENTITY_UNAVAILABLE,
        Cause.VAULT_UNAVAILABLE,
        Cause.VAULT_THROTTLED,
        Cause.VAULT_FORBIDDEN,
        Cause.INSTANCE_UNREACHABLE,
        Cause.INSTANCE_TIMEOUT,
        Cause.INSTANCE_THROTTLED,
        Cause.INSTANCE_ERROR,
        Cause.INSTANCE_HIBERNATING,
        Cause.LEASE_UNAVAILABLE,
        Cause.PUBLISH_FAILED,
    }
)
_OURS = frozenset({Cause.SETTINGS_INVALID, Cause.UNEXPECTED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP response as plain values."""

    status: int
    content_type: str
    body: str
    headers: Mapping[str, str]


def refresh_reply(reports: Sequence[RunReport], now: datetime) -> Reply:
    """The answer to a refresh request: 200, or the problem of the gravest report."""
    worst = max(reports, key=_gravity)
    if _gravity(worst) == 0:
        return _json(HTTPStatus.OK, "application/json", {"connections": [report_body(r, now) for r in reports]})
    body = {
        "type": "about:blank",
        "title": _TITLES[worst.outcome],
        "status": int(_status(worst)),
        "detail": worst.message,
        **report_body(worst, now),
    }
    if len(reports) > 1:
        body["connections"] = [report_body(report, now) for report in reports]
    headers = {}
    if worst.outcome is Outcome.BUSY or worst.retry_after is not None:
        headers["Retry-After"] = str(max(1, round(worst.retry_after or _BUSY_RETRY_AFTER)))
    return _json(_status(worst), "application/problem+json", body, headers)


def status_reply(statuses: Sequence[ConnectionStatus], now: datetime) -> Reply:
    """Health for monitors: 200 where every connection holds a working token, 503 otherwise."""
    passing = all(status.working for status in statuses)
    body = {
        "status": "pass" if passing else "fail",
        "time": format_instant(now),
        "connections": [status_body(status) for status in statuses],
    }
    code = HTTPStatus.OK if passing else HTTPStatus.SERVICE_UNAVAILABLE
    return _json(code, "application/health+json", body)


def error_reply(error: RefresherError, status: HTTPStatus | None = None) -> Reply:
    """A problem that kept anything from being run."""
    code = status or HTTPStatus.INTERNAL_SERVER_ERROR
    body: dict[str, object] = {
        "type": "about:blank",
        "title": code.phrase,
        "status": int(code),
        "detail": error.message,
        "cause": error.cause.value,
        "hint": error.hint,
    }
    if isinstance(error, SettingsError):
        body["problems"] = list(error.problems)
    return _json(code, "application/problem+json", body)


_TITLES = {
    Outcome.BUSY: "Another refresh is under way",
    Outcome.KEPT: "The refresh failed; the old token is still in use",
    Outcome.FAILED: "The refresh failed",
    Outcome.AUTHORIZATION_REQUIRED: "A person must authorize again",
}


def _gravity(report: RunReport) -> int:
    if report.outcome in SUCCESSES:
        return 0
    order = (Outcome.BUSY, Outcome.KEPT, Outcome.FAILED, Outcome.AUTHORIZATION_REQUIRED)
    return 1 + order.index(report.outcome)


def _status(report: RunReport) -> HTTPStatus:
    if report.outcome is Outcome.BUSY:
        return HTTPStatus.CONFLICT
    if report.cause in _OURS:
        return HTTPStatus.INTERNAL_SERVER_ERROR
    return HTTPStatus.SERVICE_UNAVAILABLE if report.cause in _UNAVAILABLE else HTTPStatus.BAD_GATEWAY


def _json(
    status: HTTPStatus, content_type: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None
) -> Reply:
    return Reply(
        status=int(status),
        content_type=content_type,
        body=json.dumps(body, indent=2),
        headers={**_NO_STORE, **(headers or {})},
    )
