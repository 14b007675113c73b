"""What can go wrong, and how Hypothesis draws it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hypothesis import strategies as st

from sandbox.faults import Action, Drop, DropAfter, Garbage, Refuse, Respond, Stall, Throttle, Truncate
from sandbox.personality import HIBERNATING, Personality

TOKEN: Final = "servicenow-oauth-token"
COPY: Final = "servicenow--action--global--oauth-token"
REFRESH_TOKEN: Final = "servicenow-refresh-token"
RECORD: Final = "servicenow-refresh-record"
CLIENT_SECRET: Final = "servicenow-client-secret"
PASSWORD: Final = "servicenow-password"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failing:
    """Requests of this kind fail: after so many, so many times."""

    what: tuple[str, str]
    """The service, and how the path begins."""
    method: str | None
    action: Action
    after: int
    times: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Kill:
    """The program is killed at a request, before or after its effect."""

    at: int
    before: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Rival:
    """Another machine's refresher runs in the middle of a run, at a request."""

    at: int
    force: bool


Trouble = Failing | Kill | Rival


MINUTE = timedelta(minutes=1)
JSON, PAGE = {"Content-Type": "application/json"}, {"Content-Type": "text/html"}
GENERIC = b'{"error_description": "access_denied", "error": "server_error"}'

PERSONALITIES = st.builds(
    Personality,
    rotates=st.booleans(),
    slides=st.booleans(),
    same_token=st.sampled_from([False, False, True]),
    extends=st.booleans(),
    precise_errors=st.booleans(),
    expires_in_as_text=st.booleans(),
    access_token_lifetime=st.sampled_from([60 * MINUTE, 30 * MINUTE, 120 * MINUTE]),
)
ANSWERS = st.sampled_from(
    [
        Respond(500, {}, b""),
        Respond(503, {"Retry-After": "20"}, b"<html>"),
        Respond(504, PAGE, b"<html>", effect=True),
        Respond(401, JSON, GENERIC),
        Respond(401, PAGE, b"<html>"),
        Respond(403, JSON, b"{}"),
        Respond(404, JSON, b"{}"),
        Respond(409, JSON, b"{}"),
        Respond(202, {}, b""),
        Respond(200, PAGE, HIBERNATING),
        Respond(200, JSON, b"{}"),
        Garbage(b"<html>"),
        Garbage(b"{}"),
        Garbage(b"null"),
        Throttle(None),
        Throttle(3.0),
        Throttle(600.0),
    ]
)
SILENCES = st.sampled_from([Drop(), DropAfter(), Refuse(), Stall(), Stall(effect=True), Truncate()])
OURS = st.sampled_from([TOKEN, COPY, RECORD, REFRESH_TOKEN])
NAMES = OURS | st.sampled_from([CLIENT_SECRET, PASSWORD])
REQUESTS = st.integers(0, 24)
FAULTS = st.builds(
    Failing,
    what=st.sampled_from(
        [("instance", "/oauth_token.do"), ("instance", "/"), ("instance", "/api/now"), ("leases", "/")]
    )
    | st.sampled_from([("vault", "/"), ("vault:main", "/"), ("vault:chat", "/")])
    | OURS.map(lambda name: ("vault:main", f"/secrets/{name}")),
    method=st.sampled_from([None, None, "PUT", "PATCH"]),
    action=ANSWERS | SILENCES,
    after=st.integers(0, 3),
    times=st.sampled_from([1, 2, 5, None]),
)
TROUBLE = st.lists(
    FAULTS | st.builds(Kill, at=REQUESTS, before=st.booleans()) | st.builds(Rival, at=REQUESTS, force=st.booleans()),
    min_size=1,
    max_size=3,
)
