"""What a process makes once and keeps: from settings to working parts, each when it is first needed.

Clients, their connections, the credential and the vault's challenge survive from one invocation of a warm worker
to the next; that is what makes a warm tick one round of reads.
"""

import threading
from collections.abc import Callable, Mapping
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypedDict

from azure.core.credentials import TokenCredential
from azure.keyvault.secrets import SecretClient

from refresher.entra.identity import ManagedIdentity
from refresher.keyvault.clients import (
    REQUESTS_AT_ONCE,
    KeyClients,
    SharedCredential,
    expected_scope,
    make_secret_client,
    make_transport,
    sdk_trust,
)
from refresher.keyvault.keys import Keys
from refresher.keyvault.vaults import Vaults
from refresher.lease.blob import BlobLease
from refresher.lease.container import TOKEN_SCOPE
from refresher.lease.file import LOCK_DIRECTORY, FileLease
from refresher.lease.lease import Lease
from refresher.model.clock import Clock
from refresher.run.parts import Parts
from refresher.servicenow.instances import ServiceNow
from refresher.settings.load import Settings, load_settings

if TYPE_CHECKING:
    import httpx


class Substitutes(TypedDict, total=False):
    """What may stand in the place of what would be made; whoever brings an executor or a credential ends it."""

    make_secret_client: Callable[[str, TokenCredential], SecretClient]
    instance_transport: "httpx.BaseTransport"
    credential: TokenCredential
    executor: Executor
    lease: Lease | None
    identity: ManagedIdentity


class Process:
    """What all runs and questions of a process share. Nothing is read or opened before it is needed."""

    def __init__(self, environ: Mapping[str, str], clock: Clock, given: Substitutes) -> None:
        self.environ = environ
        self.clock = clock
        self.servicenow = ServiceNow(clock, transport=given.get("instance_transport"))
        self.requests = given.get("executor") or ThreadPoolExecutor(REQUESTS_AT_ONCE, thread_name_prefix="vault")
        self._owns_requests = "executor" not in given
        self._make_secret_client = given.get("make_secret_client", make_secret_client)
        self._identity = given.get("identity") or ManagedIdentity(environ, clock, make_transport)
        self._lease = given.get("lease")
        self._lock = threading.RLock()
        self._settings: Settings | None = None
        self._credential: TokenCredential | None = given.get("credential")
        self._parts: Parts | None = None

    @property
    def settings(self) -> Settings:
        """The settings. Raises SettingsError, at every call until they are right."""
        if self._settings is None:
            self._settings = load_settings(self.environ)
        return self._settings

    def credential(self) -> TokenCredential:
        """The one credential of the process: its token cache serves all clients."""
        with self._lock:
            if self._credential is None:
                # OpenSSL reads the bundle beside the modules that are loaded meanwhile.
                self.requests.submit(sdk_trust)
                self._credential = SharedCredential()
                self._prepare_token(expected_scope(self.settings.vault_url))
            return self._credential

    def parts(self) -> Parts:
        """What every run works with. Raises SettingsError."""
        settings = self.settings
        with self._lock:
            if self._parts is None:
                vaults = Vaults(
                    settings.vault_url,
                    self.clock,
                    self.requests,
                    lambda url: self._make_secret_client(url, self.credential()),
                    Keys(self.clock, lambda url: KeyClients(url, self.credential())),
                )
                self._parts = Parts(
                    settings=settings,
                    clock=self.clock,
                    vaults=vaults,
                    servicenow=self.servicenow,
                    lease=self._lease or self._make_lease(settings),
                    identity=self._identity,
                )
            return self._parts

    def _make_lease(self, settings: Settings) -> Lease:
        if settings.lease_container_url is None:
            return FileLease(LOCK_DIRECTORY, self.clock, settings.vault_url)
        self._prepare_token(TOKEN_SCOPE)
        url = settings.lease_container_url
        return BlobLease(url, self.credential(), self.clock, self.requests, transport=make_transport())

    def _prepare_token(self, scope: str) -> None:
        """Let a token come while the vault's challenge is under way: it would cost a cold process a hop of its own.

        Elsewhere than on Azure's app platform, tokens come from programs that a second question starts anew.
        """
        credential = self.credential()
        if isinstance(credential, SharedCredential):
            scopes = (scope,) if self.environ.get("IDENTITY_ENDPOINT") else ()
            self.requests.submit(credential.prepare, *scopes)

    def prepare_session(self) -> None:
        """Load what asks an instance, beside whatever else goes on, once the vault's token was asked for."""

        def load() -> None:
            credential = self.credential()
            if isinstance(credential, SharedCredential):
                credential.prepare()
            self.servicenow.prepare()

        self.requests.submit(load)

    def close(self) -> None:
        """Close what was opened. A worker does not need it: the process ends with its connections."""
        if self._owns_requests:
            self.requests.shutdown()
        if self._parts is not None:
            self._parts.vaults.close()
        close = getattr(self._credential, "close", None)
        if close is not None:
            close()
