"""Microsoft Entra's sign-in service, as far as a federated credential asks it: metadata, and tokens for an assertion.

The assertion is the managed identity's token for the exchange; the application's registration says whom it trusts
(learn.microsoft.com/entra/workload-id/workload-identity-federation-config-app-trust-managed-identity). What it answers
lives 60 to 90 minutes, and is the application's service principal's.
"""

from datetime import timedelta
from urllib.parse import parse_qs

import jwt

from sandbox.entra import TENANT, Entra, Registration, public_key
from sandbox.http import Request, Response, json_response

HOST = "login.microsoftonline.com"
_LIFE = timedelta(minutes=75)
_ISSUER = f"https://{HOST}/{TENANT}/v2.0"


class Authority:
    """The sign-in service of one tenant."""

    def __init__(self, entra: Entra) -> None:
        self._entra = entra

    def handle(self, request: Request) -> Response:
        """Answer a request."""
        if request.path.endswith("/.well-known/openid-configuration"):
            return json_response(
                200,
                {
                    "issuer": _ISSUER,
                    "authorization_endpoint": f"https://{HOST}/{TENANT}/oauth2/v2.0/authorize",
                    "token_endpoint": f"https://{HOST}/{TENANT}/oauth2/v2.0/token",
                },
            )
        if request.path == f"/{TENANT}/oauth2/v2.0/token" and request.method == "POST":
            return self._exchange({name: values[0] for name, values in parse_qs(request.body.decode()).items()})
        return json_response(404, {"error": "not_found"})

    def _exchange(self, form: dict[str, str]) -> Response:
        registration = self._entra.registrations.get(form.get("client_id", ""))
        if registration is None:
            return _refusal("AADSTS700016: Application with identifier 'X' was not found in the directory 'Y'.")
        problem = _distrust(registration, form.get("client_assertion", ""))
        if problem is not None:
            return _refusal(problem)
        resource = form.get("scope", "").removesuffix("/.default")
        of = self._entra.registrations.get(resource.removeprefix("api://"))
        if of is None:
            return _refusal("AADSTS500011: The resource principal named X was not found in the tenant.")
        token = self._entra.issue(of, resource, subject=registration.principal, life=_LIFE)
        seconds = int(_LIFE.total_seconds())
        return json_response(200, {"token_type": "Bearer", "expires_in": seconds, "access_token": token})


def _distrust(registration: Registration, assertion: str) -> str | None:
    trusts = registration.trusts
    if trusts is None:
        return "AADSTS70021: No matching federated identity record found for presented assertion."
    try:
        claims = jwt.decode(
            assertion,
            public_key(),
            algorithms=["RS256"],
            options=jwt.types.Options(verify_exp=False, verify_iat=False, verify_nbf=False, verify_aud=False),
        )
    except jwt.PyJWTError:
        return "AADSTS50027: JWT token is invalid or malformed."
    for claim, wanted, code in (
        ("iss", _ISSUER, 700211),
        ("aud", trusts.audience, 700212),
        ("sub", trusts.subject, 700213),
    ):
        if claims[claim] != wanted:
            return f"AADSTS{code}: No matching federated identity record found for presented assertion {claim} 'X'."
    return None


def _refusal(text: str) -> Response:
    return json_response(401, {"error": "invalid_client", "error_description": text})
