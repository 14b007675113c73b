"""The harness itself, over a tiny app: what it reports is what the worker library says."""

import asyncio
import os
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.worker.harness import IndexingError, Result, WorkerHarness

SAMPLE = """
import logging
import os
import threading

import azure.functions as func

app = func.FunctionApp(http_auth_level=func.AuthLevel.FUNCTION)
both_here = threading.Barrier(2, timeout=60)


@app.timer_trigger(arg_name="timer", schedule="%SCHEDULE%", run_on_startup=False)
def tick(timer: func.TimerRequest) -> None:
    logging.getLogger("sample").info("past due: %s", timer.past_due)


@app.route(route="echo", methods=["POST"])
def echo(req: func.HttpRequest) -> func.HttpResponse:
    if req.params.get("fail"):
        raise RuntimeError("asked to fail")
    text = f"{os.environ.get('GREETING', 'nothing')} {req.params.get('name')} {req.headers.get('X-From')}"
    return func.HttpResponse(text + " " + req.get_body().decode(), status_code=202, headers={"X-Seen": "yes"})


@app.route(route="meet", methods=["GET"])
def meet(req: func.HttpRequest) -> func.HttpResponse:
    both_here.wait()
    return func.HttpResponse('{"met": true}', mimetype="application/json")
"""

WriteApp = Callable[[str], Path]


@pytest.fixture
def write_app(tmp_path: Path) -> WriteApp:
    def write(source: str) -> Path:
        (tmp_path / "function_app.py").write_text(textwrap.dedent(source), "utf-8")
        return tmp_path

    return write


def test_indexing_reports_every_function_with_its_bindings(write_app: WriteApp) -> None:
    """The host learns names, triggers and the key level from the app's decorators."""
    with WorkerHarness(write_app(SAMPLE), {}) as host:
        assert set(host.functions) == {"tick", "echo", "meet"}
        assert host.functions["tick"].trigger["schedule"] == "%SCHEDULE%"
        assert host.functions["echo"].trigger["authLevel"] == "FUNCTION"
        assert host.functions["tick"].retry is None
        assert any("Successfully indexed" in record.getMessage() for record in host.logs)


@pytest.mark.parametrize("past_due", [False, True])
def test_a_timer_learns_whether_it_is_late(write_app: WriteApp, past_due: bool) -> None:
    """An invocation's result carries what it logged."""
    with WorkerHarness(write_app(SAMPLE), {}) as host:
        result = host.timer("tick", past_due=past_due)
    assert result.ok
    assert f"past due: {past_due}" in [record.getMessage() for record in result.logs]


def test_an_http_function_gets_the_request_and_answers_it(write_app: WriteApp) -> None:
    """Query, headers, body and settings arrive; status, headers and body come back."""
    with WorkerHarness(write_app(SAMPLE), {"GREETING": "good day"}) as host:
        result = host.http(
            "echo", "POST", "/api/echo", query={"name": "Ann"}, headers={"X-From": "Bob"}, body={"key": 1}
        )
    assert (result.ok, result.status, result.body) == (True, 202, b'good day Ann Bob {"key": 1}')
    assert result.headers["x-seen"] == "yes"


def test_a_setting_can_be_missing(write_app: WriteApp, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the test's own environment holds need not reach the app, and is there again afterwards."""
    monkeypatch.setenv("GREETING", "from outside")
    with WorkerHarness(write_app(SAMPLE), {}, without=("GREETING",)) as host:
        assert host.http("echo", "POST", "/api/echo").body.startswith(b"nothing")
    assert os.environ["GREETING"] == "from outside"


def test_a_failed_invocation_shows_what_the_host_is_told(write_app: WriteApp) -> None:
    """The exception's message and traceback go to the telemetry: leak tests read them here."""
    with WorkerHarness(write_app(SAMPLE), {}) as host:
        result = host.http("echo", "POST", "/api/echo", query={"fail": "1"})
    assert not result.ok
    assert result.error == "RuntimeError: asked to fail"
    assert "Traceback" in result.stack


def test_invocations_overlap(write_app: WriteApp) -> None:
    """Two calls that wait for each other both finish."""
    with WorkerHarness(write_app(SAMPLE), {}) as host:

        async def both() -> list[Result]:
            return await asyncio.gather(*(host.ahttp("meet", "GET", "/api/meet") for _ in range(2)))

        results = host.run(both())
    assert [result.json() for result in results] == [{"met": True}] * 2


def test_an_app_that_cannot_be_imported_is_refused_whole(write_app: WriteApp) -> None:
    """A setting read at import time takes every function down."""
    with (
        pytest.raises(IndexingError, match="KeyError: 'NOT_SET'"),
        WorkerHarness(write_app("import os\nos.environ['NOT_SET']\n"), {}),
    ):
        pass
    assert "AzureWebJobsScriptRoot" not in os.environ


def test_an_extra_parameter_is_refused_at_indexing(write_app: WriteApp) -> None:
    """The real library judges signatures, not the harness."""
    source = SAMPLE.replace("(timer: func.TimerRequest)", "(timer: func.TimerRequest, extra: str)")
    with pytest.raises(IndexingError, match="extra"), WorkerHarness(write_app(source), {}):
        pass


def test_each_harness_imports_its_own_app(write_app: WriteApp) -> None:
    """One test's app is not the next one's, and the process's own modules come back."""
    before = sys.modules.get("function_app")
    with WorkerHarness(write_app(SAMPLE), {}) as host:
        assert "echo" in host.functions
    with WorkerHarness(write_app(SAMPLE.replace("def echo", "def shout")), {}) as host:
        assert "shout" in host.functions
        assert "echo" not in host.functions
    assert sys.modules.get("function_app") is before
