"""The alert rules see the events that the product really emits, and no others."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from refresher.model.causes import Cause
from refresher.model.report import Outcome, RunRequest, Trigger, WarningCode
from refresher.telemetry import emit_poisoned
from sandbox import PERSONALITIES, Sandbox
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Fault, Respond
from sandbox.trial.host import direct_app
from tests.conftest import CapturedLog, MakeApp, tick
from tests.infra.kql import fields, selects, silent
from tests.infra.snapshots import EVERYTHING, PLAIN, ROOT, Snapshot
from tests.sampling import sampled

pytestmark = pytest.mark.wire("any")

INFRA, RUNBOOK = ROOT / "infra", ROOT / "docs" / "runbook"
QUERIES = {path.stem: path.read_text("utf-8") for path in sorted((INFRA / "queries").glob("*.kql"))}
WORKBOOK = json.loads((INFRA / "workbook.json").read_text("utf-8"))
WORKBOOK_QUERIES = [item["content"]["query"] for item in WORKBOOK["items"] if item["type"] == 3]
GENERIC_401 = Respond(401, {"Content-Type": "application/json"}, b'{"error": "server_error"}')


def query_of(snapshot: Snapshot, alert: str) -> str:
    """The query that a rule is deployed with."""
    return str(snapshot.one("Insights/scheduledQueryRules", alert)["criteria"]["allOf"][0]["query"])


def messages(log: CapturedLog) -> Iterator[str]:
    """The product's messages, as the host would pass them on."""
    for line in log.lines:
        if line.startswith("refresher "):
            yield line.split(" ", 2)[2]
    log.lines.clear()


def firing(log: CapturedLog) -> set[str]:
    """The alerts of which any message since the last look passes the conditions; the dead man's switch apart."""
    seen = list(messages(log))
    assert seen
    return {
        name
        for name, query in QUERIES.items()
        if name != "RefreshMissing" and any(selects(query, message) for message in seen)
    }


@pytest.mark.parametrize("snapshot", [PLAIN, EVERYTHING])
def test_every_query_is_a_rule_that_leads_to_its_page_of_the_runbook(snapshot: Snapshot) -> None:
    rules = {each["name"]: each["properties"] for each in snapshot.of_kind("Insights/scheduledQueryRules")}
    assert rules.keys() == QUERIES.keys()
    for name, rule in rules.items():
        assert (RUNBOOK / f"{name}.md").is_file(), name
        page = rule["actions"]["customProperties"]["runbook"]
        assert page.endswith(f"/{name}.md")
        assert rule["description"].endswith(page)
        if name != "RefreshMissing":
            assert query_of(snapshot, name) == QUERIES[name]


def test_a_good_run_and_a_quiet_one_fire_nothing(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    sandbox.add_connection(username=True)
    app = make_app(SERVICENOW_FALLBACK_GRANT="password")
    for expected in (Outcome.REFRESHED, Outcome.NOT_DUE):
        assert tick(app).outcome is expected
        assert firing(everything_logged) == set()


def last_refresh(log: CapturedLog, now: datetime) -> datetime:
    """What RefreshMissing works out of events that were all sent now."""
    assert "max(TimeGenerated - toint(event.token_age) * 1s)" in QUERIES["RefreshMissing"]
    seen = [json.loads(message) for message in messages(log) if selects(QUERIES["RefreshMissing"], message)]
    return max(now - timedelta(seconds=event["token_age"]) for event in seen if "token_age" in event)


def test_the_dead_mans_switch_is_quiet_while_refreshes_succeed_wherever_they_run(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    """An operator's laptop refreshes in the middle; its own events never reach the workspace."""
    sandbox.add_connection()
    app, laptop = make_app(), make_app()
    newest = sandbox.clock.now()
    for minute in range(0, 240, 5):
        if minute == 90:
            laptop.refresh(["servicenow"], RunRequest(trigger=Trigger.CLI, force=True))
            everything_logged.lines.clear()
        tick(app)
        newest = max(newest, last_refresh(everything_logged, sandbox.clock.now()))
        assert sandbox.clock.now() - newest < timedelta(minutes=51), minute
        sandbox.clock.advance(minutes=5)


def test_the_dead_mans_switch_fires_where_nothing_is_refreshed_although_the_app_runs(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    """Failures tell the token's age as well: it passes the limit of 65 minutes in time."""
    sandbox.add_connection()
    app = make_app()
    tick(app)
    begun = last_refresh(everything_logged, sandbox.clock.now())
    sandbox.faults.add(Fault(action=GENERIC_401, service="instance", path="/oauth_token.do", times=1000))
    for _ in range(14):
        sandbox.clock.advance(minutes=5)
        tick(app)
        assert abs(last_refresh(everything_logged, sandbox.clock.now()) - begun) < timedelta(seconds=5)
    assert sandbox.clock.now() - begun > timedelta(minutes=65)


def test_the_dead_mans_switch_is_told_the_connections_and_the_minutes() -> None:
    """A quarter of an hour more than the age at which a token is refreshed."""
    for snapshot, connections, minutes in ((PLAIN, '"servicenow"', 65), (EVERYTHING, '"assets", "incidents"', 55)):
        expected = QUERIES["RefreshMissing"].replace("{connections}", connections).replace("{minutes}", str(minutes))
        assert query_of(snapshot, "RefreshMissing") == expected


def test_an_empty_workspace_is_a_silence_of_every_connection() -> None:
    """With a number, which the alert shows: nothing at all must not look like nothing wrong."""
    now = datetime(2026, 1, 5, 8, tzinfo=UTC)
    query = query_of(EVERYTHING, "RefreshMissing")
    assert silent(query, {}, now) == {"assets": 360, "incidents": 360}
    assert silent(query, {"assets": now - timedelta(minutes=56), "incidents": now}, now) == {"assets": 56}
    assert silent(query, dict.fromkeys(("assets", "incidents"), now), now) == {}


def test_the_table_is_there_before_a_rule_asks_it() -> None:
    (table,) = PLAIN.of_kind("OperationalInsights/workspaces/tables")
    assert table["name"].endswith("/AppTraces")
    assert all(query.count("AppTraces") == 1 and "union" not in query for query in QUERIES.values())


def test_a_dead_refresh_token_fires_what_needs_a_person(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    secrets = sandbox.add_connection()
    assert secrets.refresh_token
    sandbox.instance.kill_refresh_token(secrets.refresh_token)
    app = make_app()
    fired = []
    for _ in range(3):
        tick(app)
        sandbox.clock.advance(timedelta(minutes=5))
        fired.append(firing(everything_logged))
    assert "ServiceNowUnauthorized" in fired[0]
    assert {"AuthorizationRequired", "RefreshFailing", "ServiceNowUnauthorized"} <= fired[2]


def test_refusals_in_a_row_fire_while_the_old_token_still_serves(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    sandbox.add_connection(username=True)
    app = make_app(SERVICENOW_FALLBACK_GRANT="password")
    tick(app)
    sandbox.clock.advance(timedelta(minutes=50))
    everything_logged.lines.clear()
    sandbox.faults.add(Fault(action=GENERIC_401, service="instance", path="/oauth_token.do", times=100))
    assert tick(app).outcome is Outcome.KEPT
    assert firing(everything_logged) == {"ServiceNowUnauthorized"}


def test_a_vault_that_forbids_fires(sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog) -> None:
    sandbox.add_connection()
    sandbox.vault.deny("get", "servicenow-client-secret")
    assert tick(make_app()).cause is Cause.VAULT_FORBIDDEN
    assert firing(everything_logged) == {"VaultForbidden"}


@pytest.mark.parametrize(("hours", "alert"), [(18, "RefreshTokenEnding14Days"), (22, "RefreshTokenEnding3Days")])
def test_an_end_that_comes_near_fires(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog, hours: int, alert: str
) -> None:
    sandbox.instance.personality = PERSONALITIES["refresh_token_of_a_day"]
    sandbox.add_connection()
    app = make_app(SERVICENOW_REFRESH_TOKEN_LIFETIME="86400")
    tick(app)
    everything_logged.lines.clear()
    sandbox.clock.advance(timedelta(hours=hours))
    tick(app)
    assert firing(everything_logged) == {alert}


@pytest.mark.parametrize("hour", sampled(range(0, 24, 3), [6]))
def test_both_ends_of_a_life_of_a_day_fire_in_time_whenever_it_began(
    everything_logged: CapturedLog, hour: int
) -> None:
    """They are looked at each hour, over the last day; the life is the one that the guide of Simple Chat sets."""
    sandbox = DirectSandbox(PERSONALITIES["refresh_token_of_a_day"])
    sandbox.clock.advance(hours=hour)
    sandbox.add_connection()
    app = direct_app(sandbox, Process(sandbox), 0, SERVICENOW_REFRESH_TOKEN_LIFETIME="86400")
    left: dict[str, timedelta] = {}
    for minute in range(0, 24 * 60, 10):
        tick(app)
        for alert in firing(everything_logged):
            left.setdefault(alert, timedelta(minutes=24 * 60 - minute))
        sandbox.clock.advance(minutes=10)
    assert left["RefreshTokenEnding14Days"] >= timedelta(hours=5)
    assert left["RefreshTokenEnding3Days"] >= timedelta(hours=1, minutes=30)


def test_a_poisoned_message_fires(everything_logged: CapturedLog) -> None:
    emit_poisoned(b"servicenow")
    assert firing(everything_logged) == {"RefreshMessagePoisoned"}


def test_queries_read_fields_that_are_emitted_and_compare_with_values_that_exist(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    secrets = sandbox.add_connection()
    assert secrets.refresh_token
    sandbox.instance.kill_refresh_token(secrets.refresh_token)
    app = make_app()
    tick(app)
    tick(app)
    sandbox.add_connection()
    tick(app)
    emit_poisoned(b"servicenow")
    emitted = {field for message in messages(everything_logged) for field in json.loads(message)}
    known = {each.value for kind in (Outcome, Cause, WarningCode) for each in kind}
    for query in (*QUERIES.values(), *WORKBOOK_QUERIES):
        assert fields(query) <= emitted, query
        compared = re.findall(r"event\.(?:outcome|cause|warning)\) (?:==|!?in) (.+)", query)
        assert {literal for text in compared for literal in re.findall(r'"(\w+)"', text)} <= known, query


def test_the_burst_alert_knows_every_cause_of_a_401() -> None:
    literals = {
        Cause(each) for each in re.findall(r'"(\w+)"', QUERIES["ServiceNowUnauthorized"].split("event.cause")[1])
    }
    assert literals == {
        Cause.ACCESS_DENIED,
        Cause.INVALID_CLIENT,
        Cause.INVALID_GRANT,
        Cause.REFRESH_TOKEN_REFUSED,
        Cause.PASSWORD_REFUSED,
        Cause.TOKEN_REJECTED,
    }


def test_the_workbook_shows_what_an_operator_asks_first() -> None:
    titles = " ".join(item["content"]["title"] for item in WORKBOOK["items"] if item["type"] == 3)
    for subject in ("Coverage", "Outcomes", "Duration", "Remaining lives", "Failures by cause"):
        assert subject in titles
