"""Status says what was tried: the stored token and every copy, at the instance, and dates only where that fails."""

import json
import re
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.report import WarningCode
from refresher.servicenow.answers import Verdict
from refresher.status.connection_status import ConnectionStatus, State
from sandbox import Fault, Sandbox
from sandbox.direct import DirectSandbox
from sandbox.faults import Drop, Respond
from sandbox.trial.host import Functions, load_functions
from tests.conftest import MakeApp, direct, tick
from tests.names import TARGET, TOKEN
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

PROBE = "/api/now/table/sys_user"
HIBERNATING = b"<html><title>Instance Hibernating page</title></html>"


def standing(settings: dict[str, str] | None = None) -> tuple[DirectSandbox, App]:
    """An app that has refreshed a minute ago."""
    sandbox, app = direct(settings)
    tick(app)
    app.clock.sleep(60)
    return sandbox, app


def status_of(app: App, *, offline: bool = False, anew: bool = True) -> ConnectionStatus:
    (status,) = app.status(offline=offline, anew=anew)
    return status


def value(sandbox: DirectSandbox | Sandbox, name: str = TOKEN) -> str:
    return sandbox.vault.versions(name)[-1].value


def test_a_token_that_the_instance_accepts_works_and_is_somebodys() -> None:
    _, app = standing()
    status = status_of(app)
    assert (status.state, status.working, status.tried) == (State.FRESH, True, Verdict.ACCEPTED)
    assert status.message == "the token works and is fresh"
    assert status.basis == f"tried just now, accepted, acts as {status.user_name}"
    assert status.user_name is not None


def test_a_user_that_changed_since_the_last_refresh_is_warned_of() -> None:
    sandbox, app = standing()
    assert "user_changed" not in [warning.code for warning in status_of(app).warnings]
    sandbox.vault.versions(TOKEN)[-1].tags["user-name"] = "somebody.else"
    (warning,) = [each for each in status_of(app).warnings if each.code == "user_changed"]
    assert "servicenow.integration" in warning.message
    assert "somebody.else" in warning.message


def test_a_revoked_token_does_not_work_whatever_its_dates_say() -> None:
    sandbox, app = standing()
    sandbox.instance.kill_access_token(value(sandbox))
    status = status_of(app)
    assert (status.state, status.working, status.cause) == (State.REFUSED, False, Cause.ACCESS_TOKEN_REFUSED)
    assert status.basis == "tried just now, refused (401)"
    assert status.next_step is not None
    assert [str(each) for each in status.next_step.commands] == ["python -m refresher refresh servicenow --force"]
    assert status_of(app, offline=True).working is True
    assert tick(app, force=True).outcome == "refreshed"
    assert status_of(app).state is State.FRESH


@pytest.mark.parametrize(
    ("happen", "remark"),
    thinned(
        [
            (Respond(200, {"Content-Type": "text/html"}, HIBERNATING), "the instance answered 200 with a web page"),
            (Respond(401, {"Content-Type": "text/html"}, b"<p>Sign in"), "the instance answered 401 with a web page"),
            (Respond(429), "the instance limits the rate of requests (429)"),
            (Respond(503), "the instance answered 503"),
            (Drop(), "the ServiceNow instance did not answer in time"),
        ]
    ),
)
def test_what_the_instance_does_not_say_leaves_the_dates(happen: Respond | Drop, remark: str) -> None:
    sandbox, app = standing()
    sandbox.faults.add(Fault(path=PROBE, times=None, action=happen))
    status = status_of(app)
    assert (status.state, status.working, status.tried) == (State.FRESH, True, Verdict.UNKNOWN)
    assert status.message == "by its dates the token is fresh"
    assert status.basis == f"by its dates; could not be tried: {remark}"


def test_a_probe_that_never_accepted_a_token_says_nothing_of_one() -> None:
    """An access policy answers the same 401: ticks only warn of it, and so do `status` and `doctor`, of copies too."""
    sandbox, app = standing()
    for name in (TOKEN, TARGET):
        del sandbox.vault.versions(name)[-1].tags["accepted-by"]
    sandbox.faults.add(Fault(path=PROBE, times=None, action=Respond(401, {"Content-Type": "application/json"}, b"{}")))
    status = status_of(app)
    assert (status.state, status.working, status.tried) == (State.FRESH, True, Verdict.UNKNOWN)
    assert [target.working for target in status.targets] == [True]
    assert status.basis is not None
    assert status.basis.endswith("PROBE_PATH answers 401, and never accepted a token of this connection")
    assert WarningCode.VERIFICATION_REFUSED in {warning.code for warning in status.warnings}
    checks = {check.name: check for check in app.doctor()}
    assert (checks["token"].verdict, checks["Simple Chat"].verdict) == ("warn", "pass")
    assert (checks["token"].remedy or "").startswith("Most likely a REST API access policy")
    assert not any("refresh servicenow --force" in (check.remedy or "") for check in checks.values())
    (probed,) = app.probe(["servicenow"])
    assert probed is not None
    assert (probed.verdict, probed.remark) == (Verdict.REJECTED, status.basis.partition("tried: ")[2])


def test_what_no_token_can_be_is_refused_whatever_the_probe_ever_accepted() -> None:
    sandbox, app = standing()
    stored = sandbox.vault.versions(TARGET)[-1]
    tags = {name: tag for name, tag in stored.tags.items() if name != "accepted-by"}
    del sandbox.vault.versions(TOKEN)[-1].tags["accepted-by"]
    for name in (TOKEN, TARGET):
        sandbox.vault.put(name, "${CANARY TOKEN}", tags=tags, expires_on=stored.expires_on)
    status = status_of(app)
    assert (status.state, status.working) == (State.REFUSED, False)
    assert "holds characters that no token has" in (status.basis or "")


@pytest.mark.parametrize(
    ("settings", "offline", "reason"), [({}, True, "--offline"), ({"PROBE_PATH": ""}, False, "PROBE_PATH is empty")]
)
def test_where_nothing_shall_be_tried_no_instance_is_asked(
    settings: dict[str, str], offline: bool, reason: str
) -> None:
    sandbox, app = standing(settings)
    before = sandbox.log.count(service="instance")
    status = status_of(app, offline=offline)
    assert status.basis == f"by its dates; not tried: {reason}"
    assert (status.working, status.tried) == (True, None)
    assert sandbox.log.count(service="instance") == before


def test_a_token_that_somebody_pasted_works_if_the_instance_says_so() -> None:
    """It has no dates: before, it was no token at all."""
    sandbox, app = standing()
    sandbox.vault.put(TOKEN, value(sandbox))
    sandbox.vault.put(TARGET, value(sandbox))
    status = status_of(app)
    assert (status.working, status.state) == (True, State.DUE)
    assert status_of(app, offline=True).working is False


@pytest.mark.parametrize("dead", thinned([True, False]))
def test_a_copy_with_another_token_is_tried(dead: bool) -> None:
    sandbox, app = standing()
    older = sandbox.vault.versions(TARGET)[-1]
    tick(app, force=True)
    sandbox.vault.put(TARGET, older.value, tags=older.tags, expires_on=older.expires_on)
    if dead:
        sandbox.instance.kill_access_token(older.value)
    status = status_of(app)
    (copy,) = status.targets
    assert (status.working, copy.working, copy.current) == (not dead, not dead, False)
    assert copy.remark == ("holds another token, which ServiceNow refuses" if dead else None)


def disable(sandbox: DirectSandbox, name: str) -> None:
    sandbox.vault.versions(name)[-1].enabled = False


@pytest.mark.parametrize("name", thinned([TOKEN, TARGET]))
def test_what_is_disabled_is_no_token_for_its_readers(name: str) -> None:
    sandbox, app = standing()
    disable(sandbox, name)
    status = status_of(app)
    assert status.working is False
    assert "disabled" in status.message
    assert status.next_step is not None
    (enable,) = status.next_step.commands
    assert f"--name {name} --enabled true" in str(enable)


def test_a_copy_that_may_not_be_read_is_unknown_until_the_last_token_ends_that_it_got() -> None:
    sandbox, app = standing()
    sandbox.vault.deny("get", TARGET)
    sandbox.vault.deny("set", TARGET)
    assert status_of(app).targets[0].working is None
    for _ in range(12):
        app.clock.sleep(5 * 60)
        tick(app)
    status = status_of(app)
    (copy,) = status.targets
    assert (status.working, copy.working) == (False, False)
    assert copy.remark == "cannot be read, and the last token that it is known to have got has ended"


def test_a_page_that_loads_again_has_a_token_tried_twice_a_minute_at_most() -> None:
    sandbox, app = standing()
    bases = []
    for _ in range(6):
        bases.append(status_of(app, anew=False).basis or "")
        app.clock.sleep(10)
    assert sandbox.log.count(path=PROBE) == 1 + 2  # once before it was published
    assert re.match(r"tried 2\d s ago, accepted", bases[-1])
    status_of(app)
    assert sandbox.log.count(path=PROBE) == 4


@pytest.fixture
def functions(sandbox: Sandbox, app: App) -> Functions:
    sandbox.add_connection()
    functions = load_functions(sandbox.clock, app)
    functions.fire_timer()
    return functions


class TestOverHttp:
    def test_a_monitor_learns_that_a_token_was_revoked(self, sandbox: Sandbox, functions: Functions) -> None:
        sandbox.instance.kill_access_token(value(sandbox))
        answer = functions.http("status", "GET", "/api/status")
        assert answer.status_code == 503
        (told,) = json.loads(answer.get_body())["connections"]
        assert (told["state"], told["tried"], told["cause"]) == ("refused", "rejected", "access_token_refused")

    @pytest.mark.parametrize("method", thinned(["GET", "HEAD"]))
    @pytest.mark.parametrize(
        ("params", "code"),
        thinned(
            [
                ({"connection": "servicenow"}, 200),
                ({"connection": "servicenow", "code": "key", "clientId": "default"}, 200),
                ({"connection": "servicenow,servicenow"}, 404),
                ({"connection": "other"}, 404),
                ({"connection": ""}, 400),
                ({"conection": "servicenow"}, 400),
            ],
        ),
    )
    def test_one_connection_can_be_asked_for(
        self, functions: Functions, method: str, params: dict[str, str], code: int
    ) -> None:
        assert functions.http("status", method, "/api/status", params).status_code == code

    @pytest.mark.parametrize(
        ("params", "body"),
        thinned(
            [
                ({"connection": ""}, b""),
                ({"conection": "servicenow"}, b""),
                ({"connection": "   "}, b""),
                ({}, b'{"connection": ""}'),
                ({}, b'{"connection": null}'),
                ({}, b'{"name": "servicenow"}'),
                ({}, b'{"code": "servicenow"}'),
                ({}, b"[" * 200_000),
                ({}, b'{"a":' * 100_000),
                ({"reason": "a\x1b[31mb"}, b""),
                ({"reason": "a\u202eb"}, b""),
                ({"force": ""}, b""),
            ]
        ),
    )
    def test_what_cannot_be_meant_refreshes_nothing(
        self, sandbox: Sandbox, functions: Functions, params: dict[str, str], body: bytes
    ) -> None:
        before = len(sandbox.log)
        answer = functions.http("refresh_now", "POST", "/api/refresh", params, body=body)
        assert answer.status_code == 400
        assert len(sandbox.log) == before

    def test_force_has_a_pause_by_the_stored_token(
        self, sandbox: Sandbox, functions: Functions, make_app: MakeApp
    ) -> None:
        """Of the timer's token nobody is told to wait; another instance of the app would see the same."""

        def force() -> int:
            return int(functions.http("refresh_now", "POST", "/api/refresh", {"force": "true"}).status_code)

        assert force() == 200
        sandbox.clock.advance(timedelta(seconds=10))
        another = load_functions(sandbox.clock, make_app())
        again = another.http("refresh_now", "POST", "/api/refresh", {"force": "true"})
        assert (again.status_code, again.headers["Retry-After"]) == (429, "20")
        sandbox.clock.advance(timedelta(seconds=20))
        assert force() == 200
