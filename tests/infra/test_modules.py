"""What the Bicep compiler would say of names first: it is not to be had here, and the pipeline runs it."""

import re
from pathlib import Path

import pytest

from tests.infra.bicep import FILES, INFRA, parsed

MAIN = parsed(INFRA / "main.bicep")
TEXT = (INFRA / "main.bicep").read_text("utf-8")
MODULES = dict(MAIN["modules"])


@pytest.mark.parametrize("name", MODULES)
def test_a_module_is_given_the_parameters_that_it_declares(name: str) -> None:
    """All that have no default, and none that does not exist."""
    body = MODULES[name]["config"]
    given = set(body.get("config", body)["params"])
    declared = parsed(INFRA / MODULES[name]["detail"]["path"])["parameters"]
    assert given <= set(declared)
    assert {each for each, about in declared.items() if about["default"] is None} <= given


@pytest.mark.parametrize("path", FILES[1:], ids=lambda path: path.name)
def test_the_outputs_of_a_file_are_those_that_are_read(path: Path) -> None:
    modules = [name for name, each in MODULES.items() if each["detail"]["path"] == f"app/{path.name}"]
    read = {found for name in modules for found in re.findall(rf"\b{name}\.outputs\.(\w+)", TEXT)}
    assert read == set(parsed(path).get("outputs", {}))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_parameter_and_variable_is_used(path: Path) -> None:
    """A name that is misspelt where it is used leaves its declaration alone."""
    without_keys = re.sub(r"^\s*\w+:", "", path.read_text("utf-8"), flags=re.MULTILINE)
    document = parsed(path)
    for name in (*document.get("parameters", {}), *document.get("variables", {})):
        assert len(re.findall(rf"\b{name}\b", without_keys)) > 1, name


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_that_is_read_is_there(path: Path) -> None:
    for name in re.findall(r"load(?:Text|Json)Content\('([^']+)'", path.read_text("utf-8")):
        assert path.parent.joinpath(name).is_file(), name


def test_every_module_file_is_used_and_every_dependency_is_one() -> None:
    assert {each["detail"]["path"] for each in MODULES.values()} == {f"app/{path.name}" for path in FILES[1:]}
    named = set(re.findall(r"dependsOn: \[(\w+)\]", TEXT))
    assert named <= set(MODULES)
