"""Which cases of an exhaustive test `make test` runs as its representatives; `make test-all` runs every one.

What is combinatorial, random or a whole matrix finds the rare defect, and takes the time: it runs in CI. Each such
test keeps cases in the quick suite that walk its whole path.
"""

from collections.abc import Collection, Iterable
from typing import Any

import pytest
from _pytest.mark import ParameterSet


def sampled(cases: Iterable[Any], keep: Collection[Any]) -> list[ParameterSet]:
    """The cases of a `parametrize`, all but those to keep marked as exhaustive; one to keep must be a case."""
    listed = list(cases)
    assert keep, "an exhaustive test has a representative"
    assert all(each in listed for each in keep), "a representative is a case"
    return [_case(case, kept=case in keep) for case in listed]


def thinned(cases: Iterable[Any], step: int = 0) -> list[ParameterSet]:
    """The same, with the first of every `step` kept; without a step the first of all."""
    listed = list(cases)
    return [_case(case, kept=number % (step or len(listed)) == 0) for number, case in enumerate(listed)]


def _case(case: Any, *, kept: bool) -> ParameterSet:  # noqa: ANN401 - as pytest takes them
    made = case if isinstance(case, ParameterSet) else pytest.param(*(case if isinstance(case, tuple) else (case,)))
    return made if kept else pytest.param(*made.values, marks=[*made.marks, pytest.mark.exhaustive], id=made.id)


def each_once(pairs: Iterable[tuple[Any, Any]]) -> list[tuple[Any, Any]]:
    """A few of the pairs, so that both sides of each are met for the first time there."""
    met: tuple[set[Any], set[Any]] = (set(), set())
    found = []
    for one, other in pairs:
        if one not in met[0] and other not in met[1]:
            found.append((one, other))
            met[0].add(one)
            met[1].add(other)
    return found
