"""Why no connection came about: DNS, nobody there, silence and each fault of a certificate are told apart.

Each failure is a real one, met on loopback by the clients that the product uses: httpx, and requests under the SDK.
"""

import datetime as dt
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import requests
import trustme
from azure.core.exceptions import ServiceRequestError

from refresher.network.failures import (
    EXPIRED,
    NO_NAME,
    NO_RESOLVER,
    NO_TLS,
    NOT_YET_VALID,
    REFUSED,
    TIMED_OUT,
    UNKNOWN_CA,
    WRONG_NAME,
    Trouble,
    trouble_of,
)
from refresher.network.names import ResolverTimeoutError
from refresher.servicenow.transport import make_transport
from sandbox.hostile.behaviours import silence
from sandbox.hostile.peer import Peer

PAST, FUTURE = dt.datetime(2001, 1, 1), dt.datetime(2099, 1, 1)  # noqa: DTZ001 - as trustme takes them
AUTHORITY = trustme.CA()
Certificate = Callable[[], trustme.LeafCert]


def expired() -> trustme.LeafCert:
    return AUTHORITY.issue_cert("127.0.0.1", not_before=PAST, not_after=dt.datetime(2002, 1, 1))  # noqa: DTZ001


def of_tomorrow() -> trustme.LeafCert:
    return AUTHORITY.issue_cert("127.0.0.1", not_before=dt.datetime(2098, 1, 1), not_after=FUTURE)  # noqa: DTZ001


def of_another_name() -> trustme.LeafCert:
    return AUTHORITY.issue_cert("other.example.com")


def of_a_stranger() -> trustme.LeafCert:
    return trustme.CA().issue_cert("127.0.0.1")


@contextmanager
def speaking(certificate: Certificate) -> Iterator[str]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    certificate().configure_cert(context)
    with Peer(silence, context) as peer:
        yield peer.url


def met_by_httpx(url: str) -> BaseException:
    trusting = ssl.create_default_context()
    AUTHORITY.configure_trust(trusting)
    with httpx.Client(transport=make_transport(trusting, None)) as client, pytest.raises(httpx.HTTPError) as caught:
        client.get(url, timeout=60.0)
    return caught.value


def met_by_requests(url: str, tmp_path: Path) -> BaseException:
    bundle = tmp_path / "authority.pem"
    AUTHORITY.cert_pem.write_to_path(bundle)
    with pytest.raises(requests.RequestException) as caught:
        requests.get(url, verify=str(bundle), timeout=60.0)
    return ServiceRequestError("as the SDK wraps it", error=caught.value)


@pytest.mark.parametrize(
    ("certificate", "trouble"),
    [(expired, EXPIRED), (of_tomorrow, NOT_YET_VALID), (of_another_name, WRONG_NAME), (of_a_stranger, UNKNOWN_CA)],
)
def test_each_fault_of_a_certificate_is_told_from_the_others(
    certificate: Certificate, trouble: Trouble, tmp_path: Path
) -> None:
    with speaking(certificate) as url:
        for met in (met_by_httpx(url), met_by_requests(url, tmp_path)):
            found = trouble_of(met, url, "SSL_CERT_FILE")
            assert found is not None
            assert (found.what, found.of_certificate) == (trouble.what, True)


def test_an_unknown_authority_names_the_variable_that_would_trust_it() -> None:
    with speaking(of_a_stranger) as url:
        found = trouble_of(met_by_httpx(url), url, "SSL_CERT_FILE")
    assert found is not None
    assert found.hint.endswith("the file that SSL_CERT_FILE names.")


def test_nobody_who_listens_is_told_from_silence() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{closed.getsockname()[1]}"
        assert trouble_of(met_by_httpx(url), url, "") == REFUSED


def test_something_without_tls_is_told() -> None:
    with Peer(lambda peer: peer.say(b"HTTP/1.1 400 Bad Request\r\n\r\n")) as peer:
        url = peer.url.replace("http:", "https:")
        assert trouble_of(met_by_httpx(url), url, "") == NO_TLS


def test_a_name_that_is_none_names_the_host() -> None:
    found = trouble_of(met_by_httpx("https://does-not-exist.invalid"), "https://does-not-exist.invalid", "")
    assert found is not None
    assert found.what == NO_NAME.what
    assert "nslookup does-not-exist.invalid" in found.hint


@pytest.mark.parametrize(
    ("error", "trouble"),
    [
        (ResolverTimeoutError("no answer"), NO_RESOLVER),
        (TimeoutError("no answer"), TIMED_OUT),
        (socket.gaierror(socket.EAI_NONAME, "unknown"), NO_NAME),
        (ValueError("something else"), None),
    ],
)
def test_what_happened_is_found_wherever_a_library_keeps_it(error: Exception, trouble: Trouble | None) -> None:
    wrapped = RuntimeError("a pool's", error)
    wrapped.__cause__ = RuntimeError("another's")
    found = trouble_of(ServiceRequestError("the SDK's", error=wrapped), "https://peer", "")
    assert (found.what if found else None) == (trouble.what if trouble else None)


def test_exceptions_that_hold_each_other_come_to_an_end() -> None:
    one, other = RuntimeError("one"), RuntimeError("other")
    one.__cause__, other.__cause__ = other, one
    assert trouble_of(one, "https://peer", "") is None
