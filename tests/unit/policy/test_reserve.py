"""What is in hand when ServiceNow goes away, and what is said of it."""

from datetime import timedelta

import pytest

from refresher.model.grants import Grant
from refresher.model.timing import Timing
from refresher.policy.reserve import reserve

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
TICK = 5 * MINUTE


def said(lifetime: timedelta, interval: int = 50, grant: Grant | None = None) -> str:
    """The sentence."""
    return reserve(lifetime, Timing(interval=interval * MINUTE, tick=TICK), grant).text


@pytest.mark.parametrize(
    ("lifetime", "interval", "sentence"),
    [
        (HOUR, 50, "10 min in hand; with a lifespan of 7200 s: 70 min; or REFRESH_INTERVAL_MINUTES=25: 35 min"),
        (HOUR, 25, "35 min in hand; with a lifespan of 7200 s: 95 min"),
        (HOUR / 2, 50, "5 min in hand; with a lifespan of 7200 s: 70 min"),
        (2 * HOUR, 50, "70 min in hand"),
        (2 * HOUR, 90, "30 min in hand; or REFRESH_INTERVAL_MINUTES=25: 95 min"),
        (8 * HOUR, 50, "430 min in hand"),
    ],
)
def test_it_says_what_there_is_and_what_there_could_be(lifetime: timedelta, interval: int, sentence: str) -> None:
    """The longer life first; what gains nothing is not advised, and nothing where an hour is in hand."""
    assert said(lifetime, interval) == sentence


def test_a_second_less_than_the_hour_is_the_hour() -> None:
    """ServiceNow says 3599."""
    assert said(HOUR - timedelta(seconds=1)).startswith("10 min in hand;")


def test_nobody_chooses_the_life_of_microsoft_entras_token() -> None:
    """It is due from half of its life on."""
    assert said(HOUR, grant=Grant.ENTRA_ID) == "30 min in hand"
