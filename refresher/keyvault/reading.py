"""Reads of a run, side by side: what consumers see first, the credentials only when a token is to be requested."""

from collections.abc import Callable, Mapping
from datetime import datetime

from refresher.keyvault.credentials import Credentials, Found, checked
from refresher.keyvault.found import ConsumerSide
from refresher.keyvault.tags import REVOKED_AT, parse_access_token, parse_record, parse_refresh_token
from refresher.keyvault.vaults import Vaults
from refresher.model.clock import Deadline
from refresher.model.connection import Connection, PublishTarget
from refresher.model.errors import VaultError
from refresher.model.grants import CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN
from refresher.model.stored import StoredRefreshToken, StoredSecret, TargetState
from refresher.policy.grants import is_ready


def read_consumer_side(vaults: Vaults, connection: Connection, deadline: Deadline) -> ConsumerSide:
    """One parallel round: access token, targets, record. Raises VaultError; a target's error is kept aside."""
    return _consumer_side(vaults, connection, vaults.read(_consumer_names(vaults, connection), deadline))


def read_everything(
    vaults: Vaults, connection: Connection, now: datetime, deadline: Deadline
) -> tuple[ConsumerSide, Callable[[], Credentials]]:
    """One parallel round: the consumers' side, and the credentials, whose errors wait until they are asked for."""
    found = vaults.read((*_consumer_names(vaults, connection), *_credential_names(vaults, connection)), deadline)
    credentials = _credentials(vaults, connection, found, now)
    return _consumer_side(vaults, connection, found), lambda: _demanded(connection, credentials)


def read_overview(
    vaults: Vaults, connection: Connection, now: datetime, deadline: Deadline
) -> tuple[ConsumerSide, StoredRefreshToken | None, bool]:
    """One parallel round: the tokens, the refresh token's life, whether the fallback grant could start another."""
    place = vaults.own(connection.refresh_token_name)
    fallback = connection.fallback_grant
    needed = [vaults.own(connection.secret_name(each)) for each in fallback.row.own_secrets] if fallback else []
    if connection.needs_client:
        needed.append(place)
    found = vaults.read((*_consumer_names(vaults, connection), *needed), deadline)
    side = _consumer_side(vaults, connection, found)
    credentials = _credentials(vaults, connection, found, now)
    ready = is_ready(
        fallback,
        complete=fallback is not None and credentials.has(fallback),
        password_version=credentials.password_version,
        record=side.record,
    )
    checked(found.get(place))
    return side, credentials.refresh_token, ready


def _consumer_names(vaults: Vaults, connection: Connection) -> tuple[PublishTarget, ...]:
    return (
        vaults.own(connection.access_token_name),
        vaults.own(connection.record_name),
        *connection.publish_to,
    )


def _credential_names(vaults: Vaults, connection: Connection) -> tuple[PublishTarget, ...]:
    suffixes = [REFRESH_TOKEN] if connection.needs_client else []
    suffixes += [suffix for grant in connection.configured_grants for suffix in grant.row.secrets]
    return tuple(vaults.own(connection.secret_name(suffix)) for suffix in dict.fromkeys(suffixes))


def _consumer_side(vaults: Vaults, connection: Connection, found: Mapping[PublishTarget, Found]) -> ConsumerSide:
    secret = checked(found[vaults.own(connection.access_token_name)])
    record_secret = checked(found[vaults.own(connection.record_name)])
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


def _credentials(
    vaults: Vaults, connection: Connection, found: Mapping[PublishTarget, Found], now: datetime
) -> Credentials:
    secrets = {place.name: held for place, held in found.items() if place.vault_url == vaults.own_url}
    stored = secrets.get(connection.refresh_token_name)
    refresh_token = _refresh_token(connection, stored, now) if isinstance(stored, StoredSecret) else None
    return Credentials(connection=connection, vault_url=vaults.own_url, secrets=secrets, refresh_token=refresh_token)


def _demanded(connection: Connection, credentials: Credentials) -> Credentials:
    """The credentials. Raises VaultError for what the connection cannot do without, whatever its fallback is."""
    for suffix in connection.grant.row.own_secrets:
        checked(credentials.secrets.get(connection.secret_name(suffix)))
    if all(grant.row.needs_client for grant in connection.configured_grants):
        credentials.required(CLIENT_ID)
        credentials.required(CLIENT_SECRET)
    return credentials


def _refresh_token(connection: Connection, stored: StoredSecret, now: datetime) -> StoredRefreshToken | None:
    if not stored.value.stripped() or REVOKED_AT in stored.tags:
        return None
    return parse_refresh_token(stored, lifetime=connection.refresh_token_lifetime, now=now)
