"""The Azure SDK's clients as this app needs them: short time-outs, no retries of their own, nothing done twice.

One credential and one client for each vault serve the whole process, so that a warm run pays for neither the vault's
challenge nor the identity endpoint. The SDKs are loaded when the first client is made.
"""

import os
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import Future, wait
from enum import Enum
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenCredential, TokenRequestOptions
from azure.core.exceptions import ClientAuthenticationError
from azure.keyvault.secrets import SecretClient
from azure.keyvault.secrets._generated import models

from refresher.keyvault.asking import CONNECT_TIMEOUT, READ_TIMEOUT
from refresher.keyvault.errors import token_source
from refresher.loading import one_at_a_time
from refresher.model.errors import RefresherError
from refresher.model.version import USER_AGENT
from refresher.network.sockets import limit, remaining
from refresher.tls import tls_context

if TYPE_CHECKING:
    from types import ModuleType

    from azure.identity import DefaultAzureCredential
    from azure.keyvault.keys import KeyVaultKey

    from refresher.keyvault.adapter import LimitedTransport

_T = TypeVar("_T")
REQUESTS_AT_ONCE = 64
"""Of a process: so many threads, and as many connections kept to each service."""


_IDENTITY_TAKES = 20.0
"""Seconds at the most, for a token; the chain of credentials may ask several times."""
_TOO_LITTLE = 0.1
"""Seconds, in which nobody answers."""


class NoIdentityError(ClientAuthenticationError):
    """No token could be had.

    `retry_after` is the pause that the identity endpoint asked for, in seconds; `answered` the status of its answer.
    `cut_short`: whoever asked had no more time, which says nothing to others who have.
    """

    def __init__(
        self, retry_after: float | None = None, answered: int | None = None, *, cut_short: bool = False
    ) -> None:
        super().__init__("no token could be had")
        self.retry_after = retry_after
        self.cut_short = cut_short
        self.source = token_source(answered, has_endpoint=bool(os.environ.get("IDENTITY_ENDPOINT")))


def default_credential(transport: "LimitedTransport") -> "DefaultAzureCredential":
    """The managed identity, or what a developer signed in with; it has a short patience."""
    with one_at_a_time:
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - loads every credential there is

    return DefaultAzureCredential(
        transport=transport,
        retry_total=1,
        connection_timeout=CONNECT_TIMEOUT,
        read_timeout=READ_TIMEOUT,
        process_timeout=15,
    )


class SharedCredential:
    """A credential that many threads use at once: while one asks for a token, the others wait for the same answer.

    That goes for a failure as well: a silent identity endpoint costs its time-out once, not once for each thread. Who
    has more time than the one that asked, asks again once that one's is over.
    Whatever fails is the identity's failure, and raised as NoIdentityError. The credential itself is made when it is
    first needed, or before, by `prepare`: loading it takes longer than a request. Who asks for what is being prepared
    waits for that, whatever the options: a managed identity has one token for a scope, and keeps it.
    """

    def __init__(self, make: "Callable[[LimitedTransport], DefaultAzureCredential]" = default_credential) -> None:
        self._make = make
        self._credential: DefaultAzureCredential | None = None
        self._transport: LimitedTransport | None = None
        self._making = threading.Lock()
        self._lock = threading.Lock()
        self._under_way: dict[object, Future[Any]] = {}

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        **options: Any,  # noqa: ANN401 - as the SDK's protocol has it
    ) -> AccessToken:
        """A token for the scopes. Raises what the credential raises."""
        self._await_preparation(scopes)
        return self._share(
            (scopes, claims, tenant_id),
            lambda: self._made().get_token(*scopes, claims=claims, tenant_id=tenant_id, **options),
        )

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """The same, in the SDK's newer form."""
        self._await_preparation(scopes)
        return self._share(
            (scopes, *sorted((options or {}).items())),
            lambda: self._made().get_token_info(*scopes, options=options),
        )

    def prepare(self, *scopes: str) -> None:
        """Make the credential and, where there are scopes, let it get their token, beside whatever else goes on."""
        if scopes:
            self._share(scopes, lambda: self._made().get_token_info(*scopes))
        else:
            self._made()

    def close(self) -> None:
        """Close the credential's connections, if it was made."""
        with self._making:
            if self._credential is not None:
                self._credential.close()

    def _made(self) -> "DefaultAzureCredential":
        with self._making:
            if self._credential is None:
                self._transport = make_transport()
                self._credential = self._make(self._transport)
            return self._credential

    def _await_preparation(self, scopes: tuple[str, ...]) -> None:
        with self._lock:
            preparing = self._under_way.get(scopes)
        if preparing is not None:
            _result(preparing)

    def _share(self, what: object, ask: Callable[[], _T]) -> _T:
        while True:
            mine: Future[_T] = Future()
            with self._lock:
                under_way: Future[_T] = self._under_way.setdefault(what, mine)
            if under_way is mine:
                self._ask_for_all(what, mine, ask)
            elif _was_cut_short(under_way):
                continue
            return _result(under_way)

    def _ask_for_all(self, what: object, mine: "Future[_T]", ask: Callable[[], _T]) -> None:
        try:
            try:
                answer = self._ask(ask)
            finally:
                with self._lock:
                    del self._under_way[what]
        except BaseException as error:  # noqa: BLE001 - raised by everybody who waits, here as well
            mine.set_exception(error)
        else:
            mine.set_result(answer)

    def _ask(self, ask: Callable[[], _T]) -> _T:
        try:
            with limit(_IDENTITY_TAKES):
                return ask()
        except RefresherError:
            raise
        except Exception:  # noqa: BLE001 - a bare ValueError would be taken for an answer of the vault
            transport = self._transport
            pause, answered = (transport.take_pause(), transport.answered) if transport is not None else (None, None)
        raise NoIdentityError(pause, answered, cut_short=remaining() < _TOO_LITTLE)


def _was_cut_short(under_way: "Future[Any]") -> bool:
    """Wait for what somebody else asked: whether that came to nothing in that one's time, and this thread has more."""
    wait((under_way,), max(0.0, min(remaining(), _IDENTITY_TAKES)))
    error = under_way.exception() if under_way.done() else None
    return isinstance(error, NoIdentityError) and error.cut_short and remaining() > _TOO_LITTLE


def _result(under_way: Future[_T]) -> _T:
    try:
        return under_way.result(max(0.0, min(remaining(), _IDENTITY_TAKES)))
    except TimeoutError:
        failure = NoIdentityError()
    raise failure


def expected_scope(vault_url: str) -> str:
    """The scope that a vault's challenge will name: its host without the first label, as the SDK demands.

    Whoever guesses wrong has asked for one token too many: the challenge counts.
    """
    return f"https://{urlsplit(vault_url).netloc.partition('.')[2]}/.default"


_models_lock = threading.Lock()


def build_models(models: "ModuleType" = models) -> None:
    """Let the SDK learn the fields of its models before threads use them: what it learns by then can come out wrong.

    Where the first answers of a process are parsed side by side, azure-keyvault-secrets 4.12.0 now and then returns
    plain dictionaries (https://github.com/Azure/azure-sdk-for-python/issues/47426).
    """
    with _models_lock:
        for name in models.__all__:
            model = getattr(models, name)
            if not issubclass(model, Enum):
                model()


def make_secret_client(vault_url: str, credential: TokenCredential) -> SecretClient:
    """A client of one vault."""
    build_models()
    return SecretClient(vault_url, credential, transport=make_transport(), retry_total=0, user_agent=USER_AGENT)


class KeyClients:
    """The SDK's clients for the keys of one vault: one that describes them, and one for each that signs."""

    def __init__(self, vault_url: str, credential: TokenCredential) -> None:
        # Loading these takes some fifty milliseconds, which only a connection whose key signs in the vault pays.
        from azure.keyvault.keys import KeyClient  # noqa: PLC0415
        from azure.keyvault.keys._generated import models  # noqa: PLC0415

        build_models(models)
        self._credential = credential
        self._options = {"transport": make_transport(), "retry_total": 0, "user_agent": USER_AGENT}
        self._client = KeyClient(vault_url, credential, **self._options)

    def get(self, name: str, version: str | None, **limits: float) -> "KeyVaultKey":
        """A key with its attributes and its public half. Permission needed: keys get."""
        return self._client.get_key(name, version, **limits)

    def sign(self, key: "KeyVaultKey", algorithm: str, digest: bytes, **limits: float) -> bytes:
        """The signature as JWS wants it (of ECDSA, r and s one after the other). Permission needed: keys sign."""
        from azure.keyvault.keys.crypto import CryptographyClient, SignatureAlgorithm  # noqa: PLC0415

        client = CryptographyClient(key, self._credential, **self._options)
        signature: bytes = client.sign(SignatureAlgorithm(algorithm), digest, **limits).signature
        return signature

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


def sdk_trust() -> ssl.SSLContext:
    """What the SDK's clients trust. Raises SettingsError."""
    return tls_context("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


def make_transport() -> "LimitedTransport":
    """A transport for clients of one service, or for the credential. What the environment says of it is read once.

    Asked for each request anew, as requests does, the environment costs as much as a sixth of the whole request.
    """
    import requests  # noqa: PLC0415 - the SDK's transport loads it

    from refresher.keyvault.adapter import LimitedTransport, TrustingAdapter  # noqa: PLC0415 - loads requests

    session = requests.Session()
    adapter = TrustingAdapter(sdk_trust(), REQUESTS_AT_ONCE)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.trust_env = False
    return LimitedTransport(session=session, session_owner=True)
