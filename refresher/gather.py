"""Reads of a run, side by side: what consumers see first, the credentials only when a token is to be requested."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import datetime

from refresher.clock import Deadline
from refresher.errors import Cause, VaultError
from refresher.policy import TargetState
from refresher.record import (
    REVOKED_AT,
    StoredRefreshToken,
    StoredSecret,
    parse_access_token,
    parse_record,
    parse_refresh_token,
)
from refresher.settings import Connection, PublishTarget
from refresher.state import ConsumerSide, Credentials
from refresher.tokens import ClientCredentials, Grant, PasswordCredentials, Secret
from refresher.vault import Vault
from refresher.vault_errors import missing

OpenVault = Callable[[str], Vault]
Found = StoredSecret | VaultError | None


class Gatherer:
    """Reads secrets in parallel."""

    def __init__(self, open_vault: OpenVault, vault_url: str, executor: Executor) -> None:
        self._open_vault = open_vault
        self._vault_url = vault_url
        self._executor = executor

    def consumer_side(self, connection: Connection, deadline: Deadline) -> ConsumerSide:
        """One parallel round: access token, targets, record. Raises VaultError; a target's error is kept aside."""
        return self._consumer_side(connection, self._read(self._consumer_names(connection), deadline))

    def everything(
        self, connection: Connection, now: datetime, deadline: Deadline
    ) -> tuple[ConsumerSide, Callable[[], Credentials]]:
        """One parallel round: the consumers' side, and the credentials, whose errors wait until they are asked for."""
        found = self._read((*self._consumer_names(connection), *self._credential_names(connection)), deadline)
        return self._consumer_side(connection, found), lambda: self._credentials(connection, found, now)

    def overview(
        self, connection: Connection, now: datetime, deadline: Deadline
    ) -> tuple[ConsumerSide, StoredRefreshToken | None]:
        """One parallel round: the consumers' side and the refresh token's life, for whoever asks how things stand."""
        place = self._own(connection.refresh_token_name)
        found = self._read((*self._consumer_names(connection), place), deadline)
        return self._consumer_side(connection, found), _refresh_token(connection, _checked(found[place]), now)

    def _consumer_names(self, connection: Connection) -> tuple[PublishTarget, ...]:
        return (
            self._own(connection.access_token_name),
            self._own(connection.record_name),
            *connection.publish_to,
        )

    def _credential_names(self, connection: Connection) -> tuple[PublishTarget, ...]:
        names = [connection.client_id_name, connection.client_secret_name, connection.refresh_token_name]
        if Grant.PASSWORD in {connection.grant, connection.fallback_grant}:
            names += [connection.username_name, connection.password_name]
        if Grant.JWT_BEARER in {connection.grant, connection.fallback_grant}:
            names.append(connection.jwt_key_name)
        return tuple(self._own(name) for name in names)

    def _own(self, name: str) -> PublishTarget:
        return PublishTarget(vault_url=self._vault_url, name=name)

    def _read(self, places: Sequence[PublishTarget], deadline: Deadline) -> dict[PublishTarget, Found]:
        def read(place: PublishTarget) -> Found:
            try:
                return self._open_vault(place.vault_url).read(place.name, deadline)
            except VaultError as error:
                return error

        return dict(zip(places, self._executor.map(read, places), strict=True))

    def _consumer_side(self, connection: Connection, found: Mapping[PublishTarget, Found]) -> ConsumerSide:
        secret = _checked(found[self._own(connection.access_token_name)])
        record_secret = _checked(found[self._own(connection.record_name)])
        states, secrets, errors = [], {}, {}
        for target in connection.publish_to:
            held = found[target]
            if isinstance(held, VaultError):
                errors[target] = held
                states.append(TargetState(target=target, holds=None, known=False))
            else:
                secrets[target] = held
                states.append(TargetState(target=target, holds=parse_access_token(held) if held else None))
        return ConsumerSide(
            secret=secret,
            access_token=parse_access_token(secret) if secret else None,
            targets=tuple(states),
            target_secrets=secrets,
            target_errors=errors,
            record_secret=record_secret,
            record=parse_record(record_secret),
        )

    def _credentials(self, connection: Connection, found: Mapping[PublishTarget, Found], now: datetime) -> Credentials:
        def optional(name: str) -> StoredSecret | None:
            return _checked(found.get(self._own(name)))

        stored = optional(connection.refresh_token_name)
        username, password = optional(connection.username_name), optional(connection.password_name)
        key = optional(connection.jwt_key_name)
        return Credentials(
            client=ClientCredentials(
                client_id=self._required(found, connection.client_id_name),
                client_secret=self._required(found, connection.client_secret_name),
            ),
            refresh_token_secret=stored,
            refresh_token=_refresh_token(connection, stored, now),
            password=PasswordCredentials(username=username.value.stripped(), password=password.value.stripped())
            if username and password
            else None,
            password_version=password.version if password else None,
            jwt_key=key.value if key else None,
        )

    def _required(self, found: Mapping[PublishTarget, Found], name: str) -> Secret:
        return required_secret(_checked(found[self._own(name)]), name, self._vault_url)


def required_secret(secret: StoredSecret | None, name: str, vault_url: str) -> Secret:
    """Its value without surrounding white space. Raises VaultError where it is missing or empty."""
    if secret is None:
        raise missing(name, vault_url)
    value = secret.value.stripped()
    if not value:
        message = f"secret {name} in {vault_url} is empty"
        raise VaultError(message, cause=Cause.SECRET_INVALID, hint=f"Store the value in {name}.")
    return value


def _refresh_token(connection: Connection, stored: StoredSecret | None, now: datetime) -> StoredRefreshToken | None:
    if stored is None or not stored.value.stripped() or REVOKED_AT in stored.tags:
        return None
    return parse_refresh_token(stored, lifetime=connection.refresh_token_lifetime, now=now)


def _checked(found: Found) -> StoredSecret | None:
    if isinstance(found, VaultError):
        raise found
    return found
