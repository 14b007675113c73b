"""A clock that can be moved, shared by the sandbox's servers and by what is tried in it."""

import threading
import time
from datetime import UTC, datetime, timedelta

START = datetime(2026, 1, 5, 8, 0, tzinfo=UTC)


class SandboxClock:
    """Stands still until moved; with `flowing`, real time passes on top. Safe to share between threads."""

    def __init__(self, start: datetime = START, *, flowing: bool = False) -> None:
        self._lock = threading.Lock()
        self._now = start
        self._elapsed = 0.0
        self._flowing = flowing
        self._began = time.monotonic()

    def flow(self) -> None:
        """From now on let real time pass as well."""
        with self._lock:
            self._flowing, self._began = True, time.monotonic()

    def now(self) -> datetime:
        """Aware UTC."""
        with self._lock:
            return self._now + timedelta(seconds=self._flowed())

    def monotonic(self) -> float:
        """Seconds, never going back."""
        with self._lock:
            return self._elapsed + self._flowed()

    def advance(self, span: timedelta | None = None, **parts: float) -> None:
        """Move the clock, back as well: `advance(minutes=5)`."""
        moved = span if span is not None else timedelta(**parts)
        with self._lock:
            self._now += moved
            self._elapsed += max(0.0, moved.total_seconds())

    def suspend(self, span: timedelta) -> None:
        """Let that time pass on a machine that sleeps: of its clocks, only that of the day tells so afterwards."""
        with self._lock:
            self._now += span

    def sleep(self, seconds: float) -> None:
        """Let time pass: really where the clock flows, otherwise at once."""
        if self._flowing:
            time.sleep(seconds)
        else:
            self.advance(timedelta(seconds=seconds))

    def _flowed(self) -> float:
        return time.monotonic() - self._began if self._flowing else 0.0
