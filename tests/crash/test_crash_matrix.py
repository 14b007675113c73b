"""The crash matrix: a process killed at every request of a run, and what the next tick makes of it.

For each scenario, a run is repeated. Each time it is killed (SIGKILL, a real process over real HTTPS) at another
request: held before its effect, and where it changes something, also after. Then five minutes pass and another
process ticks. There must be an access token that the instance accepts, in the vault and in its copy, and a refresh
token that the instance accepts. A point is named after its request; it is a subtest.
"""

import re
import signal
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from refresher.model.causes import Cause
from refresher.model.report import Outcome, RunReport
from sandbox import Personality, Sandbox, SandboxClock
from sandbox.trial.host import environment
from tests.crash.theatre import COPY, TICK, Point, Runner, Scenario, Theatre
from tests.sampling import sampled

DOCUMENT = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
ROTATING, SAME_TOKEN = Personality(rotates=True), Personality(same_token=True)
SCENARIOS = {
    "refresh": Scenario(),
    "refresh, cold process": Scenario(cold=True),
    "refresh, blob lease": Scenario(blob_lease=True),
    "refresh, same token": Scenario(personality=SAME_TOKEN),
    "refresh, rotating": Scenario(personality=ROTATING),
    "refresh, rotating, fallback": Scenario(personality=ROTATING, fallback=True),
    "first run": Scenario(tokens="none"),
    "first run, rotating": Scenario(personality=ROTATING, tokens="none"),
    "fallback": Scenario(tokens="dead", fallback=True),
    "fallback, rotating": Scenario(personality=ROTATING, tokens="dead", fallback=True),
    "fallback, same token": Scenario(personality=SAME_TOKEN, tokens="dead", fallback=True),
    "authorize": Scenario(job="authorize"),
    "authorize, storing the password": Scenario(job="authorize --store"),
    "authorize, refresh token dead": Scenario(job="authorize", tokens="dead"),
}
LOST = {
    "refresh, rotating": {"after POST oauth_token.do", "before GET refresh-token, time 2", "before PUT refresh-token"},
    "first run, rotating": {
        "after POST oauth_token.do",
        "before GET refresh-token, time 3",
        "before PUT refresh-token, time 2",
    },
}
"""Where a rotating refresh token is gone: ServiceNow has replaced it, and nobody has stored what it sent."""

WRITES = [f"PUT vault:main /secrets/servicenow-{kind}" for kind in ("refresh-token", "oauth-token")]


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    made = Runner()
    yield made
    made.close()


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    clock = SandboxClock(datetime.now(UTC), flowing=False)
    with Sandbox(clock=clock) as running, environment(running.environ()):
        yield running


@pytest.fixture
def theatre(sandbox: Sandbox, runner: Runner, scenario: str) -> Iterator[Theatre]:
    made = Theatre(sandbox, SCENARIOS[scenario], runner)
    yield made
    made.close()


SOME = ("refresh, rotating", 6)
"""Every sixth point of the scenario in which most can be lost, for `make test`."""


@pytest.mark.parametrize(("scenario", "every"), sampled([*((name, 1) for name in SCENARIOS), SOME], [SOME]))
def test_every_crash_heals(theatre: Theatre, scenario: str, every: int, subtests: pytest.Subtests) -> None:
    """A run that is killed at any request leaves nothing that the next tick does not mend."""
    points = theatre.rehearse()
    tried = points[::every]
    lost: set[str] = set()
    for number, point in enumerate(tried, 1):
        with subtests.test(msg=f"{number:02} {point}"):
            theatre.prepare()
            # Requests that read side by side need not be as many each time.
            assert theatre.kill_at(point) or point.before
            report = come_back(theatre)
            if report.outcome is Outcome.AUTHORIZATION_REQUIRED:
                # That it rotates is not known before its first use.
                known = scenario == "refresh, rotating"
                assert report.cause is (Cause.ROTATED_TOKEN_LOST if known else Cause.REFRESH_TOKEN_REFUSED)
                lost.add(str(point))
            else:
                check_vault(theatre)
                assert report.working
    assert lost == LOST.get(scenario, set()) & {str(point) for point in tried}
    changes = {point.brief for point in points if not point.before}
    assert documented(scenario) == changes, f"tests/README.md names other changes of {scenario!r}"


def come_back(theatre: Theatre) -> RunReport:
    """What happens next: a tick, or the person whose command was cut short starts it again."""
    scenario = theatre.scenario
    if scenario.blob_lease:
        # Nobody waits for a lease that its holder cannot give back: it ends by itself.
        assert theatre.tick().outcome in {Outcome.BUSY, Outcome.REFRESHED, Outcome.NOT_DUE}
    theatre.sandbox.clock.advance(TICK)
    if scenario.job != "tick" and scenario.tokens == "dead":
        return theatre.authorize()
    report = theatre.tick()
    if report.cause is Cause.ACCESS_DENIED:
        # One generic refusal may pass: a person is called when it repeats.
        theatre.sandbox.clock.advance(TICK)
        report = theatre.tick()
    return report


def check_vault(theatre: Theatre) -> None:
    """Check that ServiceNow accepts what is stored, and that the copy is the same."""
    instance = theatre.sandbox.instance
    assert instance.is_living_refresh_token(theatre.value("refresh-token"))
    assert instance.is_living_access_token(theatre.value("oauth-token"))
    assert theatre.value(COPY) == theatre.value("oauth-token")


def documented(scenario: str) -> set[str]:
    """What a scenario's run changes, as tests/README.md lists it."""
    row = re.search(rf"^\| {re.escape(scenario)} \| (.+) \|$", DOCUMENT, re.MULTILINE)
    return set(re.findall(r"`(.+?)`", row[1])) if row else set()


@pytest.mark.exhaustive
@pytest.mark.parametrize("scenario", ["refresh, rotating, fallback"])
@pytest.mark.parametrize("before", [True, False], ids=["before", "after"])
@pytest.mark.parametrize("request_", ["POST instance /oauth_token.do", *WRITES])
def test_a_worker_that_is_asked_to_end_heals_as_well(theatre: Theatre, request_: str, before: bool) -> None:
    """SIGTERM ends it at once, as it ends any program that does not catch it: no handler delays the platform."""
    theatre.prepare()
    assert theatre.kill_at(Point(request=request_, occurrence=0, before=before), signal.SIGTERM)
    theatre.sandbox.clock.advance(TICK)
    assert theatre.tick().working
    check_vault(theatre)
