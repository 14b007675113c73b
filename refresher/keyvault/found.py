"""What consumers can read, as one round of reads found it, in plain values."""

from collections.abc import Mapping
from dataclasses import dataclass

from refresher.model.connection import PublishTarget
from refresher.model.errors import VaultError
from refresher.model.stored import StoredAccessToken, StoredSecret, TargetState
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
