"""The commands and their options, as argparse shows them with `--help`. Loads no SDK."""

import argparse
import os
from pathlib import Path
from typing import NoReturn

from refresher.model.report import one_line
from refresher.model.version import VERSION
from refresher.views.terminal import visible


def build_parser() -> argparse.ArgumentParser:
    """The commands and their options."""
    parser = _Parser(
        prog="python -m refresher", description="Keeps a working ServiceNow OAuth token in Azure Key Vault."
    )
    parser.add_argument("--version", action="version", version=VERSION)
    # They may stand before the command or after it; where they stand after it, nothing is left out by a default.
    named = os.environ.get("REFRESHER_SETTINGS")
    parser.set_defaults(settings=Path(named) if named else None, debug=False)
    common = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    _add_common(common)
    _add_common(parser)
    machine = _Parser(add_help=False)
    machine.add_argument("--json", action="store_true", help="print JSON for a machine")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    tick = commands.add_parser("tick", parents=[common, machine], help="do what the timer does: refresh what is due")
    tick.set_defaults(command="tick")

    refresh = commands.add_parser("refresh", parents=[common, machine], help="refresh one connection, or all")
    refresh.add_argument("name", nargs="?", type=_name, metavar="NAME", help="connection; all where left out")
    refresh.add_argument("--force", action="store_true", help="also where nothing is due")
    refresh.add_argument("--reason", metavar="TEXT", type=_reason, help="why; kept in the log and the token's tags")
    refresh.set_defaults(command="refresh")

    status = commands.add_parser("status", parents=[common, machine], help="say whether the tokens work, and why not")
    status.add_argument("name", nargs="?", type=_name, metavar="NAME", help="connection; all where left out")
    status.add_argument("--watch", action="store_true", help="again every few seconds, until Ctrl-C")
    status.add_argument("--every", type=_seconds, default=10.0, metavar="SECONDS", help="with --watch (%(default)g)")
    status.add_argument("--all", action="store_true", help="open every connection, the healthy ones too")
    status.add_argument("--offline", action="store_true", help="by dates only: ask no instance")
    status.set_defaults(command="status")

    history = commands.add_parser("history", parents=[common, machine], help="the last refreshes, and the gaps")
    history.add_argument("name", nargs="?", type=_name, metavar="NAME", help="connection; all where left out")
    history.add_argument("--limit", type=_count, default=30, metavar="N", help="tokens to list (%(default)s)")
    history.set_defaults(command="history")

    doctor = commands.add_parser("doctor", parents=[common, machine], help="try every precondition; changes nothing")
    doctor.add_argument("name", nargs="?", type=_name, metavar="NAME", help="connection; all where left out")
    doctor.add_argument("--all", action="store_true", help="open every connection, those that pass too")
    doctor.set_defaults(command="doctor")

    authorize = commands.add_parser(
        "authorize", parents=[common, machine], help="start a refresh token's life, as a person"
    )
    authorize.add_argument("name", type=_name, metavar="NAME", help="connection")
    authorize.add_argument("--grant", required=True, choices=("password", "authorization_code"))
    authorize.add_argument("--store", action="store_true", help="password: keep user name and password in the vault")
    authorize.add_argument("--no-browser", action="store_true", help="authorization_code: print the address only")
    authorize.add_argument(
        "--port", type=_port, default=8400, help="authorization_code: port of the redirect (default: %(default)s)"
    )
    authorize.add_argument(
        "--timeout",
        type=_patience,
        default=300.0,
        metavar="SECONDS",
        help="authorization_code: time to sign in (default: %(default)g)",
    )
    authorize.set_defaults(command="authorize")

    probe = commands.add_parser("probe", parents=[common, machine], help="say whose token it is and whether it works")
    probe.add_argument("name", nargs="?", type=_name, metavar="NAME", help="connection; all where left out")
    probe.set_defaults(command="probe")

    revoke = commands.add_parser("revoke", parents=[common, machine], help="revoke a connection's tokens")
    revoke.add_argument("name", type=_name, metavar="NAME", help="connection")
    revoke.add_argument("--yes", action="store_true", help="do not ask")
    revoke.set_defaults(command="revoke")
    return parser


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Show what was typed, and let it do nothing to the terminal."""
        super().error(visible(message))


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--settings",
        type=Path,
        metavar="FILE",
        default=argparse.SUPPRESS,
        help="read settings from a local.settings.json, or from what `az functionapp config appsettings list` prints "
        "(default: the file that REFRESHER_SETTINGS names)",
    )
    parser.add_argument(
        "--debug", action="store_true", default=argparse.SUPPRESS, help="show where an error came from; no values"
    )


def _name(text: str) -> str:
    # An empty word is a variable that is not set, not a wish for every connection.
    if not text.strip():
        message = "an empty name; leave it out for all connections"
        raise argparse.ArgumentTypeError(message)
    return text


def _reason(text: str) -> str:
    try:
        return one_line(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _count(text: str) -> int:
    count = int(text)
    if not 1 <= count <= 100_000:  # noqa: PLR2004 - more than ten years of tokens
        message = f"{text} is not between 1 and 100000"
        raise argparse.ArgumentTypeError(message)
    return count


def _port(text: str) -> int:
    port = int(text)
    if not 0 <= port <= 65535:  # noqa: PLR2004 - TCP's
        message = f"{text} is not a port"
        raise argparse.ArgumentTypeError(message)
    return port


def _patience(text: str) -> float:
    seconds = float(text)
    if not 0 < seconds <= 3600:  # noqa: PLR2004 - nobody signs in for longer
        message = f"{text} is not between 0 and 3600"
        raise argparse.ArgumentTypeError(message)
    return seconds


def _seconds(text: str) -> float:
    seconds = float(text)
    if not 1 <= seconds <= 3600:  # noqa: PLR2004 - from no flood of requests to something that still is a watch
        message = f"{text} is not between 1 and 3600"
        raise argparse.ArgumentTypeError(message)
    return seconds
