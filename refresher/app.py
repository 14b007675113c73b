"""What can be asked of the product, in one process: runs, and questions about how it stands.

Each use loads what it needs; what it works with, `run/process` makes once.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Unpack

from refresher.keyvault.reading import read_consumer_side
from refresher.model.causes import Cause
from refresher.model.clock import Clock, Deadline, system_clock
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError, VaultError
from refresher.model.report import RunReport, RunRequest, Trigger
from refresher.model.tokens import Secret
from refresher.policy.verify import is_tried_each_tick
from refresher.run.budget import Budget
from refresher.run.order import Refresher
from refresher.run.process import Process, Substitutes
from refresher.run.side_by_side import CONNECTIONS_AT_ONCE, in_order
from refresher.run.tick import Tick, time_for
from refresher.run.verify import Verification
from refresher.servicenow.answers import Probe
from refresher.settings.load import Settings
from refresher.telemetry import emit, say_problem

if TYPE_CHECKING:
    from refresher.model.check import Check
    from refresher.run.by_hand import Authorization
    from refresher.status.connection_status import ConnectionStatus
    from refresher.status.history import History
    from refresher.status.timer import TimerStatus
    from refresher.status.trials import Trials

_READING_TAKES = timedelta(seconds=180)
"""For the status of all connections; the platform's front end ends a call after 230 s."""
_EXAMINING_TAKES = timedelta(minutes=5)
"""For all that `doctor` asks, the status included."""
_LISTING_TAKES = timedelta(minutes=2)
"""A year of refreshes is some 400 pages of versions."""


class UnknownConnectionError(RefresherError):
    """No connection of that name is configured."""

    def __init__(self, name: str, known: Iterable[str]) -> None:
        super().__init__(
            f"there is no connection {name!r}",
            cause=Cause.BAD_REQUEST,
            hint=f"Configured connections: {', '.join(known)}",
        )


class App:
    """The product, for one process. Nothing is read or opened before the first call that needs it."""

    def __init__(self, environ: Mapping[str, str], clock: Clock | None = None, **given: Unpack[Substitutes]) -> None:
        self.clock = clock or system_clock()
        self.process = Process(environ, self.clock, given)
        self._lock = threading.Lock()
        self._trials: Trials | None = None

    @property
    def settings(self) -> Settings:
        """The settings. Raises SettingsError, at every call until they are right."""
        return self.process.settings

    def note_tick(self) -> None:
        """Note, beside all else, that the timer fired; say what is wrong with its schedule. Raises SettingsError."""
        if self.settings.schedule_problem is not None:
            say_problem(self.settings.schedule_problem)
        self.process.requests.submit(self.process.parts().lease.note_tick)

    def timer(self) -> "TimerStatus":
        """Whether the timer fires, by what its last tick left and by the settings of this process."""
        from refresher.status.timer import judge_timer, read_last_tick  # noqa: PLC0415 - a tick does not need it

        settings = self.settings
        disabled = self.process.environ.get("AzureWebJobs.refresh_tokens.Disabled", "")
        return judge_timer(
            read_last_tick(self.process.parts().lease),
            shared=settings.lease_container_url is not None,
            tick=settings.tick,
            now=self.clock.now(),
            schedule_problem=settings.schedule_problem,
            disabled=disabled.strip().lower() in {"true", "1"},
        )

    def tick(self, request: RunRequest) -> tuple[RunReport, ...]:
        """Run every connection, side by side; each is reported, whatever happens to the others."""
        return self._run(self.settings.connections, request)

    def refresh(self, names: Iterable[str], request: RunRequest) -> tuple[RunReport, ...]:
        """Run the named connections. Raises UnknownConnectionError."""
        return self._run(self._connections(names), request)

    def authorize(self, name: str, request: RunRequest, authorization: "Authorization") -> RunReport:
        """Start a new life with what a person brought. Raises UnknownConnectionError."""
        from refresher.run.by_hand import authorize  # noqa: PLC0415 - a tick does not need it

        return self._emitted(authorize(self.process.parts(), self.connection(name), request, authorization))

    def revoke(self, name: str, request: RunRequest) -> RunReport:
        """Revoke a connection's tokens at ServiceNow. Raises UnknownConnectionError."""
        from refresher.run.by_hand import revoke  # noqa: PLC0415 - as above

        return self._emitted(revoke(self.process.parts(), self.connection(name), request))

    def probe(self, names: Iterable[str]) -> tuple[Probe | None, ...]:
        """Try the stored access tokens; None where there is none. Raises UnknownConnectionError and VaultError."""
        from refresher.run.by_hand import probe  # noqa: PLC0415 - as above

        parts = self.process.parts()
        return in_order(lambda each: probe(parts, each), self._connections(names))

    def client_id(self, name: str) -> Secret:
        """The OAuth application's client id. Raises UnknownConnectionError and VaultError."""
        from refresher.run.by_hand import client_id  # noqa: PLC0415 - as above

        return client_id(self.process.parts(), self.connection(name))

    def due(self) -> tuple[str, ...]:
        """Names of the connections that a tick would do something for: one round of reads and one trial each."""
        from refresher.run.dispatch import due  # noqa: PLC0415 - only a tick with a queue needs it

        parts = self.process.parts()
        return due(parts, self._reading_time(parts.settings.connections))

    def forced_over_http_at(self, names: Iterable[str] | None) -> tuple[datetime, ...]:
        """When the stored tokens were issued that a call over HTTP asked for. Raises UnknownConnectionError.

        By the tokens themselves: what one instance of the app remembers, another does not know.
        """
        connections = self._connections(names)
        deadline = Deadline(self.clock, self.settings.run_deadline)

        def asked_at(connection: Connection) -> datetime | None:
            try:
                token = read_consumer_side(self.process.parts().vaults, connection, deadline).access_token
            except VaultError:
                return None  # the run says so
            return token.life[0] if token is not None and token.life and token.trigger == Trigger.HTTP else None

        return tuple(at for at in in_order(asked_at, connections) if at is not None)

    def connection(self, name: str) -> Connection:
        """A configured connection. Raises UnknownConnectionError."""
        connections = {each.name: each for each in self.settings.connections}
        if name not in connections:
            raise UnknownConnectionError(name, connections)
        return connections[name]

    def _connections(self, names: Iterable[str] | None) -> tuple[Connection, ...]:
        return self.settings.connections if names is None else tuple(map(self.connection, names))

    def status(
        self, names: Iterable[str] | None = None, *, offline: bool = False, anew: bool = True
    ) -> "tuple[ConnectionStatus, ...]":
        """How the connections stand: read side by side, then tried, unless `offline`, at their instances.

        What was tried within half a minute is tried again only if `anew`. Raises UnknownConnectionError.
        """
        from refresher.keyvault.listing import Listing, runs_in_app  # noqa: PLC0415 - a tick does not need it
        from refresher.status.reader import look  # noqa: PLC0415 - as above
        from refresher.status.trials import Trials  # noqa: PLC0415 - as above

        settings, vaults = self.settings, self.process.parts().vaults
        connections = self._connections(names)
        listing = Listing(vaults, by_app=runs_in_app(self.process.environ))
        reading_time = self._reading_time(connections)
        found = in_order(lambda each: look(vaults, listing, each, self.clock, reading_time()), connections)
        wanted = () if offline else (each for one in found for each in one.to_try(self.clock.now()))
        with self._lock:
            self._trials = self._trials or Trials(self.process.servicenow, self.clock)
        trials = self._trials.of(wanted, anew=anew)
        timing, now = settings.timing, self.clock.now()
        return tuple(each.judged(trials.get(each.connection.name, {}), timing, now, offline=offline) for each in found)

    def history(self, name: str) -> "History":
        """What was published when, from the versions. Raises UnknownConnectionError and VaultError."""
        from refresher.status.history import read_history  # noqa: PLC0415 - a tick does not need it

        connection = self.connection(name)
        vault, deadline = self.process.parts().vaults.main, Deadline(self.clock, _LISTING_TAKES)
        names = (connection.access_token_name, connection.record_name)
        versions, records = self.process.requests.map(lambda name: vault.versions(name, deadline), names)
        return read_history(connection.name, versions, records, self.clock.now())

    def doctor(self, names: Iterable[str] | None = None) -> "tuple[Check, ...]":
        """Try every precondition. Raises SettingsError and UnknownConnectionError."""
        from refresher.doctor.doctor import EXAMINED_AT_ONCE, JOBS_THAT_ASK, Doctor  # noqa: PLC0415 - as above
        from refresher.doctor.surroundings import Surroundings  # noqa: PLC0415 - as above

        connections = self._connections(names)
        return Doctor(
            settings=self.settings,
            clock=self.clock,
            surroundings=Surroundings(environ=self.process.environ, credential=self.process.credential),
            vaults=self.process.parts().vaults,
            servicenow=self.process.servicenow,
            lease=self.process.parts().lease,
            look=self.status,
            timer=self.timer,
            share=self._shares(JOBS_THAT_ASK * len(connections), EXAMINED_AT_ONCE, _EXAMINING_TAKES),
        ).examine(connections)

    def _run(self, connections: Sequence[Connection], request: RunRequest) -> tuple[RunReport, ...]:
        parts, settings = self.process.parts(), self.settings
        if any(is_tried_each_tick(each, settings.timing) for each in connections):
            self.process.prepare_session()
        verification = Verification(parts.servicenow, self.clock, settings.timing, request.trigger)
        tick = Tick(Refresher(parts), verification, settings, self.clock, time_for(request, settings))
        return tick.run(connections, request)

    def _reading_time(self, connections: Sequence[Connection]) -> Callable[[], timedelta]:
        return self._shares(len(connections), CONNECTIONS_AT_ONCE, _READING_TAKES)

    def _shares(self, many: int, at_once: int, allowed: timedelta) -> Callable[[], timedelta]:
        """What each of so many may take that write nothing; nothing where the time for all of them is over."""
        longest, nothing = self.settings.run_deadline, timedelta()
        budget = Budget(self.clock, allowed, runs=many, at_once=at_once, longest=longest, writing=nothing)
        return lambda: budget.share() or nothing

    def _emitted(self, report: RunReport) -> RunReport:
        emit(report, self.clock.now())
        return report

    def close(self) -> None:
        """Close what was opened. A worker does not need it: the process ends with its connections."""
        self.process.close()
