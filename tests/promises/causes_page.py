"""The runbook's page of causes: each section begins with what the table of causes says, and may go on with more.

The head has in full what most sections ask for; they name it.

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


_MORE = "<!--more-->\n"


def _words(text: str) -> str:
    pieces = text.pieces if isinstance(text, Step) else [text]
    return _placed("".join(_inline(piece) if isinstance(piece, Command) else piece for piece in pieces))


_PLACES = {
    "System Logs > System Log > All: 'Exception on token flow'": "the log",
    "System OAuth > Application Registry": "the registry",
    "System OAuth > Manage Tokens": "Manage Tokens",
}
"""Where things stand in ServiceNow, which the head of the page says in full."""


def _placed(text: str) -> str:
    """The words of a row with the short names of places, and with the name that stands for any connection."""
    for place, short in _PLACES.items():
        text = text.replace(place, short)
    return text.replace(_NAME, "NAME")


def _inline(command: Command) -> str:
    """By its name alone where the head of the page has it in full; any other as it is typed."""
    if command.words[:4] == _STORE:
        return f"`store {command.words[command.words.index('--name') + 1].replace(_NAME, 'NAME')}`"
    if not _in_the_head(command):
        return f"`{_named(command)}`"
    short = " ".join(command.words[3:])
    for said in _IN_THE_HEAD:
        short = short.replace(f" {said}", "")
    return f"`{short}`"


_IN_THE_HEAD = (_NAME, "--force", "--grant password")


_STORE = ("az", "keyvault", "secret", "set")


def _in_the_head(command: Command) -> bool:
    return command.words[:3] == ("python", "-m", "refresher") or command.words[:4] == _STORE


def _named(command: Command) -> str:
    return str(command).replace(_NAME, '"$NAME"')


def _step(step: Step) -> list[str]:
    """Sentences, with the names of commands in them; what is to be copied stands by itself."""
    paragraphs = [""]
    for piece in step.pieces:
        if isinstance(piece, Command) and not _in_the_head(piece):
            paragraphs += [f"```console\n{_named(piece)}\n```", ""]
        else:
            paragraphs[-1] += _inline(piece) if isinstance(piece, Command) else piece
    lines: list[str] = []
    for paragraph in paragraphs:
        # That a refresh comes last, and what the next tick does, the head says for all.
        text = _placed(paragraph).replace("The next tick tries again. ", "").strip(" .;")
        text = re.sub(r"[,;]? ?\b[Tt]hen: `refresh`$", "", text)
        if text:
            is_copied = text.startswith("```")
            lines += ["", text if is_copied else text[0].upper() + text[1:] + ("" if text.endswith(":") else ".")]
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
