"""Words for people: spans, what a target holds, and the commands in a sentence."""

import re
from datetime import timedelta

from refresher.status.health import TargetStatus


def holds(target: TargetStatus) -> str:
    """What a target holds, as the end of a sentence."""
    if target.current is None:
        return "cannot be read"
    if target.current:
        return "holds the current token" if target.working else "holds the same token, which has ended"
    return "holds an older token, which still works" if target.working else "holds no token that works"


def span_text(span: timedelta) -> str:
    """A stretch of time in the unit that a person would choose."""
    seconds = span.total_seconds()
    minutes = round(seconds / 60)
    if abs(seconds) < 2 * 60:
        return f"{round(seconds)} s"
    if minutes < 3 * 60:
        return f"{minutes} min"
    return f"{minutes / 60:.0f} h" if minutes < 3 * 24 * 60 else f"{minutes / 60 / 24:.0f} d"


_COMMAND = re.compile(r"(?:python -m refresher|\baz) .+?(?=[.;,]\s|\.?$)")


def commands_in(text: str) -> list[tuple[str, bool]]:
    """The text in pieces, in order: words, and commands (True) that a person can run."""
    pieces, at = [], 0
    for found in _COMMAND.finditer(text):
        pieces += [(text[at : found.start()], False), (found[0], True)]
        at = found.end()
    return [piece for piece in (*pieces, (text[at:], False)) if piece[0]]


def steps_in(text: str) -> list[tuple[str, bool]]:
    """The same for a list in which each piece stands alone: without the signs that joined it to its neighbours."""
    pieces = ((piece.strip(" .;,"), is_command) for piece, is_command in commands_in(text))
    return [piece for piece in pieces if piece[0]]
