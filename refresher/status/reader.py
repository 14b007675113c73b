"""Reads how a connection stands: one parallel round of reads, judged by `health`."""

from datetime import timedelta

from refresher.keyvault.reading import read_overview
from refresher.keyvault.vaults import Vaults
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError, unforeseen
from refresher.settings.load import Settings
from refresher.status.health import ConnectionStatus, State, evaluate


class StatusReader:
    """Reads the status of connections. Safe to share between threads."""

    def __init__(self, settings: Settings, clock: Clock, vaults: Vaults) -> None:
        self._clock = clock
        self._vaults = vaults
        self._timing = settings.timing

    def read(self, connection: Connection, allowed: timedelta) -> ConnectionStatus:
        """How one connection stands; a vault that cannot be read in the time allowed is a state of its own."""
        deadline = Deadline(self._clock, allowed)
        try:
            now = self._clock.now()
            side, refresh_token, ready = read_overview(self._vaults, connection, now, deadline)
            return evaluate(connection, side, refresh_token, self._timing, self._clock.now(), fallback_ready=ready)
        except RefresherError as error:
            failure = error
        except Exception as error:  # noqa: BLE001 - isolation: one connection's surprise must not stop the others
            failure = unforeseen(error)
        return ConnectionStatus(
            connection=connection.name,
            state=State.UNKNOWN,
            working=None,
            message=failure.message,
            next_step=failure.hint,
            cause=failure.cause,
        )
