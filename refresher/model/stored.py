"""What the vault holds, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import NamedTuple

from refresher.model.connection import SecretIdentifier
from refresher.model.grants import Grant
from refresher.model.tokens import Secret


class StoredSecret(NamedTuple):
    """A secret's newest version as Key Vault returned it."""

    name: str
    version: str
    value: Secret
    content_type: str | None = None
    created_on: datetime | None = None
    expires_on: datetime | None = None
    tags: Mapping[str, str] = MappingProxyType({})
    updated_on: datetime | None = None
    """When anything of it was last changed, by the vault's clock."""
    unread: bool = False
    """Whether its value may not be read: another stands for it, the same for what the tags call the same token."""


class StoredKey(NamedTuple):
    """A version of a key as Key Vault describes it: what it can sign, and when it may."""

    name: str
    vault_url: str
    version: str
    kind: str
    """`RSA` or `EC`, with `-HSM` at its end where hardware holds it, or something that signs no assertion."""
    curve: str | None = None
    bits: int = 0
    """Of an RSA key."""
    signs: bool = True
    """Whether its own list of operations has `sign`."""
    enabled: bool = True
    created_on: datetime | None = None
    not_before: datetime | None = None
    expires_on: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyLife:
    """When the last version ends that may sign: with `expires_on` None, nobody said, and it may be any day."""

    name: str
    expires_on: datetime | None


class StoredAccessToken(NamedTuple):
    """An access token in the vault. `issued_at` and `expires_at` are None where its metadata cannot be trusted."""

    value: Secret
    version: str
    issued_at: datetime | None
    expires_at: datetime | None
    confirmed_at: datetime | None = None
    """When ServiceNow last answered a request with this same token."""
    grant: Grant | None = None
    trigger: str | None = None
    run_id: str | None = None
    recent: str | None = None
    """What its tag tells of the tokens before it (`coverage.recall`)."""
    publisher: str | None = None
    """Which connection of which vault published it; None where its tags do not say."""
    accepted_by: str | None = None
    """Which probe last accepted a token of the connection (`Connection.probe_mark`)."""
    user_name: str | None = None
    """Whom the token acts as, where the probe told."""
    described: bool = True
    """Whether its tags are there; else its life is told by when it was stored, and by the secret's expiry."""
    user_before: str | None = None
    """Whom tokens acted as before that changed, until a person refreshes who has seen it."""
    revoked: bool = False
    """Whether an operator ended its life: how long it was then says nothing of the instance."""
    unread: bool = False
    """Whether its value may not be read: it can be judged by its dates, and not be tried."""

    @property
    def life(self) -> tuple[datetime, datetime] | None:
        """From its issue, or its latest confirmation by ServiceNow, to its end; None where that is unknown."""
        if self.issued_at is None or self.expires_at is None:
            return None
        return (self.confirmed_at or self.issued_at, self.expires_at)

    def lives_at(self, moment: datetime) -> bool:
        """Whether it is known to be alive then; one that was revoked is dead, also by a clock that is behind."""
        return not self.revoked and self.expires_at is not None and moment < self.expires_at


class StoredRefreshToken(NamedTuple):
    """The refresh token in the vault; `expires_at` follows from the start of its life and the configured lifetime."""

    value: Secret
    version: str
    issued_at: datetime
    expires_at: datetime
    described: bool
    """Whether its tags say so already."""
    own: bool
    """Whether the product stored this version: where it could, it can store the next one."""
    stored_at: datetime | None = None
    """When this version was stored, by the vault's clock."""


class TargetState(NamedTuple):
    """What a publish target holds; `holds` is None where it is missing, `known` False where it cannot be read."""

    target: SecretIdentifier
    holds: StoredAccessToken | None
    known: bool = True
