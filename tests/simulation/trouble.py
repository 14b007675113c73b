"""What can go wrong, and how Hypothesis draws it."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from hypothesis import strategies as st

from sandbox.faults import Action, Drop, DropAfter, Garbage, Refuse, Respond, Stall, Throttle, Truncate
from sandbox.personality import GENERIC_REFUSAL, HIBERNATING, Personality
from sandbox.vault import Policy

TOKEN: Final = "servicenow-oauth-token"
COPY: Final = "servicenow--action--global--oauth-token"
REFRESH_TOKEN: Final = "servicenow-refresh-token"
RECORD: Final = "servicenow-refresh-record"
CLIENT_SECRET: Final = "servicenow-client-secret"
PASSWORD: Final = "servicenow-password"
NEIGHBOUR: Final = "neighbour"
"""Another connection, whose password is the same user's."""


@dataclass(frozen=True, slots=True)
class Kill:
    """The program is killed, before or after the request has its effect."""

    before: bool


@dataclass(frozen=True, slots=True)
class Rival:
    """Another machine's refresher runs in the middle of the request."""

    force: bool


@dataclass(frozen=True, slots=True)
class Late:
    """The answer takes so long; above a minute, the process was frozen meanwhile, and another machine's ticked."""

    seconds: int


@dataclass(frozen=True, slots=True)
class StoredByHand:
    """A person authorizes elsewhere, and stores the refresh token in the middle of the request."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """Something happens to requests of this kind: after so many, so many times."""

    what: tuple[str, str]
    """The service, and how the path begins."""
    method: str | None
    after: int
    times: int | None
    happens: Action | Kill | Rival | Late | StoredByHand


MINUTE = timedelta(minutes=1)
JSON, PAGE = {"Content-Type": "application/json"}, {"Content-Type": "text/html"}

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
        Respond(401, JSON, GENERIC_REFUSAL),
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
NAMES = st.sampled_from([TOKEN, COPY, RECORD, REFRESH_TOKEN, CLIENT_SECRET, PASSWORD])
INTERRUPTIONS = st.one_of(
    st.builds(Kill, st.booleans()),
    st.builds(Rival, st.booleans()),
    st.builds(Late, st.sampled_from([14, 40, 70, 600])),
    st.just(StoredByHand()),
)
DAY = timedelta(days=1)
POLICIES = st.sampled_from(
    [
        Policy(),
        Policy(demands_expiry=True),
        Policy(at_most=90 * DAY, demands_expiry=True),
        Policy(at_most=DAY),
        Policy(at_least=20 * DAY),
        Policy(demands_content_type=True, demands_expiry=True),
    ]
)
WHERE = st.sampled_from(
    [
        ("", "/"),
        ("instance", "/oauth_token.do"),
        ("instance", "/oauth_token.do"),
        ("instance", "/api/now"),
        ("leases", "/"),
        ("vault", "/"),
        ("vault:chat", "/"),
        *(("vault:main", f"/secrets/{name}") for name in (TOKEN, COPY, RECORD, REFRESH_TOKEN)),
    ]
)
TROUBLE = st.lists(
    st.builds(
        Trouble,
        what=WHERE,
        method=st.sampled_from([None, None, "PUT", "PATCH"]),
        after=st.integers(0, 3) | st.integers(0, 24),
        times=st.sampled_from([1, 2, 5, None]),
        happens=ANSWERS | SILENCES | INTERRUPTIONS,
    ),
    max_size=3,
)
