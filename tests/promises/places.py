"""Where something stands in a file, for whoever has to correct it; and what the documents have people make here."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
_MADE = re.compile(r"(?:--file |-keyout |-out | > | @|\bcat |CLIENT=)(\w[\w.-]*)")
"""A file that is written or read by a command, by what stands before it."""


def place_of(path: Path, text: str) -> str:
    """The file and the line that holds the text first, as an editor opens it; the file alone where none does."""
    name = path.relative_to(ROOT).as_posix()
    lines = path.read_text("utf-8").splitlines()
    return next((f"{name}:{number}" for number, line in enumerate(lines, 1) if text in line), name)


def files_of_the_documents() -> set[str]:
    """Names of the files that commands of the documents make, or have a person make, in the checkout."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    texts = [page.read_text("utf-8") for page in pages]
    blocks = [block for text in texts for block in re.findall(r"```(?:console|shell)\n(.*?)```", text, re.DOTALL)]
    inline = [command for text in texts for command in re.findall(r'`((?:az |"\$\(cat )[^`\n]+)`', text)]
    return {name for command in blocks + inline for name in _MADE.findall(command)}
