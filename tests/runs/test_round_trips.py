"""What each path costs in requests, to the last one, and which of them are on their way together."""

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import pytest
from azure.keyvault.secrets._shared import http_challenge_cache

from benchmarks.straight_line import refresh as straight_line
from refresher.app import App
from refresher.model.report import Outcome, RunRequest, Trigger
from refresher.policy.due import Reason
from sandbox import Fault, Personality, Sandbox
from sandbox.faults import Interrupt, Respond
from tests.conftest import MakeApp, tick
from tests.rounds import Round, Rounds, until_released

MINUTES = timedelta(minutes=1)
NAME = "servicenow"
TOKEN, COPY = f"{NAME}-oauth-token", f"{NAME}--action--global--oauth-token"
RECORD = f"{NAME}-refresh-record"
CONSUMER_SIDE = {f"GET {name}" for name in (TOKEN, COPY, RECORD)}
CREDENTIALS = {f"GET {NAME}-{name}" for name in ("client-id", "client-secret", "refresh-token")}
PUBLISHING = {f"PUT {TOKEN}", f"PUT {COPY}"}
TRYING = Counter({"GET /api/now/table/sys_user": 1})
ASKING = Counter({"POST /oauth_token.do": 1}) + TRYING


def cost(sandbox: Sandbox) -> Counter[str]:
    """Every request since the log was cleared: its method, and the secret's name or the path."""
    found: Counter[str] = Counter()
    for each in sandbox.log:
        name = each.path.removeprefix("/secrets/").split("/")[0] if each.service.startswith("vault") else each.path
        found[f"{each.method} {name}"] += 1
    return found


@pytest.fixture
def warm(sandbox: Sandbox, app: App) -> App:
    """The product after its first refresh, with an empty log."""
    sandbox.add_connection()
    tick(app)
    sandbox.log.clear()
    return app


def all_together(sandbox: Sandbox, many: int, method: str) -> threading.Barrier:
    """Let so many requests of a method pass only once all of them are there; later ones go by."""
    barrier = threading.Barrier(many, timeout=60)
    sandbox.faults.add(Fault(service="vault", method=method, action=Interrupt(do=barrier.wait), times=many))
    return barrier


def test_a_tick_with_nothing_due_is_one_round_of_reads_and_a_trial_of_the_token(sandbox: Sandbox, warm: App) -> None:
    sandbox.clock.advance(5 * MINUTES)
    barrier = all_together(sandbox, 3, "GET")
    assert tick(warm).outcome is Outcome.NOT_DUE
    assert cost(sandbox) == Counter(CONSUMER_SIDE) + TRYING
    assert not barrier.broken


@pytest.mark.parametrize(("minutes", "settings"), [(3, {}), (5, {"VERIFY_INTERVAL_MINUTES": "0"})])
def test_a_token_that_was_just_accepted_or_is_never_to_be_tried_costs_the_reads_alone(
    sandbox: Sandbox, make_app: MakeApp, minutes: int, settings: dict[str, str]
) -> None:
    sandbox.add_connection()
    app = make_app(**settings)
    tick(app)
    sandbox.log.clear()
    sandbox.clock.advance(minutes * MINUTES)
    assert tick(app).outcome is Outcome.NOT_DUE
    assert cost(sandbox) == Counter(CONSUMER_SIDE)


def test_a_warm_refresh_is_two_rounds_of_reads_one_token_request_one_probe_and_one_round_of_writes(
    sandbox: Sandbox, warm: App
) -> None:
    sandbox.clock.advance(50 * MINUTES)
    first = all_together(sandbox, 3, "GET")
    second = all_together(sandbox, 6, "GET")
    writes = all_together(sandbox, 2, "PUT")
    assert tick(warm).outcome is Outcome.REFRESHED
    assert cost(sandbox) == Counter(CONSUMER_SIDE) + Counter(CONSUMER_SIDE | CREDENTIALS | PUBLISHING) + ASKING
    assert not any(barrier.broken for barrier in (first, second, writes))


def hops_of(look: tuple[str, ...] = ()) -> list[Round]:
    """What a refresh with the blob lease asks, hop by hop, from its first reads on."""
    consumer_side = [f"vault {request}" for request in sorted(CONSUMER_SIDE)]
    credentials = [f"vault {request}" for request in sorted(CREDENTIALS)]
    return [
        (*consumer_side, *look),
        (f"leases PUT {NAME}", *consumer_side, *credentials),
        ("instance POST oauth_token.do", f"leases PUT {NAME}"),
        ("instance GET sys_user",),
        tuple(f"vault {request}" for request in sorted(PUBLISHING)),
    ]


@contextmanager
def in_rounds(sandbox: Sandbox, *rounds: Round) -> Iterator[None]:
    """Count hops; the release is held up until the report is there, since nobody waits for it."""
    reported = threading.Event()
    counted = Rounds(sandbox, *rounds)
    release = Interrupt(do=lambda: reported.wait(60))
    sandbox.faults.add(Fault(service="leases", method="PUT", action=release))
    yield
    counted.check()
    reported.set()


def forget_challenges() -> None:
    """As in a new process."""
    http_challenge_cache.clear()


class TestHopsWithTheBlobLease:
    """One refresher at a time costs no more hops than the straight line takes without."""

    @pytest.fixture
    def leased(self, sandbox: Sandbox, make_app: MakeApp) -> App:
        """After the first refresh with the lease, fifty minutes later."""
        sandbox.add_connection()
        app = make_app(LEASE_CONTAINER_URL=sandbox.leases.url)
        assert tick(app).outcome is Outcome.REFRESHED
        until_released(sandbox)
        sandbox.clock.advance(50 * MINUTES)
        return app

    def test_a_warm_refresh_takes_five(self, sandbox: Sandbox, leased: App) -> None:
        """Reads; the lease, and everything is read again; the token, and the note; the probe; writes."""
        rounds = hops_of()
        assert len(rounds) == 5
        with in_rounds(sandbox, *rounds):
            assert tick(leased).outcome is Outcome.REFRESHED

    @pytest.mark.usefixtures("leased")
    @pytest.mark.exhaustive
    def test_a_cold_one_takes_seven(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        """Both tokens beside the challenge; and a look at the lease, since nobody knows yet that it is free."""
        forget_challenges()
        reads, *rest = hops_of()
        challenge = (*reads, "identity GET token", "identity GET token")
        rounds = [challenge, reads, (f"leases HEAD {NAME}",), *rest]
        assert len(rounds) == 7
        with in_rounds(sandbox, *rounds):
            assert tick(make_app(LEASE_CONTAINER_URL=sandbox.leases.url)).outcome is Outcome.REFRESHED

    @pytest.mark.usefixtures("leased")
    @pytest.mark.exhaustive
    def test_a_cold_one_that_is_forced_takes_six(self, sandbox: Sandbox, make_app: MakeApp) -> None:
        """It is known beforehand that the lease will be wanted."""
        forget_challenges()
        reads, *rest = hops_of(look=(f"leases HEAD {NAME}",))
        challenge = (*hops_of()[0], "identity GET token", "identity GET token")
        with in_rounds(sandbox, challenge, reads, *rest):
            assert tick(make_app(LEASE_CONTAINER_URL=sandbox.leases.url), force=True).outcome is Outcome.REFRESHED

    def test_the_straight_line_takes_eight_and_seven(self, sandbox: Sandbox) -> None:
        """One request after the other, without a lease; its challenge is asked for once in a process."""
        sandbox.add_connection()
        hops = []
        for _ in range(2):
            sandbox.log.clear()
            straight_line(sandbox.vault.url, sandbox.instance.url)
            hops.append(len(sandbox.log))
        assert hops == [8, 7]

    @pytest.mark.exhaustive
    def test_nothing_due_touches_no_lease(self, sandbox: Sandbox, make_app: MakeApp, leased: App) -> None:
        tick(leased)
        until_released(sandbox)
        forget_challenges()
        reads = hops_of()[0]
        counted = Rounds(sandbox, (*reads, "identity GET token", "identity GET token"), reads)
        assert tick(make_app(LEASE_CONTAINER_URL=sandbox.leases.url)).outcome is Outcome.NOT_DUE
        counted.check()


@pytest.mark.exhaustive
def test_a_cold_process_asks_for_its_own_token_once_and_not_once_for_each_connection(
    sandbox: Sandbox, make_app: MakeApp
) -> None:
    """On a busy machine a request may come between the first answer and the SDK's own cache, and ask once more."""
    names = [f"c{number}" for number in range(12)]
    for name in names:
        sandbox.add_connection(name)
    settings = {name: {"instance_url": sandbox.instance.url} for name in names}
    app = make_app(SERVICENOW_CONNECTIONS=json.dumps(settings), SERVICENOW_INSTANCE_URL="")
    app.tick(RunRequest(trigger=Trigger.TIMER))
    assert 1 <= sandbox.log.count(service="identity") <= 2
    # The challenge meets those that are on their way before its first answer is there.
    assert 1 <= sandbox.log.count(service="vault", status=401) <= 3 * len(names)


@pytest.mark.exhaustive
def test_a_warm_worker_asks_for_no_token_and_meets_no_challenge(sandbox: Sandbox, warm: App) -> None:
    for _ in range(3):
        sandbox.clock.advance(50 * MINUTES)
        assert tick(warm).outcome is Outcome.REFRESHED
    assert sandbox.log.count(service="identity") == 0
    assert sandbox.log.count(status=401) == 0


def test_a_rotated_refresh_token_is_written_before_the_probe_and_everything_else(sandbox: Sandbox, warm: App) -> None:
    """Its first rotation is a surprise; from then on the record says before each request that one is under way."""
    sandbox.instance.personality = Personality(rotates=True)
    sandbox.clock.advance(50 * MINUTES)
    assert tick(warm).outcome is Outcome.REFRESHED
    order = [f"{each.method} {each.path.split('/')[2]}" for each in sandbox.log if each.method in {"PUT", "PATCH"}]
    assert order[0] == f"PUT {NAME}-refresh-token"
    paths = [each.path for each in sandbox.log]
    assert paths.index(f"/secrets/{NAME}-refresh-token", paths.index("/oauth_token.do")) < paths.index(
        "/api/now/table/sys_user"
    )


def test_a_target_that_differs_costs_a_look_at_everything_and_its_own_write(sandbox: Sandbox, warm: App) -> None:
    sandbox.vault.put(COPY, "CANARY-something-else")
    assert tick(warm).outcome is Outcome.PUBLISHED
    assert cost(sandbox) == Counter(CONSUMER_SIDE) + Counter(CONSUMER_SIDE | CREDENTIALS | {f"PUT {COPY}"})


def test_the_same_token_again_changes_tags_and_makes_no_version(sandbox: Sandbox, warm: App) -> None:
    sandbox.instance.personality = Personality(same_token=True)
    sandbox.clock.advance(50 * MINUTES)
    assert tick(warm).outcome is Outcome.UNCHANGED
    written = {key: count for key, count in cost(sandbox).items() if key.startswith(("PUT", "PATCH"))}
    assert written == {f"PATCH {TOKEN}": 1, f"PATCH {COPY}": 1}


@pytest.mark.exhaustive
def test_a_failure_costs_one_write_of_the_record_and_its_end_one_more(sandbox: Sandbox, warm: App) -> None:
    """The first failure makes the record; from then on it is changed in place, and success does not touch it."""
    refusing = Fault(path="/oauth_token.do", times=None, action=Respond(503))
    sandbox.faults.add(refusing)
    sandbox.clock.advance(50 * MINUTES)
    writes = []
    for minutes in (5, 5, 50, 0):
        sandbox.log.clear()
        tick(warm)
        writes.append(sorted(key for key in cost(sandbox) if RECORD in key and not key.startswith("GET")))
        sandbox.clock.advance(minutes * MINUTES)
        if len(writes) == 2:
            sandbox.faults.clear()
    assert writes == [[f"PUT {RECORD}"], [f"PATCH {RECORD}"], [f"PATCH {RECORD}"], []]


def test_several_connections_share_the_challenge_and_the_credential(sandbox: Sandbox, make_app: MakeApp) -> None:
    names = [f"c{number}" for number in range(8)]
    for name in names:
        sandbox.add_connection(name)
    settings = {name: {"instance_url": sandbox.instance.url} for name in names}
    app = make_app(SERVICENOW_CONNECTIONS=json.dumps(settings), SERVICENOW_INSTANCE_URL="")
    app.status(names[:1])
    sandbox.log.clear()
    reports = app.tick(RunRequest(trigger=Trigger.TIMER))
    assert {report.outcome for report in reports} == {Outcome.REFRESHED}
    assert {report.reason for report in reports} == {Reason.ACCESS_TOKEN_MISSING}
    assert sandbox.log.count(service="identity") == 0
    assert sandbox.log.count(status=401) == 0
