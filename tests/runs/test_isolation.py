"""What surprises the product in one connection stays in that connection: in a tick, in `status`, in `doctor`."""

import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime

import pytest

from refresher.model.check import Verdict
from refresher.model.report import Outcome, RunRequest, Trigger
from refresher.status.connection_status import State
from sandbox import Fault, Sandbox
from sandbox.faults import Garbage
from sandbox.hostile.behaviours import date_of_another_age, nested_json
from sandbox.hostile.peer import Behaviour, Peer
from sandbox.running import server_tls
from tests.conftest import MakeApp
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

Surprise = Callable[[Sandbox], Iterator[str]]
"""Prepares it for the connection `odd`, and yields the address of its instance."""


def tags(name: str, **changes: str) -> Callable[[Sandbox], object]:
    """A secret of the odd connection with tags of another age."""

    def prepare(sandbox: Sandbox) -> str:
        named = {key.replace("_", "-"): value for key, value in changes.items()}
        sandbox.vault.put(f"odd-{name}", "CANARY-odd", tags={"connection": "odd", **named})
        return sandbox.instance.url

    return prepare


def end(moment: datetime) -> Callable[[Sandbox], object]:
    """A token whose end is at the edge of what a date can hold."""

    def prepare(sandbox: Sandbox) -> str:
        sandbox.vault.put("odd-oauth-token", "CANARY-odd", expires_on=moment)
        return sandbox.instance.url

    return prepare


def of_vault(body: bytes) -> Callable[[Sandbox], object]:
    """An answer in the vault's place, for the token of the odd connection."""

    def prepare(sandbox: Sandbox) -> str:
        sandbox.faults.add(Fault(service="vault", path="/secrets/odd-oauth-token", times=None, action=Garbage(body)))
        return sandbox.instance.url

    return prepare


def host(name: str) -> Callable[[Sandbox], object]:
    """An instance of that name."""
    return lambda _: f"https://{name}"


def peer(behaviour: Behaviour) -> Callable[[Sandbox], object]:
    """An instance that behaves like that."""
    return lambda _: Peer(behaviour, server_tls())


FAR, FIRST = "9999-12-31T23:59:59+00:00", "0001-01-01T00:00:00+00:00"
SURPRISES = {
    "token of the year 9999": tags("oauth-token", issued_at=FAR, expires_at=FAR),
    "token of the year 1": tags("oauth-token", issued_at=FIRST, expires_at=FIRST),
    "beyond the year 9999 in UTC": tags("oauth-token", issued_at=FAR.replace("+00:00", "-14:00")),
    "before the year 1 in UTC": tags("refresh-token", issued_at=FIRST.replace("+00:00", "+14:00")),
    "refresh token of the year 9999": tags("refresh-token", issued_at=FAR, expires_at=FAR),
    "record of the year 9999": tags("refresh-record", last_attempt_at=FAR, consecutive_failures="9" * 30),
    "record of the year 1": tags("refresh-record", last_attempt_at=FIRST, consecutive_failures="-1"),
    "attribute of the year 9999": end(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)),
    "attribute of the year 1970": end(datetime(1970, 1, 1, tzinfo=UTC)),
    "attribute no date can hold": of_vault(
        b'{"id": "https://v/secrets/a/b", "value": "x", "attributes": {"exp": 1e18}}'
    ),
    "nested answer of the vault": of_vault(b'{"value": ' + b"[" * 5000 + b"]" * 5000 + b"}"),
    "label of 70 letters": host(f"{'a' * 70}.service-now.com"),
    "nested answer of the instance": peer(nested_json),
    "dates no clock can hold": peer(date_of_another_age),
}


@contextmanager
def prepared(sandbox: Sandbox, name: str) -> Iterator[str]:
    """The surprise; the address of the odd connection's instance."""
    with ExitStack() as stack:
        made = SURPRISES[name](sandbox)
        yield stack.enter_context(made).url if isinstance(made, Peer) else str(made)


ELSEWHERE = ("label of 70 letters", "nested answer of the instance", "dates no clock can hold")
"""At another address than the sandbox's."""


@pytest.mark.parametrize(
    "name",
    thinned(
        [pytest.param(each, marks=pytest.mark.wire("https") if each in ELSEWHERE else ()) for each in SURPRISES], 7
    ),
)
def test_a_surprise_stays_in_its_connection(sandbox: Sandbox, make_app: MakeApp, name: str) -> None:
    sandbox.add_connection("even")
    sandbox.add_connection("odd")
    with prepared(sandbox, name) as url:
        connections = {"even": {"instance_url": sandbox.instance.url}, "odd": {"instance_url": url}}
        app = make_app(SERVICENOW_CONNECTIONS=json.dumps(connections))
        even, odd = app.tick(RunRequest(trigger=Trigger.TIMER))
        assert even.outcome is Outcome.REFRESHED
        assert odd.connection == "odd", "it is reported, whatever became of it"
        assert odd.cause is None or odd.cause.value != "unexpected", odd.message
        assert [each.state is State.FRESH for each in app.status() if each.connection == "even"] == [True]
        assert "odd" in app.due() or odd.cause is None
        checks = app.doctor()
        assert {each.connection for each in checks} >= {"even", "odd"}
        assert not [each for each in checks if each.connection == "even" and each.verdict is Verdict.FAIL]
