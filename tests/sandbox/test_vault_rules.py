"""The sandbox's vault keeps every rule that Key Vault is known to keep, and each question can be answered with no."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from azure.identity import ManagedIdentityCredential

from sandbox import Fault, Sandbox
from sandbox.conformance.findings import Answer, Finding, ask_all
from sandbox.conformance.vault import CHECKS
from sandbox.conformance.vault_client import VaultClient
from sandbox.faults import Respond
from sandbox.trial.host import environment
from sandbox.vault import Policy
from tests.sampling import thinned

NAMES = [check.rule.name for check in CHECKS]
NEVER_ASKED = {"purge", "throttling", "policy"}


def client_of(sandbox: Sandbox) -> VaultClient:
    """The sandbox's first vault, in the sandbox's time."""
    return VaultClient(
        sandbox.vault.url, ManagedIdentityCredential(), sleep=sandbox.clock.sleep, now=sandbox.clock.now
    )


@pytest.fixture(scope="module")
def findings() -> Iterator[dict[str, Finding]]:
    """All questions, asked once."""
    with Sandbox() as sandbox, environment(sandbox.environ()):
        found = ask_all(CHECKS, client_of(sandbox))
        yield {finding.rule.name: finding for finding in found}


@pytest.mark.parametrize("name", NAMES)
def test_the_sandbox_keeps_the_rule(findings: dict[str, Finding], name: str) -> None:
    """What is not asked says why, and is not taken for kept."""
    finding = findings[name]
    assert finding.answer is (Answer.NOT_ASKED if name in NEVER_ASKED else Answer.AGREES), finding.seen
    assert bool(finding.seen) is (name in NEVER_ASKED)


def test_every_rule_has_one_name_and_a_source() -> None:
    assert len(set(NAMES)) == len(NAMES)
    assert all(check.rule.source for check in CHECKS)


@pytest.mark.parametrize(("status", "body"), thinned([(200, b"{}"), (500, b"<html>")], 2))
@pytest.mark.exhaustive
def test_each_question_is_answered_with_no_by_something_that_is_not_a_vault(
    sandbox: Sandbox, status: int, body: bytes
) -> None:
    """Something that answers everything alike agrees with nothing but what it happens to say."""
    vault = client_of(sandbox)
    vault.ask("GET", "secrets")
    sandbox.faults.add(Fault(service="vault", times=None, action=Respond(status, {}, body)))
    agreed = {finding.rule.name for finding in ask_all(CHECKS, vault) if finding.answer is Answer.AGREES}
    assert agreed <= {"left-out", "name-case", "out-of-window", "disabled-patch"}


@pytest.mark.exhaustive
def test_what_was_stored_is_deleted_in_the_end(sandbox: Sandbox) -> None:
    """Under names that begin with a prefix of their own."""
    vault = client_of(sandbox)
    sandbox.add_connection()
    before = sandbox.vault.names()
    list(ask_all(CHECKS, vault))
    sandbox.clock.advance(timedelta(minutes=1))
    assert vault.leave() == []
    sandbox.clock.advance(timedelta(minutes=1))
    assert sandbox.vault.names() == before
    assert set(sandbox.vault.deleted_names()) == vault.stored
    assert all(name.startswith(vault.prefix) for name in vault.stored)


def test_what_cannot_be_deleted_is_named(sandbox: Sandbox) -> None:
    vault = client_of(sandbox)
    vault.put(vault.new_name())
    sandbox.vault.deny("delete")
    assert vault.leave() == [f"{vault.prefix}-0"]


def test_a_token_is_given_to_no_vault_that_asks_for_somebody_elses(sandbox: Sandbox) -> None:
    sandbox.vault.listen_at(sandbox.vault.url, "https://graph.microsoft.com")
    with pytest.raises(ValueError, match="somebody else"):
        client_of(sandbox).ask("GET", "secrets")
    assert sandbox.log.count(service="identity") == 0


class TestPolicies:
    """Azure Policy, which nobody can try at a vault without the subscription's rights."""

    @pytest.mark.parametrize(
        ("policy", "days", "status"),
        [
            (Policy(demands_expiry=True), None, 403),
            (Policy(demands_expiry=True), 400, 200),
            (Policy(at_most=timedelta(days=90)), 100, 403),
            (Policy(at_most=timedelta(days=90)), None, 403),
            (Policy(at_most=timedelta(days=90)), 90, 200),
            (Policy(at_least=timedelta(days=30)), 1, 403),
            (Policy(at_least=timedelta(days=30)), None, 200),
            (Policy(at_least=timedelta(days=30)), 31, 200),
        ],
    )
    def test_an_expiry_that_it_forbids_is_refused(
        self, sandbox: Sandbox, policy: Policy, days: int | None, status: int
    ) -> None:
        """By PUT and by PATCH alike; a refused PATCH changes nothing."""
        vault = client_of(sandbox)
        name = vault.new_name()
        ends = {} if days is None else {"exp": int((vault.now() + timedelta(days=days)).timestamp())}
        sandbox.vault.put(name, "x", expires_on=vault.now() + timedelta(days=60))
        sandbox.vault.policy = policy
        written = vault.put(name, attributes=ends)
        assert written.status == status
        if status == 403:
            assert written.error == "403 Forbidden ForbiddenByPolicy"
            assert len(sandbox.vault.versions(name)) == 1
        if days is not None:
            assert vault.ask("PATCH", f"secrets/{name}/", body={"attributes": ends}).status == status

    def test_a_content_type_can_be_demanded(self, sandbox: Sandbox) -> None:
        vault = client_of(sandbox)
        sandbox.vault.policy = Policy(demands_content_type=True)
        assert vault.put("bare").status == 403
        assert vault.put("typed", contentType="text/plain").status == 200


@pytest.mark.parametrize(
    ("path", "params", "body"),
    thinned(
        [
            ("secrets", {"$skiptoken": "nonsense"}, None),
            ("secrets", {"$skiptoken": "-1"}, None),
            ("secrets", {"maxresults": "many"}, None),
            ("secrets/x", {}, {"value": 1}),
            ("secrets/x", {}, ["value"]),
            ("secrets/x", {}, {"value": "x", "tags": ["tag"]}),
            ("secrets/x", {}, {"value": "x", "tags": {"tag": 1}}),
            ("secrets/x", {}, {"value": "x", "attributes": []}),
            ("secrets/x", {}, {"value": "x", "attributes": {"enabled": "false"}}),
            ("secrets/x", {}, {"value": "x", "attributes": {"exp": "tomorrow"}}),
            ("secrets/x", {}, {"value": "x", "attributes": {"exp": 10**12}}),
            ("secrets/x", {}, {"value": "x", "contentType": 1}),
        ],
        4,
    ),
)
def test_what_does_not_fit_is_refused(sandbox: Sandbox, path: str, params: dict[str, str], body: object) -> None:
    """Whatever is sent, the answer is one of the service's."""
    reply = client_of(sandbox).ask("GET" if body is None else "PUT", path, params=params, body=body)
    assert reply.error == "400 BadParameter"


def test_a_purge_waits_for_the_deletion(sandbox: Sandbox) -> None:
    """409 until then, and nothing is left of the name afterwards."""
    vault = client_of(sandbox)
    vault.put("gone")
    vault.delete("gone")
    assert vault.ask("DELETE", "deletedsecrets/gone").error == "409 Conflict ObjectIsBeingDeleted"
    sandbox.clock.advance(sandbox.vault.pace.deleting)
    assert vault.ask("DELETE", "deletedsecrets/gone").status == 204
    assert vault.put("gone").status == 200
