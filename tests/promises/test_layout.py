"""The fixed top level of the repository, and what of it is deployed."""

import subprocess
import venv
from fnmatch import fnmatch
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DEPLOYED = {"function_app.py", "host.json", "requirements.txt", "refresher"}
FIXED = (
    ".ci/run",
    ".funcignore",
    ".gitignore",
    "LICENSE",
    "Makefile",
    "README.md",
    "docs/design.md",
    "function_app.py",
    "host.json",
    "local.settings.sample.json",
    "pyproject.toml",
    "refresher",
    "requirements.txt",
    "sandbox",
    "tests",
)


@pytest.mark.parametrize("path", FIXED)
def test_the_fixed_layout_is_there(path: str) -> None:
    """Deployments and operators' scripts depend on these places."""
    assert (ROOT / path).exists()


def test_everything_that_is_not_deployed_is_ignored_by_the_deployment() -> None:
    """A new file at the top level is either deployed on purpose or named in .funcignore."""
    lines = (ROOT / ".funcignore").read_text("utf-8").splitlines()
    patterns = [line.rstrip("/") for line in lines if line and not line.startswith("#")]
    listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True)  # noqa: S607
    top_level = {path.split("/")[0] for path in listed.stdout.splitlines()}
    ignored = {name for name in top_level if any(fnmatch(name, pattern) for pattern in patterns)}
    assert top_level - ignored <= DEPLOYED
    assert ignored & DEPLOYED == set()


def test_no_virtual_environment_is_deployed_whatever_its_name(tmp_path: Path) -> None:
    """The tool leaves them out by itself only where there is no .funcignore; Git reads the same patterns."""
    venv.create(tmp_path / "my environment", with_pip=False)
    library = tmp_path / "my environment" / "lib" / "python3.13" / "site-packages" / "requests"
    library.mkdir(parents=True)
    (library / "api.py").touch()
    (tmp_path / "function_app.py").touch()
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)  # noqa: S607
    words = ["git", "ls-files", "--others", f"--exclude-from={ROOT / '.funcignore'}"]
    left = subprocess.run(words, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert left.stdout.splitlines() == ["function_app.py"]


def test_the_ci_script_can_be_executed() -> None:
    """`bash .ci/run` works either way; a person types `.ci/run`."""
    assert (ROOT / ".ci/run").stat().st_mode & 0o100
