"""The commands for what only a person may do: authorize a connection, try its token, revoke it.

A password is read from the terminal or from standard input, never from the command line, where other processes
could see it. What a person has to answer or to open is said on stderr; stdout belongs to the result.
"""

import argparse
import contextlib
import getpass
import secrets
import sys
import webbrowser
from typing import TYPE_CHECKING

from refresher.cli.exit_codes import ExitCode, gravest
from refresher.cli.redirect import RedirectReceiver
from refresher.model import steps
from refresher.model.causes import Cause, diagnose
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, RunRequest
from refresher.model.steps import Step
from refresher.model.tokens import Secret
from refresher.run.by_hand import Authorization
from refresher.servicenow.answers import Probe, Verdict
from refresher.servicenow.authorization import AuthorizationRequest
from refresher.servicenow.probing import UNAUTHORIZED
from refresher.views.tables import show_step
from refresher.views.terminal import ask, say, say_json

if TYPE_CHECKING:
    from refresher.app import App

_BUSY_TRIES = 12
_BUSY_WAIT = 5.0
_PROBE_EXIT_CODES = {
    Verdict.ACCEPTED: ExitCode.DONE,
    Verdict.UNKNOWN: ExitCode.FAILED,
    Verdict.REJECTED: ExitCode.NO_WORKING_TOKEN,
    None: ExitCode.NO_WORKING_TOKEN,
}
_NOT_CONFIRMED = "nothing was done: it was not confirmed"


class UsageError(RefresherError):
    """The command cannot go on with what it was given."""

    def __init__(self, message: str, hint: str) -> None:
        super().__init__(message, cause=Cause.BAD_REQUEST, hint=hint)


def authorize(app: "App", options: argparse.Namespace, request: RunRequest) -> RunReport:
    """Get what the grant needs from the person, and start a new life with it. Raises RefresherError."""
    connection = app.connection(options.name)
    if connection.only_entra:
        message = f"connection {connection.name} uses the app's own identity, which nobody authorizes"
        raise UsageError(message, "In ServiceNow, an active user stands for the identity (docs/entra.md).")
    if not connection.has_client_secret:
        message = f"connection {connection.name} has no client secret, without which nobody can authorize"
        raise UsageError(message, "Its key speaks for the user: a tick, or a forced run, gets a token by itself.")
    if Grant(options.grant) is Grant.PASSWORD:
        authorization = Authorization(grant=Grant.PASSWORD, brought=_read_password(connection), keep=options.store)
        if options.store and Grant.PASSWORD not in connection.configured_grants:
            lacks = f"connection {connection.name} has no fallback_grant password to use it."
            say(f"--store keeps the password, but {lacks}", aside=True)
    elif options.store:
        message = "--store keeps a password, and this grant has none"
        raise UsageError(message, "Leave --store out.")
    else:
        authorization = _with_browser(app, connection, options)
    report = app.authorize(connection.name, request, authorization)
    for _ in range(_BUSY_TRIES):
        # What the person did is not thrown away because the timer happens to hold the lease.
        if report.outcome is not Outcome.BUSY:
            break
        request.on_progress("another run holds the lease; waiting for it")
        app.clock.sleep(_BUSY_WAIT)
        report = app.authorize(connection.name, request, authorization)
    if authorization.grant is Grant.AUTHORIZATION_CODE and report.cause is Cause.ACCESS_DENIED:
        # The code came from the same client id a moment ago, so that little else is left to refuse.
        client = diagnose(Cause.INVALID_CLIENT, connection.name).next_step
        return report._replace(hint=Step("ServiceNow issued the code, so that it is the client secret. ", client))
    return report


def probe(app: "App", options: argparse.Namespace) -> int:
    """Try the stored tokens of one connection, or of all, and say whose they are. Raises RefresherError."""
    names = [options.name] if options.name else [each.name for each in app.settings.connections]
    answers = dict(zip(names, app.probe(names), strict=True))
    if options.json:
        say_json({"connections": [_probe_body(name, answer) for name, answer in answers.items()]})
    else:
        for name, answer in answers.items():
            _show_probe(name, answer)
    return gravest(_PROBE_EXIT_CODES[answer.verdict if answer else None] for answer in answers.values())


def revoke(app: "App", options: argparse.Namespace, request: RunRequest) -> RunReport:
    """Revoke after a confirmation, having said who else may be cut off. Raises RefresherError."""
    connection = app.connection(options.name)
    if connection.only_entra:
        message = f"the tokens of connection {connection.name} are Microsoft Entra's, and live until their end"
        hint = "Deactivate the user that stands for the identity in ServiceNow, or the OIDC entity (docs/entra.md)."
        raise UsageError(message, hint)
    say(
        f"This revokes the access token and the refresh token of connection {connection.name} at "
        f"{connection.instance_url}. ServiceNow keeps tokens per OAuth application and user: every other program "
        "that uses the same application as the same user may be cut off too.",
        aside=True,
    )
    if connection.fallback_grant is not None:
        say(
            f"The fallback grant {connection.fallback_grant} is configured: the next tick starts a new life by it.",
            aside=True,
        )
    if not options.yes:
        if not sys.stdin.isatty():
            raise UsageError(_NOT_CONFIRMED, "Add --yes to revoke without a question.")
        if ask(f"Type {connection.name} to revoke: ") != connection.name:
            raise UsageError(_NOT_CONFIRMED, "Start again, and type the connection's name.")
    return app.revoke(connection.name, request)


def _probe_body(name: str, answer: Probe | None) -> dict[str, str | None]:
    return {
        "connection": name,
        "verdict": answer.verdict if answer else "missing",
        "user_name": answer.user_name if answer else None,
        "transaction_id": answer.transaction_id if answer else None,
    }


def _show_probe(name: str, answer: Probe | None) -> None:
    if answer is None:
        say(f"{name}: there is no access token")
        show_step(Step(steps.refresh(name)))
        return
    who = f"it acts as {answer.user_name}" if answer.user_name else "the instance did not say whose it is"
    transaction = f" (ServiceNow transaction {answer.transaction_id})" if answer.transaction_id else ""
    match answer.verdict:
        case Verdict.ACCEPTED:
            say(f"{name}: the token works; {who}")
        case Verdict.REJECTED:
            say(f"{name}: ServiceNow refuses the token ({answer.remark or 401}){transaction}")
            # Of one that somebody revoked, or that a policy refuses, `status` knows what helps.
            otherwise = answer.remark not in {None, UNAUTHORIZED}
            show_step(Step(steps.status(name) if otherwise else steps.refresh(name, force=True)))
        case Verdict.UNKNOWN:
            say(f"{name}: the token could not be tried: {answer.remark or 'no answer'}{transaction}")
            show_step(Step("Try again; then: ", steps.doctor(name)))


def _read_password(connection: Connection) -> dict[str, Secret]:
    if sys.stdin.isatty():
        username = Secret(ask(f"User name of the integration user at {connection.instance_url}: "))
        password = Secret(getpass.getpass("Password: ", stream=sys.stderr))
    else:
        username, password = Secret(sys.stdin.readline()), Secret(sys.stdin.readline().rstrip("\r\n"))
    if not username.stripped() or not password.stripped():
        message = "no user name and password were given"
        hint = "Run it in a terminal, or give both on standard input, a line each."
        raise UsageError(message, hint)
    return {"username": username.stripped(), "password": password}


def _with_browser(app: "App", connection: Connection, options: argparse.Namespace) -> Authorization:
    client_id = app.client_id(connection.name)
    with _listen(options.port) as receiver:
        request = AuthorizationRequest.on_port(
            receiver.port, state=secrets.token_urlsafe(24), code_verifier=secrets.token_urlsafe(48)
        )
        url = request.url(connection, client_id)
        if options.no_browser or not webbrowser.open(url):
            say(f"Open this address in a browser on this machine, within {options.timeout:.0f} seconds:", aside=True)
            for line in ("", url, ""):
                say(line, aside=True)
        else:
            say(f"The browser asks for the authorization; waiting {options.timeout:.0f} seconds for it.", aside=True)
        code = receiver.wait(request, options.timeout)
    brought: dict[str, Secret | str] = {
        "code": code,
        "code_verifier": request.code_verifier,
        "redirect_uri": request.redirect_uri,
    }
    return Authorization(grant=Grant.AUTHORIZATION_CODE, brought=brought)


def _listen(port: int) -> RedirectReceiver:
    with contextlib.suppress(OSError):
        return RedirectReceiver(port)
    message = f"port {port} of this machine cannot be listened on"
    raise UsageError(message, "Choose another with --port, and enter its redirect URL in the OAuth application.")
