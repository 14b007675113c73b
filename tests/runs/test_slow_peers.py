"""Whatever a peer does, a request to it is over in its time, its connection is closed, and its answer stays small."""

import itertools
import ssl
import time
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.keyvault.clients import SharedCredential, make_secret_client, make_transport
from refresher.keyvault.vault import Vault
from refresher.lease.blob import BlobLease
from refresher.model.causes import Cause
from refresher.model.clock import Deadline, system_clock
from refresher.model.errors import LeaseUnavailableError, TokenEndpointError, VaultError
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunRequest, Trigger
from refresher.model.tokens import Secret
from refresher.network.sockets import limit
from refresher.servicenow.instances import ServiceNow
from refresher.servicenow.oauth import TokenRequest
from sandbox import Fault, Sandbox
from sandbox.faults import Throttle
from sandbox.hostile.behaviours import (
    LARGE,
    NO_HTTP,
    SLOW,
    handshake_drips,
    mangled,
    refuses_tunnels,
    silence,
    tunnel_drips,
)
from sandbox.hostile.peer import Behaviour, Conversation, Peer
from sandbox.running import server_tls
from tests.conftest import MakeApp, tick
from tests.factories import connection
from tests.sampling import sampled, thinned

ALLOWED = 0.4
AT_THE_LATEST = ALLOWED + 30.0
"""Of which most is for a machine that has other things to do."""
MEGABYTE = 1 << 20
"""The bomb holds four thousand; the peer, in the same process, needs some to make it."""


@pytest.fixture
def certificate(sandbox: Sandbox) -> ssl.SSLContext:
    """What the peer needs to be trusted as the sandbox's services are."""
    assert sandbox.ca_file.exists()
    return server_tls()


@pytest.fixture
def credential() -> Iterator[SharedCredential]:
    """The managed identity of the sandbox."""
    shared = SharedCredential()
    yield shared
    shared.close()


def ask_instance(peer: Peer, seconds: float = ALLOWED) -> TokenEndpointError:
    """Request a token once; what came of it."""
    clock = system_clock()
    one = connection(SERVICENOW_INSTANCE_URL=peer.url, SERVICENOW_ALLOW_CUSTOM_HOST="true")
    request = TokenRequest(url=one.token_endpoint, form={"grant_type": "refresh_token"}, grant=Grant.REFRESH_TOKEN)
    with ServiceNow(clock).session(one, Deadline(clock, timedelta(seconds=seconds))) as session:
        try:
            session._request_token_once(request)
        except TokenEndpointError as error:
            return error
    pytest.fail("the peer's answer was taken for a token")


def ask_vault(peer: Peer, credential: SharedCredential, seconds: float = ALLOWED) -> VaultError:
    """Read a secret; what came of it."""
    clock = system_clock()
    vault = Vault(peer.url, make_secret_client(peer.url, credential), clock)
    with pytest.raises(VaultError) as caught:
        vault.read("servicenow-oauth-token", Deadline(clock, timedelta(seconds=seconds)))
    vault.close()
    return caught.value


def has_left(peer: Peer) -> bool:
    """Whether every client hung up, without being asked to."""
    latest = time.monotonic() + AT_THE_LATEST
    while not peer.left_after and time.monotonic() < latest:
        time.sleep(0.01)
    return bool(peer.left_after)


@pytest.mark.parametrize("name", sampled(SLOW, ["silence", "headers drip", "body without end"]))
class TestAPeerThatNeverComesToAnEnd:
    def test_keeps_a_token_request_for_no_longer_than_it_may_take(
        self, name: str, certificate: ssl.SSLContext
    ) -> None:
        with Peer(SLOW[name], certificate) as peer:
            began = time.monotonic()
            error = ask_instance(peer)
            assert time.monotonic() - began < AT_THE_LATEST
            assert has_left(peer)
        assert error.cause in {Cause.INSTANCE_TIMEOUT, Cause.INSTANCE_UNREACHABLE, Cause.NOT_A_TOKEN}
        assert error.sent, "it may have been carried out"

    def test_keeps_a_read_of_the_vault_for_no_longer_than_it_may_take(
        self, name: str, certificate: ssl.SSLContext, credential: SharedCredential
    ) -> None:
        with Peer(SLOW[name], certificate) as peer:
            ask_vault(peer, credential, 0.05)  # Loads what the SDK loads once.
            began = time.monotonic()
            error = ask_vault(peer, credential)
            assert time.monotonic() - began < AT_THE_LATEST
            assert has_left(peer)
        assert error.cause is Cause.VAULT_UNAVAILABLE


class TestAPeerThatNeverGetsAsFarAsTheRequest:
    @pytest.mark.parametrize("behaviour", [handshake_drips, silence])
    def test_keeps_nobody(
        self, behaviour: Behaviour, certificate: ssl.SSLContext, credential: SharedCredential
    ) -> None:
        with Peer(behaviour, certificate, greets=False) as peer:
            began = time.monotonic()
            error = ask_instance(peer)
            ask_vault(peer, credential)
            assert time.monotonic() - began < 2 * AT_THE_LATEST
            assert has_left(peer)
        assert not error.sent, "nothing of a request was sent"


@pytest.mark.parametrize("kind", thinned(NO_HTTP, 2))
class TestAnAnswerThatIsNoHTTP:
    """Something on the way spoils its head: the refresh token in its body may be the only one that still works."""

    def test_hands_over_the_refresh_token(self, kind: str, certificate: ssl.SSLContext) -> None:
        body = b'{"access_token": "CANARY-a", "expires_in": 1799, "refresh_token": "CANARY-refresh"}'
        with Peer(mangled(kind, body), certificate) as peer:
            error = ask_instance(peer, 20.0)
        assert (error.cause, error.sent) == (Cause.INSTANCE_UNREACHABLE, True)
        assert error.message == "the ServiceNow instance answered what is no HTTP"
        assert error.refresh_token == Secret("CANARY-refresh")

    def test_unless_it_is_a_page_that_only_speaks_of_one(self, kind: str, certificate: ssl.SSLContext) -> None:
        page = b'<html><script>\n\nx = {"access_token": "a", "refresh_token": "b"}</script>'
        with Peer(mangled(kind, page), certificate) as peer:
            assert ask_instance(peer, 20.0).refresh_token is None


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Type: applica"])
def test_a_peer_that_hangs_up_before_its_answer_is_told_from_one_that_answers_no_http(
    said: bytes, certificate: ssl.SSLContext
) -> None:
    def hang_up(peer: Conversation) -> None:
        peer.hear()
        peer.say(said)

    with Peer(hang_up, certificate) as peer:
        error = ask_instance(peer, 20.0)
    assert error.message == "the ServiceNow instance closed the connection without an answer"


@pytest.mark.parametrize("name", thinned(LARGE))
class TestAnAnswerThatIsMoreThanItSeems:
    def test_is_not_taken_for_a_token_and_takes_no_memory(self, name: str, certificate: ssl.SSLContext) -> None:
        with Peer(LARGE[name], certificate) as peer:
            ask_instance(peer, 0.05)
            tracemalloc.start()
            try:
                error = ask_instance(peer, 5.0)
                _, most = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert error.cause is Cause.NOT_A_TOKEN
        assert most < 32 * MEGABYTE

    def test_is_not_taken_for_a_secret_and_takes_no_memory(
        self, name: str, certificate: ssl.SSLContext, credential: SharedCredential
    ) -> None:
        with Peer(LARGE[name], certificate) as peer:
            ask_vault(peer, credential, 0.05)
            tracemalloc.start()
            try:
                error = ask_vault(peer, credential, 2.0)
                _, most = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
        assert error.cause is Cause.VAULT_UNAVAILABLE
        assert most < 32 * MEGABYTE


@pytest.mark.parametrize("name", thinned(LARGE))
def test_an_answer_of_the_lease_service_that_is_more_than_it_seems_makes_the_lease_unavailable(
    name: str, certificate: ssl.SSLContext, credential: SharedCredential
) -> None:
    with Peer(LARGE[name], certificate) as peer, ThreadPoolExecutor(1) as pool:
        lease = BlobLease(f"{peer.url}/leases", credential, system_clock(), pool, transport=make_transport())
        with limit(2.0), pytest.raises(LeaseUnavailableError), lease.acquire("servicenow", int):
            pass


class TestAPause:
    """Asked for by the identity endpoint: an SDK would sleep it out."""

    def test_that_outlasts_the_run_is_not_begun_and_the_identity_is_named(self, sandbox: Sandbox, app: App) -> None:
        sandbox.add_connection("servicenow")
        sandbox.faults.add(Fault(service="identity", times=None, action=Throttle(3600)))
        began = time.monotonic()
        report = tick(app)
        assert time.monotonic() - began < 60
        assert (report.cause, report.retry_after) == (Cause.IDENTITY_UNAVAILABLE, 3600)
        assert "what else may keep it from signing in: python -m refresher doctor" in (report.hint or "")
        # One ahead of the reads, and each of the three for itself where that one has ended when it asks.
        assert sandbox.log.count(service="identity") <= 1 + 3

    def test_that_ends_in_time_is_kept(self, sandbox: Sandbox, app: App) -> None:
        sandbox.add_connection("servicenow")
        sandbox.faults.add(Fault(service="identity", action=Throttle(1)))
        assert tick(app).outcome is Outcome.REFRESHED


PROXIES = sampled(itertools.product([403, 407], [False, True]), [(407, True)])


class TestAProxy:
    @pytest.fixture(autouse=True)
    def nothing_exempt(self, sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the machine exempts from its proxies is not exempt here."""
        sandbox.add_connection("servicenow")
        monkeypatch.delenv("NO_PROXY", raising=False)
        monkeypatch.delenv("no_proxy", raising=False)

    @pytest.mark.parametrize(("status", "encrypted"), PROXIES)
    def test_that_refuses_the_instance_is_named_and_nothing_was_sent(
        self, app: App, monkeypatch: pytest.MonkeyPatch, status: int, *, encrypted: bool
    ) -> None:
        assert tick(app).outcome is Outcome.REFRESHED  # The vault's proxies are read by now.
        with Peer(refuses_tunnels(status), server_tls() if encrypted else None) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            report = app.refresh(["servicenow"], RunRequest(trigger=Trigger.CLI, force=True))[0]
        assert report.cause is Cause.INSTANCE_UNREACHABLE
        assert "the proxy that HTTPS_PROXY names lets nothing through" in report.message
        assert f"(it answered {status})" in report.message
        assert "HTTPS_PROXY" in (report.hint or "")

    @pytest.mark.parametrize(("status", "encrypted"), PROXIES)
    @pytest.mark.exhaustive
    def test_that_refuses_the_vault_is_named(
        self, sandbox: Sandbox, app: App, monkeypatch: pytest.MonkeyPatch, status: int, *, encrypted: bool
    ) -> None:
        with Peer(refuses_tunnels(status), server_tls() if encrypted else None) as proxy:
            monkeypatch.setenv("HTTPS_PROXY", proxy.url)
            report = tick(app)
        assert report.cause is Cause.VAULT_UNAVAILABLE
        assert f"names lets nothing through to {sandbox.vault.url} (it answered {status})" in report.message

    def test_whose_consent_drips_keeps_nobody(self, certificate: ssl.SSLContext, credential: SharedCredential) -> None:
        with Peer(silence, certificate) as peer, Peer(tunnel_drips) as proxy:
            with pytest.MonkeyPatch.context() as environment:
                environment.setenv("HTTPS_PROXY", proxy.url)
                began = time.monotonic()
                assert "through the proxy that HTTPS_PROXY names" in ask_instance(peer).message
                assert "through the proxy that HTTPS_PROXY names" in ask_vault(peer, credential).message
                assert time.monotonic() - began < 2 * AT_THE_LATEST
            assert has_left(proxy)

    def test_that_is_off_is_accused_and_not_the_instance(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        assert tick(app).outcome is Outcome.REFRESHED  # The vault's proxies are read by now.
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        report = app.refresh(["servicenow"], RunRequest(trigger=Trigger.CLI, force=True))[0]
        assert report.message.startswith("the proxy that HTTPS_PROXY names refused the connection")
        assert ", on the way to the ServiceNow instance" in report.message

    def test_that_is_off_is_accused_and_not_the_lease_container(
        self, sandbox: Sandbox, make_app: MakeApp, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        message = make_app(LEASE_CONTAINER_URL=sandbox.leases.url).timer().message
        assert "the proxy that HTTPS_PROXY names refused the connection" in message
        assert f"on the way to the lease container {sandbox.leases.url}" in message

    def test_that_is_off_is_accused_and_not_the_vault(
        self, sandbox: Sandbox, app: App, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:9")
        message = tick(app).message
        assert message.startswith("the proxy that HTTPS_PROXY names refused the connection")
        assert f", on the way to {sandbox.vault.url} (get of secret " in message

    def test_of_a_kind_that_cannot_be_used_is_a_setting_at_fault(
        self, app: App, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example:1080")
        report = tick(app)
        assert report.cause is Cause.SETTINGS_INVALID
        assert "ALL_PROXY names a proxy of the kind 'socks5'" in report.message

    def test_that_no_host_needs_may_be_of_any_kind(self, app: App, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("ALL_PROXY", "socks5://proxy.example:1080")
        monkeypatch.setenv("NO_PROXY", "127.0.0.1,fe80::/10,[::1]")
        assert tick(app).outcome is Outcome.REFRESHED
