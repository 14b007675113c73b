"""Connections side by side, with a bound: one alone needs no other thread."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import suppress
from typing import TypeVar

from refresher.model.connection import Connection

CONNECTIONS_AT_ONCE = 64
_T = TypeVar("_T")


def as_they_end(job: Callable[[Connection], _T], connections: Sequence[Connection], seconds: float) -> Iterator[_T]:
    """What the job makes of each connection, the first to end first; after so many seconds, nothing more."""
    if len(connections) == 1:
        yield job(connections[0])
        return
    pool = _threads()
    try:
        with suppress(TimeoutError):
            for ended in as_completed([pool.submit(job, connection) for connection in connections], seconds):
                yield ended.result()
    finally:
        # Interrupted, or too late: nothing else begins, and nobody waits for what has begun.
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
