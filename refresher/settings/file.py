"""Settings from a file, as people have one: a local.settings.json, or the list that the Azure CLI prints.

Windows writes such files with a byte order mark or in UTF-16, which are read like any other. A value is a text; a
number or true/false is taken as it is written, `null` means "not set", and nothing else is a setting's value.
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path

from refresher.model.errors import SettingsError
from refresher.settings.forms import printable, show

_UNUSABLE = re.compile(r"[\0\ud800-\udfff]")
"""What a process's environment cannot hold: NUL, and half a surrogate pair."""
_EXPECTED = "a local.settings.json with an object 'Values', or the list of app settings that the Azure CLI prints"


def read_settings_file(path: Path) -> dict[str, str]:
    """The settings in a file, by name; raises SettingsError with all problems at once."""
    try:
        # Of bytes, the parser tells UTF-8 and UTF-16 apart by itself, with a byte order mark or without.
        document = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        found = "cannot be opened" if isinstance(error, OSError) else "is not JSON"
        document = None
    else:
        found = "is something else"
    if isinstance(document, dict) and document.get("IsEncrypted") is True:
        message = f"{path} is encrypted; expected it decrypted, which is done where it was made: func settings decrypt"
        raise SettingsError((message,))
    values = _values(document)
    if values is None:
        raise SettingsError((f"{path} {found}; expected {_EXPECTED}",))
    problems = [
        f"{printable(name)} in {path} is {show(value)}; expected a text"
        for name, value in values.items()
        if isinstance(value, dict | list)
    ]
    for name, value in values.items():
        if not name or "=" in name or _UNUSABLE.search(name):
            problems.append(
                f'a setting in {path} is named "{printable(name)}"; expected a name that is not empty, and without "="'
            )
        elif isinstance(value, str) and _UNUSABLE.search(value):
            problems.append(f"{printable(name)} in {path} holds a sign that no environment takes; expected a text")
    if problems:
        raise SettingsError(tuple(problems))
    return {name: _text(value) for name, value in values.items() if value is not None}


def _values(document: object) -> Mapping[str, object] | None:
    if isinstance(document, dict):
        values = document.get("Values")
        return values if isinstance(values, dict) else None
    if isinstance(document, list) and document:
        named = [each for each in document if isinstance(each, dict) and isinstance(each.get("name"), str)]
        return {each["name"]: each.get("value") for each in named} if len(named) == len(document) else None
    return None


def _text(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)
