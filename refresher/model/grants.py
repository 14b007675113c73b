"""The grants by which a token is had: one row for each, and nowhere else a list of what sets one apart.

A row says what the grant sends and out of which secrets, and how a run must treat it. Settings, reads of the vault,
requests, the doctor and the policy follow from it; only the refresh token, which is stored again, is known by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

CLIENT_ID = "client-id"
CLIENT_SECRET = "client-secret"  # noqa: S105 - how the secret's name ends
REFRESH_TOKEN = "refresh-token"  # noqa: S105 - how the secret's name ends
USERNAME = "username"
PASSWORD = "password"  # noqa: S105 - how the secret's name ends
JWT_KEY = "jwt-key"


class Grant(StrEnum):
    """OAuth 2.0 grants, by the short names used in settings and tags (RFC 6749 section 4 and 6, RFC 7523).

    With `entra_id`, nothing is asked of ServiceNow: Microsoft Entra's token for the app's identity is the token.
    """

    REFRESH_TOKEN = "refresh_token"  # noqa: S105 - the grant's name
    CLIENT_CREDENTIALS = "client_credentials"
    JWT_BEARER = "jwt_bearer"
    PASSWORD = "password"  # noqa: S105 - the grant's name
    ENTRA_ID = "entra_id"
    AUTHORIZATION_CODE = "authorization_code"

    @property
    def row(self) -> "GrantRow":
        """What sets this grant apart."""
        return _ROWS[self]


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRow:
    """What a grant sends, and how a run must treat it."""

    grant_type: str | None
    """`grant_type` of the form; None where no form is posted, since the token comes from somewhere else."""
    sends: Mapping[str, str] = field(default_factory=dict)
    """Form field, and how the name of the secret ends that holds its value; sent in this order."""
    brought: tuple[str, ...] = ()
    """Form fields that only a person can bring: such a grant serves `authorize`, and no setting admits it."""
    signed: bool = False
    """Whether the secret is a key, which signs an assertion for each request anew."""
    renews: bool = False
    """Whether a refresh token comes with the token, and a new life with it."""

    @property
    def sends_password(self) -> bool:
        """Whether refusals lock a user out: few tries, counted against the password, never the same request again."""
        return PASSWORD in self.secrets

    @property
    def secrets(self) -> tuple[str, ...]:
        """How the names of the secrets end that it cannot do without."""
        return tuple(self.sends.values())

    @property
    def from_half_of_life(self) -> bool:
        """Whether a token is asked for from half of its life on, and may be the same one for hours."""
        return self.grant_type is None


CLIENT = (CLIENT_ID, CLIENT_SECRET)
"""How the names of the secrets end that say which OAuth application asks."""
_CLIENT = {"client_id": CLIENT_ID, "client_secret": CLIENT_SECRET}
_ROWS: Mapping[Grant, GrantRow] = {
    Grant.REFRESH_TOKEN: GrantRow(
        grant_type="refresh_token",
        sends={**_CLIENT, "refresh_token": REFRESH_TOKEN},
    ),
    Grant.CLIENT_CREDENTIALS: GrantRow(
        grant_type="client_credentials",
        sends=_CLIENT,
    ),
    Grant.JWT_BEARER: GrantRow(
        grant_type="urn:ietf:params:oauth:grant-type:jwt-bearer",
        sends={**_CLIENT, "assertion": JWT_KEY},
        signed=True,
    ),
    Grant.PASSWORD: GrantRow(
        grant_type="password",
        sends={**_CLIENT, "username": USERNAME, "password": PASSWORD},
        renews=True,
    ),
    Grant.ENTRA_ID: GrantRow(
        grant_type=None,
    ),
    Grant.AUTHORIZATION_CODE: GrantRow(
        grant_type="authorization_code",
        sends=_CLIENT,
        brought=("code", "redirect_uri", "code_verifier"),
        renews=True,
    ),
}

UNATTENDED = tuple(grant for grant in Grant if not grant.row.brought)
"""The grants that a connection may be set to."""
FALLBACKS = tuple(grant for grant in UNATTENDED if grant is not Grant.REFRESH_TOKEN)
"""Those of them that serve where there is no refresh token."""
STORED = tuple(dict.fromkeys(suffix for grant in Grant for suffix in grant.row.secrets))
"""How the names of the secrets end that some grant sends."""
