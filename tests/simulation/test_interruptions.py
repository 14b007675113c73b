"""Each thing that the model draws in the middle of a request, once in the middle of every request of a run.

A person who stores a refresh token, and a process that stands still for ten minutes while another machine's ticks.
"""

from collections.abc import Iterator

import pytest

from sandbox.personality import Personality
from tests.sampling import sampled
from tests.simulation.test_model import Promise
from tests.simulation.trouble import MINUTE, Late, StoredByHand, Trouble
from tests.simulation.world import World

LONGEST = 26
"""Requests, more than a run has."""


def histories(happens: Late | StoredByHand, *, rotates: bool, first_use: bool, every: int) -> Iterator[World]:
    """A world for each request of a refresh, in which that happens there; first use: nobody has sent the token yet."""
    for number in range(0, LONGEST, every):
        world = World(Personality(rotates=rotates), fallback=False)
        world.tick()
        if first_use:
            world.authorize_again()
        world.wait(50 * MINUTE)
        world.meet([Trouble(what=("", "/"), method=None, after=number, times=1, happens=happens)])
        world.tick()
        yield world
        world.close()


CASES = [
    (happens, rotates, first_use, 1)
    for happens in (StoredByHand(), Late(600))
    for rotates in (False, True)
    for first_use in (False, True)
]


SOME = (StoredByHand(), True, True, 8)
"""Every eighth request, for `make test`."""


@pytest.mark.parametrize(("happens", "rotates", "first_use", "every"), sampled([*CASES, SOME], [SOME]))
def test_the_promise_holds_wherever_it_happens(
    happens: Late | StoredByHand, *, rotates: bool, first_use: bool, every: int
) -> None:
    """And the next tick but one serves again."""
    happened = 0
    for world in histories(happens, rotates=rotates, first_use=first_use, every=every):
        promise = Promise()
        promise.world = world
        promise.the_promise_holds()
        run = world.last
        assert run is not None
        happened += run.frozen or run.stored_by_hand is not None
        if run.by_hand is not None:
            assert world.refresh_token() == run.by_hand or rotates
        world.wait(5 * MINUTE)
        world.tick()
        promise.the_promise_holds()
        world.wait(5 * MINUTE)
        world.tick()
        assert world.is_served()
        assert world.refresh_token_lives()
    assert happened > 10 // every
