"""The sandbox's gateway answers as the Functions host was seen to answer this app: a line each of docs/host.md."""

import time
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection

import httpx
import pytest

from sandbox import Sandbox
from sandbox.hands import FUNCTION_KEY, MASTER_KEY, Hands
from sandbox.trial.gateway import Gateway
from sandbox.trial.host import Functions, environment, load_functions
from tests.sampling import thinned

KEY = {"x-functions-key": FUNCTION_KEY}
MASTER = {"x-functions-key": MASTER_KEY}
TIMER = "/admin/functions/refresh_tokens"
MEGABYTE = 1_000_000


@pytest.fixture
def functions(sandbox: Sandbox) -> Iterator[Functions]:
    with environment(sandbox.environ()):
        yield load_functions(sandbox.clock)


@pytest.fixture
def host(sandbox: Sandbox, functions: Functions) -> Iterator[httpx.Client]:
    """The gateway, asked without a key."""
    hands = Hands(sandbox, sandbox.add_connection(), {})
    with (
        Gateway(functions, hands, 0) as gateway,
        httpx.Client(base_url=gateway.url, trust_env=False, timeout=300) as client,
    ):
        yield client


@pytest.mark.parametrize("headers", thinned([{}, KEY, {"x-functions-key": "wrong"}]))
@pytest.mark.parametrize(
    ("method", "path"),
    thinned(
        [
            ("GET", "/api/other"),
            ("GET", "/api/refresh"),
            ("HEAD", "/api/refresh"),
            ("OPTIONS", "/api/status"),
            ("PUT", "/api/status"),
            ("DELETE", "/api/refresh"),
        ]
    ),
)
def test_a_route_or_method_that_is_not_there_is_404_without_a_body_whatever_the_key(
    host: httpx.Client, method: str, path: str, headers: dict[str, str]
) -> None:
    answer = host.request(method, path, headers=headers)
    assert (answer.status_code, answer.content) == (404, b"")


@pytest.mark.parametrize("path", thinned(["/api/refresh", "/api/other", "/admin/functions/refresh_tokens"]))
def test_a_post_without_a_length_is_refused_before_anything_else(host: httpx.Client, path: str) -> None:
    """By Azure's front end, as `curl -X POST` meets it (MicrosoftDocs/azure-docs issue 58216)."""
    request = host.build_request("POST", path, headers=KEY)
    del request.headers["content-length"]
    assert host.send(request).status_code == 411
    assert host.post(path, headers=KEY).status_code != 411
    assert host.post(path, headers=KEY, content=iter([b"{}"])).status_code != 411


def test_the_key_is_asked_for_once_the_route_is_known(host: httpx.Client) -> None:
    assert host.get("/api/status").status_code == 401
    assert host.get("/api/status", headers={"x-functions-key": "wrong"}).status_code == 401


@pytest.mark.parametrize("path", thinned(["/api/status/", "/API/Status"]))
def test_case_and_a_trailing_slash_do_not_matter(host: httpx.Client, path: str) -> None:
    assert host.get(path, headers=KEY).status_code == 503


def test_a_monitor_may_ask_for_the_head_alone(host: httpx.Client, functions: Functions) -> None:
    """With the same status and type as GET, before the first token and after it."""
    for expected in (503, 200):
        head, whole = host.head("/api/status", headers=KEY), host.get("/api/status", headers=KEY)
        assert (head.status_code, whole.status_code) == (expected, expected)
        assert head.headers["content-type"] == whole.headers["content-type"]
        assert head.content == b""
        functions.fire_timer()


def test_a_key_in_the_query_opens_and_reaches_the_function_which_lets_it_pass(host: httpx.Client) -> None:
    answer = host.post(f"/api/refresh?code={FUNCTION_KEY}&clientId=default&force=true")
    assert answer.status_code == 200
    assert FUNCTION_KEY not in answer.text


def test_a_parameter_that_is_repeated_arrives_as_one_with_a_comma_and_names_nothing(host: httpx.Client) -> None:
    answer = host.post("/api/refresh?connection=servicenow&connection=other", headers=KEY)
    assert answer.status_code == 404
    assert "servicenow,other" in answer.json()["detail"]


def test_an_empty_parameter_arrives(host: httpx.Client) -> None:
    assert host.post("/api/refresh?connection=", headers=KEY).status_code == 400


def test_a_path_that_is_too_long_is_refused(host: httpx.Client) -> None:
    assert host.get(f"/api/status?connection={'x' * 20_000}", headers=KEY).status_code == 414


def test_nesting_without_end_is_the_function_s_own_refusal(host: httpx.Client) -> None:
    """What the host passes on as it is."""
    assert host.post("/api/refresh", headers=KEY, content=b"[" * 200_000).status_code == 400


@pytest.mark.exhaustive
def test_a_body_of_99_megabytes_reaches_the_function(host: httpx.Client) -> None:
    assert host.post("/api/refresh", headers=KEY, content=b" " * 99 * MEGABYTE).status_code == 200


def test_a_body_of_110_megabytes_does_not(host: httpx.Client) -> None:
    """The head alone is enough to see that."""
    asked = HTTPConnection(host.base_url.host, host.base_url.port, timeout=300)
    asked.putrequest("POST", "/api/refresh")
    asked.putheader("x-functions-key", FUNCTION_KEY)
    asked.putheader("content-length", str(110 * MEGABYTE))
    asked.endheaders()
    with closing(asked), asked.getresponse() as answer:
        assert (answer.status, answer.read()) == (500, b"")


def test_a_function_that_raises_is_a_500_without_a_word(sandbox: Sandbox, functions: Functions) -> None:
    def fall(_: object) -> None:
        message = "canary"
        raise RuntimeError(message)

    falling = Functions(by_name={**functions.by_name, "status": fall})
    with Gateway(falling, Hands(sandbox, sandbox.add_connection(), {}), 0) as gateway:
        answer = httpx.get(f"{gateway.url}/api/status", headers=KEY, trust_env=False)
    assert (answer.status_code, answer.content) == (500, b"")


def test_a_tick_by_hand_is_accepted_and_refreshes(host: httpx.Client) -> None:
    answer = host.post(TIMER, headers=MASTER, json={"input": ""})
    assert (answer.status_code, answer.content) == (202, b"")
    until = time.monotonic() + 30
    while (status := host.get("/api/status", headers=KEY).status_code) != 200 and time.monotonic() < until:
        time.sleep(0.05)
    assert status == 200


@pytest.mark.parametrize(
    ("path", "headers", "body", "status"),
    thinned(
        [
            (TIMER, KEY, b'{"input": ""}', 403),
            (TIMER, {}, b'{"input": ""}', 401),
            (TIMER, MASTER, b"", 400),
            ("/admin/functions/nobody", MASTER, b'{"input": ""}', 404),
            ("/admin/functions/refresh_now", MASTER, b'{"input": ""}', 202),
        ]
    ),
    ids=["function key", "no key", "no body", "no such function", "one that needs a request"],
)
def test_what_a_call_by_hand_is_refused_for(
    sandbox: Sandbox, host: httpx.Client, path: str, headers: dict[str, str], body: bytes, status: int
) -> None:
    assert host.post(path, headers={**headers, "content-type": "application/json"}, content=body).status_code == status
    assert sandbox.log.count(service="instance") == 0
