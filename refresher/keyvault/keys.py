"""Keys that never leave Key Vault: described, and asked for a signature, within a run's deadline.

Of the versions that ServiceNow may know, the newest that may sign does: so that a new one can be made, and the old
one ended, without an hour in which neither is known. The SDK's retries are off, as with secrets; the vault's pauses
are kept by everybody. Permissions needed: keys get and sign.
"""

import hashlib
import threading
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NamedTuple

from refresher.keyvault.asking import Requests
from refresher.keyvault.key_errors import key_missing, problem_of, translate_for_key
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import JwtClaims, KeyIdentifier
from refresher.model.errors import VaultError
from refresher.model.stored import KeyLife, StoredKey

if TYPE_CHECKING:
    from azure.keyvault.keys import KeyVaultKey

    from refresher.keyvault.clients import KeyClients

_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_OCTETS = {"ES256": 64, "ES384": 96, "ES512": 132}
"""Of an ECDSA signature: r and s, each as long as the curve (RFC 7518 section 3.4)."""


class SigningKey(NamedTuple):
    """A key that may sign now. `life` goes by all versions that may."""

    described: StoredKey
    life: KeyLife
    sign: Callable[[bytes, Deadline], bytes]
    """Sign what is given, by the connection's algorithm. Raises VaultError."""


class Keys:
    """The keys of all vaults that sign; clients are made when first needed. Safe between threads."""

    def __init__(self, clock: Clock, make_clients: "Callable[[str], KeyClients]") -> None:
        self._clock = clock
        self._make_clients = make_clients
        self._opened: dict[str, _Vault] = {}
        self._lock = threading.Lock()

    def find(self, key: KeyIdentifier, claims: JwtClaims, deadline: Deadline) -> SigningKey | VaultError:
        """The newest of the versions that may sign now, or why none of them may."""
        vault = self._open(key.vault_url)
        versions: Sequence[str | None] = [key.version] if key.version else list(dict(claims.kids)) or [None]
        problems: list[VaultError] = []
        found: list[tuple[StoredKey, KeyVaultKey]] = []
        for version in versions:
            try:
                described, handle = vault.read(key.name, version, deadline)
            except VaultError as error:
                problems.append(error)
                continue
            problem = problem_of(described, claims.algorithm, self._clock.now())
            if problem is not None:
                problems.append(problem)
            else:
                found.append((described, handle))
        if not found:
            return problems[-1]
        newest, handle = max(found, key=lambda each: each[0].created_on or _LONG_AGO)

        def sign(message: bytes, until: Deadline) -> bytes:
            return vault.sign(newest, handle, claims.algorithm, message, until)

        return SigningKey(newest, _life(key.name, [each for each, _ in found]), sign)

    def close(self) -> None:
        """Close the connections."""
        for vault in self._opened.values():
            vault.close()

    def _open(self, url: str) -> "_Vault":
        with self._lock:
            if url not in self._opened:
                self._opened[url] = _Vault(url, self._make_clients(url), self._clock)
            return self._opened[url]


def _life(name: str, keys: Sequence[StoredKey]) -> KeyLife:
    ends = [key.expires_on for key in keys]
    known = [end for end in ends if end is not None]
    return KeyLife(name=name, expires_on=max(known) if len(known) == len(ends) else None)


class _Vault:
    """The keys of one vault."""

    def __init__(self, url: str, clients: "KeyClients", clock: Clock) -> None:
        self._url = url
        self._clients = clients
        self._requests = Requests(url, "key", clock, missing=key_missing, translate=translate_for_key)

    def read(self, name: str, version: str | None, deadline: Deadline) -> "tuple[StoredKey, KeyVaultKey]":
        """One version of a key, or its newest, described and as the SDK has it. Raises VaultError."""

        def describe(**limits: float) -> "tuple[StoredKey, KeyVaultKey]":
            handle = self._clients.get(name, version, **limits)
            return _described(name, self._url, handle), handle

        return self._requests.retrying(lambda: self._requests.once("get", name, deadline, describe), deadline)

    def sign(self, key: StoredKey, handle: "KeyVaultKey", algorithm: str, message: bytes, deadline: Deadline) -> bytes:
        """Sign by hashing here and signing there. Raises VaultError."""
        digest = hashlib.new(f"sha{algorithm[2:]}", message).digest()

        def sign(**limits: float) -> bytes:
            signature = self._clients.sign(handle, algorithm, digest, **limits)
            if len(signature) != _OCTETS.get(algorithm, key.bits // 8):
                message = "no signature by that key has this length"
                raise ValueError(message)
            return signature

        return self._requests.retrying(lambda: self._requests.once("sign", key.name, deadline, sign), deadline)

    def close(self) -> None:
        """Close the connections."""
        self._clients.close()


def _described(name: str, url: str, found: "KeyVaultKey") -> StoredKey:
    """What the SDK's object says. Raises ValueError where it tells of a key of another vault."""
    properties, material = found.properties, _material(found)
    if not found.id.startswith(f"{url}/keys/"):
        # The SDK sends the next request, and its bearer token, wherever this one's answer says.
        message = "the key is another vault's"
        raise ValueError(message)
    operations = found.key_operations
    return StoredKey(
        name=name,
        vault_url=url,
        version=properties.version or "",
        kind=_text(material.kty),
        curve=_text(material.crv) if material.crv else None,
        bits=int.from_bytes(material.n, "big").bit_length() if material.n else 0,
        signs=operations is None or "sign" in map(_text, operations),
        enabled=properties.enabled is not False,
        created_on=properties.created_on,
        not_before=properties.not_before,
        expires_on=properties.expires_on,
    )


def _material(found: "KeyVaultKey") -> Any:  # noqa: ANN401 - the SDK sets its members at run time
    return found.key


def _text(value: object) -> str:
    """A member of the SDK's enums, or what the SDK does not know, by its name."""
    return str(getattr(value, "value", value))
