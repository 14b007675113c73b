"""What was replaced in the vault since the last success, credential by credential. No I/O.

A credential counts as compared where the vault says since when its newest version is there. What cannot be read, is
not there, or has no such date is named as not compared: nothing is said of it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from refresher.keyvault.tags import parse_refresh_token
from refresher.model.connection import Connection
from refresher.model.grants import REFRESH_TOKEN
from refresher.model.stored import StoredKey, StoredSecret

WRITES_TAKE = timedelta(minutes=2)
"""A run stores a refresh token and then dates the access token by its own clock, not by Key Vault's."""
Known = StoredSecret | StoredKey | str
"""A credential, or why it is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replaced:
    """A credential whose newest version is younger than the last success."""

    name: str
    suffix: str
    """How the secret's name ends; empty for a key of a vault."""
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Every credential beside the last success, in one of three lists."""

    replaced: Sequence[Replaced]
    """The youngest first: it is suspected first."""
    older: Sequence[str]
    unknown: Sequence[str]
    """Names, each with the reason."""


def sent_by(connection: Connection) -> tuple[str, ...]:
    """How the names of the secrets end that its grants send, each once."""
    return tuple(
        dict.fromkeys(suffix for grant in connection.configured_grants for suffix in connection.sends(grant).values())
    )


def compare(
    connection: Connection, credentials: Mapping[str, Known], key: Known | None, since: datetime, now: datetime
) -> Comparison:
    """Compare what the connection sends, and the key of a vault that signs for it, with a success at that moment.

    `credentials` by the ends of their names; what is not in there is not in the vault.
    """
    replaced: list[Replaced] = []
    older, unknown = [], []
    known: list[tuple[str, str, Known]] = [
        (connection.secret_name(suffix), suffix, credentials.get(suffix, "it is not there"))
        for suffix in dict.fromkeys((*sent_by(connection), *credentials))
    ]
    if connection.signing_key is not None:
        known.append((f"key {connection.signing_key.name}", "", key if key is not None else "it was not looked at"))
    for name, suffix, found in known:
        at = None if isinstance(found, str) else _stored_at(connection, suffix, found, now)
        if isinstance(found, str):
            unknown.append(f"{name} ({found})")
        elif at is None:
            unknown.append(f"{name} (the vault does not say since when it is there)")
        elif at > since + WRITES_TAKE:
            replaced.append(Replaced(name=name, suffix=suffix, at=at))
        else:
            older.append(name)
    return Comparison(replaced=sorted(replaced, key=lambda each: each.at, reverse=True), older=older, unknown=unknown)


def _stored_at(connection: Connection, suffix: str, found: StoredSecret | StoredKey, now: datetime) -> datetime | None:
    """When somebody put it there: a refresh token that the product stored, ServiceNow gave it."""
    if suffix == REFRESH_TOKEN and isinstance(found, StoredSecret):
        token = parse_refresh_token(found, lifetime=connection.refresh_token_lifetime, now=now)
        if token.own:
            return min(token.issued_at, found.created_on or token.issued_at)
    return found.created_on
