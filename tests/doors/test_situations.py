"""What stands in the way, as a table: a situation, the first suspicion, the next step.

Whatever doctor proposes can be typed as it stands; it never proposes itself, nor what has just failed, and no value
of a secret is in any word of it.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from refresher.app import App
from refresher.model.check import Check, Verdict
from refresher.views.examination import verdict
from sandbox import CANARY_PREFIX, PERSONALITIES, Fault, Sandbox
from sandbox.faults import Respond
from sandbox.running import ConnectionSecrets
from tests.conftest import MakeApp, tick
from tests.names import CLIENT_SECRET, TARGET
from tests.rounds import until_released
from tests.sampling import thinned
from tests.typed import understood

pytestmark = pytest.mark.wire("any")

JSON = {"Content-Type": "application/json"}
JWT = {"SERVICENOW_GRANT": "jwt_bearer", "SERVICENOW_JWT": '{"sub": "servicenow.integration"}'}
TENANTS = ("11111111-2222-4333-8444-555555555555", "99999999-8888-4777-8666-555555555555")
Break = Callable[[Sandbox, ConnectionSecrets], object]


@dataclass(frozen=True, kw_only=True)
class Situation:
    """What is broken after a day that went well, and what has to be said of it."""

    do: Break
    suspects: str
    """The check's name and the beginning of what it found, as the verdict's line tells it."""
    step: str
    """In the next step."""
    settings: Mapping[str, str] = field(default_factory=dict)
    user: bool = False
    key: bool = False
    refresh_token: bool = True
    ticks: int = 2
    verdict: Verdict = Verdict.FAIL


def value(name: str, new: str) -> Break:
    """Store another value; `{}` in it is the old one."""

    def do(sandbox: Sandbox, _: ConnectionSecrets) -> None:
        old = sandbox.vault.versions(f"servicenow-{name}")[-1].value
        sandbox.vault.put(f"servicenow-{name}", new.replace("{}", old))

    return do


def together(*each: Break) -> Break:
    return lambda sandbox, secrets: [do(sandbox, secrets) for do in each]


def answers(service: str, status: int, headers: Mapping[str, str], body: object, path: str | None = None) -> Break:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    answer = Respond(status, headers, content)
    return lambda sandbox, _: sandbox.faults.add(Fault(service=service, path=path, times=None, action=answer))


def vault_says(status: int, message: str, inner: str | None = None) -> Break:
    error: dict[str, object] = {"code": "Unauthorized", "message": message}
    return answers("vault", status, JSON, {"error": {**error, **({"innererror": {"code": inner}} if inner else {})}})


def empty_vault(sandbox: Sandbox, _: ConnectionSecrets) -> None:
    for name in sandbox.vault.names():
        sandbox.vault.delete(name)
        sandbox.vault.purge(name)


def access_token_as_refresh_token(sandbox: Sandbox, _: ConnectionSecrets) -> None:
    sandbox.vault.put("servicenow-refresh-token", sandbox.vault.versions("servicenow-oauth-token")[-1].value)


def refresh_token_as_access_token(sandbox: Sandbox, _: ConnectionSecrets) -> None:
    """Put into a copy by hand, under the tags of nobody."""
    sandbox.vault.put(TARGET, sandbox.vault.versions("servicenow-refresh-token")[-1].value)


def open_ssh_key(sandbox: Sandbox, _: ConnectionSecrets) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()).decode()
    sandbox.vault.put("servicenow-jwt-key", text)


def another_key(sandbox: Sandbox, _: ConnectionSecrets) -> None:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    sandbox.vault.put("servicenow-jwt-key", text)


def dead_refresh_token(sandbox: Sandbox, _: ConnectionSecrets) -> None:
    sandbox.instance.kill_refresh_token(sandbox.vault.versions("servicenow-refresh-token")[-1].value)


def inactive(_: Sandbox, secrets: ConnectionSecrets) -> None:
    secrets.application.active = False


def precise(sandbox: Sandbox, _: ConnectionSecrets) -> None:
    sandbox.instance.personality = PERSONALITIES["precise_errors"]


def unreadable(sandbox: Sandbox, secrets: ConnectionSecrets) -> None:
    sandbox.instance.change_client_secret(secrets.application)
    sandbox.clock.advance(timedelta(hours=2))
    sandbox.vault.deny("get", "servicenow-username")


def leased_by_somebody_who_renews(sandbox: Sandbox, _: ConnectionSecrets) -> None:
    """And who wrote nothing down."""
    until_released(sandbox)
    sandbox.leases.hold("servicenow", timedelta(hours=9))


def leased_for_ever(sandbox: Sandbox, _: ConnectionSecrets) -> None:
    until_released(sandbox)
    sandbox.leases.hold("servicenow", None)


LEASED = {"LEASE_CONTAINER_URL": "leases"}
SITUATIONS: Mapping[str, Situation] = {
    "the vault of another environment": Situation(
        do=empty_vault,
        suspects="servicenow-client-id: missing, like every other secret of connection servicenow in {vault}",
        step="KEY_VAULT_URL",
    ),
    "a client secret in quotation marks": Situation(
        do=value("client-secret", '"{}"'),
        suspects=f"{CLIENT_SECRET}: its value is in quotation marks",
        step="secret set",
    ),
    "a client secret that is its own name": Situation(
        do=value("client-secret", CLIENT_SECRET),
        suspects=f"{CLIENT_SECRET}: its value holds the name of a secret",
        step="secret set",
    ),
    "a refresh token that is the whole answer": Situation(
        do=value("refresh-token", '{"refresh_token": "{}"}'),
        suspects="servicenow-refresh-token: its value holds JSON",
        step="authorize servicenow",
    ),
    "a refresh token that is the access token": Situation(
        do=access_token_as_refresh_token,
        suspects="servicenow-refresh-token: its value holds an access token",
        step="authorize servicenow",
    ),
    "a copy that is the refresh token": Situation(
        do=refresh_token_as_access_token,
        suspects=f"{TARGET}: its value holds the same value as -refresh-token",
        step="refresh servicenow --force",
        ticks=0,
    ),
    "a client secret that begins like JSON, and is refused": Situation(
        do=value("client-secret", "{CANARY-x"),
        suspects=f"{CLIENT_SECRET}: its value begins like JSON",
        step="secret set",
    ),
    "another client secret": Situation(
        do=value("client-secret", "CANARY-other"),
        suspects="last refresh: failed",
        step=f"{CLIENT_SECRET} at 2026-01-05 08:10 UTC: replaced after the last success at 2026-01-05 08:00 UTC",
    ),
    "another refresh token, put there by hand": Situation(
        do=value("refresh-token", "CANARY-other"),
        suspects="last refresh: failed",
        step="servicenow-refresh-token at 2026-01-05 08:10 UTC: replaced after the last success",
    ),
    "three others": Situation(
        do=together(
            *(value(each, f"CANARY-{each}-other") for each in ("client-id", "client-secret", "refresh-token"))
        ),
        suspects="last refresh: failed",
        step="Most likely one of the new values is wrong",
    ),
    "another user name": Situation(
        do=together(dead_refresh_token, value("username", "somebody.else")),
        suspects="last refresh: failed",
        step="servicenow-username at 2026-01-05 08:10 UTC: replaced after",
        settings={"SERVICENOW_GRANT": "password"},
        user=True,
        refresh_token=False,
    ),
    "another password": Situation(
        do=together(dead_refresh_token, value("password", "CANARY-other")),
        suspects="last refresh: failed",
        step="servicenow-password at 2026-01-05 08:10 UTC: replaced after",
        settings={"SERVICENOW_GRANT": "password"},
        user=True,
        refresh_token=False,
    ),
    "another key": Situation(
        do=another_key,
        suspects="last refresh: failed",
        step="servicenow-jwt-key at 2026-01-05 08:10 UTC: replaced after",
        settings=JWT,
        key=True,
        refresh_token=False,
    ),
    "a key in OpenSSH's form": Situation(
        do=open_ssh_key,
        suspects="servicenow-jwt-key: the private key for the JWT bearer grant cannot be used: it is in OpenSSH's",
        step="ssh-keygen -p -m PKCS8",
        settings=JWT,
        key=True,
        refresh_token=False,
    ),
    "an inactive application": Situation(
        do=inactive,
        suspects="last refresh: failed",
        step="First see in System OAuth > Application Registry that the app",
    ),
    "an inactive application, said precisely": Situation(
        do=together(precise, inactive),
        suspects="last refresh: failed",
        step="So the application was changed on the instance, or made inactive",
    ),
    "what could not be compared": Situation(
        do=unreadable,
        suspects="servicenow-username: Key Vault refused",
        step="ServiceNow token refresher: read a secret",
        settings={"SERVICENOW_FALLBACK_GRANT": "password"},
        user=True,
    ),
    "an address that the instance keeps out": Situation(
        do=answers("instance", 403, JSON, {"error": {"message": "User Not Authorized", "detail": "x"}}),
        suspects="token endpoint: ServiceNow keeps this address out (403)",
        step="Let the app's outgoing address through",
    ),
    "a redirect": Situation(
        do=answers("instance", 302, {"Location": "https://sso.example.com/login?x=CANARY-y"}, b""),
        suspects="token endpoint: the token endpoint answered 302, a redirect to sso.example.com",
        step="SERVICENOW_INSTANCE_URL",
    ),
    "a limit of requests": Situation(
        do=answers("instance", 429, {"Retry-After": "1800"}, b""),
        suspects="token endpoint: ServiceNow limits the rate of requests",
        step="a pause of 1800 s",
        verdict=Verdict.WARN,
    ),
    "an access policy on the probe's path": Situation(
        do=answers("instance", 401, JSON, {"error": {"message": "User Not Authenticated"}}, "/api/now"),
        suspects="last refresh: failed",
        step="a REST API access policy or an ACL keeps this user or address out of PROBE_PATH, /api/now/table",
    ),
    "a clock that is ten minutes slow, where assertions are signed": Situation(
        do=answers(
            "instance", 401, {**JSON, "Date": "Mon, 05 Jan 2026 09:20:00 GMT"}, {"error": "server_error"}, "/oauth"
        ),
        suspects="clock: this machine's clock is",
        step="s slow, by the instance's",
        settings=JWT,
        key=True,
        refresh_token=False,
    ),
    "a dead refresh token, and a copy that somebody disabled": Situation(
        do=together(
            dead_refresh_token, lambda sandbox, _: setattr(sandbox.vault.versions(TARGET)[-1], "enabled", False)
        ),
        suspects="last refresh: failed",
        step="the refresh token may have been revoked",
    ),
    "a vault of another tenant": Situation(
        do=vault_says(
            401,
            f"AKV10032: Invalid issuer. Expected one of https://sts.windows.net/{TENANTS[0]}/, found "
            f"https://sts.windows.net/{TENANTS[1]}/.",
        ),
        suspects=f"servicenow-client-id: {{vault}} belongs to tenant {TENANTS[0]}, and the identity's token is of",
        step=f"az login --tenant {TENANTS[0]}",
    ),
    "a token that the vault does not take": Situation(
        do=vault_says(401, "AKV10022: Invalid audience."),
        suspects="servicenow-client-id: {vault} does not take the identity's token (401, AKV10022",
        step="No role helps",
    ),
    "a page in front of the vault": Situation(
        do=answers("vault", 403, {"Content-Type": "text/html"}, b"<html>Blocked</html>"),
        suspects="servicenow-client-id: Key Vault answered something that is not its own (status 403)",
        step="No role helps. Let",
    ),
    "a page that says 404 in front of the vault": Situation(
        do=answers("vault", 404, {"Content-Type": "text/html"}, b"<html>Not found</html>"),
        suspects="servicenow-client-id: Key Vault answered something that is not its own (status 404)",
        step="No role helps. Let",
    ),
    "a vault that does not know the API's version": Situation(
        do=vault_says(
            400,
            "The specified version (2025-07-01) is not recognized. Consider using the latest supported version (7.1).",
        ),
        suspects="servicenow-client-id: {vault} does not know the version of Key Vault's API",
        step="Azure Stack Hub",
    ),
    "a firewall that does not let this address in": Situation(
        do=vault_says(
            403, "Client address is not authorized. Client address: 203.0.113.7\nCaller", "ForbiddenByFirewall"
        ),
        suspects="servicenow-client-id: the network rules of {vault} keep the address 203.0.113.7 out",
        step="--ip-address 203.0.113.7",
    ),
    "a lease that is renewed for hours": Situation(
        do=leased_by_somebody_who_renews,
        suspects="lease: another refresh of servicenow is under way; who holds it is not written there",
        step="az storage blob lease break --account-name",
        settings=LEASED,
    ),
    "a lease that never ends": Situation(
        do=leased_for_ever,
        suspects="lease: the lease of servicenow is held by something that is no refresher: it never ends by itself",
        step="az storage blob lease break --account-name",
        settings=LEASED,
        ticks=0,
    ),
}


def broken(sandbox: Sandbox, make_app: MakeApp, situation: Situation) -> App:
    """An installation that worked ten minutes ago."""
    secrets = sandbox.add_connection(
        username=situation.user, jwt_key=situation.key, refresh_token=situation.refresh_token
    )
    leases = {name: sandbox.leases.url for name in LEASED if name in situation.settings}
    app = make_app(**{**situation.settings, **leases})
    app.process.parts().lease.note_tick()
    tick(app)
    sandbox.clock.advance(timedelta(minutes=10))
    situation.do(sandbox, secrets)
    for _ in range(situation.ticks):
        sandbox.clock.advance(timedelta(minutes=30))
        app.process.parts().lease.note_tick()
        tick(app)
    # As a person does, in a process of its own: what the one that ticks remembers is not known there.
    return make_app(**{**situation.settings, **leases})


def suspected(checks: tuple[Check, ...]) -> Check:
    return next(check for check in checks if check.suspected)


@pytest.mark.parametrize("name", thinned(list(SITUATIONS), 3))
def test_the_first_suspicion_is_right_and_the_next_step_can_be_typed(
    sandbox: Sandbox, make_app: MakeApp, name: str
) -> None:
    situation = SITUATIONS[name]
    checks = broken(sandbox, make_app, situation).doctor()
    found = suspected(checks)
    wanted = situation.suspects.replace("{vault}", sandbox.vault.url)
    assert f"{found.name}: {found.detail}".startswith(wanted), [check for check in checks if check.remedy]
    told = f"{found.detail} {found.remedy}"
    assert situation.step in told, found
    assert found.verdict is situation.verdict
    if found.name == "last refresh":
        assert "; suspected: " in found.detail
    assert f"Most likely: servicenow: {found.name}: {found.detail}" in verdict(checks)
    for check in checks:
        for command in check.remedy.commands if check.remedy else ():
            assert understood(str(command)), command
            assert "refresher doctor" not in str(command)
            assert "refresher probe" not in str(command)
            assert not {"SETTING=VALUE", "ADDRESS", "IDENTITY", "NAME"} & set(command.words), command
    if name == "a refresh token that is the access token":
        assert {check.name for check in checks if "its value" in check.detail} == {"servicenow-refresh-token"}
    assert CANARY_PREFIX not in repr(checks)


def test_a_token_that_ended_follows_from_its_cause_and_has_no_step_of_its_own(
    sandbox: Sandbox, make_app: MakeApp
) -> None:
    checks = {check.name: check for check in broken(sandbox, make_app, SITUATIONS["another client secret"]).doctor()}
    assert (checks["token"].verdict, checks["token"].follows) == (Verdict.FAIL, True)
    assert checks["token"].remedy == "It follows from what is wrong with: last refresh."
    assert "refresh token's life" not in checks, "a date in spring is no news where it is refused today"


def test_a_token_that_is_disabled_is_no_copy_that_simple_chat_could_not_find(
    sandbox: Sandbox, make_app: MakeApp
) -> None:
    situation = Situation(
        do=lambda sandbox, _: setattr(sandbox.vault.versions("servicenow-oauth-token")[-1], "enabled", False),
        suspects="",
        step="",
        ticks=0,
    )
    checks = {check.name: check for check in broken(sandbox, make_app, situation).doctor()}
    assert checks["servicenow-oauth-token"].suspected
    assert checks["Simple Chat"].verdict is Verdict.PASS
    assert checks["Simple Chat"].detail == f"{TARGET} holds the current token"


def test_a_token_that_was_deleted_does_not_tell_that_none_was_ever_refreshed(
    sandbox: Sandbox, make_app: MakeApp
) -> None:
    situation = Situation(
        do=lambda sandbox, _: sandbox.vault.delete("servicenow-oauth-token"), suspects="", step="", ticks=0
    )
    checks = {check.name: check for check in broken(sandbox, make_app, situation).doctor()}
    assert checks["last refresh"].detail == "none is known: servicenow-oauth-token is not there"
    assert checks["token"].detail == "the connection's own secret holds no token"
