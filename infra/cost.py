"""What a month of it uses, and what that costs as far as a price was read; `python infra/cost.py` prints the table.

Requests are those that tests/runs/test_round_trips.py holds to the last one. Of a month of thirty days, with a tick
every five minutes, a refresh every fifty, one copy for Simple Chat, the blob lease, and nothing going wrong.
"""

import json
import sys
from pathlib import Path
from typing import Any

PRICES: dict[str, Any] = json.loads(Path(__file__).with_name("prices.json").read_text("utf-8"))
MINUTES = 30 * 24 * 60
TICKS, REFRESHES = MINUTES // 5, MINUTES // 50
OF_A_QUIET_TICK = 3
"""Reads of the vault: access token, record, copy."""
OF_A_REFRESH = 11
"""Reads before and under the lease, and the writes of token and copy."""
VERSIONS_OF_A_REFRESH = 2
LEASE_OF_A_REFRESH = 3
ASKED_BY_A_REFRESH = 2
"""A token, and who it acts as; a quiet tick asks the latter."""
RULES, ENDPOINTS = 13, 3
SIZES = (1, 10, 1000)


def month(connections: int) -> dict[str, int]:
    """Units of a month, by what is billed."""
    quiet, refreshes = (TICKS - REFRESHES) * connections, REFRESHES * connections
    return {
        "executions": TICKS,
        "vault operations": quiet * OF_A_QUIET_TICK + refreshes * OF_A_REFRESH,
        "new versions of secrets": refreshes * VERSIONS_OF_A_REFRESH,
        "storage operations": refreshes * LEASE_OF_A_REFRESH + TICKS,
        "requests to ServiceNow, rows of its transaction log": quiet + refreshes * ASKED_BY_A_REFRESH,
        "events in the log": TICKS * connections,
        "alert rules": RULES,
        "private endpoints, with `PRIVATE_NETWORK`": ENDPOINTS,
    }


def table() -> str:
    """One row for each unit, and its price where one was read."""
    months = [month(size) for size in SIZES]
    rows = ["| a month | " + " | ".join(f"{size:,}" for size in SIZES) + " |", "| --- |" + " --- |" * len(SIZES)]
    for name in months[0]:
        price = PRICES["per"].get(name)
        costs = [
            f" ({price['price'] * each[name] / price['units']:.2f} {PRICES['currency']})" for each in months if price
        ]
        cells = [f"{each[name]:,}{cost}" for each, cost in zip(months, costs or [""] * len(SIZES), strict=True)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
    sys.exit(0)
