"""When a failed request is sent again: exponential full jitter, `Retry-After`, bounded by tries and a deadline.

tenacity turns the loop; what varies (time, sleep, randomness) comes from the `Clock`, and the whole run shares
one `Deadline`. A wait that would outlast the deadline is not begun: the error goes up at once.
"""

from collections.abc import Callable
from typing import cast

import tenacity

from refresher.model.clock import Clock, Deadline
from refresher.model.errors import RefresherError

_LONGEST = tenacity.wait_exponential(multiplier=0.5, max=8.0)
"""Seconds: the wait is a random share of it (full jitter), and never less than `Retry-After`."""


def retrying(
    clock: Clock,
    deadline: Deadline,
    *,
    attempts: int,
    takes: float = 0.0,
    should_retry: Callable[[RefresherError], bool] = lambda error: error.transient,
    on_progress: Callable[[str], None] = lambda _: None,
) -> tenacity.Retrying:
    """A retry loop for requests that fail with a `RefresherError`; the last error is raised as it is.

    A try is not begun with less than `takes` seconds left for it.
    """

    def wait(state: tenacity.RetryCallState) -> float:
        return max(clock.random() * _LONGEST(state), _error(state).retry_after or 0.0)

    def stop(state: tenacity.RetryCallState) -> bool:
        return state.attempt_number >= attempts or state.upcoming_sleep + takes >= deadline.remaining()

    def announce(state: tenacity.RetryCallState) -> None:
        on_progress(f"{_error(state).message}; try {state.attempt_number + 1} in {state.upcoming_sleep:.1f} s")

    return tenacity.Retrying(
        sleep=clock.sleep,
        wait=wait,
        stop=stop,
        retry=tenacity.retry_if_exception(lambda error: isinstance(error, RefresherError) and should_retry(error)),
        before_sleep=announce,
        reraise=True,
    )


def _error(state: tenacity.RetryCallState) -> RefresherError:
    """What a try ended with: after anything else there is no other."""
    return cast("RefresherError", state.outcome and state.outcome.exception())
