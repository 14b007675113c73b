"""Which token consumers should read: the one that is stored, or the new one."""

from datetime import datetime
from enum import StrEnum

from refresher.model.stored import StoredAccessToken
from refresher.model.tokens import AccessToken


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
