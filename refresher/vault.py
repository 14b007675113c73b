"""Azure Key Vault: secrets read, written and patched within a run's deadline.

The SDK's own retries and time-outs are made for hours; here they are off, and the run's retry loop decides. It
also knows what the SDK does not: a write whose answer was lost is looked up before it is sent again (the SDK's
PUT would leave an extra, equal version), and a soft-deleted name is recovered, then written.
Permission needed: secrets get, set (which includes changing tags) and recover.
"""

import threading
from collections.abc import Callable, Mapping
from datetime import datetime
from json import JSONDecodeError
from typing import TypeVar

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ResourceNotFoundError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.keyvault.secrets import KeyVaultSecret, SecretClient

from refresher.clock import Clock, Deadline
from refresher.errors import Cause, VaultError
from refresher.oauth import parse_retry_after
from refresher.record import StoredSecret
from refresher.retry import retrying
from refresher.tokens import Secret

_T = TypeVar("_T")

CONNECT_TIMEOUT = 3.0
READ_TIMEOUT = 8.0
_ATTEMPTS = 5
_UNREADABLE = 0
_FORBIDDEN = 403
_CONFLICT = 409
_THROTTLED = 429
_SERVER_ERRORS = 500
_REQUEST_TIMEOUT = 408


class Gate:
    """Holds back every request to a vault that asked for a pause, whichever connection it was made for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._opens_at = 0.0
        self._lock = threading.Lock()

    def close(self, seconds: float) -> None:
        """Let nobody through for that long."""
        with self._lock:
            self._opens_at = max(self._opens_at, self._clock.monotonic() + seconds)

    def wait(self, deadline: Deadline) -> None:
        """Wait until the vault may be asked again. Raises VaultError where that is after the deadline."""
        pause = self._opens_at - self._clock.monotonic()
        if pause <= 0:
            return
        if pause >= deadline.remaining():
            message = "Key Vault asked for a pause that outlasts this run"
            raise VaultError(message, cause=Cause.VAULT_THROTTLED, transient=True, retry_after=pause)
        self._clock.sleep(pause)


class Vault:
    """One vault. Safe to share between threads; keep it for the life of the process (it holds the warm connection)."""

    def __init__(self, url: str, client: SecretClient, clock: Clock) -> None:
        self.url = url
        self._client = client
        self._clock = clock
        self._gate = Gate(clock)

    def read(self, name: str, deadline: Deadline) -> StoredSecret | None:
        """The newest version of a secret; None where there is none (soft-deleted included). Raises VaultError."""
        return self._retrying(lambda: self._read_once(name, deadline), deadline)

    def write(
        self,
        name: str,
        value: Secret,
        *,
        content_type: str,
        tags: Mapping[str, str],
        expires_on: datetime | None,
        stored: StoredSecret | None,
        deadline: Deadline,
    ) -> str:
        """Write a secret and return its version. A value equal to `stored` makes no new version: tags change.

        Raises VaultError. What was there before is untouched by a write that fails.
        """
        if stored is not None and stored.value == value:
            self.describe(
                name, stored.version, content_type=content_type, tags=tags, expires_on=expires_on, deadline=deadline
            )
            return stored.version
        uncertain = False

        def put() -> str:
            nonlocal uncertain
            arrived = self._find_lost_write(name, value, tags, deadline) if uncertain else None
            if arrived is not None:
                return arrived
            uncertain = False
            try:
                written = self._call(
                    "set",
                    name,
                    deadline,
                    lambda **limits: self._client.set_secret(
                        name,
                        value.reveal(),
                        content_type=content_type,
                        tags=dict(tags),
                        expires_on=expires_on,
                        **limits,
                    ),
                )
                return written.properties.version or ""
            except VaultError as error:
                uncertain = error.cause is Cause.VAULT_UNAVAILABLE and error.sent
                if isinstance(error, _BeingRecoveredError) and error.recover:
                    self._recover(name, deadline)
                raise

        return self._retrying(put, deadline)

    def describe(
        self,
        name: str,
        version: str,
        *,
        content_type: str,
        tags: Mapping[str, str],
        expires_on: datetime | None,
        deadline: Deadline,
    ) -> None:
        """Change tags and attributes of a version in place. Raises VaultError."""

        def patch() -> None:
            self._call(
                "set",
                name,
                deadline,
                lambda **limits: self._client.update_secret_properties(
                    name, version, content_type=content_type, tags=dict(tags), expires_on=expires_on, **limits
                ),
            )

        self._retrying(patch, deadline)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def _read_once(self, name: str, deadline: Deadline) -> StoredSecret | None:
        try:
            return _stored(self._call("get", name, deadline, lambda **limits: self._client.get_secret(name, **limits)))
        except VaultError as error:
            if error.cause is Cause.SECRET_MISSING:
                return None
            raise

    def _find_lost_write(self, name: str, value: Secret, tags: Mapping[str, str], deadline: Deadline) -> str | None:
        """The version of a write whose answer was lost, where it arrived all the same."""
        stored = self._read_once(name, deadline)
        if stored is not None and stored.value == value and dict(stored.tags) == dict(tags):
            return stored.version
        return None

    def _recover(self, name: str, deadline: Deadline) -> None:
        # The poller that this returns is not waited for: the write is simply tried again.
        self._call(
            "recover", name, deadline, lambda **limits: self._client.begin_recover_deleted_secret(name, **limits)
        )

    def _retrying(self, operation: Callable[[], _T], deadline: Deadline) -> _T:
        for attempt in retrying(self._clock, deadline, attempts=_ATTEMPTS):
            with attempt:
                self._gate.wait(deadline)
                return operation()
        raise AssertionError  # pragma: no cover - tenacity returns or raises

    def _call(self, operation: str, name: str, deadline: Deadline, request: Callable[..., _T]) -> _T:
        """One request, within the deadline; the SDK's errors become ours, none of its text with them."""
        remaining = max(0.1, deadline.remaining())
        failure: VaultError
        try:
            return request(
                connection_timeout=min(CONNECT_TIMEOUT, remaining), read_timeout=min(READ_TIMEOUT, remaining)
            )
        except ResourceNotFoundError:
            failure = _missing(name, self.url)
        except HttpResponseError as error:
            failure = self._translate(operation, name, error)
        except (ServiceRequestError, ServiceResponseError) as error:
            failure = VaultError(
                f"{self.url} did not answer ({operation} of secret {name})",
                cause=Cause.VAULT_UNAVAILABLE,
                hint="Check the vault's address, its firewall and the network; the next tick tries again.",
                transient=True,
                sent=isinstance(error, ServiceResponseError),
            )
        except (AzureError, JSONDecodeError):
            # An identity endpoint that answers 500 with an empty body lets a bare JSONDecodeError out of the SDK.
            failure = _no_identity()
        raise failure

    def _translate(self, operation: str, name: str, error: HttpResponseError) -> VaultError:
        if isinstance(error, ClientAuthenticationError) and error.status_code is None:
            return _no_identity()
        status = error.status_code or 0
        code = _inner_code(error)
        what = f"{operation} of secret {name} in {self.url}"
        if status == _THROTTLED:
            retry_after = _retry_after(error, self._clock) or 1.0
            self._gate.close(retry_after)
            return VaultError(
                f"Key Vault throttles requests ({what})",
                cause=Cause.VAULT_THROTTLED,
                hint="The next tick tries again; look for other heavy users of this vault.",
                transient=True,
                retry_after=retry_after,
            )
        if status == _CONFLICT and code in _RECOVERABLE:
            return _BeingRecoveredError(what, recover=code == "ObjectIsDeletedButRecoverable")
        if status == _FORBIDDEN and code == "SecretDisabled":
            return VaultError(
                f"the newest version of secret {name} in {self.url} is disabled",
                cause=Cause.SECRET_DISABLED,
                hint=f"Enable it (az keyvault secret set-attributes --name {name} --enabled true) or store a new one.",
            )
        if status in {401, _FORBIDDEN}:
            role = "Key Vault Secrets User" if operation == "get" else "Key Vault Secrets Officer"
            return VaultError(
                f"Key Vault refused {what}",
                cause=Cause.VAULT_FORBIDDEN,
                hint=f"Give the app's identity the role {role!r} on that secret, and let it through the firewall.",
            )
        # Without a status the SDK could not read the answer: a page, most likely of something on the way.
        passing = status >= _SERVER_ERRORS or status in {_UNREADABLE, _REQUEST_TIMEOUT, _CONFLICT}
        answer = str(status) if status else "something that is not its own"
        return VaultError(
            f"Key Vault answered {answer} ({what})",
            cause=Cause.VAULT_UNAVAILABLE,
            hint="The next tick tries again." if passing else "Check the secret's name and the vault's state.",
            transient=passing,
            retry_after=_retry_after(error, self._clock),
        )


_RECOVERABLE = frozenset({"ObjectIsDeletedButRecoverable", "ObjectIsBeingRecovered"})
_RECOVERY_TAKES = 1.0


class _BeingRecoveredError(VaultError):
    """A soft-deleted name stands in the way of a write; recovering it takes a moment."""

    def __init__(self, what: str, *, recover: bool) -> None:
        super().__init__(
            f"the name is soft-deleted ({what})",
            cause=Cause.VAULT_UNAVAILABLE,
            hint="Recover the secret (az keyvault secret recover) or purge it.",
            transient=True,
            retry_after=_RECOVERY_TAKES,
            sent=False,
        )
        self.recover = recover


def _missing(name: str, url: str) -> VaultError:
    return VaultError(
        f"secret {name} is not in {url}",
        cause=Cause.SECRET_MISSING,
        hint=f"Store it: az keyvault secret set --vault-name VAULT --name {name} --file FILE",
    )


def _no_identity() -> VaultError:
    return VaultError(
        "no token for Key Vault could be had from the identity endpoint",
        cause=Cause.IDENTITY_UNAVAILABLE,
        hint="Check the app's managed identity and AZURE_CLIENT_ID; on a laptop, run az login.",
        transient=True,
        sent=False,
    )


def _inner_code(error: HttpResponseError) -> str | None:
    inner = getattr(error.error, "innererror", None)
    code = inner.get("code") if isinstance(inner, Mapping) else None
    return code if isinstance(code, str) else None


def _retry_after(error: HttpResponseError, clock: Clock) -> float | None:
    headers = getattr(error.response, "headers", None) or {}
    value = headers.get("Retry-After")
    return parse_retry_after(value, clock.now()) if isinstance(value, str) else None


def _stored(secret: KeyVaultSecret) -> StoredSecret:
    properties = secret.properties
    return StoredSecret(
        name=secret.name or "",
        version=properties.version or "",
        value=Secret(secret.value or ""),
        content_type=properties.content_type,
        created_on=properties.created_on,
        expires_on=properties.expires_on,
        tags=dict(properties.tags or {}),
    )
