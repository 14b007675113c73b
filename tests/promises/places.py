"""Where something stands in a file, for whoever has to correct it."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def place_of(path: Path, text: str) -> str:
    """The file and the line that holds the text first, as an editor opens it; the file alone where none does."""
    name = path.relative_to(ROOT).as_posix()
    lines = path.read_text("utf-8").splitlines()
    return next((f"{name}:{number}" for number, line in enumerate(lines, 1) if text in line), name)
