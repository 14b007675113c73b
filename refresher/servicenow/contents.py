"""What the body of an answer holds: JSON, a form or a page, and the tokens in it, whatever else is wrong. No I/O.

Rules: nothing is a token that says that there is none, or hides it. An access token goes into a header, a refresh
token into a form, which carries more. A refresh token that comes with an answer of no other use may be the only one
that still works; and any page, text or description may speak of one.
"""

import json
import re
from collections.abc import Callable
from typing import NamedTuple
from urllib.parse import parse_qsl

from refresher.model.placeholders import is_placeholder
from refresher.model.strict_json import strict_json
from refresher.model.tokens import Secret, strip_unseen

LARGEST_BODY = 1024 * 1024
"""Bytes. A token answer has a few kilobytes; whatever is larger is something else."""
_MOST_FIELDS = 20
_TOKEN = re.compile(r"[!-~]{1,25000}")
_TEXT_MEMBERS = {
    name: re.compile(rf'"{name}"\s*:\s*("(?:[^"\\]|\\.)*")') for name in ("access_token", "refresh_token")
}
"""A JSON object's members with a text for a value, wherever they stand."""


def is_token(value: Secret) -> bool:
    """Whether it could be an access token at all: visible ASCII, as a header can carry it (RFC 6749 appendix A.12).

    What is larger than a secret of Key Vault may be (25 kB) could not be kept; what says that there is nothing, or
    that it is not shown, no server issued.
    """
    text = value.reveal()
    return _TOKEN.fullmatch(text) is not None and not is_placeholder(text)


def access_token_of(value: object) -> Secret | None:
    """The access token that a member holds; None where it holds none."""
    token = Secret(value) if isinstance(value, str) else None
    return token if token is not None and is_token(token) else None


def refresh_token_of(value: object) -> Secret | None:
    """The refresh token that a member holds; None where it holds none.

    That is whatever a form can carry (RFC 6749 appendix A.17 has spaces in it): nobody may send it a second time.
    Whether a secret can hold it, the vault says. What surrounds it unseen is none of it.
    """
    text = strip_unseen(value) if isinstance(value, str) else ""
    sendable = text.encode(errors="ignore").decode() == text
    return Secret(text) if text and sendable and not is_placeholder(text) else None


def is_masked(value: object) -> bool:
    """Whether something stands in the place of a token, and is none."""
    something = strip_unseen(value) if isinstance(value, str) else value
    return bool(something) and refresh_token_of(value) is None


def begins_as_page(body: bytes) -> bool:
    """Whether it is HTML, whatever its headers call it: nothing that ServiceNow's endpoints say begins so."""
    return _text(body).startswith("<")


def json_object(body: bytes) -> dict[str, object]:
    """The object that a body holds; empty where it holds something else, or anything that JSON does not allow.

    Keys are unique, as RFC 6749 section 5.1 expects.
    """
    try:
        # A name that is not UTF-8 spoils nothing else: tokens are ASCII.
        value = strict_json(body.decode("utf-8-sig", errors="replace"))
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def form_fields(body: bytes, *, whole: bool) -> dict[str, object]:
    """The fields of a form that holds an access token, as other servers answer; empty where the body is none.

    A form shows no end: where it is not known to be `whole`, a token in the last place does not count.
    """
    try:
        pairs = parse_qsl(body.decode("ascii").strip(), strict_parsing=True, max_num_fields=_MOST_FIELDS)
    except ValueError:
        return {}
    if pairs and not whole and pairs[-1][0] in _TEXT_MEMBERS:
        del pairs[-1]
    fields: dict[str, object] = dict(pairs)
    unique = len(fields) == len(pairs)
    return fields if unique and access_token_of(fields.get("access_token")) is not None else {}


class Found(NamedTuple):
    """The refresh token in an answer that is no success; `doubtful` where it may be what only bears the name."""

    token: Secret | None
    doubtful: bool = False


def find_refresh_token(status: int, body: bytes, *, whole: bool = False) -> Found:
    """The refresh token in an answer that is no success, whatever is wrong with it: no JSON, keys twice, cut short.

    Pages, translations and descriptions of other services use the name as well: so what does not begin as JSON holds
    none, and in JSON that can be read it is the member of the object itself, or stands beside an access token. A
    refusal may speak of the field that it refuses: where an error is told, an access token must be there too, and
    without one it is no sentence. Where JSON cannot be read, of two the last counts, which most parsers take. `whole`:
    nothing can be missing at its end.
    """
    if len(body) > LARGEST_BODY:
        return Found(None)
    form = form_fields(body, whole=whole)
    if form:
        return Found(refresh_token_of(form.get("refresh_token")))
    text, success = _text(body), 200 <= status < 300  # noqa: PLR2004 - the class of successes
    paired = _last("access_token", text, access_token_of) is not None
    read = refresh_token_of if paired else _visible_refresh_token
    try:
        document = strict_json(text)
    except (ValueError, RecursionError):
        torn = text.startswith(("{", "[")) and (success or paired)
        return Found(_last("refresh_token", text, read) if torn else None)
    fields = document if isinstance(document, dict) else {}
    token, beside = read(fields.get("refresh_token")), access_token_of(fields.get("access_token")) is not None
    if token is not None and (beside or (success and not fields.get("error"))):
        return Found(token, doubtful=not beside and _may_be_a_word(token))
    token = _token_of_a_pair(document)
    return Found(token, doubtful=token is not None and _may_be_a_word(token))


def _may_be_a_word(token: Secret) -> bool:
    """Whether people may have written it: a word, a path, an address. A server makes up other signs as well."""
    text = token.reveal()
    return text.isalpha() or text.startswith("/") or "://" in text


def _token_of_a_pair(document: object) -> Secret | None:
    """The refresh token that stands beside an access token, wherever in a document."""
    left = [document]
    while left:
        match left.pop():
            case {"access_token": str() as access, "refresh_token": str() as refresh} if access_token_of(access):
                return refresh_token_of(refresh)
            case dict() as fields:
                left.extend(fields.values())
            case list() as items:
                left.extend(items)
            case _:
                pass
    return None


def _visible_refresh_token(value: object) -> Secret | None:
    return access_token_of(strip_unseen(value)) if isinstance(value, str) else None


def _last(name: str, text: str, read: Callable[[object], Secret | None]) -> Secret | None:
    tokens = [token for literal in _TEXT_MEMBERS[name].findall(text) if (token := read(_json_text(literal)))]
    return tokens[-1] if tokens else None


def _json_text(literal: str) -> object:
    try:
        return json.loads(literal)
    except ValueError:
        return None


def _text(body: bytes) -> str:
    """A body as text from its first visible sign on, in the encoding that JSON would have."""
    return body.decode(json.detect_encoding(body), errors="replace").lstrip()
