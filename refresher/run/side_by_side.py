"""Connections side by side, with a bound: one alone needs no other thread."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

from refresher.model.connection import Connection

CONNECTIONS_AT_ONCE = 64
_T = TypeVar("_T")


def as_they_end(job: Callable[[Connection], _T], connections: Sequence[Connection]) -> Iterator[_T]:
    """What the job makes of each connection, the first to end first."""
    if len(connections) == 1:
        yield job(connections[0])
        return
    pool = _threads()
    try:
        for ended in as_completed([pool.submit(job, connection) for connection in connections]):
            yield ended.result()
    finally:
        # Interrupted: nothing else begins, and nobody waits for what has begun.
        pool.shutdown(wait=False, cancel_futures=True)


def in_order(job: Callable[[Connection], _T], connections: Sequence[Connection]) -> tuple[_T, ...]:
    """What the job makes of each connection, in their order."""
    if len(connections) == 1:
        return (job(connections[0]),)
    pool = _threads()
    try:
        return tuple(pool.map(job, connections))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(CONNECTIONS_AT_ONCE, thread_name_prefix="connection")
