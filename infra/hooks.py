"""What `azd` runs around a provision: `before` checks what would fail late, `after` says which secrets are missing.

Both ask the Azure CLI, as whoever is signed in there, and change nothing in Azure. Where it is not installed or does
not answer, that is said, and nothing is stopped for it. `before` also tells azd where this checkout's runbook can be
read: azd loads its environment again after each hook.
"""

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

if sys.version_info < (3, 11):  # noqa: UP036 - azd runs whatever python3 is: macOS brings 3.9, Ubuntu 22.04 3.10
    FOUND = ".".join(map(str, sys.version_info[:3]))
    print(
        f"infra/hooks.py needs Python 3.11 or newer, and {sys.executable} is {FOUND}. Install one (here 3.13), "
        "and run azd in a shell that finds it first: make .venv PYTHON=python3.13 && . .venv/bin/activate"
    )
    sys.exit(1 if sys.argv[1:] == ["before"] else 0)

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from refresher.model.grants import CLIENT_SECRET, JWT_KEY, Grant  # noqa: E402 - found by the line above
from refresher.settings.declared import SETTINGS  # noqa: E402

PROVIDERS = ("Insights", "KeyVault", "ManagedIdentity", "OperationalInsights", "Storage", "Web")
LIFETIME = "SERVICENOW_REFRESH_TOKEN_LIFETIME"
NETWORK_PROVIDERS = ("App", "Network")
NETWORK_CHOICES = {"PRIVATE_NETWORK": "true", "FIXED_ADDRESS": "true", "APP_ACCESS": "private"}
ASSIGN, DEFINE = "Microsoft.Authorization/roleAssignments/write", "Microsoft.Authorization/roleDefinitions/write"
# What stands between a repository and a file of its default branch, by the name of the host that keeps it.
FILES = {"github": "/blob/HEAD/", "gitlab": "/-/blob/HEAD/", "bitbucket.org": "/src/HEAD/", "dev.azure.com": "?path=/"}
_REMOTE = re.compile(
    r"(?:(?:https|ssh)://)?(?:[^@/]*@)?(?P<host>[\w.-]+)(?::\d+)?[:/](?P<path>[\w./ %-]+?)(?:\.git)?/?"
)


def may(action: str, permissions: Sequence[Mapping[str, Any]]) -> bool:
    """Whether any role that is held allows an action: one of its patterns fits, and none of those it leaves out."""

    def fits(patterns: Sequence[str]) -> bool:
        return any(fnmatch(action.lower(), pattern.lower()) for pattern in patterns)

    return any(fits(each["actions"]) and not fits(each["notActions"]) for each in permissions)


def asked(*words: str) -> Any:  # noqa: ANN401 - JSON
    """The answer of the Azure CLI; None where it has none, which is said."""
    program = shutil.which("az")
    if program is None:
        print(f"not checked: az {words[0]} {words[1]}: the Azure CLI is not installed")
        return None
    finished = subprocess.run(  # noqa: S603 - az, with words of our own
        [program, *words, "--output", "json"], capture_output=True, text=True, check=False
    )
    if finished.returncode:
        print(f"not checked: az {words[0]} {words[1]} ended with {finished.returncode}; az login?")
        return None
    return json.loads(finished.stdout or "null")


def obstacles(environ: Mapping[str, str]) -> Iterator[str]:
    """What would end the deployment half-way, each with what helps."""
    subscription, location = environ.get("AZURE_SUBSCRIPTION_ID", ""), environ.get("AZURE_LOCATION", "")
    url = f"/subscriptions/{subscription}/providers/Microsoft.Authorization/permissions?api-version=2022-04-01"
    held = asked("rest", "--method", "get", "--url", url)
    own_roles = environ.get("BUILT_IN_ROLES", "").lower() != "true"
    for action in (ASSIGN, DEFINE) if own_roles else (ASSIGN,):
        if held is not None and not may(action, held["value"]):
            other = "; or azd env set BUILT_IN_ROLES true" if action == DEFINE else ""
            yield f"you lack {action} on the subscription: Owner or User Access Administrator has it{other}"
    registered = asked("provider", "list", "--query", "[?registrationState=='Registered'].namespace")
    networked = any(environ.get(name, "").lower() == value for name, value in NETWORK_CHOICES.items())
    for each in PROVIDERS + (NETWORK_PROVIDERS if networked or environ.get("APP_SUBNET_ID") else ()):
        if registered is not None and f"Microsoft.{each}" not in registered:
            yield f"Microsoft.{each} is not registered: az provider register --namespace Microsoft.{each} --wait"
    if environ.get("HOSTING_PLAN", "FlexConsumption") == "FlexConsumption":
        regions = asked("functionapp", "list-flexconsumption-locations", "--query", "[].name")
        if regions is not None and location and location not in {each.lower().replace(" ", "") for each in regions}:
            yield f"{location} has no Flex Consumption: another AZURE_LOCATION, or azd env set HOSTING_PLAN Dedicated"


def runbook_of(remote: str) -> str:
    """Where a person reads the runbook of a repository, by its remote's address; "" where its host is not known.

    Nothing of what stands before the host's name, which may be a token, is kept.
    """
    found = _REMOTE.fullmatch(remote.strip())
    if found is None:
        return ""
    host, path = found["host"].lower().removeprefix("ssh."), found["path"]
    # Azure DevOps by SSH: v3/organization/project/repository.
    path = re.sub(r"^v3/(.+)/([^/]+)$", r"\1/_git/\2", path) if host == "dev.azure.com" else path
    files = next((files for name, files in FILES.items() if host == name or host.startswith(f"{name}.")), None)
    return f"https://{host}/{path}{files}docs/runbook" if files else ""


def link_alerts(environ: Mapping[str, str]) -> None:
    """Let the alerts' mails link to the runbook of the repository that this is a checkout of, unless azd knows one."""
    if environ.get("RUNBOOK_URL"):
        return
    git, azd, url = shutil.which("git"), shutil.which("azd"), ""
    if git is not None:
        words = [git, "-C", str(ROOT), "remote", "get-url", "origin"]
        url = runbook_of(subprocess.run(words, capture_output=True, text=True, check=False).stdout)  # noqa: S603 - git
    words = [azd or "", "env", "set", "RUNBOOK_URL", url]
    if url and azd and subprocess.run(words, check=False).returncode == 0:  # noqa: S603 - azd
        print(f"the alerts' mails will link to {url}; another place: azd env set RUNBOOK_URL https://.../docs/runbook")
    else:
        print("the alerts' mails will have no link: azd env set RUNBOOK_URL https://.../docs/runbook")


def lifetimes(environ: Mapping[str, str]) -> str:
    """How long refresh tokens live as the alerts will count, in one line; "" where no connection has one."""
    (default,) = (spec.default for spec in SETTINGS if spec.name == LIFETIME)
    single = {"grant": environ.get("SERVICENOW_GRANT"), "refresh_token_lifetime": environ.get(LIFETIME)}
    counted = [
        f"{name} {keys.get('refresh_token_lifetime') or default} s"
        for name, keys in _connections(environ, single).items()
        if (keys.get("grant") or Grant.REFRESH_TOKEN) == Grant.REFRESH_TOKEN
    ]
    several = "refresh_token_lifetime in SERVICENOW_CONNECTIONS"
    setting = several if environ.get("SERVICENOW_CONNECTIONS") else f"azd env set {LIFETIME} SECONDS"
    return (
        f"alerts will count refresh tokens' lives as {', '.join(counted)}; does the OAuth application say otherwise "
        f"(Simple Chat's guide: 86400)? {setting}"
        if counted
        else ""
    )


def _connections(environ: Mapping[str, str], single: Mapping[str, Any]) -> Mapping[str, Mapping[str, Any]]:
    several: Mapping[str, Mapping[str, Any]] = json.loads(environ.get("SERVICENOW_CONNECTIONS") or "{}")
    return several or {"servicenow": single}


def needed(environ: Mapping[str, str]) -> list[str]:
    """Names of the secrets that the grants of the connections send."""
    single = {
        "grant": environ.get("SERVICENOW_GRANT"),
        "fallback_grant": environ.get("SERVICENOW_FALLBACK_GRANT"),
        "jwt": json.loads(environ.get("SERVICENOW_JWT") or "{}"),
    }
    names: list[str] = []
    for name, keys in _connections(environ, single).items():
        grants = [keys.get("grant") or Grant.REFRESH_TOKEN, keys.get("fallback_grant")]
        for grant in (Grant(grant) for grant in grants if grant):
            without = _not_sent(keys.get("jwt") or {}) if grant.row.signed else set()
            names += [f"{name}-{suffix}" for suffix in grant.row.secrets if suffix not in without]
    return list(dict.fromkeys(names))


def _not_sent(jwt: Mapping[str, Any]) -> set[str]:
    """Secrets that a connection has no use for whose key signs in the vault, or whose client is public."""
    key = {JWT_KEY} if jwt.get("key_identifier") else set()
    return key | ({CLIENT_SECRET} if jwt.get("public_client") in {True, "true"} else set())


def report_secrets(environ: Mapping[str, str]) -> None:
    """Which secrets the vault lacks, and the commands that set them."""
    vault = environ["AZURE_KEY_VAULT_NAME"]
    there = asked("keyvault", "secret", "list", "--vault-name", vault, "--query", "[].name")
    missing = [] if there is None else [name for name in needed(environ) if name not in there]
    if missing:
        print(f"{vault} lacks {len(missing)} secrets; put each into a file, and delete the files afterwards:")
    for name in missing:
        print(f"  az keyvault secret set --vault-name {vault} --name {name} --file FILE --output none")


def report_status(environ: Mapping[str, str]) -> None:
    """How the connections stand, by the command line of this machine."""
    if importlib.util.find_spec("azure") is None:
        print("then, in an environment with the packages (make .venv): python -m refresher status")
        return
    print("python -m refresher status:", flush=True)
    words = [sys.executable, "-m", "refresher", "status"]
    subprocess.run(words, env=dict(environ), cwd=ROOT, check=False)  # noqa: S603 - our own command


def main(arguments: Sequence[str]) -> int:
    """Before a provision: 1 where it would fail. After it: always 0, since what was made is made."""
    if list(arguments) == ["before"]:
        link_alerts(os.environ)
        try:
            told = lifetimes(os.environ)
        except (ValueError, AttributeError):
            told = "SERVICENOW_CONNECTIONS is no JSON object of objects: the provision will refuse it"
        if told:
            print(told)
        found = list(obstacles(os.environ))
        print("\n".join(found) or "nothing stands in the way of the provision")
        return 1 if found else 0
    report_secrets(os.environ)
    report_status(os.environ)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
