"""Whether a command can be typed as it stands: each is given to the parser of the program that it names."""

import shlex

from refresher.cli.parser import build_parser
from sandbox import az


def taken_apart(line: str) -> tuple[str, list[str]]:
    """A line as the shell sees it, a word in the place of each command whose output it takes; and those commands."""
    inner: list[str] = []
    while (begins := line.find('"$(')) >= 0:
        depth, at = 1, begins + 3
        while depth:
            depth += {"(": 1, ")": -1}.get(line[at], 0)
            at += 1
        inner.append(line[begins + 3 : at - 1])
        ends = line.index('"', at)
        line = f"{line[:begins]}OUTPUT{line[at:ends]}{line[ends + 1 :]}"
    return line, inner


def understood(line: str) -> bool:
    """Whether the program's parser takes it, and what it has the shell run first; for `az` that of the sandbox."""
    line, inner = taken_apart(line)
    if not all(map(understood, inner)):
        return False
    program, *words = shlex.split(line)
    parser = az.build_parser()
    if program != "az":
        assert (program, words[:2]) == ("python", ["-m", "refresher"])
        parser, words = build_parser(), words[2:]
    try:
        parser.parse_args(words)
    except SystemExit:
        return False
    return True
