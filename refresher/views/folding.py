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


def fold(findings: Iterable[Finding[T]], *, everything: bool = False) -> tuple[tuple[Finding[T], ...], ...]:
    """What is to be opened, the gravest last; the healthy ones too where `everything` is asked for.

    Several that are told of together have an instance, and what is wrong with it, in common; the gravest of them
    comes first, and tells for all.
    """
    groups: dict[tuple[str, str], list[Finding[T]]] = {}
    for finding in findings:
        if finding.gravity or everything:
            alone = finding.shared is None or everything
            key = ("", finding.connection) if alone else (finding.instance, f"{finding.shared}")
            groups.setdefault(key, []).append(finding)
    ordered = (tuple(sorted(group, key=lambda each: -each.gravity)) for group in groups.values())
    return tuple(sorted(ordered, key=lambda group: group[0].gravity))
