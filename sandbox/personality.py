"""How an instance behaves: the ways that real ones have, each selectable."""

from dataclasses import dataclass
from datetime import timedelta

from sandbox.rate_limit import Form


@dataclass(frozen=True, slots=True, kw_only=True)
class Personality:
    """Knobs. The default is a well-behaved instance with the lifetimes that the Simple Chat guide sets."""

    rotates: bool = False
    slides: bool = False
    same_token: bool = False
    extends: bool = False
    access_token_lifetime: timedelta = timedelta(hours=1)
    refresh_token_lifetime: timedelta = timedelta(days=100)
    expires_in_as_text: bool = False
    refresh_token_in_answer: str = "present"
    """present, absent or null."""
    guest: bool = False
    """client_credentials yields a token of user guest, which the API refuses."""
    precise_errors: bool = False
    refuse_first: int = 0
    """How many token requests meet a passing 401."""
    throttle_first: int = 0
    """How many token requests meet a 429."""
    retry_after: Form | None = None
    """How it says until when: in seconds, as a date, by the headers of a rate limit rule, or not at all."""
    drop_first: int = 0
    """How many token requests are never answered: the connection is closed."""
    takes: timedelta = timedelta()
    """How long an answer of the token endpoint takes."""
    body: bytes | None = None
    """Answer every token request with this."""
    body_status: int = 200
    body_content_type: str = "text/html"
    location: str | None = None
    probe_status: int | None = None
    probe_body: bytes | None = None
    """Answer every probe with this page."""


GENERIC_REFUSAL = b'{"error_description": "access_denied", "error": "server_error"}'
"""What ServiceNow answers with 401 for nearly every reason."""
HIBERNATING = b"<html><head><title>Instance Hibernating page</title></head><body>zzz</body></html>"
LOGIN_PAGE = b"<html><head><title>Log in</title></head><body><form></form></body></html>"

PERSONALITIES: dict[str, Personality] = {
    "default": Personality(),
    "rotating": Personality(rotates=True),
    "rotating_sliding": Personality(rotates=True, slides=True),
    "sliding": Personality(slides=True),
    "same_token": Personality(same_token=True),
    "same_token_extended": Personality(same_token=True, extends=True),
    "thirty_minutes": Personality(access_token_lifetime=timedelta(minutes=30)),
    "eight_hours": Personality(access_token_lifetime=timedelta(hours=8)),
    "refresh_token_of_a_day": Personality(refresh_token_lifetime=timedelta(days=1)),
    "expires_in_as_text": Personality(expires_in_as_text=True),
    "refresh_token_null": Personality(refresh_token_in_answer="null"),
    "refresh_token_absent": Personality(refresh_token_in_answer="absent"),
    "guest": Personality(guest=True),
    "precise_errors": Personality(precise_errors=True),
    "transient_401": Personality(refuse_first=2),
    "throttled": Personality(throttle_first=2),
    "throttled_for_seconds": Personality(throttle_first=2, retry_after="seconds"),
    "throttled_until_a_date": Personality(throttle_first=2, retry_after="date"),
    "throttled_by_a_rule": Personality(throttle_first=2, retry_after="rule"),
    "dropped_connections": Personality(drop_first=2),
    "slow": Personality(takes=timedelta(seconds=20)),
    "hibernating": Personality(body=HIBERNATING),
    "login_page": Personality(body=LOGIN_PAGE),
    "queue_overflow": Personality(body=b"", body_status=202),
    "redirect": Personality(body=b"", body_status=302, location="/login.do"),
    "malformed": Personality(body=b'{"access_token": "CANARY-half', body_content_type="application/json"),
    "oversized": Personality(body=b" " * (2 * 1024 * 1024), body_content_type="application/json"),
    "empty_token": Personality(body=b'{"access_token": "", "expires_in": 1799}', body_content_type="application/json"),
    "probe_forbidden": Personality(probe_status=403),
    "probe_not_found": Personality(probe_status=404),
    "probe_throttled": Personality(probe_status=429),
    "probe_failing": Personality(probe_status=500),
    "probe_queued": Personality(probe_status=202),
    "probe_page": Personality(probe_body=LOGIN_PAGE),
}
