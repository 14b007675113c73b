"""What a person reads in a terminal or a pipe."""

import io
import re
import sys
from datetime import timedelta

import pytest

from refresher.model.causes import Cause
from refresher.model.steps import Command, Step, authorize
from refresher.servicenow.answers import Verdict
from refresher.status.connection_status import ConnectionStatus, State
from refresher.status.copies import TargetStatus
from refresher.status.history import History, Issue
from refresher.status.lives import Life, gaps
from refresher.status.timer import TimerState, TimerStatus
from refresher.views.tables import show_history, show_statuses, show_step
from sandbox.clock import START
from tests.factories import TICKING

HOUR = timedelta(hours=1)


class Terminal(io.StringIO):
    encoding = "utf-8"

    def isatty(self) -> bool:
        return True


def a_history(*lives: Life, until: int) -> History:
    issues = tuple(
        Issue(
            issued_at=begins,
            expires_at=ends,
            confirmed_at=None,
            trigger="timer",
            grant="refresh_token",
            run_id="0" * 32,
            reason=None,
            by_hand=False,
        )
        for begins, ends in lives
    )
    return History(connection="servicenow", issues=issues, gaps=gaps(lives, START, START + until * HOUR))


def test_gaps_are_marked_where_they_were_and_the_last_one_goes_on(capfd: pytest.CaptureFixture[str]) -> None:
    history = a_history((START, START + HOUR), (START + 2 * HOUR, START + 3 * HOUR), until=4)
    show_history(history, START + 4 * HOUR, limit=30)
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "servicenow: 2 tokens since 2026-01-05 08:00:00 UTC"
    assert set(lines[1]) == {"|", "█", "."}
    rows = [re.split(r"  +", line)[:3] for line in lines[5:]]
    assert rows == [
        ["2026-01-05 11:00:00", "GAP", "60 min so far"],
        ["2026-01-05 10:00:00", "60 min", "timer"],
        ["2026-01-05 09:00:00", "GAP", "60 min"],
        ["2026-01-05 08:00:00", "60 min", "timer"],
    ]


def a_status(**changes: object) -> ConnectionStatus:
    values: dict[str, object] = {
        "connection": "servicenow",
        "state": State.AUTHORIZATION_REQUIRED,
        "working": False,
        "message": "a person must authorize again",
        "cause": Cause.REFRESH_TOKEN_REFUSED,
        "issued_at": START,
        "expires_at": START + HOUR,
        "refresh_at": START + HOUR * 5 / 6,
        "refresh_token_expires_at": START + 100 * HOUR,
        "last_attempt_at": START + HOUR,
        "last_outcome": "authorization_required",
        "consecutive_failures": 3,
        "targets": (TargetStatus(name="copy", vault_url="https://kv", current=True, working=False),),
    }
    return ConnectionStatus(**{**values, **changes})  # type: ignore[arg-type]


def test_a_status_says_since_when_why_and_where_to_read_on(capfd: pytest.CaptureFixture[str]) -> None:
    show_statuses([a_status(next_step=Step("Authorize again: ", authorize("servicenow")))], TICKING, START + 2 * HOUR)
    lines = capfd.readouterr().out.splitlines()
    assert lines[0] == "1 of 1 connection without a working token"
    assert re.split(r"  +", lines[3])[2:] == ["ended 60 min ago", "120 min", "overdue", "refused", "1 of 1"]
    assert lines[5:] == [
        "timer: the last tick was 1 min ago",
        "",
        "servicenow: a person must authorize again (refresh_token_refused)",
        "  last attempt: 60 min ago: authorization_required, 3 failures in a row",
        "  next: Authorize again:",
        "      python -m refresher authorize servicenow --grant password",
        "  runbook: docs/runbook/causes.md#refresh_token_refused",
    ]


def test_a_clock_that_is_behind_makes_nothing_happen_in_the_future(capfd: pytest.CaptureFixture[str]) -> None:
    for behind, told in ((timedelta(seconds=1), "0 s ago"), (HOUR / 6, "10 min ahead of this machine's clock")):
        show_statuses([a_status()], TICKING, START + HOUR - behind)
        assert f"last attempt: {told}: authorization_required" in capfd.readouterr().out


def thirty() -> list[ConnectionStatus]:
    """Twenty that are well, nine of an instance that sleeps, one that is dead."""
    well = {"state": State.FRESH, "working": True, "message": "fresh", "cause": None, "tried": Verdict.ACCEPTED}
    asleep = well | {"state": State.FAILING, "cause": Cause.INSTANCE_HIBERNATING, "message": "refreshing fails"}
    return [
        a_status(connection="dead", instance_url="https://a"),
        *(a_status(connection=f"well{n}", instance_url="https://a", **well) for n in range(20)),
        *(
            a_status(connection=f"asleep{n}", instance_url="https://b", next_step=Step("Wake it"), **asleep)
            for n in range(9)
        ),
    ]


def test_of_thirty_the_verdict_is_read_first_and_the_gravest_last(capfd: pytest.CaptureFixture[str]) -> None:
    show_statuses(thirty(), TICKING, START + HOUR)
    text = capfd.readouterr().out
    lines = text.splitlines()
    assert lines[0] == "1 of 30 connections without a working token; 9 of 30 connections failing or about to end"
    assert sum(line.startswith("well") for line in lines) == 20
    assert text.count("Wake it") == 1
    (together,) = [line for line in lines if line.startswith("9 connections of https://b have the same: ")]
    assert all(f"asleep{n} (failing)" in together for n in range(9))
    assert "dead: a person must authorize again" in text[text.index(together) :]
    assert len(lines) < 60


def test_all_of_thirty_are_opened_where_that_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    show_statuses(thirty(), TICKING, START + HOUR, everything=True)
    text = capfd.readouterr().out
    assert text.count("Wake it") == 9
    assert text.count(": fresh\n") == 20
    assert text.index("well19: fresh") < text.index("asleep0: refreshing") < text.index("dead: a person must")


def test_a_timer_that_does_not_fire_stands_where_the_prompt_is(capfd: pytest.CaptureFixture[str]) -> None:
    stopped = TimerStatus(state=TimerState.NO_TICK, message="no tick was ever noted", next_step=Step("Start it."))
    show_statuses(thirty(), stopped, START + HOUR)
    assert capfd.readouterr().out.splitlines()[-2:] == ["timer: no tick was ever noted", "  next: Start it"]


@pytest.mark.parametrize(
    ("changes", "cells"),
    [
        ({"cause": None}, ["ended 60 min ago", "120 min", "overdue", "ends in 4 d", "1 of 1"]),
        (
            {"cause": None, "refresh_token_expires_at": START},
            ["ended 60 min ago", "120 min", "overdue", "ended 120 min ago"],
        ),
        ({"cause": None, "refresh_token_expires_at": None}, ["ended 60 min ago", "120 min", "overdue", "none"]),
        ({"issued_at": None, "expires_at": None, "refresh_at": None}, ["none", "overdue", "refused"]),
        ({"consecutive_failures": 0}, ["ended 60 min ago", "120 min", "overdue", "refused"]),
        (
            {"consecutive_failures": 0, "state": State.EXPIRED},
            ["ended 60 min ago", "120 min", "next tick", "refused"],
        ),
    ],
)
def test_each_cell_says_what_is_so(
    changes: dict[str, object], cells: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    show_statuses([a_status(**changes)], TICKING, START + 2 * HOUR)
    row = re.split(r"  +", capfd.readouterr().out.splitlines()[3])[2:]
    assert row[: len(cells)] == cells


def test_a_narrow_terminal_cuts_no_word_and_leaves_commands_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", terminal := Terminal())
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.delenv("NO_COLOR", raising=False)
    command = Command(("python", "-m", "refresher", "authorize", "servicenow", *(["--port=8400", "--no-browser"] * 3)))
    show_statuses([a_status()], TICKING, START + 2 * HOUR)
    show_step(Step("many words " * 10, ": ", command, ". And more ", "words " * 12))
    shown = re.sub(r"\x1b\[[0-9;]*m", "", terminal.getvalue())
    assert "…" not in shown
    assert str(command) in shown
    assert [line for line in shown.splitlines() if len(line) > 80 and str(command) not in line] == []


def test_a_terminal_that_cannot_show_blocks_gets_signs_that_it_can(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    terminal.encoding = "ascii"
    monkeypatch.setattr(sys, "stdout", terminal)
    show_history(a_history((START, START + HOUR), until=2), START + 2 * HOUR, limit=30)
    assert re.search(r"\|#+\.+\|", terminal.getvalue())
