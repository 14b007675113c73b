"""Rules with their sources, and what came of asking after them.

A rule agrees or differs only where it was asked; whatever was not asked says so, and why.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """One sentence about a service, and who says so."""

    name: str
    sentence: str
    source: str


class Answer(StrEnum):
    """What came of it."""

    AGREES = "agrees"
    DIFFERS = "differs"
    NOT_ASKED = "not asked"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """The answer to one rule; `seen` is what was seen instead, or why nobody asked."""

    rule: Rule
    answer: Answer
    seen: str = ""

    def __str__(self) -> str:
        seen = f" ({self.seen})" if self.seen else ""
        return f"{self.answer:<9}  {self.rule.name:<22}  {self.rule.sentence}{seen}"


class NotAskedError(Exception):
    """A rule cannot be asked after here; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check(Generic[_T]):
    """A rule, and the question that tells whether a service keeps it: what was seen instead, or None."""

    rule: Rule
    ask: Callable[[_T], str | None]


def ask_all(checks: Sequence[Check[_T]], service: _T) -> Iterator[Finding]:
    """Ask one after the other. What the service answers, however strange, ends none of the others."""
    for check in checks:
        try:
            seen = check.ask(service)
        except NotAskedError as reason:
            yield Finding(rule=check.rule, answer=Answer.NOT_ASKED, seen=str(reason))
        else:
            yield Finding(rule=check.rule, answer=Answer.DIFFERS if seen else Answer.AGREES, seen=seen or "")


def summary(findings: Sequence[Finding]) -> str:
    """The part of the line for the project that tells of the rules: names, and nothing that a service said."""
    parts = [f"agrees={sum(finding.answer is Answer.AGREES for finding in findings)}"]
    for answer in (Answer.DIFFERS, Answer.NOT_ASKED):
        names = ",".join(finding.rule.name for finding in findings if finding.answer is answer)
        parts.append(f"{answer.replace(' ', '-')}={names or '-'}")
    return " ".join(parts)
