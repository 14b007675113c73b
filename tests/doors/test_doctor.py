"""Each precondition, broken on its own, is found, with what to do; and nothing is changed by looking."""

import fcntl
import json
from collections.abc import Callable
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.doctor.doctor import EXAMINED_AT_ONCE
from refresher.lease.file import LOCK_DIRECTORY, FileLease, lock_path
from refresher.model.check import Check, Verdict
from sandbox import CANARY_PREFIX, PERSONALITIES, Fault, Sandbox
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Drop, Respond, Stall
from sandbox.trial.host import direct_app
from tests.conftest import MakeApp, tick
from tests.names import TARGET
from tests.rounds import until_released
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")


def verdicts(app: App) -> dict[str, Check]:
    """The checks by their names."""
    return {check.name: check for check in app.doctor()}


def everything_in(sandbox: Sandbox) -> dict[str, list[tuple[object, ...]]]:
    """Every version of every secret with what a consumer can see of it."""
    return {
        name: [
            (each.version, each.value, dict(each.tags), each.expires_on, each.content_type, each.enabled)
            for each in sandbox.vault.versions(name)
        ]
        for name in sandbox.vault.names()
    }


def test_a_sound_installation_passes_and_is_left_as_it_was(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection(username=True)
    app = make_app(SERVICENOW_FALLBACK_GRANT="password", LEASE_CONTAINER_URL=sandbox.leases.url)
    app.process.parts().lease.note_tick()
    tick(app)
    before, requests = everything_in(sandbox), len(sandbox.log)
    checks = app.doctor()
    assert {check.verdict for check in checks} == {Verdict.PASS}, [c for c in checks if c.verdict is not Verdict.PASS]
    assert everything_in(sandbox) == before
    assert all(check.remedy is None for check in checks)
    assert len(sandbox.log) - requests < 30
    assert CANARY_PREFIX not in repr(checks)


def no_client_secret(sandbox: Sandbox) -> None:
    sandbox.vault.delete("servicenow-client-secret")


def unreadable_client_id(sandbox: Sandbox) -> None:
    sandbox.vault.deny("get", "servicenow-client-id")


def disabled_password(sandbox: Sandbox) -> None:
    sandbox.vault.versions("servicenow-password")[-1].enabled = False


def unwritable_target(sandbox: Sandbox) -> None:
    sandbox.vault.deny("update", TARGET)


def deleted_target(sandbox: Sandbox) -> None:
    sandbox.vault.delete(TARGET)


def deleted_refresh_token(sandbox: Sandbox) -> None:
    sandbox.vault.delete("servicenow-refresh-token")


def deleted_access_token(sandbox: Sandbox) -> None:
    sandbox.vault.delete("servicenow-oauth-token")


def answering_with_a_page(sandbox: Sandbox) -> None:
    sandbox.instance.personality = PERSONALITIES["login_page"]


def read_only_lease(sandbox: Sandbox) -> None:
    sandbox.faults.add(
        Fault(service="leases", method="PUT", times=None, action=Respond(403, {"x-ms-request-id": "1"}))
    )


def hibernating(sandbox: Sandbox) -> None:
    sandbox.instance.personality = PERSONALITIES["hibernating"]


def unreachable(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(service="instance", times=None, action=Drop()))


def throttled(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(service="instance", times=None, action=Respond(429, {"Retry-After": "30"}, b"")))


def no_lease(sandbox: Sandbox) -> None:
    sandbox.faults.add(Fault(service="leases", times=None, action=Respond(403, {"x-ms-request-id": "1"})))


@pytest.mark.parametrize(
    ("break_it", "name", "verdict", "remedy"),
    thinned(
        [
            (no_client_secret, "servicenow-client-secret", Verdict.FAIL, "az keyvault secret set"),
            (unreadable_client_id, "servicenow-client-id", Verdict.FAIL, "Key Vault Secrets User"),
            (disabled_password, "servicenow-password", Verdict.FAIL, "--name servicenow-password --enabled true"),
            (unwritable_target, TARGET, Verdict.FAIL, "Key Vault Secrets Officer"),
            (deleted_target, TARGET, Verdict.FAIL, "At once: python -m refresher refresh servicenow"),
            (deleted_refresh_token, "servicenow-refresh-token", Verdict.FAIL, "az keyvault secret recover"),
            (deleted_access_token, "servicenow-oauth-token", Verdict.WARN, "The next tick recovers it"),
            (hibernating, "token endpoint", Verdict.FAIL, "which wakes it"),
            pytest.param(
                *(unreachable, "instance", Verdict.FAIL, "SERVICENOW_INSTANCE_URL"), marks=pytest.mark.wire("https")
            ),
            (throttled, "token endpoint", Verdict.WARN, "raise the limit"),
            (answering_with_a_page, "token endpoint", Verdict.FAIL, "no login page or proxy in between"),
            (no_lease, "lease", Verdict.FAIL, "Storage Blob Data Contributor"),
            (read_only_lease, "lease", Verdict.FAIL, "Storage Blob Data Contributor"),
        ],
        3,
    ),
)
def test_what_is_broken_is_found(
    sandbox: Sandbox,
    make_app: MakeApp,
    break_it: Callable[[Sandbox], None],
    name: str,
    verdict: Verdict,
    remedy: str,
) -> None:
    sandbox.add_connection(username=True)
    app = make_app(SERVICENOW_FALLBACK_GRANT="password", LEASE_CONTAINER_URL=sandbox.leases.url)
    app.process.parts().lease.note_tick()
    tick(app)
    until_released(sandbox)
    break_it(sandbox)
    found = verdicts(app)
    assert found[name].verdict is verdict, found[name]
    assert remedy in (found[name].remedy or "")
    # What consumers find follows from what is broken; it is said beside it, and nothing else is.
    follows = {TARGET: {"token", "Simple Chat"}, "servicenow-oauth-token": {"token"}}
    others = {check.name for check in found.values() if check.name != name and check.verdict is Verdict.FAIL}
    assert others == (follows.get(name, set()) if "deleted" in break_it.__name__ else set())


def test_it_says_first_who_looks_from_where_and_whether_the_token_works(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    app = make_app()
    tick(app)
    names = [check.name for check in app.doctor()]
    assert names[:3] == ["identity", "settings", "token"]
    identity, _, token, *_ = app.doctor()
    assert identity.detail.endswith("asked from this machine, which is not the app")
    assert (token.verdict, token.detail.split(",")[:2]) == (Verdict.PASS, ["tried just now", " accepted"])


def test_a_revoked_token_fails_whatever_else_passes(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    app = make_app()
    tick(app)
    sandbox.instance.kill_access_token(sandbox.vault.versions("servicenow-oauth-token")[-1].value)
    found = [check for check in app.doctor() if check.verdict is Verdict.FAIL]
    assert [check.name for check in found] == ["token", "Simple Chat"]
    assert "refused (401)" in found[0].detail
    assert "refresh servicenow --force" in (found[0].remedy or "")


def test_one_connection_can_be_asked_for(sandbox: Sandbox, make_app: MakeApp) -> None:
    for name in ("hr", "it"):
        sandbox.add_connection(name)
    url = sandbox.instance.url
    app = make_app(SERVICENOW_CONNECTIONS=f'{{"hr": {{"instance_url": "{url}"}}, "it": {{"instance_url": "{url}"}}}}')
    assert {check.connection for check in app.doctor(["it"])} == {None, "it"}


@pytest.mark.wire("https")
def test_without_an_identity_whatever_needs_none_is_examined_all_the_same(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    sandbox.faults.add(Fault(service="identity", times=None, action=Respond(400, {}, b"{}")))
    sandbox.instance.personality = PERSONALITIES["hibernating"]
    checks = make_app().doctor()
    assert [(check.name, check.verdict) for check in checks] == [
        ("identity", Verdict.FAIL),
        ("settings", Verdict.PASS),
        ("token", Verdict.FAIL),
        ("instance", Verdict.PASS),
        ("token endpoint", Verdict.FAIL),
        ("clock", Verdict.PASS),
        ("lease", Verdict.WARN),
    ]
    assert "managed identity" in (checks[0].remedy or "")
    assert checks[2].detail == "it could not be looked at: nobody is signed in"


@pytest.mark.parametrize(
    ("theirs", "told"),
    [("07:55:00", "this machine's clock is 300 s fast"), ("08:10:00", "this machine's clock is 600 s slow")],
)
def test_clocks_that_differ_are_told_with_which_is_ahead(
    sandbox: Sandbox, make_app: MakeApp, theirs: str, told: str
) -> None:
    sandbox.add_connection()
    date = f"Mon, 05 Jan 2026 {theirs} GMT"
    answer = Respond(401, {"Date": date, "Content-Type": "application/json"}, b'{"error": "server_error"}')
    sandbox.faults.add(Fault(service="instance", path="/oauth_token.do", times=None, action=answer))
    found = verdicts(make_app())["clock"]
    assert found.verdict is Verdict.WARN
    assert found.detail.startswith(told)


def test_a_key_that_does_not_fit_is_found_without_being_used(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection(refresh_token=False)
    sandbox.vault.put("servicenow-jwt-key", f"{CANARY_PREFIX}not-a-key")
    app = make_app(SERVICENOW_GRANT="jwt_bearer", SERVICENOW_JWT='{"sub": "servicenow.integration"}')
    found = verdicts(app)["servicenow-jwt-key"]
    assert found.verdict is Verdict.FAIL
    assert CANARY_PREFIX not in f"{found}"


def test_set_ups_that_will_not_last_are_warned_of(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    found = verdicts(make_app(PUBLISH_TO="a-name-of-our-own"))
    assert found["refresh token's life"].verdict is Verdict.WARN
    assert found["token"].verdict is Verdict.FAIL, "there is none"
    assert found["Simple Chat"].verdict is Verdict.WARN
    assert found["lease"].verdict is Verdict.WARN


def test_a_client_secret_that_ends_soon_is_warned_of(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    stored = sandbox.vault.versions("servicenow-client-secret")[-1]
    stored.expires_on = sandbox.clock.now() + timedelta(days=3)
    assert verdicts(make_app())["servicenow-client-secret"].verdict is Verdict.WARN


@pytest.mark.exhaustive
def test_whoever_may_read_no_values_is_told_by_names_and_dates(sandbox: Sandbox, make_app: MakeApp) -> None:
    """Key Vault Reader is what who is on call has: what is wrong is found, and what they may not do is no fault."""
    sandbox.add_connection()
    app = make_app()
    tick(app)
    sandbox.clock.advance(timedelta(minutes=10))
    sandbox.vault.put("servicenow-client-secret", f"{CANARY_PREFIX}wrong")
    for _ in range(2):
        sandbox.clock.advance(timedelta(minutes=30))
        tick(app)
    for operation in ("get", "update", "set"):
        sandbox.vault.deny(operation)
    person = make_app(AZURE_CLIENT_ID="the app's", IDENTITY_ENDPOINT="")
    found = {check.name: check for check in person.doctor()}
    assert found["servicenow-client-secret"].verdict is Verdict.PASS
    assert "there since 2026-01-05 08:10 UTC; whoever looks may not read its value" in (
        found["servicenow-client-secret"].detail
    )
    assert found["last refresh"].suspected
    assert (found["last refresh"].remedy or "").startswith(
        "servicenow-client-secret at 2026-01-05 08:10 UTC: replaced"
    )
    assert not any("role assignment" in (check.remedy or "") for check in found.values())


class Surprising(FileLease):
    """A lease that meets what nobody foresaw."""

    def holder(self, connection: str) -> None:
        message = f"{CANARY_PREFIX}words of a library about {connection}"
        raise KeyError(message)


def test_what_breaks_one_check_stops_no_other(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    app = make_app()
    tick(app)
    before = [check.name for check in app.doctor()]
    app.process._parts = app.process.parts()._replace(lease=Surprising(LOCK_DIRECTORY, app.clock, sandbox.vault.url))
    after = verdicts(app)
    assert [*after] == before
    assert (after["lease"].verdict, after["lease"].suspected) == (Verdict.FAIL, True)
    assert after["lease"].detail.startswith("unexpected KeyError in tests.doors.test_doctor, line ")
    assert {check.verdict for name, check in after.items() if name in {"token", "instance"}} == {Verdict.PASS}
    assert CANARY_PREFIX not in repr(after)


def test_a_lock_that_somebody_keeps_or_nobody_can_open_is_told(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    app = make_app()
    tick(app)
    path = lock_path(LOCK_DIRECTORY, sandbox.vault.url, "servicenow")
    with path.open("r+") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        file.write("2026-01-05T07:00:00+00:00 process 4711")
        file.flush()
        held = verdicts(app)["lease"]
    path.unlink()
    path.mkdir()
    shut = verdicts(app)["lease"]
    path.rmdir()
    assert (held.verdict, held.suspected, shut.verdict, shut.suspected) == (Verdict.FAIL, True, Verdict.FAIL, True)
    assert "since 2026-01-05T07:00:00+00:00, by process 4711: longer than any refresh takes" in held.detail
    assert "has to be ended" in (held.remedy or "")
    assert "cannot be used" in shut.detail


def test_it_ends_in_five_minutes_and_tells_of_what_it_could_not_examine() -> None:
    """However many peers stall. Without sockets, the waits of all threads add up."""
    sandbox = DirectSandbox()
    many = {f"c{number}": {"instance_url": sandbox.instance.url} for number in range(60)}
    app = direct_app(sandbox, Process(sandbox), SERVICENOW_CONNECTIONS=json.dumps(many))
    sandbox.faults.add(Fault(service="instance", times=None, action=Stall()))
    began = sandbox.clock.now()
    checks = app.doctor()
    assert sandbox.clock.now() - began <= timedelta(minutes=5) + EXAMINED_AT_ONCE * app.settings.run_deadline
    left_out = [check for check in checks if "its turn did not come" in check.detail]
    assert {check.verdict for check in left_out} == {Verdict.FAIL}
    last = left_out[-1]
    assert last.remedy == f"Examine one connection at a time: python -m refresher doctor {last.connection}"
    assert {check.connection for check in checks} == {None, *many}
