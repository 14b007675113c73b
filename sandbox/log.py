"""The requests that reached the sandbox, without a value of any of them."""

import re
import threading
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from sandbox.http import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """One request and the status of its answer (0: none was sent)."""

    service: str
    method: str
    path: str
    status: int
    at: datetime
    query_keys: tuple[str, ...]
    form_keys: tuple[str, ...]
    grant_type: str | None
    has_cookie: bool
    has_authorization: bool
    content_type: str
    user_agent: str


class RequestLog:
    """A list of exchanges that can be asked. Patterns are regular expressions; `service` and `path` match a prefix."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._exchanges: list[Exchange] = []

    def add(self, service: str, request: Request, status: int, at: datetime) -> None:
        """Note a request."""
        form = request.form
        exchange = Exchange(
            service=service,
            method=request.method,
            path=request.path,
            status=status,
            at=at,
            query_keys=tuple(request.params),
            form_keys=tuple(form),
            grant_type=form.get("grant_type"),
            has_cookie="cookie" in request.headers,
            has_authorization="authorization" in request.headers,
            content_type=request.headers.get("content-type", ""),
            user_agent=request.headers.get("user-agent", ""),
        )
        with self._lock:
            self._exchanges.append(exchange)

    def clear(self) -> None:
        """Forget what was."""
        with self._lock:
            self._exchanges.clear()

    def select(
        self, *, service: str = "", method: str | None = None, path: str = "", status: int | None = None
    ) -> list[Exchange]:
        """The exchanges that fit."""
        return [
            each
            for each in self
            if re.match(service, each.service)
            and re.match(path, each.path)
            and method in {None, each.method}
            and status in {None, each.status}
        ]

    def count(self, *, service: str = "", method: str | None = None, path: str = "", status: int | None = None) -> int:
        """How many exchanges fit."""
        return len(self.select(service=service, method=method, path=path, status=status))

    def summary(self) -> Counter[str]:
        """Requests by method, service and path."""
        return Counter(f"{each.method} {each.service} {each.path}" for each in self)

    def __iter__(self) -> Iterator[Exchange]:
        with self._lock:
            return iter(list(self._exchanges))

    def __len__(self) -> int:
        return len(self._exchanges)
