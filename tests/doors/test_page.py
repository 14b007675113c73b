"""The status page: the same facts as the JSON, escaped, and shown by a real browser under its own policy."""

import html
import re
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import azure.functions as func
import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.report import Warning_, WarningCode
from refresher.model.steps import Step, authorize, probe, refresh, set_secret
from refresher.servicenow.answers import Verdict
from refresher.status.connection_status import ConnectionStatus, State
from refresher.status.copies import TargetStatus
from refresher.views.facts import facts
from refresher.views.page import status_page
from refresher.views.style import HEADERS
from refresher.views.tables import show_statuses
from refresher.web import status_reply
from sandbox import Fault, Sandbox
from sandbox.clock import START
from sandbox.faults import Respond
from sandbox.trial.host import Functions, load_functions
from tests.conftest import MakeApp, tick
from tests.factories import TICKING
from tests.needs import need_chromium

pytestmark = pytest.mark.wire("any")


class Words(HTMLParser):
    """The visible words and the tags of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        # Where a line may be broken nothing is shown.
        if self.tags and self.tags[-1][0] == "wbr":
            self.words[-1] += data
        else:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def a_status(connection: str = "servicenow", **changes: object) -> ConnectionStatus:
    status = ConnectionStatus(
        connection=connection,
        state=State.FRESH,
        working=True,
        message="the token works and is fresh",
        issued_at=START,
        expires_at=START + timedelta(hours=1),
        lives=((START, START + timedelta(hours=1)),),
        targets=(TargetStatus(name="a--action--global--b", vault_url="https://kv", current=True, working=True),),
    )
    return replace(status, **changes)  # type: ignore[arg-type]


@pytest.mark.exhaustive
def test_a_gap_of_the_last_day_is_drawn_and_told(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    app = make_app()

    def ticks(count: int) -> None:
        for _ in range(count):
            tick(app)
            sandbox.clock.advance(timedelta(minutes=5))

    ticks(30)
    sandbox.faults.add(Fault(service="instance", times=40, action=Respond(400, {}, b"")))
    ticks(20)
    assert tick(app).outcome != "refreshed"
    sandbox.faults.clear()
    ticks(12)
    page = status_page(app.status(), TICKING, sandbox.clock.now())
    assert page.count('class="gap"') == 1
    (lacked,) = re.findall(r"(\d+) min without a token", Words(page).text)
    assert 50 <= int(lacked) <= 100


def test_a_screen_reader_says_once_what_the_timeline_shows() -> None:
    page = status_page([a_status()], TICKING, START + timedelta(minutes=30))
    assert page.count("Last 30 min, by dates: a token at all times") == 1
    shown = [attributes for tag, attributes in Words(page).tags if tag == "svg" or attributes.get("class") == "scale"]
    assert [attributes.get("aria-hidden") for attributes in shown] == ["true", "true"]


def test_words_from_anywhere_are_escaped() -> None:
    hostile = "<script>alert('x')</script>\"&"
    warning = Warning_(code=WarningCode.UNCHANGED, message=hostile, hint=Step(hostile))
    target = TargetStatus(name=hostile, vault_url=hostile, current=None, working=None)
    page = status_page(
        [
            a_status(
                hostile,
                message=hostile,
                next_step=Step(hostile),
                warnings=(warning,),
                targets=(target,),
            )
        ],
        TICKING,
        START,
    )
    read = Words(page)
    assert {tag for tag, _ in read.tags}.isdisjoint({"script", "img", "link", "iframe", "form"})
    assert read.text.count(hostile) >= 6


def test_the_page_needs_nothing_from_elsewhere_and_runs_no_script() -> None:
    read = Words(status_page([a_status()], TICKING, START))
    for _, attributes in read.tags:
        assert not {"src", "style", "onclick", "onload"} & set(attributes)
        assert not attributes.get("href")
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_the_page_stays_as_it_is_until_its_reader_loads_it_again() -> None:
    """WCAG 2.2.1: what changes by itself while somebody reads could not be stopped (its failure F41)."""
    page = status_page([a_status()], TICKING, START, {"code": "k"})
    assert "http-equiv" not in page
    # An empty address is the page's own, with the connection and the key that it was opened with.
    assert '<a href="">Load again</a>' in page


def test_what_is_broken_comes_first_and_decides_the_status() -> None:
    statuses = [
        a_status("calm"),
        a_status("worried", state=State.FAILING),
        a_status("broken", state=State.EXPIRED, working=False, next_step=Step("Now: ", refresh("broken", force=True))),
    ]
    reply = status_reply(statuses, TICKING, START, key={})
    assert reply.status == status_reply(statuses, TICKING, START).status == 503
    text = Words(reply.body).text
    assert text.index("broken") < text.index("worried") < text.index("calm")
    assert "1 of 3 connections without a working token" in text
    assert "python -m refresher refresh broken --force" in text
    assert reply.headers["Cache-Control"] == "no-store"
    assert status_reply(statuses[:2], TICKING, START, key={}).status == 200


def test_terminal_and_page_tell_the_same_facts(capfd: pytest.CaptureFixture[str]) -> None:
    warning = Warning_(code=WarningCode.UNCHANGED, message="the same again", hint=Step("Try: ", probe("servicenow")))
    status = a_status(
        basis="tried just now",
        refresh_at=START + timedelta(minutes=50),
        refresh_token_expires_at=START + timedelta(days=9),
        refresh_token_then=Step("refreshing stops, unless: ", authorize("servicenow")),
        last_attempt_at=START + timedelta(minutes=7),
        last_outcome="refreshed",
        consecutive_failures=2,
        checks=("the system log",),
        targets=(TargetStatus(name="copy", vault_url="https://kv", current=False, working=False),),
        warnings=(warning,),
    )
    now = START + timedelta(minutes=20)
    show_statuses([status], TICKING, now)
    terminal, page = capfd.readouterr().out, Words(status_page([status], TICKING, now)).text
    told = facts(status, now)
    assert [(fact.label, fact.text) for fact in told] == [
        ("access token", "ends in 40 min"),
        ("age", "20 min"),
        ("next refresh", "in 30 min"),
        ("refresh token", "ends in 9 d"),
        ("targets", "0 of 1"),
        ("known", "tried just now"),
        ("last attempt", "13 min ago: refreshed, 2 failures in a row"),
        ("target copy in https://kv", "holds no token that works"),
        ("when the refresh token ends", status.refresh_token_then),
        ("warning", "the same again. Try: python -m refresher probe servicenow"),
        ("check", "the system log"),
    ]
    for fact in told:
        for piece in (fact.label, *map(str, fact.text.pieces)):
            assert piece in terminal
            assert piece.casefold() in page.casefold()
        assert fact.more in page


def test_a_healthy_connection_is_a_row_that_opens_and_a_broken_one_is_open() -> None:
    dead = a_status("dead", state=State.EXPIRED, working=False)
    page = status_page([a_status(f"well{n}", instance_url="https://i") for n in range(5)] + [dead], TICKING, START)
    assert page.count("<details") == 5
    assert page.count("<article") == 1
    assert page.index("<article") < page.index("<details")
    assert status_page([a_status()], TICKING, START).count("<article") == 1


def test_what_an_instance_does_to_many_is_one_card() -> None:
    many = [
        a_status(f"c{n}", state=State.FAILING, cause=Cause.INSTANCE_HIBERNATING, instance_url="https://i")
        for n in range(9)
    ]
    page = status_page(many, TICKING, START)
    assert page.count("<article") == 1
    assert "9 connections of https://i have the same: c0 (failing), c1 (failing)" in Words(page).text


def test_one_card_for_many_is_that_of_the_gravest_and_so_is_its_button() -> None:
    hurt = {"cause": Cause.INSTANCE_HIBERNATING, "instance_url": "https://i"}
    alive = a_status("alive", state=State.FAILING, **hurt)
    dead = a_status("dead", state=State.EXPIRED, working=False, next_step=Step(refresh("dead")), **hurt)
    page = status_page([alive, dead], TICKING, START, {"code": "k"})
    assert '<article class="bad"><h2>dead' in page
    (form,) = [attributes for tag, attributes in Words(page).tags if tag == "form"]
    assert "connection=dead&" in (form["action"] or "")


@pytest.mark.parametrize(
    ("changes", "heading"),
    [
        ({"state": State.AUTHORIZATION_REQUIRED}, "1 of 1 connection waiting for a person"),
        ({"state": State.FAILING}, "1 of 1 connection failing or about to end"),
        ({}, "By dates every connection holds a living token"),
        ({"tried": Verdict.ACCEPTED}, "Every connection holds a working token"),
    ],
)
def test_no_heading_contradicts_a_card(changes: dict[str, object], heading: str) -> None:
    read = Words(status_page([a_status("servicenow", **changes)], TICKING, START))
    assert heading in read.text
    if changes.get("tried") is None:
        assert "Every connection holds a working token" not in read.text


def test_a_page_that_was_opened_with_a_key_offers_first_what_a_phone_can_do() -> None:
    key = {"code": 'k"&y', "clientId": "default"}
    status = a_status(state=State.EXPIRED, working=False, next_step=Step(refresh("servicenow", force=True)))
    page = status_page([status], TICKING, START, key)
    (form,) = [attributes for tag, attributes in Words(page).tags if tag == "form"]
    target = urlsplit(form["action"] or "")
    assert (form["method"], target.path) == ("post", "refresh")
    assert dict(parse_qsl(target.query)) == {"connection": "servicenow", "force": "true", **key}
    assert page.index("<form") < page.index("Next step")
    assert "Code + Test" in Words(page).text
    assert "form-action 'self'" in HEADERS["Content-Security-Policy"]
    without = status_page([status], TICKING, START)
    assert "<form" not in without
    assert "Code + Test" in Words(without).text


@pytest.mark.parametrize("state", [State.AUTHORIZATION_REQUIRED, State.UNKNOWN])
def test_what_a_forced_refresh_cannot_mend_offers_none(state: State) -> None:
    page = status_page([a_status(state=state, working=None)], TICKING, START, {"code": "k"})
    assert "<form" not in page
    assert "Code + Test" not in page


def test_a_card_has_its_checks_its_user_its_instance_and_its_runbook() -> None:
    status = a_status(
        state=State.FAILING,
        cause=Cause.ACCESS_DENIED,
        checks=("look here first",),
        user_name="hr.integration",
        instance_url="https://hr.service-now.com",
    )
    text = Words(status_page([status], TICKING, START)).text
    for words in ("look here first", "hr.integration", "https://hr.service-now.com"):
        assert words in text
    assert "docs/runbook/causes.md#access_denied" in text


def test_commands_are_broken_at_their_spaces_and_not_at_their_hyphens() -> None:
    page = status_page([a_status(next_step=Step("Now: ", refresh("hr-cases", force=True)))], TICKING, START)
    assert "<code>python <wbr>-m <wbr>refresher <wbr>refresh <wbr>hr-cases <wbr>--force</code>" in page
    (rule,) = re.findall(r"\ncode\{([^}]*)\}", page)
    assert "white-space:nowrap" in rule
    assert "overflow-x:auto" in rule


MEASURE = """<script>addEventListener("load", () => {
  const page = document.querySelector("iframe").contentDocument;
  for (const row of page.querySelectorAll("details")) row.open = true;
  const wide = [page.documentElement, ...page.querySelectorAll("code")].filter((e) => e.scrollWidth > e.clientWidth);
  document.body.textContent = "wider than a phone: " + wide.length;
});</script>"""


@pytest.mark.exhaustive
@pytest.mark.parametrize("breakable", [True, False])
def test_nothing_is_wider_than_a_phone(tmp_path: Path, breakable: bool) -> None:
    """A page of long words, 320 pixels wide: what has to be scrolled sideways is read in pieces (WCAG 1.4.10)."""
    name = "a" * 41
    step = Step("Store it: ", set_secret("v" * 24, "hr-client-secret"), " then ", refresh("hr", force=True))
    target = TargetStatus(name="t" * 127, vault_url="https://" + "v" * 200, current=False, working=False)
    broken = a_status(name, state=State.EXPIRED, working=False, next_step=step, targets=(target,), message="m" * 200)
    healthy = a_status("h" * 41, instance_url="https://" + "i" * 63 + ".service-now.com", user_name="u" * 100)
    page = status_page([broken, healthy], TICKING, START, {"code": "k"})
    shown = html.escape(page if breakable else page.replace("<wbr>", ""))
    frame = tmp_path / "frame.html"
    frame.write_text(f'<!doctype html><iframe width="320" height="4000" srcdoc="{shown}"></iframe>{MEASURE}', "utf-8")
    words = [need_chromium(), "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={tmp_path}"]
    finished = subprocess.run(
        [*words, "--virtual-time-budget=5000", "--dump-dom", frame.as_uri()],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert ("wider than a phone: 0" in finished.stdout) == breakable
    assert "wider than a phone: " in finished.stdout


class TestTheForm:
    """Pressed on a real page of the app, as a browser does."""

    @pytest.fixture
    def functions(self, sandbox: Sandbox, app: App) -> Functions:
        sandbox.add_connection()
        functions = load_functions(sandbox.clock, app)
        functions.fire_timer()
        return functions

    def press(self, functions: Functions) -> func.HttpResponse:
        browser = {"accept": "text/html"}
        page = functions.http("status", "GET", "/api/status", {"code": "key"}, headers=browser).get_body().decode()
        (form,) = [attributes for tag, attributes in Words(page).tags if tag == "form"]
        target = urlsplit(form["action"] or "")
        assert target.path == "refresh"
        return functions.http("refresh_now", "POST", "/api/refresh", dict(parse_qsl(target.query)), headers=browser)

    def test_it_refreshes_and_leads_back(self, sandbox: Sandbox, functions: Functions) -> None:
        before = sandbox.vault.versions("servicenow-oauth-token")[-1].value
        answer = self.press(functions)
        page = answer.get_body().decode()
        assert (answer.status_code, answer.mimetype) == (200, "text/html")
        assert "servicenow: refreshed; the token lives 60 min" in Words(page).text
        assert 'href="status?code=key"' in page
        assert sandbox.vault.versions("servicenow-oauth-token")[-1].value != before

    def test_what_keeps_it_from_refreshing_is_said(self, sandbox: Sandbox, functions: Functions) -> None:
        self.press(functions)
        again = self.press(functions)
        assert again.status_code == 429
        text = Words(again.get_body().decode()).text
        assert "a forced refresh over HTTP has just been made" in text
        assert "This could not be done" in text
        sandbox.clock.advance(timedelta(minutes=1))
        sandbox.faults.add(Fault(service="instance", path="/oauth_token.do", times=None, action=Respond(503, {}, b"")))
        failed = self.press(functions)
        assert failed.status_code == 503
        text = Words(failed.get_body().decode()).text
        assert "ServiceNow failed with status 503" in text
        assert "The refresh failed; the old token is still in use" in text


@contextmanager
def serving(page: str) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            for name, value in {"Content-Type": "text/html; charset=utf-8", **HEADERS}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(page.encode())

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the overridden one
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def refusals(page: str, folder: Path) -> str:
    """What a browser says of a page that breaks its own policy."""
    chromium = need_chromium()
    picture = folder / "page.png"
    with serving(page) as url:
        finished = subprocess.run(
            [
                chromium,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--enable-logging=stderr",
                f"--user-data-dir={folder}",
                f"--screenshot={picture}",
                url,
            ],
            capture_output=True,
            text=True,
            timeout=300,
            check=True,
        )
    assert picture.stat().st_size > 1000
    return "\n".join(line for line in finished.stderr.splitlines() if "Content Security Policy" in line)


@pytest.mark.exhaustive
def test_a_real_browser_shows_it_under_its_policy(tmp_path: Path) -> None:
    page = status_page([a_status()], TICKING, START)
    assert refusals(page, tmp_path) == ""
    assert "style" in refusals(page.replace("margin:0;", "margin:1px;", 1), tmp_path)
