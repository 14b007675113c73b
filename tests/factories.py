"""Plain values for the tests of the pure core: a token of an hour, issued at noon, and what belongs to it."""

from datetime import UTC, datetime, timedelta
from typing import Any

from refresher.keyvault.found import ConsumerSide
from refresher.model.connection import Connection, SecretIdentifier
from refresher.model.grants import Grant
from refresher.model.stored import StoredAccessToken, StoredRefreshToken, TargetState
from refresher.model.timing import Timing
from refresher.model.tokens import AccessToken, Secret
from refresher.policy.record import RefreshRecord
from refresher.settings.load import load_settings
from refresher.status.timer import TimerState, TimerStatus

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
SECOND = timedelta(seconds=1)
TIMING = Timing(interval=50 * MINUTE, tick=5 * MINUTE)
VAULT = "https://v.vault.azure.net"
TICKING = TimerStatus(state=TimerState.TICKING, message="the last tick was 1 min ago")


def connection(**settings: str) -> Connection:
    """The single connection, with settings of the test's own."""
    required = {"KEY_VAULT_URL": VAULT, "SERVICENOW_INSTANCE_URL": "https://x.service-now.com"}
    return load_settings({**required, **settings}).connections[0]


def stored_access_token(value: str = "CANARY-stored", /, **changes: Any) -> StoredAccessToken:  # noqa: ANN401
    """A stored token that lives from noon for an hour."""
    fields = {"version": "v1", "issued_at": NOON, "expires_at": NOON + HOUR, **changes}
    return StoredAccessToken(value=Secret(value), **fields)


def access_token(value: str = "CANARY-new", issued_at: datetime = NOON, lifetime: timedelta = HOUR) -> AccessToken:
    """A token as ServiceNow issued it."""
    return AccessToken(
        value=Secret(value), issued_at=issued_at, expires_at=issued_at + lifetime, grant=Grant.REFRESH_TOKEN
    )


def refresh_token(lifetime: timedelta = timedelta(days=100), version: str = "r1") -> StoredRefreshToken:
    """A refresh token whose life began at noon."""
    return StoredRefreshToken(
        value=Secret("CANARY-refresh"),
        version=version,
        issued_at=NOON,
        expires_at=NOON + lifetime,
        described=True,
        own=True,
    )


def consumer_side(token: StoredAccessToken | None, /, **changes: Any) -> ConsumerSide:  # noqa: ANN401
    """What a reader finds: that token, no copies, and a record of no failure."""
    nothing: dict[str, Any] = {"secret": None, "source": None, "targets": (), "target_secrets": {}}
    fields = {**nothing, "target_errors": {}, "record_secret": None, "record": RefreshRecord(), **changes}
    return ConsumerSide(access_token=token, **fields)


def target(holds: StoredAccessToken | None, name: str = "copy", *, known: bool = True) -> TargetState:
    """A publish target and what it holds."""
    return TargetState(target=SecretIdentifier(vault_url=VAULT, name=name), holds=holds, known=known)
