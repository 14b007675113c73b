"""What each deployment of `infra/cases/` would create, as Azure's own template engine worked it out."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from infra.check import CASES, INFRA, snapshot_of

ROOT = INFRA.parent
BUILT_IN = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "ba92f5b4-2d11-453d-a403-e96b0029c9fe": "Storage Blob Data Contributor",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "b86a8fe4-44ce-4948-aee5-eccb2c155cd7": "Key Vault Secrets Officer",
    "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1": "Storage Blob Data Reader",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
    "12338af0-0e69-4776-bea7-57ae8d297424": "Key Vault Crypto User",
    "21090545-7ca7-4776-b22c-e362652fd0ac": "Key Vault Reader",
    "de139f84-1756-47ae-9be6-808fbbe84772": "Website Contributor",
}
WHO = {"00000000-0000-0000-0000-00000000000c": "on call"}
"""The group that the cases name."""
_ASSIGNED = re.compile(
    r"(?:\[extensionResourceId\(')?(.+?)(?:', '|/providers/)Microsoft\.Authorization/roleAssignments"
)
_ANSWERS = (
    (r"reference\('[^']*/vaults/([^']+)', '[^']+'\)\.vaultUri", r"'https://\1.vault.azure.net/'"),
    (r"reference\('[^']*/(st\w+)', '[^']+'\)\.primaryEndpoints\.(\w+)", r"'https://\1.\2.core.windows.net/'"),
    (r"environment\(\)\.suffixes\.keyvaultDns", "'.vault.azure.net'"),
)


def resolved(value: str) -> str:
    """A text with what only Azure could answer put in: addresses of vaults and storage accounts."""
    if not value.startswith("["):
        return value
    text = value[1:-1]
    for expression, answer in _ANSWERS:
        text = re.sub(expression, answer, text)
    first, *others = re.findall(r"'([^']*)'", text)
    match text.split("(")[0]:
        case "format":
            return str(first.format(*others))
        case "replace":
            return str(first.replace(*others))
        case _:
            return str(first)


@dataclass(frozen=True, kw_only=True)
class Role:
    """A role that is assigned: to the app, to who deploys, or to who is on call."""

    to: str
    name: str
    on: str

    @property
    def vault(self) -> str:
        """The vault that it is assigned on, or a secret of."""
        found = re.search(r"/vaults/([\w-]+)", self.on)
        return found[1] if found else ""

    @property
    def secret(self) -> str:
        """The secret that it is assigned on; empty for another scope."""
        return self.on.split("/secrets/")[1] if "/secrets/" in self.on else ""


class Snapshot:
    """One deployment."""

    def __init__(self, case: Path) -> None:
        self.case = case
        self.document: Mapping[str, Any] = json.loads(snapshot_of(case).read_text("utf-8"))

    def of_kind(self, kind: str) -> list[Mapping[str, Any]]:
        """Every resource of a kind, without `Microsoft.`."""
        return [each for each in self.document["predictedResources"] if each["type"] == f"Microsoft.{kind}"]

    def one(self, kind: str, name: str = "") -> Mapping[str, Any]:
        """The properties of the one resource of a kind whose name ends so."""
        (found,) = (each["properties"] for each in self.of_kind(kind) if each["name"].endswith(name))
        properties: Mapping[str, Any] = found
        return properties

    @property
    def settings(self) -> dict[str, str]:
        """The app's settings, as the app reads them."""
        return {name: resolved(value) for name, value in self.one("Web/sites/config", "/appsettings").items()}

    @cached_property
    def roles(self) -> list[Role]:
        """Every role that is assigned."""
        return [*self._roles()]

    def _roles(self) -> Iterator[Role]:
        own = {
            each["name"]: each["properties"]["roleName"].split(" (")[0]
            for each in self.of_kind("Authorization/roleDefinitions")
        }
        for each in self.of_kind("Authorization/roleAssignments"):
            scope = _ASSIGNED.match(each["id"])
            assert scope, each["id"]
            role = each["properties"]["roleDefinitionId"].rsplit("/", 1)[1]
            principal = each["properties"]["principalId"]
            to = "app" if "userAssignedIdentities" in principal else WHO.get(principal, "who deploys")
            yield Role(to=to, name=(BUILT_IN | own)[role], on=scope[1])


SNAPSHOTS = {case.stem: Snapshot(case) for case in CASES}
PLAIN, EVERYTHING = SNAPSHOTS["plain"], SNAPSHOTS["everything"]
