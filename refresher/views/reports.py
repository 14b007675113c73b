"""What a run did, for a person at a terminal."""

from refresher import RUNBOOK
from refresher.model.causes import diagnose
from refresher.model.report import Outcome, RunReport
from refresher.views.tables import say_wrapped, show_step
from refresher.views.terminal import say


def show_report(report: RunReport) -> None:
    """The outcome; then, of a failure, where to look and what to do next."""
    cause = f" ({report.cause})" if report.cause else ""
    # The message of a success begins with the outcome by itself.
    outcome = "" if report.message.startswith(report.outcome) else f"{report.outcome}{cause}: "
    say(f"{report.connection}: {outcome}{report.message}")
    if report.reserve is not None:
        say(f"  if ServiceNow is away: {report.reserve.text}")
    if report.cause:
        if report.outcome is not Outcome.BUSY:
            for check in diagnose(report.cause, report.connection).checks:
                say_wrapped("  check: ", check)
        if report.hint:
            show_step(report.hint)
        say(f"  runbook: {RUNBOOK}causes.md#{report.cause}")
    if report.transaction_id and report.cause:
        say(f"  ServiceNow transaction: {report.transaction_id}")
    for warning in report.warnings:
        say(f"  warning: {warning.message}. {warning.hint}")
