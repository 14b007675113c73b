"""Documents that commands and alerts send people to: they are there, complete, and their commands are real."""

import argparse
import ast
import dataclasses
import re
import shlex
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresher.cli.parser import build_parser
from refresher.model import check
from refresher.model.causes import Cause
from refresher.model.report import Warning_
from refresher.policy.attempts import Attempt
from refresher.servicenow import answers
from refresher.status.connection_status import ConnectionStatus, State
from refresher.status.copies import TargetStatus
from refresher.status.history import History, Issue
from refresher.status.timer import TimerStatus
from tests.needs import need_chromium
from tests.promises import causes_page, pictures
from tests.promises.places import ROOT, place_of

RUNBOOK = ROOT / "docs" / "runbook"
ALERTS = sorted([*(path.stem for path in (ROOT / "infra" / "queries").glob("*.kql")), "StatusUnavailable"])
FOLDERS = ("benchmarks", "docs", "infra")
DOCUMENTS = sorted(
    [
        *ROOT.glob("*.md"),
        *(ROOT / "tests").glob("*.md"),
        *(page for name in FOLDERS for page in (ROOT / name).rglob("*.md")),
    ]
)
HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation"]
COMMAND = re.compile(r"python -m refresher [^\n`|]+")


def commands() -> Iterator[tuple[str, str]]:
    """Every command line of the product that a document shows, and where."""
    for path in DOCUMENTS:
        text = path.read_text("utf-8").replace("\\\n", " ")
        for found in COMMAND.findall(text):
            command = found.strip().rstrip(".,;:)").split("  #")[0]
            yield place_of(path, command), command


@pytest.mark.parametrize("name", ALERTS)
def test_every_alert_has_a_page_of_the_same_form(name: str) -> None:
    page = (RUNBOOK / f"{name}.md").read_text("utf-8")
    assert page.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == HEADINGS
    for section in re.split(r"^## .+$", page, flags=re.MULTILINE)[1:]:
        assert len(section.strip()) > 20


def test_the_page_of_causes_says_what_the_table_of_causes_says() -> None:
    """Not so? `python -m tests.promises.causes_page` writes it."""
    page = causes_page.PAGE.read_text("utf-8")
    assert causes_page.written(page) == page
    assert list(causes_page.sections(page)) == [cause.value for cause in Cause]


def test_the_runbook_has_no_page_that_nothing_leads_to() -> None:
    led_to = re.findall(r"\]\((\w+)\.md", (RUNBOOK / "README.md").read_text("utf-8"))
    assert {path.stem for path in RUNBOOK.glob("*.md")} == {"README", *ALERTS, *led_to}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    text = path.read_text("utf-8")
    for target in [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'(?:src|srcset)="([^"]+)"', text)]:
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file) if file else path
        assert linked.exists(), f"{place_of(path, target)} links to {target}, which is not there"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{place_of(path, target)} links to {target}, which has no such heading"


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_word_of_a_page_vanishes_because_it_looks_like_html(path: Path) -> None:
    words = re.sub(r"```.*?```|`[^`]*`", "", path.read_text("utf-8"), flags=re.DOTALL)
    for tag in re.findall(r"<[^>]*>", words):
        assert re.match(r"<(?:!--|/?picture>|source |img )", tag), place_of(path, tag)


def test_every_picture_of_the_status_page_is_shown_and_light_enough_to_be() -> None:
    shown = {
        name for path in DOCUMENTS for name in re.findall(r"images/(status-[\w-]+\.png)", path.read_text("utf-8"))
    }
    taken = [pictures.picture_of(place, scheme) for place in pictures.SIZES for scheme in pictures.SCHEMES]
    assert shown == {picture.name for picture in taken} == {path.name for path in pictures.IMAGES.glob("*.png")}
    assert all(picture.stat().st_size < 150_000 for picture in taken)


@pytest.mark.exhaustive
def test_a_picture_is_as_wide_as_a_phone_and_dark_at_night(tmp_path: Path) -> None:
    browser = need_chromium()
    taken = []
    for scheme in pictures.SCHEMES.values():
        picture = tmp_path / f"{scheme}.png"
        shown = "<style>@media(prefers-color-scheme:dark){body{background:#000}}</style>"
        pictures.take(browser, shown, (390, 100), scheme, picture)
        taken.append(picture.read_bytes())
    assert [struct.unpack(">II", each[16:24]) for each in taken] == [(390, 100)] * 2
    assert taken[0] != taken[1]


def test_no_word_is_explained_that_nobody_uses() -> None:
    glossary = ROOT / "docs" / "glossary.md"
    others = " ".join(path.read_text("utf-8") for path in DOCUMENTS if path != glossary)
    entries = re.findall(r"^- ([a-z ,]+): ", glossary.read_text("utf-8"), re.MULTILINE)
    assert entries
    unused = {word for entry in entries for word in entry.split(", ") if not re.search(rf"\b{word}s?\b", others)}
    assert unused == set()


def test_a_secret_is_set_from_a_file_and_printed_nowhere() -> None:
    """The Azure CLI prints the value that it has set, and a shell keeps what was typed."""
    for path in DOCUMENTS:
        for command in re.findall(r"^\s*az keyvault secret set [^\n]+", path.read_text("utf-8"), re.MULTILINE):
            assert "--file" in command, place_of(path, command.strip())
            assert "--output none" in command, place_of(path, command.strip())


def test_every_command_that_a_document_names_is_one() -> None:
    named = [*commands()]
    assert len(named) > 50
    for where, command in named:
        words = shlex.split(command)[3:]
        prose = next(
            (at for at, word in enumerate(words) if word in {"and", "says", "is", "tries", "names"}), len(words)
        )
        try:
            build_parser().parse_args(words[:prose])
        except SystemExit:
            pytest.fail(f"{where}: not a command: {command}")


def test_options_are_shown_with_all_that_their_command_needs() -> None:
    """Of commands that stand in a sentence or a table, without `python -m refresher`.

    The page of causes shortens them, as its head says.
    """
    shown = [
        (place_of(path, command), command)
        for path in DOCUMENTS
        if path != causes_page.PAGE
        for command in re.findall(rf"`((?:{'|'.join(subcommands())}) [^`]*--[^`]*)`", path.read_text("utf-8"))
    ]
    assert shown
    for where, command in shown:
        try:
            build_parser().parse_args(shlex.split(command))
        except SystemExit:
            pytest.fail(f"{where}: not a command: {command}")


def test_the_schema_of_the_json_names_every_field_and_every_value() -> None:
    """Of what stands in refresher/views/bodies.py, the one place that makes it, and of what it shows whole.

    docs/telemetry.md has the outcomes.
    """
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    tree = ast.parse((ROOT / "refresher" / "views" / "bodies.py").read_text("utf-8"))
    keys = [key for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys]
    fields = {str(key.value) for key in keys if isinstance(key, ast.Constant)}
    fields |= {str(node.arg) for node in ast.walk(tree) if isinstance(node, ast.keyword) and node.arg is not None}
    whole = (ConnectionStatus, TimerStatus, History, Issue, TargetStatus, Attempt, Warning_)
    fields |= {field.name for kind in whole for field in dataclasses.fields(kind)}
    assert len(fields) > 50
    values = {value.value for kind in (State, check.Verdict, answers.Verdict) for value in kind}
    assert {name for name in fields | values if f"`{name}`" not in text} == set()


def subcommands() -> dict[str, argparse.ArgumentParser]:
    (group,) = (each for each in build_parser()._actions if isinstance(each, argparse._SubParsersAction))
    return dict(group.choices)


def test_the_reference_lists_every_command_with_its_arguments() -> None:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    listed = set(re.findall(r"^- `([^`]+)`: ", text.split("\n## ")[0], re.MULTILINE))
    expected = set()
    for name, parser in subcommands().items():
        arguments = [each for each in parser._actions if not each.option_strings]
        words = [f"[{each.metavar}]" if each.nargs == "?" else str(each.metavar) for each in arguments]
        expected.add(" ".join([name, *words]))
    assert listed == expected


def test_the_help_of_a_command_says_what_each_option_does_and_its_default() -> None:
    for name, parser in subcommands().items():
        for action in parser._actions:
            where = f"{name} {action.option_strings or action.dest}"
            assert action.help or action.choices, where
            if isinstance(action.default, int | float) and not isinstance(action.default, bool):
                assert f"{action.default:g}" in parser.format_help(), where
