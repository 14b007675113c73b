"""Azure Functions entry point: three thin triggers around `refresher.app.App`.

Importing this module demands no setting, so that indexing succeeds and the first call can say what is missing. The
host gets the schedule itself: from a setting it would take what it cannot read, and never fire.
"""

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, List  # noqa: UP035 - the worker refuses an output annotated with `list`

import azure.functions as func

from refresher.app import App
from refresher.model.errors import RefresherError, unforeseen
from refresher.model.report import RunRequest, Trigger
from refresher.settings.schedule import timer_schedule
from refresher.telemetry import emit_poisoned, quiet_third_parties, say_problem

if TYPE_CHECKING:
    from refresher.web import Reply

quiet_third_parties()
app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
refresher_app = App(os.environ)
schedule = timer_schedule(os.environ.get("REFRESH_SCHEDULE"))


def _run(job: Callable[[], object]) -> None:
    """Run what no caller waits for; what kept it from beginning is said to people before the host marks it failed."""
    failure: RefresherError
    try:
        job()
    except RefresherError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - the host logs text and chain of whatever reaches it
        failure = unforeseen(error)
    else:
        return
    say_problem(f"{failure.message} {failure.hint}")
    raise failure


def _answer(job: "Callable[[], Reply]", page_key: dict[str, str] | None = None) -> func.HttpResponse:
    """Turn what a job replies, or what kept it from replying, into the response; with a key, into a page."""
    from refresher.web import as_page, error_reply  # noqa: PLC0415 - a tick does not need it

    try:
        reply = job()
    except RefresherError as error:
        reply = error_reply(error)
    except Exception as error:  # noqa: BLE001 - the host logs text and chain of whatever reaches it
        failure = unforeseen(error)
        say_problem(f"{failure.message} {failure.hint}")
        reply = error_reply(failure)
    reply = reply if page_key is None else as_page(reply, page_key)
    return func.HttpResponse(
        reply.body, status_code=reply.status, headers=dict(reply.headers), mimetype=reply.content_type
    )


if os.environ.get("REFRESH_QUEUE", "").strip():

    @app.timer_trigger(arg_name="timer", schedule=schedule, run_on_startup=False, use_monitor=True)
    @app.queue_output(arg_name="messages", queue_name="%REFRESH_QUEUE%", connection="AzureWebJobsStorage")
    def refresh_tokens(timer: func.TimerRequest, messages: func.Out[List[str]]) -> None:  # noqa: UP006
        """One tick: a message for each connection that is due, so that the platform spreads them over instances."""

        def dispatch() -> None:
            refresher_app.note_tick()
            if due := refresher_app.due():
                messages.set(list(due))

        _run(dispatch)

    @app.queue_trigger(arg_name="message", queue_name="%REFRESH_QUEUE%", connection="AzureWebJobsStorage")
    def refresh_connection(message: func.QueueMessage) -> None:
        """Refresh the connection that a message names; what is no longer due is left alone."""
        _run(lambda: refresher_app.refresh([message.get_body().decode()], RunRequest(trigger=Trigger.QUEUE)))

    @app.queue_trigger(arg_name="message", queue_name="%REFRESH_QUEUE%-poison", connection="AzureWebJobsStorage")
    def report_poisoned(message: func.QueueMessage) -> None:
        """Say that a message failed every time it was delivered; an alert watches for this event."""
        emit_poisoned(message.get_body())

else:

    @app.timer_trigger(arg_name="timer", schedule=schedule, run_on_startup=False, use_monitor=True)
    def refresh_tokens(timer: func.TimerRequest) -> None:
        """One tick for all connections; what is not due costs one round of reads."""

        def tick() -> None:
            refresher_app.note_tick()
            refresher_app.tick(RunRequest(trigger=Trigger.TIMER))

        _run(tick)


@app.route(route="refresh", methods=["POST"])
def refresh_now(req: func.HttpRequest) -> func.HttpResponse:
    """Refresh one connection, or all; `force` also where nothing is due. Query parameters or a JSON body."""
    from refresher import web  # noqa: PLC0415 - a tick needs none of it

    def refresh() -> "Reply":
        name, request = web.parse_refresh_call(req.params, req.get_body(), req.headers)
        if request.force:
            web.check_pause(refresher_app.forced_over_http_at([name] if name else None), refresher_app.clock.now())
        reports = refresher_app.refresh([name], request) if name else refresher_app.tick(request)
        return web.refresh_reply(reports, refresher_app.clock.now())

    return _answer(refresh, web.page_key(req.headers.get("accept", ""), req.params))


@app.route(route="status", methods=["GET", "HEAD"])
def status(req: func.HttpRequest) -> func.HttpResponse:
    """How the connections stand: 200, or 503 where one holds no working token. A page for a browser, else JSON."""
    from refresher import web  # noqa: PLC0415 - a tick needs none of it

    key = web.page_key(req.headers.get("accept", ""), req.params)

    def stand() -> "Reply":
        name = web.parse_status_call(req.params)
        statuses = refresher_app.status([name] if name else None, anew=False)
        timer, now = refresher_app.timer(), refresher_app.clock.now()
        return web.status_reply(statuses, timer, now, key)

    return _answer(stand, key)
