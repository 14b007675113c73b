"""Reads how a connection stands: one parallel round of reads, judged by `health` with what was tried of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from refresher.keyvault.listing import Listing
from refresher.keyvault.reading import Overview, read_overview
from refresher.keyvault.vaults import Vaults
from refresher.model.causes import Cause
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError, unforeseen
from refresher.model.timing import Timing
from refresher.model.tokens import Secret
from refresher.settings.load import Settings
from refresher.status.health import ConnectionStatus, State, evaluate
from refresher.status.tried import Trial, is_worth_trying


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was read of one connection."""

    connection: Connection
    timing: Timing
    found: Overview

    def to_try(self, now: datetime) -> Iterator[tuple[Connection, Secret]]:
        """Every different token that its consumers read and that may live; none where nothing is to be probed."""
        if self.connection.probe_path is None:
            return
        for token in (self.found.side.access_token, *(state.holds for state in self.found.side.targets)):
            if token is not None and not token.unread and is_worth_trying(token, now):
                yield self.connection, token.value

    def judged(self, trial: Trial, now: datetime, *, offline: bool) -> ConnectionStatus:
        """How it stands, by what was tried of it."""
        try:
            return evaluate(
                self.connection,
                self.found.side,
                self.found.refresh_token,
                self.timing,
                now,
                fallback_ready=self.found.fallback_ready,
                key=self.found.key,
                blocked=self.found.blocked,
                trial=trial,
                untried="--offline" if offline else "PROBE_PATH is empty",
            )
        except Exception as error:  # noqa: BLE001 - isolation: one connection's surprise must not stop the others
            surprise = unforeseen(error)
        return Unreadable(connection=self.connection, error=surprise).judged()


@dataclass(frozen=True, slots=True, kw_only=True)
class Unreadable:
    """Why a connection could not be read."""

    connection: Connection
    error: RefresherError

    def to_try(self, _: datetime) -> Iterator[tuple[Connection, Secret]]:
        """Nothing."""
        return iter(())

    def judged(self, *_: object, **__: object) -> ConnectionStatus:
        """A token that was disabled is none for its readers; of anything else nothing can be said."""
        disabled = self.error.cause is Cause.SECRET_DISABLED
        return ConnectionStatus(
            connection=self.connection.name,
            instance_url=self.connection.instance_url,
            state=State.EXPIRED if disabled else State.UNKNOWN,
            working=False if disabled else None,
            message=self.error.message,
            next_step=self.error.hint,
            cause=self.error.cause,
        )


class StatusReader:
    """Reads the status of connections, for one look. Safe to share between threads."""

    def __init__(self, settings: Settings, clock: Clock, vaults: Vaults) -> None:
        self._clock = clock
        self._vaults = vaults
        self._timing = settings.timing
        self._listing = Listing(vaults)

    def read(self, connection: Connection, allowed: timedelta) -> Looked | Unreadable:
        """Read one connection; a vault that cannot be read in the time allowed is an answer of its own."""
        deadline = Deadline(self._clock, allowed)
        try:
            found = read_overview(self._vaults, connection, self._clock.now(), deadline, self._listing)
        except RefresherError as error:
            return Unreadable(connection=connection, error=error)
        except Exception as error:  # noqa: BLE001 - isolation: one connection's surprise must not stop the others
            return Unreadable(connection=connection, error=unforeseen(error))
        return Looked(
            connection=connection,
            timing=self._timing,
            found=found,
        )
