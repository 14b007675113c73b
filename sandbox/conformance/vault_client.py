"""One vault as the list of rules asks it: with names of its own, which it deletes in the end."""

import re
import secrets
from collections.abc import Callable, Mapping
from datetime import datetime
from urllib.parse import urlsplit

from azure.core.credentials import TokenCredential

from sandbox.conformance.wire import Reply, Wire, require_https

_API_VERSION = "7.4"
_LOOKS_EVERY = 2.0
_LONGEST = 60.0
_OK = 200
_GONE = 404


class VaultClient:
    """A vault, reached by the token that it asks for. Raises ValueError for a vault that asks for another's."""

    def __init__(
        self,
        url: str,
        credential: TokenCredential,
        *,
        sleep: Callable[[float], None],
        now: Callable[[], datetime],
        prefix: str = "",
    ) -> None:
        self.url = require_https(url)
        self.now = now
        self.seconds: dict[str, int] = {}
        """How long the vault took for what it does not do at once, to two seconds."""
        self.service = ""
        self.names: list[str] = []
        self.stored: set[str] = set()
        self.prefix = prefix or f"conformance-{secrets.token_hex(4)}"
        self._wire = Wire()
        self._sleep = sleep
        self._credential = credential
        self._token = ""

    @property
    def ready_for_deletion(self) -> str:
        """The one secret with two versions that is deleted and recovered on the way."""
        name = f"{self.prefix}-deleted"
        if name not in self.names:
            self.names.append(name)
            self.put(name)
            self.put(name)
        return name

    def new_name(self) -> str:
        """A name that nobody uses."""
        self.names.append(f"{self.prefix}-{len(self.names)}")
        return self.names[-1]

    def put(self, name: str, value: str = "conformance", **members: object) -> Reply:
        """Store a value that is no secret."""
        reply = self.ask("PUT", f"secrets/{name}", body={"value": value, **members})
        if reply.status == _OK:
            self.stored.add(name)
        return reply

    def delete(self, name: str) -> Reply:
        """Soft-delete."""
        return self.ask("DELETE", f"secrets/{name}")

    def ask(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str] | None = None,
        body: object = None,
        with_token: bool = True,
    ) -> Reply:
        """Send one request. Raises httpx.HTTPError."""
        if with_token and not self._token:
            self._token = self._credential.get_token(self._scope()).token
        reply = self._wire.send(
            method,
            f"{self.url}/{path}",
            params={"api-version": _API_VERSION, **(params or {})},
            headers={"Authorization": f"Bearer {self._token}"} if with_token else {},
            body=body,
        )
        self.service = self.service or reply.headers.get("x-ms-keyvault-service-version", "")
        return reply

    def wait_until(self, is_so: Callable[[], bool], what: str = "") -> bool:
        """Look until it is so, or until that took a minute; remember how long it took."""
        waited = 0.0
        while not is_so():
            if waited >= _LONGEST:
                return False
            self._sleep(_LOOKS_EVERY)
            waited += _LOOKS_EVERY
        if what:
            self.seconds[what] = round(waited)
        return True

    def leave(self) -> list[str]:
        """Delete what was stored; returns the names that could not be deleted."""
        return [name for name in sorted(self.stored) if self.delete(name).status not in {_OK, _GONE}]

    def _scope(self) -> str:
        """What the vault asks a token for. It must be its own: a token for something else is not given away."""
        challenge = self.ask("GET", "secrets", with_token=False).headers.get("www-authenticate", "")
        resource = re.search(r'(?:resource|scope)="(https://[^"]+)"', challenge)
        host, asked = urlsplit(self.url).netloc, urlsplit(resource[1]).netloc if resource else ""
        if resource is None or not (host == asked or host.endswith(f".{asked}")):
            message = "this is not a key vault: it asks for no token, or for one of somebody else's"
            raise ValueError(message)
        return f"{resource[1].rstrip('/').removesuffix('/.default')}/.default"
