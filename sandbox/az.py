"""`az` and `azd` in a sandbox's shell: the commands that the documents use, against the sandbox.

Not the Azure CLI. It knows the options and the queries that the documents use, and refuses every other one: an answer
that is nearly right would teach something wrong. A script that imports nothing of the sandbox, so that it starts soon.
"""

import argparse
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from azure.keyvault.secrets import KeyVaultSecret, SecretClient

USAGE = 2
_HEADER = "Authorization: Bearer "
_QUERIES: Mapping[str, Callable[[Any], object]] = {
    "[?name=='AZURE_CLIENT_ID'].value": lambda found: [
        each["value"] for each in found if each["name"] == "AZURE_CLIENT_ID"
    ],
    "[].name": lambda found: [each["name"] for each in found],
    "[?ends_with(name, 'Disabled')]": lambda found: [each for each in found if each["name"].endswith("Disabled")],
    "attributes.expires": lambda found: found["attributes"]["expires"],
    "default": lambda found: found["default"],
    "id": lambda found: found["id"],
    f"join('', ['{_HEADER}', value])": lambda found: _HEADER + found["value"],
    "state": lambda found: found["state"],
    "tags": lambda found: found["tags"],
    'tags."issued-at"': lambda found: (found["tags"] or {}).get("issued-at"),
    "value": lambda found: found["value"],
}
_ROLES = tuple(f"ServiceNow token refresher: {what}" for what in ("read a secret", "keep a secret", "sign with a key"))
_ROLE_QUERY = re.compile(r"\[\?starts_with\(roleName, '([^']+)'\)\]\.roleName \| \[0\]")
_AZD_NAMES = {
    "AZURE_FUNCTION_APP_NAME": "APP",
    "AZURE_FUNCTION_APP_URL": "URL",
    "AZURE_KEY_VAULT_NAME": "VAULT",
    "AZURE_RESOURCE_GROUP": "GROUP",
}


class RefusedError(Exception):
    """What the sandbox cannot do as Azure would."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 2 where it, an option or a query is not known, 1 where it failed."""
    options = build_parser().parse_args(arguments)
    failure = ""
    try:
        _print(_asked(options.run(options), options.query), options.output)
    except RefusedError as error:
        print(f"az: {error}", file=sys.stderr)
        return USAGE
    except urllib.error.HTTPError as error:
        with error:
            failure = error.read().decode().strip()
    except Exception as error:  # noqa: BLE001 - the SDK's, whose first line says it
        failure = str(error).splitlines()[0]
    if failure:
        print(f"az: {failure}", file=sys.stderr)
    return 1 if failure else 0


def _asked(found: object, query: str | None) -> object:
    if query is None or found is None:
        return found
    role = _ROLE_QUERY.fullmatch(query)
    if role is not None:
        return next((each for each in found if each.startswith(role[1])), None) if isinstance(found, list) else None
    if query not in _QUERIES:
        message = f"the sandbox knows no --query {query!r}; it knows {', '.join(_QUERIES)}"
        raise RefusedError(message)
    try:
        return _QUERIES[query](found)
    except (KeyError, TypeError):
        return None


def _print(found: object, output: str) -> None:
    if found is None or output == "none":
        return
    if output == "json":
        print(json.dumps(found, indent=2))
        return
    for row in found if isinstance(found, list) else [found]:
        print("\t".join(map(str, row.values())) if isinstance(row, dict) else row)


class _Strict(argparse.ArgumentParser):
    def __init__(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - argparse passes its own
        super().__init__(*args, **{**kwargs, "allow_abbrev": False})


def build_parser() -> argparse.ArgumentParser:
    """The commands."""
    parser = _Strict(prog="az", description=__doc__)
    groups = parser.add_subparsers(required=True, metavar="GROUP")
    _command(groups, "login", lambda _: None).add_argument("--tenant")
    vault = _group(groups, "keyvault")
    _command(vault, "show", _show_vault, "--name")
    policy = _command(vault, "set-policy", _refusal("the sandbox's vault goes by roles"), "--name")
    whose = policy.add_mutually_exclusive_group(required=True)
    whose.add_argument("--object-id")
    whose.add_argument("--spn")
    permissions = policy.add_mutually_exclusive_group(required=True)
    for kind in ("secret", "key"):
        permissions.add_argument(f"--{kind}-permissions", nargs="+")
    rules = _group(vault, "network-rule")
    _command(rules, "add", _refusal("the sandbox's vault has no firewall"), "--name", "--ip-address")
    secret = _group(vault, "secret")
    in_vault = ("--vault-name", "--name")
    _command(secret, "set", _set, *in_vault, "--file").add_argument("--tags", nargs="*", default=[])
    _command(secret, "show", _show, *in_vault)
    _command(secret, "download", _download, *in_vault, "--file")
    _command(secret, "list-deleted", _list_deleted, "--vault-name")
    _command(secret, "recover", _recover, *in_vault)
    _command(secret, "set-attributes", _set_attributes, *in_vault, "--enabled")
    key = _group(vault, "key")
    for name in ("show", "list-versions", "recover"):
        _command(key, name, _refusal("the sandbox's keys are made by Python alone"), *in_vault)
    _command(key, "set-attributes", _refusal("the sandbox's keys are made by Python alone"), *in_vault, "--enabled")
    principal = _group(_group(groups, "ad"), "sp")
    _command(principal, "create", lambda _: "the sandbox's tenant makes it with each application", "--id")
    lease = _group(_group(_group(groups, "storage"), "blob"), "lease")
    in_container = ("--account-name", "--container-name", "--blob-name", "--auth-mode")
    _command(lease, "break", _refusal("the sandbox's leases end by themselves"), *in_container)
    roles = _group(groups, "role")
    _command(_group(roles, "definition"), "list", lambda _: list(_ROLES), "--custom-role-only")
    _command(_group(roles, "assignment"), "create", _assign_role, "--assignee", "--role", "--scope")
    app = _group(groups, "functionapp")
    in_group = ("--name", "--resource-group")
    _command(app, "show", lambda _: {"name": "sandbox", "state": _ask("GET", "state").strip()}, *in_group)
    _command(app, "restart", lambda _: _ask("POST", "restart") or None, *in_group)
    identity = {"principalId": "sandbox", "tenantId": "sandbox", "type": "UserAssigned"}
    _command(_group(app, "identity"), "show", lambda _: identity, *in_group)
    keys = _group(_group(app, "function"), "keys")
    _command(keys, "list", lambda _: {"default": os.environ["KEY"]}, *in_group, "--function-name")
    _command(keys, "set", _set_key, *in_group, "--function-name", "--key-name")
    settings = _group(_group(app, "config"), "appsettings")
    _command(settings, "set", _set_settings, *in_group).add_argument("--settings", nargs="+", required=True)
    taken = _command(settings, "delete", _refusal("the sandbox's settings are those of its shell"), *in_group)
    taken.add_argument("--setting-names", nargs="+", required=True)
    _command(settings, "list", lambda _: json.loads(_ask("GET", "settings")), *in_group)
    # `azd` is the same script under another first word.
    _command(_group(_group(groups, "azd"), "env"), "get-value", _azd_value).add_argument("key", choices=_AZD_NAMES)
    return parser


_Groups = argparse._SubParsersAction  # noqa: SLF001 - the type of what add_subparsers returns has no other name


def _group(parent: "_Groups[_Strict]", name: str) -> "_Groups[_Strict]":
    return parent.add_parser(name).add_subparsers(required=True, metavar="COMMAND")


def _command(
    group: "_Groups[_Strict]", name: str, run: Callable[[argparse.Namespace], object], *required: str
) -> argparse.ArgumentParser:
    parser = group.add_parser(name)
    for option in required:
        parser.add_argument(option, required=True)
    parser.add_argument("--query")
    parser.add_argument("--output", choices=("json", "tsv", "none"), default="json")
    parser.set_defaults(run=run)
    return parser


def _client(options: argparse.Namespace) -> "SecretClient":
    # The SDK takes longer to load than most commands, which have no use for it.
    from azure.identity import ManagedIdentityCredential  # noqa: PLC0415
    from azure.keyvault.secrets import SecretClient  # noqa: PLC0415

    return SecretClient(f"https://{options.vault_name}", ManagedIdentityCredential(), retry_total=0)


def _as_azure_shows(secret: "KeyVaultSecret") -> object:
    expires = secret.properties.expires_on
    attributes = {
        "enabled": secret.properties.enabled,
        "expires": expires.isoformat(timespec="seconds") if expires else None,
    }
    return {
        "attributes": attributes,
        "contentType": secret.properties.content_type,
        "id": secret.id,
        "name": secret.name,
        "tags": secret.properties.tags,
        "value": secret.value,
    }


def _show_vault(options: argparse.Namespace) -> object:
    name = options.name
    return {"id": f"/subscriptions/sandbox/resourceGroups/sandbox/providers/Microsoft.KeyVault/vaults/{name}"}


def _set(options: argparse.Namespace) -> object:
    tags = dict(each.split("=", 1) for each in options.tags)
    value = Path(options.file).read_text("utf-8")
    return _as_azure_shows(_client(options).set_secret(options.name, value, tags=tags))


def _show(options: argparse.Namespace) -> object:
    return _as_azure_shows(_client(options).get_secret(options.name))


def _download(options: argparse.Namespace) -> None:
    with Path(options.file).open("x", encoding="utf-8") as file:
        file.write(_client(options).get_secret(options.name).value or "")


def _list_deleted(options: argparse.Namespace) -> object:
    return [{"name": each.name} for each in _client(options).list_deleted_secrets()]


def _recover(options: argparse.Namespace) -> object:
    return {"name": _client(options).begin_recover_deleted_secret(options.name).result().name}


def _set_attributes(options: argparse.Namespace) -> None:
    if options.enabled not in {"true", "false"}:
        message = "--enabled is true or false"
        raise RefusedError(message)
    _client(options).update_secret_properties(options.name, enabled=options.enabled == "true")


def _refusal(message: str) -> Callable[[argparse.Namespace], None]:
    def refuse(_: argparse.Namespace) -> None:
        raise RefusedError(message)

    return refuse


def _assign_role(options: argparse.Namespace) -> None:
    scope = re.fullmatch(r"/subscriptions/.+/vaults/[^/]+/secrets/([^/]+)", options.scope)
    if options.role not in {*_ROLES, "Key Vault Reader"}:
        message = f"the sandbox knows no role {options.role!r}"
        raise RefusedError(message)
    if scope is None:
        message = "the sandbox knows roles on single secrets only"
        raise RefusedError(message)
    _ask("POST", "grant", {"secret": scope[1]})


def _set_settings(options: argparse.Namespace) -> object:
    return json.loads(_ask("POST", "settings", dict(each.split("=", 1) for each in options.settings)))


def _set_key(options: argparse.Namespace) -> object:
    return json.loads(_ask("POST", "function-key", {"function": options.function_name, "name": options.key_name}))


def _azd_value(options: argparse.Namespace) -> None:
    print(os.environ[_AZD_NAMES[options.key]])


def _ask(method: str, what: str, params: Mapping[str, str] | None = None) -> str:
    url = f"{os.environ['URL']}/sandbox/{what}?{urllib.parse.urlencode(params or {})}"
    request = urllib.request.Request(url, method=method)  # noqa: S310 - the sandbox's own
    with urllib.request.urlopen(request) as answer:  # noqa: S310 - the sandbox's own
        return str(answer.read().decode())


if __name__ == "__main__":
    sys.exit(main())
