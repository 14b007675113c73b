"""The command line. Results go to stdout, messages to stderr; exit codes are a contract (`outcome.ExitCode`).

`--help` and a wrong usage load no SDK: commands import what they need.
"""

import argparse
import json
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from refresher.diagnosis import diagnose
from refresher.errors import RefresherError, SettingsError
from refresher.outcome import ExitCode, Outcome, RunReport, RunRequest, refresh_exit_code, tick_exit_code
from refresher.tokens import Trigger

if TYPE_CHECKING:
    from refresher.app import App

Command = Callable[["App", argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = build_parser().parse_args(arguments)
    logging.getLogger("refresher").addHandler(logging.NullHandler())
    command: Command = options.command
    try:
        environ = read_environment(options.settings)
        return command(_make_app(environ), options)
    except SettingsError as error:
        for problem in error.problems:
            print(f"settings: {problem}", file=sys.stderr)
        print(error.hint, file=sys.stderr)
        return ExitCode.USAGE
    except RefresherError as error:
        hint = error.hint or diagnose(error.cause, getattr(options, "name", None) or "NAME").next_step
        print(f"{error.message}. {hint}", file=sys.stderr)
        return ExitCode.USAGE if error.cause == "settings_invalid" else ExitCode.FAILED
    except KeyboardInterrupt:
        print("interrupted; the vault is as the last completed write left it", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--settings", type=Path, metavar="FILE", help="read settings from a local.settings.json")
    machine = argparse.ArgumentParser(add_help=False)
    machine.add_argument("--json", action="store_true", help="print JSON for a machine")
    parser = argparse.ArgumentParser(
        prog="python -m refresher", description="Keeps a working ServiceNow OAuth token in Azure Key Vault."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    tick = commands.add_parser("tick", parents=[common, machine], help="do what the timer does: refresh what is due")
    tick.set_defaults(command=_tick)

    refresh = commands.add_parser("refresh", parents=[common, machine], help="refresh one connection, or all")
    refresh.add_argument("name", nargs="?", metavar="NAME", help="connection; all where left out")
    refresh.add_argument("--force", action="store_true", help="also where nothing is due")
    refresh.add_argument("--reason", metavar="TEXT", help="why; kept in the log and the token's tags")
    refresh.set_defaults(command=_refresh)

    status = commands.add_parser("status", parents=[common, machine], help="say whether the tokens work, and why not")
    status.add_argument("name", nargs="?", metavar="NAME", help="connection; all where left out")
    status.set_defaults(command=_status)

    authorize = commands.add_parser(
        "authorize", parents=[common, machine], help="start a refresh token's life, as a person"
    )
    authorize.add_argument("name", metavar="NAME", help="connection")
    authorize.add_argument("--grant", required=True, choices=("password", "authorization_code"))
    authorize.add_argument("--store", action="store_true", help="password: keep user name and password in the vault")
    authorize.add_argument("--no-browser", action="store_true", help="authorization_code: print the address only")
    authorize.add_argument(
        "--port", type=int, default=8400, help="authorization_code: port of the redirect (default: %(default)s)"
    )
    authorize.add_argument(
        "--timeout", type=float, default=300, metavar="SECONDS", help="authorization_code: time to sign in"
    )
    authorize.set_defaults(command=_authorize)

    probe = commands.add_parser("probe", parents=[common, machine], help="say whose token it is and whether it works")
    probe.add_argument("name", nargs="?", metavar="NAME", help="connection; all where left out")
    probe.set_defaults(command=_probe)

    revoke = commands.add_parser("revoke", parents=[common, machine], help="revoke a connection's tokens")
    revoke.add_argument("name", metavar="NAME", help="connection")
    revoke.add_argument("--yes", action="store_true", help="do not ask")
    revoke.set_defaults(command=_revoke)
    return parser


def read_environment(settings_file: Path | None) -> Mapping[str, str]:
    """The process environment, overlaid with the `Values` of a local.settings.json. Raises SettingsError."""
    if settings_file is None:
        return os.environ
    try:
        values = json.loads(settings_file.read_text(encoding="utf-8"))["Values"]
        overlay = {str(name): str(value) for name, value in values.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        overlay = None
    if overlay is None:
        raise SettingsError((f"{settings_file} is not a readable local.settings.json with an object 'Values'",))
    # The SDKs read theirs (AZURE_CLIENT_ID and the like) from the process.
    os.environ.update(overlay)
    return os.environ


def _make_app(environ: Mapping[str, str]) -> "App":
    from refresher.app import App  # noqa: PLC0415 - loads the SDKs

    return App(environ)


def _tick(app: "App", options: argparse.Namespace) -> int:
    reports = app.tick(RunRequest(trigger=Trigger.CLI, on_progress=_progress(options)))
    _print_reports(app, reports, as_json=options.json)
    return tick_exit_code(reports)


def _refresh(app: "App", options: argparse.Namespace) -> int:
    request = RunRequest(
        trigger=Trigger.CLI, force=options.force, reason=options.reason, on_progress=_progress(options)
    )
    reports = app.refresh([options.name], request) if options.name else app.tick(request)
    _print_reports(app, reports, as_json=options.json)
    return refresh_exit_code(reports)


def _status(app: "App", options: argparse.Namespace) -> int:
    from refresher.render import status_body  # noqa: PLC0415 - serves JSON only

    statuses = app.status([options.name] if options.name else None)
    if options.json:
        print(json.dumps({"connections": [status_body(status) for status in statuses]}, indent=2))
    else:
        for status in statuses:
            print(f"{status.connection}: {status.state}: {status.message}")
            if status.expires_at is not None:
                print(f"  ends {status.expires_at:%Y-%m-%d %H:%M:%S} UTC")
            if status.next_step:
                print(f"  next: {status.next_step}")
    if any(status.working is None for status in statuses):
        return ExitCode.FAILED
    return ExitCode.DONE if all(status.working for status in statuses) else ExitCode.NO_WORKING_TOKEN


def _authorize(app: "App", options: argparse.Namespace) -> int:
    from refresher.cli_authorize import authorize  # noqa: PLC0415 - loads a web server

    report = authorize(app, options, RunRequest(trigger=Trigger.CLI, on_progress=_progress(options)))
    _print_reports(app, (report,), as_json=options.json)
    return refresh_exit_code((report,))


def _probe(app: "App", options: argparse.Namespace) -> int:
    from refresher.cli_authorize import probe  # noqa: PLC0415 - as above

    return probe(app, options)


def _revoke(app: "App", options: argparse.Namespace) -> int:
    from refresher.cli_authorize import revoke  # noqa: PLC0415 - as above

    report = revoke(app, options, RunRequest(trigger=Trigger.CLI, on_progress=_progress(options)))
    _print_reports(app, (report,), as_json=options.json)
    return ExitCode.DONE if report.outcome is Outcome.REVOKED else refresh_exit_code((report,))


def _progress(options: argparse.Namespace) -> Callable[[str], None]:
    if options.json or not sys.stderr.isatty():
        return lambda _: None
    return lambda step: print(f"  ... {step}", file=sys.stderr)


def _print_reports(app: "App", reports: Sequence[RunReport], *, as_json: bool) -> None:
    from refresher.render import report_body  # noqa: PLC0415 - serves JSON only

    if as_json:
        print(json.dumps({"connections": [report_body(report, app.clock.now()) for report in reports]}, indent=2))
        return
    for report in reports:
        cause = f" ({report.cause})" if report.cause else ""
        print(f"{report.connection}: {report.outcome}{cause}: {report.message}")
        if report.hint:
            print(f"  next: {report.hint}")
        if report.transaction_id and report.cause:
            print(f"  ServiceNow transaction: {report.transaction_id}")
        for warning in report.warnings:
            print(f"  warning: {warning.message}. {warning.hint}")
