"""The Azure SDK's clients as this app needs them: short time-outs, no retries of their own, nothing done twice.

One credential and one client for each vault serve the whole process, so that a warm run pays for neither the vault's
challenge nor the identity endpoint. The SDKs are loaded when the first client is made.
"""

import os
import threading
from typing import TYPE_CHECKING, Any

from azure.core.credentials import AccessToken, AccessTokenInfo, TokenCredential, TokenRequestOptions
from azure.keyvault.secrets import SecretClient

from refresher.vault import CONNECT_TIMEOUT, READ_TIMEOUT

if TYPE_CHECKING:
    from azure.identity import DefaultAzureCredential

_CONNECTIONS_KEPT = 64


def make_credential() -> TokenCredential:
    """The managed identity, or what a developer signed in with; it has a short patience."""
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415 - loads every credential there is

    return OneAtATime(
        DefaultAzureCredential(
            retry_total=1, connection_timeout=CONNECT_TIMEOUT, read_timeout=READ_TIMEOUT, process_timeout=15
        )
    )


class OneAtATime:
    """A credential that asks for one token at a time: of many threads that need one, the rest find it cached."""

    def __init__(self, credential: "DefaultAzureCredential") -> None:
        self._credential = credential
        self._lock = threading.Lock()

    def get_token(
        self,
        *scopes: str,
        claims: str | None = None,
        tenant_id: str | None = None,
        **options: Any,  # noqa: ANN401 - as the SDK's protocol has it
    ) -> AccessToken:
        """A token for the scopes."""
        with self._lock:
            return self._credential.get_token(*scopes, claims=claims, tenant_id=tenant_id, **options)

    def get_token_info(self, *scopes: str, options: TokenRequestOptions | None = None) -> AccessTokenInfo:
        """The same, in the SDK's newer form."""
        with self._lock:
            return self._credential.get_token_info(*scopes, options=options)

    def close(self) -> None:
        """Close the credential's connections."""
        self._credential.close()


def make_secret_client(vault_url: str, credential: TokenCredential) -> SecretClient:
    """A client of one vault. What the environment says of proxies and trusted certificates is read once, here."""
    import requests  # noqa: PLC0415 - the SDK's transport loads it
    from azure.core.pipeline.transport import RequestsTransport  # noqa: PLC0415
    from requests.adapters import HTTPAdapter  # noqa: PLC0415

    session = requests.Session()
    session.mount("https://", HTTPAdapter(pool_maxsize=_CONNECTIONS_KEPT, max_retries=False))
    # Asked for each request anew, the environment costs as much as a sixth of the whole request.
    session.trust_env = False
    session.proxies.update(requests.utils.get_environ_proxies(vault_url))
    verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    transport = RequestsTransport(session=session, session_owner=True, connection_verify=verify)
    return SecretClient(vault_url, credential, transport=transport, retry_total=0)
