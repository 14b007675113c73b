"""A vault whose policy has a say in the expiry of its secrets: no date that it refuses costs the value."""

from datetime import timedelta

import pytest

from refresher.keyvault.vault import Vault
from refresher.model.clock import Deadline
from refresher.model.report import Outcome, WarningCode
from refresher.model.tokens import Secret
from sandbox import Fault, Personality
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Respond
from sandbox.trial.host import product_clock
from sandbox.vault import Policy
from tests.conftest import direct, tick
from tests.names import RECORD
from tests.sampling import sampled, thinned

MADE = ("servicenow-refresh-token", "servicenow-oauth-token", "servicenow--action--global--oauth-token")
DAY = timedelta(days=1)
POLICIES = {
    "none": Policy(),
    "an expiry demanded": Policy(demands_expiry=True),
    "at most 90 days": Policy(at_most=90 * DAY),
    "at most 30 days": Policy(at_most=30 * DAY),
    "at most a day": Policy(at_most=DAY),
    "at most 90 days, demanded": Policy(at_most=90 * DAY, demands_expiry=True),
    "at least 20 days": Policy(at_least=20 * DAY),
    "at least 20 days, demanded": Policy(at_least=20 * DAY, demands_expiry=True),
    "a content type demanded": Policy(demands_content_type=True, demands_expiry=True),
}


def lives(sandbox: DirectSandbox) -> bool:
    """Whether consumers and the next refresh have what works."""
    token, refresh_token = sandbox.vault.get(MADE[1]), sandbox.vault.get(MADE[0])
    assert token is not None
    assert refresh_token is not None
    living = sandbox.instance.is_living_access_token(token.value)
    return living and sandbox.instance.is_living_refresh_token(refresh_token.value)


@pytest.mark.parametrize("policy", sampled(POLICIES, ["none", "at most 90 days, demanded"]))
@pytest.mark.parametrize("rotates", sampled([False, True], [True]))
def test_no_date_costs_the_value(policy: str, *, rotates: bool) -> None:
    sandbox, app = direct({}, Personality(rotates=rotates))
    sandbox.vault.policy = POLICIES[policy]
    for _ in range(4):
        assert tick(app).outcome is Outcome.REFRESHED
        assert lives(sandbox)
        sandbox.clock.advance(timedelta(minutes=50))


def test_the_date_is_the_true_one_or_the_latest_that_is_accepted() -> None:
    ends = {}
    for policy in ("none", "at most 90 days", "at most 30 days"):
        sandbox, app = direct({}, Personality(rotates=True))
        sandbox.vault.policy = POLICIES[policy]
        tick(app)
        held = sandbox.vault.get(MADE[0])
        assert held is not None
        assert held.expires_on is not None
        ends[policy] = round((held.expires_on - sandbox.clock.now()) / DAY)
        assert held.tags["expires-at"].startswith("2026-04-15"), "the true end stands in the tags"
    assert ends == {"none": 100, "at most 90 days": 90, "at most 30 days": 30}


def test_what_the_policy_refuses_is_said() -> None:
    sandbox, app = direct({}, Personality(rotates=True))
    sandbox.vault.policy = POLICIES["at most 90 days"]
    report = tick(app)
    (warning,) = [each for each in report.warnings if each.code is WarningCode.EXPIRY_REFUSED]
    assert "90 days" in warning.message
    assert sandbox.vault.url in warning.message


PASSING = Respond(
    403,
    {"Content-Type": "application/json"},
    b'{"error": {"code": "Forbidden", "message": "No", "innererror": {"code": "AccessDenied"}}}',
)


@pytest.mark.parametrize("name", thinned([MADE[0], MADE[1]]))
def test_a_refusal_that_passes_is_not_taken_for_a_policy_for_long(name: str) -> None:
    """The first date that is accepted after all shows that no policy refuses it."""
    sandbox, app = direct({}, Personality(rotates=True))
    tick(app)
    sandbox.clock.advance(timedelta(minutes=50))
    sandbox.faults.add(Fault(service="vault", method="PUT", path=f"/secrets/{name}(/|$)", action=PASSING))
    tick(app)
    sandbox.clock.advance(timedelta(minutes=50))
    report = tick(app)
    assert WarningCode.EXPIRY_REFUSED not in {each.code for each in report.warnings}


@pytest.mark.parametrize("policy", sampled([each for each in POLICIES if "at" in each], ["at least 20 days"]))
def test_and_one_that_lasts_is_said_at_every_refresh(policy: str) -> None:
    sandbox, app = direct({}, Personality(rotates=True))
    sandbox.vault.policy = POLICIES[policy]
    for _ in range(3):
        report = tick(app)
        assert WarningCode.EXPIRY_REFUSED in {each.code for each in report.warnings}
        sandbox.clock.advance(timedelta(minutes=50))


@pytest.mark.parametrize("ticks", sampled([200, 10], [10]))
def test_every_secret_that_the_product_makes_has_an_expiry_and_a_content_type(ticks: int) -> None:
    """For two months; the record's is renewed long before it ends, and not often."""
    sandbox, app = direct({}, Personality(rotates=True))
    renewed = set()
    for _ in range(ticks):
        assert tick(app).outcome in {Outcome.REFRESHED, Outcome.AUTHORIZATION_REQUIRED, Outcome.FAILED}
        for name in (*MADE, RECORD):
            held = sandbox.vault.get(name)
            assert held is not None, name
            assert held.content_type, name
            assert held.expires_on is not None, name
            if name == RECORD:
                assert held.expires_on > sandbox.clock.now()
                renewed.add(held.expires_on)
        sandbox.clock.advance(timedelta(hours=8))
    assert len(renewed) <= 2


def test_a_password_has_one_only_where_it_is_demanded() -> None:
    for policy, dated in (("none", False), ("an expiry demanded", True)):
        sandbox = DirectSandbox()
        sandbox.vault.policy = POLICIES[policy]
        clock = product_clock(sandbox.clock)
        vault = Vault(sandbox.vault.url, Process(sandbox).make_secret_client(sandbox.vault.url), clock)
        vault.write(
            "servicenow-password",
            Secret("CANARY-new"),
            content_type="text/plain",
            tags={},
            expires_on=None,
            stored=None,
            deadline=Deadline(clock, timedelta(seconds=30)),
        )
        stored = sandbox.vault.get("servicenow-password")
        assert stored is not None
        assert (stored.expires_on is not None) is dated
