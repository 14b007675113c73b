"""A connection: one OAuth application on one instance, the names of its secrets, and where its tokens go."""

import hashlib
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import NamedTuple

from refresher.model import grants
from refresher.model.grants import Grant

ACCESS_TOKEN = "oauth-token"  # noqa: S105 - how the secret's name ends
_RECORD = "refresh-record"
CONNECTION_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")


def own_names(connection: str) -> tuple[str, ...]:
    """Every secret name that a connection of that name can take in the vault, by whatever grant."""
    return tuple(f"{connection}-{suffix}" for suffix in (*grants.STORED, ACCESS_TOKEN, _RECORD))


class SecretIdentifier(NamedTuple):
    """A secret of Key Vault, a target or one of the app's own: its vault's origin, without a slash, and its name."""

    vault_url: str
    name: str


class KeyIdentifier(NamedTuple):
    """A key of Key Vault: its vault's origin, without a slash at the end, its name, and one version or the newest."""

    vault_url: str
    name: str
    version: str | None = None


class JwtClaims(NamedTuple):
    """What the assertion of the JWT bearer grant says (RFC 7523); `audience` and `issuer` None: the client id."""

    subject: str
    kid: str | None = None
    kids: tuple[tuple[str, str], ...] = ()
    """Versions of the key that ServiceNow knows, each with its key id; with these, no other version signs."""
    audience: str | None = None
    issuer: str | None = None
    algorithm: str = "RS256"
    lifetime: timedelta = timedelta(minutes=5)
    backdating: timedelta = timedelta(seconds=30)
    key: KeyIdentifier | None = None
    """The key of a vault that signs; None: the key is a secret."""
    public_client: bool = False
    """Whether ServiceNow asks for no client secret."""

    def kid_of(self, version: str) -> str | None:
        """The key id that ServiceNow knows that version by."""
        return self.kid or dict(self.kids).get(version)


class Connection(NamedTuple):
    """One OAuth application on one instance, and where its access token goes."""

    name: str
    instance_url: str
    grant: Grant
    fallback_grant: Grant | None
    publish_to: tuple[SecretIdentifier, ...]
    probe_path: str | None
    refresh_token_lifetime: timedelta
    verify_interval: timedelta | None = None
    """How often the stored token is tried at the instance: None at each tick, nothing never."""
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
    def refresh_token_name(self) -> str:
        """Secret name of the current refresh token."""
        return self.secret_name(grants.REFRESH_TOKEN)

    @property
    def access_token_name(self) -> str:
        """Secret name of the current access token, for any consumer."""
        return self.secret_name(ACCESS_TOKEN)

    @property
    def record_name(self) -> str:
        """Secret name of the record of failed attempts."""
        return self.secret_name(_RECORD)

    @property
    def configured_grants(self) -> tuple[Grant, ...]:
        """The grant, and the fallback grant where there is one."""
        return (self.grant,) if self.fallback_grant is None else (self.grant, self.fallback_grant)

    def sends(self, grant: Grant) -> Mapping[str, str]:
        """What a request by a grant sends out of secrets: form field, and how the name of the secret ends."""
        sends = dict(grant.row.sends)
        if grant.row.signed and self.jwt is not None:
            if self.jwt.public_client:
                del sends["client_secret"]
            if self.jwt.key is not None:
                del sends["assertion"]
        return sends

    def own_secrets(self, grant: Grant) -> tuple[str, ...]:
        """How the names of the secrets end that only this grant needs, and not the client's, which most share."""
        return tuple(suffix for suffix in self.sends(grant).values() if suffix not in grants.CLIENT)

    @property
    def signing_key(self) -> KeyIdentifier | None:
        """The key of a vault that signs for one of its grants."""
        signs = any(grant.row.signed for grant in self.configured_grants)
        return self.jwt.key if signs and self.jwt is not None else None

    @property
    def has_client_secret(self) -> bool:
        """Whether any of them authenticates an OAuth application; without one there is no refresh token either."""
        return any(grants.CLIENT_SECRET in self.sends(grant).values() for grant in self.configured_grants)

    @property
    def only_entra(self) -> bool:
        """Whether all its tokens are Microsoft Entra's, of which ServiceNow knows none."""
        return all(grant.row.grant_type is None for grant in self.configured_grants)

    @property
    def own_names(self) -> tuple[str, ...]:
        """Every secret name that the connection takes in the vault."""
        if self.has_client_secret:
            return own_names(self.name)
        sent = (suffix for grant in self.configured_grants for suffix in self.sends(grant).values())
        return (
            *(self.secret_name(suffix) for suffix in dict.fromkeys(sent)),
            self.access_token_name,
            self.record_name,
        )

    @property
    def probe_mark(self) -> str:
        """What stands for the probe in a tag: whether it ever accepted a token is known of this one alone."""
        return hashlib.sha256(f"{self.instance_url}{self.probe_path}".encode()).hexdigest()[:16]

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
