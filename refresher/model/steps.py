"""What a person can do next, as a value: words, and commands with their arguments.

Page, terminal and JSON render the same `Step`; none has to find a command in prose again. Commands are written here
and nowhere else, as they are typed into a shell, so that each can be given to the parser of the program it names.
"""

import shlex
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
    return _in_vault("secret", "set", vault, name, "--file", "FILE", "--output", "none")


def recover_secret(vault: str, name: str) -> Command:
    """Take back a soft-deleted secret."""
    return _in_vault("secret", "recover", vault, name)


def enable_secret(vault: str, name: str) -> Command:
    """Enable a secret's newest version."""
    return _in_vault("secret", "set-attributes", vault, name, "--enabled", "true")


def list_deleted() -> Command:
    """List the soft-deleted secrets of the vault."""
    return Command(("az", "keyvault", "secret", "list-deleted", "--vault-name", VAULT))


READ_A_SECRET = "ServiceNow token refresher: read a secret"  # noqa: S105 - a role's name
KEEP_A_SECRET = "ServiceNow token refresher: keep a secret"  # noqa: S105
SIGN_WITH_A_KEY = "ServiceNow token refresher: sign with a key"
"""How the names of the project's own roles begin (docs/azure.md); each deployment adds its own name."""
APP_IDENTITY = (
    '"$(az functionapp config appsettings list --name "$APP" --resource-group "$GROUP" '
    '--query "[?name==\'AZURE_CLIENT_ID\'].value" --output tsv)"'
)
"""The app's identity, as the runbook's shell can find it; where it is known, that stands in its place."""


def assign_role(role: str, vault: str, what: str) -> Command:
    """Give the app's identity a role of the project's own on one secret or key: `secrets/NAME`, `keys/NAME`."""
    query = f"[?starts_with(roleName, '{role}')].roleName | [0]"
    named = f'"$(az role definition list --custom-role-only true --query "{query}" --output tsv)"'
    return _assign(APP_IDENTITY, named, vault, f"/{what}")


def let_read_dates(vault: str, identity: str) -> Command:
    """Let a person read the names and dates of a vault's secrets, and no values: what who is on call gets."""
    return _assign(identity, '"Key Vault Reader"', vault, "")


def of_identity(step: Step, object_id: str) -> Step:
    """The same step with the identity's object id in the place of the command that looks for it."""
    return step.naming(APP_IDENTITY, object_id).naming("--spn", "--object-id")


def _assign(identity: str, role: str, vault: str, what: str) -> Command:
    scope = f'"$(az keyvault show --name {vault} --query id --output tsv){what}"'
    return Command(("az", "role", "assignment", "create", "--assignee", identity, "--role", role, "--scope", scope))


def enable_key(vault: str, name: str) -> Command:
    """Enable a key's newest version."""
    return _in_vault("key", "set-attributes", vault, name, "--enabled", "true")


def show_key(vault: str, name: str) -> Command:
    """Show what a key is, and when it may be used."""
    return _in_vault("key", "show", vault, name)


def recover_key(vault: str, name: str) -> Command:
    """Take back a soft-deleted key."""
    return _in_vault("key", "recover", vault, name)


def list_key_versions(vault: str, name: str) -> Command:
    """List the versions of a key."""
    return _in_vault("key", "list-versions", vault, name)


def _in_vault(kind: str, action: str, vault: str, name: str, *more: str) -> Command:
    return Command(("az", "keyvault", kind, action, "--vault-name", vault, "--name", name, *more))


def set_policy(vault: str, *, reads_only: bool = False) -> Command:
    """Let the app's identity read secrets, and write them, in a vault that goes by access policies."""
    return _policy(vault, "--secret-permissions", "get", *(() if reads_only else ("set", "recover")))


def set_key_policy(vault: str) -> Command:
    """Let the app's identity read keys, and sign with them, in such a vault."""
    return _policy(vault, "--key-permissions", "get", "sign")


def _policy(vault: str, *permissions: str) -> Command:
    return Command(("az", "keyvault", "set-policy", "--name", vault, "--spn", APP_IDENTITY, *permissions))


def let_address_in(vault: str, address: str) -> Command:
    """Let a machine through a vault's firewall."""
    return Command(("az", "keyvault", "network-rule", "add", "--name", vault, "--ip-address", address))


def break_lease(account: str, container: str, blob: str) -> Command:
    """End a lease that its holder does not end."""
    words = ("az", "storage", "blob", "lease", "break", "--account-name", account, "--container-name", container)
    return Command((*words, "--blob-name", blob, "--auth-mode", "login"))


def set_app_setting(setting: str = "SETTING", value: str = "VALUE") -> Command:
    """Correct an app setting."""
    return _app_settings("set", "--settings", shlex.quote(f"{setting}={value}"))


def delete_app_setting(name: str) -> Command:
    """Take an app setting out."""
    return _app_settings("delete", "--setting-names", name)


def _app_settings(action: str, *more: str) -> Command:
    words = ("az", "functionapp", "config", "appsettings", action, "--name", '"$APP"', "--resource-group", '"$GROUP"')
    return Command((*words, *more))


def create_service_principal() -> Command:
    """Give an application of Microsoft Entra its service principal in this tenant."""
    return Command(("az", "ad", "sp", "create", "--id", "APPLICATION"))


def log_in(tenant: str | None = None) -> Command:
    """Sign in on a laptop; to a tenant, where it is not one's own."""
    return Command(("az", "login", *(("--tenant", tenant) if tenant else ())))
