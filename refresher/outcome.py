"""What came of a run: values for the log, the terminal, HTTP and exit codes."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from refresher.errors import Cause
from refresher.outlook import Warning_
from refresher.tokens import Grant, Trigger


class Outcome(StrEnum):
    """How a run of one connection ended."""

    REFRESHED = "refreshed"
    PUBLISHED = "published"
    """The stored token was good; targets that lacked it were written."""
    UNCHANGED = "unchanged"
    """ServiceNow answered with the token that is stored already (or with one that would end sooner)."""
    NOT_DUE = "not_due"
    BUSY = "busy"
    KEPT = "kept"
    """The run failed, and the old token works until the next tick at least."""
    FAILED = "failed"
    AUTHORIZATION_REQUIRED = "authorization_required"
    REVOKED = "revoked"
    """An operator had the tokens revoked."""


SUCCESSES = frozenset({Outcome.REFRESHED, Outcome.PUBLISHED, Outcome.UNCHANGED, Outcome.NOT_DUE, Outcome.REVOKED})


class ExitCode:
    """Exit codes of the command line (contract)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_WORKING_TOKEN = 3
    BUSY = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRequest:
    """Who wants a run, and why. `reason` and `principal` are what an operator and the platform said."""

    trigger: Trigger
    force: bool = False
    reason: str | None = None
    principal: str | None = None
    on_progress: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunReport:
    """The result for one connection. `working` says whether its token works now; None where it cannot be said."""

    connection: str
    run_id: str
    trigger: Trigger
    outcome: Outcome
    message: str
    reason: str | None = None
    cause: Cause | None = None
    hint: str | None = None
    grant: Grant | None = None
    attempts: int = 0
    duration_ms: int = 0
    working: bool | None = None
    access_token_obtained_at: datetime | None = None
    access_token_expires_at: datetime | None = None
    refresh_token_expires_at: datetime | None = None
    refresh_at: datetime | None = None
    consecutive_failures: int = 0
    transaction_id: str | None = None
    user_name: str | None = None
    retry_after: float | None = None
    operator_reason: str | None = None
    principal: str | None = None
    warnings: tuple[Warning_, ...] = ()
    first_of_day: bool = False
    """Whether standing warnings are due in the log: once a day, not with every run."""


def tick_exit_code(reports: Iterable[RunReport]) -> int:
    """0 where every connection holds a working token; busy leaves quietly."""
    return gravest(_tick_code(report) for report in reports)


def _tick_code(report: RunReport) -> int:
    if report.outcome is Outcome.BUSY:
        return ExitCode.DONE
    if report.outcome is Outcome.AUTHORIZATION_REQUIRED or report.working is False:
        return ExitCode.NO_WORKING_TOKEN
    return ExitCode.FAILED if report.outcome is Outcome.FAILED else ExitCode.DONE


def refresh_exit_code(reports: Iterable[RunReport]) -> int:
    """As `tick_exit_code`, but a kept token is a failure and busy is said."""
    return gravest(_refresh_code(report) for report in reports)


def _refresh_code(report: RunReport) -> int:
    if report.outcome is Outcome.BUSY:
        return ExitCode.BUSY
    if report.outcome is Outcome.KEPT:
        return ExitCode.FAILED
    return _tick_code(report)


def gravest(codes: Iterable[int]) -> int:
    """The gravest of several exit codes: 3, 1, 4, 0."""
    order = (ExitCode.NO_WORKING_TOKEN, ExitCode.FAILED, ExitCode.BUSY)
    seen = set(codes)
    return next((code for code in order if code in seen), ExitCode.DONE)
