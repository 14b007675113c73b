"""JWT bearer with a key that never leaves Key Vault: the real SDK asks the sandbox's vault for each signature."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import pytest

from refresher.app import App
from refresher.cli.authorize import UsageError, authorize
from refresher.cli.parser import build_parser
from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.report import Outcome, RunRequest, Trigger
from sandbox import Sandbox
from sandbox.faults import Action, Drop, Fault, Garbage, Interrupt, Respond, Rewrite, Throttle, Truncate
from sandbox.instance import Application
from sandbox.keys import KeyVersion
from tests.conftest import CapturedLog, MakeApp, tick
from tests.infra.kql import selects
from tests.names import TOKEN
from tests.sampling import thinned
from tests.shell import ROOT

DAY = timedelta(days=1)
CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


@dataclass
class Place:
    """A connection whose key is in the vault."""

    sandbox: Sandbox
    application: Application
    make_app: MakeApp

    def key(self, **options: object) -> KeyVersion:
        """A new version of the key, that ServiceNow knows as the only one."""
        key = self.sandbox.vault.keys.make("signer", **options)  # type: ignore[arg-type]
        self.application.public_key = key.public_pem
        return key

    def app(self, version: str = "", *, fallback: bool = False, **claims: object) -> App:
        identifier = f"{self.sandbox.vault.url}/keys/signer{version and f'/{version}'}"
        jwt = {"sub": "servicenow.integration", "key_identifier": identifier, **claims}
        setting = "SERVICENOW_FALLBACK_GRANT" if fallback else "SERVICENOW_GRANT"
        return self.make_app(**{setting: "jwt_bearer", "SERVICENOW_JWT": json.dumps(jwt)})

    def asked(self) -> list[str]:
        """Names of the secrets, and routes of the keys, that were asked for."""
        paths = [each.path for each in self.sandbox.log.select(service="vault")]
        return [path.removeprefix("/secrets/").strip("/") for path in paths]


@pytest.fixture
def place(sandbox: Sandbox, make_app: MakeApp) -> Place:
    return Place(sandbox, sandbox.add_connection(refresh_token=False).application, make_app)


def worked(report: object) -> tuple[object, object]:
    return getattr(report, "outcome", None), getattr(report, "grant", None)


REFRESHED = (Outcome.REFRESHED, Grant.JWT_BEARER)


class TestSigning:
    @pytest.mark.parametrize("algorithm", thinned(["RS256", "RS384", "RS512", *CURVES], 3))
    def test_servicenow_takes_what_the_vault_signed(self, place: Place, algorithm: str) -> None:
        """The instance verifies it by the public half: of ECDSA, r and s one after the other and nothing else."""
        place.key(curve=CURVES.get(algorithm))
        assert worked(tick(place.app(alg=algorithm))) == REFRESHED
        assert place.sandbox.vault.get(TOKEN) is not None

    def test_each_try_has_an_assertion_of_its_own(self, place: Place) -> None:
        """ServiceNow takes each once; the key is described once for all of them."""
        place.key(curve="P-256")
        place.sandbox.instance.personality = replace(place.sandbox.instance.personality, refuse_first=2)
        report = tick(place.app(alg="ES256"))
        assert (worked(report), report.attempts) == (REFRESHED, 3)
        signed = [path for path in place.asked() if path.endswith("/sign")]
        described = [path for path in place.asked() if path.startswith("keys/") and not path.endswith("/sign")]
        # A challenge comes before the first answer.
        assert (len(signed), len(described)) == (3, 2)

    def test_no_private_key_is_read(self, place: Place) -> None:
        place.key(curve="P-256")
        tick(place.app(alg="ES256"))
        assert "servicenow-client-secret" in place.asked()
        assert "servicenow-jwt-key" not in place.asked()

    def test_a_public_client_has_no_secret_at_all(self, place: Place) -> None:
        place.key(curve="P-256")
        place.application.public = True
        place.sandbox.vault.delete("servicenow-client-secret")
        assert worked(tick(place.app(alg="ES256", public_client=True))) == REFRESHED
        assert {"servicenow-client-secret", "servicenow-refresh-token"} & set(place.asked()) == set()

    def test_without_a_client_secret_nobody_can_authorize(self, place: Place) -> None:
        place.key(curve="P-256")
        app = place.app(alg="ES256", public_client=True)
        options = build_parser().parse_args(["authorize", "servicenow", "--grant", "password"])
        with pytest.raises(UsageError, match="has no client secret, without which nobody can authorize"):
            authorize(app, options, RunRequest(trigger=Trigger.CLI))

    @pytest.mark.exhaustive
    def test_doctor_has_the_key_sign_a_word(self, place: Place) -> None:
        place.key(curve="P-256", expires_on=place.sandbox.clock.now() + 400 * DAY)
        app = place.app(alg="ES256")
        tick(app)
        found = {check.name: (check.verdict, check.detail) for check in app.doctor()}
        assert found["signer"] == ("pass", "a key of the vault that signs by ES256")
        assert found["signing key's life"][0] == "pass"
        place.sandbox.vault.deny("sign")
        found = {check.name: (check.verdict, check.detail) for check in app.doctor()}
        assert found["signer"][0] == "fail"
        assert found["signer"][1].startswith("readable; Key Vault refused sign of key signer")

    @pytest.mark.exhaustive
    def test_a_process_loads_what_asks_the_vault_and_not_what_signs_itself(self, place: Place) -> None:
        place.key(curve="P-256")
        script = (
            "import function_app, sys\n"
            "from refresher.model.report import RunRequest, Trigger\n"
            "(report,) = function_app.refresher_app.tick(RunRequest(trigger=Trigger.TIMER))\n"
            "print(report.outcome.value, 'azure.keyvault.keys' in sys.modules, 'jwt' in sys.modules)\n"
        )
        place.sandbox.clock.advance(datetime.now(UTC) - place.sandbox.clock.now())
        identifier = f"{place.sandbox.vault.url}/keys/signer"
        jwt = json.dumps({"sub": "servicenow.integration", "alg": "ES256", "key_identifier": identifier})
        path = os.pathsep.join(sys.path)
        environ = {**os.environ, "PYTHONPATH": path, "SERVICENOW_GRANT": "jwt_bearer", "SERVICENOW_JWT": jwt}
        done = subprocess.run(
            [sys.executable, "-c", script], cwd=ROOT, env=environ, capture_output=True, text=True, check=True
        )
        assert done.stdout.split() == ["refreshed", "True", "False"], done.stderr

    def test_a_client_that_is_not_public_is_refused_without_its_secret(self, place: Place) -> None:
        """The sandbox asks for one as ServiceNow does: what passes above does not pass by itself."""
        place.key(curve="P-256")
        report = tick(place.app(alg="ES256", public_client=True))
        assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.ACCESS_DENIED)


class TestRenewal:
    """ServiceNow has a verifier map for each key that it knows, by its key id."""

    def known(self, place: Place, **kids: KeyVersion) -> None:
        place.application.verifiers = {kid: key.public_pem for kid, key in kids.items()}

    def test_a_new_key_signs_from_the_moment_in_which_its_version_is_named(self, place: Place) -> None:
        """And not before: Key Vault makes it when it renews the certificate, and ServiceNow learns of it later."""
        old = place.key(curve="P-256")
        place.sandbox.clock.advance(DAY)
        new = place.key(curve="P-256")
        self.known(place, first=old)
        assert worked(tick(place.app(alg="ES256", kid={old.version: "first"}))) == REFRESHED
        self.known(place, first=old, second=new)
        both = {old.version: "first", new.version: "second"}
        place.sandbox.clock.advance(DAY)
        assert worked(tick(place.app(alg="ES256", kid=both))) == REFRESHED
        assert [path.split("/")[2] for path in place.asked() if path.endswith("/sign")] == [old.version, new.version]

    @pytest.mark.exhaustive
    def test_the_old_one_serves_while_the_new_one_may_not(self, place: Place) -> None:
        old = place.key(curve="P-256")
        new = place.key(curve="P-256")
        new.not_before = place.sandbox.clock.now() + DAY
        self.known(place, first=old, second=new)
        app = place.app(alg="ES256", kid={old.version: "first", new.version: "second"})
        assert worked(tick(app)) == REFRESHED
        place.sandbox.clock.advance(2 * DAY)
        old.enabled = False
        assert worked(tick(app)) == REFRESHED

    @pytest.mark.exhaustive
    def test_a_version_that_is_named_is_the_one_that_signs(self, place: Place) -> None:
        old = place.key(curve="P-256")
        place.sandbox.vault.keys.make("signer", curve="P-256")
        assert worked(tick(place.app(old.version, alg="ES256"))) == REFRESHED

    @pytest.mark.exhaustive
    def test_without_a_version_the_newest_signs_whatever_servicenow_knows(self, place: Place) -> None:
        """Which is why docs/keys.md says to renew with the same key, or to name versions."""
        place.key(curve="P-256")
        app = place.app(alg="ES256")
        assert worked(tick(app)) == REFRESHED
        place.sandbox.vault.keys.make("signer", curve="P-256")
        place.sandbox.clock.advance(DAY)
        report = tick(app)
        assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.ACCESS_DENIED)


class TestItsEnd:
    @pytest.mark.parametrize(
        ("rest", "code"),
        thinned(
            [
                (15 * DAY, None),
                (14 * DAY, "signing_key_ending"),
                (3 * DAY, "signing_key_ending_soon"),
                (None, "signing_key_end_unknown"),
            ],
        ),
    )
    def test_it_is_told_with_each_refresh_and_by_status(
        self, place: Place, rest: timedelta | None, code: str | None
    ) -> None:
        """As of a refresh token, 14 and 3 days before; and without a date nobody says that all is well."""
        place.key(curve="P-256", expires_on=place.sandbox.clock.now() + rest if rest else None)
        app = place.app(alg="ES256")
        expected = [code] if code else []
        report = tick(app)
        assert (worked(report), [each.code for each in report.warnings]) == (REFRESHED, expected)
        (status,) = app.status()
        assert [each.code for each in status.warnings] == expected
        assert status.signing_key is not None

    @pytest.mark.parametrize(
        ("days", "alert"), thinned([(14, "RefreshTokenEnding14Days"), (3, "RefreshTokenEnding3Days")])
    )
    def test_an_alert_asks_for_a_person(
        self, place: Place, everything_logged: CapturedLog, days: int, alert: str
    ) -> None:
        place.key(curve="P-256", expires_on=place.sandbox.clock.now() + days * DAY)
        tick(place.app(alg="ES256"))
        messages = [line.split(" ", 2)[2] for line in everything_logged.lines if line.startswith("refresher ")]
        queries = {path.stem: path.read_text("utf-8") for path in (ROOT / "infra" / "queries").glob("Refresh*Ending*")}
        assert {name for name, query in queries.items() if any(selects(query, each) for each in messages)} == {alert}

    def test_of_several_versions_the_last_end_counts(self, place: Place) -> None:
        old = place.key(curve="P-256", expires_on=place.sandbox.clock.now() + DAY)
        new = place.key(curve="P-256", expires_on=place.sandbox.clock.now() + 300 * DAY)
        place.application.verifiers = {"second": new.public_pem}
        new.created_on += timedelta(seconds=1)
        report = tick(place.app(alg="ES256", kid={old.version: "first", new.version: "second"}))
        assert (worked(report), report.warnings) == (REFRESHED, ())

    @pytest.mark.exhaustive
    def test_a_fallbacks_key_is_looked_after_as_well(self, place: Place) -> None:
        """It is needed on the day on which the refresh token ends, and its end is no news then."""
        place.sandbox.vault.put("servicenow-refresh-token", place.sandbox.instance.authorize(place.application))
        place.key(curve="P-256", expires_on=place.sandbox.clock.now() + DAY)
        app = place.app(alg="ES256", fallback=True)
        report = tick(app)
        assert report.grant is Grant.REFRESH_TOKEN
        assert [each.code for each in report.warnings] == ["signing_key_ending_soon"]
        place.sandbox.clock.advance(2 * DAY)
        (warning,) = tick(app).warnings
        assert warning.code == "stops_without_a_person"
        assert "fallback grant jwt_bearer would do it, but its credentials are" in warning.hint


FAULTS: dict[str, tuple[Callable[[Place, KeyVersion], object], Cause, str]] = {
    "disabled": (
        lambda _, key: setattr(key, "enabled", False),
        Cause.SIGNING_KEY_DISABLED,
        "az keyvault key set-attributes",
    ),
    "expired": (
        lambda place, key: setattr(key, "expires_on", place.sandbox.clock.now() - DAY),
        Cause.SIGNING_KEY_EXPIRED,
        "Renew its certificate",
    ),
    "not yet valid": (
        lambda place, key: setattr(key, "not_before", place.sandbox.clock.now() + DAY),
        Cause.SIGNING_KEY_EXPIRED,
        "az keyvault key show",
    ),
    "missing": (
        lambda place, _: place.sandbox.vault.keys.remove("signer"),
        Cause.SIGNING_KEY_MISSING,
        "az keyvault key list-versions",
    ),
    "of another curve": (lambda place, _: place.key(curve="P-384"), Cause.SIGNING_KEY_UNFIT, "Set `alg`"),
    "of another type": (lambda place, _: place.key(), Cause.SIGNING_KEY_UNFIT, "Set `alg`"),
    "not made to sign": (
        lambda _, key: setattr(key, "operations", ("verify",)),
        Cause.SIGNING_KEY_UNFIT,
        "Set `alg`",
    ),
    "not to be read": (
        lambda place, _: place.sandbox.vault.deny("get key"),
        Cause.SIGNING_FORBIDDEN,
        "Key Vault Crypto User",
    ),
    "not to sign": (
        lambda place, _: place.sandbox.vault.deny("sign"),
        Cause.SIGNING_FORBIDDEN,
        "Key Vault Crypto User",
    ),
}


BROKEN: dict[str, Action] = {
    "something else": Garbage(b'{"access_token": "x"}'),
    "no end of brackets": Garbage(b"[" * 100_000),
    "a page": Garbage(b"<html>"),
    "half of it": Truncate(),
    "none": Drop(),
    "503": Respond(503),
    "of another vault": Rewrite(lambda body: body.replace(b"127.0.0.1", b"127.0.0.2")),
    "a signature too long": Rewrite(lambda body: body.replace(b'"value": "', b'"value": "AAAA')),
}
"""One of another vault would have the next request, and its bearer token, sent there."""


def test_what_may_not_be_signed_with_is_told_of_as_what_may_not_be_read(
    place: Place, everything_logged: CapturedLog
) -> None:
    place.key(curve="P-256")
    place.sandbox.vault.deny("sign")
    tick(place.app(alg="ES256"))
    query = (ROOT / "infra" / "queries" / "VaultForbidden.kql").read_text("utf-8")
    messages = [line.split(" ", 2)[2] for line in everything_logged.lines if line.startswith("refresher ")]
    assert any(selects(query, each) for each in messages)


class TestWhatCanBeWrong:
    @pytest.mark.parametrize("fault", thinned(FAULTS, 4))
    def test_each_has_one_cause_and_a_next_step(self, place: Place, fault: str) -> None:
        """ServiceNow is not asked: it could only answer its one 401."""
        happen, cause, step = FAULTS[fault]
        happen(place, place.key(curve="P-256"))
        report = tick(place.app(alg="ES256"))
        assert (report.outcome, report.cause) == (Outcome.FAILED, cause)
        assert "signer" in report.message
        assert report.hint is not None
        assert step in report.hint
        assert place.sandbox.log.count(path="/oauth_token.do") == 0

    def test_a_vault_that_throttles_is_left_alone_for_as_long_as_it_says(self, place: Place) -> None:
        place.key(curve="P-256")
        asked_at = place.sandbox.clock.now()
        place.sandbox.faults.add(Fault(action=Throttle(7), service="vault:main", path="/keys/.*", times=1))
        assert worked(tick(place.app(alg="ES256"))) == REFRESHED
        assert place.sandbox.clock.now() - asked_at >= timedelta(seconds=7)

    def test_one_that_throttles_for_longer_than_a_run_is_named(self, place: Place) -> None:
        place.key(curve="P-256")
        place.sandbox.faults.add(Fault(action=Throttle(90), service="vault:main", path="/keys/.*"))
        report = tick(place.app(alg="ES256"))
        assert (report.outcome, report.cause) == (Outcome.FAILED, Cause.VAULT_THROTTLED)

    @pytest.mark.parametrize(
        ("happen", "cause"),
        thinned(
            [
                (lambda key: setattr(key, "enabled", False), Cause.SIGNING_KEY_DISABLED),
                (lambda key: setattr(key, "expires_on", key.created_on), Cause.SIGNING_KEY_EXPIRED),
                (lambda key: setattr(key, "operations", ("verify",)), Cause.SIGNING_KEY_UNFIT),
            ],
        ),
    )
    def test_what_happens_between_its_description_and_the_signature_is_told_by_its_code(
        self, place: Place, happen: Callable[[KeyVersion], object], cause: Cause
    ) -> None:
        key = place.key(curve="P-256")
        place.sandbox.faults.add(Fault(action=Interrupt(lambda: happen(key)), path="/keys/.*/sign"))
        assert tick(place.app(alg="ES256")).cause is cause

    @pytest.mark.parametrize("path", thinned(["/keys/signer/", "/keys/.*/sign"]))
    @pytest.mark.parametrize("answer", thinned(BROKEN, 4))
    def test_an_answer_that_is_none_is_tried_again(self, place: Place, path: str, answer: str) -> None:
        place.key(curve="P-256")
        after = 0 if path.endswith("sign") else 1  # the first is the vault's challenge
        place.sandbox.faults.add(Fault(action=BROKEN[answer], service="vault:main", path=path, after=after, times=1))
        assert worked(tick(place.app(alg="ES256"))) == REFRESHED

    @pytest.mark.parametrize("path", thinned(["/keys/signer/", "/keys/.*/sign"]))
    @pytest.mark.parametrize("answer", thinned(["something else", "no end of brackets", "a page"]))
    def test_one_that_comes_again_and_again_is_the_vaults_fault(self, place: Place, path: str, answer: str) -> None:
        place.key(curve="P-256")
        after = 0 if path.endswith("sign") else 1
        place.sandbox.faults.add(
            Fault(action=BROKEN[answer], service="vault:main", path=path, after=after, times=None)
        )
        assert tick(place.app(alg="ES256")).cause is Cause.VAULT_UNAVAILABLE

    def test_the_fallback_serves_where_the_key_does_not(self, place: Place) -> None:
        place.key(curve="P-256").enabled = False
        place.sandbox.vault.put("servicenow-refresh-token", place.sandbox.instance.authorize(place.application))
        report = tick(place.app(alg="ES256"))
        assert worked(report) == (Outcome.REFRESHED, Grant.REFRESH_TOKEN)
        assert [each.code for each in report.warnings][:1] == ["grant_failed"]
