"""Every precondition of a refresh, tried one by one: what passes, what does not, and what to do about it.

Nothing that a consumer sees is changed, no grant is used and no lease is taken, so that it is safe at any time. What
stops one check stops no other.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

from refresher.doctor.instance_checks import INSTANCE, instance_checks
from refresher.doctor.last_refresh import LAST_REFRESH, Evidence, judge_last_refresh
from refresher.doctor.lease_checks import LEASE, lease_checks
from refresher.doctor.remedies import follows_from, remedy_of, remedy_of_cause, without_doctor
from refresher.doctor.secret_checks import Examination
from refresher.doctor.standing import TIMER, TOKEN, life_checks, simple_chat_check, timer_check, token_check
from refresher.doctor.surroundings import IDENTITY, Identity, Surroundings, addressed
from refresher.doctor.suspicion import concluded, in_the_way
from refresher.keyvault.listing import Listing
from refresher.keyvault.vaults import Vaults
from refresher.keyvault.whole_vault import vault_name
from refresher.lease.lease import Lease
from refresher.model import steps
from refresher.model.check import Check, Verdict, failed, passed
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError, unforeseen
from refresher.model.steps import Step
from refresher.servicenow.answers import Verdict as Trial
from refresher.servicenow.instances import ServiceNow
from refresher.settings.load import Settings
from refresher.settings.schedule import DEFAULT_SCHEDULE
from refresher.status.connection_status import ConnectionStatus, State
from refresher.status.timer import TimerStatus
from refresher.views.words import few

EXAMINED_AT_ONCE = 8
"""Connections, side by side."""
JOBS_THAT_ASK = 3
"""Of each connection, one after the other."""
Job = Callable[[Deadline], Iterable[Check]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Doctor:
    """Examines an installation. `look` and `timer` say how it stands; `share` is the time that each job has."""

    settings: Settings
    clock: Clock
    surroundings: Surroundings
    vaults: Vaults
    servicenow: ServiceNow
    lease: Lease
    look: Callable[[Iterable[str]], Sequence[ConnectionStatus]]
    timer: Callable[[], TimerStatus]
    share: Callable[[], timedelta]

    def examine(self, connections: Sequence[Connection]) -> tuple[Check, ...]:
        """As whom and from where it looks, then of each connection: does the token work, and what a refresh needs."""
        identity = self.surroundings.sign_in(self.settings.vault_url)
        if isinstance(identity, Check):
            checks = [identity, self._settings_check()]
            found = self._side_by_side(self._examine_without_identity, connections)
            return (*checks, *(check for each in found for check in each))
        statuses = {status.connection: status for status in self.look(each.name for each in connections)}
        checks = [self.surroundings.identity_check(identity), self._settings_check()]
        # Whoever looks may be allowed names and dates alone, and find by them what is wrong; the app needs values.
        listing = None if self.surroundings.is_the_apps(identity) else Listing(self.vaults, by_app=False)
        for each in self._side_by_side(lambda one: self._examine_one(one, statuses[one.name], listing), connections):
            checks += each
        ahead, tick, now = _clock_ahead(checks), self.settings.tick, self.clock.now
        checks += self._guarded(None, TIMER, lambda: [timer_check(self.timer(), tick, now(), ahead=ahead)])
        return tuple(self._told(check, identity) for check in checks)

    def _side_by_side(
        self, examine: Callable[[Connection], tuple[Check, ...]], connections: Sequence[Connection]
    ) -> list[tuple[Check, ...]]:
        with ThreadPoolExecutor(EXAMINED_AT_ONCE, thread_name_prefix="examination") as pool:
            return list(pool.map(examine, connections))

    def _examine_one(
        self, connection: Connection, status: ConnectionStatus, listing: Listing | None
    ) -> tuple[Check, ...]:
        evidence: Evidence | None = None

        def secrets(deadline: Deadline) -> Iterable[Check]:
            nonlocal evidence
            examination = Examination(
                connection=connection, vaults=self.vaults, clock=self.clock, deadline=deadline, listing=listing
            )
            checks, evidence = examination.run()
            return checks

        first = list(self._in_its_time(connection, "secrets", secrets))
        instance = self._instance(connection)
        others = (*instance, *self._lease_of(connection, apps=listing is None, ended_at=status.expires_at))
        if evidence is not None and evidence.readable:
            evidence = replace(
                evidence,
                in_the_way=in_the_way((*first, *others)),
                acts_as=status.user_name if status.working else None,
                refused_for=status.user_name if status.tried is Trial.REJECTED else None,
            )
            first += self._guarded(connection, LAST_REFRESH, lambda: [judge_last_refresh(evidence, self.clock.now())])
        first += self._guarded(connection, "lives", lambda: life_checks(connection, status))
        first += self._guarded(connection, "Simple Chat", lambda: simple_chat_check(connection, status))
        token = self._guarded(
            connection,
            TOKEN,
            lambda: [token_check(connection, status, in_the_way(instance))],
        )
        checks = (*token, *first, *others)
        failing = any(check.name == LAST_REFRESH and check.verdict is Verdict.FAIL for check in checks)
        copies = [target.name for target in connection.publish_to]
        ends_at, theirs = status.expires_at, self.clock.now() - _clock_ahead(checks)
        by_clock = status.state is State.EXPIRED and ends_at is not None and theirs < ends_at
        heals = status.state is State.REFUSED and not failing
        return concluded(checks, heals=heals, by_clock=by_clock, copies=copies)

    def _examine_without_identity(self, connection: Connection) -> tuple[Check, ...]:
        """What needs no sign-in: the instance, and a lock that is a file."""
        lease = self._lease_of(connection, apps=True) if self.settings.lease_container_url is None else ()
        token = failed(
            connection.name, TOKEN, "it could not be looked at: nobody is signed in", follows_from([IDENTITY])
        )
        return (token, *self._instance(connection), *lease)

    def _instance(self, connection: Connection) -> Iterable[Check]:
        ask = partial(instance_checks, connection, self.servicenow, self.clock)
        return tuple(self._in_its_time(connection, INSTANCE, ask))

    def _lease_of(self, connection: Connection, *, apps: bool, ended_at: datetime | None = None) -> Iterable[Check]:
        shared = self.settings.lease_container_url is not None

        def ask(_: Deadline) -> Iterator[Check]:
            now = self.clock.now()
            waited = now - ended_at if ended_at is not None else timedelta()
            return lease_checks(connection.name, self.lease, now, shared=shared, apps=apps, waited_for=waited)

        return tuple(self._in_its_time(connection, LEASE, ask))

    def _in_its_time(self, connection: Connection, what: str, job: Job) -> Iterator[Check]:
        """What a job finds out in its share of the time; that it has none is a finding too."""
        takes = self.share()
        if not takes:
            remedy = Step("Examine one connection at a time: ", steps.doctor(connection.name))
            yield failed(connection.name, what, "its turn did not come in the time of an examination", remedy)
            return
        yield from self._guarded(connection, what, lambda: job(Deadline(self.clock, takes)))

    def _guarded(
        self, connection: Connection | None, what: str, job: Callable[[], Iterable[Check]]
    ) -> Iterator[Check]:
        """What a job finds out; what stops it is a finding too, and stops no other."""
        name = connection.name if connection is not None else None
        try:
            yield from job()
        except RefresherError as error:
            yield failed(name, what, error.message, remedy_of(error, name))
        except Exception as error:  # noqa: BLE001 - isolation: a surprise about one check must not stop the others
            surprise = unforeseen(error)
            yield failed(name, what, surprise.message, remedy_of_cause(surprise.cause, name))

    def _told(self, check: Check, identity: Identity) -> Check:
        """The check with its remedy as it can be given here, to whoever looks."""
        remedy = without_doctor(check.remedy)
        if check.remedy is not None and not remedy:
            remedy = Step("What stands in the way is told of the other checks.")
        vault = vault_name(self.settings.vault_url)
        named = remedy.naming(steps.VAULT, vault) if remedy is not None else None
        return replace(check, remedy=addressed(named, identity, self.surroundings, vault))

    def _settings_check(self) -> Check:
        names = few([connection.name for connection in self.settings.connections])
        problem = self.settings.schedule_problem
        if problem is not None:
            default = steps.set_app_setting("REFRESH_SCHEDULE", DEFAULT_SCHEDULE)
            return failed(None, "settings", problem, Step("Set what counts until then: ", default))
        return passed(None, "settings", f"valid; connections: {names}; vault {self.settings.vault_url}")


def _clock_ahead(checks: Iterable[Check]) -> timedelta:
    """How far this machine's clock is ahead of an instance's, by the first check that found it to differ."""
    return next((check.ahead for check in checks if check.ahead), timedelta())
