"""The instance of one connection, examined: reached over trusted TLS, answering as itself, by a clock like ours.

The token endpoint is asked without credentials, which counts against nobody.
"""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from refresher.doctor.remedies import remedy_of
from refresher.model.causes import Cause, Kind
from refresher.model.check import Check, failed, passed, warned
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.errors import TokenEndpointError
from refresher.servicenow.instances import ServiceNow

INSTANCE = "instance"
TOKEN_ENDPOINT = "token endpoint"  # noqa: S105 - a check's name
CLOCK = "clock"
_LARGEST_SKEW = timedelta(seconds=60)
"""ServiceNow allows an assertion's dates some clock skew; beyond a minute lives are misjudged as well."""


def instance_checks(
    connection: Connection, servicenow: ServiceNow, clock: Clock, deadline: Deadline
) -> Iterator[Check]:
    """Whether the instance is there, is itself, and what time it has."""
    name = connection.name
    try:
        with servicenow.session(connection, deadline) as session:
            refusal, date = session.greet()
    except TokenEndpointError as error:
        throttled = error.cause is Cause.INSTANCE_THROTTLED
        judged, check = (warned, TOKEN_ENDPOINT) if throttled else (failed, INSTANCE)
        yield judged(name, check, error.message, remedy_of(error, name))
        return
    yield passed(name, INSTANCE, f"{connection.instance_url} was reached over trusted TLS")
    if refusal is None:
        detail = "it gave a token to a request without credentials: it is no ServiceNow instance"
        yield failed(name, TOKEN_ENDPOINT, detail, "See that SERVICENOW_INSTANCE_URL is the instance itself.")
    elif refusal.cause.row.kind is Kind.REFUSED:
        yield passed(name, TOKEN_ENDPOINT, "it refuses a request without credentials, as it should")
    else:
        judged = warned if refusal.cause.row.kind is Kind.THROTTLED else failed
        yield judged(name, TOKEN_ENDPOINT, refusal.message, remedy_of(refusal, name))
    signs = any(grant.row.signed for grant in connection.configured_grants)
    yield clock_check(name, date, clock.now(), signs=signs)


def clock_check(name: str, date: datetime | None, now: datetime, *, signs: bool = False) -> Check:
    """Which of two clocks is ahead, and by how much; where assertions are signed, they are refused for it."""
    if date is None:
        return passed(name, CLOCK, "not compared: the instance did not send a Date")
    ahead = now - date
    seconds = round(abs(ahead.total_seconds()))
    if abs(ahead) <= _LARGEST_SKEW:
        return passed(name, CLOCK, f"within {seconds} s of the instance's")
    which, meaning = (
        ("fast", "tokens seem to end earlier than they do")
        if ahead > timedelta()
        else ("slow", "tokens that have ended seem to live")
    )
    detail = f"this machine's clock is {seconds} s {which}, by the instance's: {meaning}"
    remedy = "Set this machine's clock by NTP (timedatectl). Is it right? Then tell the instance's administrators."
    found = warned(name, CLOCK, detail, remedy)
    if signs:
        found = failed(name, CLOCK, f"{detail}, and assertions are refused (iat, exp)", remedy)
    return replace(found, ahead=ahead)
