"""The App Service identity endpoint, from which a managed identity gets its tokens."""

import base64
import json
import time

from sandbox.canary import Mint
from sandbox.entra import TENANT, Entra
from sandbox.http import Request, Response, json_response

PATH = "/msi/token"
_LIFETIME = 24 * 60 * 60


class Identity:
    """Issues tokens for whatever resource is asked for. They end by the real clock, which the SDK goes by."""

    def __init__(self, mint: Mint) -> None:
        self.entra: Entra | None = None
        """The tenant, for resources that are applications; None: every resource is one of Azure's own."""
        self.header = mint.make("identity-header")
        self._mint = mint
        self._issued: dict[str, str] = {}

    def handle(self, request: Request) -> Response:
        """Answer `GET /msi/token?resource=…`."""
        resource = request.params.get("resource")
        if request.path != PATH or resource is None:
            return json_response(400, {"statusCode": 400, "message": "resource is missing"})
        if request.headers.get("x-identity-header") != self.header:
            return json_response(401, {"statusCode": 401, "message": "wrong X-IDENTITY-HEADER"})
        if self.entra is not None and self.entra.knows(resource):
            return self.entra.handle(resource)
        expires_on = int(time.time()) + _LIFETIME
        token = self.issue(resource, expires_on)
        return json_response(
            200, {"access_token": token, "expires_on": str(expires_on), "resource": resource, "token_type": "Bearer"}
        )

    def issue(self, resource: str, expires_on: int = 2**33) -> str:
        """Issue a token for a resource."""
        token = self._token(resource, expires_on)
        self._issued[token] = resource
        return token

    def admits(self, authorization: str | None, resource: str) -> bool:
        """Whether a header carries a token that was issued for this resource."""
        kind, _, token = (authorization or "").partition(" ")
        return kind == "Bearer" and self._issued.get(token) == resource

    def _token(self, resource: str, expires_on: int) -> str:
        claims = {
            "aud": resource,
            "iss": f"https://sts.windows.net/{TENANT}/",
            "iat": expires_on - _LIFETIME,
            "nbf": expires_on - _LIFETIME,
            "exp": expires_on,
            "oid": "00000000-0000-4000-8000-000000000001",
            "tid": TENANT,
            "ver": "1.0",
        }
        parts = [_encode({"alg": "RS256", "typ": "JWT"}), _encode(claims), self._mint.make("identity")]
        return ".".join(parts)


def _encode(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()
