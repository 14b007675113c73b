"""Next steps as an examination may give them: never to examine again, and never what has just failed. No I/O."""

from collections.abc import Sequence
from itertools import zip_longest

from refresher.model import steps
from refresher.model.causes import Cause, diagnose
from refresher.model.errors import RefresherError
from refresher.model.steps import Command, Step
from refresher.views.words import few

_SHOWN = 3
_ANY = '"$NAME"'
"""As the runbook's shell has it, where no connection is examined."""


def follows_from(reasons: Sequence[str]) -> Step:
    """The step of what is mended with others; of many the first ones."""
    return Step(f"It follows from what is wrong with: {few(reasons, _SHOWN)}.")


def remedy_of(error: RefresherError, name: str | None) -> Step:
    """What to do about an error: its own hint, or what its cause calls for."""
    return without_doctor(error.hint) or remedy_of_cause(error.cause, name)


def remedy_of_cause(cause: Cause, name: str | None) -> Step:
    """What a cause calls for; where that would be to run this examination, what to look at."""
    diagnosis = diagnose(cause, name or _ANY)
    if steps.doctor() in diagnosis.next_step.commands:
        looked_at = [piece for check in diagnosis.checks for piece in ("; ", check)][1:]
        return Step("Look at: ", *looked_at, ".")
    return diagnosis.next_step


def without_doctor(step: Step | None, name: str | None = None) -> Step | None:
    """A step without the advice to examine, which is what is being done, and without the words that lead to it."""
    examining = {steps.doctor(), steps.doctor(name)}
    if step is None or not examining & {*step.commands}:
        return step
    followed = zip_longest(step.pieces, step.pieces[1:])
    kept = (piece for piece, next_one in followed if isinstance(piece, Command) or next_one not in examining)
    return Step(*(piece for piece in kept if piece not in examining))
