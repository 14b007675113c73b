"""The settings that the code declares, the sample, the docs and the infrastructure are one and the same list."""

import json
import re
from collections.abc import Sequence

import pytest

from refresher.settings.declared import CONNECTION_KEYS, JWT_KEYS, SETTING_OF_KEY, SETTINGS, SettingSpec
from refresher.settings.load import load_settings
from tests.promises.places import ROOT, place_of

DOCS = ROOT / "docs" / "settings.md"
SAMPLE = ROOT / "local.settings.sample.json"
BICEP = ROOT / "infra" / "app" / "api.bicep"
NO_DEFAULT = "\N{EN DASH}"
PLATFORM = re.compile(
    r"(FUNCTIONS|AzureWebJobs|APPLICATIONINSIGHTS|AZURE|WEBSITE|PYTHON|SCM|SOURCE_DATE|ENABLE_ORYX)\w*"
)


def rows_of(head: str) -> list[tuple[str, ...]]:
    """The rows of a table in docs/settings.md, by its head."""
    lines = DOCS.read_text("utf-8").splitlines()
    start = lines.index(f"| {head} |") + 2
    table = lines[start : next(at for at in range(start, len(lines)) if not lines[at].startswith("|"))]
    return [tuple(cell.strip() for cell in line.strip("|").split("|")) for line in table]


def expected_rows(specs: Sequence[SettingSpec]) -> list[tuple[str, ...]]:
    return [
        (
            f"`{spec.name}`",
            f"`{spec.default}`" if spec.default else NO_DEFAULT,
            "yes" if spec.required else "no",
            spec.meaning,
        )
        for spec in specs
    ]


def sample() -> dict[str, str]:
    document = json.loads(SAMPLE.read_text("utf-8"))
    return {name: value for name, value in document["Values"].items() if not PLATFORM.fullmatch(name)}


@pytest.mark.parametrize(("head", "specs"), [("setting", SETTINGS), ("claim", JWT_KEYS)])
def test_the_docs_list_every_setting_with_its_default_and_meaning(head: str, specs: Sequence[SettingSpec]) -> None:
    listed, expected = rows_of(f"{head} | default | required | meaning"), expected_rows(specs)
    for row in expected:
        assert row in listed, f"{place_of(DOCS, f'| {row[0]} |')} should say: | {' | '.join(row)} |"
    assert [row[0] for row in listed] == [row[0] for row in expected], f"{place_of(DOCS, f'| {head} |')}: other rows"


def test_the_docs_say_which_setting_a_key_of_a_connection_is_like() -> None:
    expected = [(f"`{spec.name}`", f"`{SETTING_OF_KEY[spec.name]}`") for spec in CONNECTION_KEYS]
    assert rows_of("connection key | as") == expected


def test_the_sample_holds_every_setting_in_order_with_its_default() -> None:
    values = sample()
    assert list(values) == [spec.name for spec in SETTINGS], place_of(SAMPLE, '"Values"')
    for spec in SETTINGS:
        if not spec.required:
            assert values[spec.name] == (spec.default or ""), place_of(SAMPLE, f'"{spec.name}"')


def test_the_sample_says_the_same_as_the_required_settings_alone() -> None:
    values = sample()
    required = {spec.name: values[spec.name] for spec in SETTINGS if spec.required}
    assert load_settings(values) == load_settings(required)


def test_the_infrastructure_sets_every_setting_and_no_other() -> None:
    names = re.findall(r"^\s*'?([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)'?\s*:", BICEP.read_text("utf-8"), re.MULTILINE)
    ours = {name for name in names if not PLATFORM.fullmatch(name)}
    for name in ours ^ {spec.name for spec in SETTINGS}:
        pytest.fail(f"{place_of(BICEP, name)}: {name} is set here or declared in the code, not both")
