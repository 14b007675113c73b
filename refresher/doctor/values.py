"""What a credential's value cannot be meant to be, by its form alone: one row for each mistake. No I/O.

A row accuses for certain, or it doubts: a password, or a client secret that somebody made up, may look like anything.
What a refresh succeeded with since it was stored is not accused (`secret_checks` knows). No text here holds a piece of
a value.
"""

import json
import re
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass

from refresher.model.connection import ACCESS_TOKEN
from refresher.model.grants import CLIENT_ID, CLIENT_SECRET, JWT_KEY, PASSWORD, REFRESH_TOKEN, USERNAME
from refresher.model.placeholders import is_placeholder, is_template
from refresher.model.tokens import Secret, is_unseen

_TOKENS = frozenset({CLIENT_ID, REFRESH_TOKEN, ACCESS_TOKEN})
"""Made by ServiceNow, of visible ASCII: nobody chooses them."""
_CODES = _TOKENS | {CLIENT_SECRET}
_TYPED = frozenset({CLIENT_SECRET, USERNAME, PASSWORD})
_TEXTS = _TOKENS | _TYPED
_ALL = _TEXTS | {JWT_KEY}
_QUOTES = frozenset({'""', "''", "``", "\u201c\u201d", "\u2018\u2019", "\u00ab\u00bb", "\u201e\u201c"})
_SYS_ID = re.compile(r"[0-9a-f]{32}")
_KEY_IN_BASE64 = "LS0tLS1CRUdJTi"
_KEY = "-----BEGIN"


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """What is odd about a value, as the end of a sentence that begins with the secret's name."""

    what: str
    certain: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """A mistake: of which secrets it is one for certain, of which it may be one, how it is seen."""

    certain: frozenset[str]
    doubtful: frozenset[str] = frozenset()
    seen: Callable[[str], object]
    """Whether the value is so: often the search for a form."""
    what: str


_ROWS = (
    _Row(
        certain=_ALL,
        seen=re.compile(r"@Microsoft\.KeyVault\(", re.IGNORECASE).match,
        what="holds the text of a Key Vault reference, which only an app setting resolves, in place of the value",
    ),
    _Row(
        certain=_ALL,
        seen=is_template,
        what="holds a placeholder in place of the value",
    ),
    _Row(
        certain=_TOKENS,
        doubtful=_TYPED,
        seen=lambda text: text.endswith(("...", "\u2026")),
        what="ends in dots, as what is shown cut short does",
    ),
    _Row(
        certain=_CODES | {JWT_KEY},
        doubtful=_TYPED,
        seen=is_placeholder,
        what="holds a word that stands for a value, in place of the value",
    ),
    _Row(
        certain=_CODES,
        doubtful=_TYPED,
        seen=lambda text: text[:1] + text[-1:] in _QUOTES,
        what="is in quotation marks",
    ),
    _Row(
        certain=_TEXTS,
        seen=lambda text: _is_json(text) or (text[:1] in "{[" and '":' in text),
        what="holds JSON, of which it must be one value alone",
    ),
    _Row(
        certain=_TOKENS,
        doubtful=_TYPED,
        seen=lambda text: text[:1] in "{[",
        what="begins like JSON, with a brace or a bracket",
    ),
    _Row(
        certain=_CODES,
        doubtful=_TYPED,
        seen=re.compile(r"(bearer|basic|token|authorization:)\s", re.IGNORECASE).match,
        what="begins with the word of a header (Bearer, Basic), which is no part of it",
    ),
    _Row(
        certain=_CODES,
        doubtful=_TYPED,
        seen=re.compile(
            r"[\"']?[A-Za-z_.-]*(client_?(id|secret)|token|password|user_?name)[\"']?\s*[=:]\s*\S", re.IGNORECASE
        ).match,
        what="begins with a field's name, which is no part of it",
    ),
    _Row(
        certain=_CODES | {USERNAME, JWT_KEY},
        doubtful=_TYPED,
        seen=re.compile(r"[a-z]{2,6}://", re.IGNORECASE).match,
        what="holds an address (URL) in place of the value",
    ),
    _Row(
        certain=_TEXTS,
        seen=lambda text: text.startswith((_KEY, _KEY_IN_BASE64)),
        what="holds a key or a certificate in place of the value",
    ),
    _Row(
        certain=frozenset({JWT_KEY}),
        seen=lambda text: text.startswith(_KEY_IN_BASE64),
        what="holds its PEM text in Base64: store it decoded",
    ),
    _Row(
        certain=frozenset({JWT_KEY}),
        seen=lambda text: text.startswith(_KEY) and "\\n" in text,
        what=r"holds \n where lines should break: store the file itself (--file)",
    ),
    _Row(certain=_TEXTS, seen=lambda text: "\n" in text or "\r" in text, what="has more than one line"),
    _Row(
        certain=_CODES,
        doubtful=_TYPED,
        seen=lambda text: any(is_unseen(sign) and not sign.isspace() for sign in text),
        what="has a character in it that nobody sees (copied from a page or a document)",
    ),
    _Row(
        certain=_TOKENS - {REFRESH_TOKEN},
        doubtful=frozenset({CLIENT_SECRET, REFRESH_TOKEN}),
        seen=lambda text: any(sign.isspace() for sign in text),
        what="has white space in it",
    ),
    _Row(
        certain=_TOKENS - {REFRESH_TOKEN},
        doubtful=frozenset({CLIENT_SECRET, REFRESH_TOKEN}),
        seen=lambda text: not text.isascii(),
        what="has characters in it that ServiceNow's values have not (typographic signs, letters that look alike)",
    ),
    _Row(
        certain=frozenset(),
        doubtful=_CODES,
        seen=re.compile(r"%[0-9A-F]{2}").search,
        what="has signs like %2B in it, as what was copied from an address has",
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """What a value is looked at beside: it may be one of these by mistake."""

    names: Collection[str]
    """Of the connection's secrets."""
    credentials: Mapping[str, Secret]
    """The connection's others, by the ends of their names."""
    access_tokens: Collection[Secret]
    """What it published."""


def oddity(suffix: str, secret: Secret, beside: Beside) -> Oddity | None:
    """What is odd about the value of the secret whose name ends so; None where nothing is."""
    value = secret.stripped()
    if not value or suffix not in _ALL:
        return None
    return _not_its_own(suffix, value, beside) or _by_form(suffix, value.reveal()) or _swapped(suffix, value, beside)


def _not_its_own(suffix: str, value: Secret, beside: Beside) -> Oddity | None:
    named = next((name for name in beside.names if value.name_mark() == Secret(name).name_mark()), None)
    if named is not None:
        return Oddity(what=f"holds the name of a secret, {named}, in place of a value", certain=True)
    if suffix in _CODES - {ACCESS_TOKEN} and any(value == token.stripped() for token in beside.access_tokens):
        return Oddity(what="holds an access token in place of the value", certain=True)
    for other, theirs in beside.credentials.items():
        if other != suffix and {other, suffix} <= _TEXTS and theirs.stripped() == value:
            certain = {other, suffix} <= _CODES
            return Oddity(what=f"holds the same value as -{other}: one of the two is not its own", certain=certain)
    return None


def _by_form(suffix: str, text: str) -> Oddity | None:
    for row in _ROWS:
        if suffix in row.certain | row.doubtful and row.seen(text):
            return Oddity(what=row.what, certain=suffix in row.certain)
    return None


def _swapped(suffix: str, value: Secret, beside: Beside) -> Oddity | None:
    """A client id of ServiceNow's is a sys_id; its secret, unless somebody chose it so, is none."""
    client_id = beside.credentials.get(CLIENT_ID)
    if suffix != CLIENT_SECRET or client_id is None or _SYS_ID.fullmatch(client_id.stripped().reveal()):
        return None
    what = "looks like a client id, and -client-id does not: they may have been swapped"
    return Oddity(what=what, certain=False) if _SYS_ID.fullmatch(value.reveal()) else None


def has_unseen_around(secret: Secret) -> bool:
    """Whether something stands around the value that nobody sees, and that is left out when it is sent."""
    return secret != secret.stripped()


def _is_json(text: str) -> bool:
    try:
        return text[:1] in "{[" and isinstance(json.loads(text), dict | list)
    except (ValueError, RecursionError):
        return False
