"""The three functions, called as the host calls them (the worker itself is tried in tests/worker)."""

import json
from collections.abc import Iterator

import pytest

import function_app
from refresher.errors import SettingsError
from sandbox import Fault, Sandbox
from sandbox.faults import Respond
from sandbox.host import Functions, environment, load_functions


@pytest.fixture
def functions(sandbox: Sandbox) -> Iterator[Functions]:
    yield load_functions(sandbox.clock)
    function_app.refresher_app.close()


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
    [
        ({"connection": "servicenow", "force": "true"}, 200),
        ({"connection": "servicenow"}, 200),
        ({}, 200),
        ({"connection": "unknown"}, 404),
    ],
)
def test_a_refresh_by_http(sandbox: Sandbox, functions: Functions, params: dict[str, str], status: int) -> None:
    sandbox.add_connection("servicenow")
    assert functions.http("refresh_now", "POST", "/api/refresh", params).status_code == status


@pytest.mark.parametrize(("code", "status"), [(401, 502), (200, 502), (503, 503), (429, 503)])
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
    assert problem["connection"] == "servicenow"
    assert problem["cause"]
    assert problem["hint"]
    assert problem["run_id"]


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
