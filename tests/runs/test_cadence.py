"""How often a token is refreshed: 50 minutes, by a tick every five; and why the obvious schedule cannot do it."""

import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from refresher.model.report import Outcome, RunRequest, Trigger
from refresher.model.stored import StoredAccessToken
from refresher.policy.due import Refresh, decide_refresh
from refresher.settings.declared import SETTINGS
from refresher.settings.load import load_settings
from refresher.settings.schedule import longest_gap
from sandbox.direct import DirectSandbox, Process
from sandbox.trial.host import direct_app
from tests.factories import MINUTE, SECOND, stored_access_token
from tests.sampling import sampled

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
LOADED = load_settings(
    {"KEY_VAULT_URL": "https://v.vault.azure.net", "SERVICENOW_INSTANCE_URL": "https://x.service-now.com"}
)
SCHEDULE = next(spec.default for spec in SETTINGS if spec.name == "REFRESH_SCHEDULE") or ""
TIMING = LOADED.timing
START_JITTER = 20 * SECOND
"""A timer fires when its instance is up: within seconds of the time on a warm one, some twenty on a cold one."""


def fires(schedule: str, days: int) -> Iterator[datetime]:
    """The instants of a schedule of seconds, minutes and "every hour, every day"."""
    second, minutes, *rest = schedule.split()
    assert (second, rest) == ("0", ["*"] * 4)
    step = int(minutes.removeprefix("*/"))
    for hour in range(24 * days):
        for minute in range(0, 60, step):
            yield MONDAY + timedelta(hours=hour, minutes=minute)


def refreshes(
    days: int, chance: random.Random, *, lost: float = 0.0, manual: float = 0.0
) -> Iterator[tuple[datetime, int, str]]:
    """When a token was issued, how many ticks were lost since the one before, and by whom it was issued."""
    token: StoredAccessToken | None = None
    issued_at = MONDAY - DAY
    lost_since = 0
    for tick in fires(SCHEDULE, days):
        if chance.random() < manual:
            by_hand = tick - chance.random() * 4 * MINUTE
            if by_hand > issued_at:
                issued_at = by_hand
                token = stored_access_token(issued_at=by_hand, expires_at=by_hand + timedelta(hours=1))
                yield by_hand, lost_since, "operator"
                lost_since = 0
        if chance.random() < lost:
            lost_since += 1
            continue
        now = tick + chance.random() * START_JITTER
        if isinstance(decide_refresh("servicenow", token, (), TIMING, now), Refresh):
            issued_at = now
            token = stored_access_token(issued_at=now, expires_at=now + timedelta(hours=1))
            yield now, lost_since, "timer"
            lost_since = 0


def test_the_default_is_a_tick_every_five_minutes() -> None:
    assert SCHEDULE == "0 */5 * * * *"
    assert longest_gap(SCHEDULE) == LOADED.tick == 5 * MINUTE
    assert {later - earlier for earlier, later in pairwise(fires(SCHEDULE, 2))} == {5 * MINUTE}


@pytest.mark.parametrize("seed", sampled(range(10), [0]))
def test_eight_weeks_without_a_lost_tick_keep_fifty_minutes(seed: int) -> None:
    issued = [at for at, _, _ in refreshes(56, random.Random(seed))]
    gaps = [later - earlier for earlier, later in pairwise(issued)]
    assert len(gaps) > 56 * 28
    assert min(gaps) >= 49 * MINUTE
    assert max(gaps) <= 51 * MINUTE


@pytest.mark.parametrize("seed", sampled(range(10), [0]))
@pytest.mark.exhaustive
def test_a_lost_tick_delays_a_refresh_by_no_more_than_itself(seed: int) -> None:
    """Measured to the start of the run: the start's own jitter comes on top."""
    told = list(refreshes(56, random.Random(seed), lost=0.05))
    one_lost = [later - earlier for (earlier, *_), (later, lost, _) in pairwise(told) if lost == 1]
    none_lost = [later - earlier for (earlier, *_), (later, lost, _) in pairwise(told) if lost == 0]
    assert max(one_lost) <= 55 * MINUTE + START_JITTER
    assert len([gap for gap in one_lost if gap > 51 * MINUTE]) > 10
    assert min(none_lost) >= 49 * MINUTE
    assert max(none_lost) <= 51 * MINUTE


@pytest.mark.parametrize("seed", sampled(range(10), [0]))
@pytest.mark.exhaustive
def test_after_a_manual_run_the_nearest_tick_goes_on(seed: int) -> None:
    told = list(refreshes(56, random.Random(seed), manual=0.01))
    after_manual = [
        later - earlier for (earlier, _, who), (later, _, by) in pairwise(told) if (who, by) == ("operator", "timer")
    ]
    among_ticks = [
        later - earlier for (earlier, _, who), (later, _, by) in pairwise(told) if (who, by) == ("timer", "timer")
    ]
    assert len(after_manual) > 50
    assert min(after_manual) >= 47.5 * MINUTE
    assert max(after_manual) <= 52.5 * MINUTE + START_JITTER
    assert min(among_ticks) >= 49 * MINUTE
    assert max(among_ticks) <= 51 * MINUTE


@pytest.mark.parametrize("hours", sampled([4, 12, 48], [4]))
def test_the_whole_product_keeps_it_for_days(hours: int) -> None:
    """From the vault back into the vault, with the SDK and ServiceNow in between."""
    sandbox = DirectSandbox(log=False)
    sandbox.add_connection()
    app = direct_app(sandbox, Process(sandbox))
    chance = random.Random(1)
    begin = sandbox.clock.now().replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
    issued = []
    for number in range(hours * 12):
        sandbox.clock.advance(begin + number * 5 * MINUTE + chance.random() * START_JITTER - sandbox.clock.now())
        (report,) = app.tick(RunRequest(trigger=Trigger.TIMER))
        if report.outcome is Outcome.REFRESHED:
            issued.append(sandbox.clock.now())
        else:
            assert report.outcome is Outcome.NOT_DUE
    gaps = [later - earlier for earlier, later in pairwise(issued)]
    assert len(gaps) == hours * 60 // 50
    assert min(gaps) >= 49 * MINUTE
    assert max(gaps) <= 51 * MINUTE


def test_the_obvious_schedule_fires_after_fifty_minutes_and_then_after_ten() -> None:
    """A failure at :00 is tried again after fifty minutes, when the token of an hour is dead."""
    gaps = {later - earlier for earlier, later in pairwise(fires("0 */50 * * * *", 7))}
    assert gaps == {50 * MINUTE, 10 * MINUTE}
    assert longest_gap("0 */50 * * * *") == 50 * MINUTE


def test_with_the_obvious_schedule_one_lost_tick_outlives_the_token() -> None:
    """A token of an hour, issued at :50, whose refresh at :00 was not due and whose next, at :50, is lost."""
    issued = MONDAY + 50 * MINUTE
    next_two = [at for at in fires("0 */50 * * * *", 1) if at > issued + 10 * MINUTE][:2]
    assert next_two[1] - issued > timedelta(hours=1)
