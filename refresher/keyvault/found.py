"""What one round of reads found, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from refresher.model.connection import PublishTarget
from refresher.model.errors import VaultError
from refresher.model.grants import Grant
from refresher.model.stored import StoredAccessToken, StoredRefreshToken, StoredSecret, TargetState
from refresher.model.tokens import ClientCredentials, PasswordCredentials, Secret
from refresher.policy.record import RefreshRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsumerSide:
    """What consumers can read now, and the record of failures."""

    secret: StoredSecret | None
    access_token: StoredAccessToken | None
    targets: tuple[TargetState, ...]
    target_secrets: Mapping[PublishTarget, StoredSecret | None]
    target_errors: Mapping[PublishTarget, VaultError]
    record_secret: StoredSecret | None
    record: RefreshRecord


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a token request may need; each part is None where the vault has none."""

    client: ClientCredentials
    refresh_token_secret: StoredSecret | None
    refresh_token: StoredRefreshToken | None
    password: PasswordCredentials | None
    password_version: str | None
    jwt_key: Secret | None
    errors: Mapping[Grant, VaultError] = field(default_factory=dict)
    """Why what only that grant needs could not be read."""
