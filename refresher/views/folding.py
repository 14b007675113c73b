"""How many connections are told of: the healthy ones folded, what one instance causes once, the gravest last.

A terminal shows its last lines; whoever has been woken reads those. `status` and `doctor` fold by the same rules.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding(Generic[T]):
    """What was found of one connection: `what` is whatever is shown of it."""

    connection: str
    instance: str
    """Its instance's address."""
    gravity: int
    """0 is healthy; the higher, the graver."""
    shared: str | None = None
    """What is the matter with the instance, for all that have the same; None where it is the connection's own."""
    what: T


@dataclass(frozen=True, slots=True, kw_only=True)
class Group(Generic[T]):
    """Findings that are told of together; more than one of them have an instance and what is wrong in common."""

    findings: tuple[Finding[T], ...]

    @property
    def gravity(self) -> int:
        """That of the gravest."""
        return max(finding.gravity for finding in self.findings)

    @property
    def instance(self) -> str | None:
        """The instance that is the cause for several; None for a connection that stands alone."""
        return self.findings[0].instance if len(self.findings) > 1 else None


def fold(findings: Iterable[Finding[T]], *, everything: bool = False) -> tuple[Group[T], ...]:
    """What is to be opened, the gravest last; the healthy ones too where `everything` is asked for."""
    groups: dict[tuple[str, str], list[Finding[T]]] = {}
    for finding in findings:
        if finding.gravity or everything:
            alone = finding.shared is None or everything
            key = ("", finding.connection) if alone else (finding.instance, f"{finding.shared}")
            groups.setdefault(key, []).append(finding)
    return tuple(sorted((Group(findings=tuple(each)) for each in groups.values()), key=lambda group: group.gravity))
