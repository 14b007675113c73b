"""A connection: one OAuth application on one instance, the names of its secrets, and where its tokens go."""

import re
from dataclasses import dataclass
from datetime import timedelta

from refresher.model import grants
from refresher.model.grants import Grant

_ACCESS_TOKEN = "oauth-token"  # noqa: S105 - how the secret's name ends
_RECORD = "refresh-record"
CONNECTION_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")


def own_names(connection: str) -> tuple[str, ...]:
    """Every secret name that a connection of that name can take in the vault, by whatever grant."""
    return tuple(f"{connection}-{suffix}" for suffix in (*grants.STORED, _ACCESS_TOKEN, _RECORD))


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishTarget:
    """A secret that receives the access token: its vault's origin, without a slash at the end, and its name."""

    vault_url: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtClaims:
    """What the assertion of the JWT bearer grant says (RFC 7523); `audience` and `issuer` None: the client id."""

    subject: str
    kid: str | None = None
    audience: str | None = None
    issuer: str | None = None
    algorithm: str = "RS256"
    lifetime: timedelta = timedelta(minutes=5)
    backdating: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One OAuth application on one instance, and where its access token goes."""

    name: str
    instance_url: str
    grant: Grant
    fallback_grant: Grant | None
    publish_to: tuple[PublishTarget, ...]
    probe_path: str | None
    refresh_token_lifetime: timedelta
    jwt: JwtClaims | None = None
    entra_scope: str | None = None
    """Scope of grant entra_id."""
    entra_client_id: str | None = None
    entra_tenant_id: str | None = None
    """With both, that application's token by a federated credential, and not the identity's own."""

    def secret_name(self, suffix: str) -> str:
        """Name of one of the connection's own secrets in the vault."""
        return f"{self.name}-{suffix}"

    @property
    def client_id_name(self) -> str:
        """Secret name of the OAuth application's client id."""
        return self.secret_name(grants.CLIENT_ID)

    @property
    def client_secret_name(self) -> str:
        """Secret name of the OAuth application's client secret."""
        return self.secret_name(grants.CLIENT_SECRET)

    @property
    def refresh_token_name(self) -> str:
        """Secret name of the current refresh token."""
        return self.secret_name(grants.REFRESH_TOKEN)

    @property
    def access_token_name(self) -> str:
        """Secret name of the current access token, for any consumer."""
        return self.secret_name(_ACCESS_TOKEN)

    @property
    def record_name(self) -> str:
        """Secret name of the record of failed attempts."""
        return self.secret_name(_RECORD)

    @property
    def configured_grants(self) -> tuple[Grant, ...]:
        """The grant, and the fallback grant where there is one."""
        return (self.grant,) if self.fallback_grant is None else (self.grant, self.fallback_grant)

    @property
    def needs_client(self) -> bool:
        """Whether any of them authenticates an OAuth application; without one there is no refresh token either."""
        return any(grant.row.needs_client for grant in self.configured_grants)

    @property
    def own_names(self) -> tuple[str, ...]:
        """Every secret name that the connection takes in the vault."""
        return own_names(self.name) if self.needs_client else (self.access_token_name, self.record_name)

    @property
    def token_endpoint(self) -> str:
        """URL that issues tokens (RFC 6749 section 3.2)."""
        return f"{self.instance_url}/oauth_token.do"

    @property
    def revocation_endpoint(self) -> str:
        """URL that revokes tokens (RFC 7009)."""
        return f"{self.instance_url}/oauth_revoke_token.do"

    @property
    def authorization_endpoint(self) -> str:
        """URL at which a person authorizes the application (RFC 6749 section 3.1)."""
        return f"{self.instance_url}/oauth_auth.do"
