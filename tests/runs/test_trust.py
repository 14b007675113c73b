"""Certificates are verified on every connection, by what the environment trusts; proxies come from there as well."""

import os
import ssl
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import certifi
import pytest
import trustme

from refresher.model.causes import Cause
from refresher.model.report import Outcome, WarningCode
from refresher.tls import tls_context
from sandbox import Sandbox
from sandbox.trial.host import environment
from tests.conftest import MakeApp, tick
from tests.sampling import thinned


@pytest.fixture
def stranger(tmp_path: Path) -> str:
    """A file with the certificate of an authority that signed nothing here."""
    file = tmp_path / "stranger.pem"
    trustme.CA().cert_pem.write_to_path(file)
    return str(file)


def test_a_vault_with_a_certificate_that_is_not_trusted_gets_no_request(
    sandbox: Sandbox, make_app: MakeApp, stranger: str
) -> None:
    sandbox.add_connection()
    with environment({"REQUESTS_CA_BUNDLE": stranger}):
        report = tick(make_app())
    assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.VAULT_UNAVAILABLE)
    assert sandbox.log.count(service="vault") == 0


def test_an_instance_with_a_certificate_that_is_not_trusted_gets_no_secret(
    sandbox: Sandbox, make_app: MakeApp, stranger: str
) -> None:
    sandbox.add_connection()
    with environment({"SSL_CERT_FILE": stranger}):
        report = tick(make_app())
    assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.INSTANCE_UNREACHABLE)
    assert "not trusted" in report.message
    assert sandbox.log.count(service="instance") == 0


def test_a_lease_container_with_a_certificate_that_is_not_trusted_gets_no_request(
    sandbox: Sandbox, make_app: MakeApp, stranger: str
) -> None:
    """The vault's client is made when first asked, with the right trust: each keeps what it was made with."""
    sandbox.add_connection()
    app = make_app(LEASE_CONTAINER_URL=sandbox.leases.url)
    with environment({"REQUESTS_CA_BUNDLE": stranger}):
        app.process.parts()
    report = tick(app)
    assert WarningCode.LEASE_UNAVAILABLE in {warning.code for warning in report.warnings}
    assert sandbox.log.count(service="leases") == 0


def test_a_directory_of_certificates_will_do_and_is_verified_by_as_strictly(tmp_path: Path) -> None:
    with environment({"SSL_CERT_FILE": "", "SSL_CERT_DIR": str(tmp_path)}):
        context = tls_context("SSL_CERT_FILE", "SSL_CERT_DIR")
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)


def test_several_directories_will_do_as_well_one_of_them_missing(tmp_path: Path) -> None:
    """OpenSSL takes such a list, and so does httpx."""
    with environment({"SSL_CERT_DIR": os.pathsep.join((str(tmp_path / "missing"), str(tmp_path)))}):
        assert tls_context("SSL_CERT_DIR").verify_mode is ssl.CERT_REQUIRED


def test_the_bundle_is_read_once_for_a_process(stranger: str) -> None:
    with environment({"SSL_CERT_FILE": stranger}):
        assert tls_context("SSL_CERT_FILE") is tls_context("SSL_CERT_FILE", "SSL_CERT_DIR")
    with environment({"SSL_CERT_FILE": ""}):
        assert tls_context("SSL_CERT_FILE").cert_store_stats()["x509_ca"] > 50


def test_the_bundle_is_read_once_for_threads_that_ask_at_the_same_time(tmp_path: Path) -> None:
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes())
    with environment({"SSL_CERT_FILE": str(bundle)}), ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: tls_context("SSL_CERT_FILE"), range(8)))) == 1


@pytest.mark.parametrize(("no_proxy", "outcome"), [("", Outcome.FAILED), ("127.0.0.1", Outcome.REFRESHED)])
def test_a_proxy_that_the_environment_names_is_used_for_the_vault(
    sandbox: Sandbox, make_app: MakeApp, no_proxy: str, outcome: Outcome
) -> None:
    """Nobody listens where this one points to."""
    sandbox.add_connection()
    with environment({"HTTPS_PROXY": "http://127.0.0.1:9", "NO_PROXY": no_proxy}):
        report = tick(make_app())
    assert report.outcome is outcome
    assert (sandbox.log.count(service="vault") > 0) == (outcome is Outcome.REFRESHED)


@pytest.mark.parametrize("variable", thinned(["REQUESTS_CA_BUNDLE", "SSL_CERT_FILE"]))
def test_a_bundle_that_is_not_there_is_named_with_its_variable(
    sandbox: Sandbox, make_app: MakeApp, tmp_path: Path, variable: str
) -> None:
    sandbox.add_connection()
    with environment({variable: str(tmp_path / "absent.pem")}):
        report = tick(make_app())
    assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.SETTINGS_INVALID)
    assert report.message.startswith(f"{variable} names {tmp_path}")
    assert sandbox.vault.get("servicenow-oauth-token") is None


def test_what_keeps_a_token_from_being_tried_is_said_as_everywhere(
    sandbox: Sandbox, make_app: MakeApp, tmp_path: Path
) -> None:
    sandbox.add_connection()
    tick(make_app())
    with environment({"SSL_CERT_FILE": str(tmp_path / "absent.pem")}):
        (status,) = make_app().status()
    assert (status.basis or "").startswith(f"by its dates; could not be tried: SSL_CERT_FILE names {tmp_path}")
