"""When a failed request is sent again: exponential full jitter, `Retry-After`, bounded by tries and a deadline.

tenacity turns the loop; what varies (time, sleep, randomness) comes from the `Clock`, and the whole run shares
one `Deadline`. A wait that would outlast the deadline is not begun: the error goes up at once.
"""

from collections.abc import Callable
from dataclasses import dataclass

import tenacity

from refresher.model.clock import Clock, Deadline
from refresher.model.errors import RefresherError

_FIRST_WAIT = 0.5
_LONGEST_WAIT = 8.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Wait:
    """A pause before another try, for whoever shows progress. Seconds."""

    seconds: float
    next_attempt: int
    error: RefresherError


def backoff(attempt: int, retry_after: float | None, random: float) -> float:
    """Seconds to wait after the `attempt`-th failure (from 1): full jitter, never less than `Retry-After`."""
    jittered = random * min(_LONGEST_WAIT, _FIRST_WAIT * 2.0 ** (attempt - 1))
    return max(jittered, retry_after or 0.0)


def retrying(
    clock: Clock,
    deadline: Deadline,
    *,
    attempts: int,
    takes: float = 0.0,
    should_retry: Callable[[RefresherError], bool] = lambda error: error.transient,
    on_wait: Callable[[Wait], None] = lambda _: None,
) -> tenacity.Retrying:
    """A retry loop for requests that fail with a `RefresherError`; the last error is raised as it is.

    A try is not begun with less than `takes` seconds left for it.
    """

    def wait(state: tenacity.RetryCallState) -> float:
        return backoff(state.attempt_number, _error(state).retry_after, clock.random())

    def stop(state: tenacity.RetryCallState) -> bool:
        return state.attempt_number >= attempts or state.upcoming_sleep + takes >= deadline.remaining()

    def announce(state: tenacity.RetryCallState) -> None:
        on_wait(Wait(seconds=state.upcoming_sleep, next_attempt=state.attempt_number + 1, error=_error(state)))

    return tenacity.Retrying(
        sleep=clock.sleep,
        wait=wait,
        stop=stop,
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, RefresherError) and should_retry(error)),
        before_sleep=announce,
        reraise=True,
    )


def _error(state: tenacity.RetryCallState) -> RefresherError:
    error = state.outcome.exception() if state.outcome else None
    if not isinstance(error, RefresherError):
        message = "only a RefresherError is retried"
        raise TypeError(message)
    return error
