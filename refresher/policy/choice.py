"""Which token is kept: of access tokens the one that consumers should read, of refresh tokens the one to store."""

from datetime import datetime
from enum import StrEnum

from refresher.model.grants import Grant
from refresher.model.stored import StoredAccessToken, StoredRefreshToken
from refresher.model.tokens import AccessToken, Secret


class Choice(StrEnum):
    """Which of two tokens consumers should read."""

    NEW = "new"
    STORED = "stored"
    SAME = "same"


def choose_token(stored: StoredAccessToken | None, new: AccessToken, now: datetime) -> Choice:
    """Choose between the stored and the new token; STORED holds only if a probe says that it is still accepted.

    The end of a token that seems to be issued in the future is as wrong as its beginning.
    """
    if stored is None:
        return Choice.NEW
    if stored.value == new.value:
        return Choice.SAME
    if stored.issued_at is not None and stored.issued_at > now:
        return Choice.NEW
    if stored.expires_at is not None and stored.expires_at > new.expires_at and stored.lives_at(now):
        return Choice.STORED
    return Choice.NEW


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
