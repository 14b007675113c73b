"""What only one grant needs keeps the other grants from nothing: missing, disabled, forbidden or unusable."""

from collections.abc import Callable, Mapping
from datetime import timedelta

import pytest

from refresher.model.causes import Cause
from refresher.model.grants import Grant
from refresher.model.report import Outcome, WarningCode
from sandbox.direct import DirectSandbox
from tests.conftest import direct, tick
from tests.names import PASSWORD
from tests.sampling import thinned

pytestmark = pytest.mark.wire("any")

KEY = "servicenow-jwt-key"
NEAR_THE_END = timedelta(days=95)
BY_PASSWORD = {"SERVICENOW_FALLBACK_GRANT": "password"}
BY_JWT = {"SERVICENOW_FALLBACK_GRANT": "jwt_bearer", "SERVICENOW_JWT": '{"sub": "servicenow.integration"}'}


def disable(name: str) -> Callable[[DirectSandbox], object]:
    """Disable the newest version of a secret."""

    def act(sandbox: DirectSandbox) -> None:
        sandbox.vault.put(name, "CANARY-disabled")
        sandbox.vault.versions(name)[-1].enabled = False

    return act


MISHAPS: Mapping[str, tuple[dict[str, str], Callable[[DirectSandbox], object], Cause]] = {
    "password missing": (BY_PASSWORD, lambda sandbox: sandbox.vault.delete(PASSWORD), Cause.SECRET_MISSING),
    "password disabled": (BY_PASSWORD, disable(PASSWORD), Cause.SECRET_DISABLED),
    "password forbidden": (BY_PASSWORD, lambda sandbox: sandbox.vault.deny("get", PASSWORD), Cause.VAULT_FORBIDDEN),
    "key missing": (BY_JWT, lambda _: None, Cause.SECRET_MISSING),
    "key disabled": (BY_JWT, disable(KEY), Cause.SECRET_DISABLED),
    "key that is none": (BY_JWT, lambda sandbox: sandbox.vault.put(KEY, "CANARY-not-a-key"), Cause.SECRET_INVALID),
}


@pytest.mark.parametrize("mishap", thinned(MISHAPS))
def test_a_fallback_grant_that_cannot_be_used_does_not_stop_the_refresh_token(mishap: str) -> None:
    settings, happen, _ = MISHAPS[mishap]
    sandbox, app = direct(settings, username=True)
    happen(sandbox)
    assert tick(app).outcome is Outcome.REFRESHED


@pytest.mark.parametrize("mishap", thinned(MISHAPS))
def test_not_even_when_it_would_come_first_and_then_it_is_said(mishap: str) -> None:
    """In the renewal window (password) or past the computed end, which a sliding life outlives."""
    settings, happen, _ = MISHAPS[mishap]
    outlives = {**settings, "SERVICENOW_REFRESH_TOKEN_LIFETIME": str(24 * 3600)}
    sandbox, app = direct(outlives, username=True)
    happen(sandbox)
    sandbox.clock.advance(NEAR_THE_END)
    report = tick(app)
    assert (report.outcome, report.grant) == (Outcome.REFRESHED, Grant.REFRESH_TOKEN)
    (message,) = [each.message for each in report.warnings if each.code is WarningCode.GRANT_FAILED]
    assert message.startswith(f"the grant {settings['SERVICENOW_FALLBACK_GRANT']} failed, and refresh_token served")


@pytest.mark.parametrize("mishap", thinned(MISHAPS))
def test_where_it_is_needed_it_is_named_and_nothing_is_written(mishap: str) -> None:
    settings, happen, cause = MISHAPS[mishap]
    sandbox, app = direct(settings, refresh_token=False, username=True)
    sandbox.vault.put("servicenow-refresh-record", "as a crash leaves it", tags={"last-outcome": "started"})
    happen(sandbox)
    sandbox.log.clear()
    report = tick(app)
    assert (report.outcome, report.cause, report.attempts) == (Outcome.FAILED, cause, 0)
    assert sandbox.log.count(service="instance") == 0
    assert {each.method for each in sandbox.log.select(service="vault")} == {"GET"}


def test_a_refresh_token_that_is_not_needed_may_be_forbidden() -> None:
    """A connection that lives by client_credentials never reads one."""
    sandbox, app = direct({"SERVICENOW_GRANT": "client_credentials"})
    sandbox.vault.deny("get", "servicenow-refresh-token")
    assert tick(app).outcome is Outcome.REFRESHED


def test_a_refresh_token_that_is_needed_and_disabled_is_an_error() -> None:
    """Somebody disabled it on purpose: no new life is begun behind their back."""
    sandbox, app = direct(BY_PASSWORD, username=True)
    disable("servicenow-refresh-token")(sandbox)
    assert (report := tick(app)).cause is Cause.SECRET_DISABLED
    assert "servicenow-refresh-token" in report.message
    assert sandbox.log.count(service="instance") == 0
