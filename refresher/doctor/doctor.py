"""Every precondition of a refresh, tried one by one: what passes, what does not, and what to do about it.

Nothing that a consumer sees is changed, no grant is used and no lease is taken, so that it is safe at any time.
"""

import base64
import binascii
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from urllib.parse import urlsplit

from azure.core.credentials import TokenCredential
from azure.core.exceptions import AzureError

from refresher.doctor.secret_checks import Examination
from refresher.doctor.standing import life_checks, simple_chat_check, timer_check, token_check
from refresher.keyvault.errors import IDENTITY, WHO_IDENTITY_IS, no_identity
from refresher.keyvault.vaults import Vaults
from refresher.lease.lease import Lease
from refresher.model import steps
from refresher.model.causes import Cause, Kind, diagnose
from refresher.model.check import Check, failed, passed, warned
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError, TokenEndpointError, unforeseen
from refresher.model.steps import Step
from refresher.servicenow.instances import ServiceNow
from refresher.settings.load import Settings
from refresher.status.health import ConnectionStatus
from refresher.status.timer import TimerStatus

_LARGEST_SKEW = timedelta(seconds=60)
"""ServiceNow allows an assertion's dates some clock skew; beyond a minute lives are misjudged as well."""


class Doctor:
    """Examines an installation."""

    def __init__(
        self,
        settings: Settings,
        clock: Clock,
        *,
        vaults: Vaults,
        credential: Callable[[], TokenCredential],
        servicenow: ServiceNow,
        lease: Lease,
        look: Callable[[Iterable[str]], Sequence[ConnectionStatus]],
        timer: Callable[[], TimerStatus],
        share: Callable[[], timedelta],
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._vaults = vaults
        self._credential = credential
        self._servicenow = servicenow
        self._lease = lease
        self._look = look
        self._timer = timer
        self._share = share

    def examine(self, connections: Sequence[Connection]) -> tuple[Check, ...]:
        """As whom and from where it looks, then of each connection: does the token work, and what a refresh needs."""
        identity = self._identity()
        if isinstance(identity, Check):
            return (identity, self._settings_check())
        detail = f"a token for Key Vault was issued to {identity}; {_place()}"
        checks = [passed(None, "identity", detail), self._settings_check()]
        statuses = self._look(connection.name for connection in connections)
        with ThreadPoolExecutor(EXAMINED_AT_ONCE, thread_name_prefix="examination") as pool:
            for found in pool.map(self._examine_one, connections, statuses):
                checks += found
        checks.append(timer_check(self._timer()))
        return tuple(replace(check, remedy=_for(identity, check.remedy)) for check in checks)

    def _examine_one(self, connection: Connection, status: ConnectionStatus) -> list[Check]:
        return [
            token_check(status),
            *self._isolated(connection, "secrets", self._secret_checks),
            *life_checks(connection, status),
            simple_chat_check(status),
            *self._isolated(connection, "instance", self._instance_checks),
            *self._isolated(connection, "lease", self._lease_checks),
        ]

    def _isolated(self, connection: Connection, what: str, job: "Job") -> Iterator[Check]:
        """What a job finds out; what stops it, or keeps it from beginning, is a finding too, and stops no other."""
        takes = self._share()
        if not takes:
            remedy = Step("Examine one connection at a time: ", steps.doctor(connection.name))
            yield failed(connection.name, what, "its turn did not come in the time of an examination", remedy)
            return
        try:
            yield from job(connection, Deadline(self._clock, takes))
        except RefresherError as error:
            yield failed(connection.name, what, error.message, error.hint)
        except Exception as error:  # noqa: BLE001 - isolation: a surprise about one connection must not stop the others
            yield failed(
                connection.name, what, unforeseen(error).message, diagnose(Cause.UNEXPECTED, connection.name).next_step
            )

    def _settings_check(self) -> Check:
        names = ", ".join(connection.name for connection in self._settings.connections)
        problem = self._settings.schedule_problem
        if problem is not None:
            return failed(None, "settings", problem, steps.set_app_setting())
        return passed(None, "settings", f"valid; connections: {names}; vault {self._settings.vault_url}")

    def _identity(self) -> "Identity | Check":
        try:
            token = self._credential().get_token(_scope_of(self._settings.vault_url)).token
        except (AzureError, ValueError):
            return failed(None, "identity", "no token for Key Vault could be had", no_identity().hint)
        return Identity.of(token)

    def _secret_checks(self, connection: Connection, deadline: Deadline) -> Iterable[Check]:
        return Examination(connection, self._settings, self._clock, self._vaults, deadline).checks()

    def _lease_checks(self, connection: Connection, _: Deadline) -> Iterable[Check]:
        if self._settings.lease_container_url is None:
            detail = "a file lock: it keeps apart the runs of this machine only"
            remedy = "Set LEASE_CONTAINER_URL where more than one machine refreshes, as in Azure."
            yield warned(connection.name, "lease", detail, remedy)
            return
        held = self._lease.is_held(connection.name)
        yield passed(connection.name, "lease", "held by a run that is under way" if held else "free")

    def _instance_checks(self, connection: Connection, deadline: Deadline) -> Iterator[Check]:
        try:
            with self._servicenow.session(connection, deadline) as session:
                greeting = session.greet()
        except TokenEndpointError as error:
            remedy = error.hint or _remedy(error.cause, connection.name)
            yield failed(connection.name, "instance", error.message, remedy)
            return
        yield passed(connection.name, "instance", f"{connection.instance_url} was reached over trusted TLS")
        if greeting.cause.row.kind in {Kind.AWAY, Kind.ANSWER, Kind.THROTTLED}:
            judged = warned if greeting.cause.row.kind is Kind.THROTTLED else failed
            meaning, remedy = greeting.cause.row.meaning, _remedy(greeting.cause, connection.name)
            yield judged(connection.name, "token endpoint", meaning, remedy)
        else:
            yield passed(connection.name, "token endpoint", "it refuses a request without credentials, as it should")
        if greeting.date is None:
            yield warned(connection.name, "clock", "the instance did not send a Date", "Nothing to do.")
            return
        skew = abs(greeting.date - self._clock.now())
        if skew > _LARGEST_SKEW:
            detail = f"this machine's clock and the instance's differ by {round(skew.total_seconds())} s"
            yield warned(connection.name, "clock", detail, "Set this machine's clock by NTP.")
        else:
            yield passed(connection.name, "clock", f"within {round(skew.total_seconds())} s of the instance's")


EXAMINED_AT_ONCE = 8
"""Connections, side by side."""
JOBS_THAT_ASK = 3
"""Of each connection, one after the other."""
Job = Callable[[Connection, Deadline], Iterable[Check]]


def _place() -> str:
    """From where it looks: what is let in there need not be let in where the app runs."""
    site = os.environ.get("WEBSITE_SITE_NAME")
    return f"asked from the app {site}" if site else "asked from this machine, which is not the app"


def _remedy(cause: Cause, name: str) -> Step:
    """The next step of a cause; what to check, where that would be to run this examination."""
    diagnosis = diagnose(cause, name)
    if steps.doctor() in diagnosis.next_step.commands:
        return Step(f"Look at: {'; '.join(diagnosis.checks)}.")
    return diagnosis.next_step


def _scope_of(vault_url: str) -> str:
    """A vault's resource is its host without the vault's own name: the rule by which the SDK verifies a challenge."""
    _, _, resource = urlsplit(vault_url).netloc.partition(".")
    return f"https://{resource}/.default"


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom an Entra access token was issued to, by those of its claims that are nobody's secret."""

    claims: Mapping[str, str]

    @classmethod
    def of(cls, token: str) -> "Identity":
        """Read the claims; none of them where it is not a token with claims."""
        try:
            payload = token.split(".")[1]
            claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
            return cls({name: claims[name] for name in ("upn", "appid", "oid") if isinstance(claims.get(name), str)})
        except (IndexError, ValueError, binascii.Error, AttributeError, TypeError):
            return cls({})

    def __str__(self) -> str:
        named = ", ".join(f"{_CLAIMS[name]} {value}" for name, value in self.claims.items())
        return named or "an identity that it does not name"


_CLAIMS = {"upn": "user", "appid": "application (client) id", "oid": "object id"}


def _for(identity: Identity, remedy: Step | None) -> Step | None:
    """A remedy with the identity's object id in the command that gives it a role."""
    if remedy is None or "oid" not in identity.claims:
        return remedy
    told = (piece for piece in remedy.pieces if piece not in WHO_IDENTITY_IS.pieces)
    return Step(*told).naming(IDENTITY, identity.claims["oid"])
