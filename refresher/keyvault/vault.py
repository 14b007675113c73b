"""Azure Key Vault: secrets read, written and patched within a run's deadline.

It knows what the SDK does not: a write whose answer was lost is looked up before it is sent again (the SDK's
PUT would leave an extra, equal version), and a soft-deleted name is recovered, which takes its time, then written.
Permission needed: secrets get, set (which includes changing tags) and recover.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, TypeVar

import tenacity
from azure.keyvault.secrets import KeyVaultSecret, SecretClient, SecretProperties

from refresher.keyvault.asking import Requests
from refresher.keyvault.dates import Dates
from refresher.keyvault.errors import BeingRecoveredError, disabled, missing, overdue, translate
from refresher.keyvault.throttle import CREATION_WINDOW, CREATIONS, Pace
from refresher.model.causes import Cause
from refresher.model.clock import Clock, Deadline
from refresher.model.errors import VaultError
from refresher.model.stored import StoredSecret
from refresher.model.tokens import Secret

_T = TypeVar("_T")

_LOOKS_AGAIN_AFTER = 2.0
"""Seconds. A recovery takes from 4 to 30; the SDK looks as often."""


class Vault:
    """One vault. Safe to share between threads; keep it for the life of the process (it holds the warm connection)."""

    def __init__(self, url: str, client: SecretClient, clock: Clock) -> None:
        self.url = url
        self._client = client
        self._clock = clock
        self._requests = Requests(url, "secret", clock, missing=missing, translate=translate)
        self._pace = Pace(clock, CREATIONS, CREATION_WINDOW)
        self.dates = Dates()

    def read(self, name: str, deadline: Deadline) -> StoredSecret | None:
        """The newest version of a secret; None where there is none (soft-deleted included). Raises VaultError."""
        return self._requests.retrying(lambda: self._read_once(name, deadline), deadline)

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
        irreplaceable: bool = False,
    ) -> str:
        """Write a secret and return its version. A value equal to `stored` makes no new version: tags change.

        Where a policy refuses `expires_on`, the value is stored with another date, or none (`dates`). An irreplaceable
        one is sent even where the vault should be left alone for longer than there is time. Raises VaultError;
        BeingRecoveredError where the name was deleted, as soon as its recovery was begun. What was
        there before is untouched by a write that fails.
        """
        if stored is not None and stored.value == value:
            self.describe(
                name, stored.version, content_type=content_type, tags=tags, expires_on=expires_on, deadline=deadline
            )
            return stored.version
        uncertain = False

        def put(date: datetime | None) -> str:
            nonlocal uncertain
            arrived = self._find_lost_write(name, value, tags, deadline) if uncertain else None
            if arrived is not None:
                return arrived
            uncertain = False
            self._pace.wait(deadline, insist=irreplaceable)
            self._requests.gate.wait(deadline, insist=irreplaceable)
            if deadline.remaining() <= 0:
                raise overdue(name, self.url)
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
                        expires_on=date,
                        **limits,
                    ),
                )
                return written.properties.version or ""
            except VaultError as error:
                # Behind a proxy, the SDK takes a tunnel that broke for a request that never left.
                uncertain = error.cause is Cause.VAULT_UNAVAILABLE and not isinstance(error, BeingRecoveredError)
                if isinstance(error, BeingRecoveredError) and error.recover:
                    self._recover(name, deadline)
                raise

        return self.dates.first_accepted(
            lambda date: self._requests.retrying(lambda: put(date), deadline, insist=irreplaceable),
            expires_on,
            self._clock.now(),
        )

    def once_recovered(self, write: Callable[[], _T], deadline: Deadline) -> _T:
        """Write, and for as long as the name is being recovered, wait and write again. Raises VaultError."""
        loop = tenacity.Retrying(
            sleep=self._clock.sleep,
            wait=tenacity.wait_fixed(_LOOKS_AGAIN_AFTER),
            stop=lambda _: deadline.remaining() <= _LOOKS_AGAIN_AFTER,
            retry=tenacity.retry_if_exception_type(BeingRecoveredError),
            reraise=True,
        )
        return loop(write)

    def describe(
        self,
        name: str,
        version: str,
        *,
        content_type: str,
        tags: Mapping[str, str],
        expires_on: datetime | None,
        deadline: Deadline,
        or_undated: bool = True,
    ) -> None:
        """Change tags and attributes of a version in place; None for `expires_on` leaves that.

        `or_undated`: so does a policy that refuses every date. Raises VaultError.
        """
        self.dates.first_accepted(
            lambda date: self._patch(
                name, version, deadline, content_type=content_type, tags=dict(tags), expires_on=date
            ),
            expires_on,
            self._clock.now(),
            or_none=or_undated,
        )

    def touch(self, name: str, version: str | None, deadline: Deadline) -> StoredSecret:
        """Ask for a change of nothing, of the newest version where none is named: all but the value, as it stands.

        It fails where changing the secret is not permitted; it may be where reading is not, and where it is disabled.
        Raises VaultError.
        """
        return _described(name, self._patch(name, version, deadline), value="")

    def versions(self, name: str, deadline: Deadline) -> tuple[StoredSecret, ...]:
        """All versions of a secret, in no order that means anything, without their values. Raises VaultError.

        Key Vault lists them by version id, 25 to a page; only their tags say which came when.
        """

        def pages(**limits: float) -> tuple[StoredSecret, ...]:
            listed = self._client.list_properties_of_secret_versions(name, **limits)
            return tuple(_described(name, properties, value="") for properties in listed)

        try:
            return self._requests.retrying(lambda: self._call("list", name, deadline, pages), deadline)
        except VaultError as error:
            if error.cause is Cause.SECRET_MISSING:
                return ()
            raise

    def list_all(self, deadline: Deadline) -> dict[str, StoredSecret | VaultError]:
        """All secrets by name, without their values; of one that is disabled, the error. Raises VaultError."""

        def pages(**limits: float) -> dict[str, StoredSecret | VaultError]:
            listed = ((each.name or "", each) for each in self._client.list_properties_of_secrets(**limits))
            return {
                name: disabled(name, self.url) if each.enabled is False else _described(name, each, value="")
                for name, each in listed
            }

        return self._requests.retrying(lambda: self._call("list", "*", deadline, pages), deadline)

    def is_deleted(self, name: str, deadline: Deadline) -> bool:
        """Whether the name is soft-deleted. Raises VaultError."""
        try:
            self._call("list", name, deadline, lambda **limits: self._client.get_deleted_secret(name, **limits))
        except VaultError as error:
            if error.cause is Cause.SECRET_MISSING:
                return False
            raise
        return True

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

    def _patch(
        self,
        name: str,
        version: str | None,
        deadline: Deadline,
        **changes: Any,  # noqa: ANN401 - the SDK's
    ) -> SecretProperties:
        def patch() -> SecretProperties:
            if deadline.remaining() <= 0:
                raise overdue(name, self.url)
            return self._call(
                "set",
                name,
                deadline,
                lambda **limits: self._client.update_secret_properties(name, version, **changes, **limits),
            )

        return self._requests.retrying(patch, deadline)

    def _find_lost_write(self, name: str, value: Secret, tags: Mapping[str, str], deadline: Deadline) -> str | None:
        """The version of a write whose answer was lost, where it arrived all the same."""
        stored = self._read_once(name, deadline)
        if stored is not None and stored.value == value and dict(stored.tags) == dict(tags):
            return stored.version
        return None

    def _recover(self, name: str, deadline: Deadline) -> None:
        """Begin it. Where somebody else did meanwhile, there is nothing left to begin."""
        # The poller that this returns is not waited for: a name that can be read again may still refuse a write
        # (https://github.com/Azure/azure-sdk-for-net/issues/31581).
        try:
            self._call(
                "recover", name, deadline, lambda **limits: self._client.begin_recover_deleted_secret(name, **limits)
            )
        except BeingRecoveredError:
            return
        except VaultError as error:
            if error.cause is not Cause.SECRET_MISSING:
                raise

    def _call(self, operation: str, name: str, deadline: Deadline, request: Callable[..., _T]) -> _T:
        def ask(**limits: float) -> _T:
            answer = request(**limits)
            if isinstance(answer, KeyVaultSecret | SecretProperties) and not answer.id:
                message = "no secret has no address"
                raise ValueError(message)
            return answer

        return self._requests.once(operation, name, deadline, ask)


def _stored(secret: KeyVaultSecret) -> StoredSecret:
    return _described(secret.name or "", secret.properties, secret.value or "")


def _described(name: str, properties: SecretProperties, value: str) -> StoredSecret:
    return StoredSecret(
        name=name,
        version=properties.version or "",
        value=Secret(value),
        content_type=properties.content_type,
        created_on=properties.created_on,
        expires_on=properties.expires_on,
        tags=dict(properties.tags or {}),
        updated_on=properties.updated_on,
    )
