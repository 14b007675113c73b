"""First authorization by a person: with a password, and in a browser; as commands, and at the level of the app."""

import os
import socket
import ssl
import subprocess
import sys
import time
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from refresher.app import App
from refresher.cli.redirect import RedirectReceiver
from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunReport, RunRequest, Trigger
from refresher.model.tokens import Secret
from refresher.run.by_hand import Authorization
from refresher.servicenow.authorization import AuthorizationIncompleteError, AuthorizationRequest
from sandbox import CANARY_PREFIX, Fault, Sandbox
from sandbox.faults import DropAfter
from sandbox.personality import Personality
from tests.conftest import MakeApp, tick
from tests.doors.test_commands import run
from tests.forks import python

pytestmark = pytest.mark.wire("any")


def by_password(app: App, user_name: str, password: str, *, keep: bool = False) -> RunReport:
    """Authorize the one connection as the command does, without the prompts."""
    given = {"username": Secret(user_name), "password": Secret(password)}
    authorization = Authorization(grant=Grant.PASSWORD, brought=given, keep=keep)
    return app.authorize("servicenow", RunRequest(trigger=Trigger.CLI), authorization)


def password_of(sandbox: Sandbox) -> tuple[str, str]:
    """A connection without a refresh token; its user's name and password."""
    added = sandbox.add_connection(refresh_token=False)
    return added.user_name, added.application.user.password


class TestWithAPassword:
    def test_a_new_life_starts_with_its_dates_and_every_copy(self, sandbox: Sandbox, app: App) -> None:
        """The refresh token is stored with its dates, the access token with its target; the next tick has no work."""
        report = by_password(app, *password_of(sandbox))
        assert (report.outcome, report.grant, report.user_name) == (
            Outcome.REFRESHED,
            Grant.PASSWORD,
            "servicenow.integration",
        )
        refresh_token = sandbox.vault.get("servicenow-refresh-token")
        access_token = sandbox.vault.get("servicenow-oauth-token")
        copy = sandbox.vault.get("servicenow--action--global--oauth-token")
        assert refresh_token is not None
        assert access_token is not None
        assert copy is not None
        assert sandbox.instance.is_living_refresh_token(refresh_token.value)
        assert access_token.value == copy.value
        assert (access_token.tags["grant"], access_token.tags["trigger"]) == ("password", "cli")
        issued_at, expires_at = (
            datetime.fromisoformat(refresh_token.tags[tag]) for tag in ("issued-at", "expires-at")
        )
        assert expires_at - issued_at == timedelta(days=100)
        assert tick(app).outcome is Outcome.NOT_DUE

    def test_the_password_stays_out_of_the_vault(self, sandbox: Sandbox, app: App) -> None:
        """Without --store nobody can read it anywhere afterwards."""
        by_password(app, *password_of(sandbox))
        assert sandbox.vault.get("servicenow-password") is None

    def test_a_kept_password_is_the_one_that_renews(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        """With --store the fallback grant starts the next life without a person."""
        app = make_app(SERVICENOW_FALLBACK_GRANT="password")
        user_name, password = password_of(sandbox)
        assert by_password(app, user_name, password, keep=True).outcome is Outcome.REFRESHED
        stored = sandbox.vault.get("servicenow-username"), sandbox.vault.get("servicenow-password")
        assert [secret.value if secret else None for secret in stored] == [user_name, password]
        sandbox.clock.advance(timedelta(days=99))
        report = tick(app)
        assert (report.outcome, report.grant) == (Outcome.REFRESHED, Grant.PASSWORD)

    def test_a_password_that_is_kept_already_gets_no_new_version(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        """A second authorization with the same password writes it no second time."""
        app = make_app(SERVICENOW_FALLBACK_GRANT="password")
        user_name, password = password_of(sandbox)
        by_password(app, user_name, password, keep=True)
        by_password(app, user_name, password, keep=True)
        assert len(sandbox.vault.versions("servicenow-password")) == 1

    def test_a_wrong_password_is_sent_once_and_changes_nothing(self, sandbox: Sandbox, app: App) -> None:
        """A refusal leaves the working refresh token, keeps no password, and counts nothing for the schedule."""
        added = sandbox.add_connection()
        before = sandbox.vault.get("servicenow-refresh-token")
        report = by_password(app, added.user_name, f"{CANARY_PREFIX}wrong", keep=True)
        assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.ACCESS_DENIED)
        assert report.hint
        assert sandbox.instance.password_attempts(added.user_name) == 1
        assert sandbox.vault.get("servicenow-refresh-token") == before
        assert sandbox.vault.get("servicenow-password") is None
        assert sandbox.vault.get("servicenow-refresh-record") is None

    @pytest.mark.wire("https")
    def test_a_lost_answer_does_not_send_the_password_again(self, sandbox: Sandbox, app: App) -> None:
        """What a person typed goes out once; they can start again."""
        user_name, password = password_of(sandbox)
        sandbox.faults.add(Fault(path="/oauth_token.do", times=1, action=DropAfter()))
        assert by_password(app, user_name, password).cause is Cause.INSTANCE_UNREACHABLE
        assert sandbox.instance.password_attempts(user_name) == 1

    def test_a_token_that_the_api_refuses_replaces_nothing(self, sandbox: Sandbox, app: App) -> None:
        """The stored refresh token gives way only to one whose access token works."""
        added = sandbox.add_connection()
        before = sandbox.vault.get("servicenow-refresh-token")
        sandbox.instance.personality = Personality(probe_status=401)
        report = by_password(app, added.user_name, added.application.user.password)
        assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.TOKEN_REJECTED)
        assert sandbox.vault.get("servicenow-refresh-token") == before
        assert sandbox.vault.get("servicenow-oauth-token") is None

    @pytest.mark.exhaustive
    def test_it_ends_a_failure(self, sandbox: Sandbox, app: App) -> None:
        """After authorization_required, a person's authorization clears the record of failures."""
        added = sandbox.add_connection()
        assert added.refresh_token is not None
        sandbox.instance.kill_refresh_token(added.refresh_token)
        for _ in range(2):
            tick(app)
            sandbox.clock.advance(timedelta(minutes=5))
        assert tick(app).outcome is Outcome.AUTHORIZATION_REQUIRED
        assert by_password(app, added.user_name, added.application.user.password).outcome is Outcome.REFRESHED
        record = sandbox.vault.get("servicenow-refresh-record")
        assert record is not None
        assert record.tags["consecutive-failures"] == "0"
        assert tick(app).outcome is Outcome.NOT_DUE


class TestTheCommand:
    def test_the_password_comes_from_standard_input(self, real_time: Sandbox) -> None:
        """Name and password, a line each; the result says whose token it is and shows neither."""
        user_name, password = password_of(real_time)
        done = run(real_time, "authorize", "servicenow", "--grant", "password", stdin=f"{user_name}\n{password}\n")
        assert done.returncode == 0, done.stderr
        assert "servicenow: refreshed" in done.stdout
        assert CANARY_PREFIX not in done.stdout + done.stderr
        assert run(real_time, "status").returncode == 0

    def test_no_password_is_one_clear_error(self, real_time: Sandbox) -> None:
        """An empty input is a wrong usage, and nothing was asked of the instance."""
        password_of(real_time)
        done = run(real_time, "authorize", "servicenow", "--grant", "password", stdin="")
        assert done.returncode == 2
        assert "standard input, a line each" in done.stderr
        assert real_time.log.count(service="instance") == 0

    def test_there_is_no_option_for_the_password(self, real_time: Sandbox) -> None:
        """It would stand in the list of processes and in the shell's history."""
        done = run(real_time, "authorize", "servicenow", "--grant", "password", "--password", "x")
        assert done.returncode == 2

    def test_store_belongs_to_the_password(self, real_time: Sandbox) -> None:
        """An authorization code leaves nothing to keep."""
        password_of(real_time)
        done = run(real_time, "authorize", "servicenow", "--grant", "authorization_code", "--store")
        assert (done.returncode, "Leave --store out" in done.stderr) == (2, True)


class Authorizing:
    """`authorize --grant authorization_code` under way."""

    def __init__(self, sandbox: Sandbox, *options: str, **environ: str) -> None:
        self.process = subprocess.Popen(
            [python(), "-m", "refresher", "authorize", "servicenow", "--grant", "authorization_code", *options],
            env={**os.environ, **sandbox.environ(), **environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.tls = ssl.create_default_context(cafile=sandbox.ca_file)

    def address(self) -> str:
        """The address that is printed for a browser."""
        assert self.process.stderr is not None
        for line in self.process.stderr:
            if line.startswith("https://"):
                return line.strip()
        raise AssertionError("no address was printed")

    def browse(self, url: str) -> httpx.Response:
        """What a browser does: sign in, be sent back to the loopback port."""
        return httpx.get(url, follow_redirects=True, verify=self.tls)

    def end(self) -> tuple[int, str, str]:
        """Exit code, stdout, the rest of stderr."""
        out, err = self.process.communicate(timeout=300)
        return self.process.returncode, out, err


class TestInABrowser:
    def test_no_password_is_ever_stored(self, real_time: Sandbox) -> None:
        """PKCE, state and redirect hold; the person sees that it is done; the vault has the tokens and no password."""
        password_of(real_time)
        authorizing = Authorizing(real_time, "--no-browser", "--port", "0")
        url = authorizing.address()
        query = parse_qs(urlsplit(url).query)
        assert query["code_challenge_method"] == ["S256"]
        assert query["redirect_uri"][0].startswith("http://127.0.0.1:")
        page = authorizing.browse(url)
        assert (page.status_code, "Authorized" in page.text) == (200, True)
        assert CANARY_PREFIX not in page.text
        code, out, err = authorizing.end()
        assert (code, "servicenow: refreshed" in out) == (0, True), err
        assert CANARY_PREFIX not in out + err
        token = real_time.vault.get("servicenow-oauth-token")
        assert token is not None
        assert token.tags["grant"] == "authorization_code"
        assert real_time.vault.get("servicenow-password") is None
        assert run(real_time, "tick").returncode == 0

    def test_the_browser_is_opened(self, real_time: Sandbox, tmp_path: Path) -> None:
        """Without --no-browser the address goes to the browser that the system names."""
        password_of(real_time)
        browser = tmp_path / "browser.py"
        browser.write_text("import sys, httpx; httpx.get(sys.argv[1], follow_redirects=True)\n")
        authorizing = Authorizing(real_time, "--port", "0", BROWSER=f"{sys.executable} {browser} %s &")
        code, out, err = authorizing.end()
        assert (code, "servicenow: refreshed" in out) == (0, True), err

    def test_what_is_not_the_browsers_answer_does_not_end_the_wait(self, real_time: Sandbox) -> None:
        """Another program's request, another path, a client that sends nothing: the person is still at it."""
        password_of(real_time)
        authorizing = Authorizing(real_time, "--no-browser", "--port", "0")
        url = authorizing.address()
        redirect_uri = parse_qs(urlsplit(url).query)["redirect_uri"][0]
        assert authorizing.browse(f"{redirect_uri}?code={CANARY_PREFIX}code&state=guessed").status_code == 400
        assert authorizing.browse(redirect_uri.replace("/callback", "/favicon.ico")).status_code == 404
        with socket.create_connection(("127.0.0.1", urlsplit(redirect_uri).port or 0)) as silent:
            silent.sendall(b"GET /call")
            assert authorizing.browse(url).status_code == 200
            code, out, err = authorizing.end()
        assert (code, "servicenow: refreshed" in out) == (0, True), err

    def test_a_client_that_sends_a_byte_now_and_then_makes_the_wait_no_longer(self) -> None:
        request = AuthorizationRequest.on_port(1, state="s", code_verifier="v")
        with RedirectReceiver(0) as receiver, socket.create_connection(("127.0.0.1", receiver.port)) as slow:
            slow.sendall(b"GET /callback?")
            begun = time.monotonic()
            with pytest.raises(AuthorizationIncompleteError, match="nobody authorized within 1 seconds"):
                receiver.wait(request, 1.0)
            assert time.monotonic() - begun < 30

    def test_a_redirect_with_another_state_is_refused(self, real_time: Sandbox) -> None:
        """Somebody else's code is not redeemed."""
        password_of(real_time)
        authorizing = Authorizing(real_time, "--no-browser", "--port", "0", "--timeout", "3")
        redirect_uri = parse_qs(urlsplit(authorizing.address()).query)["redirect_uri"][0]
        page = authorizing.browse(f"{redirect_uri}?code={CANARY_PREFIX}code&state=guessed")
        assert (page.status_code, CANARY_PREFIX in page.text) == (400, False)
        code, out, err = authorizing.end()
        assert (code, out) == (1, "")
        assert "its state differs" in err
        assert "python -m refresher authorize servicenow" in err
        assert real_time.log.count(service="instance") == 0

    def test_it_waits_for_so_long_only(self, real_time: Sandbox) -> None:
        """A person who went away leaves no process behind."""
        password_of(real_time)
        authorizing = Authorizing(real_time, "--no-browser", "--port", "0", "--timeout", "0.2")
        code, _, err = authorizing.end()
        assert (code, "nobody authorized within 0 seconds" in err) == (1, True)

    def test_a_port_that_is_taken_is_said(self, real_time: Sandbox) -> None:
        """With the way out."""
        password_of(real_time)
        port = str(urlsplit(real_time.instance.url).port)
        code, _, err = Authorizing(real_time, "--no-browser", "--port", port).end()
        assert (code, f"port {port} of this machine" in err, "--port" in err) == (2, True, True)
