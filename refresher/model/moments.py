"""Moments as text, there and back: ISO 8601 of tags and JSON, and the `Retry-After` of HTTP."""

import re
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

_END_OF_CALENDAR = 9000
_SECONDS = re.compile(r"([+-]?[0-9]{1,15}(?:\.[0-9]{0,15})?)\s*(?:s|sec|seconds)?\s*(?:[,;]|$)", re.ASCII)
"""Also as RFC 9110 does not have it: what is meant is plain."""


def format_instant(instant: datetime) -> str:
    """ISO 8601 in UTC, as in the tags and in JSON."""
    return instant.astimezone(UTC).isoformat()


def parse_instant(text: str | None) -> datetime | None:
    """Read an instant with its offset, in UTC; None where it is absent, naive or nonsense.

    So is the end of the calendar, which some write for "never": nothing could be reckoned from there.
    """
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text.strip())
        return instant.astimezone(UTC) if instant.tzinfo and instant.year < _END_OF_CALENDAR else None
    except (ValueError, OverflowError):
        return None


def minute(moment: datetime) -> str:
    """A moment in UTC as a person compares it with others."""
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def pause_text(seconds: float | None) -> str:
    """How long a peer asked to be left alone, as a part of a sentence; empty where it named no time."""
    return f", and asks for a pause of {round(seconds)} s" if seconds else ""


def parse_http_date(text: str | None) -> datetime | None:
    """A moment as HTTP writes it (RFC 9110 section 5.6.7), in UTC; None where it is absent or nonsense."""
    try:
        moment = parsedate_to_datetime((text or "")[:64])
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def parse_retry_after(value: str | None, now: datetime, date: str | None = None) -> float | None:
    """Seconds to wait by a `Retry-After` header, in seconds or as an HTTP date (RFC 9110 section 10.2.3).

    A date is compared with the answer's own `date`, by the clock that named it. Of a header that came twice, and was
    joined on its way, the first counts. None where it is absent or nonsense; 0 where the time has passed.
    """
    text = (value or "").strip()
    seconds = _SECONDS.match(text)
    if seconds is not None:
        return max(0.0, float(seconds[1]))
    moment = parse_http_date(text)
    return max(0.0, (moment - (parse_http_date(date) or now)).total_seconds()) if moment is not None else None
