"""Settings that are addresses: of a vault, an instance, a container, a secret or a key.

Each parser takes any object, as those of `forms` do. A part of an address that could hold a credential (user
information, a query) is never accepted, nor shown.
"""

import ipaddress
import re
from typing import NamedTuple
from urllib.parse import urlsplit

from refresher.model.connection import KeyIdentifier, SecretIdentifier
from refresher.model.tokens import strip_unseen
from refresher.settings.forms import UnusableError, show

INSTANCE_HOSTS = (
    ".service-now.com",
    ".servicenowservices.com",
    ".servicenowcloud.com.au",
)
_CONTAINER = re.compile(r"(?:/devstoreaccount1)?/(?=[a-z0-9-]{3,63}/*$)[a-z0-9]+(?:-[a-z0-9]+)*/*")
_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[0-9a-z](?:[0-9a-z.-]*[0-9a-z])?)(?::([0-9]{1,5}))?((?:/[0-9a-z._$~-]*)*)",
    re.IGNORECASE | re.ASCII,
)
_SECRET_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_SECRET = re.compile(r"/secrets/([0-9a-zA-Z-]{1,127})")
_KEY = re.compile(r"/keys/([0-9a-zA-Z-]{1,127})(?:/([0-9a-f]{32}))?")
_NO_PATH = re.compile(r"/?")
_HIGHEST_PORT = 65535


def parse_vault_origin(raw: object) -> str:
    """Parse a vault's https origin; a slash at its end is dropped. The SDK refuses http, even on loopback."""
    url, _ = _https(raw, _NO_PATH, "an https origin such as https://NAME.vault.azure.net")
    return url.origin


def parse_instance_origin(raw: object) -> str:
    """Parse an instance's origin; which hosts it may have is another setting's word."""
    url = _url(raw, "an https origin such as https://NAME.service-now.com")
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


class Url(NamedTuple):
    """The parts of a URL that may be used; scheme, host and origin in lower case."""

    scheme: str
    host: str
    origin: str
    path: str


def _url(raw: object, expected: str) -> Url:
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
    url = _url(raw, expected)
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


def parse_key_identifier(raw: object) -> KeyIdentifier:
    """Parse the identifier of a key of Key Vault, of one version or of the newest."""
    expected = "a key's identifier such as https://NAME.vault.azure.net/keys/NAME, with or without a version"
    url, match = _https(raw, _KEY, expected)
    return KeyIdentifier(vault_url=url.origin, name=match[1], version=match[2])


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
