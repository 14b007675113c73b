"""Which proxy a request goes through, by the environment and by one rule for all clients.

`HTTPS_PROXY` or `HTTP_PROXY` by the address's scheme, `ALL_PROXY` where that is not set, and none for a host that
`NO_PROXY` covers: by its name or the end of it, by an address or a network (IPv4 and IPv6, brackets or not), or `*`.
Each name may be in small letters, which then count. The libraries' own readings differ, and fail on what people write
(https://github.com/encode/httpx/issues/3221, 3574).
"""

import ipaddress
import os
import re
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from refresher.model.errors import SettingsError

_SCHEMES = frozenset({"http", "https"})
_BRACKETED = re.compile(r"\[([^]]*)\](/\d+)?(?::(\d+))?")


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy, and the variable that names it. The address may hold a password."""

    variable: str
    url: str = field(repr=False)

    def between(self, whom: str, what: str, *, itself: bool) -> str:
        """The news of what happened on the way to somebody; `itself`: nobody behind the proxy was asked."""
        proxy = f"the proxy that {self.variable} names"
        return f"{proxy} {what}, on the way to {whom}" if itself else f"{whom} {what} through {proxy}"

    @property
    def hint(self) -> str:
        """What an operator can do about it."""
        return f"Check {self.variable} (407: the proxy wants a user name and password), or name the host in NO_PROXY."

    def refuses(self, whom: str, status: str) -> str:
        """What is said where the proxy itself turned a request away, with that status."""
        return f"the proxy that {self.variable} names lets nothing through to {whom} (it answered {status})"


def proxy_for(url: str) -> Proxy | None:
    """The proxy for an address; None where it is reached directly. Raises SettingsError where that cannot be used."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    variable = _set(f"{parts.scheme}_proxy", "all_proxy")
    if variable is None or _is_excepted(host, parts.port):
        return None
    value = os.environ[variable].strip()
    proxy = value if "://" in value else f"http://{value}"
    if _is_usable(proxy):
        return Proxy(variable=variable, url=proxy)
    scheme = proxy.partition("://")[0]
    what = "an address that cannot be read" if scheme in _SCHEMES else f"a proxy of the kind {scheme[:20]!r}"
    problem = f"{variable} names {what}; expected http://HOST:PORT, or {host} in NO_PROXY"
    raise SettingsError((problem,))


def _set(*names: str) -> str | None:
    spelled = (each for name in names for each in (name, name.upper()))
    return next((each for each in spelled if os.environ.get(each, "").strip()), None)


def _is_usable(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return parts.scheme in _SCHEMES and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_excepted(host: str, port: int | None) -> bool:
    variable = _set("no_proxy")
    listed = os.environ[variable].lower() if variable else ""
    return any(_covers(entry, host, port) for entry in listed.replace(",", " ").split())


def _covers(entry: str, host: str, port: int | None) -> bool:
    bracketed = _BRACKETED.fullmatch(entry)
    if bracketed:
        name, of_port = bracketed[1] + (bracketed[2] or ""), bracketed[3]
    else:
        name, _, of_port = entry.partition(":") if entry.count(":") == 1 else (entry, "", None)
    if of_port and of_port != str(port):
        return False
    try:
        return ipaddress.ip_address(host) in ipaddress.ip_network(name, strict=False)
    except ValueError:
        # One of the two is a name.
        name = name.removeprefix("*").removeprefix(".")
        return not name or host == name or host.endswith(f".{name}")
