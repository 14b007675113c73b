"""The credentials that a run may send, as they were read: each is judged only when a grant asks for it."""

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from refresher.keyvault.errors import missing
from refresher.keyvault.keys import SigningKey
from refresher.model.causes import Cause
from refresher.model.connection import Connection
from refresher.model.errors import VaultError
from refresher.model.grants import CLIENT_SECRET, PASSWORD, REFRESH_TOKEN, USERNAME, Grant
from refresher.model.stored import KeyLife, StoredRefreshToken, StoredSecret
from refresher.model.tokens import Secret
from refresher.policy.grants import is_ready
from refresher.policy.password_gate import PasswordRefusals
from refresher.policy.record import RefreshRecord

Found = StoredSecret | VaultError | None
_NOTHING: Mapping[str, Secret | str] = {}


class Credentials(NamedTuple):
    """What token requests may need: a secret that is missing or unreadable is an error once a grant asks for it."""

    connection: Connection
    vault_url: str
    secrets: Mapping[str, Found]
    """By name; those that the connection's grants do not need are not there."""
    refresh_token: StoredRefreshToken | None
    """The newest one that may be sent: a run that receives another goes on with that."""
    signing_key: SigningKey | VaultError | None = None
    """The key of a vault that signs, or why none can; None where none has to."""

    def form(self, grant: Grant, brought: Mapping[str, Secret | str] = _NOTHING) -> dict[str, Secret | str]:
        """The form's fields: what a person brought, and the rest as the vault holds it.

        Raises VaultError for the first secret that is missing or unreadable.
        """
        sends = self.connection.sends(grant).items()
        return {**{field: self.required(suffix) for field, suffix in sends if field not in brought}, **brought}

    def required(self, suffix: str) -> Secret:
        """One secret's value without surrounding white space. Raises VaultError where it is missing or unreadable."""
        if suffix == REFRESH_TOKEN and self.refresh_token is not None:
            return self.refresh_token.value
        name = self.connection.secret_name(suffix)
        return required_secret(checked(self.secrets.get(name)), name, self.vault_url)

    def has(self, grant: Grant) -> bool:
        """Whether everything is there that only this grant needs."""
        if grant.row.signed and isinstance(self.signing_key, VaultError):
            return False
        return all(self._stored(suffix) is not None for suffix in self.connection.own_secrets(grant))

    @property
    def key_life(self) -> KeyLife | VaultError | None:
        """When the key ends that signs, or why that cannot be said; None where none of a vault has to sign."""
        return self.signing_key.life if isinstance(self.signing_key, SigningKey) else self.signing_key

    @property
    def password_version(self) -> str | None:
        """Version of the stored password, with those of what is judged together with it; None where there is none."""
        if self._stored(PASSWORD) is None:
            return None
        return ".".join(secret.version if secret is not None else "" for secret in self._judged_together())

    def version_judged_by(self, refusals: PasswordRefusals) -> str | None:
        """The version for those refusals. A list tells none: what was stored before the last refusal was refused."""
        stored = [secret for secret in self._judged_together() if secret is not None]
        if not any(secret.unread for secret in stored):
            return self.password_version
        stored_at = self.password_stored_at
        newer = stored_at is not None and refusals.tried_at is not None and not refusals.was_tried_since(stored_at)
        return None if newer else refusals.version

    def fallback_ready(self, record: RefreshRecord) -> bool:
        """Whether the fallback grant could start another life, by what the record holds against it."""
        fallback, version = self.connection.fallback_grant, self.version_judged_by(record.password)
        complete = fallback is not None and self.has(fallback)
        return is_ready(fallback, complete=complete, password_version=version, record=record)

    @property
    def user_mark(self) -> str | None:
        """Mark of the user whose password is stored; None where there is none."""
        user_name = self._stored(USERNAME)
        return user_name.value.name_mark() if user_name is not None else None

    @property
    def password_stored_at(self) -> datetime | None:
        """When the newest of them was stored."""
        moments = [secret.created_on for secret in self._judged_together() if secret is not None]
        return max((each for each in moments if each is not None), default=None)

    @property
    def refresh_token_secret(self) -> StoredSecret | None:
        """The refresh token's secret as it was read, tags included."""
        secret = self.secrets.get(self.connection.refresh_token_name)
        return secret if isinstance(secret, StoredSecret) else None

    def stored_after(self, moment: datetime) -> tuple[str, ...]:
        """Names of what somebody stored since then; a refresh token that a run stored, ServiceNow gave it."""
        sent = {
            suffix for grant in self.connection.configured_grants for suffix in self.connection.sends(grant).values()
        }
        by_hand = self.refresh_token is not None and not self.refresh_token.own
        sent = sent | {REFRESH_TOKEN} if by_hand else sent - {REFRESH_TOKEN}
        stored = [secret for secret in map(self._stored, sorted(sent)) if secret is not None]
        return tuple(each.name for each in stored if each.created_on is not None and each.created_on > moment)

    def holds(self, values: Mapping[str, Secret]) -> bool:
        """Whether the vault holds these values already, by the ends of their secrets' names."""
        stored = {suffix: self._stored(suffix) for suffix in values}
        return all(secret is not None and secret.value.stripped() == values[key] for key, secret in stored.items())

    def _judged_together(self) -> list[StoredSecret | None]:
        """What ServiceNow's refusal of a password may have been about."""
        return [self._stored(suffix) for suffix in (PASSWORD, USERNAME, CLIENT_SECRET)]

    def _stored(self, suffix: str) -> StoredSecret | None:
        secret = self.secrets.get(self.connection.secret_name(suffix))
        return secret if isinstance(secret, StoredSecret) and secret.value.stripped() else None


def required_secret(secret: StoredSecret | None, name: str, vault_url: str) -> Secret:
    """Its value without surrounding white space. Raises VaultError where it is missing or empty."""
    if secret is None:
        raise missing(name, vault_url)
    value = secret.value.stripped()
    if not value:
        message = f"secret {name} in {vault_url} is empty"
        raise VaultError(message, cause=Cause.SECRET_INVALID, hint=f"Store the value in {name}.")
    return value


def checked(found: Found) -> StoredSecret | None:
    """What was read. Raises VaultError where it could not be read."""
    if isinstance(found, VaultError):
        raise found
    return found
