"""The values that the product is about: secrets, and tokens with their lives.

Instants are aware UTC datetimes, spans are timedeltas. A `Secret` shows itself to nobody by accident: only the
code that builds a request or writes the vault calls `reveal()`, and a test keeps it so.
"""

import hmac
import unicodedata
import zlib
from datetime import datetime, timedelta
from typing import NamedTuple, NoReturn, final

from refresher.model.grants import Grant
from refresher.model.placeholders import is_placeholder

_UNSEEN_CATEGORIES = frozenset({"Cc", "Cf", "Zl", "Zp", "Zs"})
"""Controls, formats (U+200B, U+FEFF and their kind) and separators, by the general categories of Unicode."""
_UNSEEN_LETTERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u2800\u3164\uffa0")
"""Fillers and joiners: letters and marks by category, and nothing to the eye."""


def strip_unseen(text: str) -> str:
    """The text between its first and its last visible sign."""
    seen = [index for index, sign in enumerate(text) if not is_unseen(sign)]
    return text[seen[0] : seen[-1] + 1] if seen else ""


def is_unseen(sign: str) -> bool:
    """Whether nobody sees the sign: a separator, a control, a format, a filler."""
    return unicodedata.category(sign) in _UNSEEN_CATEGORIES or sign in _UNSEEN_LETTERS


@final
class Secret:
    """A confidential string. Not a dataclass or a named tuple: what takes those apart would open it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        """The value itself, for a request body or a vault write and nothing else."""
        return self._value

    def stripped(self) -> "Secret":
        """The same secret without what copying by hand leaves around it: white space, and signs that nobody sees."""
        return Secret(strip_unseen(self._value))

    @property
    def is_none(self) -> bool:
        """Whether nothing is there, or a word or a mask in the place of what a server would have made up."""
        return is_placeholder(self.stripped().reveal())

    def name_mark(self) -> str:
        """What tells one name from another, to a system that does not tell capitals from small letters."""
        name = self.stripped().reveal().casefold()
        return f"{zlib.crc32(name.encode('utf-8', 'surrogatepass')):08x}"

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        # JSON can hold half a surrogate pair, which UTF-8 cannot: whoever compares must not fail for it.
        mine, theirs = (value.encode("utf-8", "surrogatepass") for value in (self._value, other._value))
        return hmac.compare_digest(mine, theirs)

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __repr__(self) -> str:
        return "Secret(hidden)"

    def __str__(self) -> str:
        return "(hidden)"

    def __format__(self, format_spec: str) -> str:
        return "(hidden)"

    def __reduce__(self) -> NoReturn:
        message = "a Secret cannot be pickled or copied out of the process"
        raise TypeError(message)


class AccessToken(NamedTuple):
    """An access token as ServiceNow issued it."""

    value: Secret
    issued_at: datetime
    expires_at: datetime
    grant: Grant

    @property
    def lifetime(self) -> timedelta:
        """How long it lives from its issue to its end."""
        return self.expires_at - self.issued_at


class TokenResponse(NamedTuple):
    """A successful answer of the token endpoint (RFC 6749 section 5.1), already validated."""

    access_token: AccessToken
    lifetime_stated: bool
    """False where the answer did not say how long the token lives, and ServiceNow's default was taken."""
    refresh_token: Secret | None
    transaction_id: str | None
    refresh_token_masked: bool = False
    """Whether something came in its place that is none: a mask, or a text that no form can carry."""
