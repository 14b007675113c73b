"""Installations that broke at night: diagnosed by the product, and repaired by the commands that it names."""

import re
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import function_app
from refresher.model.steps import Step
from sandbox.drills import DRILLS
from sandbox.trial.serve import Standing, standing
from tests.sampling import sampled
from tests.shell import type_in

LIVED = timedelta(minutes=55)


@dataclass(frozen=True, slots=True, kw_only=True)
class Repair:
    """What status says, which advice has the commands, and what a person does elsewhere first."""

    state: str
    cause: str | None
    advice: Callable[[], Iterable[Step | None]]
    chosen: str = ".*"
    """Of several commands those that the advice's words make fit."""
    before: Callable[[Standing, Path], object] = lambda *_: None


def of_status() -> list[Step | None]:
    return [status.next_step for status in function_app.refresher_app.status()]


def of_doctor() -> list[Step | None]:
    return [check.remedy for check in function_app.refresher_app.doctor() if check.verdict == "fail"]


def hands(place: Standing, what: str, method: str = "GET") -> str:
    """What only people can do, on the consoles of ServiceNow and Azure."""
    request = urllib.request.Request(f"{place.url}/sandbox/{what}", method=method)  # noqa: S310 - loopback
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - loopback
        return str(answer.read().decode())


def ask_the_administrator_of_servicenow(place: Standing, folder: Path) -> None:
    assert "unknown client or wrong secret" in hands(place, "system-log").splitlines()[-1]
    (folder / "FILE").write_text(hands(place, "client-secret"), "utf-8")


REPAIRS = {
    "dead-refresh-token": Repair(
        state="authorization_required",
        cause="refresh_token_refused",
        advice=of_status,
        chosen="python -m refresher authorize",
    ),
    "wrong-client-secret": Repair(
        state="authorization_required",
        cause="refresh_token_refused",
        advice=of_doctor,
        chosen="az keyvault secret set|python -m refresher refresh",
        before=ask_the_administrator_of_servicenow,
    ),
    "hibernating-instance": Repair(
        state="expired",
        cause="instance_hibernating",
        advice=of_status,
        before=lambda place, _: hands(place, "wake", method="POST"),
    ),
    "forbidden-vault": Repair(state="unknown", cause="vault_forbidden", advice=of_doctor),
    "deleted-target": Repair(state="due", cause=None, advice=of_status),
}


@pytest.fixture
def place(request: pytest.FixtureRequest) -> Iterator[Standing]:
    with standing(request.param, 0, lived=LIVED) as place:
        yield place


PAIRS = [(name, name) for name in DRILLS]


def test_every_drill_has_a_repair() -> None:
    assert REPAIRS.keys() == DRILLS.keys()


@pytest.mark.parametrize(("place", "name"), sampled(PAIRS, PAIRS[:1]), indirect=["place"])
def test_what_is_broken_is_named_and_mended_by_the_command_that_is_named(
    place: Standing, name: str, tmp_path: Path
) -> None:
    repair = REPAIRS[name]
    answer = place.functions.http("status", "GET", "/api/status")
    assert answer.status_code == 503
    (connection,) = status_of(place)
    assert (connection["state"], connection.get("cause")) == (repair.state, repair.cause)
    named = [str(command) for step in repair.advice() if step for command in step.commands]
    fitting = [command for command in named if re.match(repair.chosen, command)]
    assert fitting
    repair.before(place, tmp_path)
    user = place.secrets.application.user
    done = type_in(place, tmp_path, " && ".join(dict.fromkeys(fitting)), stdin=f"{user.name}\n{user.password}\n")
    assert done.returncode == 0, done.stdout + done.stderr
    place.functions.fire_timer()
    assert place.functions.http("status", "GET", "/api/status").status_code == 200
    (connection,) = status_of(place)
    assert (connection["state"], "next_step" in connection) == ("fresh", False)


@pytest.mark.exhaustive
@pytest.mark.parametrize("place", ["wrong-client-secret"], indirect=True)
def test_who_authorizes_with_a_wrong_client_secret_learns_that_it_is_the_secret(
    place: Standing, tmp_path: Path
) -> None:
    """ServiceNow has just issued the code, and refuses to redeem it: what is left is the client's secret."""
    done = type_in(place, tmp_path, "python -m refresher authorize servicenow --grant authorization_code")
    assert done.returncode == 3
    assert "it is the client secret" in done.stdout
    assert 'az keyvault secret set --vault-name "$VAULT" --name servicenow-client-secret --file FILE' in done.stdout


def status_of(place: Standing) -> list[dict[str, Any]]:
    connections = place.functions.status()["connections"]
    assert isinstance(connections, list)
    return connections
