"""The sandbox as a whole: services, their servers, and what an administrator does before the product runs."""

import functools
import ssl
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import trustme
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sandbox.blobs import BlobContainer
from sandbox.canary import Mint
from sandbox.clock import SandboxClock
from sandbox.entra import Entra
from sandbox.faults import Faults
from sandbox.identity import PATH, Identity
from sandbox.instance import Application, Instance
from sandbox.log import RequestLog
from sandbox.personality import Personality
from sandbox.server import Server
from sandbox.vault import KeyVault


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionSecrets:
    """What `add_connection` set up."""

    application: Application
    user_name: str
    refresh_token: str | None


LEFT_BEHIND: list[Callable[[str], None]] = []
"""What forgets whatever an earlier sandbox's visitors left here for a vault of that address: ports come back."""


class Sandbox:
    """A context manager: the servers run inside of it."""

    def __init__(
        self,
        personality: Personality | None = None,
        clock: SandboxClock | None = None,
        vaults: Sequence[str] = ("main",),
        latency: float = 0.0,
    ) -> None:
        self.clock = clock or SandboxClock()
        self.faults = Faults()
        self.log = RequestLog()
        self._mint = Mint()
        self.identity = Identity(self._mint)
        self.entra = self.identity.entra = Entra(self.clock)
        self.instance = Instance(self.clock, self._mint, personality)
        self.vaults = {name: KeyVault(name, self.clock, self.identity) for name in vaults}
        self.vault = self.vaults[vaults[0]]
        self.leases = BlobContainer(self.clock, self.identity)
        self._latency = latency
        self._identity_url = ""

    def __enter__(self) -> Self:
        self.ca_file = _ca_file()
        self.server = Server(self.faults, self.log, self.clock, self._latency)
        tls = server_tls()
        self.server.start()
        port = self.server.serve("identity", self.identity.handle, None)
        self._identity_url = f"http://127.0.0.1:{port}{PATH}"
        port = self.server.serve(
            "instance", self.instance.handle, tls, lambda request, ended: self.instance.began(request, ended=ended)
        )
        self.instance.url = f"https://127.0.0.1:{port}"
        self.leases.origin = f"https://127.0.0.1:{self.server.serve('leases', self.leases.handle, tls)}"
        for name, vault in self.vaults.items():
            port = self.server.serve(f"vault:{name}", vault.handle, tls)
            # The SDK checks that the vault's host ends with the challenge's resource.
            vault.listen_at(f"https://127.0.0.1:{port}", f"https://0.0.1:{port}")
            for forget in LEFT_BEHIND:
                forget(vault.url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self.faults.clear()
        self.server.stop()

    def environ(self) -> dict[str, str]:
        """The environment in which the product, unmodified, uses this sandbox."""
        return {
            **self.addresses(),
            "REQUESTS_CA_BUNDLE": str(self.ca_file),
            "SSL_CERT_FILE": str(self.ca_file),
            # Said, not left out: where no variable names a proxy, some systems' own settings do.
            "NO_PROXY": "*",
        }

    def addresses(self) -> dict[str, str]:
        """The part of it that says where the services are."""
        return {
            "IDENTITY_ENDPOINT": self._identity_url,
            "IDENTITY_HEADER": self.identity.header,
            "KEY_VAULT_URL": self.vault.url,
            "SERVICENOW_INSTANCE_URL": self.instance.url,
            "SERVICENOW_ALLOW_CUSTOM_HOST": "true",
        }

    def add_connection(
        self,
        name: str = "servicenow",
        *,
        refresh_token: bool = True,
        username: bool = False,
        jwt_key: bool = False,
    ) -> ConnectionSecrets:
        """Do what an administrator does: register the application, store the credentials."""
        return add_connection(
            self.instance, self.vault, name, refresh_token=refresh_token, username=username, jwt_key=jwt_key
        )


def add_connection(
    instance: Instance,
    vault: KeyVault,
    name: str = "servicenow",
    *,
    refresh_token: bool = True,
    username: bool = False,
    jwt_key: bool = False,
) -> ConnectionSecrets:
    """Register an application, and store its credentials."""
    private_pem, public_pem = _key_pair() if jwt_key else (None, None)
    user_name = f"{name}.integration"
    application = instance.register(user_name, public_pem)
    vault.put(f"{name}-client-id", application.client_id)
    vault.put(f"{name}-client-secret", application.client_secret)
    token = instance.authorize(application) if refresh_token else None
    if token is not None:
        vault.put(f"{name}-refresh-token", token)
    if username:
        vault.put(f"{name}-username", user_name)
        vault.put(f"{name}-password", application.user.password)
    if private_pem is not None:
        vault.put(f"{name}-jwt-key", private_pem)
    return ConnectionSecrets(application=application, user_name=user_name, refresh_token=token)


@functools.cache
def server_tls() -> ssl.SSLContext:
    """What a server on loopback needs for TLS: with it, its clients trust it as they trust the sandbox."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    _certificates()[1].configure_cert(tls)
    return tls


@functools.cache
def _directory() -> tempfile.TemporaryDirectory[str]:
    """Of the process, which removes it when it ends."""
    return tempfile.TemporaryDirectory(prefix="sandbox-")


@functools.cache
def _ca_file() -> Path:
    """One for all sandboxes of a process, so that a client who has read it need not read it again."""
    place = Path(_directory().name) / "ca.pem"
    _certificates()[0].cert_pem.write_to_path(place)
    return place


@functools.cache
def _certificates() -> tuple[trustme.CA, trustme.LeafCert]:
    authority = trustme.CA()
    return authority, authority.issue_cert("127.0.0.1", "localhost")


@functools.cache
def _key_pair() -> tuple[str, str]:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    private_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    public_pem = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return private_pem.decode(), public_pem.decode()
