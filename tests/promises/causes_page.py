"""The runbook's page of causes: each section begins with what the table of causes says, and may go on with more.

`python -m tests.promises.causes_page` writes the beginnings anew and keeps what follows them.
"""

import re

from refresher.model.causes import Cause
from refresher.model.steps import Command, Step
from tests.shell import ROOT

PAGE = ROOT / "docs" / "runbook" / "causes.md"
_NAME = "{connection}"


def beginning(cause: Cause) -> str:
    """What the row says, as Markdown."""
    row = cause.row
    lines = [row.meaning, ""]
    lines += [f"- {_words(check)}" for check in row.checks]
    return "\n".join([*lines, "", *_step(row.next_step)]).rstrip("\n") + "\n"


def sections(page: str) -> dict[str, str]:
    """What stands under each heading, by heading."""
    parts = re.split(r"^## (.+)$\n\n", page, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def more(section: str) -> str:
    """What follows a beginning: everything behind a line that marks it."""
    return section.partition(_MORE)[2].strip("\n")


_MORE = "<!-- more -->\n"


def _words(text: str) -> str:
    pieces = text.pieces if isinstance(text, Step) else [text]
    return "".join(f"`{_named(piece)}`" if isinstance(piece, Command) else piece for piece in pieces).replace(
        _NAME, "NAME"
    )


def _named(command: Command) -> str:
    return str(command).replace(_NAME, '"$NAME"')


def _step(step: Step) -> list[str]:
    lines: list[str] = []
    pieces = [piece for piece in step.apart() if piece != "then:"]
    for place, piece in enumerate(pieces):
        if isinstance(piece, Command):
            if lines and lines[-1] == "```":
                lines[-1:] = [_named(piece), "```"]
            else:
                lines += ["", "```console", _named(piece), "```"]
        else:
            before_command = place + 1 < len(pieces) and isinstance(pieces[place + 1], Command)
            lines += ["", piece.rstrip(":").replace(_NAME, "NAME") + (":" if before_command else ".")]
    return lines[1:]


def written(page: str) -> str:
    """The page with all beginnings as they should be."""
    head = page.split("\n## ", 1)[0].rstrip("\n")
    found = sections(page)
    texts = [head]
    for cause in Cause:
        kept = more(found.get(cause.value, ""))
        texts.append(f"## {cause.value}\n\n{beginning(cause)}" + (f"\n{_MORE}\n{kept}" if kept else ""))
    return "\n\n".join(text.rstrip("\n") for text in texts) + "\n"


if __name__ == "__main__":
    PAGE.write_text(written(PAGE.read_text("utf-8")), "utf-8")
