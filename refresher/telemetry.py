"""The log: one single-line JSON message for each outcome and warning, from an allow-list of fields.

The message itself is JSON because the Functions host passes on the message only. Field names are a contract with
the alert rules (docs/telemetry.md); nothing is taken from a foreign exception or a response body.
"""

import json
import logging
from collections.abc import Collection, Mapping
from datetime import datetime

from refresher.model import steps
from refresher.model.connection import CONNECTION_NAME
from refresher.model.report import SUCCESSES, Outcome, RunReport, Trigger, Warning_
from refresher.model.steps import Step
from refresher.model.version import VERSION

LOGGER = logging.getLogger("refresher")
_CHATTY = (
    "azure.core.pipeline.policies.http_logging_policy",
    "azure.storage",
    "httpcore",
    "httpx",
    "msal",
    "urllib3",
)
"""Third-party loggers that write at INFO for every request; httpx writes whole URLs, a revoked token with them."""


class _WithoutSecrets(logging.Filter):
    """Takes secrets out of what libraries log, for whoever turns their loggers up."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Cut off URLs' queries (a revoked token) and quoted answers; drop the headers, and cookies, of answers."""
        if isinstance(record.args, tuple):
            record.args = tuple(_without_query(argument) for argument in record.args)
        text = record.getMessage()
        if _QUOTED_ANSWER in text or record.exc_info:
            record.msg, record.args = text.partition(_QUOTED_ANSWER)[0], ()
            record.exc_info = record.exc_text = None
        return _ANSWER_HEADERS not in text


_ANSWER_HEADERS = "receive_response_headers.complete"
_QUOTED_ANSWER = "Content:"
"""What azure-identity writes before an answer of the identity endpoint that it could not read: half a token, say."""
_TALKATIVE = (
    "azure.identity._credentials.chained",
    "azure.identity._internal.decorators",
    "azure.identity._internal.msal_managed_identity_client",
    "httpcore.http11",
    "httpx",
)
_WORDY = ("azure.identity", "azure.keyvault")
"""Their warnings say in many lines, for every try, what a cause says once; of a page, a traceback."""
_WITHOUT_SECRETS = _WithoutSecrets()


def _without_query(argument: object) -> object:
    text = str(argument)
    return text.partition("?")[0] if "://" in text and "?" in text else argument


def quiet_third_parties() -> None:
    """Keep the libraries' loggers at WARNING, in a process whose root logger lets INFO through."""
    for name in _CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _TALKATIVE:
        logging.getLogger(name).addFilter(_WITHOUT_SECRETS)
    for name in _WORDY:
        logging.getLogger(name).setLevel(logging.ERROR)


def emit(report: RunReport, now: datetime) -> None:
    """Log a report: its warnings, then its outcome."""
    for warning in report.warnings:
        LOGGER.warning("%s", _line(warning_event(report, warning, now)))
    LOGGER.log(_level(report), "%s", _line(outcome_event(report, now)))


def emit_tick(connections: int, *, due: int, tried: int, refused: Collection[str]) -> None:
    """Log a tick that runs nothing itself, since a queue does: what it found due, and what it tried."""
    names = f": {', '.join(refused)}" if refused else ""
    event = {
        "event": "tick",
        "version": VERSION,
        "trigger": Trigger.TIMER.value,
        "connections": connections,
        "due": due,
        "tried": tried,
        "refused": len(refused),
        "message": f"{due} of {connections} connections are due; {tried} tokens tried, {len(refused)} refused{names}",
    }
    LOGGER.log(logging.WARNING if refused else logging.INFO, "%s", _line(event))


def say_problem(problem: str) -> None:
    """Log for people what no connection has an event for: a setting, or what kept every run from beginning."""
    LOGGER.error("%s", problem)


def emit_poisoned(body: bytes) -> None:
    """Log that a queue message failed at every delivery. What it held is shown only if it can be a connection."""
    name = body.decode("ascii", errors="replace")
    connection = name if CONNECTION_NAME.fullmatch(name) else None
    asking = steps.status(connection or "NAME")
    hint = Step(asking, " names the cause to mend, or there is no such connection. There is no message to delete.")
    LOGGER.error("%s", _line({"event": "message_poisoned", "connection": connection, "hint": hint}))


def outcome_event(report: RunReport, now: datetime) -> dict[str, object]:
    """The event of a run's outcome."""
    return {
        "event": "refresh_outcome",
        **_common(report, now),
        "reason": report.reason,
        "message": report.message,
        "hint": report.hint,
        "tried": report.tried,
        "user_name": report.user_name,
        "operator_reason": report.operator_reason,
    }


def warning_event(report: RunReport, warning: Warning_, now: datetime) -> dict[str, object]:
    """The event of one warning."""
    return {
        "event": "refresh_warning",
        **_common(report, now),
        "warning": warning.code.value,
        "message": warning.message,
        "hint": warning.hint,
    }


def _common(report: RunReport, now: datetime) -> dict[str, object]:
    return {
        "connection": report.connection,
        "run_id": report.run_id,
        "version": VERSION,
        "trigger": report.trigger.value,
        "grant": report.grant.value if report.grant else None,
        "outcome": report.outcome.value,
        "cause": report.cause.value if report.cause else None,
        "attempts": report.attempts,
        "duration_ms": report.duration_ms,
        "token_age": _seconds(report.access_token_obtained_at, now),
        "expires_in": _seconds(now, report.access_token_expires_at),
        "refresh_token_expires_in": _seconds(now, report.refresh_token_expires_at),
        "consecutive_failures": report.consecutive_failures,
        "transaction_id": report.transaction_id,
    }


def _seconds(since: datetime | None, until: datetime | None) -> int | None:
    return round((until - since).total_seconds()) if since is not None and until is not None else None


def _line(event: Mapping[str, object]) -> str:
    return json.dumps({name: value for name, value in event.items() if value is not None}, ensure_ascii=True)


def _level(report: RunReport) -> int:
    if report.outcome in SUCCESSES or (report.outcome is Outcome.BUSY and report.working is not False):
        return logging.INFO
    waits = report.outcome in {Outcome.KEPT, Outcome.PUT_OFF, Outcome.BUSY}
    return logging.WARNING if waits else logging.ERROR
