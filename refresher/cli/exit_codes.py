"""Exit codes of the command line: what a run, or several, come to for a script that waits for them."""

from collections.abc import Iterable

from refresher.model.report import Outcome, RunReport


class ExitCode:
    """Exit codes of the command line (contract)."""

    DONE = 0
    FAILED = 1
    USAGE = 2
    NO_WORKING_TOKEN = 3
    BUSY = 4


def tick_exit_code(reports: Iterable[RunReport]) -> int:
    """0 where every connection holds a working token; busy leaves quietly."""
    return gravest(_tick_code(report) for report in reports)


def _tick_code(report: RunReport) -> int:
    # What was revoked works no more, as it should.
    if report.outcome in {Outcome.BUSY, Outcome.REVOKED}:
        return ExitCode.DONE
    if report.outcome is Outcome.AUTHORIZATION_REQUIRED or report.working is False:
        return ExitCode.NO_WORKING_TOKEN
    return ExitCode.FAILED if report.outcome in {Outcome.FAILED, Outcome.PUT_OFF} else ExitCode.DONE


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
