"""A federated credential for entra_id, and moving a running connection there and back, with the real azure-identity.

The sandbox without sockets answers as login.microsoftonline.com under its own name, which no variable could lead to.
"""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.report import Outcome
from sandbox.direct import DirectSandbox, Process
from sandbox.entra import METADATA_V2, PRINCIPAL, TENANT, OidcEntity, Registration, Trust
from sandbox.trial.host import direct_app, environment
from tests.conftest import CapturedLog, tick

MINUTE = timedelta(minutes=1)
NAMES = ("servicenow-oauth-token", "servicenow--action--global--oauth-token")


@pytest.fixture
def sandbox() -> Iterator[DirectSandbox]:
    made = DirectSandbox()
    with environment(made.environ()):
        yield made


@pytest.fixture
def registration(sandbox: DirectSandbox) -> Registration:
    """An application that trusts the app's identity, and that ServiceNow trusts."""
    made = sandbox.entra.register(version=2, trusts=Trust())
    sandbox.instance.oidc = OidcEntity(
        client_id=made.client_id, metadata_url=METADATA_V2, users={made.principal: "svc.entra", PRINCIPAL: PRINCIPAL}
    )
    return made


@pytest.fixture(autouse=True)
def no_token_of_entra_leaks(sandbox: DirectSandbox, everything_logged: CapturedLog) -> object:
    """A signed token, the assertion among them, is looked for by its signature."""
    yield
    signatures = [token.rpartition(".")[2] for token in sandbox.entra.issued]
    assert not any(signature in line for signature in signatures for line in everything_logged.lines)


def app_of(sandbox: DirectSandbox, **settings: str) -> App:
    return direct_app(sandbox, Process(sandbox), 0, **settings)


def own(registration: Registration) -> dict[str, str]:
    return {"SERVICENOW_ENTRA_SCOPE": f"{registration.client_id}/.default"}


def federated(registration: Registration) -> dict[str, str]:
    ids = {"SERVICENOW_ENTRA_CLIENT_ID": registration.client_id, "SERVICENOW_ENTRA_TENANT_ID": TENANT}
    return {"SERVICENOW_GRANT": "entra_id", **own(registration), **ids}


class TestAFederatedCredential:
    def test_the_applications_own_token_is_published_which_ends_within_the_hour_and_a_half(
        self, sandbox: DirectSandbox, registration: Registration
    ) -> None:
        report = tick(app_of(sandbox, **federated(registration)))
        assert (report.outcome, report.grant, report.user_name) == (Outcome.REFRESHED, Grant.ENTRA_ID, "svc.entra")
        (secret,) = sandbox.vault.versions(NAMES[0])
        assert secret.value == sandbox.entra.issued[-1]
        assert secret.expires_on == sandbox.clock.now().replace(microsecond=0) + 75 * MINUTE
        # The identity's own token is the assertion, and goes nowhere else.
        assert len(sandbox.entra.issued) == 2
        held = {each.value for name in sandbox.vault.names() for each in sandbox.vault.versions(name)}
        assert sandbox.entra.issued[0] not in held

    def test_it_is_renewed_from_half_of_its_life_on(self, sandbox: DirectSandbox, registration: Registration) -> None:
        app = app_of(sandbox, **federated(registration))
        outcomes = []
        for _ in range(24):
            outcomes.append(tick(app).outcome)
            sandbox.clock.advance(5 * MINUTE)
        assert outcomes.count(Outcome.REFRESHED) == 4
        assert set(outcomes) == {Outcome.REFRESHED, Outcome.NOT_DUE}

    @pytest.mark.parametrize(
        ("happen", "told"),
        [
            (lambda it: setattr(it, "trusts", None), "AADSTS70021, no federated credential of the application fits"),
            (lambda it: setattr(it, "trusts", Trust(subject="x")), "AADSTS700213, no federated credential"),
            (lambda it: setattr(it, "trusts", Trust(audience="x")), "AADSTS700212, no federated credential"),
        ],
    )
    def test_a_refusal_keeps_its_code_and_gets_its_cure(
        self,
        sandbox: DirectSandbox,
        registration: Registration,
        happen: Callable[[Registration], object],
        told: str,
    ) -> None:
        happen(registration)
        report = tick(app_of(sandbox, **federated(registration)))
        assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.IDENTITY_UNAVAILABLE)
        assert told in report.message

    def test_an_application_of_another_tenant_is_said_to_be_one(
        self, sandbox: DirectSandbox, registration: Registration
    ) -> None:
        del sandbox.entra.registrations[registration.client_id]
        report = tick(app_of(sandbox, **federated(registration)))
        assert "AADSTS700016, the application is not in this tenant" in report.message


class TestMovingThereAndBack:
    """docs/entra.md, 'Moving a running connection, and back'. Readers hold a token that works, at every minute."""

    def watch(self, sandbox: DirectSandbox, app: App, minutes: int) -> list[str]:
        """Tick every five minutes, and look at what readers hold in every minute: the grants, in their order."""
        grants: list[str] = []
        for minute in range(minutes):
            if minute % 5 == 0:
                tick(app)
            for secret in map(sandbox.vault.get, NAMES):
                assert secret is not None
                ends_at = sandbox.instance.access_token_ends_at(secret.value)
                assert ends_at is not None
                assert ends_at > sandbox.clock.now()
                if grants[-1:] != [secret.tags["grant"]]:
                    grants.append(secret.tags["grant"])
            sandbox.clock.advance(MINUTE)
        return grants

    @pytest.mark.exhaustive
    def test_no_reader_is_without_a_token_for_a_minute(
        self, sandbox: DirectSandbox, registration: Registration
    ) -> None:
        sandbox.add_connection(username=True)
        # As it runs today.
        assert self.watch(sandbox, app_of(sandbox), 120) == ["refresh_token"]
        # The new grant stands by; the refresh token is taken away, and the next refresh shows whether it serves.
        app = app_of(sandbox, SERVICENOW_FALLBACK_GRANT="entra_id", **own(registration))
        assert self.watch(sandbox, app, 60) == ["refresh_token"]
        refresh_token = sandbox.vault.get("servicenow-refresh-token")
        assert refresh_token is not None
        sandbox.vault.delete("servicenow-refresh-token")
        assert self.watch(sandbox, app, 60) == ["refresh_token", "entra_id"]
        # It does: it becomes the connection's own, and the application's secrets go.
        app = app_of(sandbox, SERVICENOW_GRANT="entra_id", **own(registration))
        for name in ("servicenow-client-id", "servicenow-client-secret"):
            sandbox.vault.delete(name)
        assert self.watch(sandbox, app, 36 * 60) == ["entra_id"]
        # And back.
        for name in ("servicenow-client-id", "servicenow-client-secret", "servicenow-refresh-token"):
            sandbox.vault.recover(name)
        sandbox.clock.advance(MINUTE)
        assert self.watch(sandbox, app_of(sandbox), 26 * 60) == ["entra_id", "refresh_token"]

    def test_where_the_new_grant_does_not_serve_the_old_token_does_and_says_why(
        self, sandbox: DirectSandbox, registration: Registration
    ) -> None:
        """Which is the moment to recover the refresh token."""
        sandbox.add_connection()
        assert sandbox.instance.oidc is not None
        sandbox.instance.oidc.active = False
        app = app_of(sandbox, SERVICENOW_FALLBACK_GRANT="entra_id", **own(registration))
        self.watch(sandbox, app, 45)
        sandbox.vault.delete("servicenow-refresh-token")
        sandbox.clock.advance(5 * MINUTE)
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.KEPT, Cause.ENTRA_REFUSED)
        sandbox.vault.recover("servicenow-refresh-token")
        sandbox.clock.advance(MINUTE)
        assert self.watch(sandbox, app, 90) == ["refresh_token"]
