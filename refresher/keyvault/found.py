"""What consumers can read, and what a status is judged by, as one round of reads found it, in plain values."""

from collections.abc import Mapping
from typing import NamedTuple

from refresher.model.causes import Cause
from refresher.model.connection import SecretIdentifier
from refresher.model.errors import VaultError
from refresher.model.stored import KeyLife, StoredAccessToken, StoredRefreshToken, StoredSecret, TargetState
from refresher.policy.record import RefreshRecord


class ConsumerSide(NamedTuple):
    """What consumers can read now, and the record of failures."""

    secret: StoredSecret | None
    """The main secret; None also where it cannot be read, which `target_errors` tells then."""
    source: StoredSecret | None
    """Where `access_token` was read: the main secret, or its own copy that ends last where that cannot be read."""
    access_token: StoredAccessToken | None
    targets: tuple[TargetState, ...]
    """Copies, and the main secret itself where it cannot be read."""
    target_secrets: Mapping[SecretIdentifier, StoredSecret | None]
    target_errors: Mapping[SecretIdentifier, VaultError]
    record_secret: StoredSecret | None
    record: RefreshRecord
    main_unreadable: bool = False
    record_error: VaultError | None = None
    """Why the record cannot be read, which stops nothing."""

    @property
    def shut(self) -> tuple[SecretIdentifier, ...]:
        """Places whose newest version somebody disabled, most likely on purpose."""
        return tuple(place for place, error in self.target_errors.items() if error.cause is Cause.SECRET_DISABLED)

    @property
    def is_dated(self) -> bool:
        """Whether the dates of a token are known, or there is none for sure; the record tells otherwise."""
        return self.access_token is not None or not self.main_unreadable


class Overview(NamedTuple):
    """What a status is judged by."""

    side: ConsumerSide
    refresh_token: StoredRefreshToken | None
    fallback_ready: bool
    """Whether the fallback grant could start another life."""
    key: KeyLife | VaultError | None = None
    """Of the key of a vault that signs; None where none does."""
    untried: tuple[str, ...] = ()
    """Names of credentials that somebody stored after the last attempt."""
    blocked: VaultError | None = None
    """What keeps a refresh from being asked for, of which no record tells: a credential missing, or not to be read."""
    by_app: bool = True
    """Whether the app itself looked; what is refused to another says nothing of what the app may do."""

    @property
    def hindered(self) -> VaultError | None:
        """What keeps the app from asking for a refresh, as far as whoever looked can tell."""
        unseen = self.blocked is not None and self.blocked.cause is Cause.VAULT_FORBIDDEN and not self.by_app
        return None if unseen else self.blocked
