"""test.http, sent to what `make serve` serves: the calls do what their titles say, and send the key in a header."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from sandbox import Sandbox
from sandbox.hands import FUNCTION_KEY, Hands
from sandbox.trial.gateway import Gateway
from sandbox.trial.host import environment, load_functions

SAMPLE = (Path(__file__).parents[2] / "test.http").read_text("utf-8")
VARIABLES = dict(re.findall(r"^@(\w+) = (.+)$", SAMPLE, re.MULTILINE))


def calls() -> Iterator[tuple[str, str, str, dict[str, str], str]]:
    """Title, method, path with query, headers and body of each call, its variables filled in."""
    for block in SAMPLE.split("\n### ")[1:]:
        head, _, body = block.partition("\n\n")
        title, first, *lines = head.splitlines()
        method, url = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        headers = {name: re.sub(r"\{\{(\w+)\}\}", lambda it: VARIABLES[it[1]], text) for name, text in headers.items()}
        assert url.startswith("{{host}}/")
        yield title, method, url.removeprefix("{{host}}"), headers, body.strip()


@pytest.fixture
def origin(sandbox: Sandbox) -> Iterator[str]:
    hands = Hands(sandbox, sandbox.add_connection(), {})
    with environment(sandbox.environ()), Gateway(load_functions(sandbox.clock), hands, 0) as gateway:
        yield gateway.url


def test_the_calls_of_the_sample_do_what_their_titles_say(sandbox: Sandbox, origin: str) -> None:
    answers = {}
    with httpx.Client(base_url=origin, trust_env=False) as client:
        # The first status is asked for before anything was refreshed.
        for title, method, path, headers, body in calls():
            answers[title] = client.request(method, path, headers=headers, content=body)
            sandbox.clock.advance(seconds=30)  # as a person who reads the answer first
    status, page, due, forced, unknown = answers.values()
    assert [answer.status_code for answer in (status, page, due, forced, unknown)] == [503, 503, 200, 200, 404]
    assert status.headers["content-type"].startswith("application/health+json")
    assert page.headers["content-type"].startswith("text/html")
    assert [answer.json()["connections"][0]["outcome"] for answer in (due, forced)] == ["refreshed", "refreshed"]
    assert unknown.headers["content-type"].startswith("application/problem+json")


def test_the_key_is_sent_in_a_header_and_is_asked_for(origin: str) -> None:
    assert VARIABLES["key"] == FUNCTION_KEY
    for title, _, path, headers, _ in calls():
        assert headers["x-functions-key"] == FUNCTION_KEY, title
        assert "code=" not in path, title
    assert httpx.get(f"{origin}/api/status", trust_env=False).status_code == 401
