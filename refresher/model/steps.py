"""What a person can do next, as a value: words, and commands with their arguments.

Page, terminal and JSON render the same `Step`; none has to find a command in prose again. Commands are written here
and nowhere else, as they are typed into a shell, so that each can be given to the parser of the program it names.
"""

from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Command:
    """A command line, word by word as a shell wants them, quotes included."""

    words: tuple[str, ...]

    def __str__(self) -> str:
        return " ".join(self.words)


class Step(str):
    """A sentence that knows which of its pieces are commands; for JSON and for comparisons it is its text.

    A subclass of `str`, as `markupsafe.Markup` is one. Pieces may be steps themselves.
    """

    __slots__ = ("pieces",)
    pieces: tuple[str | Command, ...]

    def __new__(cls, *pieces: "str | Command | Step") -> Self:
        """Join the pieces."""
        flat: list[str | Command] = []
        for piece in pieces:
            flat += piece.pieces if isinstance(piece, Step) else [piece]
        step = super().__new__(cls, "".join(map(str, flat)))
        step.pieces = tuple(flat)
        return step

    @property
    def commands(self) -> tuple[Command, ...]:
        """The commands, in their order."""
        return tuple(piece for piece in self.pieces if isinstance(piece, Command))

    def naming(self, placeholder: str, name: str) -> "Step":
        """The same step with a name in the place of that word."""
        return Step(
            *(
                Command(tuple(word.replace(placeholder, name) for word in piece.words))
                if isinstance(piece, Command)
                else piece.replace(placeholder, name)
                for piece in self.pieces
            )
        )

    def apart(self) -> tuple[str | Command, ...]:
        """The pieces for a list in which each stands alone: without the signs that join it to its neighbours."""
        pieces = (piece if isinstance(piece, Command) else piece.strip(" .;,") for piece in self.pieces)
        return tuple(piece for piece in pieces if piece)


VAULT = '"$VAULT"'
"""The vault's name as the runbook's shell knows it, where a step cannot know better."""


def _refresher(*words: str) -> Command:
    return Command(("python", "-m", "refresher", *words))


def refresh(connection: str, *, force: bool = False) -> Command:
    """Run a connection now."""
    return _refresher("refresh", connection, *(["--force"] if force else []))


def refresh_all() -> Command:
    """Refresh what is due of all connections."""
    return _refresher("refresh")


def authorize(connection: str, *, browser: bool = False) -> Command:
    """Begin a new refresh token's life; with the password, since the guide's OAuth application has that grant."""
    return _refresher("authorize", connection, "--grant", "authorization_code" if browser else "password")


def status(connection: str) -> Command:
    """Say how a connection stands."""
    return _refresher("status", connection)


def probe(connection: str) -> Command:
    """Try a connection's stored token."""
    return _refresher("probe", connection)


def doctor(connection: str | None = None) -> Command:
    """Try every precondition; of one connection, or of all."""
    return _refresher("doctor", *([connection] if connection is not None else []))


def set_secret(vault: str, name: str) -> Command:
    """Store a secret's value from a file, so that no other process sees it."""
    return _secret("set", vault, name, "--file", "FILE", "--output", "none")


def recover_secret(vault: str, name: str) -> Command:
    """Take back a soft-deleted secret."""
    return _secret("recover", vault, name)


def enable_secret(vault: str, name: str) -> Command:
    """Enable a secret's newest version."""
    return _secret("set-attributes", vault, name, "--enabled", "true")


def _secret(action: str, vault: str, name: str, *more: str) -> Command:
    return Command(("az", "keyvault", "secret", action, "--vault-name", vault, "--name", name, *more))


def list_deleted(vault: str = VAULT) -> Command:
    """List the soft-deleted secrets of a vault."""
    return Command(("az", "keyvault", "secret", "list-deleted", "--vault-name", vault))


def assign_role(role: str, vault: str, secret: str, identity: str) -> Command:
    """Give an identity a role on one secret."""
    scope = f'"$(az keyvault show --name {vault} --query id --output tsv)/secrets/{secret}"'
    words = ("az", "role", "assignment", "create", "--assignee", identity, "--role", f'"{role}"', "--scope", scope)
    return Command(words)


def assign_key_role(role: str, vault: str, key: str, identity: str) -> Command:
    """Give an identity a role on one key."""
    scope = f'"$(az keyvault show --name {vault} --query id --output tsv)/keys/{key}"'
    words = ("az", "role", "assignment", "create", "--assignee", identity, "--role", f'"{role}"', "--scope", scope)
    return Command(words)


def set_key_policy(vault: str, identity: str) -> Command:
    """Let an identity read keys, and sign with them, in a vault that goes by access policies."""
    permissions = ("--key-permissions", "get", "sign")
    return Command(("az", "keyvault", "set-policy", "--name", vault, "--object-id", identity, *permissions))


def enable_key(vault: str, name: str) -> Command:
    """Enable a key's newest version."""
    return _key("set-attributes", vault, name, "--enabled", "true")


def show_key(vault: str, name: str) -> Command:
    """Show what a key is, and when it may be used."""
    return _key("show", vault, name)


def recover_key(vault: str, name: str) -> Command:
    """Take back a soft-deleted key."""
    return _key("recover", vault, name)


def list_key_versions(vault: str, name: str) -> Command:
    """List the versions of a key."""
    return _key("list-versions", vault, name)


def _key(action: str, vault: str, name: str, *more: str) -> Command:
    return Command(("az", "keyvault", "key", action, "--vault-name", vault, "--name", name, *more))


def set_policy(vault: str, identity: str) -> Command:
    """Let an identity read and write secrets in a vault that goes by access policies."""
    permissions = ("--secret-permissions", "get", "set", "recover")
    return Command(("az", "keyvault", "set-policy", "--name", vault, "--object-id", identity, *permissions))


def let_address_in(vault: str) -> Command:
    """Let a machine through a vault's firewall."""
    return Command(("az", "keyvault", "network-rule", "add", "--name", vault, "--ip-address", "ADDRESS"))


def break_lease(account: str, container: str, blob: str) -> Command:
    """End a lease that its holder does not end."""
    words = ("az", "storage", "blob", "lease", "break", "--account-name", account, "--container-name", container)
    return Command((*words, "--blob-name", blob, "--auth-mode", "login"))


def set_app_setting() -> Command:
    """Correct an app setting."""
    words = ("az", "functionapp", "config", "appsettings", "set", "--name", '"$APP"', "--resource-group", '"$GROUP"')
    return Command((*words, "--settings", "SETTING=VALUE"))


def create_service_principal() -> Command:
    """Give an application of Microsoft Entra its service principal in this tenant."""
    return Command(("az", "ad", "sp", "create", "--id", "APPLICATION"))


def log_in() -> Command:
    """Sign in on a laptop."""
    return Command(("az", "login"))
