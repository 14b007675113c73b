"""Authorization by a person: the request that a browser opens, and the redirect that comes back. No I/O.

Authorization code grant with PKCE S256 (RFC 6749 section 4.1, RFC 7636) and a redirect to a loopback address
(RFC 8252 section 7.3). `state` ties the redirect to the request; it is compared in constant time.
"""

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from urllib.parse import parse_qs, urlencode, urlsplit

from refresher.model.causes import Cause
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError
from refresher.model.tokens import Secret

CALLBACK_PATH = "/callback"
_CODE = re.compile(r"[a-z_]{1,40}")


class AuthorizationIncompleteError(RefresherError):
    """A person did not finish, or refused, the authorization in the browser."""

    def __init__(self, message: str) -> None:
        super().__init__(message, cause=Cause.AUTHORIZATION_INCOMPLETE)


class ForeignRedirectError(AuthorizationIncompleteError):
    """A request that is not the browser's answer to this authorization; the answer may still come."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthorizationRequest:
    """What belongs together in one authorization; `state` and `code_verifier` are fresh random values."""

    redirect_uri: str
    state: Secret
    code_verifier: Secret

    @classmethod
    def on_port(cls, port: int, *, state: str, code_verifier: str) -> "AuthorizationRequest":
        """A request whose redirect goes to this machine."""
        return cls(
            redirect_uri=f"http://127.0.0.1:{port}{CALLBACK_PATH}",
            state=Secret(state),
            code_verifier=Secret(code_verifier),
        )

    def url(self, connection: Connection, client_id: Secret) -> str:
        """The address that the person opens. It holds the client id and the state, and nothing that opens a door."""
        digest = hashlib.sha256(self.code_verifier.reveal().encode()).digest()
        query = {
            "response_type": "code",
            "client_id": client_id.reveal(),
            "redirect_uri": self.redirect_uri,
            "state": self.state.reveal(),
            "code_challenge": base64.urlsafe_b64encode(digest).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return f"{connection.authorization_endpoint}?{urlencode(query)}"

    def parse_redirect(self, target: str) -> Secret | None:
        """The authorization code in a redirect's target; None where the target is another path.

        Raises ForeignRedirectError for a wrong state, and AuthorizationIncompleteError for a refusal or a redirect
        without a code.
        """
        parts = urlsplit(target)
        if parts.path != CALLBACK_PATH:
            return None
        fields = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if not hmac.compare_digest(fields.get("state", "").encode(), self.state.reveal().encode()):
            message = "the redirect does not belong to this authorization (its state differs)"
            raise ForeignRedirectError(message)
        if "error" in fields:
            code = fields["error"] if _CODE.fullmatch(fields["error"]) else "an unknown error"
            message = f"ServiceNow did not authorize: {code}"
            raise AuthorizationIncompleteError(message)
        if not fields.get("code"):
            message = "the redirect carries no authorization code"
            raise AuthorizationIncompleteError(message)
        return Secret(fields["code"])
