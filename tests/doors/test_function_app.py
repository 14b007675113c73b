"""The three functions, called as the host calls them (the worker itself is tried in tests/worker)."""

import json
from http import HTTPStatus

import pytest

from refresher.app import App
from refresher.lease.file import LOCK_DIRECTORY, FileLease
from refresher.model.errors import SettingsError
from refresher.web import page_key
from sandbox import Fault, Sandbox
from sandbox.faults import Respond
from sandbox.trial.host import Functions, environment, load_functions, product_clock
from tests.conftest import CapturedLog
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")


@pytest.fixture
def functions(sandbox: Sandbox, app: App) -> Functions:
    return load_functions(sandbox.clock, app)


def test_the_timer_refreshes_and_status_passes(sandbox: Sandbox, functions: Functions) -> None:
    sandbox.add_connection("servicenow")
    assert functions.http("status", "GET", "/api/status").status_code == 503
    functions.fire_timer()
    answer = functions.http("status", "GET", "/api/status")
    assert answer.status_code == 200
    assert answer.mimetype == "application/health+json"
    assert functions.status()["status"] == "pass"


@pytest.mark.parametrize(
    ("params", "status"),
    thinned(
        [
            ({"connection": "servicenow", "force": "true"}, 200),
            ({"connection": "servicenow"}, 200),
            ({}, 200),
            ({"connection": "unknown"}, 404),
        ]
    ),
)
def test_a_refresh_by_http(sandbox: Sandbox, functions: Functions, params: dict[str, str], status: int) -> None:
    sandbox.add_connection("servicenow")
    assert functions.http("refresh_now", "POST", "/api/refresh", params).status_code == status


@pytest.mark.parametrize(("code", "status"), thinned([(401, 502), (200, 502), (503, 503), (429, 503)]))
def test_a_refresh_that_fails_is_a_problem_document(
    sandbox: Sandbox, functions: Functions, code: int, status: int
) -> None:
    sandbox.add_connection("servicenow")
    sandbox.faults.add(Fault(path="/oauth_token.do", times=None, action=Respond(code, {}, b"")))
    answer = functions.http("refresh_now", "POST", "/api/refresh", {"connection": "servicenow"})
    assert answer.status_code == status
    assert answer.mimetype == "application/problem+json"
    problem = json.loads(answer.get_body())
    assert problem["status"] == status
    assert (problem["type"], problem["title"]) == ("about:blank", HTTPStatus(status).phrase)
    assert problem["connection"] == "servicenow"
    assert problem["cause"]
    assert problem["hint"]
    assert problem["run_id"]


def test_a_secret_that_is_not_there_is_not_blamed_on_servicenow(sandbox: Sandbox, functions: Functions) -> None:
    """503, the vault cannot serve, with the secret's name; 502 is for what ServiceNow answers."""
    sandbox.add_connection("servicenow")
    sandbox.vault.delete("servicenow-client-secret")
    answer = functions.http("refresh_now", "POST", "/api/refresh", {"connection": "servicenow"})
    problem = json.loads(answer.get_body())
    assert (answer.status_code, problem["cause"]) == (503, "secret_missing")
    assert "servicenow-client-secret" in problem["detail"]
    assert sandbox.log.count(service="instance") == 0


def test_missing_settings_are_named_by_the_first_call(sandbox: Sandbox) -> None:
    with environment({"KEY_VAULT_URL": "", "SERVICENOW_INSTANCE_URL": "http://example.service-now.com"}):
        broken = load_functions(sandbox.clock)
        for name, method in (("status", "GET"), ("refresh_now", "POST")):
            answer = broken.http(name, method, f"/api/{name}")
            problem = json.loads(answer.get_body())
            assert answer.status_code == 500
            assert [text.split(" ", 1)[0] for text in problem["problems"]] == [
                "KEY_VAULT_URL",
                "SERVICENOW_INSTANCE_URL",
            ]
        with pytest.raises(SettingsError, match="KEY_VAULT_URL"):
            broken.fire_timer()


BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}


@pytest.mark.parametrize(("name", "method"), [("status", "GET"), ("refresh_now", "POST")])
def test_a_browser_gets_a_page_of_what_kept_an_answer_from_being_made(
    sandbox: Sandbox, functions: Functions, name: str, method: str
) -> None:
    """Of each kind: the call's mistake, an unknown connection, settings; with the way back, and with its headers."""

    def page(app: Functions, params: dict[str, str]) -> tuple[int, str]:
        answer = app.http(name, method, f"/api/{name}", {"code": "key", **params}, headers=BROWSER)
        assert (answer.mimetype, answer.headers["Cache-Control"]) == ("text/html", "no-store")
        assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
        text = answer.get_body().decode()
        assert 'href="status?code=key"' in text
        return answer.status_code, text

    sandbox.add_connection("servicenow")
    code, text = page(functions, {"conection": "servicenow"})
    assert code == 400
    assert "connection=NAME" in text
    code, text = page(functions, {"connection": "servicenwo"})
    assert code == 404
    assert "servicenwo" in text
    with environment({"KEY_VAULT_URL": "", "SERVICENOW_INSTANCE_URL": "http://example.service-now.com"}):
        code, text = page(load_functions(sandbox.clock), {})
    assert code == 500
    for words in ("<p>KEY_VAULT_URL", "<p>SERVICENOW_INSTANCE_URL", "docs/settings.md"):
        assert words in text


def test_the_body_says_the_same_as_the_query_and_counts_where_both_speak(
    sandbox: Sandbox, functions: Functions, everything_logged: CapturedLog
) -> None:
    sandbox.add_connection("servicenow")
    functions.fire_timer()
    everything_logged.lines.clear()
    body = json.dumps({"connection": "servicenow", "force": True, "reason": "ticket\n4711"}).encode()
    answer = functions.http(
        "refresh_now", "POST", "/api/refresh", {"connection": "unknown", "force": "false"}, body=body
    )
    assert answer.status_code == 200
    assert json.loads(answer.get_body())["connections"][0]["outcome"] == "refreshed"
    (event,) = (json.loads(line.split(" ", 2)[2]) for line in everything_logged.lines if "refresh_outcome" in line)
    assert event["operator_reason"] == "ticket 4711"
    stored = sandbox.vault.get("servicenow-oauth-token")
    assert stored is not None
    assert (stored.tags["reason"], stored.tags["trigger"]) == ("ticket 4711", "http")


@pytest.mark.parametrize(
    ("params", "caller", "told"),
    [
        ({"reason": "ticket"}, {"X-MS-CLIENT-PRINCIPAL-NAME": "alice@contoso.com"}, "ticket (by alice@contoso.com)"),
        (
            {},
            {"X-MS-CLIENT-PRINCIPAL-NAME": "alice@contoso.com", "X-MS-CLIENT-PRINCIPAL-ID": "i"},
            "by alice@contoso.com",
        ),
        ({}, {"X-MS-CLIENT-PRINCIPAL-ID": "an-application"}, "by an-application"),
        ({"reason": "r" * 256}, {"X-MS-CLIENT-PRINCIPAL-NAME": "n" * 300}, f"{'r' * 122} (by {'n' * 128})"),
        ({"reason": "ticket"}, {}, "ticket"),
        ({}, {}, None),
    ],
)
def test_who_signed_in_is_in_the_log_of_what_they_forced(
    sandbox: Sandbox,
    functions: Functions,
    everything_logged: CapturedLog,
    params: dict[str, str],
    caller: dict[str, str],
    told: str | None,
) -> None:
    """By the platform's headers, which nobody else can set (docs/azure.md, 'The functions' own door')."""
    sandbox.add_connection("servicenow")
    functions.http("refresh_now", "POST", "/api/refresh", {"force": "true", **params}, headers=caller)
    (event,) = (json.loads(line.split(" ", 2)[2]) for line in everything_logged.lines if "refresh_outcome" in line)
    assert event.get("operator_reason") == told


@pytest.mark.parametrize(
    ("params", "body"),
    [
        ({}, b"not json"),
        ({}, b'["servicenow"]'),
        ({}, b'{"force": "perhaps"}'),
        ({"force": "1"}, b""),
        ({}, b'{"force": 1}'),
        ({}, b'{"reason": 4711}'),
        ({}, b'{"connection": {}}'),
        ({}, json.dumps({"reason": "x" * 300}).encode()),
        ({}, b"\xff\xfe"),
    ],
)
def test_a_request_that_cannot_be_understood_is_one_clear_error_and_changes_nothing(
    sandbox: Sandbox, functions: Functions, params: dict[str, str], body: bytes
) -> None:
    sandbox.add_connection("servicenow")
    answer = functions.http("refresh_now", "POST", "/api/refresh", params, body=body)
    assert answer.status_code == 400
    problem = json.loads(answer.get_body())
    assert problem["cause"] == "bad_request"
    assert "connection=NAME" in problem["hint"]
    assert sandbox.vault.get("servicenow-oauth-token") is None
    assert len(sandbox.log) == 0


def test_busy_is_a_conflict_that_says_when_to_come_back(sandbox: Sandbox, functions: Functions) -> None:
    sandbox.add_connection("servicenow")
    lease = FileLease(LOCK_DIRECTORY, product_clock(sandbox.clock), sandbox.vault.url)
    with lease.acquire("servicenow", int):
        answer = functions.http("refresh_now", "POST", "/api/refresh", {"connection": "servicenow"})
    assert answer.status_code == 409
    assert int(answer.headers["Retry-After"]) >= 1
    assert json.loads(answer.get_body())["cause"] == "lease_held"


@pytest.mark.parametrize(
    ("accept", "page"),
    [
        (BROWSER["Accept"], True),
        ("text/html", True),
        ("application/json, text/html", True),
        ("Application/JSON ; Q=0.5 , Text/HTML;level=1; q=0.9", True),
        ("text/html;q=0", False),
        ("text/html; q=0.000, */*", False),
        ("application/health+json, text/html;q=0", False),
        ("application/health+json, text/html;q=0.9", False),
        ("application/json;q=0.5, text/html;q=0.1, */*;q=0.8", False),
        ("application/problem+json, text/html;q=0.9", False),
        ("text/htmlx, */*", False),
        ("text/html;q=much", False),
        ("text/html;q=nan", False),
        ("*/*", False),
        (",;q=,", False),
        ("", False),
    ],
)
def test_a_page_is_for_whoever_would_rather_have_one(accept: str, page: bool) -> None:
    """RFC 9110, 12.4.2 and 12.5.1: a weight of 0 is "not acceptable", the higher one counts."""
    assert (page_key(accept, {}) is not None) == page


def test_a_browser_gets_a_page_and_a_monitor_json(sandbox: Sandbox, functions: Functions) -> None:
    sandbox.add_connection("servicenow")
    functions.fire_timer()
    page = functions.http("status", "GET", "/api/status", headers={"Accept": "text/html,application/xhtml+xml"})
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert page.headers["Content-Security-Policy"].startswith("default-src 'none'")
    assert page.get_body().startswith(b"<!doctype html>")
    for accept in ("*/*", "application/json", ""):
        answer = functions.http("status", "GET", "/api/status", headers={"Accept": accept})
        assert answer.mimetype == "application/health+json"
