"""The statements of docs/moving.md: whoever reads the vault while it is taken over, or moved, reads a living token."""

import re
import ssl
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from refresher.model.check import Verdict
from refresher.model.report import Outcome, RunRequest, Trigger
from sandbox import Sandbox
from sandbox.running import ConnectionSecrets
from sandbox.trial.serve import standing
from tests.conftest import MakeApp, tick
from tests.names import REFRESH_TOKEN, TARGET, TOKEN
from tests.shell import ROOT, type_in

Script = Callable[[], None]


@pytest.fixture
def vaults() -> tuple[str, ...]:
    """Where the secrets are, and where they move to."""
    return ("main", "new")


@pytest.fixture
def secrets(sandbox: Sandbox) -> ConnectionSecrets:
    return sandbox.add_connection()


@pytest.fixture
def script(sandbox: Sandbox, secrets: ConnectionSecrets) -> Script:
    return lambda: run_script(sandbox, secrets)


def run_script(sandbox: Sandbox, secrets: ConnectionSecrets) -> None:
    """What somebody ran by a scheduler of his own: a new token, written without dates or tags."""
    form = {
        "grant_type": "refresh_token",
        "client_id": secrets.application.client_id,
        "client_secret": secrets.application.client_secret,
        "refresh_token": secrets.refresh_token or "",
    }
    trust = ssl.create_default_context(cafile=str(sandbox.ca_file))
    answer = httpx.post(f"{sandbox.instance.url}/oauth_token.do", data=form, verify=trust, trust_env=False)
    sandbox.vault.put(TOKEN, answer.json()["access_token"])


def works(sandbox: Sandbox, name: str, vault: str = "main") -> bool:
    """Whether the secret's newest version is a token that ServiceNow accepts."""
    found = sandbox.vaults[vault].get(name)
    return found is not None and sandbox.instance.is_living_access_token(found.value)


def versions(sandbox: Sandbox) -> dict[str, int]:
    return {name: len(sandbox.vault.versions(name)) for name in sandbox.vault.names()}


def test_the_doctor_names_what_hand_made_secrets_lack_and_changes_nothing(
    sandbox: Sandbox, make_app: MakeApp, script: Script
) -> None:
    script()
    lacking = ("servicenow-client-id", "servicenow-client-secret")
    for name in lacking:
        sandbox.vault.delete(name)
    before = versions(sandbox)
    said = " ".join(f"{check.name} {check.remedy}" for check in make_app().doctor() if check.verdict is Verdict.FAIL)
    assert all(name in said for name in lacking), said
    assert versions(sandbox) == before


def test_the_first_tick_replaces_a_hand_made_token_which_works_until_its_own_end(
    sandbox: Sandbox, make_app: MakeApp, script: Script
) -> None:
    script()
    held = sandbox.vault.get(TOKEN)
    assert held is not None
    sandbox.clock.advance(minutes=20)
    assert tick(make_app()).outcome is Outcome.REFRESHED
    assert works(sandbox, TOKEN)
    assert works(sandbox, TARGET)
    assert sandbox.instance.is_living_access_token(held.value)


@pytest.mark.exhaustive
def test_the_script_and_the_refresher_may_overlap(sandbox: Sandbox, make_app: MakeApp, script: Script) -> None:
    """The script goes on for three hours; every five minutes somebody reads a token that works."""
    script()
    app = make_app()
    for minute in range(0, 180, 5):
        if minute % 50 == 25:
            script()
            assert works(sandbox, TOKEN)
        tick(app)
        assert works(sandbox, TOKEN), minute
        assert works(sandbox, TARGET), minute
        sandbox.clock.advance(minutes=5)


@pytest.mark.exhaustive
def test_a_move_to_another_vault_leaves_no_reader_without_a_token(
    sandbox: Sandbox, make_app: MakeApp, secrets: ConnectionSecrets
) -> None:
    """First the copy in the new vault, then the credentials with the refresh token's date, then the switch."""
    new = sandbox.vaults["new"]
    tick(make_app())
    sandbox.clock.advance(minutes=10)
    tick(make_app(PUBLISH_TO=f"{TARGET},{new.url}/secrets/{TOKEN}"))
    assert works(sandbox, TOKEN, "new")
    for name in ("servicenow-client-id", "servicenow-client-secret", REFRESH_TOKEN):
        held = sandbox.vault.get(name)
        assert held is not None
        dates = {"issued-at": held.tags["issued-at"]} if "issued-at" in held.tags else {}
        new.put(name, held.value, tags=dates)
    asked = sandbox.log.count(path="/oauth_token.do")
    sandbox.clock.advance(minutes=5)
    moved = make_app(KEY_VAULT_URL=new.url)
    assert tick(moved).outcome is Outcome.PUBLISHED
    assert sandbox.log.count(path="/oauth_token.do") == asked
    assert works(sandbox, TOKEN, "new")
    assert works(sandbox, TARGET, "new")
    sandbox.clock.advance(minutes=35)
    assert tick(moved).outcome is Outcome.REFRESHED
    (status,) = moved.status()
    assert status.refresh_token_expires_at is not None
    assert secrets.refresh_token is not None
    begun = sandbox.clock.now() - timedelta(minutes=50)
    assert abs(status.refresh_token_expires_at - begun - timedelta(days=100)) < timedelta(seconds=30)


@pytest.mark.exhaustive
def test_a_copied_refresh_token_without_its_date_counts_from_the_copy(sandbox: Sandbox, make_app: MakeApp) -> None:
    sandbox.add_connection()
    tick(make_app())
    sandbox.clock.advance(timedelta(days=3))
    new = sandbox.vaults["new"]
    for name in ("servicenow-client-id", "servicenow-client-secret", REFRESH_TOKEN):
        held = sandbox.vault.get(name)
        assert held is not None
        new.put(name, held.value)
    moved = make_app(KEY_VAULT_URL=new.url)
    tick(moved)
    (status,) = moved.status()
    assert status.refresh_token_expires_at is not None
    assert abs(status.refresh_token_expires_at - sandbox.clock.now() - timedelta(days=100)) < timedelta(minutes=1)


@pytest.mark.exhaustive
def test_after_moving_out_the_token_ends_by_itself_and_a_revocation_ends_it_at_once(
    sandbox: Sandbox, make_app: MakeApp
) -> None:
    sandbox.add_connection()
    app = make_app()
    tick(app)
    sandbox.clock.advance(minutes=59)
    assert works(sandbox, TOKEN)
    sandbox.clock.advance(minutes=2)
    assert not works(sandbox, TOKEN)
    tick(app)
    assert works(sandbox, TOKEN)
    app.revoke("servicenow", RunRequest(trigger=Trigger.CLI))
    assert not works(sandbox, TOKEN)


def nine_commands() -> list[str]:
    page = (ROOT / "docs" / "moving.md").read_text("utf-8").split("## Another vault")[0]
    (block,) = re.findall(r"```console\n(.*?)```", page, re.DOTALL)
    return str(block).splitlines()


def test_the_nine_commands_move_in_and_nobody_is_without_a_token_at_any_of_them(tmp_path: Path) -> None:
    """As the guide leaves a vault: two secrets made by hand, the client known to the script alone."""
    with standing(None, 0) as place:
        sandbox, application = place.sandbox, place.secrets.application
        user = application.user
        for name in ("servicenow-client-id", "servicenow-client-secret"):
            sandbox.vault.delete(name)
            sandbox.vault.purge(name)
        run_script(sandbox, place.secrets)
        (tmp_path / "CLIENT_ID_FILE").write_text(application.client_id, "utf-8")
        (tmp_path / "CLIENT_SECRET_FILE").write_text(application.client_secret, "utf-8")
        codes = []
        for line in nine_commands():
            done = type_in(place, tmp_path, line, stdin=f"{user.name}\n{user.password}\n")
            codes.append(done.returncode)
            assert works(sandbox, TOKEN), line
        assert works(sandbox, TARGET)
    assert codes == [1, 0, 0, 0, 0, 0, 0, 0, 0]


def test_going_back_the_script_finds_what_it_needs(
    sandbox: Sandbox, make_app: MakeApp, script: Script, secrets: ConnectionSecrets
) -> None:
    tick(make_app())
    sandbox.clock.advance(minutes=50)
    tick(make_app())
    held = sandbox.vault.get(REFRESH_TOKEN)
    assert held is not None
    assert held.value == secrets.refresh_token
    script()
    assert works(sandbox, TOKEN)
