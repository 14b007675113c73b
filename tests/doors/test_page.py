"""The status page: the same facts as the JSON, escaped, and shown by a real browser under its own policy."""

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

import pytest

from refresher.model.report import Warning_, WarningCode
from refresher.model.steps import Step, authorize, probe, refresh
from refresher.status.copies import TargetStatus
from refresher.status.health import ConnectionStatus, State
from refresher.views.facts import facts
from refresher.views.page import HEADERS, status_page
from refresher.views.tables import show_statuses
from refresher.web import status_page_reply, status_reply
from sandbox import Fault, Sandbox
from sandbox.clock import START
from sandbox.faults import Respond
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
        assert not {"src", "href", "style", "onclick", "onload"} & set(attributes)
    policy = HEADERS["Content-Security-Policy"]
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy


def test_what_is_broken_comes_first_and_decides_the_status() -> None:
    statuses = [
        a_status("calm"),
        a_status("worried", state=State.FAILING),
        a_status("broken", state=State.EXPIRED, working=False, next_step=Step("Now: ", refresh("broken", force=True))),
    ]
    reply = status_page_reply(statuses, TICKING, START)
    assert reply.status == status_reply(statuses, TICKING, START).status == 503
    text = Words(reply.body).text
    assert text.index("broken") < text.index("worried") < text.index("calm")
    assert "1 of 3 connections without a working token" in text
    assert "python -m refresher refresh broken --force" in text
    assert reply.headers["Cache-Control"] == "no-store"
    assert status_page_reply(statuses[:2], TICKING, START).status == 200


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
            timeout=60,
            check=True,
        )
    assert picture.stat().st_size > 1000
    return "\n".join(line for line in finished.stderr.splitlines() if "Content Security Policy" in line)


def test_a_real_browser_shows_it_under_its_policy(tmp_path: Path) -> None:
    page = status_page([a_status()], TICKING, START)
    assert refusals(page, tmp_path) == ""
    assert "style" in refusals(page.replace("margin:0;", "margin:1px;", 1), tmp_path)
