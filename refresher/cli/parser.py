"""The commands and their options, as argparse shows them with `--help`. Loads no SDK."""

import argparse
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn, TypeVar

from refresher.model.report import one_line
from refresher.model.version import VERSION
from refresher.views.terminal import visible

_N = TypeVar("_N", int, float)


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
    one, one_or_all = _Parser(add_help=False), _Parser(add_help=False)
    one.add_argument("name", type=_name, metavar="NAME", help="connection")
    one_or_all.add_argument("name", nargs="?", type=_name, metavar="NAME", help="connection; all where left out")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, what: str, *parents: _Parser) -> argparse.ArgumentParser:
        return commands.add_parser(name, parents=[common, machine, *parents], help=what)

    add("tick", "do what the timer does: refresh what is due")

    refresh = add("refresh", "refresh one connection, or all", one_or_all)
    refresh.add_argument("--force", action="store_true", help="also where nothing is due")
    refresh.add_argument("--reason", metavar="TEXT", type=_reason, help="why; kept in the log and the token's tags")

    status = add("status", "say whether the tokens work, and why not", one_or_all)
    status.add_argument("--watch", action="store_true", help="again every few seconds, until Ctrl-C")
    # From no flood of requests to something that still is a watch.
    every = _number(float, 1, 3600, "between 1 and 3600")
    status.add_argument("--every", type=every, default=10.0, metavar="SECONDS", help="with --watch (%(default)g)")
    status.add_argument("--all", action="store_true", help="open every connection, the healthy ones too")
    status.add_argument("--offline", action="store_true", help="by dates only: ask no instance")

    history = add("history", "the last refreshes, and the gaps", one_or_all)
    # More than ten years of tokens.
    limit = _number(int, 1, 100_000, "between 1 and 100000")
    history.add_argument("--limit", type=limit, default=30, metavar="N", help="tokens to list (%(default)s)")

    doctor = add("doctor", "try every precondition; changes nothing", one_or_all)
    doctor.add_argument("--all", action="store_true", help="open every connection, those that pass too")

    authorize = add("authorize", "start a refresh token's life, as a person", one)
    authorize.add_argument("--grant", required=True, choices=("password", "authorization_code"))
    authorize.add_argument("--store", action="store_true", help="password: keep user name and password in the vault")
    authorize.add_argument("--no-browser", action="store_true", help="authorization_code: print the address only")
    port = _number(int, 0, 65535, "a port")
    port_help = "authorization_code: port of the redirect (default: %(default)s)"
    authorize.add_argument("--port", type=port, default=8400, help=port_help)
    # Nobody signs in for longer.
    patience = _number(float, sys.float_info.min, 3600, "between 0 and 3600")
    timeout_help = "authorization_code: time to sign in (default: %(default)g)"
    authorize.add_argument("--timeout", type=patience, default=300.0, metavar="SECONDS", help=timeout_help)

    add("probe", "say whose token it is and whether it works", one_or_all)

    revoke = add("revoke", "revoke a connection's tokens", one)
    revoke.add_argument("--yes", action="store_true", help="do not ask")
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


def _number(kind: type[_N], lowest: float, highest: float, what: str) -> Callable[[str], _N]:
    """A parser of numbers that are `what`."""

    def parse(text: str) -> _N:
        with suppress(ValueError):
            number = kind(text)
            if lowest <= number <= highest:
                return number
        message = f"{text} is not {what}"
        raise argparse.ArgumentTypeError(message)

    return parse
