"""An OAuth server that is not ours: authorization in a browser, refreshes with rotation, and a spent token.

The server is oidc-provider at a ServiceNow instance's paths; the vault is the sandbox's. Where Node is missing, these
tests are skipped and say so.
"""

import os
import ssl
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.report import Outcome
from sandbox import CANARY_PREFIX, Sandbox, SandboxClock
from sandbox.running import _certificates
from sandbox.trial.host import environment
from tests.conftest import MakeApp, tick
from tests.doors.test_authorize import Authorizing
from tests.needs import need_node_package

HERE = Path(__file__).parent


@dataclass(frozen=True, slots=True, kw_only=True)
class Provider:
    """The running server, and the client that is registered there."""

    url: str
    client_id: str
    client_secret: str


@pytest.fixture(scope="module")
def provider(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Provider]:
    """oidc-provider on a loopback port, with the certificate that the sandbox's CA signed."""
    need_node_package("oidc-provider")
    folder = tmp_path_factory.mktemp("oidc-provider")
    _, certificate = _certificates()
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    certificate.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    client = {"CLIENT_ID": f"{CANARY_PREFIX}oidc-client", "CLIENT_SECRET": f"{CANARY_PREFIX}oidc-secret"}
    command = ["node", str(HERE / "oidc-provider.mjs"), str(folder / "cert.pem"), str(folder / "key.pem")]
    with (
        (folder / "log").open("wb") as log,
        subprocess.Popen(command, env={**os.environ, **client}, stdout=subprocess.PIPE, stderr=log) as process,
    ):
        assert process.stdout is not None
        port = process.stdout.readline().decode().strip()
        assert port, (folder / "log").read_text()
        yield Provider(
            url=f"https://127.0.0.1:{port}", client_id=client["CLIENT_ID"], client_secret=client["CLIENT_SECRET"]
        )
        process.terminate()
        process.wait(300)


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """A sandbox that begins now, since the command and the server go by the real clock."""
    clock = SandboxClock(datetime.now(UTC), flowing=False)
    with Sandbox(clock=clock) as running, environment(running.environ()):
        yield running


@pytest.fixture
def authorized(sandbox: Sandbox, provider: Provider, make_app: MakeApp) -> App:
    """The product, after a person authorized it in a browser."""
    sandbox.vault.put("servicenow-client-id", provider.client_id)
    sandbox.vault.put("servicenow-client-secret", provider.client_secret)
    authorizing = Authorizing(
        sandbox, "--no-browser", "--port", "0", "--timeout", "20", SERVICENOW_INSTANCE_URL=provider.url
    )
    sign_in(authorizing.address(), ca_file=sandbox.ca_file)
    code, out, err = authorizing.end()
    assert (code, "servicenow: refreshed" in out) == (0, True), err
    return make_app(SERVICENOW_INSTANCE_URL=provider.url)


def sign_in(url: str, *, ca_file: Path) -> None:
    """What a person does in the browser: sign in, consent, and be sent back to the loopback port."""
    with httpx.Client(follow_redirects=True, verify=ssl.create_default_context(cafile=ca_file)) as browser:
        page = browser.get(url)
        form = {"prompt": "login", "login": "integration.user", "password": "of the test server"}
        page = browser.post(page.url, data=form)
        page = browser.post(page.url, data={"prompt": "consent"})
    assert "Authorized" in page.text


def stored_refresh_token(sandbox: Sandbox) -> str:
    """The refresh token in the vault."""
    secret = sandbox.vault.get("servicenow-refresh-token")
    assert secret is not None
    return secret.value


@pytest.mark.exhaustive
def test_a_foreign_server_is_refreshed_with_rotation(sandbox: Sandbox, authorized: App) -> None:
    """Each refresh brings another refresh token, which is stored; the rotated ones continue the first one's life."""
    seen = {stored_refresh_token(sandbox)}
    ends = set()
    for _ in range(5):
        sandbox.clock.advance(timedelta(minutes=50))
        report = tick(authorized)
        assert (report.outcome, report.user_name) == (Outcome.REFRESHED, "integration.user")
        seen.add(stored_refresh_token(sandbox))
        ends.add(report.refresh_token_expires_at)
    assert len(seen) == 6
    assert len(ends) == 1
    record = sandbox.vault.get("servicenow-refresh-record")
    assert record is not None
    assert record.tags["refresh-token"] == "rotates=true"


@pytest.mark.exhaustive
def test_a_spent_refresh_token_is_recognized(sandbox: Sandbox, authorized: App) -> None:
    """Put back by hand, it ends the whole grant at the server; the product asks for a person and loses nothing."""
    spent = stored_refresh_token(sandbox)
    sandbox.clock.advance(timedelta(minutes=50))
    assert tick(authorized).outcome is Outcome.REFRESHED
    access_token = sandbox.vault.get("servicenow-oauth-token")
    sandbox.vault.put("servicenow-refresh-token", spent)
    sandbox.clock.advance(timedelta(minutes=50))
    report = tick(authorized)
    assert report.outcome is Outcome.AUTHORIZATION_REQUIRED
    assert report.cause in {Cause.INVALID_GRANT, Cause.REFRESH_TOKEN_REFUSED}
    assert report.hint is not None
    assert "authorize servicenow" in report.hint
    assert stored_refresh_token(sandbox) == spent
    assert sandbox.vault.get("servicenow-oauth-token") == access_token
