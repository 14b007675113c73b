"""What a month uses is counted from requests that are measured, and the docs show the table as it is."""

import time
from collections import Counter
from datetime import timedelta

import pytest

from infra import cost
from refresher.model.report import Outcome
from sandbox import Sandbox
from tests.conftest import MakeApp, tick
from tests.infra.snapshots import PLAIN, ROOT, SNAPSHOTS


def counted(sandbox: Sandbox, requests: list[int]) -> list[int]:
    """The requests to vault, lease and instance, once they are that many: nobody waits for the release of a lease."""
    until = time.monotonic() + 5
    while True:
        found = [sandbox.log.count(service=each) for each in ("vault", "leases", "instance")]
        if found == requests or time.monotonic() > until:
            return found
        time.sleep(0.01)


def test_the_requests_of_a_quiet_tick_and_of_a_refresh_are_those_that_are_made(
    sandbox: Sandbox, make_app: MakeApp
) -> None:
    sandbox.add_connection()
    app = make_app(LEASE_CONTAINER_URL=sandbox.leases.url)
    tick(app)
    released = cost.LEASE_OF_A_REFRESH + 2  # the first looks in vain, and makes the blob
    assert counted(sandbox, [sandbox.log.count(service="vault"), released, cost.ASKED_BY_A_REFRESH])[1] == released
    for minutes, outcome, *requests in (
        (5, Outcome.NOT_DUE, cost.OF_A_QUIET_TICK, 0, 1),
        (45, Outcome.REFRESHED, cost.OF_A_REFRESH, cost.LEASE_OF_A_REFRESH, cost.ASKED_BY_A_REFRESH),
    ):
        sandbox.clock.advance(timedelta(minutes=minutes))
        sandbox.log.clear()
        assert tick(app).outcome is outcome
        assert counted(sandbox, requests) == requests
    written = Counter(each.method for each in sandbox.log.select(service="vault"))["PUT"]
    assert written == cost.VERSIONS_OF_A_REFRESH


def test_rules_and_endpoints_are_those_that_are_deployed() -> None:
    assert len(PLAIN.of_kind("Insights/scheduledQueryRules")) == cost.RULES
    assert len(SNAPSHOTS["private-network"].of_kind("Network/privateEndpoints")) == cost.ENDPOINTS


def test_ten_connections_use_ten_times_what_one_does_save_what_is_shared() -> None:
    one, ten = cost.month(1), cost.month(10)
    assert {name for name in one if ten[name] == one[name]} == {
        "executions",
        "alert rules",
        "private endpoints, with `PRIVATE_NETWORK`",
    }
    assert ten["vault operations"] == 10 * one["vault operations"]
    assert one["new versions of secrets"] * 365 / 30 / 2 == pytest.approx(10_512)


def test_the_docs_show_the_table_and_each_price_says_where_it_was_read() -> None:
    shown = (ROOT / "docs" / "azure.md").read_text("utf-8").split("<!-- cost -->\n")[1].split("\n<!-- end -->")[0]
    assert shown == cost.table()
    for price in cost.PRICES["per"].values():
        assert price["source"].startswith("https://")
