"""Azure Functions entry point: three thin triggers around `refresher.app.App`.

Importing this module reads no setting, so that indexing succeeds and the first call can say what is missing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import List  # noqa: UP035 - the worker refuses an output annotated with `list`

import azure.functions as func

from refresher.app import App, UnknownConnectionError
from refresher.errors import RefresherError
from refresher.outcome import RunRequest
from refresher.report import LOGGER, emit_poisoned, quiet_third_parties
from refresher.tokens import Trigger
from refresher.web import (
    BadRequestError,
    Reply,
    error_reply,
    parse_refresh_call,
    refresh_reply,
    status_page_reply,
    status_reply,
    wants_page,
)

quiet_third_parties()
app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
refresher_app = App(os.environ)


@contextmanager
def _said_to_people() -> Iterator[None]:
    """A run that cannot even begin, as with a bad setting, says why before the host marks it as failed."""
    try:
        yield
    except RefresherError as error:
        LOGGER.error("%s %s", error.message, error.hint)
        raise


if os.environ.get("REFRESH_QUEUE"):

    @app.timer_trigger(arg_name="timer", schedule="%REFRESH_SCHEDULE%", run_on_startup=False, use_monitor=True)
    @app.queue_output(arg_name="messages", queue_name="%REFRESH_QUEUE%", connection="AzureWebJobsStorage")
    def refresh_tokens(timer: func.TimerRequest, messages: func.Out[List[str]]) -> None:  # noqa: UP006
        """One tick: a message for each connection that is due, so that the platform spreads them over instances."""
        with _said_to_people():
            if due := refresher_app.due():
                messages.set(list(due))

    @app.queue_trigger(arg_name="message", queue_name="%REFRESH_QUEUE%", connection="AzureWebJobsStorage")
    def refresh_connection(message: func.QueueMessage) -> None:
        """Refresh the connection that a message names; what is no longer due is left alone."""
        with _said_to_people():
            refresher_app.refresh([message.get_body().decode()], RunRequest(trigger=Trigger.QUEUE))

    @app.queue_trigger(arg_name="message", queue_name="%REFRESH_QUEUE%-poison", connection="AzureWebJobsStorage")
    def report_poisoned(message: func.QueueMessage) -> None:
        """Say that a message failed every time it was delivered; an alert watches for this event."""
        emit_poisoned(message.get_body())

else:

    @app.timer_trigger(arg_name="timer", schedule="%REFRESH_SCHEDULE%", run_on_startup=False, use_monitor=True)
    def refresh_tokens(timer: func.TimerRequest) -> None:
        """One tick for all connections; what is not due costs one round of reads."""
        with _said_to_people():
            refresher_app.tick(RunRequest(trigger=Trigger.TIMER))


@app.route(route="refresh", methods=["POST"])
def refresh_now(req: func.HttpRequest) -> func.HttpResponse:
    """Refresh one connection, or all; `force` also where nothing is due. Query parameters or a JSON body."""
    try:
        call = parse_refresh_call(req.params, req.get_body(), req.headers)
        name, request = call.connection, call.request
        reports = refresher_app.refresh([name], request) if name else refresher_app.tick(request)
    except BadRequestError as error:
        return _respond(error_reply(error, HTTPStatus.BAD_REQUEST))
    except UnknownConnectionError as error:
        return _respond(error_reply(error, HTTPStatus.NOT_FOUND))
    except RefresherError as error:
        return _respond(error_reply(error))
    return _respond(refresh_reply(reports, refresher_app.clock.now()))


@app.route(route="status", methods=["GET"])
def status(req: func.HttpRequest) -> func.HttpResponse:
    """How the connections stand: 200, or 503 where one holds no working token. A page for a browser, else JSON."""
    try:
        statuses = refresher_app.status()
    except RefresherError as error:
        return _respond(error_reply(error))
    reply = status_page_reply if wants_page(req.headers.get("accept", "")) else status_reply
    return _respond(reply(statuses, refresher_app.clock.now()))


def _respond(reply: Reply) -> func.HttpResponse:
    return func.HttpResponse(
        reply.body, status_code=reply.status, headers=dict(reply.headers), mimetype=reply.content_type
    )
