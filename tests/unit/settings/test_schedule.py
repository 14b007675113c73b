"""The timer's schedule: what is accepted, what is to be written instead of the rest, and what the host is given."""

import re
from datetime import timedelta

import pytest
from hypothesis import example, given, strategies as st

from refresher.settings.load import load_settings
from refresher.settings.schedule import DEFAULT_SCHEDULE, ScheduleError, longest_gap, timer_schedule

REQUIRED = {"KEY_VAULT_URL": "https://v.vault.azure.net", "SERVICENOW_INSTANCE_URL": "https://x.service-now.com"}
OF_THE_HOST = re.compile(r"0 (?:[0-9]{1,2}(?:,[0-9]{1,2})*|(?:\*|[0-9]{1,2})/[0-9]{1,2}) \* \* \* \*", re.ASCII)
"""A form that NCrontab.Signed 3.4.0, the library of the host, was seen to read, to the character."""


def tick(schedule: str) -> timedelta:
    return load_settings({**REQUIRED, "REFRESH_SCHEDULE": schedule}).tick


@pytest.mark.parametrize(
    ("schedule", "minutes"),
    [
        ("0 */5 * * * *", 5),
        ("0 */50 * * * *", 50),
        ("0 */7 * * * *", 7),
        ("0 */1 * * * *", 1),
        ("0 */59 * * * *", 59),
        ("0 0,30 * * * *", 30),
        ("0 30,0,5 * * * *", 30),
        ("0 5/20 * * * *", 20),
        ("0 50/20 * * * *", 60),
        ("0 09/05 * * * *", 10),
        ("0 17 * * * *", 60),
    ],
)
def test_the_tick_is_the_longest_wait_between_two_of_its_minutes(schedule: str, minutes: int) -> None:
    """Over the end of the hour as well: `M/N` begins anew at M, and `*/N` at 0."""
    assert tick(schedule) == longest_gap(schedule) == timedelta(minutes=minutes)
    assert timer_schedule(schedule) == schedule


@pytest.mark.parametrize(
    ("schedule", "instead"),
    [
        ("*/5 * * * *", "0 */5 * * * *"),
        ("30 */10 * * * *", "0 */10 * * * *"),
        ("* * * * * *", "0 */1 * * * *"),
        ("0  */15  * * * *", "0 */15 * * * *"),
        ("0\t*/15 * * * *", "0 */15 * * * *"),
        ("0 */15 * * * *\n", "0 */15 * * * *"),
        ("0 */15 * * * *\N{NO-BREAK SPACE}", "0 */15 * * * *"),
        ("0 */15 * * * *\N{IDEOGRAPHIC SPACE}", "0 */15 * * * *"),
        ("0 0,20,40 8-18 * * MON-FRI", "0 0,20,40 * * * *"),
        ("0 0 9 * * *", "0 0 * * * *"),
        ("00:15:00", "0 */15 * * * *"),
        ("01:00:00", DEFAULT_SCHEDULE),
        ("0 */0 * * * *", DEFAULT_SCHEDULE),
        ("0 */60 * * * *", DEFAULT_SCHEDULE),
        ("0 60 * * * *", DEFAULT_SCHEDULE),
        ("0 005 * * * *", DEFAULT_SCHEDULE),
        ("0 10-30 * * * *", DEFAULT_SCHEDULE),
        ("0 5, * * * *", DEFAULT_SCHEDULE),
        ("0 \N{ARABIC-INDIC DIGIT FIVE} * * * *", DEFAULT_SCHEDULE),
        ("janx", DEFAULT_SCHEDULE),
    ],
)
def test_anything_else_counts_as_the_default_and_is_told_with_the_right_one(schedule: str, instead: str) -> None:
    """White space counts as well: the host would not load the timer, and nobody would be told."""
    settings = load_settings({**REQUIRED, "REFRESH_SCHEDULE": schedule})
    told = settings.schedule_problem or ""
    assert told.startswith("REFRESH_SCHEDULE is ")
    assert told.endswith(f"; such as {instead}; the timer ticks by the default, {DEFAULT_SCHEDULE}")
    assert settings.tick == timedelta(minutes=5)
    assert longest_gap(instead)
    assert timer_schedule(schedule) == DEFAULT_SCHEDULE


@pytest.mark.parametrize("blank", [None, "", " ", "\n"])
def test_where_nothing_is_set_the_timer_has_the_default(blank: str | None) -> None:
    assert timer_schedule(blank) == DEFAULT_SCHEDULE
    assert load_settings({**REQUIRED, **({"REFRESH_SCHEDULE": blank} if blank is not None else {})}).tick == timedelta(
        minutes=5
    )


@given(st.text("0123456789*/-, \t", max_size=20) | st.lists(st.text("0123456789*/,", max_size=6)).map(" ".join))
@example("0 1,2,3 * * * *")
@example("0 ,1 * * * *")
def test_whatever_is_accepted_the_host_can_read(schedule: str) -> None:
    """And what is told to be written instead, we accept."""
    accepted = schedule
    try:
        longest_gap(schedule)
    except ScheduleError as error:
        accepted = error.instead
    assert OF_THE_HOST.fullmatch(accepted)
    assert timedelta(minutes=1) <= longest_gap(accepted) <= timedelta(hours=1)
