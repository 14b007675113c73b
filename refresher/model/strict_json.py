"""JSON as its standard has it: keys unique, and none of the constants that only Python knows (RFC 8259).

A settings document and an answer of the token endpoint are read by it: of two values, neither can be trusted.
"""

import json


class DuplicateKeyError(ValueError):
    """A key that stands in an object twice: of two values, neither can be trusted."""

    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = key


def strict_json(text: str) -> object:
    """Read JSON, its keys unique, without constants that it does not allow. Raises ValueError and RecursionError."""
    return json.loads(text, object_pairs_hook=_unique, parse_constant=_refuse_constant)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise DuplicateKeyError(key)
        found[key] = value
    return found


def _refuse_constant(_: str) -> float:
    raise ValueError
