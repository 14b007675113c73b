"""Grant entra_id: Microsoft Entra's token for the app's identity is the token, and no secret is read for it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from refresher.app import App
from refresher.cli.authorize import UsageError, authorize, revoke
from refresher.cli.parser import build_parser
from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunRequest, Trigger
from refresher.status.connection_status import State
from refresher.telemetry import outcome_event
from refresher.views.page import status_page
from sandbox import Fault, Sandbox
from sandbox.entra import METADATA_V2, PRINCIPAL, OidcEntity, Registration
from sandbox.faults import Respond
from tests.conftest import CapturedLog, MakeApp, tick
from tests.factories import TICKING
from tests.sampling import sampled, thinned

pytestmark = pytest.mark.wire("any")

HOUR = timedelta(hours=1)
BOTH = ("servicenow-oauth-token", "servicenow--action--global--oauth-token")


@pytest.fixture
def registration(sandbox: Sandbox) -> Registration:
    """An application of the tenant that ServiceNow trusts, and the identity as one of its users."""
    made = sandbox.entra.register()
    sandbox.instance.oidc = OidcEntity(client_id=made.client_id)
    return made


@pytest.fixture
def app(registration: Registration, make_app: MakeApp) -> App:
    return make_app(SERVICENOW_GRANT="entra_id", SERVICENOW_ENTRA_SCOPE=f"{registration.client_id}/.default")


@pytest.fixture(autouse=True)
def no_token_of_entra_leaks(sandbox: Sandbox, everything_logged: CapturedLog) -> object:
    """A signed token cannot bear the sandbox's mark: it is looked for itself, by its signature."""
    yield
    signatures = [token.rpartition(".")[2] for token in sandbox.entra.issued]
    assert not any(signature in line for signature in signatures for line in everything_logged.lines)


def stored(sandbox: Sandbox, name: str = BOTH[0]) -> str:
    secret = sandbox.vault.get(name)
    assert secret is not None
    return secret.value


class TestATick:
    """The token itself is published, with its own dates; nothing is asked of the token endpoint."""

    def test_it_publishes_the_identitys_own_token(self, sandbox: Sandbox, app: App) -> None:
        report = tick(app)
        assert (report.outcome, report.grant, report.user_name) == (Outcome.REFRESHED, Grant.ENTRA_ID, PRINCIPAL)
        assert report.warnings == ()
        assert {stored(sandbox, name) for name in BOTH} == set(sandbox.entra.issued)
        secret = sandbox.vault.get(BOTH[0])
        assert secret is not None
        assert secret.expires_on == sandbox.clock.now() + 24 * HOUR
        assert secret.tags["grant"] == "entra_id"
        assert sandbox.log.count(path="/oauth_token.do") == 0

    def test_none_of_the_applications_secrets_is_read(self, sandbox: Sandbox, app: App) -> None:
        tick(app)
        asked = {each.path.split("/")[2] for each in sandbox.log.select(service="vault")}
        assert asked == {*BOTH, "servicenow-refresh-record"}

    @pytest.mark.exhaustive
    def test_from_half_of_its_life_on_it_is_asked_for_again(self, sandbox: Sandbox, app: App) -> None:
        """Every refresh interval; the same token again is normal, and writes nothing."""
        tick(app)
        sandbox.entra.keeps_for = 23 * HOUR
        outcomes = []
        for _ in range(142):
            sandbox.clock.advance(timedelta(minutes=10))
            report = tick(app)
            assert report.warnings == ()
            outcomes.append(report.outcome)
        assert outcomes[:71] == [Outcome.NOT_DUE] * 71
        assert outcomes[71] is Outcome.UNCHANGED
        assert outcomes.count(Outcome.UNCHANGED) == 14
        assert outcomes[-1] is Outcome.REFRESHED
        changes = [each for each in sandbox.log.select(service="vault") if each.method in {"PUT", "PATCH"}]
        assert len(changes) == 4

    @pytest.mark.exhaustive
    def test_a_token_of_a_day_is_no_sign_of_a_refresher_that_stopped(self, sandbox: Sandbox, app: App) -> None:
        """What the dead man's alert goes by: how long ago the identity last answered, once it has to."""
        sandbox.entra.keeps_for = 23 * HOUR
        ages = []
        for _ in range(int(22 * HOUR / timedelta(minutes=5))):
            now = sandbox.clock.now()
            ages.append(now - (tick(app).access_token_obtained_at or now - 24 * HOUR))
            sandbox.clock.advance(timedelta(minutes=5))
        assert max(ages[: 12 * 12]) == timedelta()
        since, longest = timedelta(), timedelta()
        for age in ages:
            since = min(since + timedelta(minutes=5), age)
            longest = max(longest, since)
        assert longest <= timedelta(minutes=50)

    def test_a_new_token_is_published_once_there_is_one(self, sandbox: Sandbox, app: App) -> None:
        tick(app)
        sandbox.clock.advance(12 * HOUR + timedelta(minutes=50))
        assert tick(app).outcome is Outcome.REFRESHED
        assert {stored(sandbox, name) for name in BOTH} == {sandbox.entra.issued[-1]}
        assert len(sandbox.entra.issued) == 2

    def test_one_that_does_not_come_is_told_of(self, sandbox: Sandbox, app: App) -> None:
        """With two ticks left of the old one, the identity should have handed out another long ago."""
        tick(app)
        sandbox.entra.keeps_for = 25 * HOUR
        sandbox.clock.advance(24 * HOUR - timedelta(minutes=9))
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.KEPT, Cause.IDENTITY_UNAVAILABLE)
        assert "still hands out the token that ends in 9 min" in report.message

    @pytest.mark.parametrize("probe", sampled([True, False], [True]))
    @pytest.mark.parametrize("minutes", thinned([-5, 8, 300], 2))
    def test_one_that_ends_sooner_or_has_ended_replaces_none(
        self, sandbox: Sandbox, registration: Registration, make_app: MakeApp, minutes: int, *, probe: bool
    ) -> None:
        """Another node of the identity's back end answers, with what it has kept for long."""
        settings = {} if probe else {"PROBE_PATH": ""}
        app = make_app(
            SERVICENOW_GRANT="entra_id", SERVICENOW_ENTRA_SCOPE=f"{registration.client_id}/.default", **settings
        )
        tick(app)
        first = stored(sandbox)
        sandbox.clock.advance(12 * HOUR + timedelta(minutes=50))
        sandbox.entra.hand_out(registration, timedelta(minutes=minutes))
        report = tick(app)
        assert report.outcome is (Outcome.UNCHANGED if minutes > 0 else Outcome.KEPT)
        assert {stored(sandbox, name) for name in BOTH} == {first}

    def test_one_that_ends_sooner_replaces_one_that_is_refused_or_another_applications(
        self, sandbox: Sandbox, registration: Registration, make_app: MakeApp
    ) -> None:
        scope = f"{registration.client_id}/.default"
        app = make_app(SERVICENOW_GRANT="entra_id", SERVICENOW_ENTRA_SCOPE=scope)
        tick(app)
        sandbox.clock.advance(HOUR)
        sandbox.entra.hand_out(registration, 20 * HOUR)
        sandbox.faults.add(Fault(path="/api/now", action=Respond(401, {}, b""), times=2))
        assert tick(app).outcome is Outcome.REFRESHED
        assert stored(sandbox) == sandbox.entra.issued[-1]
        other = sandbox.entra.register()
        sandbox.instance.oidc = OidcEntity(client_id=other.client_id)
        sandbox.entra.hand_out(other, 10 * HOUR)
        moved = make_app(SERVICENOW_GRANT="entra_id", SERVICENOW_ENTRA_SCOPE=f"{other.client_id}/.default")
        assert tick(moved, force=True).outcome is Outcome.REFRESHED
        assert stored(sandbox) == sandbox.entra.issued[-1]

    def test_a_copy_that_is_gone_is_written_again(self, sandbox: Sandbox, app: App) -> None:
        tick(app)
        sandbox.vault.delete(BOTH[1])
        assert tick(app).outcome is Outcome.PUBLISHED
        assert stored(sandbox, BOTH[1]) == stored(sandbox)

    def test_a_stored_refresh_token_is_not_a_last_resort(self, sandbox: Sandbox, app: App) -> None:
        """It may be another user's, from the time before."""
        sandbox.add_connection()
        sandbox.instance.oidc = None
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.ENTRA_REFUSED)
        assert sandbox.log.count(path="/oauth_token.do") == 0


class TestWhatPeopleSee:
    """A connection without secrets: nothing tells them of a refresh token, or of ServiceNow's registry."""

    def test_status_knows_neither_a_refresh_token_nor_a_cure_in_the_registry(self, sandbox: Sandbox, app: App) -> None:
        tick(app)
        (status,) = app.status()
        assert (status.state, status.working, status.warnings) == (State.FRESH, True, ())
        assert (status.refresh_token_expires_at, status.refresh_token_then) == (None, None)
        assert "Registry" not in status_page([status], TICKING, sandbox.clock.now())
        (issue,) = app.history("servicenow").issues
        assert issue.grant == "entra_id"

    def test_half_a_day_later_the_same_token_is_no_sign_of_a_refresher_that_stopped(
        self, sandbox: Sandbox, app: App
    ) -> None:
        tick(app)
        sandbox.clock.advance(11 * HOUR)
        report = tick(app)
        (status,) = app.status()
        assert (report.outcome, status.state) == (Outcome.NOT_DUE, State.FRESH)
        event = outcome_event(report, sandbox.clock.now())
        assert event["token_age"] == 0

    def test_doctor_asks_for_no_secret_of_an_application(self, app: App) -> None:
        tick(app)
        checks = app.doctor()
        assert {check.name for check in checks} & {"servicenow-client-secret", "servicenow-refresh-token"} == set()
        assert {check.verdict for check in checks if check.name not in {"lease", "clock", "timer"}} == {"pass"}

    @pytest.mark.parametrize(
        ("words", "instead"),
        [
            (["authorize", "servicenow", "--grant", "password"], "an active user stands for the identity"),
            (["revoke", "servicenow", "--yes"], "Deactivate the user that stands for the identity"),
        ],
    )
    def test_authorize_and_revoke_say_what_takes_their_place(
        self, sandbox: Sandbox, app: App, words: list[str], instead: str
    ) -> None:
        options = build_parser().parse_args(words)
        command = {"authorize": authorize, "revoke": revoke}[words[0]]
        with pytest.raises(UsageError) as caught:
            command(app, options, RunRequest(trigger=Trigger.CLI))
        assert instead in caught.value.hint
        assert sandbox.log.count(service="instance") == 0


class TestAsAFallback:
    def test_it_serves_where_the_refresh_token_is_gone(
        self, sandbox: Sandbox, registration: Registration, make_app: MakeApp
    ) -> None:
        sandbox.add_connection(refresh_token=False)
        scope = f"api://{registration.client_id}"
        registration.version = 2
        assert sandbox.instance.oidc is not None
        sandbox.instance.oidc.metadata_url = METADATA_V2
        report = tick(make_app(SERVICENOW_FALLBACK_GRANT="entra_id", SERVICENOW_ENTRA_SCOPE=scope))
        assert (report.outcome, report.grant) == (Outcome.REFRESHED, Grant.ENTRA_ID)

    def test_a_fallback_serves_where_the_identity_gets_none(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.add_connection(username=True, refresh_token=False)
        scope = "00000000-0000-4000-8000-00000000dead/.default"
        report = tick(
            make_app(SERVICENOW_GRANT="entra_id", SERVICENOW_FALLBACK_GRANT="password", SERVICENOW_ENTRA_SCOPE=scope)
        )
        assert (report.outcome, report.grant) == (Outcome.REFRESHED, Grant.PASSWORD)
        assert [each.code for each in report.warnings][:1] == ["grant_failed"]


MISTAKES: dict[str, Callable[[OidcEntity, Registration], object]] = {
    "client id is another's": lambda entity, _: setattr(entity, "client_id", "00000000-0000-4000-8000-00000000beef"),
    "metadata of the other version": lambda entity, _: setattr(entity, "metadata_url", METADATA_V2),
    "claim mapped to another field": lambda entity, _: setattr(entity, "users", {"app.user": "app.user"}),
    "another claim": lambda entity, _: setattr(entity, "user_claim", "upn"),
    "entity inactive": lambda entity, _: setattr(entity, "active", False),
    "token of version 2 at version 1": lambda _, registration: setattr(registration, "version", 2),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_servicenow_is_one_401_beside_what_the_token_says(
    sandbox: Sandbox, registration: Registration, app: App, mistake: str
) -> None:
    assert sandbox.instance.oidc is not None
    MISTAKES[mistake](sandbox.instance.oidc, registration)
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.ENTRA_REFUSED)
    for claim in (registration.client_id, PRINCIPAL, "iss https://", f"ver {registration.version}.0"):
        assert claim in report.message
    assert report.hint is not None
    assert f"User ID is {PRINCIPAL}" in report.hint
    assert sandbox.vault.get(BOTH[0]) is None


def test_with_jti_verification_a_token_is_good_for_one_call(sandbox: Sandbox, app: App) -> None:
    """The probe is that call, so that the next one is refused: the second look finds it."""
    assert sandbox.instance.oidc is not None
    sandbox.instance.oidc.jti_verification = True
    assert tick(app).outcome is Outcome.REFRESHED
    (probe,) = app.probe(["servicenow"])
    assert probe is not None
    assert probe.verdict == "rejected"


@pytest.mark.parametrize(
    ("happen", "told"),
    [
        (
            lambda it: replace(it, service_principal=False),
            "AADSTS500011, the scope's application has no service principal",
        ),
        (lambda it: replace(it, assignment_required=True), "AADSTS501051, the application demands an assignment"),
    ],
)
def test_a_refusal_keeps_its_code_and_gets_its_cure(
    sandbox: Sandbox, registration: Registration, app: App, happen: Callable[[Registration], Registration], told: str
) -> None:
    sandbox.entra.registrations[registration.client_id] = happen(registration)
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.IDENTITY_UNAVAILABLE)
    assert told in report.message
    assert report.consecutive_failures == 1
    assert "not found in environment" not in f"{report.message} {report.hint}"


def test_a_bare_500_is_explained_as_what_it_is(sandbox: Sandbox, registration: Registration, app: App) -> None:
    registration.service_principal, sandbox.entra.plain_errors = False, True
    report = tick(app)
    assert "and no reason: mostly the scope's application has no service principal (AADSTS500011)" in report.message


@pytest.mark.parametrize(
    ("extra", "told"),
    thinned(
        [
            ({"scp": "user_impersonation"}, "it has the claim scp, as a person's has"),
            ({"sub": "pairwise"}, "its claims sub and oid differ"),
            ({"idtyp": "user"}, "its claim idtyp is not app"),
        ]
    ),
)
def test_a_persons_token_is_never_published(
    sandbox: Sandbox, registration: Registration, app: App, extra: dict[str, object], told: str
) -> None:
    registration.extra.update(extra)
    report = tick(app)
    assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.IDENTITY_UNAVAILABLE)
    assert told in report.message
    assert sandbox.vault.get(BOTH[0]) is None


def test_a_laptop_says_why_it_will_not_and_how_to_force_a_run_in_the_cloud(
    sandbox: Sandbox, registration: Registration, make_app: MakeApp
) -> None:
    settings = {"SERVICENOW_GRANT": "entra_id", "SERVICENOW_ENTRA_SCOPE": f"{registration.client_id}/.default"}
    app = make_app(**settings, IDENTITY_ENDPOINT="")
    report = tick(app)
    assert report.cause is Cause.IDENTITY_UNAVAILABLE
    assert "this machine has none" in report.message
    assert report.hint is not None
    assert "/api/refresh?connection=servicenow&force=true" in report.hint
    assert sandbox.entra.issued == []
