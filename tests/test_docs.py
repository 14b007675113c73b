"""Documents that commands and alerts send people to: they are there, complete, and their commands are real."""

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from refresher import checks, servicenow
from refresher.cli_parser import build_parser
from refresher.diagnosis import diagnose
from refresher.errors import Cause
from refresher.health import State
from refresher.outcome import Outcome
from tests.infra.bicep import INFRA

ROOT = Path(__file__).parents[1]
RUNBOOK = ROOT / "docs" / "runbook"
ALERTS = sorted(path.stem for path in (INFRA / "queries").glob("*.kql"))
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md"), *(ROOT / "infra").glob("*.md")])
HEADINGS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Fixed when"]
COMMAND = re.compile(r"python -m refresher [^\n`|]+")


def commands() -> Iterator[tuple[str, str]]:
    """Every command line of the product that a document shows, and where."""
    for path in DOCUMENTS:
        text = path.read_text("utf-8").replace("\\\n", " ")
        for found in COMMAND.findall(text):
            yield path.name, found.strip().rstrip(".,;:)").split("  #")[0]


@pytest.mark.parametrize("name", [*ALERTS, *(cause.value for cause in Cause)])
def test_every_alert_and_every_cause_has_a_page_of_the_same_form(name: str) -> None:
    page = (RUNBOOK / f"{name}.md").read_text("utf-8")
    assert page.startswith(f"# {name}\n")
    assert re.findall(r"^## (.+)$", page, re.MULTILINE) == HEADINGS
    for section in re.split(r"^## .+$", page, flags=re.MULTILINE)[1:]:
        assert len(section.strip()) > 20


def test_the_runbook_has_no_page_that_nothing_leads_to() -> None:
    others = {"README", "force", "rotate", "stop", "clone", "disaster"}
    assert {path.stem for path in RUNBOOK.glob("*.md")} == {*ALERTS, *(cause.value for cause in Cause), *others}


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if target.startswith("https://"):
            continue
        file, _, anchor = target.partition("#")
        linked = (path.parent / file) if file else path
        assert linked.exists(), f"{path.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", linked.read_text("utf-8"), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading).strip().lower().replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{path.name} links to {target}"


def test_every_command_that_a_document_or_a_diagnosis_names_is_one() -> None:
    named = [*commands()]
    assert len(named) > 50
    for cause in Cause:
        diagnosis = diagnose(cause, "servicenow")
        for text in (diagnosis.next_step, *diagnosis.checks):
            named += [(cause.value, found) for found in re.findall(r"python -m refresher [a-z]+(?: [\w-]+)*", text)]
    for where, command in named:
        words = shlex.split(command)[3:]
        prose = next(
            (at for at, word in enumerate(words) if word in {"and", "says", "is", "tries", "names"}), len(words)
        )
        try:
            build_parser().parse_args(words[:prose])
        except SystemExit:
            pytest.fail(f"{where}: {command}")


def test_the_schema_of_the_json_names_every_field_and_every_value() -> None:
    """Of what stands in refresher/render.py, the one place that makes it."""
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    tree = ast.parse((ROOT / "refresher" / "render.py").read_text("utf-8"))
    keys = [key for node in ast.walk(tree) if isinstance(node, ast.Dict) for key in node.keys]
    fields = {str(key.value) for key in keys if isinstance(key, ast.Constant)}
    assert len(fields) > 30
    values = {value.value for kind in (State, Outcome, checks.Verdict, servicenow.Verdict) for value in kind}
    assert {name for name in fields | values if f"`{name}`" not in text} == set()


def test_the_reference_lists_every_command() -> None:
    text = (ROOT / "docs" / "cli.md").read_text("utf-8")
    usage = build_parser().format_usage() + build_parser().format_help()
    for command in re.findall(r"^    ([a-z]+)", usage, re.MULTILINE):
        assert f"| `{command}" in text
