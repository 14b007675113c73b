"""Faults on demand: which requests they meet, and what happens to those."""

import re
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sandbox.http import Request, Response


@dataclass(frozen=True, slots=True)
class Respond:
    """Answer this; with `effect`, the request was carried out, as behind a gateway that gave up waiting."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    effect: bool = False


@dataclass(frozen=True, slots=True)
class Throttle:
    """Answer 429; `retry_after` in seconds, as a date, or not at all."""

    retry_after: float | datetime | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """Close the connection; the request has no effect."""


@dataclass(frozen=True, slots=True)
class DropAfter:
    """Carry the request out, then close the connection: the answer is lost."""


@dataclass(frozen=True, slots=True)
class Refuse:
    """No connection comes about: the request certainly had no effect."""


@dataclass(frozen=True, slots=True)
class Stall:
    """No answer ever comes, until the client's patience ends; with `effect`, the request was carried out."""

    effect: bool = False


@dataclass(frozen=True, slots=True)
class Interrupt:
    """Do something at the request, before or after its effect: another program's run, say."""

    do: Callable[[], object]
    before: bool = True


@dataclass(frozen=True, slots=True)
class Truncate:
    """Carry the request out, and cut its answer short."""


@dataclass(frozen=True, slots=True)
class Garbage:
    """Carry the request out, and answer 200 with this."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Rewrite:
    """Carry the request out, and put something else in the place of its answer's body; or half of that."""

    change: Callable[[bytes], bytes]
    cut_short: bool = False


class Hold:
    """Stop a request before or after its effect until released."""

    def __init__(self, *, before: bool = True) -> None:
        self.before = before
        self.reached = threading.Event()
        self.abandoned = False
        self.met = ""
        """The request that it met: method, service and path."""
        self._released = threading.Event()

    def release(self) -> None:
        """Let it go on."""
        self._released.set()

    def abandon(self) -> None:
        """Let it go, without the effect where that is still to come: its sender is no more."""
        self.abandoned = True
        self._released.set()

    def wait(self) -> None:
        """Called by the server."""
        self.reached.set()
        self._released.wait(30)


Action = Respond | Throttle | Drop | DropAfter | Refuse | Stall | Interrupt | Truncate | Garbage | Rewrite | Hold


@dataclass(slots=True, kw_only=True)
class Fault:
    """Meets requests whose service and path match (regular expressions), after `after` of them, `times` times."""

    action: Action
    service: str = ""
    method: str | None = None
    path: str | None = None
    after: int = 0
    times: int | None = 1

    def meets(self, service: str, request: Request) -> bool:
        """Whether this request is met; counts those that match."""
        if not re.match(self.service, service) or (self.method and self.method != request.method):
            return False
        if self.path is not None and not re.match(self.path, request.path):
            return False
        if self.after > 0:
            self.after -= 1
            return False
        if self.times is None:
            return True
        self.times -= 1
        return self.times >= 0


class Faults:
    """The faults that are set. The first that meets a request wins."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, fault: Fault) -> Fault:
        """Set a fault."""
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Take all faults back, and let held requests go on."""
        with self._lock:
            for fault in self._faults:
                if isinstance(fault.action, Hold):
                    fault.action.release()
            self._faults.clear()

    def find(self, service: str, request: Request) -> Action | None:
        """The action for this request."""
        with self._lock:
            action = next((fault.action for fault in self._faults if fault.meets(service, request)), None)
            if isinstance(action, Hold):
                action.met = f"{request.method} {service} {request.path}"
            return action


def throttled(action: Throttle) -> Response:
    """The 429 of a throttle."""
    headers = {}
    if isinstance(action.retry_after, datetime):
        moment = action.retry_after.astimezone(UTC)
        headers["Retry-After"] = moment.strftime("%a, %d %b %Y %H:%M:%S GMT")
    elif action.retry_after is not None:
        headers["Retry-After"] = f"{action.retry_after:g}"
    return Response(status=429, headers=headers)
