"""The identity endpoint fails: one clear cause, quickly, and nothing else is tried in its place."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from azure.core.credentials import AccessTokenInfo, TokenRequestOptions
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import DefaultAzureCredential

from refresher.app import App
from refresher.keyvault.clients import SharedCredential
from refresher.model.causes import Cause
from refresher.model.report import Outcome
from refresher.network.sockets import limit
from sandbox import Fault, Sandbox
from sandbox.faults import Action, Drop, Garbage, Hold, Respond
from tests.conftest import tick
from tests.sampling import thinned


@pytest.mark.parametrize(
    "action", thinned([Respond(500, {}, b""), Respond(403, {}, b"{}"), Respond(429, {}, b""), Drop(), Garbage(b"")], 3)
)
def test_a_broken_identity_endpoint_is_named(sandbox: Sandbox, app: App, action: Action) -> None:
    """A 500 with an empty body lets a bare JSONDecodeError out of the SDK; the cause is the same."""
    sandbox.add_connection("servicenow")
    sandbox.faults.add(Fault(service="identity", times=None, action=action))
    report = tick(app)
    assert (report.outcome, report.cause, report.working) == (Outcome.FAILED, Cause.IDENTITY_UNAVAILABLE, None)
    assert "managed identity" in (report.hint or "")


@pytest.mark.parametrize(
    ("action", "told", "step"),
    [
        (Respond(400, {}, b"{}"), "no managed identity is assigned, or AZURE_CLIENT_ID names another", "Assign"),
        (Respond(500, {}, b""), "the identity endpoint does not answer as it should", "it passes as a rule"),
        (Respond(200, {}, b"<html>Sign in"), "the identity endpoint does not answer as it should", "it passes"),
    ],
)
def test_an_endpoint_that_refuses_is_told_from_one_that_fails(
    sandbox: Sandbox, app: App, action: Action, told: str, step: str
) -> None:
    sandbox.add_connection("servicenow")
    sandbox.faults.add(Fault(service="identity", times=None, action=action))
    report = tick(app)
    assert report.message.startswith("no token for Key Vault could be had: ")
    assert told in report.message
    assert step in str(report.hint)
    assert "az login" not in str(report.hint), "the platform's endpoint is there: nobody signs in"
    (identity,) = (check for check in app.doctor() if check.name == "identity")
    assert told in identity.detail


def test_where_there_is_no_endpoint_nobody_is_signed_in(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, app: App
) -> None:
    """A laptop has none: it did not fail there."""
    sandbox.add_connection("servicenow")
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "AzureCliCredential")
    monkeypatch.setenv("PATH", "/nonexistent")
    report = tick(app)
    assert "nobody is signed in on this machine" in report.message
    assert "az login" in str(report.hint)


def test_a_passing_fault_of_the_identity_endpoint_is_ridden_out(sandbox: Sandbox, app: App) -> None:
    sandbox.add_connection("servicenow")
    sandbox.faults.add(Fault(service="identity", times=3, action=Drop()))
    assert tick(app).outcome is Outcome.REFRESHED


def test_a_silent_identity_endpoint_costs_its_time_out_once_however_many_requests_wait_for_it() -> None:
    """The others get the same answer, not a turn of their own after it."""
    asked, answer = threading.Event(), threading.Event()

    class Silent(DefaultAzureCredential):
        calls = 0

        def get_token_info(self, *_: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
            assert options is not None
            Silent.calls += 1
            asked.set()
            answer.wait(5)
            raise ClientAuthenticationError

    credential = SharedCredential(lambda _: Silent())
    with ThreadPoolExecutor(6) as pool:
        waiting = [
            pool.submit(credential.get_token_info, "scope", options={"enable_cae": True, "tenant_id": "t"})
            for _ in range(6)
        ]
        asked.wait(5)
        done, _ = wait(waiting, timeout=0.05)
        assert not done
        answer.set()
        assert all(isinstance(each.exception(5), ClientAuthenticationError) for each in waiting)
    assert Silent.calls == 1
    with pytest.raises(ClientAuthenticationError):
        credential.get_token_info("scope", options={})
    assert Silent.calls == 2, "what is over is asked for anew"
    credential.close()


def test_who_has_little_time_does_not_answer_for_those_who_have_more(sandbox: Sandbox) -> None:
    """A copy in another vault is read in a fraction of the time of a run, and happens to be the first that asks."""
    held = Hold()
    sandbox.faults.add(Fault(service="identity", action=held))
    credential = SharedCredential()

    def ask(seconds: float) -> bool:
        with limit(seconds):
            try:
                return bool(credential.get_token_info("https://vault.azure.net/.default").token)
            except ClientAuthenticationError:
                return False

    with ThreadPoolExecutor() as pool:
        hurried = pool.submit(ask, 0.5)
        assert held.reached.wait(30)
        with_time = [pool.submit(ask, 60) for _ in range(3)]
        assert not hurried.result()
        held.release()
        assert all(each.result() for each in with_time)
    credential.close()
    assert sandbox.log.count(service="identity", status=200) <= 2, "the others share one request"


def test_settings_that_the_credential_refuses_are_not_taken_for_an_answer_of_the_vault(
    sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch, app: App
) -> None:
    """The SDK refuses them with a ValueError that quotes them."""
    sandbox.add_connection("servicenow")
    monkeypatch.setenv("AZURE_TOKEN_CREDENTIALS", "CANARY-nonsense")
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.IDENTITY_UNAVAILABLE)
    assert "CANARY" not in str(report)
