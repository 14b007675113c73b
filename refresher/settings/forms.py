"""The forms that a setting's value can have: each is a function from a raw value to a checked one.

Raw values come from the environment (texts) or out of a JSON setting (whatever JSON holds), so that every parser
takes any object. What does not fit is an UnusableError that says what was found and what is expected; a value that
may hold a credential (a URL with user information or a query) is never shown, others are cut short.
"""

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TypeVar
from urllib.parse import urlsplit

from refresher.model.connection import KeyIdentifier, SecretIdentifier
from refresher.model.tokens import strip_unseen
from refresher.settings.schedule import EXPECTED, ScheduleError, longest_gap

INSTANCE_HOSTS = (
    ".service-now.com",
    ".servicenowservices.com",
    ".servicenowcloud.com.au",
)
JWT_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
LONGEST_LIFETIME = timedelta(days=3650)
_LONGEST_SHOWN = 60
_Text = TypeVar("_Text", bound=str)


class UnusableError(Exception):
    """A value that cannot be used; `problem` completes the sentence that begins with the setting's name."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(expected)
        self.problem = f"is {found}; expected {expected}"


_CONTAINER = re.compile(r"(?:/devstoreaccount1)?/(?=[a-z0-9-]{3,63}/*$)[a-z0-9]+(?:-[a-z0-9]+)*/*")
_QUEUE = re.compile(r"(?=[a-z0-9-]{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")
_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[0-9a-z](?:[0-9a-z.-]*[0-9a-z])?)(?::([0-9]{1,5}))?((?:/[0-9a-z._$~-]*)*)",
    re.IGNORECASE | re.ASCII,
)
_GUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.IGNORECASE)
_API = re.compile(r"api://[0-9A-Za-z._~-]+(?:/[0-9A-Za-z._~-]+)*")
_SECRET_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_SECRET = re.compile(r"/secrets/([0-9a-zA-Z-]{1,127})")
_KEY = re.compile(r"/keys/([0-9a-zA-Z-]{1,127})(?:/([0-9a-f]{32}))?")
_KEY_VERSION = re.compile(r"[0-9a-f]{32}")
_PROBE = re.compile(r"(?:/(?!/)[!\"$-~]*)?")
"""What is printable, but for a number sign."""
_NO_PATH = re.compile(r"/?")
_HIGHEST_PORT = 65535


def parse_vault_origin(raw: object) -> str:
    """Parse a vault's https origin; a slash at its end is dropped. The SDK refuses http, even on loopback."""
    url, _ = _https(raw, _NO_PATH, "an https origin such as https://NAME.vault.azure.net")
    return url.origin


def parse_instance_origin(raw: object) -> str:
    """Parse an instance's origin; which hosts it may have is another setting's word."""
    url = parse_url(raw, "an https origin such as https://NAME.service-now.com")
    if not _NO_PATH.fullmatch(url.path):
        raise UnusableError(show(raw), "an origin only, without a path")
    if url.scheme != "https" and not _is_loopback(url.host):
        raise UnusableError(show(raw), "https:// (http:// is for a loopback host only)")
    return url.origin


def host_problem(origin: str) -> str | None:
    """What is wrong with an instance's origin unless custom hosts are allowed; None in ServiceNow's own domains."""
    if (urlsplit(origin).hostname or "").endswith(INSTANCE_HOSTS):
        return None
    hosts = ", ".join(f"*{suffix}" for suffix in INSTANCE_HOSTS)
    return UnusableError(show(origin), f"a host in {hosts}, or SERVICENOW_ALLOW_CUSTOM_HOST = true").problem


def parse_container_url(raw: object) -> str:
    """Parse a blob container's https URL, without a query: that would be a shared access signature."""
    expected = "a container's https URL without a query, such as https://ACCOUNT.blob.core.windows.net/leases"
    url, _ = _https(raw, _CONTAINER, expected)
    return url.origin + url.path.rstrip("/")


@dataclass(frozen=True, slots=True, kw_only=True)
class Url:
    """The parts of a URL that may be used; scheme, host and origin in lower case."""

    scheme: str
    host: str
    origin: str
    path: str


def parse_url(raw: object, expected: str) -> Url:
    """A URL of scheme, host, port and path and nothing else: user information and queries may be credentials."""
    match = _URL.fullmatch(raw) if isinstance(raw, str) else None
    if match is None or not _is_host(match[2]) or not 0 < int(match[3] or 1) <= _HIGHEST_PORT:
        raise UnusableError(show(raw), expected)
    scheme, host = match[1].lower(), match[2].lower()
    usual = {"https": 443, "http": 80}[scheme]
    port = f":{int(match[3])}" if match[3] and int(match[3]) != usual else ""
    return Url(scheme=scheme, host=host, origin=f"{scheme}://{host}{port}", path=match[4])


def _https(raw: object, path: re.Pattern[str], expected: str) -> tuple[Url, re.Match[str]]:
    """A URL of https whose path has that form."""
    url = parse_url(raw, expected)
    match = path.fullmatch(url.path)
    if url.scheme != "https" or match is None:
        raise UnusableError(show(raw), expected)
    return url, match


def _is_host(host: str) -> bool:
    return isinstance(_address(host), ipaddress.IPv6Address) if host.startswith("[") else ".." not in host


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" or (address is not None and address.is_loopback)


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return None


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
    if isinstance(raw, str) and raw.strip() and raw.isprintable():
        return raw.strip()
    raise UnusableError(show(raw), "a text that is not empty")


def parse_key_identifier(raw: object) -> KeyIdentifier:
    """Parse the identifier of a key of Key Vault, of one version or of the newest."""
    expected = "a key's identifier such as https://NAME.vault.azure.net/keys/NAME, with or without a version"
    url, match = _https(raw, _KEY, expected)
    return KeyIdentifier(vault_url=url.origin, name=match[1], version=match[2])


def parse_kid(raw: object) -> str | dict[str, str]:
    """Parse a key id, or an object with one for each version of a key."""
    if not isinstance(raw, dict):
        return parse_claim(raw)
    if not raw or not all(isinstance(version, str) and _KEY_VERSION.fullmatch(version) for version in raw):
        raise UnusableError(show(raw), "a text, or an object of key ids by the key's versions (32 hexadecimal digits)")
    return {version: parse_claim(kid) for version, kid in raw.items()}


def integer_parser(lowest: int, highest: int) -> Callable[[object], int]:
    """Make a parser of a whole number, written as a number or as digits."""

    def parse(raw: object) -> int:
        number = int(raw) if isinstance(raw, str) and re.fullmatch(r"[0-9]{1,12}", raw) else raw
        if isinstance(number, bool) or not isinstance(number, int) or not lowest <= number <= highest:
            raise UnusableError(show(raw), f"a whole number from {lowest} to {highest}")
        return number

    return parse


def minutes_parser(lowest: int, highest: int) -> Callable[[object], timedelta]:
    """Make a parser of a span in whole minutes, written like a whole number."""
    parse = integer_parser(lowest, highest)
    return lambda raw: timedelta(minutes=parse(raw))


def seconds_parser(lowest: int, longest: timedelta) -> Callable[[object], timedelta]:
    """Make a parser of a span in whole seconds, written like a whole number."""
    parse = integer_parser(lowest, int(longest.total_seconds()))
    return lambda raw: timedelta(seconds=parse(raw))


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
            problem = f"JSON with the key {error.key} twice"
        except (ValueError, RecursionError):
            # The parser's own message is not used: it can hold a piece of the document.
            problem = "not valid JSON"
        if problem:
            raise UnusableError(problem, "a JSON object")
    if isinstance(value, dict):
        return value
    found = f"no JSON object but {_kind(value)}"
    raise UnusableError(found, "a JSON object")


class DuplicateKeyError(ValueError):
    """A key that stands in an object twice: of two values, neither can be trusted."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = quote(key)


def strict_json(text: str) -> object:
    """Read JSON, its keys unique, without constants that it does not allow. Raises ValueError and RecursionError."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise DuplicateKeyError(key)
        found[key] = value
    return found


def _refuse_constant(_: str) -> float:
    raise ValueError


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


def parse_targets(raw: object) -> tuple[SecretIdentifier, ...]:
    """Parse publish targets; those that are names only stand in the product's own vault, whose origin is left open."""
    if isinstance(raw, str):
        return tuple(_target(part) for each in raw.split(",") if (part := strip_unseen(each)))
    if isinstance(raw, list):
        return tuple(_target(item) for item in raw)
    raise UnusableError(show(raw), "a list of secret names or secret identifiers; empty = none")


def _target(raw: object) -> SecretIdentifier:
    expected = (
        "secret names (letters, digits and hyphens, at most 127) or identifiers without a version "
        "such as https://NAME.vault.azure.net/secrets/NAME"
    )
    if isinstance(raw, str) and _SECRET_NAME.fullmatch(raw):
        return SecretIdentifier(vault_url="", name=raw)
    url, match = _https(raw, _SECRET, expected)
    return SecretIdentifier(vault_url=url.origin, name=match[1])
