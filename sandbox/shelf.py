"""The secrets of one vault, and what becomes of them: stored, soft-deleted, recovered, purged.

Deleting and recovering take time. While a name is on its way it can be neither read nor written, as in recordings of
real vaults (`sandbox/conformance/vault.py` has the sources). Names are told apart without regard to case.
"""

import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum

from sandbox.clock import SandboxClock


@dataclass(slots=True, kw_only=True)
class SecretVersion:
    """One version of a secret, as an administrator sees it."""

    name: str
    version: str
    value: str
    created_on: datetime
    updated_on: datetime
    tags: dict[str, str] = field(default_factory=dict)
    expires_on: datetime | None = None
    not_before: datetime | None = None
    enabled: bool = True
    content_type: str | None = None


class Life(StrEnum):
    """Where a name stands."""

    ACTIVE = "active"
    BEING_DELETED = "being deleted"
    DELETED = "deleted"
    BEING_RECOVERED = "being recovered"


_COMES_TO = {Life.BEING_DELETED: Life.DELETED, Life.BEING_RECOVERED: Life.ACTIVE}


@dataclass(slots=True, kw_only=True)
class Shelved:
    """A name with its versions, oldest first."""

    name: str
    versions: list[SecretVersion] = field(default_factory=list)
    life: Life = Life.ACTIVE
    until: datetime | None = None
    """When what is under way comes to its end."""
    deleted_on: datetime | None = None


class Shelf:
    """All names of a vault. Whoever takes several steps holds `lock` meanwhile."""

    def __init__(self, clock: SandboxClock) -> None:
        self.lock = threading.RLock()
        self._clock = clock
        self._names: dict[str, Shelved] = {}

    def find(self, name: str) -> Shelved | None:
        """The name as it stands now; None where there is nothing of it."""
        found = self._names.get(name.lower())
        if found is not None and found.until is not None and self._clock.now() >= found.until:
            found.life, found.until = _COMES_TO[found.life], None
        return found

    def active(self, name: str) -> Shelved | None:
        """The name, if it can be read and written."""
        found = self.find(name)
        return found if found is not None and found.life is Life.ACTIVE else None

    def all(self, life: Life) -> list[Shelved]:
        """The names that stand so, in order."""
        found = [self.find(name) for name in sorted(self._names)]
        return [each for each in found if each is not None and each.life is life]

    def add(self, version: SecretVersion) -> None:
        """Put a version on top, whatever stands in its way."""
        shelved = self._names.setdefault(version.name.lower(), Shelved(name=version.name))
        shelved.versions.append(version)
        shelved.life, shelved.until = Life.ACTIVE, None

    def change(self, before: SecretVersion, after: SecretVersion) -> None:
        """Put a version in the place of another."""
        versions = self._names[before.name.lower()].versions
        versions[versions.index(before)] = after

    def delete(self, name: str, takes: timedelta) -> Shelved:
        """Soft-delete."""
        shelved = self._names[name.lower()]
        shelved.deleted_on = self._clock.now()
        self._set_out(shelved, Life.BEING_DELETED, takes)
        return shelved

    def recover(self, name: str, takes: timedelta) -> Shelved:
        """Begin to bring a soft-deleted name back."""
        shelved = self._names[name.lower()]
        self._set_out(shelved, Life.BEING_RECOVERED, takes)
        return shelved

    def purge(self, name: str) -> None:
        """Remove for good."""
        del self._names[name.lower()]

    def _set_out(self, shelved: Shelved, life: Life, takes: timedelta) -> None:
        shelved.life, shelved.until = life, self._clock.now() + takes
