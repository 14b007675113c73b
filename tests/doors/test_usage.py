"""Command lines that cannot be meant, options in either place, and output that cannot be written."""

import os
import subprocess
from pathlib import Path

import pytest

from refresher.cli.main import main
from refresher.cli.parser import build_parser
from sandbox import Sandbox
from tests.forks import python


@pytest.mark.parametrize(
    "line",
    [
        ["refresh", ""],
        ["refresh", "  "],
        ["status", ""],
        ["history", ""],
        ["probe", ""],
        ["revoke", ""],
        ["authorize", "", "--grant", "password"],
        ["history", "--limit", "0"],
        ["history", "--limit", "-1"],
        ["authorize", "hr", "--grant", "authorization_code", "--port", "99999"],
        ["authorize", "hr", "--grant", "authorization_code", "--port", "-1"],
        ["authorize", "hr", "--grant", "authorization_code", "--timeout", "nan"],
        ["authorize", "hr", "--grant", "authorization_code", "--timeout", "inf"],
        ["authorize", "hr", "--grant", "authorization_code", "--timeout", "-5"],
        ["status", "--watch", "--every", "nan"],
    ],
)
def test_what_cannot_be_meant_is_wrong_usage(line: list[str], capfd: pytest.CaptureFixture[str]) -> None:
    """An empty name is a variable that is not set; it must not become a wish for every connection."""
    with pytest.raises(SystemExit) as caught:
        main(line)
    assert caught.value.code == 2
    assert "error: argument" in capfd.readouterr().err


def test_options_that_all_commands_have_may_stand_before_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REFRESHER_SETTINGS", raising=False)
    file = Path("settings.json")
    for line in (["--settings", "settings.json", "--debug", "status"], ["status", "--settings", "settings.json"]):
        options = build_parser().parse_args(line)
        assert (options.command, options.settings, options.debug) == ("status", file, "--debug" in line)
    both = build_parser().parse_args(["--settings", "first.json", "status", "--settings", "settings.json"])
    assert both.settings == file
    monkeypatch.setenv("REFRESHER_SETTINGS", "named.json")
    assert build_parser().parse_args(["status"]).settings == Path("named.json")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no device that is always full")
def test_a_full_disk_is_said_in_a_sentence(sandbox: Sandbox) -> None:
    sandbox.add_connection()
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [python(), "-m", "refresher", "status", "--offline"],
            env={**os.environ, **sandbox.environ()},
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            timeout=300,
            check=False,
        )
    assert (done.returncode, done.stderr) == (1, "the output could not be written: No space left on device\n")
