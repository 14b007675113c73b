"""The statements of docs/simple-chat.md about reading and deleting, against secrets that the product published."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from refresher.model.report import Outcome, RunRequest, Trigger
from refresher.settings.load import load_settings
from sandbox import Fault, Sandbox
from sandbox.faults import Respond
from tests.conftest import MakeApp, tick
from tests.consumers.simple_chat import MAX_NAME_LENGTH, SimpleChat, is_reference
from tests.names import TARGET, TOKEN

INTERVAL = timedelta(minutes=50)


@pytest.fixture
def vaults() -> tuple[str, ...]:
    """The refresher's vault, and Simple Chat's."""
    return ("main", "chat")


@pytest.fixture
def simple_chat(sandbox: Sandbox) -> Iterator[Callable[[str], SimpleChat]]:
    """A Simple Chat that reads from the named vault."""
    running: list[SimpleChat] = []

    def start(vault: str) -> SimpleChat:
        running.append(SimpleChat(sandbox.vaults[vault].url))
        return running[-1]

    yield start
    for chat in running:
        chat.close()


def default_target(name: str) -> str:
    """Where a connection publishes that says nothing about it."""
    settings = load_settings(
        {
            "KEY_VAULT_URL": "https://v.vault.azure.net",
            "SERVICENOW_CONNECTIONS": f'{{"{name}": {{"instance_url": "https://x.service-now.com"}}}}',
        }
    )
    (target,) = settings.connections[0].publish_to
    return target.name


def works(sandbox: Sandbox, bearer: str) -> bool:
    """Whether ServiceNow accepts what Simple Chat sends."""
    return sandbox.instance.is_living_access_token(bearer)


@pytest.mark.parametrize(
    ("text", "resolved"),
    [
        (TARGET, True),
        ("assets--action-addset--user--x", True),
        ("a--agent--group--b", True),
        ("a--model-endpoint--global--b", True),
        ("a--other--global--b", True),
        (TOKEN, False),
        ("servicenow--plugin--global--token", False),
        ("servicenow--action--everyone--token", False),
        ("servicenow-action-global-token", False),
        ("--action--global--token", False),
        ("a--action--global--", False),
        ("a--action--global--" + "b" * (MAX_NAME_LENGTH - 19), True),
        ("a--action--global--" + "b" * (MAX_NAME_LENGTH - 18), False),
    ],
)
def test_only_a_name_of_the_form_is_read_from_the_vault(text: str, resolved: bool) -> None:
    assert is_reference(text) is resolved


@pytest.mark.parametrize("name", ["servicenow", "a", "assets-2", "a" * 41])
def test_the_default_target_of_every_connection_has_the_form(name: str) -> None:
    assert is_reference(default_target(name))
    assert not is_reference(f"{name}-oauth-token")


def test_it_reads_the_newest_version_in_its_own_vault(
    sandbox: Sandbox, make_app: MakeApp, simple_chat: Callable[[str], SimpleChat]
) -> None:
    """The refresh token and the client secret never come into Simple Chat's vault."""
    sandbox.add_connection()
    app = make_app(PUBLISH_TO=f"{sandbox.vaults['chat'].url}/secrets/{TARGET}")
    chat = simple_chat("chat")
    sent = []
    for _ in range(3):
        assert tick(app).outcome is Outcome.REFRESHED
        sent.append(chat.bearer(TARGET))
        assert works(sandbox, sent[-1])
        sandbox.clock.advance(INTERVAL)
    assert len(set(sent)) == len(sent)
    assert sandbox.vaults["chat"].names() == [TARGET]


def test_the_plain_secret_is_never_read_by_it(
    sandbox: Sandbox, make_app: MakeApp, simple_chat: Callable[[str], SimpleChat]
) -> None:
    sandbox.add_connection()
    tick(make_app())
    chat = simple_chat("main")
    assert chat.bearer(TOKEN) == TOKEN
    assert not works(sandbox, chat.bearer(TOKEN))
    assert works(sandbox, chat.bearer(TARGET))


def test_where_reading_fails_it_sends_the_name(
    sandbox: Sandbox, make_app: MakeApp, simple_chat: Callable[[str], SimpleChat]
) -> None:
    sandbox.add_connection()
    tick(make_app())
    chat = simple_chat("main")
    sandbox.faults.add(Fault(service="vault:main", path=f"/secrets/{TARGET}", action=Respond(503)))
    assert chat.bearer(TARGET) == TARGET
    assert works(sandbox, chat.bearer(TARGET))


@pytest.mark.exhaustive
def test_a_deleted_action_costs_one_tick_and_no_request_to_servicenow(
    sandbox: Sandbox, make_app: MakeApp, simple_chat: Callable[[str], SimpleChat]
) -> None:
    """The secret that the deletion took away is recovered and holds the token again."""
    sandbox.add_connection()
    app = make_app()
    tick(app)
    chat = simple_chat("main")
    before = chat.bearer(TARGET)
    chat.delete_action(TARGET)
    assert chat.bearer(TARGET) == TARGET
    sandbox.log.clear()
    assert tick(app).outcome is Outcome.PUBLISHED
    assert sandbox.log.count(service="instance") == 0
    assert chat.bearer(TARGET) == before


def test_deleting_one_of_two_actions_with_targets_of_their_own_leaves_the_other(
    sandbox: Sandbox, make_app: MakeApp, simple_chat: Callable[[str], SimpleChat]
) -> None:
    sandbox.add_connection()
    assets, incidents = "servicenow--action--global--assets-token", "servicenow--action--global--incidents-token"
    app = make_app(PUBLISH_TO=f"{assets},{incidents}")
    tick(app)
    chat = simple_chat("main")
    chat.delete_action(assets)
    assert not works(sandbox, chat.bearer(assets))
    assert works(sandbox, chat.bearer(incidents))


def test_global_mode_keeps_a_token_past_its_end_and_per_user_mode_does_not(
    sandbox: Sandbox, make_app: MakeApp, simple_chat: Callable[[str], SimpleChat]
) -> None:
    """Global mode reads once per process start, per-user mode for every request."""
    sandbox.add_connection()
    app = make_app()
    tick(app)
    chat = simple_chat("main")
    read_at_start = chat.bearer(TARGET)
    for _ in range(2):
        sandbox.clock.advance(INTERVAL)
        assert tick(app).outcome is Outcome.REFRESHED
    assert not works(sandbox, read_at_start)
    assert works(sandbox, chat.bearer(TARGET))


@pytest.mark.exhaustive
def test_two_agents_act_as_two_integration_users(
    sandbox: Sandbox, make_app: MakeApp, simple_chat: Callable[[str], SimpleChat]
) -> None:
    for name in ("assets", "incidents"):
        sandbox.add_connection(name)
    url = sandbox.instance.url
    app = make_app(
        SERVICENOW_CONNECTIONS=f'{{"assets": {{"instance_url": "{url}"}}, "incidents": {{"instance_url": "{url}"}}}}'
    )
    reports = app.tick(RunRequest(trigger=Trigger.TIMER))
    assert {report.outcome for report in reports} == {Outcome.REFRESHED}
    chat = simple_chat("main")
    tokens = [chat.bearer(default_target(name)) for name in ("assets", "incidents")]
    assert all(works(sandbox, token) for token in tokens)
    assert len(set(tokens)) == len(tokens)
    probes = [result for result in app.probe(["assets", "incidents"]) if result]
    assert [result.user_name for result in probes] == ["assets.integration", "incidents.integration"]
