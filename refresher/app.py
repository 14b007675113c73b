"""The composition root: settings to working parts, made when first needed and kept for the life of the process.

Clients, their connections, the credential and the vault's challenge survive from one invocation of a warm worker
to the next; that is what makes a warm tick one round of reads.
"""

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from azure.core.credentials import TokenCredential
from azure.keyvault.secrets import SecretClient

from refresher.entra.identity import ManagedIdentity
from refresher.keyvault.clients import (
    REQUESTS_AT_ONCE,
    KeyClients,
    SharedCredential,
    expected_scope,
    make_secret_client as default_secret_client,
    make_transport,
    sdk_trust,
)
from refresher.keyvault.keys import Keys
from refresher.keyvault.reading import read_consumer_side
from refresher.keyvault.vaults import Vaults
from refresher.lease.blob import BlobLease
from refresher.lease.container import TOKEN_SCOPE
from refresher.lease.file import LOCK_DIRECTORY, FileLease
from refresher.lease.lease import Lease
from refresher.model.causes import Cause
from refresher.model.clock import Clock, Deadline, system_clock
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError, VaultError
from refresher.model.report import RunReport, RunRequest, Trigger
from refresher.model.tokens import Secret
from refresher.run.budget import Budget
from refresher.run.order import Refresher
from refresher.run.parts import Parts
from refresher.run.side_by_side import CONNECTIONS_AT_ONCE, in_order
from refresher.run.tick import Tick, time_for
from refresher.run.verify import Verification
from refresher.servicenow.answers import Probe
from refresher.servicenow.instances import ServiceNow
from refresher.settings.load import Settings, load_settings
from refresher.telemetry import emit, say_problem

if TYPE_CHECKING:
    import httpx

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

    def __init__(
        self,
        environ: Mapping[str, str],
        clock: Clock | None = None,
        *,
        make_secret_client: Callable[[str, TokenCredential], SecretClient] | None = None,
        instance_transport: "httpx.BaseTransport | None" = None,
        credential: TokenCredential | None = None,
        executor: Executor | None = None,
        lease: Lease | None = None,
        identity: ManagedIdentity | None = None,
    ) -> None:
        self.clock = clock or system_clock()
        self._environ = environ
        self._make_secret_client = make_secret_client or default_secret_client
        self._servicenow = ServiceNow(self.clock, transport=instance_transport)
        self._lock = threading.RLock()
        self._settings: Settings | None = None
        self._credential = credential
        self._requests = executor or ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="vault")
        self._owns_requests = executor is None
        self._lease = lease
        self._identity = identity or ManagedIdentity(environ, self.clock, make_transport)
        self._parts: Parts | None = None
        self._trials: Trials | None = None

    @property
    def settings(self) -> Settings:
        """The settings. Raises SettingsError, at every call until they are right."""
        if self._settings is None:
            self._settings = load_settings(self._environ)
        return self._settings

    def note_tick(self) -> None:
        """Note, beside all else, that the timer fired; say what is wrong with its schedule. Raises SettingsError."""
        if self.settings.schedule_problem is not None:
            say_problem(self.settings.schedule_problem)
        self._requests.submit(self.lease().note_tick)

    def timer(self) -> "TimerStatus":
        """Whether the timer fires, by what its last tick left and by the settings of this process."""
        from refresher.status.timer import judge_timer, read_last_tick  # noqa: PLC0415 - a tick does not need it

        settings = self.settings
        last = read_last_tick(self.lease())
        return judge_timer(
            last,
            shared=settings.lease_container_url is not None,
            tick=settings.tick,
            now=self.clock.now(),
            schedule_problem=settings.schedule_problem,
            disabled=self._environ.get("AzureWebJobs.refresh_tokens.Disabled", "").strip().lower() in {"true", "1"},
        )

    def lease(self) -> Lease:
        """Who keeps refreshers apart, and the mark of the last tick. Raises SettingsError."""
        return self._make_parts().lease

    def tick(self, request: RunRequest) -> tuple[RunReport, ...]:
        """Run every connection, side by side; each is reported, whatever happens to the others."""
        return self._run(self.settings.connections, request)

    def refresh(self, names: Iterable[str], request: RunRequest) -> tuple[RunReport, ...]:
        """Run the named connections. Raises UnknownConnectionError."""
        return self._run(self._connections(names), request)

    def authorize(self, name: str, request: RunRequest, authorization: "Authorization") -> RunReport:
        """Start a new life with what a person brought. Raises UnknownConnectionError."""
        from refresher.run.by_hand import authorize  # noqa: PLC0415 - a tick does not need it

        return self._emitted(authorize(self._make_parts(), self.connection(name), request, authorization))

    def revoke(self, name: str, request: RunRequest) -> RunReport:
        """Revoke a connection's tokens at ServiceNow. Raises UnknownConnectionError."""
        from refresher.run.by_hand import revoke  # noqa: PLC0415 - as above

        return self._emitted(revoke(self._make_parts(), self.connection(name), request))

    def probe(self, names: Iterable[str]) -> tuple[Probe | None, ...]:
        """Try the stored access tokens; None where there is none. Raises UnknownConnectionError and VaultError."""
        from refresher.run.by_hand import probe  # noqa: PLC0415 - as above

        parts = self._make_parts()
        return in_order(lambda each: probe(parts, each), self._connections(names))

    def client_id(self, name: str) -> Secret:
        """The OAuth application's client id. Raises UnknownConnectionError and VaultError."""
        from refresher.run.by_hand import client_id  # noqa: PLC0415 - as above

        return client_id(self._make_parts(), self.connection(name))

    def due(self) -> tuple[str, ...]:
        """Names of the connections that a tick would do something for: one round of reads and one trial each."""
        from refresher.run.dispatch import due  # noqa: PLC0415 - only a tick with a queue needs it

        parts = self._make_parts()
        return due(parts, self._reading_time(parts.settings.connections))

    def forced_over_http_at(self, names: Iterable[str] | None) -> tuple[datetime, ...]:
        """When the stored tokens were issued that a call over HTTP asked for. Raises UnknownConnectionError.

        By the tokens themselves: what one instance of the app remembers, another does not know.
        """
        connections = self._connections(names)
        deadline = Deadline(self.clock, self.settings.run_deadline)

        def asked_at(connection: Connection) -> datetime | None:
            try:
                token = read_consumer_side(self.vaults(), connection, deadline).access_token
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
        from refresher.keyvault.listing import Listing  # noqa: PLC0415 - a tick does not need it
        from refresher.status.reader import look  # noqa: PLC0415 - as above
        from refresher.status.trials import Trials  # noqa: PLC0415 - as above

        settings, vaults = self.settings, self.vaults()
        connections, listing = self._connections(names), Listing(vaults)
        reading_time = self._reading_time(connections)
        found = in_order(lambda each: look(vaults, listing, each, self.clock, reading_time()), connections)
        wanted = () if offline else (each for one in found for each in one.to_try(self.clock.now()))
        with self._lock:
            self._trials = self._trials or Trials(self._servicenow, self.clock)
        trials = self._trials.of(wanted, anew=anew)
        timing, now = settings.timing, self.clock.now()
        return tuple(each.judged(trials.get(each.connection.name, {}), timing, now, offline=offline) for each in found)

    def history(self, name: str) -> "History":
        """What was published when, from the versions. Raises UnknownConnectionError and VaultError."""
        from refresher.status.history import read_history  # noqa: PLC0415 - a tick does not need it

        connection = self.connection(name)
        vault, deadline = self.vaults().main, Deadline(self.clock, _LISTING_TAKES)
        names = (connection.access_token_name, connection.record_name)
        versions, records = self._requests.map(lambda name: vault.versions(name, deadline), names)
        return read_history(connection.name, versions, records, self.clock.now())

    def doctor(self, names: Iterable[str] | None = None) -> "tuple[Check, ...]":
        """Try every precondition. Raises SettingsError and UnknownConnectionError."""
        from refresher.doctor.doctor import EXAMINED_AT_ONCE, JOBS_THAT_ASK, Doctor  # noqa: PLC0415 - as above
        from refresher.doctor.surroundings import Surroundings  # noqa: PLC0415 - as above

        connections = self._connections(names)
        return Doctor(
            settings=self.settings,
            clock=self.clock,
            surroundings=Surroundings(environ=self._environ, credential=self.credential),
            vaults=self.vaults(),
            servicenow=self._servicenow,
            lease=self.lease(),
            look=self.status,
            timer=self.timer,
            share=self._shares(JOBS_THAT_ASK * len(connections), EXAMINED_AT_ONCE, _EXAMINING_TAKES),
        ).examine(connections)

    def _run(self, connections: Sequence[Connection], request: RunRequest) -> tuple[RunReport, ...]:
        parts, settings = self._make_parts(), self.settings
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

    def vaults(self) -> Vaults:
        """All vaults of the process. Raises SettingsError."""
        return self._make_parts().vaults

    def credential(self) -> TokenCredential:
        """The one credential of the process: its token cache serves all clients."""
        with self._lock:
            if self._credential is None:
                # OpenSSL reads the bundle beside the modules that are loaded meanwhile.
                self._requests.submit(sdk_trust)
                self._credential = SharedCredential()
                self._prepare_token(expected_scope(self.settings.vault_url))
            return self._credential

    def _prepare_token(self, scope: str) -> None:
        """Let a token come while the vault's challenge is under way: it would cost a cold process a hop of its own.

        Elsewhere than on Azure's app platform, tokens come from programs that a second question starts anew.
        """
        credential = self.credential()
        if isinstance(credential, SharedCredential):
            scopes = (scope,) if self._environ.get("IDENTITY_ENDPOINT") else ()
            self._requests.submit(credential.prepare, *scopes)

    def _make_parts(self) -> Parts:
        settings = self.settings
        with self._lock:
            if self._parts is None:
                vaults = Vaults(
                    settings.vault_url,
                    self.clock,
                    self._requests,
                    lambda url: self._make_secret_client(url, self.credential()),
                    Keys(self.clock, lambda url: KeyClients(url, self.credential())),
                )
                self._parts = Parts(
                    settings=settings,
                    clock=self.clock,
                    vaults=vaults,
                    servicenow=self._servicenow,
                    lease=self._lease or self._make_lease(settings),
                    identity=self._identity,
                )
            return self._parts

    def _make_lease(self, settings: Settings) -> Lease:
        if settings.lease_container_url is None:
            return FileLease(LOCK_DIRECTORY, self.clock, settings.vault_url)
        self._prepare_token(TOKEN_SCOPE)
        url = settings.lease_container_url
        return BlobLease(url, self.credential(), self.clock, self._requests, transport=make_transport())

    def close(self) -> None:
        """Close what was opened. A worker does not need it: the process ends with its connections."""
        if self._owns_requests:
            self._requests.shutdown()
        if self._parts is not None:
            self._parts.vaults.close()
        close = getattr(self._credential, "close", None)
        if close is not None:
            close()
