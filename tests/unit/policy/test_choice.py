"""Which refresh token is kept after an answer, and since when its life counts: the whole decision."""

from datetime import datetime

import pytest

from refresher.model.grants import UNATTENDED, Grant
from refresher.model.stored import StoredRefreshToken
from refresher.model.tokens import Secret
from refresher.policy.choice import keep_or_replace
from tests.factories import NOON, SECOND, refresh_token

HELD = refresh_token()
BARE = HELD._replace(described=False)
ENDS = HELD.expires_at
ROTATED = Secret("CANARY-rotated")
OTHERS = [grant for grant in UNATTENDED if grant is not Grant.REFRESH_TOKEN]


@pytest.mark.parametrize(
    ("before", "received", "now", "kept"),
    [
        (HELD, None, NOON + SECOND, None),
        (HELD, HELD.value, NOON + SECOND, None),
        (BARE, None, NOON + SECOND, (HELD.value, NOON)),
        (BARE, HELD.value, NOON + SECOND, (HELD.value, NOON)),
        (HELD, ROTATED, NOON + SECOND, (ROTATED, NOON)),  # as far as anybody knows, it continues the old one's life
        (HELD, None, ENDS - SECOND, None),
        (HELD, None, ENDS, (HELD.value, ENDS)),  # it works past its end: that slides
        (HELD, HELD.value, ENDS + SECOND, (HELD.value, ENDS + SECOND)),
        (HELD, ROTATED, ENDS, (ROTATED, ENDS)),
        (None, None, NOON, None),
        (None, ROTATED, NOON, (ROTATED, NOON)),
    ],
)
def test_after_a_refresh(
    before: StoredRefreshToken | None,
    received: Secret | None,
    now: datetime,
    kept: tuple[Secret, datetime] | None,
) -> None:
    assert keep_or_replace(before, received, Grant.REFRESH_TOKEN, now=now) == kept


@pytest.mark.parametrize("grant", OTHERS)
@pytest.mark.parametrize(
    ("before", "received", "now", "kept"),
    [
        (HELD, None, NOON + SECOND, None),
        (HELD, HELD.value, NOON + SECOND, None),
        (BARE, None, NOON + SECOND, (HELD.value, NOON)),
        (HELD, None, ENDS, None),  # nobody has used it: its end stands
        (HELD, ROTATED, NOON + SECOND, (ROTATED, NOON + SECOND)),  # a new life
        (None, None, NOON, None),
        (None, ROTATED, NOON, (ROTATED, NOON)),
    ],
)
def test_after_any_other_grant(
    grant: Grant,
    before: StoredRefreshToken | None,
    received: Secret | None,
    now: datetime,
    kept: tuple[Secret, datetime] | None,
) -> None:
    assert keep_or_replace(before, received, grant, now=now) == kept
