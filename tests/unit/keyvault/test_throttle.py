"""A pause that the vault asked for is kept by all, and new versions keep to what the vault accepts."""

from datetime import timedelta

import pytest

from refresher.keyvault.throttle import CREATION_WINDOW, CREATIONS, Gate, Pace
from refresher.keyvault.vault import Vault
from refresher.model.causes import Cause
from refresher.model.clock import Clock, Deadline
from refresher.model.errors import VaultError
from refresher.model.tokens import Secret
from sandbox import Fault, SandboxClock
from sandbox.direct import DirectSandbox, Process
from sandbox.faults import Throttle
from sandbox.trial.host import product_clock
from sandbox.vault import Throttling

MINUTE = timedelta(minutes=1)


@pytest.fixture
def clock() -> Clock:
    return product_clock(SandboxClock())


class TestGate:
    """Closed by one request, for every request."""

    def test_it_is_open_until_it_is_closed(self, clock: Clock) -> None:
        Gate(clock).wait(Deadline(clock, MINUTE))
        assert clock.monotonic() == 0

    def test_everybody_waits_until_the_pause_is_over(self, clock: Clock) -> None:
        gate = Gate(clock)
        gate.close(7.0)
        gate.wait(Deadline(clock, MINUTE))
        assert clock.monotonic() == 7.0
        gate.wait(Deadline(clock, MINUTE))
        assert clock.monotonic() == 7.0

    def test_a_shorter_pause_does_not_open_it_early(self, clock: Clock) -> None:
        gate = Gate(clock)
        gate.close(7.0)
        gate.close(1.0)
        gate.wait(Deadline(clock, MINUTE))
        assert clock.monotonic() == 7.0

    def test_a_pause_that_outlasts_the_run_is_not_begun(self, clock: Clock) -> None:
        gate = Gate(clock)
        gate.close(60.0)
        with pytest.raises(VaultError) as caught:
            gate.wait(Deadline(clock, MINUTE))
        assert (caught.value.cause, caught.value.retry_after) == (Cause.VAULT_THROTTLED, 60.0)
        assert clock.monotonic() == 0

    def test_what_cannot_be_had_again_does_not_give_up_for_a_pause(self, clock: Clock) -> None:
        """It is refused by the vault itself, if at all."""
        gate = Gate(clock)
        gate.close(60.0)
        gate.wait(Deadline(clock, MINUTE), insist=True)
        assert clock.monotonic() == 0
        gate.wait(Deadline(clock, 2 * MINUTE), insist=True)
        assert clock.monotonic() == 60.0


class TestPace:
    """So many in a window, in the order in which they came."""

    def test_a_burst_passes_at_once_up_to_the_limit(self, clock: Clock) -> None:
        pace = Pace(clock, 3, 10.0)
        for _ in range(3):
            pace.wait(Deadline(clock, MINUTE))
        assert clock.monotonic() == 0

    def test_the_next_one_waits_until_the_first_has_left_the_window(self, clock: Clock) -> None:
        pace = Pace(clock, 3, 10.0)
        pace.wait(Deadline(clock, MINUTE))
        clock.sleep(4.0)
        turns = []
        for _ in range(6):
            pace.wait(Deadline(clock, MINUTE))
            turns.append(clock.monotonic())
        assert turns == [4.0, 4.0, 10.0, 14.0, 14.0, 20.0]

    def test_no_window_of_time_ever_holds_more_than_the_limit(self, clock: Clock) -> None:
        pace = Pace(clock, 5, 10.0)
        turns = []
        for number in range(60):
            clock.sleep((number * 7 % 5) / 2)
            pace.wait(Deadline(clock, MINUTE))
            turns.append(clock.monotonic())
        assert all(later - earlier >= 10.0 for earlier, later in zip(turns, turns[5:], strict=False))

    def test_who_cannot_wait_takes_no_turn_from_those_who_can(self, clock: Clock) -> None:
        pace = Pace(clock, 1, 10.0)
        pace.wait(Deadline(clock, MINUTE))
        with pytest.raises(VaultError) as caught:
            pace.wait(Deadline(clock, timedelta(seconds=5)))
        assert (caught.value.cause, caught.value.retry_after) == (Cause.VAULT_THROTTLED, 10.0)
        pace.wait(Deadline(clock, MINUTE))
        assert clock.monotonic() == 10.0

    def test_what_cannot_be_had_again_goes_ahead_and_is_counted(self, clock: Clock) -> None:
        pace = Pace(clock, 1, 10.0)
        pace.wait(Deadline(clock, MINUTE))
        clock.sleep(4.0)
        pace.wait(Deadline(clock, timedelta(seconds=5)), insist=True)
        assert clock.monotonic() == 4.0
        pace.wait(Deadline(clock, MINUTE))
        assert clock.monotonic() == 14.0

    def test_it_keeps_within_the_documented_limit_and_wastes_little_of_it(self) -> None:
        limit = Throttling()
        assert limit.creations >= CREATIONS
        assert 0.9 < CREATIONS / CREATION_WINDOW / (limit.creations / limit.per_seconds) < 0.99


def test_who_waits_for_a_turn_keeps_a_pause_that_the_vault_asks_for_meanwhile() -> None:
    sandbox, clock = DirectSandbox(), product_clock(SandboxClock())
    url = sandbox.environ()["KEY_VAULT_URL"]

    def write() -> None:
        vault.write(
            "any",
            Secret("CANARY-value"),
            content_type="",
            tags={},
            expires_on=None,
            stored=None,
            deadline=Deadline(clock, MINUTE),
        )

    def sleep(seconds: float) -> None:
        """While one waits, another's request is refused."""
        with pytest.raises(VaultError):
            vault.read("other", Deadline(clock, timedelta(seconds=1)))
        clock.sleep(seconds)

    vault = Vault(url, Process(sandbox).make_secret_client(url), clock._replace(sleep=sleep))
    for _ in range(CREATIONS):
        write()
    began = clock.monotonic()
    sandbox.faults.add(Fault(service="vault", method="GET", action=Throttle(20)))
    write()
    assert clock.monotonic() - began >= 20.0
