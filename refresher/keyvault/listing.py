"""What somebody learns of secrets whose values he may not read: names, dates and tags, from a list of the vault.

*Key Vault Reader* allows just that (`secrets/readMetadata/action`), and is the role of whoever is on call. The list
tells the newest version's attributes and tags of every secret, 25 to a page
(https://learn.microsoft.com/rest/api/keyvault/secrets/get-secrets/get-secrets); it is asked for once for all
connections: where every value was refused, or any to somebody who is not the app. What the app may not read, it lacks.
"""

import threading
from collections.abc import Collection, Mapping

from refresher.keyvault.credentials import Found
from refresher.keyvault.vaults import Vaults
from refresher.model.causes import Cause
from refresher.model.clock import Deadline
from refresher.model.connection import SecretIdentifier
from refresher.model.errors import VaultError
from refresher.model.stored import StoredSecret
from refresher.model.tokens import Secret

Listed = Mapping[str, Found]
"""By the secret's name in lower case, as Key Vault compares names."""


def runs_in_app(environ: Mapping[str, str]) -> bool:
    """Whether this is the app, as its platform says; who signs in there is another question."""
    return bool(environ.get("WEBSITE_SITE_NAME") or environ.get("IDENTITY_ENDPOINT"))


class Listing:
    """The lists of vaults, each read when it is first needed. Safe between threads; good for one look."""

    def __init__(self, vaults: Vaults, *, by_app: bool) -> None:
        self.by_app = by_app
        """Whether the app itself looks, as far as can be seen: what is refused to it keeps it from refreshing."""
        self._vaults = vaults
        self._lock = threading.Lock()
        self._listed: dict[str, Listed | VaultError] = {}

    def instead(
        self, found: Mapping[SecretIdentifier, Found], tokens: Collection[SecretIdentifier], deadline: Deadline
    ) -> Mapping[SecretIdentifier, Found]:
        """What was read, and what the list tells instead of values that were refused.

        Tokens are compared, by their values or by their tags: while any can be read, none is told by its tags.
        """
        own = {place: _is_refused(held) for place, held in found.items() if place.vault_url == self._vaults.own_url}
        if self.by_app and not all(own.values()):
            return found
        unread = all(refused for place, refused in own.items() if place in tokens)
        return {
            place: self.described(place, held, deadline) if unread or place not in tokens else held
            for place, held in found.items()
        }

    def described(self, place: SecretIdentifier, held: Found, deadline: Deadline) -> Found:
        """The same, but for a value that was refused: its secret without the value, or the refusal as it was."""
        if not _is_refused(held):
            return held
        with self._lock:
            if place.vault_url not in self._listed:
                self._listed[place.vault_url] = self._list(place.vault_url, deadline)
            listed = self._listed[place.vault_url]
        if isinstance(listed, VaultError):
            return held
        instead = listed.get(place.name.lower())
        return _with_stand_in(instead) if isinstance(instead, StoredSecret) else instead

    def _list(self, url: str, deadline: Deadline) -> Listed | VaultError:
        try:
            return {name.lower(): each for name, each in self._vaults.open(url).list_all(deadline).items()}
        except VaultError as error:
            return error


def _with_stand_in(secret: StoredSecret) -> StoredSecret:
    """A token is known by who issued it when: its copies have the same tags. Any other secret is only itself."""
    issue = [secret.tags[tag] for tag in ("vault", "connection", "issued-at") if tag in secret.tags]
    return secret._replace(value=Secret(" ".join(issue or [secret.name])), unread=True)


def _is_refused(found: Found) -> bool:
    return isinstance(found, VaultError) and found.cause is Cause.VAULT_FORBIDDEN
