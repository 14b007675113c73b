"""The one way out to a terminal, a pipe or a page: words that came from elsewhere neither steer nor end what is shown.

A tag, a reason of last year or a user's name may hold escape sequences, signs that turn the direction of writing,
line breaks, or half a character that no encoding has. All of it is shown as it would be typed in a program.
"""

import io
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

UNREAD = 141
"""What a shell expects of a program whose output nobody reads any more, as in front of `head`."""


def visible(text: str) -> str:
    """The text in one line, each sign that has no look of its own spelled out."""
    if text.isprintable():
        return text
    return "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)


def say(line: str = "", *, aside: bool = False) -> None:
    """Print one line; `aside` on stderr, where messages go."""
    print(visible(line), file=sys.stderr if aside else sys.stdout)


def say_json(body: Mapping[str, object]) -> None:
    """Print a document at once, in ASCII."""
    print(json.dumps(body, indent=2), flush=True)


def ask(question: str) -> str:
    """Ask on stderr; returns the line that is typed."""
    sys.stderr.write(visible(question))
    sys.stderr.flush()
    return sys.stdin.readline().strip()


def clear() -> None:
    """Begin at the top of an empty screen."""
    print("\033[2J\033[H", end="")


def take_everything() -> None:
    """Let no output end because its terminal's encoding lacks a character, or because somebody closed it (`>&-`)."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("w", encoding="utf-8"))  # noqa: SIM115 - open as long as the process
        elif isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def while_read(program: Callable[[], int]) -> int:
    """The exit code of a program; UNREAD, and no complaint, where nobody reads its output any more."""
    try:
        code = program()
        sys.stdout.flush()
    except BrokenPipeError:
        write_no_more()
        return UNREAD
    return code


def write_no_more() -> None:
    """Let what is left go nowhere: the interpreter flushes once more when it ends."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
