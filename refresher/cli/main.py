"""The command line. Results go to stdout, messages to stderr; exit codes are a contract (`outcome.ExitCode`).

`--help` and a wrong usage load no SDK: commands import what they need.
"""

import argparse
import errno
import logging
import os
import sys
import traceback
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from refresher import REPORT_TO
from refresher.cli.exit_codes import ExitCode, gravest, refresh_exit_code, tick_exit_code
from refresher.cli.parser import build_parser
from refresher.model.causes import Cause
from refresher.model.errors import RefresherError, SettingsError, next_step
from refresher.model.report import RunReport, RunRequest, Trigger
from refresher.model.version import VERSION
from refresher.views.terminal import clear, say, say_json, take_everything, while_read, write_no_more

if TYPE_CHECKING:
    from refresher.app import App
    from refresher.status.connection_status import ConnectionStatus

INTERRUPTED = 130
"""What a shell expects of a program that Ctrl-C ended."""
_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What a full or broken disk answers."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    take_everything()
    options = build_parser().parse_args(arguments)
    logging.getLogger("refresher").addHandler(logging.NullHandler())
    try:
        return while_read(lambda: _run(options))
    except KeyboardInterrupt:
        # A watch is ended that way; anything else was in the middle of something.
        if not getattr(options, "watch", False):
            say("interrupted; the vault is as the last completed write left it", aside=True)
        return INTERRUPTED
    except ModuleNotFoundError as error:
        say(
            f"{error.name} is not installed for {sys.executable}. `make .venv` makes an environment with everything: "
            "use its .venv/bin/python.",
            aside=True,
        )
        return ExitCode.USAGE
    except Exception as error:  # noqa: BLE001 - a person gets a sentence; what it says may hold a secret
        if isinstance(error, OSError) and error.errno in _UNWRITABLE:
            write_no_more()
            say(f"the output could not be written: {os.strerror(error.errno)}", aside=True)
            return ExitCode.FAILED
        if options.debug:
            _print_origin(error)
        say(
            f"{type(error).__name__}: something happened that this program does not know. "
            f"The same command with --debug says where; please report that to {REPORT_TO}",
            aside=True,
        )
        return ExitCode.FAILED


def _run(options: argparse.Namespace) -> int:
    command = COMMANDS[options.command]
    try:
        return command(_make_app(read_environment(options.settings)), options)
    except RefresherError as error:
        if options.debug:
            _print_origin(error)
        return _explain(error, options)


def _explain(error: RefresherError, options: argparse.Namespace) -> int:
    if isinstance(error, SettingsError):
        for problem in error.problems:
            say(f"settings: {problem}", aside=True)
        say(error.hint, aside=True)
        return ExitCode.USAGE
    say(f"{error.message}. {next_step(error, getattr(options, 'name', None) or 'NAME')}", aside=True)
    return ExitCode.USAGE if error.cause is Cause.BAD_REQUEST else ExitCode.FAILED


def _print_origin(error: BaseException | None) -> None:
    """Where an error and those before it were raised: places and types, none of their words."""
    while error is not None:
        say(f"{type(error).__name__}, raised at", aside=True)
        for frame in traceback.extract_tb(error.__traceback__):
            say(f"  {frame.filename}:{frame.lineno} in {frame.name}", aside=True)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def read_environment(settings_file: Path | None) -> Mapping[str, str]:
    """The process environment, overlaid with the settings of a file; the process gets those it lacks.

    Raises SettingsError.
    """
    if settings_file is None:
        return os.environ
    from refresher.settings.file import read_settings_file  # noqa: PLC0415 - where there is one

    overlay = read_settings_file(settings_file)
    if "IDENTITY_ENDPOINT" not in os.environ:
        # It says how the app signs in. Here somebody else did, whom the SDK would not look for then.
        overlay.pop("AZURE_TOKEN_CREDENTIALS", None)
    # The SDKs read theirs (AZURE_CLIENT_ID and the like) from the process, where those of this place count: with the
    # secret of whoever signs in here, the app's client id would be sent as theirs.
    environ = {**os.environ, **overlay}
    os.environ.update({name: value for name, value in overlay.items() if name not in os.environ})
    return environ


def _make_app(environ: Mapping[str, str]) -> "App":
    from refresher.app import App  # noqa: PLC0415 - loads the SDKs
    from refresher.telemetry import quiet_third_parties  # noqa: PLC0415 - for those

    # Without a sign-in, azure.identity has a line to say on stderr for each way to sign in.
    quiet_third_parties()
    return App(environ)


def _tick(app: "App", options: argparse.Namespace) -> int:
    app.note_tick()
    reports = app.tick(_request(options))
    _print_reports(app, reports, options)
    return tick_exit_code(reports)


def _refresh(app: "App", options: argparse.Namespace) -> int:
    request = _request(options)._replace(force=options.force, reason=options.reason)
    reports = app.refresh([options.name], request) if options.name else app.tick(request)
    _print_reports(app, reports, options)
    return refresh_exit_code(reports)


def _status(app: "App", options: argparse.Namespace) -> int:
    from refresher.views.bodies import body_of  # noqa: PLC0415 - serves JSON only
    from refresher.views.tables import show_statuses  # noqa: PLC0415 - a view of this command's own

    names = [options.name] if options.name else None
    while True:
        statuses, timer = app.status(names, offline=options.offline, anew=not options.watch), app.timer()
        if options.json:
            connections = [body_of(status) for status in statuses]
            say_json({"version": VERSION, "timer": body_of(timer), "connections": connections})
        else:
            if options.watch and sys.stdout.isatty():
                clear()
            show_statuses(statuses, timer, app.clock.now(), everything=options.all)
            if options.watch:
                say()
                say(f"{app.clock.now():%H:%M:%S} UTC, again every {options.every:g} s; Ctrl-C ends it")
                sys.stdout.flush()
        if not options.watch:
            return gravest([*map(_status_code, statuses), ExitCode.DONE if timer.healthy else ExitCode.FAILED])
        app.clock.sleep(options.every)


def _status_code(status: "ConnectionStatus") -> int:
    if status.working is None:
        return ExitCode.FAILED
    sound = status.working and status.state != "authorization_required"
    return ExitCode.DONE if sound else ExitCode.NO_WORKING_TOKEN


def _history(app: "App", options: argparse.Namespace) -> int:
    from refresher.views.bodies import body_of  # noqa: PLC0415 - serves JSON only
    from refresher.views.tables import show_history  # noqa: PLC0415 - a view of this command's own

    names = [options.name] if options.name else [connection.name for connection in app.settings.connections]
    histories = []
    for name in names:
        try:
            histories.append(app.history(name))
        except RefresherError as error:
            if len(names) == 1:
                raise
            if options.debug:
                _print_origin(error)
            say(f"{name}: {error.message}. {next_step(error, name)}", aside=True)
    if options.json:
        say_json({"connections": [body_of(history) for history in histories]})
    else:
        for history in histories:
            show_history(history, app.clock.now(), options.limit)
    return ExitCode.DONE if len(histories) == len(names) else ExitCode.FAILED


def _doctor(app: "App", options: argparse.Namespace) -> int:
    from refresher.model.check import Verdict, failed  # noqa: PLC0415 - for this command only
    from refresher.views.bodies import check_body  # noqa: PLC0415 - serves JSON only
    from refresher.views.examination import show_checks  # noqa: PLC0415 - a view of this command's own

    code, instances = None, {}
    try:
        checks = app.doctor([options.name] if options.name else None)
        instances = {each.name: each.instance_url for each in app.settings.connections}
    except SettingsError as error:
        checks = tuple(failed(None, "settings", problem, error.hint) for problem in error.problems)
        code = ExitCode.USAGE
    if options.json:
        say_json({"checks": [check_body(check) for check in checks]})
    else:
        show_checks(checks, instances, everything=options.all)
    return code or (ExitCode.FAILED if any(check.verdict is Verdict.FAIL for check in checks) else ExitCode.DONE)


def _by_hand(app: "App", options: argparse.Namespace) -> int:
    from refresher.cli.authorize import authorize, revoke  # noqa: PLC0415 - loads a web server

    report = (authorize if options.command == "authorize" else revoke)(app, options, _request(options))
    _print_reports(app, (report,), options)
    return refresh_exit_code((report,))


def _probe(app: "App", options: argparse.Namespace) -> int:
    from refresher.cli.authorize import probe  # noqa: PLC0415 - as above

    return probe(app, options)


def _request(options: argparse.Namespace) -> RunRequest:
    """A run that a person waits for, who is told of its progress where somebody reads it."""
    told = not options.json and sys.stderr.isatty()
    on_progress = (lambda step: say(f"  ... {step}", aside=True)) if told else (lambda _: None)
    return RunRequest(trigger=Trigger.CLI, on_progress=on_progress)


def _print_reports(app: "App", reports: Sequence[RunReport], options: argparse.Namespace) -> None:
    from refresher.views.bodies import report_body  # noqa: PLC0415 - serves JSON only
    from refresher.views.reports import show_report  # noqa: PLC0415 - loads what status and history show

    if options.json:
        say_json({"connections": [report_body(report, app.clock.now()) for report in reports]})
        return
    for report in reports:
        show_report(report)


COMMANDS: Mapping[str, Callable[["App", argparse.Namespace], int]] = {
    "tick": _tick,
    "refresh": _refresh,
    "status": _status,
    "history": _history,
    "doctor": _doctor,
    "authorize": _by_hand,
    "probe": _probe,
    "revoke": _by_hand,
}
