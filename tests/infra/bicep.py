"""The Bicep files as the parser of checkov reads them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pycep

INFRA = Path(__file__).parents[2] / "infra"
FILES = (INFRA / "main.bicep", *sorted((INFRA / "app").glob("*.bicep")))


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """A resource, its loop and its condition taken off."""

    file: str
    name: str
    kind: str
    existing: bool
    body: Mapping[str, Any]

    @property
    def properties(self) -> Mapping[str, Any]:
        """Its `properties`."""
        found: Mapping[str, Any] = self.body["properties"]
        return found


@cache
def parsed(path: Path) -> Mapping[str, Any]:
    """A whole file."""
    document: Mapping[str, Any] = pycep.BicepParser().parse(file_path=path)
    return document


def resources() -> Iterator[Resource]:
    """Every resource of every file."""
    for path in FILES:
        for name, resource in parsed(path).get("resources", {}).items():
            body = resource["config"]
            while "config" in body:
                body = body["config"]
            yield Resource(file=path.name, name=name, kind=resource["type"], existing=resource["existing"], body=body)


def resource(file: str, name: str) -> Resource:
    """One resource, by its file and its symbolic name."""
    (found,) = (each for each in resources() if (each.file, each.name) == (file, name))
    return found


def module(name: str) -> Mapping[str, Any]:
    """The body of a module of main.bicep, its condition taken off."""
    body: Mapping[str, Any] = parsed(INFRA / "main.bicep")["modules"][name]["config"]
    found: Mapping[str, Any] = body.get("config", body)
    return found


def parameters() -> Mapping[str, Any]:
    """The parameters of main.bicep."""
    found: Mapping[str, Any] = parsed(INFRA / "main.bicep")["parameters"]
    return found
