"""The app's own identity, asked for a token: the managed identity itself, or an application that trusts it.

ManagedIdentityCredential alone is asked, never the chain of DefaultAzureCredential: after a refusal that goes on to
whoever is signed in, and their token would be a person's. Each request has a credential of its own, since a credential
keeps a token until five minutes before its end, and returns it where asking fails.
"""

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from refresher.entra.claims import accept_token
from refresher.entra.refusals import explain, no_identity_here
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError
from refresher.model.tokens import Secret, TokenResponse
from refresher.network.sockets import limit

if TYPE_CHECKING:
    from azure.core.credentials import TokenCredential
    from azure.core.pipeline.transport import HttpTransport

_TAKES = 20.0
"""Seconds, at the most."""
_EXCHANGE = {
    "login.microsoftonline.us": "api://AzureADTokenExchangeUSGov",
    "login.partner.microsoftonline.cn": "api://AzureADTokenExchangeChina",
}
_EXCHANGE_ELSEWHERE = "api://AzureADTokenExchange"


class ManagedIdentity:
    """The identity that the platform gave the app."""

    def __init__(
        self, environ: Mapping[str, str], clock: Clock, make_transport: "Callable[[], HttpTransport[Any, Any]]"
    ) -> None:
        self._environ = environ
        self._clock = clock
        self._make_transport = make_transport

    def request_token(self, connection: Connection, deadline: Deadline) -> TokenResponse:
        """A token for the connection's scope, if it is a workload's. Raises RefresherError."""
        if not self._environ.get("IDENTITY_ENDPOINT"):
            raise no_identity_here(connection.name)
        scope = connection.entra_scope or ""
        words = ""
        try:
            with limit(min(_TAKES, deadline.remaining())):
                token = self._ask(connection, scope)
        except RefresherError:
            raise
        except Exception as error:  # noqa: BLE001 - an empty answer is a bare ValueError
            words = _words(error)
        else:
            access_token = accept_token(Secret(token), now=self._clock.now())
            return TokenResponse(
                access_token=access_token, refresh_token=None, transaction_id=None, lifetime_stated=True
            )
        raise explain(scope, words)

    def _ask(self, connection: Connection, scope: str) -> str:
        # Loading these takes a tenth of a second, which a run with another grant does not pay.
        from azure.identity import ClientAssertionCredential, ManagedIdentityCredential  # noqa: PLC0415

        transport = self._make_transport()
        try:
            identity = ManagedIdentityCredential(
                client_id=self._environ.get("AZURE_CLIENT_ID") or None, transport=transport, retry_total=1
            )
            if connection.entra_client_id is None or connection.entra_tenant_id is None:
                return _token(identity, scope)
            exchange = self._exchange()
            application = ClientAssertionCredential(
                connection.entra_tenant_id,
                connection.entra_client_id,
                lambda: _token(identity, f"{exchange}/.default"),
                transport=transport,
                retry_total=1,
            )
            return _token(application, scope)
        finally:
            transport.close()

    def _exchange(self) -> str:
        """What the assertion's audience is in this cloud (the SDK reads the same variable)."""
        host = self._environ.get("AZURE_AUTHORITY_HOST", "").removeprefix("https://").strip("/")
        return _EXCHANGE.get(host, _EXCHANGE_ELSEWHERE)


def _token(credential: "TokenCredential", scope: str) -> str:
    return credential.get_token(scope).token


def _words(error: BaseException | None) -> str:
    """Everything that an exception and those before it say: searched for a code, and never shown."""
    words = ""
    while error is not None:
        words += f" {error}"
        error = error.__cause__ or error.__context__
    return words
