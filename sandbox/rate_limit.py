"""The 429 of an instance, in the forms that it is known to have.

Source of the headers of a rate limit rule: ServiceNow, "Inbound REST API rate limiting". `X-RateLimit-Reset` is Unix
time; `Retry-After` is not promised.
"""

from datetime import datetime
from email.utils import format_datetime
from typing import Literal

from sandbox.http import Response, json_response

Form = Literal["seconds", "date", "rule"]
_RULE = "f1f1e90d0a0a0b5a01a5a5c0ffee0042"
_REQUESTS_AN_HOUR = 600


def too_many_requests(form: Form | None, now: datetime, until: datetime) -> Response:
    """Refuse a request until then: with `Retry-After` in seconds or as a date, as a rule does, or without a word."""
    match form:
        case "seconds":
            return Response(status=429, headers={"Retry-After": f"{(until - now).seconds}"})
        case "date":
            return Response(status=429, headers={"Retry-After": format_datetime(until, usegmt=True)})
        case "rule":
            error = {"message": "Rate limit exceeded", "detail": "Rejected because of a rate limit rule"}
            return json_response(429, {"error": error, "status": "failure"}, rule_headers(until))
        case None:
            return Response(status=429)


def rule_headers(until: datetime) -> dict[str, str]:
    """What every answer carries that a rate limit rule counts."""
    return {
        "X-RateLimit-Limit": str(_REQUESTS_AN_HOUR),
        "X-RateLimit-Reset": str(int(until.timestamp())),
        "X-RateLimit-Rule": _RULE,
    }
