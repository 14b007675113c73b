"""The pinned files say what pyproject.toml asks for; `make lock` makes them agree again."""

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
"""Versions that one requirements.txt serves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pin:
    """One entry of a pinned file."""

    requirement: Requirement
    hashes: tuple[str, ...]

    @property
    def name(self) -> str:
        return canonicalize_name(self.requirement.name)

    @property
    def version(self) -> str:
        (specifier,) = self.requirement.specifier
        assert specifier.operator == "==", f"{self.requirement} is no pin"
        return specifier.version

    def applies_to(self, python: str) -> bool:
        return applies(self.requirement, python)


def applies(requirement: Requirement, python: str) -> bool:
    environment = {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": "linux",
        "platform_system": "Linux",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)


def read_pins(name: str) -> Iterator[Pin]:
    text = re.sub(r"\\\n", " ", (ROOT / name).read_text("utf-8"))
    for line in text.splitlines():
        if line and not line.startswith("#"):
            requirement, *hashes = line.split(" --hash=")
            yield Pin(requirement=Requirement(requirement.strip()), hashes=tuple(h.strip() for h in hashes))


def direct(group: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    wanted = project["project"]["dependencies"] if group == "runtime" else project["dependency-groups"][group]
    return [Requirement(line) for line in wanted]


FILES = {"runtime": "requirements.txt", "dev": "requirements-dev.txt"}


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("group", FILES)
def test_each_direct_dependency_is_pinned_within_its_range(group: str, python: str) -> None:
    """Whoever changes pyproject.toml and forgets `make lock` is told here."""
    pins = {pin.name: pin for pin in read_pins(FILES[group]) if pin.applies_to(python)}
    for wanted in direct(group):
        if applies(wanted, python):
            name = canonicalize_name(wanted.name)
            assert name in pins, f"{name} is in pyproject.toml but not in {FILES[group]}: run `make lock`"
            assert pins[name].version in wanted.specifier, f"{name} has left its range: run `make lock`"


@pytest.mark.parametrize("name", FILES.values())
def test_every_package_is_pinned_with_hashes(name: str) -> None:
    """A package that was changed after it was pinned does not install."""
    for pin in read_pins(name):
        assert pin.version
        assert pin.hashes, f"{pin.name} has no hash"
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in pin.hashes), pin.name


@pytest.mark.parametrize("python", PYTHONS)
def test_no_package_has_two_versions_at_once(python: str) -> None:
    """Both files install together: what stands in both is the same version."""
    versions: dict[str, set[str]] = {}
    for name in FILES.values():
        for pin in read_pins(name):
            if pin.applies_to(python):
                versions.setdefault(pin.name, set()).add(pin.version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_nothing_for_developers_only_is_deployed() -> None:
    """The deployed file holds no test tool and nothing that draws on a terminal."""
    deployed = {pin.name for pin in read_pins("requirements.txt")}
    runtime = {canonicalize_name(wanted.name) for wanted in direct("runtime")}
    # cryptography signs assertions (PyJWT needs it) and makes the sandbox's certificates.
    developers = {canonicalize_name(wanted.name) for wanted in direct("dev")} - runtime - {"cryptography"}
    assert deployed & developers == set()


@pytest.mark.parametrize("name", FILES.values())
def test_no_index_or_local_path_is_named(name: str) -> None:
    """Where the packages come from is the business of the machine that installs them."""
    text = (ROOT / name).read_text("utf-8")
    assert re.findall(r"--(?:extra-)?index-url|--find-links|file:|https?:|/root|/home", text) == []
