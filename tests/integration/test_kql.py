"""Every query, read by Microsoft's own KQL language service: it parses, and its columns are there."""

import json
import subprocess
from pathlib import Path

import pytest

from tests.infra.test_alerts import QUERIES, WORKBOOK_QUERIES
from tests.needs import need_node_package

HERE = Path(__file__).parent


def analysed(queries: list[str]) -> list[dict[str, list[str]]]:
    """What the language service says of each query."""
    need_node_package("@kusto")
    finished = subprocess.run(
        ["node", str(HERE / "kql.mjs")],  # noqa: S607 - whichever Node is first in PATH
        input=json.dumps(queries),
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    answers: list[dict[str, list[str]]] = json.loads(finished.stdout)
    return answers


def filled(query: str) -> str:
    """A query as the deployment sends it."""
    return query.replace("{minutes}", "10").replace("{component}", "/subscriptions/1")


@pytest.mark.exhaustive
def test_the_language_service_finds_what_is_wrong() -> None:
    misspelt, wrong_column = analysed(["AppTraces | wher true", "AppTraces | where Mesage == ''"])
    assert misspelt["problems"]
    assert wrong_column["problems"]


@pytest.mark.exhaustive
def test_every_query_is_valid_and_every_alert_tells_its_cause_and_counts() -> None:
    queries = [*map(filled, QUERIES.values()), *map(filled, WORKBOOK_QUERIES)]
    answers = analysed(queries)
    for query, answer in zip(queries, answers, strict=True):
        assert answer["problems"] == [], query
    for name, answer in zip(QUERIES, answers, strict=False):
        told = {"cause", "minutes_without"} if name == "RefreshMissing" else {"cause", "connection", "connections"}
        assert told <= {*answer["columns"]}, name
