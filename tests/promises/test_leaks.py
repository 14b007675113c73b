"""Nothing leaks: every secret of the sandbox begins with a canary, and nothing that leaves the product holds one.

Every library logs at DEBUG here. Beside these tests, tests/conftest.py searches the log and the output of every
test of the suite, and tests/crash and tests/worker those of the processes that they start.
"""

import json
import logging
import traceback
from collections.abc import Iterator
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.errors import RefresherError
from refresher.model.report import RunReport, RunRequest, Trigger
from refresher.model.tokens import Secret
from refresher.views.bodies import body_of
from refresher.web import refresh_reply, status_reply
from sandbox import CANARY_PREFIX, PERSONALITIES, Fault, Sandbox
from sandbox.faults import Action, Drop, DropAfter, Garbage, Respond, Throttle, Truncate
from sandbox.trial.host import load_functions
from tests.conftest import CapturedLog, MakeApp
from tests.factories import TICKING
from tests.sampling import sampled, thinned

MINUTES = timedelta(minutes=1)
NOISY = (
    "azure",
    "azure.core.pipeline.policies.http_logging_policy",
    "azure.identity",
    "azure.storage",
    "httpcore",
    "httpx",
    "msal",
    "urllib3",
)
JWT = '{"sub": "servicenow.integration"}'


@pytest.fixture(autouse=True)
def debug() -> Iterator[None]:
    """Undo what keeps the libraries quiet."""
    levels = {name: logging.getLogger(name).level for name in NOISY}
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.DEBUG)
    yield
    for name, level in levels.items():
        logging.getLogger(name).setLevel(level)


def everything_said(app: App, reports: tuple[RunReport, ...]) -> str:
    """What leaves the product about these reports and the connection, in every form."""
    now = app.clock.now()
    statuses = app.status()
    replies = [
        refresh_reply(reports, now),
        status_reply(statuses, TICKING, now),
        status_reply(statuses, TICKING, now, key={}),
    ]
    return "\n".join(
        [
            *(str(reply.body) + repr(reply) for reply in replies),
            repr(reports),
            repr(statuses),
            repr(app.settings),
            repr(app.doctor()),
        ]
    )


def run_and_search(sandbox: Sandbox, app: App, log: CapturedLog, *, force: bool = True) -> str:
    """Run, then search what was said; what the libraries logged proves that their loggers were on."""
    reports = app.tick(RunRequest(trigger=Trigger.TIMER, force=force, reason="leak test"))
    sandbox.faults.clear()
    said = everything_said(app, reports)
    assert CANARY_PREFIX not in said
    assert any(line.startswith("urllib3") for line in log.lines)
    assert any(line.startswith("azure.core") for line in log.lines)
    return said


@pytest.mark.parametrize("personality", sampled(PERSONALITIES, list(PERSONALITIES)[:1]))
def test_no_answer_of_servicenow_is_repeated(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog, personality: str
) -> None:
    sandbox.add_connection(username=True)
    app = make_app(SERVICENOW_FALLBACK_GRANT="password")
    app.tick(RunRequest(trigger=Trigger.TIMER))
    sandbox.clock.advance(50 * MINUTES)
    sandbox.instance.personality = PERSONALITIES[personality]
    run_and_search(sandbox, app, everything_logged)
    assert any(line.startswith("httpx") for line in everything_logged.lines)
    assert sandbox.vault.get("servicenow-oauth-token").value.startswith(CANARY_PREFIX)  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "grant",
    sampled(["refresh_token", "password", "client_credentials", "jwt_bearer"], ["refresh_token"]),
)
def test_no_grant_shows_its_credentials(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog, grant: str
) -> None:
    """Accepted, then refused: wrong client secret."""
    sandbox.add_connection(username=True, jwt_key=True)
    app = make_app(SERVICENOW_GRANT=grant, SERVICENOW_JWT=JWT)
    run_and_search(sandbox, app, everything_logged)
    sandbox.vault.put("servicenow-client-secret", f"{CANARY_PREFIX}wrong")
    run_and_search(sandbox, app, everything_logged)


ECHO = b'{"error": "server_error", "error_description": "CANARY-echoed", "access_token": "CANARY-echoed"}'
KINDS: dict[str, Action] = {
    "400 with an echo": Respond(400, body=ECHO),
    "401 with an echo": Respond(401, body=ECHO),
    "403 with an echo": Respond(403, body=ECHO),
    "500 with an echo": Respond(500, body=ECHO),
    "nonsense": Garbage(b"<html>CANARY-echoed"),
    "429": Throttle(1),
    "a dropped connection": Drop(),
    "a lost answer": DropAfter(),
    "half an answer": Truncate(),
}
FAULTS: dict[str, tuple[Action, str]] = {
    f"{kind} from {service}": (action, service)
    for service in ("instance", "vault", "identity", "leases")
    for kind, action in KINDS.items()
}


@pytest.mark.parametrize("name", sampled(FAULTS, list(FAULTS)[:1]))
def test_no_fault_of_a_service_is_quoted(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog, name: str
) -> None:
    action, service = FAULTS[name]
    sandbox.add_connection(username=True)
    app = make_app(LEASE_CONTAINER_URL=sandbox.leases.url)
    sandbox.faults.add(Fault(service=service, action=action, times=None))
    run_and_search(sandbox, app, everything_logged)


BAD_SECRETS = {
    "servicenow-client-id": "CANARY-id\nwith a line break",
    "servicenow-client-secret": "",
    "servicenow-refresh-token": "CANARY-\x00control",
    "servicenow-jwt-key": "-----BEGIN PRIVATE KEY-----\nCANARY-not-base64\n-----END PRIVATE KEY-----",
}


@pytest.mark.parametrize("name", thinned(BAD_SECRETS))
def test_no_bad_secret_is_quoted(
    sandbox: Sandbox, make_app: MakeApp, everything_logged: CapturedLog, name: str
) -> None:
    sandbox.add_connection(username=True, jwt_key=True)
    sandbox.vault.put(name, BAD_SECRETS[name])
    grant = "jwt_bearer" if name.endswith("key") else "refresh_token"
    run_and_search(sandbox, make_app(SERVICENOW_GRANT=grant, SERVICENOW_JWT=JWT), everything_logged)


def test_no_command_shows_a_token(sandbox: Sandbox, app: App, everything_logged: CapturedLog) -> None:
    """Revoking sends the token in the URL, which httpx would log."""
    sandbox.add_connection()
    app.tick(RunRequest(trigger=Trigger.TIMER))
    said = repr(app.probe(["servicenow"])) + json.dumps(body_of(app.history("servicenow")))
    said += repr(app.revoke("servicenow", RunRequest(trigger=Trigger.CLI)))
    assert CANARY_PREFIX not in said
    assert sandbox.log.count(service="instance", path="/oauth_revoke_token.do") > 0
    assert not any("token=" in line for line in everything_logged.lines)


LAYERS = {
    "settings": "refresher.run.process.load_settings",
    "decision": "refresher.run.order.decide_refresh",
    "vault, read": "refresher.keyvault.vault.Vault.read",
    "vault, write": "refresher.keyvault.vault.Vault.write",
    "servicenow": "refresher.servicenow.session.Session.request_token",
    "parsing": "refresher.servicenow.session.parse_token_response",
    "lease": "refresher.lease.file.FileLease.acquire",
    "http library": "httpx.Client.send",
    "SDK": "azure.keyvault.secrets.SecretClient.get_secret",
    "log": "refresher.run.tick.emit",
    "waiting": "refresher.run.tick.seconds_to_next_try",
    "health": "refresher.status.reader.evaluate",
    "reply": "refresher.web.refresh_reply",
    "page": "refresher.web.status_page",
}


@pytest.mark.wire("any")
@pytest.mark.parametrize("layer", thinned(LAYERS, 3))
def test_an_unforeseen_exception_reaches_the_host_without_its_text(
    sandbox: Sandbox, app: App, monkeypatch: pytest.MonkeyPatch, everything_logged: CapturedLog, layer: str
) -> None:
    """A defect of our own or of a library, whose text holds a secret: chained tracebacks are telemetry as well."""

    def fail(*_: object, **__: object) -> None:
        try:
            raise KeyError(f"{CANARY_PREFIX}inner")  # noqa: TRY301 - as a library does it
        except KeyError:
            raise RuntimeError(f"{CANARY_PREFIX}outer")  # noqa: B904 - as a library does it

    sandbox.add_connection()
    functions = load_functions(sandbox.clock, app)
    monkeypatch.setattr(LAYERS[layer], fail)
    said = []
    try:
        functions.fire_timer()
    except RefresherError as error:
        said += ["".join(traceback.format_exception(error)), repr(error.__cause__), repr(error.__context__)]
    for name, method, accept in (("refresh_now", "POST", ""), ("status", "GET", ""), ("status", "GET", "text/html")):
        answer = functions.http(name, method, f"/api/{name}", headers={"accept": accept})
        said += [answer.get_body().decode(), repr(dict(answer.headers))]
    assert CANARY_PREFIX not in "\n".join(said)
    assert any(Cause.UNEXPECTED.value in text for text in (*said, *everything_logged.lines))


def test_a_secret_does_not_show_itself() -> None:
    secret = Secret(f"{CANARY_PREFIX}value")
    shown = [str(secret), repr(secret), f"{secret}", f"{secret!r}", repr([secret]), "%s" % secret]  # noqa: UP031
    assert not any(CANARY_PREFIX in text for text in shown)
    with pytest.raises(TypeError):
        json.dumps(secret)
