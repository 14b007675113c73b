"""What an examination finds: preconditions that hold, and those that do not with their remedy."""

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from refresher.model.steps import Command, Step


class Verdict(StrEnum):
    """How a check ended."""

    PASS = "pass"  # noqa: S105 - the verdict's name
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One precondition; `remedy` is set where it does not pass."""

    connection: str | None
    name: str
    verdict: Verdict
    detail: str
    remedy: Step | None = None
    suspected: bool = False
    """Whether it is the first suspicion of its connection: what to mend before all else."""
    standing: bool = False
    """Whether it is a warning of how things were set up, which is there every day and no news."""
    follows: bool = False
    """Whether it only follows from others that fail, and is mended with them."""
    ahead: timedelta = timedelta()
    """How far this machine's clock was found to be ahead, where it differs; negative where it is behind."""


def passed(connection: str | None, name: str, detail: str) -> Check:
    """It holds."""
    return Check(connection=connection, name=name, verdict=Verdict.PASS, detail=detail)


def warned(connection: str | None, name: str, detail: str, remedy: str | Command) -> Check:
    """It holds now, and may not for long or not for everyone."""
    return Check(connection=connection, name=name, verdict=Verdict.WARN, detail=detail, remedy=Step(remedy))


def failed(connection: str | None, name: str, detail: str, remedy: str | Command) -> Check:
    """It does not hold."""
    return Check(connection=connection, name=name, verdict=Verdict.FAIL, detail=detail, remedy=Step(remedy))
