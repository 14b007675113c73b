"""`make conformance`: it asks first, tells no secret, says what stays behind, and knows the habits that it meets."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import NamedTuple

import pytest

from sandbox import CANARY_PREFIX, PERSONALITIES, Sandbox
from sandbox.conformance.__main__ import main
from sandbox.conformance.vault import CHECKS
from tests.sampling import thinned

Run = Callable[..., int]


class Said(NamedTuple):
    """What it said since."""

    out: str
    err: str


Heard = Callable[[], Said]


@pytest.fixture
def run(sandbox: Sandbox) -> Run:
    """The command, in the sandbox's time."""
    return lambda *arguments: main(arguments, sleep=sandbox.clock.sleep)


@pytest.fixture
def heard(capfd: pytest.CaptureFixture[str]) -> Heard:
    """What it said since, and no secret in it."""

    def read() -> Said:
        said = Said(*capfd.readouterr())
        assert CANARY_PREFIX not in said.out + said.err
        return said

    return read


@pytest.fixture
def client(sandbox: Sandbox, tmp_path: Path) -> str:
    """A file with an application and a user of their own."""
    application = sandbox.instance.register("conformance.user")
    file = tmp_path / "client.json"
    values = {
        "client_id": application.client_id,
        "client_secret": application.client_secret,
        "username": application.user.name,
        "password": application.user.password,
    }
    file.write_text(json.dumps(values), "utf-8")
    return str(file)


class TestVault:
    """A vault, as its owner sees it asked."""

    def test_it_says_what_it_will_do_and_does_nothing_unless_somebody_agrees(
        self, sandbox: Sandbox, run: Run, heard: Heard
    ) -> None:
        assert run("--vault", sandbox.vault.url) == 2
        said = heard()
        assert "names that begin with conformance-" in said.out
        assert "90 days" in said.out
        assert "--yes" in said.err
        assert len(sandbox.log) == 0

    def test_every_rule_is_answered_and_what_stays_behind_is_listed(
        self, sandbox: Sandbox, run: Run, heard: Heard
    ) -> None:
        assert run("--vault", sandbox.vault.url, "--yes") == 0
        said = heard().out
        lines = said.splitlines()
        for check in CHECKS:
            assert any(check.rule.name in each and check.rule.sentence in each for each in lines), check.rule.name
        left = said.partition("Left behind")[2].partition("To the project")[0]
        sandbox.clock.advance(timedelta(minutes=1))
        assert sandbox.vault.deleted_names()
        assert all(name in left for name in sandbox.vault.deleted_names())
        assert sandbox.vault.names() == []
        assert lines[-1] == (
            f"conformance vault | agrees={len(CHECKS) - 3} differs=- not-asked=purge,throttling,policy "
            "deleting=8s recovering=20s service=unknown"
        )

    @pytest.mark.exhaustive
    def test_what_differs_is_said_with_its_source(self, sandbox: Sandbox, run: Run, heard: Heard) -> None:
        """A vault that recovers at once, as many stand-ins do."""
        sandbox.vault.pace.recovering = timedelta()
        assert run("--vault", sandbox.vault.url, "--yes") == 1
        said = heard().out
        assert "differs    recovering-takes-time" in said
        assert "recovering-takes-time: known from RECORDING" in said
        assert "differs=recovering-takes-time " in said.splitlines()[-1]

    @pytest.mark.exhaustive
    def test_a_vault_that_may_only_be_read_agrees_with_little_and_is_left_as_it_was(
        self, sandbox: Sandbox, run: Run, heard: Heard
    ) -> None:
        sandbox.add_connection()
        before = {name: sandbox.vault.versions(name) for name in sandbox.vault.names()}
        for operation in ("set", "update", "delete", "recover"):
            sandbox.vault.deny(operation)
        assert run("--vault", sandbox.vault.url, "--yes") == 1
        assert "403 Forbidden ForbiddenByRbac" in heard().out
        assert {name: sandbox.vault.versions(name) for name in sandbox.vault.names()} == before


@pytest.mark.exhaustive
def test_a_container_is_asked_and_left_as_it_was(sandbox: Sandbox, run: Run, heard: Heard) -> None:
    assert run("--container", sandbox.leases.url, "--yes") == 0
    said = heard().out
    assert "Left behind" not in said
    assert said.splitlines()[-1] == "conformance container | agrees=22 differs=- not-asked=-"


class TestInstance:
    """An instance, with an application and a user of their own."""

    def test_it_says_what_it_will_do_and_does_nothing_unless_somebody_agrees(
        self, sandbox: Sandbox, run: Run, client: str, heard: Heard
    ) -> None:
        assert run("--instance", sandbox.instance.url, "--client", client) == 2
        assert "the password is sent once" in heard().out
        assert len(sandbox.log) == 0

    @pytest.mark.parametrize(
        "name",
        thinned(
            [
                "default",
                "rotating",
                "same_token",
                "same_token_extended",
                "expires_in_as_text",
                "precise_errors",
            ],
            4,
        ),
    )
    def test_it_knows_the_habits_that_it_meets(
        self, sandbox: Sandbox, run: Run, client: str, name: str, heard: Heard
    ) -> None:
        sandbox.instance.personality = PERSONALITIES[name]
        assert run("--instance", sandbox.instance.url, "--client", client, "--yes") == 0
        said = heard().out
        (guessed,) = (each for each in said.splitlines() if each.startswith("The sandbox's personality"))
        assert guessed.partition(": ")[2] == name

    def test_the_password_is_sent_once_and_nothing_works_afterwards(
        self, sandbox: Sandbox, run: Run, client: str, heard: Heard
    ) -> None:
        run("--instance", sandbox.instance.url, "--client", client, "--yes")
        assert sandbox.instance.password_attempts("conformance.user") == 1
        assert [each.grant_type for each in sandbox.log.select(path="/oauth_token.do")].count("password") == 1
        assert all("token" not in each.query_keys for each in sandbox.log)
        said = heard().out
        assert "after-revoking            nothing works any more" in said
        assert "Left behind" not in said

    @pytest.mark.parametrize(
        "name",
        [
            "hibernating",
            "login_page",
            "queue_overflow",
            "throttled_by_a_rule",
            "refresh_token_null",
            "refresh_token_absent",
        ],
    )
    def test_where_no_refresh_token_comes_it_says_so_and_asks_no_more(
        self, sandbox: Sandbox, run: Run, client: str, name: str, heard: Heard
    ) -> None:
        sandbox.instance.personality = PERSONALITIES[name]
        assert run("--instance", sandbox.instance.url, "--client", client, "--yes") == 0
        said = heard().out
        assert "its-refresh_token         absent or null" in said
        assert "everything-else           not asked" in said
        assert "none has them all" in said
        assert sandbox.log.count(service="instance") == 1

    @pytest.mark.parametrize("content", ["", "[]", '{"client_id": "CANARY-x", "client_secret": ""}'])
    def test_a_file_that_lacks_something_is_refused_without_its_content(
        self, sandbox: Sandbox, run: Run, tmp_path: Path, content: str, heard: Heard
    ) -> None:
        file = tmp_path / "client.json"
        file.write_text(content, "utf-8")
        assert run("--instance", sandbox.instance.url, "--client", str(file), "--yes") == 2
        assert "conformance: " in heard().err
        assert len(sandbox.log) == 0


@pytest.mark.parametrize(
    "arguments",
    [
        ("--vault", "http://127.0.0.1:1", "--yes"),
        ("--container", "http://127.0.0.1:1/leases", "--yes"),
        ("--vault", "https://127.0.0.1:1", "--yes"),
        ("--instance", "https://127.0.0.1:1", "--yes"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence_not_a_traceback(
    run: Run, arguments: tuple[str, ...], heard: Heard
) -> None:
    assert run(*arguments) == 2
    said = heard().err
    assert said.startswith("conformance: ")
    assert "Traceback" not in said
