"""`probe` says whose token it is; `revoke` ends the tokens at ServiceNow and lets the vault say so."""

import json
import os
import pty
import subprocess
from datetime import datetime

import pytest

from refresher.app import App
from refresher.model.report import Outcome, RunRequest, Trigger
from refresher.servicenow.answers import Verdict
from refresher.views.facts import facts
from sandbox import CANARY_PREFIX, Sandbox
from sandbox.faults import Fault, Respond
from sandbox.personality import HIBERNATING
from tests.conftest import MakeApp, tick
from tests.doors.test_commands import run
from tests.forks import python
from tests.names import TARGET

pytestmark = pytest.mark.wire("any")


def revoke(app: App) -> Outcome:
    """What the command does once it is confirmed."""
    return app.revoke("servicenow", RunRequest(trigger=Trigger.CLI)).outcome


def marked(sandbox: Sandbox) -> set[str]:
    """Names of the secrets that the vault calls revoked."""
    names = ("servicenow-refresh-token", "servicenow-oauth-token", TARGET)
    held = {name: sandbox.vault.get(name) for name in names}
    return {name for name, secret in held.items() if secret is not None and "revoked-at" in secret.tags}


class TestProbe:
    def test_it_names_the_user_and_asks_nothing_else(self, sandbox: Sandbox, app: App) -> None:
        """One request to the API; nothing is written."""
        sandbox.add_connection()
        tick(app)
        sandbox.log.clear()
        (answer,) = app.probe(["servicenow"])
        assert answer is not None
        assert (answer.verdict, answer.user_name) == (Verdict.ACCEPTED, "servicenow.integration")
        assert sandbox.log.count(service="instance") == 1
        assert {each.method for each in sandbox.log} == {"GET"}

    def test_it_works_where_publishing_does_not_probe(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        """PROBE_PATH empty turns off the probe of a run, not the command."""
        app = make_app(PROBE_PATH="")
        sandbox.add_connection()
        tick(app)
        (answer,) = app.probe(["servicenow"])
        assert answer is not None
        assert answer.user_name == "servicenow.integration"

    def test_a_copy_that_works_is_not_taken_for_the_token_that_somebody_disabled(
        self, sandbox: Sandbox, app: App
    ) -> None:
        sandbox.add_connection()
        tick(app)
        sandbox.vault.versions("servicenow-oauth-token")[-1].enabled = False
        (answer,) = app.probe(["servicenow"])
        assert answer is not None
        assert answer.verdict is Verdict.UNKNOWN
        assert "servicenow-oauth-token" in (answer.remark or "")

    @pytest.mark.parametrize("typed", ["CANARY-with a space", "CANARY-line\n", "CANARY-t\u00f6ken"])
    def test_what_no_header_can_carry_is_no_token(self, sandbox: Sandbox, app: App, typed: str) -> None:
        """Nothing is sent, and nothing is raised that holds it."""
        sandbox.add_connection()
        sandbox.vault.put("servicenow-oauth-token", typed)
        (answer,) = app.probe(["servicenow"])
        assert answer is not None
        assert answer.verdict is Verdict.REJECTED
        assert sandbox.log.count(service="instance") == 0

    def test_the_command_tells_a_dead_token_from_a_living_one(self, real_time: Sandbox) -> None:
        """Exit 0 and the user; exit 3 and the command that mends it; never the token."""
        real_time.add_connection()
        missing = run(real_time, "probe", "servicenow")
        assert (missing.returncode, "there is no access token" in missing.stdout) == (3, True)
        run(real_time, "tick")
        works = run(real_time, "probe")
        assert works.returncode == 0
        assert works.stdout == "servicenow: the token works; it acts as servicenow.integration\n"
        token = real_time.vault.get("servicenow-oauth-token")
        assert token is not None
        real_time.instance.kill_access_token(token.value)
        dead = run(real_time, "probe", "servicenow", "--json")
        assert dead.returncode == 3
        (body,) = json.loads(dead.stdout)["connections"]
        assert (body["verdict"], body["user_name"]) == ("rejected", None)
        assert body["transaction_id"]
        assert "refresh servicenow --force" in run(real_time, "probe").stdout

    def test_a_vault_that_keeps_its_secrets_is_no_verdict(self, real_time: Sandbox) -> None:
        """Exit 1, of a refresh as well: nobody knows whether the token is good."""
        real_time.add_connection()
        run(real_time, "tick")
        real_time.vault.deny("get")
        probed = run(real_time, "probe")
        assert probed.returncode == 1
        assert probed.stdout.startswith("servicenow: the token could not be tried: Key Vault refused get of secret")
        assert run(real_time, "refresh", "servicenow", "--force").returncode == 1

    def test_an_instance_that_cannot_say_is_not_a_verdict(self, real_time: Sandbox) -> None:
        """Exit 1: the token may be good."""
        real_time.add_connection()
        run(real_time, "tick")
        real_time.faults.add(Fault(path="/api/now/", times=None, action=Respond(503, {}, b"")))
        done = run(real_time, "probe")
        assert (done.returncode, "could not be tried" in done.stdout) == (1, True)


class TestRevoke:
    def test_the_vault_tells_the_truth_afterwards(self, sandbox: Sandbox, app: App) -> None:
        """Both tokens are dead at ServiceNow; every copy says since when; no value or version was touched."""
        sandbox.add_connection()
        tick(app)
        names = ("servicenow-oauth-token", "servicenow-refresh-token", "servicenow--action--global--oauth-token")
        before = [sandbox.vault.get(name) for name in names]
        assert revoke(app) is Outcome.REVOKED
        after = [sandbox.vault.get(name) for name in names]
        for old, new in zip(before, after, strict=True):
            assert old is not None
            assert new is not None
            assert (new.value, new.version) == (old.value, old.version)
            assert datetime.fromisoformat(new.tags["revoked-at"]) == sandbox.clock.now().replace(microsecond=0)
            assert new.expires_on is not None
            assert new.expires_on <= sandbox.clock.now()
        access_token, refresh_token, _ = after
        assert access_token is not None
        assert refresh_token is not None
        assert not sandbox.instance.is_living_access_token(access_token.value)
        assert not sandbox.instance.is_living_refresh_token(refresh_token.value)
        (status,) = app.status()
        assert status.working is False

    def test_a_revoked_refresh_token_is_never_sent_again(self, sandbox: Sandbox, app: App) -> None:
        """The next tick asks for a person, at once, without a request to ServiceNow."""
        sandbox.add_connection()
        tick(app)
        revoke(app)
        sandbox.log.clear()
        assert tick(app).outcome is Outcome.AUTHORIZATION_REQUIRED
        assert sandbox.log.count(service="instance") == 0

    def test_a_fallback_grant_starts_a_new_life(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        """Whoever revokes because a token leaked has a new one at the next tick."""
        app = make_app(SERVICENOW_FALLBACK_GRANT="password")
        sandbox.add_connection(username=True)
        tick(app)
        revoke(app)
        report = tick(app)
        assert report.outcome is Outcome.REFRESHED
        token = sandbox.vault.get("servicenow-refresh-token")
        assert token is not None
        assert "revoked-at" not in token.tags
        assert sandbox.instance.is_living_refresh_token(token.value)

    @pytest.mark.parametrize("ahead", [-31, 31, 41 * 60])
    def test_another_clock_ends_them_as_well(self, sandbox: Sandbox, make_app: MakeApp, ahead: int) -> None:
        """Whoever revokes right after a refresh may do it, by their own clock, before that refresh or after now."""
        app = make_app(SERVICENOW_FALLBACK_GRANT="password")
        sandbox.add_connection(username=True)
        tick(app)
        (status,) = app.status()
        assert status.working
        sandbox.clock.advance(seconds=ahead)
        assert revoke(app) is Outcome.REVOKED
        sandbox.clock.advance(seconds=3 - ahead)
        (status,) = app.status(anew=False)
        assert status.working is False
        assert "the tokens were revoked" in status.message
        sandbox.vault.delete(TARGET)
        report = tick(app)
        assert (report.outcome, report.working) == (Outcome.REFRESHED, True)

    def test_where_it_ends_in_a_time_to_come_no_tick_says_that_it_works(self, sandbox: Sandbox, app: App) -> None:
        sandbox.add_connection()
        tick(app)
        sandbox.clock.advance(minutes=41)
        revoke(app)
        sandbox.clock.advance(minutes=-40)
        told = {fact.label: fact.text for fact in facts(app.status()[0], sandbox.clock.now())}
        assert (told["access token"], told["next refresh"]) == ("revoked", "none")
        report = tick(app)
        assert (report.outcome, report.working) == (Outcome.AUTHORIZATION_REQUIRED, False)
        assert report.access_token_expires_at == sandbox.clock.now()

    @pytest.mark.parametrize("status", [200, 400, 404])
    def test_a_page_is_no_answer(self, sandbox: Sandbox, app: App, status: int) -> None:
        """A hibernating instance or a sign-in before it revokes nothing."""
        sandbox.add_connection()
        tick(app)
        page = Respond(status, {"Content-Type": "text/html"}, b"\n" + HIBERNATING)
        sandbox.faults.add(Fault(path="/oauth_revoke_token.do", times=None, action=page))
        assert revoke(app) is not Outcome.REVOKED
        for name in ("servicenow-refresh-token", "servicenow-oauth-token"):
            token = sandbox.vault.get(name)
            assert token is not None
            assert "revoked-at" not in token.tags

    @pytest.mark.parametrize("probe_path", [None, ""])
    @pytest.mark.parametrize(
        "answer",
        [
            Respond(404, {"Content-Type": "application/json"}, b'{"message": "no Route matched with those values"}'),
            Respond(400, {"Content-Type": "text/plain"}, b"Request Header Or Cookie Too Large"),
            Respond(200, {"Content-Type": "text/plain"}, b"Request blocked. Incident 123"),
            Respond(200, {"Content-Type": "application/json"}, b'{"error": "login_required"}'),
        ],
    )
    def test_nor_is_what_something_on_the_way_says(
        self, sandbox: Sandbox, make_app: MakeApp, answer: Respond, probe_path: str | None
    ) -> None:
        app = make_app(**({} if probe_path is None else {"PROBE_PATH": probe_path}))
        sandbox.add_connection()
        tick(app)
        sandbox.faults.add(Fault(path="/oauth_revoke_token.do", times=None, action=answer))
        report = app.revoke("servicenow", RunRequest(trigger=Trigger.CLI))
        assert report.outcome is not Outcome.REVOKED
        assert "System OAuth > Manage Tokens" in (report.hint or "")
        assert not marked(sandbox)

    @pytest.mark.parametrize("status", [200, 404])
    def test_nor_is_silence_while_the_token_works(self, sandbox: Sandbox, app: App, status: int) -> None:
        sandbox.add_connection()
        tick(app)
        sandbox.faults.add(Fault(path="/oauth_revoke_token.do", times=None, action=Respond(status)))
        report = app.revoke("servicenow", RunRequest(trigger=Trigger.CLI))
        assert report.outcome is not Outcome.REVOKED
        assert "still accepts an access token" in report.message
        assert not marked(sandbox)

    def test_what_the_token_shows_counts_more_than_words(self, sandbox: Sandbox, app: App) -> None:
        """ServiceNow documents no answer: whatever it says, the token is dead."""
        sandbox.add_connection()
        tick(app)
        done = Respond(200, {"Content-Type": "text/plain"}, b"done", effect=True)
        sandbox.faults.add(Fault(path="/oauth_revoke_token.do", times=None, action=done))
        report = app.revoke("servicenow", RunRequest(trigger=Trigger.CLI))
        assert (report.outcome, report.message) == (Outcome.REVOKED, "2 tokens revoked at ServiceNow")
        assert {"servicenow-refresh-token", "servicenow-oauth-token", TARGET} <= marked(sandbox)

    def test_no_answer_marks_nothing(self, sandbox: Sandbox, app: App) -> None:
        """Where it is not known that the tokens are dead, the vault does not say so."""
        sandbox.add_connection()
        tick(app)
        sandbox.faults.add(Fault(path="/oauth_revoke_token.do", times=None, action=Respond(503, {}, b"")))
        assert revoke(app) is not Outcome.REVOKED
        token = sandbox.vault.get("servicenow-oauth-token")
        assert token is not None
        assert "revoked-at" not in token.tags

    def test_what_is_dead_is_marked_even_if_the_rest_fails(self, sandbox: Sandbox, app: App) -> None:
        """The refresh token goes first, since it could make another access token."""
        sandbox.add_connection()
        tick(app)
        sandbox.faults.add(Fault(path="/oauth_revoke_token.do", after=1, times=None, action=Respond(503, {}, b"")))
        assert revoke(app) is not Outcome.REVOKED
        for name, dead in (("servicenow-refresh-token", True), ("servicenow-oauth-token", False)):
            secret = sandbox.vault.get(name)
            assert secret is not None
            assert ("revoked-at" in secret.tags) is dead
            living = sandbox.instance.is_living_access_token, sandbox.instance.is_living_refresh_token
            assert any(lives(secret.value) for lives in living) is not dead

    def test_an_older_token_that_a_target_still_holds_is_revoked_too(self, sandbox: Sandbox, app: App) -> None:
        sandbox.add_connection()
        tick(app)
        older = sandbox.vault.get(TARGET)
        assert older is not None
        sandbox.vault.deny("set", TARGET)
        tick(app, force=True)
        sandbox.vault.allow_all()
        report = app.revoke("servicenow", RunRequest(trigger=Trigger.CLI))
        assert report.message == "3 tokens revoked at ServiceNow"
        assert not sandbox.instance.is_living_access_token(older.value)

    def test_a_target_that_cannot_be_read_is_named(self, sandbox: Sandbox, app: App) -> None:
        sandbox.add_connection()
        tick(app)
        sandbox.vault.deny("get", TARGET)
        report = app.revoke("servicenow", RunRequest(trigger=Trigger.CLI))
        assert report.outcome is Outcome.REVOKED
        assert f"{TARGET} cannot be read" in report.message

    def test_tokens_that_servicenow_does_not_know_are_said(self, sandbox: Sandbox, app: App) -> None:
        """Dead already is dead enough, and worth a word."""
        sandbox.add_connection()
        tick(app)
        for name in ("servicenow-oauth-token", "servicenow-refresh-token"):
            token = sandbox.vault.get(name)
            assert token is not None
            sandbox.instance.kill_access_token(token.value)
            sandbox.instance.kill_refresh_token(token.value)
        report = app.revoke("servicenow", RunRequest(trigger=Trigger.CLI))
        assert (report.outcome, report.message) == (
            Outcome.REVOKED,
            "0 of 2 tokens revoked at ServiceNow, which did not know the others",
        )

    def test_the_command_asks_first(self, real_time: Sandbox) -> None:
        """Without a terminal it wants --yes; it says who else may be cut off; then it is quiet about values."""
        real_time.add_connection()
        run(real_time, "tick")
        unconfirmed = run(real_time, "revoke", "servicenow", stdin="")
        assert unconfirmed.returncode == 2
        assert "may be cut off too" in unconfirmed.stderr
        assert "--yes" in unconfirmed.stderr
        done = run(real_time, "revoke", "servicenow", "--yes")
        assert done.returncode == 0, done.stderr
        assert "servicenow: revoked" in done.stdout
        assert CANARY_PREFIX not in done.stdout + done.stderr
        assert run(real_time, "status").returncode == 3

    @pytest.mark.parametrize(("typed", "code"), [("servicenow", 0), ("yes", 2)])
    def test_on_a_terminal_the_name_is_typed(self, real_time: Sandbox, typed: str, code: int) -> None:
        """A mistyped confirmation leaves the tokens alone."""
        real_time.add_connection()
        run(real_time, "tick")
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [python(), "-m", "refresher", "revoke", "servicenow"],
            env={**os.environ, **real_time.environ()},
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        os.write(ours, f"{typed}\n".encode())
        process.communicate(timeout=300)
        os.close(ours)
        os.close(theirs)
        assert process.returncode == code
        token = real_time.vault.get("servicenow-oauth-token")
        assert token is not None
        assert real_time.instance.is_living_access_token(token.value) is (code != 0)
