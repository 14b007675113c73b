"""Reads how a connection stands: one parallel round of reads, judged by `health` with what was tried of it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from refresher.keyvault.found import Overview
from refresher.keyvault.listing import Listing
from refresher.keyvault.reading import read_overview
from refresher.keyvault.vaults import Vaults
from refresher.model.causes import Cause
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError, unforeseen
from refresher.model.timing import Timing
from refresher.model.tokens import Secret
from refresher.status.connection_status import ConnectionStatus, State
from refresher.status.health import evaluate
from refresher.status.tried import Trial, is_worth_trying


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """What was read of one connection, or why that could not be."""

    connection: Connection
    found: Overview | RefresherError

    def to_try(self, now: datetime) -> Iterator[tuple[Connection, Secret]]:
        """Every different token that its consumers read and that may live; none where nothing is to be probed."""
        if isinstance(self.found, RefresherError) or self.connection.probe_path is None:
            return
        for token in (self.found.side.access_token, *(state.holds for state in self.found.side.targets)):
            if token is not None and not token.unread and is_worth_trying(token, now):
                yield self.connection, token.value

    def judged(self, trial: Trial, timing: Timing, now: datetime, *, offline: bool) -> ConnectionStatus:
        """How it stands, by what was tried of it."""
        untried = "--offline" if offline else "PROBE_PATH is empty"
        if isinstance(self.found, RefresherError):
            return _unreadable(self.connection, self.found)
        try:
            return evaluate(self.connection, self.found, timing, now, trial=trial, untried=untried)
        except Exception as error:  # noqa: BLE001 - isolation: one connection's surprise must not stop the others
            surprise = unforeseen(error)
        return _unreadable(self.connection, surprise)


def _unreadable(connection: Connection, error: RefresherError) -> ConnectionStatus:
    """A token that was disabled is none for its readers; of anything else nothing can be said."""
    disabled = error.cause is Cause.SECRET_DISABLED
    return ConnectionStatus(
        connection=connection.name,
        instance_url=connection.instance_url,
        state=State.EXPIRED if disabled else State.UNKNOWN,
        working=False if disabled else None,
        message=error.message,
        next_step=error.hint,
        cause=error.cause,
    )


def look(vaults: Vaults, listing: Listing, connection: Connection, clock: Clock, allowed: timedelta) -> Looked:
    """Read one connection; a vault that cannot be read in the time allowed is an answer of its own."""
    found: Overview | RefresherError
    try:
        found = read_overview(vaults, connection, clock.now(), Deadline(clock, allowed), listing)
    except RefresherError as error:
        found = error
    except Exception as error:  # noqa: BLE001 - isolation: one connection's surprise must not stop the others
        found = unforeseen(error)
    return Looked(connection=connection, found=found)
