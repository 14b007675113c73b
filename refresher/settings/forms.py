"""The forms that a setting's value can have: each is a function from a raw value to a checked one.

Raw values come from the environment (texts) or out of a JSON setting (whatever JSON holds), so that every parser
takes any object. What does not fit is an UnusableError that says what was found and what is expected; a value that
may hold a credential (a URL with user information or a query) is never shown, others are cut short.
"""

import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import TypeVar

from refresher.model.strict_json import DuplicateKeyError, strict_json
from refresher.settings.schedule import EXPECTED, ScheduleError, longest_gap

JWT_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
_LONGEST_SHOWN = 60
_Text = TypeVar("_Text", bound=str)


class UnusableError(Exception):
    """A value that cannot be used; `problem` completes the sentence that begins with the setting's name."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(expected)
        self.problem = f"is {found}; expected {expected}"


_QUEUE = re.compile(r"(?=[a-z0-9-]{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_API = re.compile(r"api://[0-9A-Za-z._~-]+(?:/[0-9A-Za-z._~-]+)*")
_KEY_VERSION = re.compile(r"[0-9a-f]{32}")
_PROBE = re.compile(r"(?:/(?!/)[!\"$-~]*)?")
"""What is printable, but for a number sign."""
_REFERENCE = re.compile(r"\s*@Microsoft\.(KeyVault|AppConfiguration)\(", re.IGNORECASE)
_REFERRED = {"keyvault": "a Key Vault", "appconfiguration": "an App Configuration"}
"""What the platform puts a value in the place of, and leaves as it is where it may not read that."""
_INSTEAD = (
    "put the value itself there, which is no secret (the Azure CLI lists references as they are; in the app, its "
    "keyVaultReferenceIdentity has to be one that may read the value)"
)


def _matching(raw: object, form: re.Pattern[str], expected: str) -> str:
    if isinstance(raw, str) and form.fullmatch(raw):
        return raw
    raise UnusableError(show(raw), expected)


def parse_probe_path(raw: object) -> str | None:
    """Parse a path that is added to the instance's origin; None where it is empty."""
    return _matching(raw, _PROBE, "a path of the instance that begins with one slash; empty = do not probe") or None


def parse_guid(raw: object) -> str:
    """Parse the id of an application or a tenant."""
    return _matching(raw, _GUID, "an id such as 00000000-0000-0000-0000-000000000000").lower()


def parse_queue_name(raw: object) -> str:
    """Parse the name of a storage queue."""
    return _matching(raw, _QUEUE, "a queue's name: 3 to 63 lower-case letters, digits and single hyphens")


def choice_parser(allowed: Sequence[_Text]) -> Callable[[object], _Text]:
    """Make a parser of one of these: a grant's name, or a signature algorithm's (RFC 7518 section 3.1)."""

    def parse(raw: object) -> _Text:
        for each in allowed:
            if raw == each:
                return each
        raise UnusableError(show(raw), listed(allowed))

    return parse


def parse_entra_scope(raw: object) -> str:
    """Parse a scope of Microsoft Entra; that of a URI gets the ending that every scope of a workload has."""
    if isinstance(raw, str):
        resource = raw.removesuffix("/.default")
        if _GUID.fullmatch(resource) and raw != resource:
            return raw.lower()
        if _API.fullmatch(resource) and not resource.endswith("/user_impersonation"):
            return f"{resource}/.default"
    raise UnusableError(show(raw), "<application client id>/.default, or the application's api:// URI")


def parse_claim(raw: object) -> str:
    """Parse a claim: a text that says something."""
    if isinstance(raw, str) and raw.strip() and raw.isprintable() and not _REFERENCE.match(raw):
        return raw.strip()
    raise UnusableError(show(raw), "a text that is not empty")


def parse_kid(raw: object) -> str | dict[str, str]:
    """Parse a key id, or an object with one for each version of a key."""
    if not isinstance(raw, dict):
        return parse_claim(raw)
    if not raw or not all(isinstance(version, str) and _KEY_VERSION.fullmatch(version) for version in raw):
        raise UnusableError(show(raw), "a text, or an object of key ids by the key's versions (32 hexadecimal digits)")
    return {version: parse_claim(kid) for version, kid in raw.items()}


def span_parser(unit: timedelta, lowest: int, highest: int) -> Callable[[object], timedelta]:
    """Make a parser of a span in whole units, written as a number or as digits."""

    def parse(raw: object) -> timedelta:
        number = int(raw) if isinstance(raw, str) and re.fullmatch(r"[0-9]{1,12}", raw) else raw
        if isinstance(number, bool) or not isinstance(number, int) or not lowest <= number <= highest:
            raise UnusableError(show(raw), f"a whole number from {lowest} to {highest}")
        return number * unit

    return parse


def parse_boolean(raw: object) -> bool:
    """Parse true or false, in whatever case, or as JSON has them."""
    if isinstance(raw, bool):
        return raw
    values = {"true": True, "false": False}
    if isinstance(raw, str) and raw.lower() in values:
        return values[raw.lower()]
    raise UnusableError(show(raw), "true or false")


def parse_schedule(raw: object) -> timedelta:
    """Parse a timer's schedule into its longest gap."""
    try:
        return longest_gap(str(raw))
    except ScheduleError as error:
        instead = error.instead
    raise UnusableError(show(raw), f"{EXPECTED}; such as {instead}")


def parse_json_object(raw: object) -> dict[str, object]:
    """Parse a JSON object, from its text or as part of a document; a key that stands in it twice is an error."""
    value = raw
    if isinstance(raw, str):
        problem = ""
        try:
            value = strict_json(raw)
        except DuplicateKeyError as error:
            problem = f"JSON with the key {quote(error.key)} twice"
        except (ValueError, RecursionError):
            # The parser's own message is not used: it can hold a piece of the document.
            problem = show(raw) if _REFERENCE.match(raw) else "not valid JSON"
        if problem:
            raise UnusableError(problem, "a JSON object")
    if isinstance(value, dict):
        return value
    found = f"no JSON object but {_kind(value)}"
    raise UnusableError(found, "a JSON object")


def listed(values: Iterable[str]) -> str:
    """Join values to a choice: `a, b or c`."""
    *others, last = values
    return f"{', '.join(others)} or {last}" if others else last


def _kind(value: object) -> str:
    return {
        dict: "an object",
        list: "a list",
        str: "a text",
        bool: "true or false",
        type(None): "null",
    }.get(type(value), "a number")


def show(raw: object) -> str:
    """How a value is shown: never where it may hold a credential, nothing that is not printable, and cut short."""
    if raw is None:
        return "not set"
    if isinstance(raw, dict | list):
        return _kind(raw)
    text = raw if isinstance(raw, str) else json.dumps(raw)
    if reference := _REFERENCE.match(text):
        return f"{_REFERRED[reference[1].lower()]} reference that was not resolved: {_INSTEAD}"
    if "@" in text or "sig=" in text or ("://" in text and ("?" in text or "#" in text)):
        return "a value that is not shown, since it may hold a credential"
    return quote(text)


def quote(text: str) -> str:
    """Put a printable, short form of a text in quotes."""
    return f'"{printable(text)}"'


def printable(text: str) -> str:
    """Cut a text short and replace what is not printable, so that a message stays one readable line."""
    text = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
