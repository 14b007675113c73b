"""Key Vault, as strict as the service: who may ask, and what an administrator does behind the service's back.

Every rule has its source beside the check that anybody can run against a vault (`sandbox/conformance/vault.py`). The
routes stand in `vault_rest`, what is refused by size, form or policy in `vault_limits`, and what becomes of a name in
`shelf`.
"""

import random
import re
from datetime import datetime, timedelta

from sandbox.clock import SandboxClock
from sandbox.entra import TENANT
from sandbox.http import Request, Response
from sandbox.identity import Identity
from sandbox.keys import KeysApi
from sandbox.shelf import Life, SecretVersion, Shelf
from sandbox.vault_limits import Changes, Policy, RefusedError, Throttling, bad_parameter
from sandbox.vault_rest import Pace, Permissions, SecretsApi

__all__ = ["KeyVault", "Policy", "SecretVersion", "Throttling"]

_API_VERSION = re.compile(r"(7\.\d|20\d\d-\d\d-\d\d)(-preview(\.\d)?)?")


class KeyVault:
    """One vault. `resource` is what its challenge asks a token for."""

    def __init__(self, name: str, clock: SandboxClock, identity: Identity) -> None:
        self.name = name
        self.url = ""
        self.resource = ""
        self.throttle: Throttling | None = None
        self.pace = Pace()
        self._clock = clock
        self._identity = identity
        self._random = random.Random(name)
        self._shelf = Shelf(clock)
        self._permissions = Permissions()
        self._api = SecretsApi(self._shelf, self._permissions, self.pace, clock, self._new_id)
        self.keys = KeysApi(self._permissions.check, clock, self._new_id)

    @property
    def policy(self) -> Policy:
        """What Azure Policy asks of this vault's secrets; nothing, until it is set."""
        return self._api.policy

    @policy.setter
    def policy(self, policy: Policy) -> None:
        self._api.policy = policy

    def listen_at(self, url: str, resource: str) -> None:
        """Say where the vault is reached."""
        self.url, self.resource = url, resource
        self._api.url = self.keys.url = url

    # An administrator's hands: not seen as requests, done at once, and no limit or policy stands in their way.

    def put(
        self,
        name: str,
        value: str,
        *,
        tags: dict[str, str] | None = None,
        expires_on: datetime | None = None,
        enabled: bool = True,
        content_type: str | None = None,
    ) -> SecretVersion:
        """Store a new version."""
        changes = Changes(
            value=value, tags=tags, expires_on=expires_on, enabled=enabled, content_type=content_type or None
        )
        with self._shelf.lock:
            version = self._api.new_version(name, changes)
            self._shelf.add(version)
            return version

    def get(self, name: str) -> SecretVersion | None:
        """The newest version."""
        versions = self.versions(name)
        return versions[-1] if versions else None

    def versions(self, name: str) -> list[SecretVersion]:
        """All versions, oldest first."""
        with self._shelf.lock:
            found = self._shelf.active(name)
            return list(found.versions) if found is not None else []

    def names(self) -> list[str]:
        """The names of all secrets that can be read."""
        with self._shelf.lock:
            return [each.name for each in self._shelf.all(Life.ACTIVE)]

    def deleted_names(self) -> list[str]:
        """The names of all secrets that are soft-deleted."""
        with self._shelf.lock:
            return [each.name for each in self._shelf.all(Life.DELETED)]

    def delete(self, name: str) -> None:
        """Soft-delete, long enough ago that it is over."""
        with self._shelf.lock:
            self._shelf.delete(name, takes=timedelta())

    def delete_slowly(self, name: str) -> None:
        """Soft-delete now, which takes the time that it takes."""
        with self._shelf.lock:
            self._shelf.delete(name, self.pace.deleting)

    def recover(self, name: str) -> None:
        """Begin to recover a soft-deleted secret."""
        with self._shelf.lock:
            self._shelf.recover(name, self.pace.recovering)

    def purge(self, name: str) -> None:
        """Remove a soft-deleted secret for good. Raises KeyError where it is not deleted."""
        with self._shelf.lock:
            if name not in self.deleted_names():
                raise KeyError(name)
            self._shelf.purge(name)

    def deny(self, operation: str, name: str = ".*") -> None:
        """Refuse get, set, update, list, delete, recover or purge, `get key` or `sign`, for the names that match."""
        self._permissions.denied.append((operation, re.compile(name)))

    def grant(self, name: str) -> None:
        """Take every refusal of one secret back, as a role on that secret does."""
        self._permissions.granted.add(name)

    def allow_all(self) -> None:
        """Take every refusal back."""
        self._permissions.denied.clear()

    # The REST surface.

    def handle(self, request: Request) -> Response:
        """Answer a request."""
        try:
            self._admit(request)
            with self._shelf.lock:
                return (self.keys if request.path.startswith("/keys/") else self._api).answer(request)
        except RefusedError as refusal:
            return refusal.response

    def _admit(self, request: Request) -> None:
        if not self._identity.admits(request.headers.get("authorization"), self.resource):
            challenge = (
                f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{self.resource}"'
            )
            raise RefusedError(401, "Unauthorized", headers={"WWW-Authenticate": challenge})
        if not _API_VERSION.fullmatch(request.params.get("api-version", "")):
            raise bad_parameter()
        pause = self.throttle.admit(creates=request.method == "PUT") if self.throttle is not None else None
        if pause is not None:
            raise RefusedError(429, "Throttled", headers={"Retry-After": str(max(1, int(pause) + 1))})

    def _new_id(self) -> str:
        return f"{self._random.getrandbits(128):032x}"
