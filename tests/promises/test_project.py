"""What strangers rely on: where to report, which version this is, a container that ends in a running sandbox."""

import json
import re
import tomllib

import yaml

from refresher import ISSUES, REPORT_TO
from refresher.cli.parser import build_parser
from refresher.model.causes import Cause
from tests.shell import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]


GALLERY = (
    *("README.md", "LICENSE", "SECURITY.md", "CONTRIBUTING.md", "CODE_OF_CONDUCT.md", ".github/ISSUE_TEMPLATE"),
    *(".github/workflows/azure-dev.yml", "azure.yaml", "infra", ".devcontainer"),
)
"""What microsoft/template-validation-action looks for, by its README."""


def test_what_the_gallery_of_azd_looks_for_is_there() -> None:
    assert [path for path in GALLERY if not (ROOT / path).exists()] == []


def test_errors_send_people_to_the_address_of_the_project() -> None:
    """Or, until whoever publishes has filled it in, to no link that leads nowhere."""
    assert PROJECT["urls"]["Issues"] == ISSUES
    assert ("OWNER" in ISSUES) == (REPORT_TO != ISSUES)
    assert "OWNER" not in REPORT_TO
    assert str(Cause.UNEXPECTED.row.next_step).endswith(REPORT_TO)


def test_no_document_and_no_alert_links_to_an_address_that_nobody_filled_in() -> None:
    pages = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "infra").rglob("*.bicep")]
    assert len(pages) > 30
    assert [page.name for page in pages if "github.com/OWNER" in page.read_text("utf-8")] == []


def test_the_newest_change_is_of_this_version() -> None:
    """And the template of azd is of the same."""
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert re.findall(r"^## (.+)$", changes, re.MULTILINE)[0] in {PROJECT["version"], "Unreleased"}
    template = yaml.safe_load((ROOT / "azure.yaml").read_text("utf-8"))["metadata"]["template"]
    assert template == f"{PROJECT['name']}@{PROJECT['version']}"


def test_the_container_ends_in_a_running_sandbox() -> None:
    container = json.loads((ROOT / ".devcontainer" / "devcontainer.json").read_text("utf-8"))
    targets = re.findall(r"^([a-z.-]+|\$\(VENV\)):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE)
    made = {command.removeprefix("make ") for name, command in container.items() if name.endswith("Command")}
    assert made <= {target.replace("$(VENV)", ".venv") for target in targets}
    assert container["postAttachCommand"] == "make serve"
    assert container["forwardPorts"] == [7071]


def test_the_form_asks_for_a_command_that_is_there() -> None:
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "problem.yml").read_text("utf-8"))
    labels = {field["id"]: field["attributes"]["label"] for field in form["body"] if "id" in field}
    assert build_parser().parse_args(labels["doctor"].split()[3:]).json is True
