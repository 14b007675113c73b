"""Two installations that publish to one target: each says so, and neither answers the other's token with one more."""

from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.report import Outcome, WarningCode
from sandbox import Fault
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Respond
from sandbox.running import add_connection
from sandbox.trial.host import direct_app
from tests.conftest import tick
from tests.names import TOKEN
from tests.sampling import sampled

TICK = timedelta(minutes=5)
INTERVAL = timedelta(minutes=50)
SHARED = "https://chat.vault.azure.net/secrets/servicenow--action--global--oauth-token"


@pytest.fixture
def sandbox() -> DirectSandbox:
    return DirectSandbox(vaults=("one", "two", "chat"))


@pytest.fixture
def apps(sandbox: DirectSandbox) -> list[App]:
    """Two installations, each with a vault and an application of its own."""
    made = []
    for name in ("one", "two"):
        vault = sandbox.vaults[name]
        add_connection(sandbox.instance, vault)
        made.append(direct_app(sandbox, Process(sandbox), 0, KEY_VAULT_URL=vault.url, PUBLISH_TO=SHARED))
    return made


def copy_lives(sandbox: DirectSandbox) -> bool:
    held = sandbox.vaults["chat"].get(SHARED.rpartition("/")[2])
    return held is not None and sandbox.instance.is_living_access_token(held.value)


@pytest.mark.parametrize("hours", sampled([24, 3], [3]))
def test_neither_answers_the_others_token_with_one_more(sandbox: DirectSandbox, apps: list[App], hours: int) -> None:
    """A tick every five minutes: as many refreshes as if each were alone."""
    for _ in range(hours * 12):
        for app in apps:
            assert tick(app).outcome in {Outcome.REFRESHED, Outcome.NOT_DUE}
            assert copy_lives(sandbox)
        sandbox.clock.advance(TICK)
    assert sandbox.log.count(path="/oauth_token.do") <= 2 * hours * 60 / 50 + 2


def test_each_says_who_the_other_one_is(sandbox: DirectSandbox, apps: list[App]) -> None:
    one, two = apps
    tick(one)
    sandbox.clock.advance(TICK)
    (warning,) = [each for each in tick(two).warnings if each.code is WarningCode.TARGET_SHARED]
    assert sandbox.vaults["one"].url in warning.message
    assert "PUBLISH_TO" in warning.hint
    (status,) = one.status()
    assert [each.code for each in status.warnings if each.code is WarningCode.TARGET_SHARED]
    assert status.working


def test_none_publishes_the_others_token_as_its_own(sandbox: DirectSandbox, apps: list[App]) -> None:
    """Its own token cannot be read, and the shared copy, which ends last, is the other one's."""
    _, two = apps
    vault = sandbox.vaults["one"]
    places = f"https://chat.vault.azure.net/secrets/ours,{SHARED}"
    one = direct_app(sandbox, Process(sandbox), 0, KEY_VAULT_URL=vault.url, PUBLISH_TO=places)
    tick(one)
    sandbox.clock.advance(TICK)
    tick(two)
    main = vault.get(TOKEN)
    assert main is not None
    main.enabled = False
    for _ in range(24):
        sandbox.clock.advance(TICK)
        for app in (two, one):
            tick(app)
        ours, theirs = sandbox.vaults["chat"].get("ours"), sandbox.vaults["two"].get(TOKEN)
        assert ours is not None
        assert theirs is not None
        assert ours.value != theirs.value
        assert sandbox.instance.is_living_access_token(ours.value)


def published_by_version_1_0(sandbox: DirectSandbox, name: str) -> None:
    """Take from the newest version the tag that version 1.0 did not write."""
    held = sandbox.vaults[name].get(TOKEN if name != "chat" else SHARED.rpartition("/")[2])
    assert held is not None
    held.tags.pop("vault")


def test_the_token_of_a_version_that_names_no_vault_is_not_answered_either(
    sandbox: DirectSandbox, apps: list[App]
) -> None:
    old, new = apps
    tick(new)
    for _ in range(9):
        sandbox.clock.advance(TICK)
        tick(old, force=True)
        for name in ("one", "chat"):
            published_by_version_1_0(sandbox, name)
        assert tick(new).outcome is Outcome.NOT_DUE
    (status,) = new.status()
    (warning,) = [each for each in status.warnings if each.code is WarningCode.TARGET_SHARED]
    assert "version 1.0" in warning.message


def test_an_upgrade_takes_its_own_copy_for_nobody_elses(sandbox: DirectSandbox, apps: list[App]) -> None:
    """Neither before its first refresh, nor at it, nor afterwards."""
    app, _ = apps
    tick(app)
    for name in ("one", "chat"):
        published_by_version_1_0(sandbox, name)
    outcomes = []
    for _ in range(22):
        sandbox.clock.advance(TICK)
        report = tick(app)
        outcomes.append(report.outcome)
        (status,) = app.status()
        told = {each.code for each in (*report.warnings, *status.warnings)}
        assert WarningCode.TARGET_SHARED not in told
    assert outcomes.count(Outcome.REFRESHED) == 2
    assert set(outcomes) == {Outcome.REFRESHED, Outcome.NOT_DUE}


def test_a_copy_that_an_upgrade_could_not_write_gets_its_token_all_the_same(
    sandbox: DirectSandbox, apps: list[App]
) -> None:
    """The first refresh of the new version was killed between its writes."""
    app, _ = apps
    tick(app)
    published_by_version_1_0(sandbox, "chat")
    sandbox.clock.advance(INTERVAL)
    away = Fault(service="vault:chat", method="PUT", times=None, action=Respond(503))
    sandbox.faults.add(away)
    tick(app)
    sandbox.faults.clear()
    for _ in range(3):
        sandbox.clock.advance(TICK)
        tick(app)
        assert copy_lives(sandbox)
    (status,) = app.status()
    assert all(target.current for target in status.targets)


@pytest.mark.exhaustive
def test_what_the_other_one_leaves_behind_is_replaced_before_it_ends(sandbox: DirectSandbox, apps: list[App]) -> None:
    """It was switched off: an installation that moved."""
    one, two = apps
    tick(one)
    sandbox.clock.advance(TICK)
    tick(two)
    for _ in range(24):
        sandbox.clock.advance(TICK)
        tick(one)
        assert copy_lives(sandbox)
    (status,) = one.status()
    assert not [each for each in status.warnings if each.code is WarningCode.TARGET_SHARED]
    assert all(target.current for target in status.targets)
