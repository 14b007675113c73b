"""Which refresh token is kept, and since when its life counts."""

from datetime import datetime

from refresher.model.grants import Grant
from refresher.model.stored import StoredRefreshToken
from refresher.model.tokens import Secret


def keep_or_replace(
    before: StoredRefreshToken | None, received: Secret | None, grant: Grant, *, now: datetime
) -> tuple[Secret, datetime] | None:
    """The refresh token to store and the start of its life; None where the vault says so already.

    An unchanged token keeps its start. One that was rotated continues the old one's life, as far as anybody knows;
    if a token outlives its computed end, its life evidently slides, and starts again now. Any other grant starts a
    new life.
    """
    by_refresh = grant is Grant.REFRESH_TOKEN and before is not None
    outlived = by_refresh and before is not None and before.expires_at <= now
    if before is not None and (received is None or received == before.value):
        if outlived:
            return before.value, now
        return None if before.described else (before.value, before.issued_at)
    if received is None:
        return None
    if by_refresh and before is not None and not outlived:
        return received, before.issued_at
    return received, now
