"""host.json: what it allows, keeps and drops, and that docs/host.md explains every line of it."""

import json
import re
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from refresher.run.run import WRITING_TAKES
from refresher.settings.load import load_settings

ROOT = Path(__file__).parents[2]
HOST: dict[str, Any] = json.loads((ROOT / "host.json").read_text("utf-8"))
DOCS = (ROOT / "docs" / "host.md").read_text("utf-8")
LEVELS = ("Trace", "Debug", "Information", "Warning", "Error", "Critical", "None")
SAMPLED = {"Dependency", "Event", "Exception", "PageView", "Request", "Trace"}
"""The types of telemetry that Application Insights can sample, as the host spells them."""


def lines(value: Any, path: str = "") -> Iterator[tuple[str, str]]:  # noqa: ANN401 - JSON
    """Every line of host.json that holds a value, by its path."""
    if isinstance(value, dict):
        for name, item in value.items():
            yield from lines(item, f"{path}.{name}" if path else name)
    else:
        yield path, value if isinstance(value, str) else json.dumps(value)


def passes(category: str, level: str) -> bool:
    """Whether the host keeps a line: the longest entry that the category begins with says from which level on."""
    entries: dict[str, str] = HOST["logging"]["logLevel"]
    fitting = [entry for entry in entries if category == entry or category.startswith(f"{entry}.")]
    return LEVELS.index(level) >= LEVELS.index(entries[max(fitting, key=len, default="default")])


def test_the_docs_explain_every_line() -> None:
    rows = re.findall(r"^- `([\w.]+)` `([^`]+)`: (.{30,})$", DOCS, re.MULTILINE)
    assert [(path, value) for path, value, _ in rows] == list(lines(HOST))


def test_a_tick_may_end_by_itself_and_is_ended_before_the_next() -> None:
    hours, minutes, seconds = (int(part) for part in HOST["functionTimeout"].split(":"))
    limit = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    settings = load_settings(
        {"KEY_VAULT_URL": "https://v.vault.azure.net", "SERVICENOW_INSTANCE_URL": "https://x.service-now.com"}
    )
    assert settings.run_deadline < settings.tick_deadline
    assert settings.tick_deadline + WRITING_TAKES < limit < settings.tick


def test_the_host_repeats_nothing() -> None:
    """The next tick is the retry."""
    assert "retry" not in HOST


@pytest.mark.parametrize(
    ("category", "level"),
    [
        ("Function.refresh_tokens.User", "Information"),  # the app's own events, as the worker hands them over
        ("Function.refresh_tokens", "Error"),  # a function that failed
        ("Host.Results", "Information"),  # a request record, of successes too
        ("Host.Aggregator", "Information"),
        ("Host.Startup", "Error"),
        ("Microsoft.Azure.WebJobs.Extensions.Timers.Listeners.TimerListener", "Warning"),
        ("Worker.rpcWorkerProcess", "Error"),
    ],
)
def test_events_and_failures_are_kept(category: str, level: str) -> None:
    assert passes(category, level)


@pytest.mark.parametrize(
    "category", ["Azure.Core", "Azure.Identity", "Host.Startup", "Host.Singleton", "Microsoft.AspNetCore.Hosting"]
)
def test_the_chatter_of_host_and_sdks_is_dropped(category: str) -> None:
    assert not passes(category, "Information")


def test_no_event_is_ever_sampled() -> None:
    sampling = HOST["logging"]["applicationInsights"]["samplingSettings"]
    excluded = sampling["excludedTypes"].split(";")
    assert set(excluded) <= SAMPLED
    assert {"Event", "Exception", "Request", "Trace"} <= set(excluded)
    assert "includedTypes" not in sampling


def test_the_extension_bundle_is_of_the_fourth_generation() -> None:
    bundle = HOST["extensionBundle"]
    assert bundle["id"] == "Microsoft.Azure.Functions.ExtensionBundle"
    assert re.fullmatch(r"\[4\.[\d.*]+, 5\.0\.0\)", bundle["version"])


def test_the_docs_say_in_three_lines_why_the_obvious_schedule_is_not_used() -> None:
    section = DOCS.split("## The schedule\n\n")[1].split("\n\n")[0]
    assert "`0 */50 * * * *`" in section
    assert len(section.splitlines()) == 3
