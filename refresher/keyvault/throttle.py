"""What keeps all requests of a process to one vault within what the vault bears.

Rules: a pause that the vault asked for (429 with `Retry-After`) is kept by every request, not only by the one that
was refused; and new versions are written no faster than the vault accepts them, since a refusal costs everybody a
pause. Both are told in seconds of the `Clock`, and neither begins a wait that outlasts the run's deadline. Who insists
goes ahead instead of giving up then: a rotated refresh token is lost if it is not stored, and the vault may take it.
"""

import threading
from collections import deque

from refresher.model.causes import Cause
from refresher.model.clock import Clock, Deadline
from refresher.model.errors import VaultError

CREATIONS = 300
"""New versions that Key Vault accepts in ten seconds, of one vault.
Source: Azure Key Vault service limits, secret transactions."""
CREATION_WINDOW = 10.2
"""Seconds: those ten, and a margin for requests that take longer on their way than those behind them."""

_LONGEST_PAUSE = 120.0


class Gate:
    """Holds back every request to a vault that asked for a pause, whichever connection it was made for."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._opens_at = 0.0
        self._lock = threading.Lock()

    def close(self, seconds: float) -> None:
        """Let nobody through for that long, or until the next tick asks again, whatever something on the way said."""
        with self._lock:
            self._opens_at = max(self._opens_at, self._clock.monotonic() + min(seconds, _LONGEST_PAUSE))

    def wait(self, deadline: Deadline, *, insist: bool = False) -> None:
        """Wait until the vault may be asked again. Raises VaultError where that is after the deadline."""
        pause = self._opens_at - self._clock.monotonic()
        if pause <= 0:
            return
        if pause >= deadline.remaining():
            if insist:
                return
            message = "Key Vault asked for a pause that outlasts this run"
            raise VaultError(message, cause=Cause.VAULT_THROTTLED, transient=True, retry_after=pause)
        self._clock.sleep(pause)


class Pace:
    """Lets so many through in a window of time, in the order in which they came."""

    def __init__(self, clock: Clock, many: int, window: float) -> None:
        self._clock = clock
        self._window = window
        self._turns: deque[float] = deque(maxlen=many)
        self._lock = threading.Lock()

    def wait(self, deadline: Deadline, *, insist: bool = False) -> None:
        """Wait for a turn. Raises VaultError, and takes none, where it would come after the deadline."""
        with self._lock:
            now = self._clock.monotonic()
            full = len(self._turns) == self._turns.maxlen
            turn = max(now, self._turns[0] + self._window) if full else now
            pause = turn - now
            if pause >= deadline.remaining() and pause > 0:
                if insist:
                    self._turns.append(now)
                    return
                message = "this process has used up what Key Vault accepts in new versions for the moment"
                raise VaultError(message, cause=Cause.VAULT_THROTTLED, transient=True, retry_after=pause)
            self._turns.append(turn)
        if pause > 0:
            self._clock.sleep(pause)
