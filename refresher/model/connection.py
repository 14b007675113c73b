"""A connection: one OAuth application on one instance, the names of its secrets, and where its tokens go."""

import re
from dataclasses import dataclass
from datetime import timedelta

from refresher.model.grants import Grant

CONNECTION_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")


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
    """One OAuth application on one instance, and where its access token goes.

    `renewal_share` is the share of a refresh token's life, counted from its end, in which a new life is started.
    """

    name: str
    instance_url: str
    grant: Grant
    fallback_grant: Grant | None
    publish_to: tuple[PublishTarget, ...]
    probe_path: str | None
    refresh_token_lifetime: timedelta
    access_token_lifetime: timedelta | None
    renewal_share: float = 0.1
    jwt: JwtClaims | None = None

    @property
    def client_id_name(self) -> str:
        """Secret name of the OAuth application's client id."""
        return f"{self.name}-client-id"

    @property
    def client_secret_name(self) -> str:
        """Secret name of the OAuth application's client secret."""
        return f"{self.name}-client-secret"

    @property
    def refresh_token_name(self) -> str:
        """Secret name of the current refresh token."""
        return f"{self.name}-refresh-token"

    @property
    def access_token_name(self) -> str:
        """Secret name of the current access token, for any consumer."""
        return f"{self.name}-oauth-token"

    @property
    def username_name(self) -> str:
        """Secret name of the integration user's name."""
        return f"{self.name}-username"

    @property
    def password_name(self) -> str:
        """Secret name of the integration user's password."""
        return f"{self.name}-password"

    @property
    def jwt_key_name(self) -> str:
        """Secret name of the private key for the JWT bearer grant."""
        return f"{self.name}-jwt-key"

    @property
    def record_name(self) -> str:
        """Secret name of the record of failed attempts."""
        return f"{self.name}-refresh-record"

    @property
    def own_names(self) -> tuple[str, ...]:
        """Every secret name that the connection takes in the vault."""
        return (
            self.client_id_name,
            self.client_secret_name,
            self.refresh_token_name,
            self.access_token_name,
            self.username_name,
            self.password_name,
            self.jwt_key_name,
            self.record_name,
        )

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
