"""docs/telemetry.md is the schema of the events, and the code keeps to it."""

import json
import re
from pathlib import Path

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.report import Outcome, Trigger
from refresher.telemetry import emit_poisoned, emit_tick, outcome_event, warning_event
from sandbox import PERSONALITIES, Fault, Sandbox
from sandbox.faults import Respond
from tests.conftest import CapturedLog, MakeApp, tick

pytestmark = pytest.mark.wire("any")

DOCS = (Path(__file__).parents[2] / "docs" / "telemetry.md").read_text("utf-8")
EVENTS = ("outcome", "warning", "tick", "message_poisoned")
BOTH, ONE = "In outcomes and warnings:", "In one of them:"


def items(lead: str) -> dict[str, str]:
    """What the list under a line of the docs says, by what it says it of."""
    section = DOCS.split(f"\n{lead}\n\n", 1)[1].split("\n\n", 1)[0]
    return dict(re.findall(r"^- `(\w+)`: (.+)$", section, re.MULTILINE))


def levels() -> dict[str, str]:
    """The level of each outcome, which the line above its list names."""
    leads = re.findall(r"^Outcomes at (\w+):$", DOCS, re.MULTILINE)
    return {outcome: level for level in leads for outcome in items(f"Outcomes at {level}:")}


def where_fields_are() -> dict[str, set[str]]:
    """The kinds of events that have each field: those that the list's head or the item's end names."""
    found = {}
    for field, meaning in items(BOTH).items():
        others = re.findall(r"`(\w+)`", meaning.partition("also in ")[2])
        found[field] = {"outcome", "warning", *others, *(EVENTS if meaning.endswith("in all") else ())}
    for field, meaning in items(ONE).items():
        found[field] = {kind for kind in EVENTS if re.search(rf"(^|; )`?{kind}`?: ", meaning)}
    return found


def events(log: CapturedLog) -> list[tuple[str, dict[str, object]]]:
    """Level and event of each line of ours; the log starts anew."""
    lines = [line.split(" ", 2) for line in log.lines if line.startswith("refresher ")]
    log.lines.clear()
    return [(level, json.loads(text)) for _, level, text in lines]


def test_the_docs_list_every_outcome_with_its_level_and_every_field(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    assert set(levels()) == {each.value for each in Outcome}
    sandbox.instance.personality = PERSONALITIES["refresh_token_of_a_day"]
    sandbox.add_connection()
    report = tick(make_app())
    assert report.warnings
    everything_logged.lines.clear()
    now = sandbox.clock.now()
    # None is left out of a line only; here every field is there.
    emitted = {
        "outcome": set(outcome_event(report, now)),
        "warning": set(warning_event(report, report.warnings[0], now)),
    }
    emit_poisoned(b"servicenow")
    emit_tick(3, due=1, tried=2, refused=["servicenow"])
    for _, event in events(everything_logged):
        emitted[str(event["event"])] = set(event)
    documented = where_fields_are()
    assert set(documented) == set().union(*emitted.values())
    for field, where in documented.items():
        assert where == {kind for kind, names in emitted.items() if field in names}, field


@pytest.mark.parametrize(("body", "name"), [(b"hr-cases", "hr-cases"), (b"CANARY-no name", "NAME")])
def test_a_poisoned_message_is_told_of_as_its_page_does(
    everything_logged: CapturedLog, body: bytes, name: str
) -> None:
    """Reporting it has emptied the poison queue: who is sent there finds nothing."""
    emit_poisoned(body)
    ((_, event),) = events(everything_logged)
    page = (Path(__file__).parents[2] / "docs" / "runbook" / "RefreshMessagePoisoned.md").read_text("utf-8")
    command = f"python -m refresher status {name}"
    assert command in str(event["hint"])
    assert command.replace(name, '"$NAME"') in page
    for words in ("no message to delete", "no such connection"):
        assert words in str(event["hint"])
        assert words in page


def test_the_docs_name_every_trigger_and_grant() -> None:
    documented = items(BOTH)
    for name, kind in (("trigger", Trigger), ("grant", Grant)):
        for member in kind:
            assert f"`{member.value}`" in documented[name], member


def test_levels_are_those_that_the_docs_say(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    secrets = sandbox.add_connection()
    assert secrets.refresh_token
    app = make_app()
    seen = {}
    for _ in range(2):
        tick(app)
    sandbox.instance.kill_refresh_token(secrets.refresh_token)
    for minutes in (50, 5, 5):
        sandbox.clock.advance(minutes=minutes)
        tick(app)
    for level, event in events(everything_logged):
        if event["event"] == "refresh_outcome":
            seen[event["outcome"]] = level
    assert set(seen) >= {"refreshed", "not_due", "kept"}
    documented = levels()
    for outcome, level in seen.items():
        assert documented[str(outcome)] == level, outcome


def test_an_event_is_one_line_of_json_even_where_its_words_are_not(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    sandbox.add_connection()
    tick(make_app(), force=True, reason="line one\nline two \u2028 \x1b[31m")
    lines = [line for line in everything_logged.lines if "refresh_outcome" in line]
    assert len(lines) == 1
    assert lines[0].isascii()
    assert "\n" not in lines[0]


@pytest.mark.parametrize("status", [403, 404, 503])
def test_of_a_page_in_front_of_the_vault_no_library_logs_a_traceback(
    sandbox: Sandbox, app: App, caplog: pytest.LogCaptureFixture, status: int
) -> None:
    """Whoever types a command would read it before the cause; it holds a piece of the page besides."""
    sandbox.add_connection()
    page = Respond(status, {"Content-Type": "text/html"}, b"<html>CANARY</html>")
    sandbox.faults.add(Fault(service="vault", times=None, action=page))
    app.status(offline=True)
    assert tick(app).cause is Cause.VAULT_UNAVAILABLE
    assert [record.name for record in caplog.records if record.name != "refresher"] == []
