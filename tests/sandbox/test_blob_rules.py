"""The sandbox's container does with a lease what Azurite does, rule by rule and header by header."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from azure.identity import ManagedIdentityCredential
from azure.storage.blob import BlobServiceClient

from sandbox import Fault, Sandbox
from sandbox.conformance.blob_client import BlobClient
from sandbox.conformance.blobs import CHECKS
from sandbox.conformance.findings import Answer, Finding, ask_all
from sandbox.conformance.wire import Reply
from sandbox.faults import Respond
from sandbox.trial.host import environment
from tests.azurite import Azurite, StubCredential

NAMES = [check.rule.name for check in CHECKS]


@contextmanager
def in_sandbox() -> Iterator[BlobClient]:
    """The sandbox's container; time passes at once."""
    with Sandbox() as sandbox, environment(sandbox.environ()):
        yield BlobClient(sandbox.leases.url, ManagedIdentityCredential(), sleep=sandbox.clock.sleep)


@contextmanager
def in_azurite(azurite: Azurite) -> Iterator[BlobClient]:
    """A container of Azurite's; nobody waits for its time to pass."""
    name = f"conformance-{os.getpid()}"
    with (
        BlobServiceClient(
            azurite.blob_url, credential=StubCredential(), connection_verify=azurite.certificates
        ) as service,
        environment({"SSL_CERT_FILE": azurite.certificates}),
    ):
        service.create_container(name)
        yield BlobClient(f"{azurite.blob_url}/{name}", StubCredential(), sleep=None)
        service.delete_container(name)


@pytest.fixture(scope="module")
def found_in_sandbox() -> dict[str, Finding]:
    with in_sandbox() as blobs:
        return {finding.rule.name: finding for finding in ask_all(CHECKS, blobs)}


@pytest.fixture(scope="module")
def found_in_azurite(azurite: Azurite) -> dict[str, Finding]:
    with in_azurite(azurite) as blobs:
        found = {finding.rule.name: finding for finding in ask_all(CHECKS, blobs)}
        assert blobs.leave() == []
        return found


@pytest.mark.parametrize("name", NAMES)
def test_the_sandbox_keeps_the_rule(found_in_sandbox: dict[str, Finding], name: str) -> None:
    assert found_in_sandbox[name].answer is Answer.AGREES, found_in_sandbox[name].seen


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.exhaustive
def test_azurite_keeps_it_as_well(found_in_azurite: dict[str, Finding], name: str) -> None:
    """So the rule is not only ours. What takes a quarter of a minute is not asked there."""
    expected = Answer.NOT_ASKED if name == "expired" else Answer.AGREES
    assert found_in_azurite[name].answer is expected, found_in_azurite[name].seen


OF_ONE_SERVER = {"connection", "keep-alive", "server", "content-length", "transfer-encoding", "content-type"}
NOTHING_TO_LEASES = {
    "accept-ranges",
    "content-md5",
    "x-ms-access-tier",
    "x-ms-access-tier-change-time",
    "x-ms-access-tier-inferred",
    "x-ms-request-server-encrypted",
    "x-ms-server-encrypted",
}
LEFT_OUT_BY_AZURITE = {"x-ms-version", "date"}
"""Of errors; the reference has both in every answer."""


def told(reply: Reply) -> set[str]:
    """The headers that say something of the blob or its lease."""
    return set(reply.headers) - OF_ONE_SERVER - NOTHING_TO_LEASES


STEPS: dict[str, Callable[[BlobClient, str, dict[str, str]], Reply]] = {
    "look": lambda blobs, name, _: blobs.look(name),
    "acquire": lambda blobs, name, _: blobs.acquire(name),
    "note": lambda blobs, name, lease: blobs.note(name, lease),
    "look while held": lambda blobs, name, _: blobs.look(name),
    "acquire while held": lambda blobs, name, _: blobs.acquire(name),
    "note without the lease": lambda blobs, name, _: blobs.note(name, {}),
    "renew": lambda blobs, name, lease: blobs.lease(name, "renew", lease),
    "release": lambda blobs, name, lease: blobs.lease(name, "release", lease),
    "break": lambda blobs, name, _: blobs.lease(name, "break", {}),
}


def walk(blobs: BlobClient) -> dict[str, Reply]:
    """A lease's life, step by step."""
    name, lease, replies = blobs.new_blob(), {"x-ms-lease-id": ""}, {}
    for step, take in STEPS.items():
        replies[step] = take(blobs, name, lease)
        if step == "acquire":
            lease["x-ms-lease-id"] = replies[step].headers["x-ms-lease-id"]
    return replies


def test_every_answer_has_the_status_the_code_and_the_headers_of_azurites(azurite: Azurite) -> None:
    with in_sandbox() as blobs:
        ours = walk(blobs)
    with in_azurite(azurite) as blobs:
        theirs = walk(blobs)
    for step in STEPS:
        assert ours[step].status == theirs[step].status, step
        assert ours[step].headers.get("x-ms-error-code") == theirs[step].headers.get("x-ms-error-code"), step
        missing = told(theirs[step]) ^ told(ours[step])
        assert missing <= (LEFT_OUT_BY_AZURITE if ours[step].status >= 400 else set()), step


@pytest.mark.exhaustive
def test_each_question_is_answered_with_no_by_something_that_is_no_container(sandbox: Sandbox) -> None:
    blobs = BlobClient(sandbox.leases.url, ManagedIdentityCredential(), sleep=sandbox.clock.sleep)
    sandbox.faults.add(Fault(service="leases", times=None, action=Respond(200, {}, b"")))
    assert {finding.answer for finding in ask_all(CHECKS, blobs)} == {Answer.DIFFERS}
