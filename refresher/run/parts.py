"""What every run works with, how it begins, and how it holds the lease."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from typing import NamedTuple

from refresher.entra.identity import ManagedIdentity
from refresher.keyvault.reading import Everything, read_everything
from refresher.keyvault.vaults import Vaults
from refresher.lease.lease import Lease
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.errors import LeaseUnavailableError
from refresher.model.report import RunRequest, WarningCode
from refresher.policy.due import Urgency
from refresher.run.run import WRITING_TAKES, Run
from refresher.servicenow.instances import ServiceNow
from refresher.settings.load import Settings


class Parts(NamedTuple):
    """What the runs of a process share. Safe between threads: what belongs to one run stays in its `Run`."""

    settings: Settings
    clock: Clock
    vaults: Vaults
    servicenow: ServiceNow
    lease: Lease
    identity: ManagedIdentity

    def deadline(self) -> Deadline:
        """The end of what begins now, if it may take as long as a single run."""
        return Deadline(self.clock, self.settings.run_deadline)

    def begin(self, connection: Connection, request: RunRequest, allowed: timedelta | None = None) -> Run:
        """A run that begins now, and may take that long before it writes; None: as long as a single run may."""
        takes = allowed if allowed is not None else self.settings.run_deadline
        return Run(
            clock=self.clock,
            timing=self.settings.timing,
            connection=connection,
            request=request,
            run_id=self.clock.new_id(),
            started=self.clock.monotonic(),
            deadline=Deadline(self.clock, takes),
            writing_deadline=Deadline(self.clock, takes + WRITING_TAKES),
            neighbours=tuple(
                each
                for each in self.settings.connections
                if each.name != connection.name
                and each.instance_url == connection.instance_url
                and any(grant.row.sends_password for grant in each.configured_grants)
            ),
        )

    @contextmanager
    def hold_lease(self, run: Run, urgency: Urgency | None) -> Iterator[Everything]:
        """Hold the lease, with all that was read. Without a lease service, only what cannot wait goes ahead.

        `urgency` None: no refresh is meant, and to write the same token again hurts nobody. Raises LeaseHeldError,
        LeaseUnavailableError and VaultError.
        """

        def read() -> Everything:
            return read_everything(self.vaults, run.connection, self.clock.now(), run.deadline)

        with ExitStack() as held:
            try:
                found, run.before_writing = held.enter_context(self.lease.acquire(run.connection.name, read))
            except LeaseUnavailableError as error:
                if run.can_wait(urgency):
                    raise
                run.without_lease = error
                forced = run.request.force
                why = "it was forced" if forced else "consumers are, or are about to be, without a token"
                run.warn(WarningCode.LEASE_UNAVAILABLE, f"going on without the lease, since {why}", error.hint)
                found = read()
            run.side = found[0]
            yield found
