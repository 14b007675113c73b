"""Writes of a run, in an order that survives a crash between any two of them.

A changed refresh token first: it may be the only one that ServiceNow still accepts. Then the access token and its
copies for consumers, side by side: whichever of them a crash leaves out, their dates tell the next run which is newer.
An unchanged refresh token is described, not written again. A name that was deleted comes back within half a minute:
what else there is to write is written meanwhile.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import NamedTuple

from refresher.keyvault.dates import RefusedError
from refresher.keyvault.errors import BeingRecoveredError
from refresher.keyvault.found import ConsumerSide
from refresher.keyvault.tags import (
    ACCESS_TOKEN_CONTENT_TYPE,
    CREDENTIAL_CONTENT_TYPE,
    RECORD_CONTENT_TYPE,
    RECORD_VALUE,
    REFRESH_TOKEN_CONTENT_TYPE,
    record_tags,
    refresh_token_tags,
)
from refresher.keyvault.vault import Vault
from refresher.keyvault.vaults import Vaults, short_share
from refresher.model.clock import Deadline
from refresher.model.connection import Connection, SecretIdentifier
from refresher.model.errors import VaultError
from refresher.model.stored import StoredSecret
from refresher.model.tokens import Secret
from refresher.policy.record import RefreshRecord


class Published(NamedTuple):
    """A token with all that is written beside it."""

    value: Secret
    tags: Mapping[str, str]
    expires_on: datetime


def write_refresh_token(
    vaults: Vaults,
    connection: Connection,
    value: Secret,
    life: tuple[datetime, datetime],
    stored: StoredSecret | None,
    deadline: Deadline,
) -> str:
    """Store a refresh token with its life, an equal value by changing its tags; returns the version.

    Raises VaultError; BeingRecoveredError at once, so that the access token need not wait for this one.
    """
    return vaults.main.write(
        connection.refresh_token_name,
        value,
        content_type=REFRESH_TOKEN_CONTENT_TYPE,
        tags=refresh_token_tags(connection.name, *life),
        expires_on=life[1],
        stored=stored,
        deadline=deadline,
        irreplaceable=True,
    )


def write_credentials(
    vaults: Vaults, connection: Connection, values: Mapping[str, Secret], deadline: Deadline
) -> None:
    """Store what a person brought, by the ends of the secrets' names, in that order. Raises VaultError."""
    for suffix, value in values.items():
        name, tags = connection.secret_name(suffix), {"connection": connection.name}
        _write_own(vaults, name, value, CREDENTIAL_CONTENT_TYPE, tags=tags, expires_on=None, deadline=deadline)


def write_access_token(
    vaults: Vaults,
    connection: Connection,
    token: Published,
    side: ConsumerSide,
    deadline: Deadline,
    *,
    also_shut: bool,
) -> Mapping[SecretIdentifier, VaultError]:
    """Store the access token and its copies side by side; returns the places that could not be written.

    What somebody disabled is left alone, unless `also_shut` asks for a new version of it.
    Raises VaultError where the main secret could not be written, after every target was tried.
    """
    main = vaults.own(connection.access_token_name)
    places = {main: side.secret, **{target: side.target_secrets.get(target) for target in connection.publish_to}}
    shut = () if also_shut else side.shut
    places = {place: held for place, held in places.items() if place not in shut}
    failed = _write(vaults, places, token, deadline, hurried=side.target_errors.keys() - {main})
    failure = failed.pop(main, None)
    if failure is not None:
        raise failure
    return failed


def write_targets(
    vaults: Vaults, targets: tuple[SecretIdentifier, ...], token: Published, side: ConsumerSide, deadline: Deadline
) -> Mapping[SecretIdentifier, VaultError]:
    """Write copies side by side; returns those that failed."""
    return _write(vaults, {target: side.target_secrets.get(target) for target in targets}, token, deadline)


def write_record(
    vaults: Vaults,
    connection: Connection,
    record: RefreshRecord,
    *,
    version: str | None,
    expires_on: datetime | None,
    deadline: Deadline,
) -> str:
    """Write the record: made when first needed (`version` None), changed in place from then on.

    `expires_on` is None where it ends late enough. Returns its version. Raises VaultError.
    """
    vault, name = vaults.main, connection.record_name
    tags = record_tags(connection.name, record)
    if version is not None:
        # A policy may count from the version's creation, so that only another one can end later.
        with suppress(RefusedError):
            vault.describe(
                name,
                version,
                content_type=RECORD_CONTENT_TYPE,
                tags=tags,
                expires_on=expires_on,
                deadline=deadline,
                or_undated=False,
            )
            return version
    value, kind = Secret(RECORD_VALUE), RECORD_CONTENT_TYPE
    return _write_own(vaults, name, value, kind, tags=tags, expires_on=expires_on, deadline=deadline)


def _write_own(
    vaults: Vaults,
    name: str,
    value: Secret,
    content_type: str,
    *,
    tags: Mapping[str, str],
    expires_on: datetime | None,
    deadline: Deadline,
) -> str:
    """Write a new version, once its name is recovered where it was deleted; returns it. Raises VaultError."""
    write = partial(vaults.main.write, name, value, content_type=content_type, tags=tags, expires_on=expires_on)
    return vaults.main.once_recovered(lambda: write(stored=None, deadline=deadline), deadline)


def _write(
    vaults: Vaults,
    places: Mapping[SecretIdentifier, StoredSecret | None],
    token: Published,
    deadline: Deadline,
    hurried: Collection[SecretIdentifier] = (),
) -> dict[SecretIdentifier, VaultError]:
    """Write a token to places, of which it is known what they hold, and then to those that were being recovered.

    A copy that could not be read before is hurried. What is being recovered is waited for in the run's own thread; the
    recoveries go on side by side all the same.
    """

    def limit_of(place: SecretIdentifier) -> Deadline:
        return short_share(deadline) if place in hurried else deadline

    def write(vault: Vault, place: SecretIdentifier, limit: Deadline) -> str:
        return vault.write(
            place.name,
            token.value,
            content_type=ACCESS_TOKEN_CONTENT_TYPE,
            tags=token.tags,
            expires_on=token.expires_on,
            stored=places[place],
            deadline=limit,
        )

    results = vaults.at_each(places, write, limit_of)
    for place, result in results.items():
        if isinstance(result, BeingRecoveredError):
            results[place] = vaults.once_recovered(place, write, limit_of(place))
    return {place: result for place, result in results.items() if isinstance(result, VaultError)}
