"""Results as HTTP: status code, headers, JSON body. Errors are problem details (RFC 9457)."""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from math import ceil

from refresher.app import UnknownConnectionError
from refresher.model.causes import Cause
from refresher.model.errors import RefresherError, SettingsError
from refresher.model.moments import format_instant
from refresher.model.report import LONGEST_TEXT, SUCCESSES, Outcome, RunReport, RunRequest, Trigger, one_line
from refresher.model.version import VERSION
from refresher.status.connection_status import ConnectionStatus
from refresher.status.timer import TimerStatus
from refresher.views.bodies import body_of, report_body
from refresher.views.page import answer_page, status_page
from refresher.views.style import HEADERS as PAGE_HEADERS
from refresher.views.terminal import visible

_NO_STORE = {"Cache-Control": "no-store"}
_RETRY_AFTER = 60.0
_PAGE = "text/html"
_WEIGHT = re.compile(r"[01](\.[0-9]{0,3})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An HTTP response as plain values."""

    status: int
    content_type: str
    body: str
    headers: Mapping[str, str]


class BadRequestError(RefresherError):
    """The request for a refresh cannot be understood."""

    def __init__(self, what: str) -> None:
        super().__init__(what, cause=Cause.BAD_REQUEST, hint=_REQUEST_HINT)


def parse_refresh_call(
    params: Mapping[str, str], body: bytes, headers: Mapping[str, str]
) -> tuple[str | None, RunRequest]:
    """The connection that `POST /api/refresh` is for, None means all, and how it is to be run.

    Of query parameters and a JSON body, the body counts where both say something. A name that is not known is refused:
    `conection=hr` must not become a wish for every connection. Raises BadRequestError.
    """
    document = _json_object(body) if body.strip() else {}
    given = _known(params, _REFRESH_FIELDS | _PLATFORM_FIELDS) | _known(document, _REFRESH_FIELDS)
    force = given.get("force", False)
    if isinstance(force, str) and force.lower() in {"true", "false"}:
        force = force.lower() == "true"
    if not isinstance(force, bool):
        message = "force is neither true nor false"
        raise BadRequestError(message)
    reason = _signed(_text(given, "reason") or "", headers) or None
    return _connection(given), RunRequest(trigger=Trigger.HTTP, force=force, reason=reason)


def _signed(reason: str, headers: Mapping[str, str]) -> str:
    """The reason, and who gives it where the platform let them sign in: nobody else can set its headers."""
    caller = next((headers[name] for name in _CALLER if headers.get(name)), None)
    if caller is None:
        return reason
    by = f"by {visible(caller)[: LONGEST_TEXT // 2]}"
    return f"{reason[: LONGEST_TEXT - len(by) - 3]} ({by})" if reason else by


def parse_status_call(params: Mapping[str, str]) -> str | None:
    """The connection that `GET /api/status` asks for; None means all. Raises BadRequestError."""
    return _connection(_known(params, {"connection"} | _PLATFORM_FIELDS))


def _json_object(body: bytes) -> dict[str, object]:
    with suppress(ValueError, RecursionError):
        document = json.loads(body)
        if isinstance(document, dict):
            return document
    message = "the body is not a JSON object"
    raise BadRequestError(message)


_REFRESH_FIELDS = {"connection", "force", "reason"}
_CALLER = ("x-ms-client-principal-name", "x-ms-client-principal-id")
_PLATFORM_FIELDS = {"code", "clientId"}
"""What the platform's own key adds to a query."""
_REQUEST_HINT = (
    "Send connection=NAME, force=true and reason=TEXT as query parameters, or as a JSON object in the body; all of "
    "them may be left out."
)


def _known(given: Mapping[str, object], names: set[str]) -> dict[str, object]:
    if not given.keys() <= names:
        message = f"the request names something else than {', '.join(sorted(names - _PLATFORM_FIELDS))}"
        raise BadRequestError(message)
    return dict(given)


def _connection(given: Mapping[str, object]) -> str | None:
    name = _text(given, "connection")
    if "connection" in given and name is None:
        message = "connection is empty; leave it out for all of them"
        raise BadRequestError(message)
    return name


def _text(given: Mapping[str, object], name: str) -> str | None:
    value = given.get(name)
    if value is None or value == "":
        return None
    with suppress(ValueError):
        if isinstance(value, str):
            return one_line(value) or None
    message = f"{name} is not a printable text of at most {LONGEST_TEXT} characters"
    raise BadRequestError(message)


_PAUSE = timedelta(seconds=30)


class PausedError(RefresherError):
    """A connection was refreshed by force a moment ago; `retry_after` says when it may be again."""

    def __init__(self, left: timedelta) -> None:
        super().__init__(
            "a forced refresh over HTTP has just been made",
            cause=Cause.LEASE_HELD,
            hint="Look at the status first; force again after the pause where it is still needed.",
            transient=True,
            retry_after=left.total_seconds(),
        )


def check_pause(forced_at: Iterable[datetime], now: datetime) -> None:
    """Raise PausedError where one of those moments is too near: whoever holds a key can wait, the instance cannot."""
    left = max((_PAUSE - (now - at) for at in forced_at if at <= now), default=timedelta())
    if left > timedelta():
        raise PausedError(left)


def refresh_reply(reports: Sequence[RunReport], now: datetime) -> Reply:
    """The answer to a refresh request: 200, or the problem of the gravest report."""
    worst = max(reports, key=_gravity)
    if _gravity(worst) == 0:
        return _json(HTTPStatus.OK, "application/json", {"connections": [report_body(r, now) for r in reports]})
    members = report_body(worst, now)
    if len(reports) > 1:
        members["connections"] = [report_body(report, now) for report in reports]
    waits = worst.outcome in {Outcome.BUSY, Outcome.PUT_OFF} or worst.retry_after is not None
    retry_after = worst.retry_after or _RETRY_AFTER if waits else None
    return _problem(_status(worst), worst.message, members, retry_after)


def status_reply(
    statuses: Sequence[ConnectionStatus], timer: TimerStatus, now: datetime, key: Mapping[str, str] | None = None
) -> Reply:
    """Health: 200 where every connection holds a working token and the timer fires, 503 otherwise.

    For monitors; with `key`, what the address of the page holds of one, for a person with a browser.
    """
    passing = timer.healthy and all(status.working for status in statuses)
    code = HTTPStatus.OK if passing else HTTPStatus.SERVICE_UNAVAILABLE
    if key is not None:
        return _page(code, status_page(statuses, timer, now, key), _NO_STORE)
    body = {
        "status": "pass" if passing else "fail",
        "version": VERSION,
        "time": format_instant(now),
        "timer": body_of(timer),
        "connections": [body_of(status) for status in statuses],
    }
    return _json(code, "application/health+json", body)


def page_key(accept: str, params: Mapping[str, str]) -> dict[str, str] | None:
    """What the address of the page holds of a key, with which it can ask for more; None for whoever wants no page."""
    weights = _weights(accept)
    document = max((weight for name, weight in weights.items() if name.endswith("json")), default=0)
    if not weights.get(_PAGE) or weights[_PAGE] < document:
        return None
    return {name: params[name] for name in sorted(_PLATFORM_FIELDS) if name in params}


def _weights(accept: str) -> dict[str, float]:
    """How much each media type is wanted that an Accept header names, from 0, not at all, to 1 (RFC 9110, 12.5.1)."""
    weights = {}
    for each in accept.lower().split(","):
        name, *parameters = (part.strip() for part in each.split(";"))
        given = next((part.removeprefix("q=") for part in parameters if part.startswith("q=")), "1")
        weights[name] = float(given) if _WEIGHT.fullmatch(given) else 0
    return weights


def as_page(reply: Reply, key: Mapping[str, str]) -> Reply:
    """An answer for the person with the browser: what came of a form, or what kept a page from being made."""
    if reply.content_type == _PAGE:
        return reply
    body = json.loads(reply.body)
    reports = [f"{each['connection']}: {each['message']}" for each in body.get("connections", ())]
    # Of several problems the detail is one long line.
    said = body.get("problems") or [body.get("detail")]
    lines = [*filter(None, (*said, body.get("hint"))), *reports]
    heading = _HEADINGS.get(body.get("outcome"), "This could not be done" if "detail" in body else "Refreshed")
    return _page(reply.status, answer_page(heading, lines, key), reply.headers)


def error_reply(error: RefresherError) -> Reply:
    """A problem that kept anything from being run: the caller's (400, 404), or ours."""
    code = _OF_THE_CALLER.get(type(error), HTTPStatus.INTERNAL_SERVER_ERROR)
    members: dict[str, object] = {"cause": error.cause.value, "hint": error.hint}
    if isinstance(error, SettingsError):
        members["problems"] = list(error.problems)
    return _problem(code, error.message, members, error.retry_after)


_OF_THE_CALLER = {
    BadRequestError: HTTPStatus.BAD_REQUEST,
    UnknownConnectionError: HTTPStatus.NOT_FOUND,
    PausedError: HTTPStatus.TOO_MANY_REQUESTS,
}
_HEADINGS = {
    Outcome.BUSY: "Another refresh is under way",
    Outcome.KEPT: "The refresh failed; the old token is still in use",
    Outcome.PUT_OFF: "The time was over before every refresh could begin",
    Outcome.FAILED: "The refresh failed",
    Outcome.AUTHORIZATION_REQUIRED: "A person must authorize again",
}
"""For people, of what is no success; the gravest last."""


def _gravity(report: RunReport) -> int:
    return 0 if report.outcome in SUCCESSES else 1 + [*_HEADINGS].index(report.outcome)


def _status(report: RunReport) -> HTTPStatus:
    if report.outcome is Outcome.BUSY:
        return HTTPStatus.CONFLICT
    if report.outcome is Outcome.PUT_OFF:
        return HTTPStatus.SERVICE_UNAVAILABLE
    return report.cause.row.kind.http_status if report.cause is not None else HTTPStatus.BAD_GATEWAY


def _problem(status: HTTPStatus, detail: str, members: Mapping[str, object], retry_after: float | None) -> Reply:
    # A problem of no type of its own is named as HTTP names its status (RFC 9457, 4.2.1).
    body = {"type": "about:blank", "title": status.phrase, "status": int(status), "detail": detail, **members}
    headers = {"Retry-After": str(max(1, ceil(retry_after)))} if retry_after is not None else {}
    return _json(status, "application/problem+json", body, headers)


def _json(
    status: HTTPStatus, content_type: str, body: Mapping[str, object], headers: Mapping[str, str] | None = None
) -> Reply:
    return Reply(
        status=int(status),
        content_type=content_type,
        body=json.dumps(body, indent=2),
        headers={**_NO_STORE, **(headers or {})},
    )


def _page(status: int, page: str, headers: Mapping[str, str]) -> Reply:
    return Reply(status=int(status), content_type=_PAGE, body=page, headers={**headers, **PAGE_HEADERS})
