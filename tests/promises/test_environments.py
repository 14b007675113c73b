"""The sandbox is alone, whatever the shell holds; `python -m tests.environments` tries each kind of machine alone."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresher.model.version import VERSION
from sandbox.alone import kept, shell_lines
from sandbox.trial.gateway import PortError
from sandbox.trial.serve import Standing, standing
from tests.environments import AZURE, PRODUCTION, TOGETHER
from tests.sampling import thinned
from tests.shell import ROOT


def test_what_reaches_the_sandbox_is_listed_and_production_is_not() -> None:
    ours = {"PATH": "/bin", "HOME": "/h", "LC_ALL": "C", "TZ": "UTC"}
    assert kept({**ours, **TOGETHER}) == ours


@pytest.mark.exhaustive
@pytest.mark.parametrize("module", ["sandbox.trial.demo", "sandbox.simulation.simulate"])
def test_the_sandbox_works_in_a_shell_with_the_settings_of_production(module: str) -> None:
    options = ["--days", "0.1", "--scenarios", "100d"] if "simulate" in module else []
    done = subprocess.run(
        [sys.executable, "-m", module, *options],
        env={**os.environ, **TOGETHER},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.exhaustive
def test_the_suite_is_alone_before_anything_is_imported() -> None:
    """A proxy, an authority or a queue's name that were left would fail any test over the sandbox."""
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "tests/doors/test_status.py",
        "-k",
        "lives_leaves",
    ]
    done = subprocess.run(
        command, env={**os.environ, **TOGETHER}, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]


@pytest.fixture(scope="module")
def place() -> Iterator[Standing]:
    with standing(None, 0) as place:
        place.functions.fire_timer()
        yield place


def in_a_shell(place: Standing, folder: Path, typed: str) -> subprocess.CompletedProcess[str]:
    """In one that holds the settings of production, and then reads the sandbox's file."""
    return subprocess.run(
        ["/bin/sh", "-ec", f". '{place.shell}'\n{typed}"],
        env={**os.environ, **TOGETHER, **AZURE},
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


@pytest.mark.exhaustive
def test_a_shell_that_reads_the_sandbox_s_file_reaches_the_sandbox_and_nothing_else(
    place: Standing, tmp_path: Path
) -> None:
    done = in_a_shell(place, tmp_path, "python -m refresher status --json; env -0 > left")
    assert done.returncode == 0, done.stdout + done.stderr
    (connection,) = json.loads(done.stdout)["connections"]
    assert connection["state"] == "fresh"
    left = dict(each.split("=", 1) for each in (tmp_path / "left").read_text("utf-8").split("\0") if each)
    alone = kept(left).keys() | {"OLDPWD", "PWD", "SHLVL", "_"}
    assert {name for name in left.keys() - alone if left[name] == TOGETHER.get(name)} == set()
    # A name that no shell can hold as a variable it hands on as it is; the product has none of those.
    assert {name for name in TOGETHER if name in left and name.isidentifier()} <= place.sandbox.environ().keys()
    assert PRODUCTION.keys() & left.keys() <= place.sandbox.environ().keys()


def test_a_value_of_several_lines_is_not_taken_for_variables() -> None:
    shell = ["/bin/sh", "-ec", f'{shell_lines()}\necho "$PATH"']
    environ = {"PATH": os.environ["PATH"], "NOTE": "one\nPATH=two\nthree"}
    done = subprocess.run(shell, env=environ, capture_output=True, text=True, timeout=300, check=True)
    assert done.stdout.strip() == environ["PATH"]


@pytest.mark.parametrize("port", thinned([-1, 65536, "taken"]))
def test_a_port_that_cannot_be_had_is_one_line(place: Standing, port: int | str) -> None:
    number = int(place.url.rsplit(":", 1)[1]) if port == "taken" else int(port)
    with pytest.raises(PortError, match=f"^port {number} is taken or forbidden: .+$"), standing(None, number):
        pass


@pytest.mark.exhaustive
def test_commands_are_forked_in_a_path_with_spaces_and_letters_of_other_alphabets(tmp_path: Path) -> None:
    place = tmp_path / "päth β x"
    place.symlink_to(Path(sys.executable).parents[1])
    typed = (
        "import subprocess; from tests.forks import python; subprocess.run([python(), '-m', 'refresher', '--version'])"
    )
    done = subprocess.run(
        [place / "bin" / Path(sys.executable).name, "-c", typed],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{VERSION}\n", "")


def test_two_sandboxes_of_a_process_have_a_file_each(place: Standing) -> None:
    with standing(None, 0) as other:
        assert place.shell != other.shell
        assert place.sandbox.vault.url in place.shell.read_text("utf-8")
