"""Words that came from elsewhere: they neither steer a terminal or a page, nor does any output end by them."""

import io
import json
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from refresher.cli.main import COMMANDS, main
from refresher.views.terminal import visible
from sandbox import Sandbox, SandboxClock
from sandbox.trial.host import environment, load_functions
from tests.sampling import thinned

HOSTILE = {
    "escape": "\x1b[2Jgone",
    "one-byte escape": "\x9b2Jgone",
    "bell": "\x07",
    "right to left": "\u202egnp.exe",
    "isolate": "\u2066x\u2069",
    "zero width": "a\u200bb",
    "half a character": "\ud800",
    "byte of a broken argument": "\udcff",
    "line break": "x\nEvery connection holds a working token",
    "carriage return": "x\rfresh",
    "line separator": "x\u2028fresh",
    "next line": "x\x85fresh",
    "not in the code page": "\u540d\u524d \U0001f642",
}
TAGS = ("user-name", "reason", "grant", "trigger", "run-id", "connection", "vault", "accepted-by", "recent")
SECRETS = ("servicenow-oauth-token", "servicenow-refresh-record", "servicenow-refresh-token")
CALLS = [
    ["status"],
    ["status", "--offline", "--all"],
    ["status", "--json"],
    ["history"],
    ["history", "--json"],
    ["doctor"],
    ["doctor", "--json"],
    ["probe"],
    ["probe", "--json"],
    ["tick"],
    ["tick", "--json"],
    ["refresh", "--force"],
    ["refresh", "--json"],
    ["revoke", "servicenow", "--yes"],
]


@pytest.fixture(scope="module")
def running() -> Iterator[Sandbox]:
    with Sandbox(clock=SandboxClock(datetime.now(UTC), flowing=True)) as sandbox:
        sandbox.add_connection()
        with environment(sandbox.environ()):
            assert main(["refresh"]) == 0
            yield sandbox


def poison(sandbox: Sandbox, words: str) -> None:
    """Put the words wherever somebody else may write."""
    for name in SECRETS:
        stored = sandbox.vault.get(name)
        if stored is None:
            stored = sandbox.vault.put(name, "x")
        kept = {tag: value for tag, value in stored.tags.items() if tag not in TAGS}
        stored.tags.clear()
        stored.tags.update(kept | dict.fromkeys(TAGS, words))
        if name.endswith("record"):
            stored.tags.update(
                {"last-outcome": words, "last-cause": words, "consecutive-failures": "2", "password": words}
            )


@pytest.mark.parametrize("encoding", thinned(["ascii", "cp1252", "utf-8"]))
@pytest.mark.parametrize("call", thinned(CALLS, 5), ids=" ".join)
def test_no_command_lets_them_through_or_ends_by_them(
    running: Sandbox, monkeypatch: pytest.MonkeyPatch, call: list[str], encoding: str
) -> None:
    poison(running, " / ".join(HOSTILE.values()))
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2))
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert main(call) in {0, 1, 3}
    for stream in (out, err):
        stream.flush()
        assert isinstance(stream.buffer, io.BytesIO)
        shown = stream.buffer.getvalue().decode(encoding)
        assert "something happened that this program does not know" not in shown
        assert [line for line in shown.split("\n") if not line.isprintable()] == []
        assert sum(line.startswith("Every connection holds") for line in shown.split("\n")) <= 1
    if "--json" in call:
        assert json.loads(out.buffer.getvalue())


@pytest.mark.usefixtures("running")
@pytest.mark.parametrize(
    "call", thinned([["status"], ["status", "--json"], ["history"], ["doctor"], ["probe"]], 3), ids=" ".join
)
@pytest.mark.parametrize("closed", thinned([["stdout"], ["stderr"], ["stdout", "stderr"]]), ids="-".join)
def test_a_closed_output_ends_no_command(monkeypatch: pytest.MonkeyPatch, call: list[str], closed: list[str]) -> None:
    """As `>&-` leaves it to a program."""
    expected = main(call)
    for name in closed:
        monkeypatch.setattr(sys, name, None)
    assert main(call) == expected
    for name in closed:
        getattr(sys, name).close()


def test_every_command_was_called() -> None:
    assert {call[0] for call in CALLS} == COMMANDS.keys() - {"authorize"}


@pytest.mark.parametrize("words", thinned(HOSTILE.values(), 5), ids=HOSTILE)
def test_a_page_and_json_over_http_survive_them(running: Sandbox, words: str) -> None:
    poison(running, words)
    functions = load_functions(running.clock)
    page = functions.http("status", "GET", "/api/status", headers={"accept": "text/html"}).get_body().decode()
    told = page[page.index("<body>") :]
    assert told.isprintable()
    assert json.loads(functions.http("status", "GET", "/api/status").get_body())


@pytest.mark.parametrize("words", HOSTILE.values(), ids=HOSTILE)
def test_what_is_shown_of_them_is_one_printable_line(words: str) -> None:
    assert visible(words).isprintable()
    assert visible("name: it works, 100 %") == "name: it works, 100 %"


@pytest.mark.parametrize(
    "call",
    thinned(
        [
            ["refresh", "\x1b[31mx"],
            ["refresh", "\x1b[31mx", "\x1b[31my"],
            ["status", "--\x1b[31m"],
            ["refresh", "--reason", "a\u202eb"],
            ["refresh", "--reason", "\udcff"],
            ["refresh", "--reason", "x" * 257],
        ],
        3,
    ),
)
def test_what_was_typed_is_not_echoed_raw(
    running: Sandbox, call: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    before = len(running.log)
    try:
        code = main(call)
    except SystemExit as ended:
        code = int(ended.code or 0)
    assert code == 2
    said = capfd.readouterr().err
    assert said
    assert [line for line in said.split("\n") if not line.isprintable()] == []
    assert running.log.count(service="instance") <= before
