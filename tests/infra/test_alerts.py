"""The alert rules see the events that the product really emits, and no others."""

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger, WarningCode
from refresher.model.tokens import Secret
from refresher.policy.due import Reason
from refresher.run.by_hand import Authorization
from refresher.settings.schedule import longest_gap, timer_schedule
from refresher.telemetry import emit, emit_poisoned
from sandbox import PERSONALITIES, Sandbox
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Fault, Respond
from sandbox.trial.host import direct_app
from tests.conftest import CapturedLog, MakeApp, tick
from tests.infra.kql import OWN, connections_told, fields, selects, silent
from tests.infra.snapshots import EVERYTHING, PLAIN, ROOT, SNAPSHOTS, Snapshot
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

INFRA, RUNBOOK = ROOT / "infra", ROOT / "docs" / "runbook"
QUERIES = {path.stem: path.read_text("utf-8") for path in sorted((INFRA / "queries").glob("*.kql"))}
WORKBOOK = json.loads((INFRA / "workbook.json").read_text("utf-8"))
WORKBOOK_QUERIES = [item["content"]["query"] for item in WORKBOOK["items"] if item["type"] == 3]
GENERIC_401 = Respond(401, {"Content-Type": "application/json"}, b'{"error": "server_error"}')


def query_of(snapshot: Snapshot, alert: str) -> str:
    """The query that a rule is deployed with."""
    return str(snapshot.one("Insights/scheduledQueryRules", alert)["criteria"]["allOf"][0]["query"])


def own(query: str, snapshot: Snapshot) -> str:
    """A query that keeps to the events of an installation."""
    (component,) = snapshot.of_kind("Insights/components")
    return query.replace("{component}", component["id"])


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
        # Without the address of one that can be read, a mail names the file: no link leads nowhere.
        told = page.startswith("https://contoso.com/runbook/") if snapshot is EVERYTHING else page.startswith("docs/")
        assert told
        assert ("RUNBOOK_URL is not set" in rule["description"]) == (snapshot is PLAIN)
        if name != "RefreshMissing":
            assert query_of(snapshot, name) == own(QUERIES[name], snapshot)


def test_the_witness_from_outside_leads_to_its_page_as_well() -> None:
    alerts = [each for snapshot in SNAPSHOTS.values() for each in snapshot.of_kind("Insights/metricAlerts")]
    assert {each["name"] for each in alerts} == {"StatusUnavailable"}
    for each in alerts:
        page = each["properties"]["description"].rsplit(" ", 1)[1]
        assert page == "https://contoso.com/runbook/StatusUnavailable.md"
    assert (RUNBOOK / "StatusUnavailable.md").is_file()


def test_a_good_run_and_a_quiet_one_fire_nothing(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    sandbox.add_connection(username=True)
    app = make_app(SERVICENOW_FALLBACK_GRANT="password")
    for expected in (Outcome.REFRESHED, Outcome.NOT_DUE):
        assert tick(app).outcome is expected
        assert firing(everything_logged) == set()


def last_tick(log: CapturedLog, now: datetime) -> datetime | None:
    """What RefreshMissing works out of events that were all sent now."""
    assert "last_tick = max(TimeGenerated)" in QUERIES["RefreshMissing"]
    heard = [selects(QUERIES["RefreshMissing"], message) for message in messages(log)]
    return now if any(heard) else None


def test_the_dead_mans_switch_hears_each_tick_and_nobody_else(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    """Whatever comes of it, and with a token that lives for long; an engineer who refreshes is no timer."""
    sandbox.add_connection()
    app = make_app()
    for fault in (None, Fault(action=GENERIC_401, service="instance", path="/oauth_token.do", times=None)):
        if fault is not None:
            sandbox.faults.add(fault)
        tick(app)
        assert last_tick(everything_logged, sandbox.clock.now()) == sandbox.clock.now()
        sandbox.clock.advance(minutes=50)
    app.refresh(["servicenow"], RunRequest(trigger=Trigger.CLI, force=True))
    assert last_tick(everything_logged, sandbox.clock.now()) is None


def test_it_hears_who_takes_from_the_queue_and_not_who_fills_it(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    """A tick that finds something due has only asked for a refresh; with nothing due it has done its work."""
    sandbox.add_connection()
    app = make_app(REFRESH_QUEUE="refreshq")
    heard = []
    for trigger in (None, Trigger.QUEUE, None):
        if trigger is None:
            app.due()
        else:
            app.refresh(["servicenow"], RunRequest(trigger=trigger))
        heard.append(last_tick(everything_logged, sandbox.clock.now()) is not None)
    assert heard == [False, True, True]


def test_two_intervals_of_silence_fire_and_an_empty_workspace_is_one() -> None:
    """With a number, which the alert shows: nothing at all must not look like nothing wrong."""
    now = datetime(2026, 1, 5, 8, tzinfo=UTC)
    for snapshot, minutes in ((PLAIN, 10), (EVERYTHING, 20)):
        query = query_of(snapshot, "RefreshMissing")
        assert query == own(QUERIES["RefreshMissing"].replace("{minutes}", str(minutes)), snapshot)
        assert silent(query, None, now) == 360
        assert silent(query, now - timedelta(minutes=minutes + 1), now) == minutes + 1
        assert silent(query, now - timedelta(minutes=minutes), now) is None


@pytest.mark.parametrize("snapshot", SNAPSHOTS.values(), ids=SNAPSHOTS.keys())
def test_the_silence_that_is_waited_for_is_two_intervals_of_the_timer_as_it_fires(snapshot: Snapshot) -> None:
    """A schedule that cannot be used counts as the default, which the code gives the host in its place."""
    fires = timer_schedule(snapshot.settings["REFRESH_SCHEDULE"])
    (minutes,) = re.findall(r"minutes_without > (\d+)", query_of(snapshot, "RefreshMissing"))
    assert timedelta(minutes=int(minutes)) == 2 * longest_gap(fires)


def test_the_cases_have_schedules_of_every_kind() -> None:
    """A step, from any minute; a list; what the code refuses."""
    schedules = {snapshot.settings["REFRESH_SCHEDULE"] for snapshot in SNAPSHOTS.values()}
    unusable = {each for each in schedules if timer_schedule(each) != each}
    gaps = {longest_gap(each) for each in schedules - unusable}
    assert len(unusable) == 2
    assert {gap // timedelta(minutes=1) for gap in gaps} == {5, 10, 15, 60}
    assert any("," in each for each in schedules)


def test_the_table_is_there_before_a_rule_asks_it() -> None:
    (table,) = PLAIN.of_kind("OperationalInsights/workspaces/tables")
    assert table["name"].endswith("/AppTraces")
    assert all(query.count("AppTraces") == 1 and "union" not in query for query in QUERIES.values())


def test_two_installations_in_one_workspace_hear_each_their_own_events() -> None:
    """The ticks of one would otherwise silence the other's dead man's switch, and its failures be mailed twice."""
    company = SNAPSHOTS["company"]
    for query in (*QUERIES.values(), *WORKBOOK_QUERIES):
        assert query.count(f"AppTraces\n| where {OWN}\n") == query.count("AppTraces") == 1
    deployed = [query_of(company, name) for name in QUERIES]
    deployed.append(company.one("Insights/workbooks")["serializedData"])
    (component,) = company.of_kind("Insights/components")
    for text in deployed:
        assert component["id"] in text
        assert "{component}" not in text


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
    # Its first refusal would count towards three; the second asks for a person, and nothing else does then.
    assert fired == [{"ServiceNowUnauthorized"}, {"AuthorizationRequired"}, {"AuthorizationRequired"}]


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


@pytest.mark.parametrize(
    ("hours", "alert"), thinned([(18, "RefreshTokenEnding14Days"), (22, "RefreshTokenEnding3Days")])
)
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


@pytest.mark.exhaustive
@pytest.mark.parametrize("hour", range(0, 24, 3))
def test_both_ends_of_a_life_of_a_day_fire_in_time_whenever_it_began(
    everything_logged: CapturedLog, hour: int
) -> None:
    """The life is the one that the guide of Simple Chat sets."""
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


ENDINGS = ("RefreshTokenEnding14Days", "RefreshTokenEnding3Days")


def span(text: str) -> timedelta:
    """A window as Azure writes it: PT15M, PT2H, P1D."""
    number, unit = int(re.findall(r"\d+", text)[0]), text[-1]
    return timedelta(**{{"M": "minutes", "H": "hours", "D": "days"}[unit]: number})


def test_what_ends_stays_one_alert_from_refresh_to_refresh_and_has_ended_before_the_next_life_does() -> None:
    """One that is still fired when a new life of a day comes near its end would tell nobody of it."""
    for snapshot, minutes in ((PLAIN, 50), (SNAPSHOTS["company"], 120)):
        assert snapshot.settings["REFRESH_INTERVAL_MINUTES"] == str(minutes)
        for name in ENDINGS:
            window = span(snapshot.one("Insights/scheduledQueryRules", name)["windowSize"])
            assert timedelta(minutes=2 * minutes) <= window <= timedelta(days=1) / 4


@pytest.mark.exhaustive
def test_who_authorizes_anew_each_day_is_told_each_day(everything_logged: CapturedLog) -> None:
    """An hour before the end; an alert stays fired for as long as its window holds a line."""
    days = 2
    sandbox = DirectSandbox(PERSONALITIES["refresh_token_of_a_day"])
    secrets = sandbox.add_connection(username=True)
    brought = {"username": Secret(secrets.user_name), "password": Secret(secrets.application.user.password)}
    app = direct_app(sandbox, Process(sandbox), 0, SERVICENOW_REFRESH_TOKEN_LIFETIME="86400")
    last: dict[str, datetime] = {}
    mails = dict.fromkeys(ENDINGS, 0)
    fired: set[str] = set()
    life = 23 * 60
    for minute in range(0, days * life, 10):
        if minute and minute % life == 0:
            asked = Authorization(grant=Grant.PASSWORD, brought=brought)
            assert app.authorize("servicenow", RunRequest(trigger=Trigger.CLI), asked).outcome is Outcome.REFRESHED
            everything_logged.lines.clear()
        tick(app)
        now = sandbox.clock.now()
        last |= dict.fromkeys(firing(everything_logged), now)
        standing = {
            name
            for name in ENDINGS
            if name in last and now - last[name] < span(PLAIN.one("Insights/scheduledQueryRules", name)["windowSize"])
        }
        mails |= {name: mails[name] + 1 for name in standing - fired}
        fired = standing
        sandbox.clock.advance(minutes=10)
    assert mails == dict.fromkeys(ENDINGS, days)


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
    sandbox.clock.advance(minutes=10)
    tick(app)
    emit_poisoned(b"servicenow")
    make_app(REFRESH_QUEUE="refreshq").due()
    emitted = {field for message in messages(everything_logged) for field in json.loads(message)}
    known = {each.value for kind in (Outcome, Cause, WarningCode, Reason) for each in kind}
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


def test_each_cause_and_set_of_connections_is_a_mail_of_its_own_within_ten_minutes() -> None:
    for rule in PLAIN.of_kind("Insights/scheduledQueryRules"):
        properties = rule["properties"]
        (criterion,) = properties["criteria"]["allOf"]
        split = ["cause"] if rule["name"] == "RefreshMissing" else ["cause", "connection"]
        assert [each["name"] for each in criterion["dimensions"]] == split, rule["name"]
        assert f"{criterion['metricMeasureColumn']} = " in criterion["query"], rule["name"]
        assert properties["evaluationFrequency"] in {"PT5M", "PT10M"}, rule["name"]


def test_a_second_connection_is_told_of_while_the_alert_of_the_first_stands(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
) -> None:
    """An alert that is fired says nothing again until it ends: other connections have to make it another one."""
    dead = {name: sandbox.add_connection(name).refresh_token for name in ("incidents", "assets")}
    app = make_app(SERVICENOW_CONNECTIONS=json.dumps({name: {"instance_url": sandbox.instance.url} for name in dead}))
    told = []
    for token in dead.values():
        assert token
        sandbox.instance.kill_refresh_token(token)
        for _ in range(12):
            everything_logged.lines.clear()
            app.tick(RunRequest(trigger=Trigger.TIMER))
            sandbox.clock.advance(minutes=5)
        told.append(connections_told(QUERIES["AuthorizationRequired"], messages(everything_logged)))
    assert told == ["incidents", "assets, incidents"]


@pytest.mark.parametrize("name", sorted(QUERIES.keys() - {"RefreshMissing"}))
def test_a_cause_that_meets_a_hundred_connections_is_no_hundred_mails(name: str) -> None:
    """Azure sends an address a hundred in an hour; beyond some, one alert stands for all, however many more come."""
    query = "| summarize names" + QUERIES[name].split("| summarize names")[1]
    lines = [json.dumps({"event": "any", "connection": f"c{number:03}"}) for number in range(100)]
    told = [connections_told(query, lines[:many]) for many in range(1, 101)]
    assert len({*told}) <= 21
    assert told[:2] == ["c000", "c000, c001"]
    assert told[-1] == "more than 20"


class TestWhatCanGoWrong:
    """Each row of the table in docs/telemetry.md: the line that shows it fires its alert, and no other."""

    DEAD = Respond(401, {"Content-Type": "application/json"}, b'{"error": {"message": "User Not Authenticated"}}')

    def after(self, app: App, sandbox: Sandbox, log: CapturedLog, *minutes: int) -> set[str]:
        """What the last of some ticks fires, each so many minutes after the one before."""
        for each in minutes:
            log.lines.clear()
            sandbox.clock.advance(minutes=each)
            tick(app)
        return firing(log)

    def test_the_table_names_every_alert(self) -> None:
        section = (ROOT / "docs" / "telemetry.md").read_text("utf-8").split("## What can go wrong")[1]
        rows = [line.split("|") for line in section.splitlines() if line.startswith("| ") and "`" in line]
        assert {row[3].strip(" `") for row in rows} == {*QUERIES, "StatusUnavailable"}

    def test_a_token_that_is_refused(
        self, sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
    ) -> None:
        sandbox.add_connection()
        app = make_app()
        tick(app)
        sandbox.faults.add(Fault(path="/api/now/table/sys_user", action=self.DEAD, times=None))
        assert self.after(app, sandbox, everything_logged, 5) == {"VerificationRefused"}

    def test_an_instance_that_is_away(
        self, sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
    ) -> None:
        sandbox.add_connection()
        app = make_app()
        tick(app)
        sandbox.faults.add(Fault(service="instance", action=Respond(503), times=None))
        assert self.after(app, sandbox, everything_logged, 50, 5) == set()
        assert self.after(app, sandbox, everything_logged, 5) == {"RefreshFailing"}

    def test_a_token_endpoint_that_says_no_and_not_to_what(
        self, sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
    ) -> None:
        """Most likely a gateway; an instance that did so for days must not go unnoticed."""
        sandbox.add_connection()
        app = make_app()
        tick(app)
        sandbox.faults.add(Fault(path="/oauth_token.do", action=Respond(401), times=None))
        assert self.after(app, sandbox, everything_logged, 50, 5, 5) == {"RefreshFailing"}
        assert self.after(app, sandbox, everything_logged, 24 * 60) == {"RefreshFailing"}
        assert "Is it? Then ServiceNow's system log says why" in (tick(app).hint or "")

    @pytest.mark.parametrize("name", ["servicenow-client-secret", "servicenow-client-id"])
    @pytest.mark.parametrize("gone", [True, False], ids=["deleted", "disabled"])
    def test_a_credential_that_no_request_can_do_without(
        self, sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog, name: str, gone: bool
    ) -> None:
        """No record counts a run that asked for nothing; whoever has no token is told all the same."""
        sandbox.add_connection()
        app = make_app()
        tick(app)
        if gone:
            sandbox.vault.delete(name)
        else:
            sandbox.vault.versions(name)[-1].enabled = False
        assert self.after(app, sandbox, everything_logged, 50) == set()
        assert self.after(app, sandbox, everything_logged, 10) == {"RefreshFailing"}

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_vault_that_does_not_answer(
        self, sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog, status: int
    ) -> None:
        sandbox.add_connection()
        app = make_app()
        tick(app)
        sandbox.faults.add(Fault(service="vault", action=Respond(status), times=None))
        assert self.after(app, sandbox, everything_logged, 5) == {"RefreshFailing"}

    @pytest.mark.parametrize("status", [429, 503])
    def test_a_vault_that_takes_nothing(
        self, sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog, status: int
    ) -> None:
        """The record of failures is in that vault as well: there is never a third."""
        sandbox.add_connection()
        app = make_app()
        tick(app)
        sandbox.faults.add(Fault(service="vault", method="PUT", action=Respond(status), times=None))
        assert self.after(app, sandbox, everything_logged, 50) == set()
        assert self.after(app, sandbox, everything_logged, 5) == {"RefreshFailing"}

    @pytest.mark.parametrize("cause", Cause)
    def test_whatever_else_keeps_a_run_from_asking(self, everything_logged: CapturedLog, cause: Cause) -> None:
        """No record counts it, and no list of ours has to know its cause."""
        report = RunReport(
            connection="hr", run_id="1", trigger=Trigger.TIMER, outcome=Outcome.FAILED, message="failed", cause=cause
        )
        emit(report, datetime(2026, 1, 5, 8, tzinfo=UTC))
        told = firing(everything_logged)
        assert len(told) == 1

    def test_a_copy_that_cannot_be_written(
        self, sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
    ) -> None:
        sandbox.add_connection()
        app = make_app()
        tick(app)
        sandbox.vault.deny("set", "servicenow--action--global--oauth-token")
        assert self.after(app, sandbox, everything_logged, 50) == {"PublishFailed"}
        failures = []
        for _ in range(3):
            sandbox.clock.advance(minutes=5)
            failures.append(tick(app).consecutive_failures)
        assert failures == [2, 3, 4]

    @pytest.mark.parametrize("name", ["servicenow-oauth-token", "servicenow--action--global--oauth-token"])
    def test_a_token_or_a_copy_that_somebody_disabled(
        self, sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog, name: str
    ) -> None:
        """Its readers find none, on purpose or not."""
        sandbox.add_connection()
        app = make_app()
        tick(app)
        sandbox.vault.versions(name)[-1].enabled = False
        assert self.after(app, sandbox, everything_logged, 5) == {"PublishFailed"}

    def test_access_tokens_that_no_tick_can_renew_in_time(
        self, sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
    ) -> None:
        sandbox.instance.personality = replace(PERSONALITIES["default"], access_token_lifetime=timedelta(seconds=60))
        sandbox.add_connection()
        assert self.after(make_app(), sandbox, everything_logged, 0) == {"RefreshTokenEnding3Days"}

    def test_a_lease_that_is_never_released(
        self, sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog
    ) -> None:
        sandbox.add_connection()
        app = make_app(LEASE_CONTAINER_URL=sandbox.leases.url)
        tick(app)
        sandbox.leases.hold("servicenow", None)
        assert self.after(app, sandbox, everything_logged, 50) == {"LeaseStuck"}

    @pytest.mark.parametrize("status", [403, 404, 503])
    def test_a_lease_that_nobody_can_be_asked_for(
        self, sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog, status: int
    ) -> None:
        """The container is gone, or the role: a run waits at first, and then goes on without."""
        sandbox.add_connection()
        app = make_app(LEASE_CONTAINER_URL=sandbox.leases.url)
        tick(app)
        sandbox.faults.add(Fault(service="leases", action=Respond(status), times=None))
        assert self.after(app, sandbox, everything_logged, 50) == {"LeaseStuck"}
        assert self.after(app, sandbox, everything_logged, 5) == {"LeaseStuck"}

    def test_another_user(self, sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog) -> None:
        sandbox.add_connection()
        app = make_app()
        tick(app)
        secret = sandbox.vault.get("servicenow-oauth-token")
        assert secret is not None
        secret.tags["user-name"] = "somebody.else"
        assert self.after(app, sandbox, everything_logged, 50) == {"UserChanged"}

    def test_a_tick_without_time(self, everything_logged: CapturedLog) -> None:
        report = RunReport(
            connection="hr", run_id="1", trigger=Trigger.TIMER, outcome=Outcome.PUT_OFF, message="put_off"
        )
        emit(report, datetime(2026, 1, 5, 8, tzinfo=UTC))
        assert firing(everything_logged) == {"PutOff"}


def test_the_workbook_shows_what_an_operator_asks_first() -> None:
    titles = " ".join(item["content"]["title"] for item in WORKBOOK["items"] if item["type"] == 3)
    for subject in ("Coverage", "Outcomes", "Duration", "Remaining lives", "Failures by cause"):
        assert subject in titles
