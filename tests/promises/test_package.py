"""What is deployed: the files that .funcignore leaves, the packages of requirements.txt, and nothing else."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path

import pytest
from packaging.utils import canonicalize_name

from sandbox import Sandbox, SandboxClock
from tests.promises.places import files_of_the_documents
from tests.promises.test_layout import DEPLOYED, ROOT
from tests.promises.test_requirements import read_pins

JUNK = (
    ".azure/prod/.env",
    ".env",
    ".venv/lib/python3.13/site-packages/httpx/__init__.py",
    ".venv-3.13/bin/python",
    ".venv.lock/pid",
    "__azurite_db_blob__.json",
    "__pycache__/function_app.cpython-313.pyc",
    "local.settings.json",
    "node_modules/azurite/package.json",
    "refresher/__pycache__/app.cpython-313.pyc",
    *sorted(files_of_the_documents()),
)
"""What lies about in a developer's folder."""
TICK = """
from refresher.model.report import RunRequest
from refresher.model.report import Trigger
import function_app

(report,) = function_app.refresher_app.tick(RunRequest(trigger=Trigger.TIMER))
print(report.outcome.value, report.grant.value)"""


def git(*arguments: str, cwd: Path) -> list[str]:
    """The lines that a git command prints."""
    command = ["git", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True).stdout.splitlines()


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What git holds, as it is now."""
    folder = tmp_path_factory.mktemp("clone")
    for name in git("ls-files", cwd=ROOT):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, folder / name)
    return folder


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory, clone: Path) -> Path:
    """The files that a deployment takes: git reads .funcignore by the rules of .gitignore, as azd does."""
    folder, package = tmp_path_factory.mktemp("folder"), tmp_path_factory.mktemp("package")
    shutil.copytree(clone, folder, dirs_exist_ok=True)
    for name in JUNK:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("junk", "utf-8")
    git("init", "--quiet", cwd=folder)
    for name in git("ls-files", "--others", "--exclude-from=.funcignore", cwd=folder):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(folder / name, package / name)
    return package


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of packages that holds those of requirements.txt for this Python, and no other."""
    site = tmp_path_factory.mktemp("site")
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    wanted = {pin.name for pin in read_pins("requirements.txt") if pin.applies_to(version)}
    for distribution in metadata.distributions():
        if canonicalize_name(distribution.metadata["Name"]) not in wanted:
            continue
        for file in distribution.files or ():
            source = Path(str(distribution.locate_file(file)))
            if ".." not in file.parts and source.is_file():
                (site / file).parent.mkdir(parents=True, exist_ok=True)
                (site / file).symlink_to(source)
    return site


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(clock=SandboxClock(datetime.now(UTC), flowing=True)) as running:
        running.add_connection()
        yield running


def run(package: Path, site: Path, script: str, environ: dict[str, str]) -> str:
    """Run a script in an interpreter that sees the standard library, the package and its packages."""
    beginning = f"import sys; sys.path[:0] = [{str(package)!r}, {str(site)!r}]\n"
    command = [sys.executable, "-I", "-S", "-B", "-c", beginning + script]
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")} | environ
    done = subprocess.run(command, env=environ, cwd=package, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_holds_the_app_and_nothing_else(package: Path) -> None:
    files = {path.relative_to(package).as_posix() for path in package.rglob("*") if path.is_file()}
    assert {name.split("/")[0] for name in files} == DEPLOYED
    assert files == {name for name in git("ls-files", cwd=ROOT) if name.split("/")[0] in DEPLOYED}


def test_git_is_offered_nothing_that_lies_about_and_no_credential(clone: Path) -> None:
    made = files_of_the_documents()
    assert {"CLIENT_SECRET_FILE", "app.json", "key.pem"} <= made
    git("init", "--quiet", cwd=clone)
    assert set(git("check-ignore", *JUNK, cwd=clone)) == set(JUNK)


@pytest.mark.exhaustive
def test_the_deployed_packages_are_enough_to_refresh_a_token(package: Path, site: Path, sandbox: Sandbox) -> None:
    """With the extras away that a developer has: what falls back to plain text without them does so."""
    away = ("rich", "pytest", "hypothesis", "sandbox")
    script = f"{TICK}; from importlib.util import find_spec; print([find_spec(name) for name in {away}])"
    assert run(package, site, script, sandbox.environ()) == "refreshed refresh_token\n[None, None, None, None]"


@pytest.mark.exhaustive
@pytest.mark.parametrize("grant", ["jwt_bearer", "password"])
def test_they_are_enough_for_every_grant(package: Path, site: Path, sandbox: Sandbox, grant: str) -> None:
    sandbox.add_connection(refresh_token=False, username=True, jwt_key=True)
    settings = {"SERVICENOW_GRANT": grant, "SERVICENOW_JWT": '{"sub": "servicenow.integration"}'}
    assert run(package, site, TICK, {**sandbox.environ(), **settings}) == f"refreshed {grant}"


@pytest.mark.exhaustive
def test_they_are_enough_for_the_blob_lease(package: Path, site: Path, sandbox: Sandbox) -> None:
    settings = {"LEASE_CONTAINER_URL": sandbox.leases.url}
    assert run(package, site, TICK, {**sandbox.environ(), **settings}) == "refreshed refresh_token"
    assert sandbox.log.count(service="leases") > 0


def warnings_of_the_doctor(folder: Path) -> set[str]:
    """What azure-functions-doctor warns of, by the names of its rules; it fails nothing."""
    doctor = Path(sys.executable).with_name("azure-functions-doctor")
    command = [str(doctor), "doctor", "--profile", "deploy", "--format", "json"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout
    items = [item for section in json.loads(done.stdout)["results"] for item in section["items"]]
    assert len([item for item in items if item["status"] == "pass"]) > 10
    assert [item for item in items if item["status"] not in {"pass", "skip", "warn"}] == []
    return {item["rule_id"] for item in items if item["status"] == "warn"}


ON_PURPOSE = {
    "check_native_dependency_risk": "cryptography is compiled for one system; hence the build in Azure",
    "check_binding_connection_resolution": "AzureWebJobsStorage is an identity's connection, set by the Bicep",
    "check_app_insights": "so is Application Insights",
    "check_host_json_log_level_conflict": "meant so (docs/host.md)",
    "check_flex_runtime_config": "linuxFxVersion is for the dedicated plan; Flex Consumption has functionAppConfig",
    "check_funcignore": "in the package alone, where .funcignore has done its work",
}
"""Why each warning of azure-functions-doctor stays."""


@pytest.mark.exhaustive
def test_the_doctor_of_function_apps_finds_no_fault_and_warns_of_what_is_meant(clone: Path, package: Path) -> None:
    """Whatever a deployment may start from."""
    assert warnings_of_the_doctor(clone) | warnings_of_the_doctor(package) == set(ON_PURPOSE)
