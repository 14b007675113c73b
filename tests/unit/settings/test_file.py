"""Settings from a file, as Windows, the Functions tools and the Azure CLI write one."""

import codecs
import json
from pathlib import Path

import pytest

from refresher.model.errors import SettingsError
from refresher.settings.file import read_settings_file

VALUES = {"KEY_VAULT_URL": "https://v.vault.azure.net", "PUBLISH_TO": "tök"}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "local.settings.json"


def problems(file: Path) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        read_settings_file(file)
    assert caught.value.__context__ is None
    return caught.value.problems


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [
        (b"", "utf-8"),
        (codecs.BOM_UTF8, "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le"),
        (codecs.BOM_UTF16_BE, "utf-16-be"),
        (b"", "utf-16-le"),
    ],
)
@pytest.mark.parametrize("listed", [True, False])
def test_a_file_is_read_however_it_is_encoded(file: Path, mark: bytes, encoding: str, listed: bool) -> None:
    document: object = {"IsEncrypted": False, "Values": VALUES}
    if listed:
        document = [{"name": name, "slotSetting": False, "value": value} for name, value in VALUES.items()]
    file.write_bytes(mark + json.dumps(document, ensure_ascii=False).encode(encoding))
    assert read_settings_file(file) == VALUES


def test_null_is_not_set_and_numbers_are_as_they_are_written(file: Path) -> None:
    """`null` is never a text: `"PUBLISH_TO": null` published into a secret named None."""
    values = {"PUBLISH_TO": None, "REFRESH_INTERVAL_MINUTES": 25, "SERVICENOW_ALLOW_CUSTOM_HOST": True}
    file.write_text(json.dumps({"Values": values}))
    assert read_settings_file(file) == {"REFRESH_INTERVAL_MINUTES": "25", "SERVICENOW_ALLOW_CUSTOM_HOST": "true"}


def test_an_object_or_a_list_is_no_value_of_a_setting(file: Path) -> None:
    """Each is named, and none shown: it may hold a credential."""
    file.write_text(
        json.dumps({"Values": {"PUBLISH_TO": ["CANARY-a"], "SERVICENOW_JWT": {"sub": "CANARY-b"}, "A": "b"}})
    )
    assert problems(file) == (
        f"PUBLISH_TO in {file} is a list; expected a text",
        f"SERVICENOW_JWT in {file} is an object; expected a text",
    )


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("A=B", "x", 'a setting in {file} is named "A=B"; expected a name that is not empty, and without "="'),
        ("", "x", 'a setting in {file} is named ""; expected a name that is not empty, and without "="'),
        ("A\0", "x", 'a setting in {file} is named "A\ufffd"; expected a name that is not empty, and without "="'),
        ("A", "CANARY\0", "A in {file} holds a sign that no environment takes; expected a text"),
        ("A", "CANARY\ud800", "A in {file} holds a sign that no environment takes; expected a text"),
    ],
)
def test_what_no_environment_can_hold_is_named(file: Path, name: str, value: str, told: str) -> None:
    file.write_text(json.dumps({"Values": {name: value}}))
    assert problems(file) == (told.format(file=file),)


def test_an_encrypted_file_is_named_as_such(file: Path) -> None:
    file.write_text('{"IsEncrypted": true, "Values": {"KEY_VAULT_URL": "CfDJ8…"}}')
    (told,) = problems(file)
    assert told.startswith(f"{file} is encrypted; expected it decrypted")
    assert "func settings decrypt" in told


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 100_000, "is not JSON"),
        ("[]", "is something else"),
        ("7", "is something else"),
        ("null", "is something else"),
        ("{}", "is something else"),
        ('{"Values": null}', "is something else"),
        ('{"Values": []}', "is something else"),
        ('[{"value": "x"}]', "is something else"),
        ('["x"]', "is something else"),
    ],
)
def test_anything_else_is_said_to_be_so(file: Path, text: str, found: str) -> None:
    file.write_text(text)
    (told,) = problems(file)
    assert told.startswith(f"{file} {found}; expected a local.settings.json with an object 'Values', or the list")


def test_a_file_that_is_not_there_is_named(file: Path) -> None:
    (told,) = problems(file)
    assert told.startswith(f"{file} cannot be opened;")
