"""Writes of a run, in an order that survives a crash between any two of them.

A changed refresh token first: it may be the only one that ServiceNow still accepts. Then the access token and its
copies for consumers, side by side: whichever of them a crash leaves out, their dates tell the next run which is newer.
An unchanged refresh token is described, not written again. A name that was deleted comes back within half a minute:
what else there is to write is written meanwhile.
"""

from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from dataclasses import dataclass
from datetime import datetime
from functools import partial

from refresher.keyvault.errors import BeingRecoveredError
from refresher.keyvault.found import ConsumerSide
from refresher.keyvault.reading import OTHERS_TAKE, SHARE_OF_OTHERS, OpenVault
from refresher.keyvault.tags import (
    ACCESS_TOKEN_CONTENT_TYPE,
    CREDENTIAL_CONTENT_TYPE,
    RECORD_CONTENT_TYPE,
    RECORD_VALUE,
    REFRESH_TOKEN_CONTENT_TYPE,
    record_tags,
    refresh_token_tags,
)
from refresher.model.clock import Deadline
from refresher.model.connection import Connection, PublishTarget
from refresher.model.errors import VaultError
from refresher.model.stored import StoredSecret
from refresher.model.tokens import Secret
from refresher.policy.record import RefreshRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A token with all that is written beside it."""

    value: Secret
    tags: Mapping[str, str]
    expires_on: datetime


class Publisher:
    """Writes tokens and the record."""

    def __init__(self, open_vault: OpenVault, vault_url: str, executor: Executor) -> None:
        self._open_vault = open_vault
        self._vault_url = vault_url
        self._executor = executor

    def write_refresh_token(
        self,
        connection: Connection,
        value: Secret,
        issued_at: datetime,
        expires_at: datetime,
        stored: StoredSecret | None,
        deadline: Deadline,
    ) -> str:
        """Store a refresh token with its life, an equal value by changing its tags; returns the version.

        Raises VaultError; BeingRecoveredError at once, so that the access token need not wait for this one.
        """
        return self._open_vault(self._vault_url).write(
            connection.refresh_token_name,
            value,
            content_type=REFRESH_TOKEN_CONTENT_TYPE,
            tags=refresh_token_tags(connection.name, issued_at, expires_at),
            expires_on=expires_at,
            stored=stored,
            deadline=deadline,
            irreplaceable=True,
        )

    def once_recovered(self, write: Callable[[], str], deadline: Deadline) -> str:
        """Write to the product's own vault, and wait for as long as the name is being recovered. Raises VaultError."""
        return self._open_vault(self._vault_url).once_recovered(write, deadline)

    def write_credentials(self, connection: Connection, values: Mapping[str, Secret], deadline: Deadline) -> None:
        """Store what a person brought, by the ends of the secrets' names, in that order. Raises VaultError."""
        vault = self._open_vault(self._vault_url)
        for suffix, value in values.items():
            write = partial(
                vault.write,
                connection.secret_name(suffix),
                value,
                content_type=CREDENTIAL_CONTENT_TYPE,
                tags={"connection": connection.name},
                expires_on=None,
                stored=None,
                deadline=deadline,
            )
            vault.once_recovered(write, deadline)

    def write_access_token(
        self, connection: Connection, token: Published, side: ConsumerSide, deadline: Deadline
    ) -> Mapping[PublishTarget, VaultError]:
        """Store the access token and its copies side by side; returns the targets that could not be written.

        Raises VaultError where the main secret could not be written, after every target was tried.
        """
        main = PublishTarget(vault_url=self._vault_url, name=connection.access_token_name)
        places = {main: side.secret, **self._targets(connection.publish_to, side)}
        failed = self._write_all(places, token, deadline, hurried=side.target_errors.keys())
        failure = failed.pop(main, None)
        if failure is not None:
            raise failure
        return failed

    def write_targets(
        self, targets: tuple[PublishTarget, ...], token: Published, side: ConsumerSide, deadline: Deadline
    ) -> Mapping[PublishTarget, VaultError]:
        """Write copies side by side; returns those that failed."""
        return self._write_all(self._targets(targets, side), token, deadline)

    def describe(
        self, place: PublishTarget, secret: StoredSecret, tags: Mapping[str, str], ends: datetime, deadline: Deadline
    ) -> None:
        """Change tags and end of a stored token, its value and version untouched. Raises VaultError."""
        self._open_vault(place.vault_url or self._vault_url).describe(
            place.name,
            secret.version,
            content_type=secret.content_type or ACCESS_TOKEN_CONTENT_TYPE,
            tags=tags,
            expires_on=ends,
            deadline=deadline,
        )

    def write_record(
        self, connection: Connection, record: RefreshRecord, *, version: str | None, deadline: Deadline
    ) -> str:
        """Write the record: made when first needed (`version` None), changed in place from then on.

        Returns its version. Raises VaultError.
        """
        vault, name = self._open_vault(self._vault_url), connection.record_name
        tags = record_tags(connection.name, record)
        if version is not None:
            vault.describe(
                name, version, content_type=RECORD_CONTENT_TYPE, tags=tags, expires_on=None, deadline=deadline
            )
            return version
        write = partial(
            vault.write,
            name,
            Secret(RECORD_VALUE),
            content_type=RECORD_CONTENT_TYPE,
            tags=tags,
            expires_on=None,
            stored=None,
            deadline=deadline,
        )
        return vault.once_recovered(write, deadline)

    def _targets(
        self, targets: tuple[PublishTarget, ...], side: ConsumerSide
    ) -> Mapping[PublishTarget, StoredSecret | None]:
        return {target: side.target_secrets.get(target) for target in targets}

    def _write_all(
        self,
        places: Mapping[PublishTarget, StoredSecret | None],
        token: Published,
        deadline: Deadline,
        hurried: Collection[PublishTarget] = (),
    ) -> dict[PublishTarget, VaultError]:
        """Write side by side, and then what was being recovered meanwhile.

        The threads are everybody's: what could not be read does not hold one for long, and what is being recovered is
        waited for in the run's own. The recoveries go on side by side all the same.
        """

        def write(place: PublishTarget, *, patiently: bool = False) -> VaultError | None:
            vault = self._open_vault(place.vault_url)
            allowed = deadline.part(SHARE_OF_OTHERS, OTHERS_TAKE) if place in hurried else deadline
            once = partial(
                vault.write,
                place.name,
                token.value,
                content_type=ACCESS_TOKEN_CONTENT_TYPE,
                tags=token.tags,
                expires_on=token.expires_on,
                stored=places[place],
                deadline=allowed,
            )
            try:
                if patiently:
                    vault.once_recovered(once, allowed)
                else:
                    once()
            except VaultError as error:
                return error
            return None

        results = dict(zip(places, self._executor.map(write, places), strict=True))
        for place, error in results.items():
            if isinstance(error, BeingRecoveredError):
                results[place] = write(place, patiently=True)
        return {place: error for place, error in results.items() if error is not None}
