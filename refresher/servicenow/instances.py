"""Opens sessions with instances. httpx, and what it trusts, are loaded when the first session is near."""

import ssl
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from refresher.loading import one_at_a_time
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError
from refresher.model.tokens import Secret
from refresher.servicenow.answers import ANSWER_TAKES, Probe, Verdict
from refresher.servicenow.turns import Turns
from refresher.tls import tls_context

if TYPE_CHECKING:
    import httpx

    from refresher.servicenow.session import Session


_TRIAL_TAKES = 1.0
"""Seconds. With less left, a trial is not begun."""
TRYING_TAKES = timedelta(seconds=5)
"""For all tokens that are tried together, however many there are."""
_AT_ONCE = 64
Wanted = tuple[Connection, Secret]


class ServiceNow:
    """The way to every instance, for one process. Requests to the same one take turns."""

    def __init__(self, clock: Clock, *, transport: "httpx.BaseTransport | None" = None) -> None:
        self._clock = clock
        self._transport = transport
        self._turns: dict[str, Turns] = {}

    def prepare(self) -> ssl.SSLContext:
        """Load what a session needs; done before it is needed, it costs no time of its own."""
        with one_at_a_time:
            import refresher.servicenow.session  # noqa: F401, PLC0415 - a tick with nothing due needs no httpx

        return tls_context("SSL_CERT_FILE", "SSL_CERT_DIR")

    @contextmanager
    def session(
        self, connection: Connection, deadline: Deadline, answer_takes: float = ANSWER_TAKES
    ) -> "Iterator[Session]":
        """A session for one run of one connection."""
        from refresher.servicenow.http import Wire  # noqa: PLC0415 - as above
        from refresher.servicenow.session import Session  # noqa: PLC0415 - as above

        tls, turns = self.prepare(), self.turns(connection)
        wire = Wire(connection.name, self._clock, deadline, tls, self._transport, turns, answer_takes=answer_takes)
        try:
            yield Session(connection, self._clock, deadline, wire)
        finally:
            wire.disconnect()

    def try_token(self, connection: Connection, token: Secret, deadline: Deadline) -> Probe:
        """Ask the instance of a connection what it thinks of a token. Never raises; it costs nobody's credentials."""
        if deadline.remaining() < _TRIAL_TAKES:
            return Probe(verdict=Verdict.UNKNOWN, remark="its turn did not come in time")
        try:
            with self.session(connection, deadline, _TRIAL_TAKES) as session:
                return session.probe(token)
        except RefresherError as error:
            return Probe(verdict=Verdict.UNKNOWN, remark=error.message)
        except Exception as error:  # noqa: BLE001 - isolation: a surprise about one instance must not stop the others
            return Probe(verdict=Verdict.UNKNOWN, remark=f"unexpected {type(error).__name__}")

    def try_side_by_side(self, wanted: Sequence[Wanted], deadline: Deadline) -> tuple[Probe, ...]:
        """What each instance says of its token; what had no turn before the deadline is not known. Never raises."""
        if len(wanted) == 1:
            return (self.try_token(wanted[0][0], wanted[0][1], deadline),)
        with ThreadPoolExecutor(min(_AT_ONCE, max(1, len(wanted))), thread_name_prefix="trial") as pool:
            return tuple(pool.map(lambda each: self.try_token(each[0], each[1], deadline), wanted))

    def turns(self, connection: Connection) -> Turns:
        """The turns at a connection's instance, which it shares with the other connections of that instance."""
        return self._turns.setdefault(connection.instance_url, Turns(self._clock))
