"""Microsoft Entra, as far as an application of a tenant is concerned: signed tokens, and who gets none.

Claims as the documentation has them (learn.microsoft.com/entra/identity-platform/access-token-claims-reference): the
registration decides the token's version, a managed identity's `sub` is its `oid`, and `aud` is the client id, or in
version 1 whatever was asked for.
"""

import functools
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa

from sandbox.clock import SandboxClock
from sandbox.http import Response, json_response

TENANT = "5f2d0000-0000-4000-8000-00000000a2d1"
PRINCIPAL = "00000000-0000-4000-8000-000000000001"
"""The managed identity's object id."""
METADATA_V1 = f"https://login.microsoftonline.com/{TENANT}/.well-known/openid-configuration"
METADATA_V2 = f"https://login.microsoftonline.com/{TENANT}/v2.0/.well-known/openid-configuration"
ISSUERS = {
    METADATA_V1: f"https://sts.windows.net/{TENANT}/",
    METADATA_V2: f"https://login.microsoftonline.com/{TENANT}/v2.0",
}
EXCHANGE = "api://AzureADTokenExchange"
"""What a managed identity's token is asked for that an application takes for its own assertion."""
_A_DAY = timedelta(hours=24)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trust:
    """A federated credential: whose token stands for the application's own."""

    subject: str = PRINCIPAL
    audience: str = EXCHANGE


@dataclass(slots=True, kw_only=True)
class Registration:
    """An application registration of the tenant."""

    client_id: str
    version: int = 1
    service_principal: bool = True
    assignment_required: bool = False
    """Whether only those with an app role get a token; the identity has none."""
    extra: dict[str, object] = field(default_factory=dict)
    """Claims that a token carries besides, or instead."""
    trusts: Trust | None = None
    principal: str = field(default_factory=lambda: str(uuid4()))
    """Object id of its service principal."""


class Entra:
    """One tenant. The back end of managed identities keeps a token for each resource until it has ended by half."""

    def __init__(self, clock: SandboxClock) -> None:
        self.issued: list[str] = []
        """Every token so far, for those who look for leaks: a signed token cannot bear the sandbox's mark."""
        self.registrations: dict[str, Registration] = {}
        self.plain_errors = False
        """Whether a refusal is the bare 500 that App Service makes of most."""
        self.keeps_for = _A_DAY / 2
        self._clock = clock
        self._kept: dict[str, tuple[float, str]] = {}

    def register(self, **options: object) -> Registration:
        """Register an application, and create its service principal unless told otherwise."""
        registration = Registration(client_id=str(uuid4()), **options)  # type: ignore[arg-type]
        self.registrations[registration.client_id] = registration
        return registration

    def forget(self) -> None:
        """Let the back end issue a new token for whatever is asked next."""
        self._kept.clear()

    def hand_out(self, registration: Registration, rest: timedelta) -> None:
        """Let the back end answer with a token of a day of which so much is left, as a node does that kept it."""
        began = int((self._clock.now() - _A_DAY + rest).timestamp())
        life = {"iat": began, "nbf": began, "exp": began + int(_A_DAY.total_seconds())}
        dated = replace(registration, extra={**registration.extra, **life})
        self._kept[registration.client_id] = (began, self.issue(dated, registration.client_id))
        self.keeps_for = 2 * _A_DAY

    def knows(self, resource: str) -> bool:
        """Whether it is an application's resource, and not one of Azure's own services."""
        return not resource.startswith("https://")

    def handle(self, resource: str) -> Response:
        """The identity endpoint's answer for an application's resource."""
        if resource == EXCHANGE:
            return self._answer(Registration(client_id=EXCHANGE, version=2), resource)
        registration = self.registrations.get(resource.removeprefix("api://"))
        if registration is None or not registration.service_principal:
            return self._refusal("AADSTS500011: The resource principal named X was not found in the tenant.")
        if registration.assignment_required:
            return self._refusal(
                "AADSTS501051: Application 'X'(X) is not assigned to a role for the application 'Y'(Y)."
            )
        return self._answer(registration, resource)

    def _answer(self, registration: Registration, resource: str) -> Response:
        now = self._clock.now().timestamp()
        issued_at, token = self._kept.get(resource, (0.0, ""))
        if now - issued_at >= self.keeps_for.total_seconds():
            issued_at, token = now, self.issue(registration, resource)
            self._kept[resource] = (issued_at, token)
        expires_on = int(issued_at + _A_DAY.total_seconds())
        return json_response(
            200, {"access_token": token, "expires_on": str(expires_on), "resource": resource, "token_type": "Bearer"}
        )

    def issue(
        self, registration: Registration, resource: str, *, subject: str = PRINCIPAL, life: timedelta = _A_DAY
    ) -> str:
        """A signed token for an application, of the managed identity or of another application's principal."""
        now = int(self._clock.now().timestamp())
        metadata = METADATA_V1 if registration.version == 1 else METADATA_V2
        claims: dict[str, object] = {
            "aud": resource if registration.version == 1 else registration.client_id,
            "iss": ISSUERS[metadata],
            "iat": now,
            "nbf": now,
            "exp": now + int(life.total_seconds()),
            "oid": subject,
            "sub": subject,
            "tid": TENANT,
            "ver": "1.0" if registration.version == 1 else "2.0",
            "uti": str(uuid4()),
            **registration.extra,
        }
        token = jwt.encode(claims, _key(), algorithm="RS256", headers={"kid": "sandbox"})
        self.issued.append(token)
        return token

    def _refusal(self, text: str) -> Response:
        if self.plain_errors:
            message = "An unexpected error occured while fetching the AAD Token."
            return json_response(500, {"statusCode": 500, "message": message, "correlationId": str(uuid4())})
        return json_response(400, {"statusCode": 400, "message": text, "correlationId": str(uuid4())})


@dataclass(slots=True, kw_only=True)
class OidcEntity:
    """What an administrator entered in ServiceNow: an OIDC provider that verifies third parties' tokens."""

    client_id: str
    metadata_url: str = METADATA_V1
    user_claim: str = "sub"
    users: dict[str, str] = field(default_factory=lambda: {PRINCIPAL: PRINCIPAL})
    """Value of the mapped user field, and the user's name."""
    jti_verification: bool = False
    active: bool = True
    clock_skew: timedelta = timedelta(seconds=300)
    used: set[str] = field(default_factory=set)

    def user_of(self, token: str, clock: SandboxClock, *, counts: bool = True) -> str | None:
        """Whom the token stands for; None where ServiceNow would answer its one 401.

        Only what `counts` as a call uses up a token that is good for one.
        """
        if not self.active:
            return None
        try:
            claims = jwt.decode(
                token,
                public_key(),
                algorithms=["RS256"],
                audience=self.client_id,
                issuer=ISSUERS[self.metadata_url],
                options={"verify_exp": False, "verify_iat": False, "verify_nbf": False},
            )
        except jwt.PyJWTError:
            return None
        if clock.now().timestamp() > claims["exp"] + self.clock_skew.total_seconds():
            return None
        if self.jti_verification and counts:
            if token in self.used:
                return None
            self.used.add(token)
        return self.users.get(str(claims.get(self.user_claim)))

    def ends_at(self, token: str) -> datetime:
        """Until when a token is accepted, clock skew aside."""
        claims = jwt.decode(token, options={"verify_signature": False})
        return datetime.fromtimestamp(claims["exp"], UTC)


def public_key() -> rsa.RSAPublicKey:
    """What its tokens are verified by."""
    return _key().public_key()


@functools.cache
def _key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)
