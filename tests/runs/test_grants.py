"""Every grant, the start and the renewal of a refresh token's life, and refusals, over the sandbox."""

from datetime import timedelta

import pytest

from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.moments import format_instant
from refresher.model.report import Outcome
from sandbox import PERSONALITIES, Fault, Personality, Sandbox
from sandbox.faults import Action, Drop, Refuse, Respond, Throttle
from tests.conftest import MakeApp, direct, tick
from tests.names import PASSWORD, RECORD, REFRESH_TOKEN, TOKEN, USER
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

JWT = '{"sub": "servicenow.integration", "kid": "key-1"}'


def record_tags(sandbox: Sandbox) -> dict[str, str]:
    """The tags of the record; empty where there is none."""
    record = sandbox.vault.get(RECORD)
    return record.tags if record else {}


class TestGrants:
    """Each grant of the settings, as the connection's own."""

    @pytest.mark.parametrize(
        ("grant", "settings"),
        thinned(
            [
                (Grant.REFRESH_TOKEN, {}),
                (Grant.PASSWORD, {}),
                (Grant.CLIENT_CREDENTIALS, {}),
                (Grant.JWT_BEARER, {"SERVICENOW_JWT": JWT}),
            ]
        ),
    )
    def test_yields_a_living_token(
        self, sandbox: Sandbox, make_app: MakeApp, grant: Grant, settings: dict[str, str]
    ) -> None:
        sandbox.add_connection(username=True, jwt_key=True)
        app = make_app(SERVICENOW_GRANT=grant.value, **settings)
        report = tick(app)
        assert (report.outcome, report.grant, report.user_name) == (Outcome.REFRESHED, grant, USER)
        stored = sandbox.vault.get(TOKEN)
        assert stored is not None
        assert stored.tags["grant"] == grant
        assert sandbox.instance.is_living_access_token(stored.value)

    def test_an_assertion_is_made_anew_for_every_try(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.add_connection(refresh_token=False, jwt_key=True)
        sandbox.instance.personality = Personality(refuse_first=2)
        app = make_app(SERVICENOW_GRANT="jwt_bearer", SERVICENOW_JWT=JWT)
        assert tick(app).attempts == 3  # the instance refuses a jti that it has seen

    def test_a_key_that_cannot_sign_is_named(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.add_connection(refresh_token=False, jwt_key=True)
        sandbox.vault.put("servicenow-jwt-key", "CANARY-not-a-key")
        report = tick(make_app(SERVICENOW_GRANT="jwt_bearer", SERVICENOW_JWT=JWT))
        assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.SECRET_INVALID)
        assert sandbox.log.count(service="instance") == 0

    def test_an_assertion_that_is_not_valid_is_no_refused_refresh_token(
        self, sandbox: Sandbox, make_app: MakeApp
    ) -> None:
        """Nobody is sent to a browser: the key, the claims or the clock are wrong."""
        sandbox.add_connection(refresh_token=False, jwt_key=True)
        sandbox.instance.personality = PERSONALITIES["precise_errors"]
        app = make_app(
            SERVICENOW_GRANT="jwt_bearer", SERVICENOW_JWT='{"sub": "servicenow.integration", "aud": "else"}'
        )
        report = tick(app)
        assert (report.outcome, report.cause, report.attempts) == (Outcome.FAILED, Cause.INVALID_GRANT, 1)
        assert report.hint
        assert "Correct what the checks find" in report.hint

    def test_a_token_of_user_guest_is_refused_with_its_own_explanation(
        self, sandbox: Sandbox, make_app: MakeApp
    ) -> None:
        sandbox.add_connection(refresh_token=False)
        sandbox.instance.personality = PERSONALITIES["guest"]
        report = tick(make_app(SERVICENOW_GRANT="client_credentials"))
        assert report.cause is Cause.TOKEN_REJECTED
        assert "OAuth Application User" in (report.hint or "")
        assert sandbox.vault.get(TOKEN) is None

    def test_a_token_that_the_probe_finds_to_be_guest_is_not_published(
        self, sandbox: Sandbox, make_app: MakeApp
    ) -> None:
        sandbox.add_connection("servicenow")
        answer = Respond(200, {"Content-Type": "application/json"}, b'{"result": [{"user_name": "guest"}]}')
        sandbox.faults.add(Fault(path="/api/now/table/sys_user", action=answer))
        report = tick(make_app())
        assert report.cause is Cause.GUEST_TOKEN
        assert "OAuth Application User" in (report.hint or "")
        assert sandbox.vault.get(TOKEN) is None


class TestLife:
    """A refresh token's life starts, is renewed and ends without a person where a fallback grant is configured."""

    def test_it_starts_by_the_fallback_grant_where_there_is_none(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.add_connection(refresh_token=False, username=True)
        assert tick(make_app(SERVICENOW_FALLBACK_GRANT="password")).grant is Grant.PASSWORD
        stored = sandbox.vault.get(REFRESH_TOKEN)
        assert stored is not None
        assert sandbox.instance.is_living_refresh_token(stored.value)
        assert stored.tags["issued-at"] == format_instant(sandbox.clock.now())

    @pytest.mark.parametrize(
        ("lifetime", "before_the_end"),
        thinned(
            [
                (timedelta(days=100), timedelta(days=7)),
                (timedelta(days=30), timedelta(days=3)),
                (timedelta(hours=5), timedelta(hours=1)),
            ],
        ),
    )
    def test_it_is_renewed_in_its_last_tenth_between_an_hour_and_seven_days(
        self, sandbox: Sandbox, make_app: MakeApp, lifetime: timedelta, before_the_end: timedelta
    ) -> None:
        sandbox.instance.personality = Personality(refresh_token_lifetime=lifetime)
        sandbox.add_connection(username=True)
        app = make_app(
            SERVICENOW_FALLBACK_GRANT="password",
            SERVICENOW_REFRESH_TOKEN_LIFETIME=str(int(lifetime.total_seconds())),
        )
        sandbox.clock.advance(lifetime - before_the_end - timedelta(minutes=1))
        assert tick(app).grant is Grant.REFRESH_TOKEN
        sandbox.clock.advance(timedelta(minutes=50))
        assert tick(app).grant is Grant.PASSWORD
        sandbox.clock.advance(timedelta(minutes=50))
        assert tick(app).grant is Grant.REFRESH_TOKEN

    def test_an_unchanged_refresh_token_keeps_the_start_of_its_life(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.add_connection("servicenow")
        app, started_at = make_app(), sandbox.clock.now()
        for _ in range(3):
            tick(app)
            sandbox.clock.advance(timedelta(minutes=50))
        stored = sandbox.vault.get(REFRESH_TOKEN)
        assert stored is not None
        assert stored.tags["issued-at"] == format_instant(started_at)

    def test_a_refused_renewal_goes_on_with_the_old_refresh_token(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.add_connection(username=True)
        sandbox.vault.put(PASSWORD, "CANARY-wrong")
        sandbox.clock.advance(timedelta(days=99))
        app = make_app(SERVICENOW_FALLBACK_GRANT="password")
        report = tick(app)
        assert (report.outcome, report.grant) == (Outcome.REFRESHED, Grant.REFRESH_TOKEN)

    @pytest.mark.parametrize("slides", thinned([False, True]))
    def test_a_rotated_refresh_token_is_stored_before_anything_else(
        self, sandbox: Sandbox, make_app: MakeApp, *, slides: bool
    ) -> None:
        sandbox.instance.personality = Personality(rotates=True, slides=slides)
        sandbox.add_connection("servicenow")
        app = make_app()
        for _ in range(3):
            assert tick(app).outcome is Outcome.REFRESHED
            stored = sandbox.vault.get(REFRESH_TOKEN)
            assert stored is not None
            assert sandbox.instance.is_living_refresh_token(stored.value)
            sandbox.clock.advance(timedelta(minutes=50))
        assert len(sandbox.vault.versions(REFRESH_TOKEN)) == 5, "one by hand, the proof, and three successors"
        assert record_tags(sandbox)["refresh-token"] == "rotates=true"

    def test_a_rotated_refresh_token_is_kept_even_if_the_new_access_token_is_refused(
        self, sandbox: Sandbox, make_app: MakeApp
    ) -> None:
        sandbox.instance.personality = Personality(rotates=True)
        sandbox.add_connection("servicenow")
        sandbox.faults.add(Fault(path="/api/now/table/sys_user", action=Respond(401, {}, b""), times=None))
        assert tick(make_app()).cause is Cause.TOKEN_REJECTED
        stored = sandbox.vault.get(REFRESH_TOKEN)
        assert stored is not None
        assert sandbox.instance.is_living_refresh_token(stored.value)


class TestRefusals:
    """One 401 condemns nothing; repeated ones do; a password is never sent in a loop."""

    def test_passing_401s_are_ridden_out_within_a_run(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.add_connection("servicenow")
        sandbox.instance.personality = PERSONALITIES["transient_401"]
        report = tick(make_app())
        assert (report.outcome, report.attempts) == (Outcome.REFRESHED, 3)

    def test_a_dead_refresh_token_needs_a_person_after_two_runs(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        added = sandbox.add_connection("servicenow")
        app = make_app()
        tick(app)
        sandbox.clock.advance(timedelta(minutes=50))
        sandbox.instance.kill_refresh_token(added.refresh_token or "")
        first = tick(app)
        assert (first.outcome, first.cause, first.attempts) == (Outcome.KEPT, Cause.ACCESS_DENIED, 3)
        sandbox.clock.advance(timedelta(minutes=5))
        second = tick(app)
        assert (second.outcome, second.cause) == (Outcome.AUTHORIZATION_REQUIRED, Cause.REFRESH_TOKEN_REFUSED)
        assert second.transaction_id
        assert "authorize servicenow" in (second.hint or "")

    @pytest.mark.parametrize(("hours", "tries"), thinned([(2, [3] + [1] * 14), (1, [3] * 7 + [1] * 8)], 2))
    @pytest.mark.exhaustive
    def test_a_refresh_token_that_stays_refused_is_soon_tried_once_a_run(
        self, sandbox: Sandbox, make_app: MakeApp, hours: int, tries: list[int]
    ) -> None:
        """At once where the old token works for long; where it ends, for as long as a fault may last."""
        added = sandbox.add_connection("servicenow")
        sandbox.instance.personality = Personality(access_token_lifetime=timedelta(hours=hours))
        app = make_app()
        tick(app)
        sandbox.instance.kill_refresh_token(added.refresh_token or "")
        attempts = []
        for _ in range(24):
            sandbox.clock.advance(timedelta(minutes=5))
            report = tick(app)
            attempts += [report.attempts] if report.outcome is not Outcome.NOT_DUE else []
        assert attempts == tries

    def test_a_dead_refresh_token_is_replaced_by_the_fallback_grant(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        added = sandbox.add_connection(username=True)
        app = make_app(SERVICENOW_FALLBACK_GRANT="password")
        tick(app)
        sandbox.clock.advance(timedelta(minutes=50))
        sandbox.instance.kill_refresh_token(added.refresh_token or "")
        assert tick(app).outcome is Outcome.KEPT  # one run's 401s may pass
        sandbox.clock.advance(timedelta(minutes=5))
        report = tick(app)
        assert (report.outcome, report.grant) == (Outcome.REFRESHED, Grant.PASSWORD)
        assert record_tags(sandbox)["consecutive-failures"] == "0"

    def test_without_a_working_token_the_fallback_grant_is_used_at_once(
        self, sandbox: Sandbox, make_app: MakeApp
    ) -> None:
        added = sandbox.add_connection(username=True)
        sandbox.instance.kill_refresh_token(added.refresh_token or "")
        assert tick(make_app(SERVICENOW_FALLBACK_GRANT="password")).grant is Grant.PASSWORD

    def test_where_two_grants_fail_both_are_told(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        """A fallback's missing password must not hide that the refresh token is refused."""
        added = sandbox.add_connection()
        sandbox.instance.kill_refresh_token(added.refresh_token or "")
        report = tick(make_app(SERVICENOW_FALLBACK_GRANT="password"))
        assert "servicenow-username is not in" in report.message
        assert "; before it, the grant refresh_token failed: ServiceNow refused" in report.message

    @pytest.mark.parametrize("code", ["invalid_client", "unsupported_grant_type"])
    def test_a_definite_code_stops_the_tries_at_once(self, sandbox: Sandbox, make_app: MakeApp, code: str) -> None:
        sandbox.add_connection("servicenow")
        body = f'{{"error": "{code}"}}'.encode()
        answer = Respond(401, {"Content-Type": "application/json"}, body)
        sandbox.faults.add(Fault(path="/oauth_token.do", times=None, action=answer))
        report = tick(make_app())
        assert (report.cause, report.attempts) == (Cause.of(code), 1)

    def test_a_wrong_client_secret_does_not_condemn_the_refresh_token(
        self, sandbox: Sandbox, make_app: MakeApp
    ) -> None:
        added = sandbox.add_connection("servicenow")
        sandbox.instance.personality = PERSONALITIES["precise_errors"]
        sandbox.vault.put("servicenow-client-secret", "CANARY-wrong")
        app = make_app()
        for _ in range(3):
            assert tick(app).cause is Cause.INVALID_CLIENT
        sandbox.vault.put("servicenow-client-secret", f" {added.application.client_secret}\n")
        assert tick(app).outcome is Outcome.REFRESHED

    @pytest.mark.exhaustive
    def test_a_refused_password_is_sent_four_times_in_all(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.add_connection(refresh_token=False, username=True)
        sandbox.vault.put(PASSWORD, "CANARY-wrong")
        outcomes = []
        for _ in range(16):
            outcomes.append(tick(make_app(SERVICENOW_GRANT="password")).outcome)  # a new process each time
            sandbox.clock.advance(timedelta(minutes=5))
        assert sandbox.instance.password_attempts(USER) == 4
        assert outcomes == [Outcome.FAILED] * 13 + [Outcome.AUTHORIZATION_REQUIRED] * 3

    def test_a_newer_version_of_the_password_is_tried_again(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        added = sandbox.add_connection(refresh_token=False, username=True)
        sandbox.vault.put(PASSWORD, "CANARY-wrong")
        app = make_app(SERVICENOW_GRANT="password")
        for _ in range(4):
            tick(app)
            sandbox.clock.advance(timedelta(minutes=30))
        sandbox.vault.put(PASSWORD, added.application.user.password)
        assert tick(app).outcome is Outcome.REFRESHED
        assert "password" not in record_tags(sandbox)

    def test_an_operator_can_force_a_refused_password(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.add_connection(refresh_token=False, username=True)
        sandbox.vault.put(PASSWORD, "CANARY-wrong")
        app = make_app(SERVICENOW_GRANT="password")
        for _ in range(6):
            tick(app)
            sandbox.clock.advance(timedelta(minutes=30))
        tick(app, force=True)
        assert sandbox.instance.password_attempts(USER) == 5

    def test_an_outage_does_not_count_against_the_password(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.add_connection(refresh_token=False, username=True)
        app = make_app(SERVICENOW_GRANT="password")
        sandbox.faults.add(Fault(path="/oauth_token.do", times=None, action=Respond(503, {}, b"")))
        for _ in range(5):
            assert tick(app).cause is Cause.INSTANCE_ERROR
        sandbox.faults.clear()
        assert tick(app).outcome is Outcome.REFRESHED

    @pytest.mark.parametrize("action", [Throttle(2.0), Drop(), Respond(503)])
    def test_a_password_that_somebody_may_have_seen_is_not_sent_again_in_the_same_run(
        self, sandbox: Sandbox, make_app: MakeApp, action: Action
    ) -> None:
        """That a request was over the limit, a gateway may say as well, and ServiceNow have counted it."""
        sandbox.add_connection(refresh_token=False, username=True)
        sandbox.faults.add(Fault(path="/oauth_token.do", action=action))
        report = tick(make_app(SERVICENOW_GRANT="password"))
        assert (report.outcome, report.attempts) == (Outcome.FAILED, 1)

    def test_one_that_was_never_sent_is(self) -> None:
        sandbox, app = direct({"SERVICENOW_GRANT": "password"}, refresh_token=False, username=True)
        sandbox.faults.add(Fault(path="/oauth_token.do", action=Refuse()))
        report = tick(app)
        assert (report.outcome, report.attempts) == (Outcome.REFRESHED, 2)

    def test_where_the_record_cannot_be_written_no_password_is_sent(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        sandbox.add_connection(refresh_token=False, username=True)
        sandbox.vault.deny("set", RECORD)
        report = tick(make_app(SERVICENOW_GRANT="password"))
        assert report.cause is Cause.VAULT_FORBIDDEN
        assert sandbox.instance.password_attempts(USER) == 0
