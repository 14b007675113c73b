"""`az` in a sandbox's shell: the few commands of the Azure CLI that the runbook uses, against the sandbox.

Not the Azure CLI: no more of its options than the runbook needs, and of its output the value that `--query` names. A
script that imports nothing of the sandbox, so that it starts quickly.
"""

import argparse
import json
import os
import re
import sys
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from azure.keyvault.secrets import SecretClient


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command."""
    options = build_parser().parse_args(arguments)
    run: Callable[[argparse.Namespace], str | None] = options.run
    said = run(options)
    if said:
        print(said)
    return 0


def build_parser() -> argparse.ArgumentParser:
    """The commands."""
    parser = argparse.ArgumentParser(prog="az", description=__doc__)
    groups = parser.add_subparsers(required=True, metavar="GROUP")
    vault = _group(groups, "keyvault")
    _command(vault, "show", _show_vault, "--name")
    policy = _command(vault, "set-policy", lambda _: "the sandbox's vault goes by roles", "--name", "--object-id")
    policy.add_argument("--secret-permissions", nargs="+", required=True)
    rules = _group(vault, "network-rule")
    _command(rules, "add", lambda _: "the sandbox's vault has no firewall", "--name", "--ip-address")
    secret = _group(vault, "secret")
    in_vault = ("--vault-name", "--name")
    _command(secret, "set", _set, *in_vault, "--file")
    _command(secret, "show", _show, *in_vault)
    _command(secret, "list-deleted", _list_deleted, "--vault-name")
    _command(secret, "recover", _recover, *in_vault)
    _command(secret, "set-attributes", _set_attributes, *in_vault, "--enabled")
    role = _group(_group(groups, "role"), "assignment")
    _command(role, "create", _assign_role, "--assignee", "--role", "--scope")
    app = _group(groups, "functionapp")
    in_group = ("--name", "--resource-group")
    _command(_group(app, "keys"), "list", _list_keys, *in_group)
    settings = _group(_group(app, "config"), "appsettings")
    _command(settings, "set", _set_settings, *in_group, "--settings")
    _command(settings, "list", _list_settings, *in_group)
    _command(groups, "login", lambda _: None)
    return parser


_Groups = argparse._SubParsersAction  # noqa: SLF001 - the type of what add_subparsers returns has no other name


def _group(parent: "_Groups[argparse.ArgumentParser]", name: str) -> "_Groups[argparse.ArgumentParser]":
    return parent.add_parser(name).add_subparsers(required=True, metavar="COMMAND")


def _command(
    group: "_Groups[argparse.ArgumentParser]",
    name: str,
    run: Callable[[argparse.Namespace], str | None],
    *required: str,
) -> argparse.ArgumentParser:
    parser = group.add_parser(name)
    for option in required:
        parser.add_argument(option, required=True)
    parser.add_argument("--query")
    parser.add_argument("--output")
    parser.set_defaults(run=run)
    return parser


def _client(options: argparse.Namespace) -> "SecretClient":
    # The SDK takes longer to load than most commands, which have no use for it.
    from azure.identity import ManagedIdentityCredential  # noqa: PLC0415
    from azure.keyvault.secrets import SecretClient  # noqa: PLC0415

    return SecretClient(f"https://{options.vault_name}", ManagedIdentityCredential())


def _show_vault(options: argparse.Namespace) -> str:
    return f"/subscriptions/sandbox/resourceGroups/sandbox/providers/Microsoft.KeyVault/vaults/{options.name}"


def _set(options: argparse.Namespace) -> None:
    _client(options).set_secret(options.name, Path(options.file).read_text("utf-8"))


def _show(options: argparse.Namespace) -> str:
    properties = _client(options).get_secret(options.name).properties
    return "\n".join(f"{name}\t{value}" for name, value in sorted((properties.tags or {}).items()))


def _list_deleted(options: argparse.Namespace) -> str:
    return "\n".join(each.name or "" for each in _client(options).list_deleted_secrets())


def _recover(options: argparse.Namespace) -> None:
    _client(options).begin_recover_deleted_secret(options.name)


def _set_attributes(options: argparse.Namespace) -> None:
    _client(options).update_secret_properties(options.name, enabled=options.enabled == "true")


def _assign_role(options: argparse.Namespace) -> str | None:
    scope = re.fullmatch(r"/subscriptions/.+/vaults/[^/]+/secrets/([^/]+)", options.scope)
    if scope is None:
        return "the sandbox knows roles on single secrets only"
    _ask("grant", {"secret": scope[1]})
    return None


def _list_keys(_: argparse.Namespace) -> str:
    return os.environ["KEY"]


def _set_settings(options: argparse.Namespace) -> None:
    name, _, value = options.settings.partition("=")
    _ask("settings", {name: value})


def _list_settings(_: argparse.Namespace) -> str:
    names = [name for name in os.environ if name.startswith(("KEY_VAULT", "SERVICENOW", "PUBLISH", "REFRESH_"))]
    return json.dumps([{"name": name, "slotSetting": False, "value": os.environ[name]} for name in names], indent=2)


def _ask(what: str, params: Mapping[str, str]) -> None:
    url = f"{os.environ['URL']}/sandbox/{what}?{urllib.parse.urlencode(params)}"
    urllib.request.urlopen(urllib.request.Request(url, method="POST")).close()  # noqa: S310 - the sandbox's own


if __name__ == "__main__":
    sys.exit(main())
