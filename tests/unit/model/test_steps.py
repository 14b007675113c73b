"""Next steps: words, and commands that the programs they name understand as they stand."""

import ast
import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import refresher
from refresher.model import steps
from refresher.model.causes import Cause, diagnose
from refresher.model.steps import Command, Step
from tests.sampling import thinned
from tests.typed import understood

PACKAGE = Path(refresher.__file__).parent
AUTHORIZE = steps.authorize("hr")


def written_here() -> Iterator[Command]:
    """What every function of the module makes, of words that it may be given."""
    for name, make in inspect.getmembers(steps, inspect.isfunction):
        parameters = inspect.signature(make).parameters
        if not name.startswith("_") and make.__module__ == steps.__name__:
            if name == "of_identity":
                continue
            yield make(**{each: each for each in parameters if each != "force"})
            if "force" in parameters:
                yield make("hr", force=True)


def of_causes() -> Iterator[Command]:
    for cause in Cause:
        found = diagnose(cause, "hr")
        for step in (found.next_step, *found.checks):
            yield from Step(step).commands


@pytest.mark.parametrize("line", thinned(sorted({str(each) for each in (*written_here(), *of_causes())}), 4))
def test_every_command_is_one(line: str) -> None:
    assert understood(line)


@pytest.mark.parametrize(
    "line", ["python -m refresher refesh hr", "az keyvault secret set --name hr", "az vault show"]
)
def test_a_command_that_is_none_is_noticed(line: str) -> None:
    assert not understood(line)


def test_commands_are_written_in_one_place() -> None:
    """Anywhere else they would be prose, which no page can set apart and no test can try."""
    found = []
    for path in {*PACKAGE.rglob("*.py")} - {PACKAGE / "model" / "steps.py", PACKAGE / "cli" / "parser.py"}:
        tree = ast.parse(path.read_text("utf-8"))
        told = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        texts = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in told)
        found += [
            f"{path.name}: {node.value}"
            for node in texts
            if isinstance(node.value, str) and re.search(r"python -m refresher|\baz [a-z]", node.value)
        ]
    assert found == []


def test_a_step_is_its_text_and_knows_its_commands() -> None:
    inner = Step(" Then: ", steps.doctor(), ".")
    step = Step("Authorize: ", AUTHORIZE, ".", inner)
    assert step == f"Authorize: {AUTHORIZE}. Then: python -m refresher doctor."
    assert step.commands == (AUTHORIZE, steps.doctor())
    assert step.apart() == ("Authorize:", AUTHORIZE, "Then:", steps.doctor())


def test_a_name_takes_its_place_in_words_and_commands() -> None:
    step = Step("of NAME: ", steps.refresh("NAME")).naming("NAME", "hr")
    assert step.pieces == ("of hr: ", steps.refresh("hr"))
