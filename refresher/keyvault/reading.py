"""Reads of a run, side by side: what consumers see first, the credentials only when a token is to be requested."""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from datetime import datetime, timedelta

from refresher.keyvault.errors import missing
from refresher.keyvault.found import ConsumerSide, Credentials
from refresher.keyvault.tags import REVOKED_AT, parse_access_token, parse_record, parse_refresh_token
from refresher.keyvault.vault import Vault
from refresher.model.causes import Cause
from refresher.model.clock import Deadline
from refresher.model.connection import Connection, PublishTarget
from refresher.model.errors import VaultError
from refresher.model.grants import Grant
from refresher.model.stored import StoredRefreshToken, StoredSecret, TargetState
from refresher.model.tokens import ClientCredentials, PasswordCredentials, Secret
from refresher.policy.grants import is_ready
from refresher.policy.record import RefreshRecord

OTHERS_TAKE = timedelta(seconds=5)
SHARE_OF_OTHERS = 0.25
"""Of a run's time, for a target in another vault: one that hangs must not keep the token from all the others."""
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
    ) -> tuple[ConsumerSide, StoredRefreshToken | None, bool]:
        """One parallel round: the tokens, the refresh token's life, whether the fallback grant could start another."""
        place = self._own(connection.refresh_token_name)
        needed = [self._own(name) for name in _names_for(connection, connection.fallback_grant)]
        found = self._read((*self._consumer_names(connection), place, *needed), deadline)
        side = self._consumer_side(connection, found)
        ready = _is_fallback_ready(connection, [found[each] for each in needed], side.record)
        return side, _refresh_token(connection, _checked(found[place]), now), ready

    def _consumer_names(self, connection: Connection) -> tuple[PublishTarget, ...]:
        return (
            self._own(connection.access_token_name),
            self._own(connection.record_name),
            *connection.publish_to,
        )

    def _credential_names(self, connection: Connection) -> tuple[PublishTarget, ...]:
        names = [connection.client_id_name, connection.client_secret_name, connection.refresh_token_name]
        for grant in (connection.grant, connection.fallback_grant):
            names += _names_for(connection, grant)
        return tuple(self._own(name) for name in names)

    def _own(self, name: str) -> PublishTarget:
        return PublishTarget(vault_url=self._vault_url, name=name)

    def _read(self, places: Sequence[PublishTarget], deadline: Deadline) -> dict[PublishTarget, Found]:
        def read(place: PublishTarget) -> Found:
            own = place.vault_url == self._vault_url
            allowed = deadline if own else deadline.part(SHARE_OF_OTHERS, OTHERS_TAKE)
            try:
                return self._open_vault(place.vault_url).read(place.name, allowed)
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
        errors: dict[Grant, VaultError] = {}

        def of_grant(grant: Grant, name: str) -> StoredSecret | None:
            held = found.get(self._own(name))
            if not isinstance(held, VaultError):
                return held
            errors[grant] = held
            return None

        stored = of_grant(Grant.REFRESH_TOKEN, connection.refresh_token_name)
        if connection.grant in errors:
            raise errors[connection.grant]
        username = of_grant(Grant.PASSWORD, connection.username_name)
        password = of_grant(Grant.PASSWORD, connection.password_name)
        key = of_grant(Grant.JWT_BEARER, connection.jwt_key_name)
        return Credentials(
            client=ClientCredentials(
                client_id=self._required(found, connection.client_id_name),
                client_secret=self._required(found, connection.client_secret_name),
            ),
            refresh_token_secret=stored,
            refresh_token=_refresh_token(connection, stored, now),
            password=_password(username, password),
            password_version=password.version if password else None,
            jwt_key=key.value if key else None,
            errors=errors,
        )

    def _required(self, found: Mapping[PublishTarget, Found], name: str) -> Secret:
        return required_secret(_checked(found[self._own(name)]), name, self._vault_url)


def _names_for(connection: Connection, grant: Grant | None) -> tuple[str, ...]:
    """Secrets that only this grant needs; of the password grant, the password last."""
    match grant:
        case Grant.PASSWORD:
            return (connection.username_name, connection.password_name)
        case Grant.JWT_BEARER:
            return (connection.jwt_key_name,)
        case _:
            return ()


def _is_fallback_ready(connection: Connection, needed: Sequence[Found], record: RefreshRecord) -> bool:
    versions = [each.version for each in needed if isinstance(each, StoredSecret) and each.value.stripped()]
    complete = len(versions) == len(needed)
    return is_ready(
        connection.fallback_grant,
        password_version=versions[-1] if complete and versions else None,
        has_key=complete,
        record=record,
    )


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


def _password(username: StoredSecret | None, password: StoredSecret | None) -> PasswordCredentials | None:
    if username is None or password is None or not (username.value.stripped() and password.value.stripped()):
        return None
    return PasswordCredentials(username=username.value.stripped(), password=password.value.stripped())


def _checked(found: Found) -> StoredSecret | None:
    if isinstance(found, VaultError):
        raise found
    return found
