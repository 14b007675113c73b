"""The secrets of one connection, examined: present, readable, writable and well-formed.

That a secret may be written is tried by a change of its newest version that changes nothing.
"""

from collections.abc import Callable
from datetime import timedelta

from refresher.doctor.last_refresh import judge_last_refresh
from refresher.keyvault.errors import missing, vault_name
from refresher.keyvault.vaults import Vaults
from refresher.model import steps
from refresher.model.check import Check, failed, passed, warned
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection, SecretIdentifier
from refresher.model.errors import RefresherError, VaultError
from refresher.model.grants import JWT_KEY, REFRESH_TOKEN
from refresher.model.steps import Step
from refresher.model.stored import StoredSecret
from refresher.servicenow.assertion import build_assertion
from refresher.settings.load import Settings

_SOON = timedelta(days=14)


class Examination:
    """The secrets of one connection."""

    def __init__(
        self, connection: Connection, settings: Settings, clock: Clock, vaults: Vaults, deadline: Deadline
    ) -> None:
        self._connection = connection
        self._settings = settings
        self._clock = clock
        self._vaults = vaults
        self._deadline = deadline
        self._readable: dict[str, StoredSecret] = {}
        self._unreadable: set[str] = set()

    def checks(self) -> list[Check]:
        """Present, readable, writable, well-formed, and when a refresh last succeeded."""
        connection = self._connection
        written = [connection.access_token_name, connection.record_name]
        if connection.has_client_secret:
            written.insert(0, connection.refresh_token_name)
        jobs: list[Callable[[], Check]] = [
            *(lambda name=name: self._credential_check(name) for name in self._grant_secrets()),
            *([self._signing_check] if connection.signing_key is not None else []),
            *(lambda name=name: self._token_check(self._vaults.own(name)) for name in written),
            *(lambda target=target: self._token_check(target) for target in connection.publish_to),
        ]
        return [*self._vaults.executor.map(lambda job: job(), jobs), *self._last_refresh_check()]

    def _last_refresh_check(self) -> list[Check]:
        connection = self._connection
        if self._unreadable & {connection.record_name, connection.access_token_name}:
            return []
        vault = vault_name(self._settings.vault_url)
        return [judge_last_refresh(connection, self._readable, vault, self._clock.now())]

    def _grant_secrets(self) -> list[str]:
        """What its grants send, each once; the refresh token, which is written too, has checks of its own."""
        connection = self._connection
        sent = dict.fromkeys(
            suffix for grant in connection.configured_grants for suffix in connection.sends(grant).values()
        )
        return [connection.secret_name(suffix) for suffix in sent if suffix != REFRESH_TOKEN]

    def _credential_check(self, name: str) -> Check:
        where = self._vaults.own(name)
        secret = self._read(where)
        if isinstance(secret, Check):
            return secret
        if secret is None or not secret.value.stripped():
            detail = "missing" if secret is None else "empty"
            return failed(self._connection.name, name, detail, missing(name, where.vault_url).hint)
        if name == self._connection.secret_name(JWT_KEY):
            return self._key_check(secret)
        if secret.expires_on is not None and secret.expires_on < self._clock.now() + _SOON:
            detail = f"readable; its attribute says that it ends {secret.expires_on:%Y-%m-%d}"
            return warned(self._connection.name, name, detail, "Rotate it (docs/runbook/rotate.md).")
        return passed(self._connection.name, name, "readable")

    def _key_check(self, key: StoredSecret) -> Check:
        claims = self._connection.jwt
        try:
            if claims is not None:
                build_assertion(key.value, claims, key.value, now=self._clock.now(), jti="doctor")
        except RefresherError as error:
            return failed(self._connection.name, key.name, error.message, error.hint)
        return passed(self._connection.name, key.name, "a private key that fits the algorithm")

    def _signing_check(self) -> Check:
        """It may be read if it is described, and sign if it signs: a word that is no assertion."""
        name, claims = self._connection.name, self._connection.jwt
        if claims is None or claims.key is None:
            message = "the key that signs is a secret"
            raise ValueError(message)
        try:
            key = self._vaults.keys.find(claims, self._deadline)
            if isinstance(key, VaultError):
                return failed(name, claims.key.name, key.message, key.hint)
            key.sign(b"doctor", self._deadline)
        except VaultError as error:
            return failed(name, claims.key.name, f"readable; {error.message}", error.hint)
        return passed(name, claims.key.name, f"a key of the vault that signs by {claims.algorithm}")

    def _token_check(self, place: SecretIdentifier) -> Check:
        secret = self._read(place)
        if isinstance(secret, Check):
            return secret
        if secret is None:
            return self._absent_check(place)
        try:
            self._vaults.open(place.vault_url).touch(place.name, secret.version, self._deadline)
        except VaultError as error:
            return failed(self._connection.name, place.name, f"readable; {error.message}", error.hint)
        return passed(self._connection.name, place.name, "readable and writable")

    def _absent_check(self, place: SecretIdentifier) -> Check:
        try:
            if self._vaults.open(place.vault_url).is_deleted(place.name, self._deadline):
                return self._deleted_check(place)
        except VaultError:
            return passed(self._connection.name, place.name, "not there; whether it is soft-deleted may not be asked")
        return passed(self._connection.name, place.name, "not there yet; it is made when it is first needed")

    def _deleted_check(self, place: SecretIdentifier) -> Check:
        connection = self._connection
        if place in connection.publish_to:
            remedy = Step(
                "Deleted in Simple Chat with its action, most likely. The next tick recovers it. At once: ",
                steps.refresh(connection.name),
                ". Was it on purpose? Then take it out of publish_to.",
            )
            return failed(connection.name, place.name, "soft-deleted: its readers find no token", remedy)
        if place.name == connection.refresh_token_name:
            remedy = Step("Recover it: ", steps.recover_secret(vault_name(place.vault_url), place.name))
            return failed(connection.name, place.name, "soft-deleted", remedy)
        return warned(connection.name, place.name, "soft-deleted", "The next tick recovers it.")

    def _read(self, place: SecretIdentifier) -> StoredSecret | Check | None:
        try:
            secret = self._vaults.open(place.vault_url).read(place.name, self._deadline)
        except VaultError as error:
            self._unreadable.add(place.name)
            return failed(self._connection.name, place.name, error.message, error.hint)
        if secret is not None and place.vault_url == self._settings.vault_url:
            self._readable[place.name] = secret
        return secret
