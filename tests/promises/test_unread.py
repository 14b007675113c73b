"""Programs of the sandbox whose output nobody reads any more, as in front of `head`, end without a complaint."""

import subprocess
import sys

import pytest

from tests.promises.places import ROOT
from tests.sampling import thinned

PROGRAMS = ("sandbox.trial.demo", "sandbox.trial.serve --port 0", "sandbox.simulation.simulate --days 0.05")


def complaint(process: subprocess.Popen[str]) -> str:
    """What a program says on stderr once nobody reads its output."""
    assert process.stdout is not None
    process.stdout.close()
    try:
        _, said = process.communicate(timeout=120)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return said


@pytest.mark.parametrize("program", thinned(PROGRAMS))
def test_it_ends_by_itself_and_says_nothing(program: str) -> None:
    words = [sys.executable, "-m", *program.split()]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert complaint(process) == ""
    assert process.returncode == 141


@pytest.mark.exhaustive
def test_a_sandbox_that_is_up_ends_with_the_reader_of_its_log() -> None:
    words = [sys.executable, "-m", "sandbox.trial.serve", "--port", "0"]
    with subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("The sandbox is up")
        assert complaint(process) == ""
    assert process.returncode == 141
