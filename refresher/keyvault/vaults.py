"""All vaults of the process as one: opened when first needed, read side by side, written side by side.

Each keeps its client for the life of the process, and with it the warm connection and the vault's challenge. The
threads are everybody's: what others can do without gets a short share of the time, so that a vault or a secret that
hangs neither holds a thread for long nor keeps the token from all the others.
"""

import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Executor
from datetime import timedelta
from typing import TypeVar

from azure.keyvault.secrets import SecretClient

from refresher.keyvault.credentials import Found
from refresher.keyvault.keys import Keys
from refresher.keyvault.vault import Vault
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import SecretIdentifier
from refresher.model.errors import VaultError
from refresher.model.stored import StoredSecret

_OTHERS_TAKE = timedelta(seconds=5)
_SHARE_OF_OTHERS = 0.25
_T = TypeVar("_T")


class Vaults:
    """Every vault that the settings name; `own_url` is the one with credentials and tokens. Safe between threads."""

    def __init__(
        self, own_url: str, clock: Clock, executor: Executor, make_client: Callable[[str], SecretClient], keys: Keys
    ) -> None:
        self.own_url = own_url
        self.executor = executor
        self.keys = keys
        self._clock = clock
        self._make_client = make_client
        self._opened: dict[str, Vault] = {}
        self._lock = threading.Lock()

    def own(self, name: str) -> SecretIdentifier:
        """The place of a secret in the connection's own vault."""
        return SecretIdentifier(vault_url=self.own_url, name=name)

    @property
    def main(self) -> Vault:
        """The connection's own vault."""
        return self.open(self.own_url)

    def open(self, url: str) -> Vault:
        """The vault at that address; one client each, kept."""
        with self._lock:
            if url not in self._opened:
                self._opened[url] = Vault(url, self._make_client(url), self._clock)
            return self._opened[url]

    def remarks(self) -> dict[str, str]:
        """What policies of the vaults were seen to refuse, by the vault's address."""
        with self._lock:
            return {url: vault.dates.remark for url, vault in self._opened.items() if vault.dates.remark is not None}

    def read(
        self,
        places: Collection[SecretIdentifier],
        deadline: Deadline,
        *,
        needed: Collection[SecretIdentifier] = (),
    ) -> dict[SecretIdentifier, Found]:
        """What each place holds, or why that cannot be said.

        A place in another vault has a short share of the time, and so has any that is not needed from the moment on at
        which its own vault answered for another one: that is there then, and this secret is not.
        """
        while_silent, share_of_others = deadline.part(1.0, timedelta.max), short_share(deadline)

        def read_one(vault: Vault, place: SecretIdentifier, limit: Deadline) -> StoredSecret | None:
            found = vault.read(place.name, limit)
            if place.vault_url == self.own_url:
                while_silent.end_within(short_share(deadline).remaining())
            return found

        def limit_of(place: SecretIdentifier) -> Deadline:
            if place.vault_url != self.own_url:
                return share_of_others
            return deadline if place in needed else while_silent

        return self.at_each(places, read_one, limit_of)

    def at_each(
        self,
        places: Iterable[SecretIdentifier],
        request: Callable[[Vault, SecretIdentifier, Deadline], _T],
        limit_of: Callable[[SecretIdentifier], Deadline],
    ) -> dict[SecretIdentifier, _T | VaultError]:
        """Ask for the same at several places side by side: what came of it at each, or its VaultError."""

        def ask(place: SecretIdentifier) -> _T | VaultError:
            try:
                return request(self.open(place.vault_url), place, limit_of(place))
            except VaultError as error:
                return error

        return dict(zip(places, self.executor.map(ask, places), strict=True))

    def once_recovered(
        self,
        place: SecretIdentifier,
        request: Callable[[Vault, SecretIdentifier, Deadline], _T],
        limit: Deadline,
    ) -> _T | VaultError:
        """Ask at one place, and for as long as its name is being recovered, wait and ask again."""
        vault = self.open(place.vault_url)
        try:
            return vault.once_recovered(lambda: request(vault, place, limit), limit)
        except VaultError as error:
            return error

    def close(self) -> None:
        """Close the connections."""
        for vault in self._opened.values():
            vault.close()
        self.keys.close()


def short_share(deadline: Deadline) -> Deadline:
    """A short share of the time, for what others can do without."""
    return deadline.part(_SHARE_OF_OTHERS, _OTHERS_TAKE)
