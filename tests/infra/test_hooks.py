"""What azd runs around a provision, with a program in the place of the Azure CLI that answers as it does."""

import ast
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from infra.hooks import lifetimes, may, needed, runbook_of
from sandbox import CANARY_PREFIX
from tests.infra.snapshots import ROOT
from tests.sampling import thinned

OWNER = {"actions": ["*"], "notActions": []}
CONTRIBUTOR = {"actions": ["*"], "notActions": ["Microsoft.Authorization/*/Write", "Microsoft.Authorization/*/Delete"]}
DEFINE = "Microsoft.Authorization/roleDefinitions/write"
EVERY_PROVIDER = [f"Microsoft.{name}" for name in ("Insights", "KeyVault", "ManagedIdentity", "OperationalInsights")]
EVERY_PROVIDER += ["Microsoft.Storage", "Microsoft.Web"]


def program(path: Path, text: str) -> None:
    """A command that stands in for another one."""
    path.write_text(f"#!{sys.executable}\nimport json, sys\n{text}\n")
    path.chmod(0o755)


def hook(tmp_path: Path, when: str, answers: Mapping[str, object], **environ: str) -> subprocess.CompletedProcess[str]:
    """Run one, with an `az` that answers by its first two words and fails on all others."""
    program(
        tmp_path / "az",
        f"answers = json.loads({json.dumps(answers)!r})\nkey = ' '.join(sys.argv[1:3])\n"
        "print(json.dumps(answers[key])) if key in answers else sys.exit(1)",
    )
    given = {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "AZURE_LOCATION": "westeurope", **environ}
    words = [sys.executable, "-S", str(ROOT / "infra" / "hooks.py"), when]
    return subprocess.run(words, env=given, capture_output=True, text=True, check=False, timeout=300)


def answers(**changed: object) -> dict[str, object]:
    good: dict[str, object] = {
        "rest --method": {"value": [OWNER]},
        "provider list": EVERY_PROVIDER,
        "functionapp list-flexconsumption-locations": ["westeurope", "East US 2"],
    }
    return {**good, **changed}


def test_where_all_is_well_nothing_is_stopped(tmp_path: Path) -> None:
    finished = hook(tmp_path, "before", answers(), RUNBOOK_URL="https://contoso.com/runbook")
    lives = (
        "alerts will count refresh tokens' lives as servicenow 8640000 s; does the OAuth application say otherwise "
        "(Simple Chat's guide: 86400)? azd env set SERVICENOW_REFRESH_TOKEN_LIFETIME SECONDS\n"
    )
    assert (finished.returncode, finished.stdout) == (0, f"{lives}nothing stands in the way of the provision\n")


def test_the_lives_that_alerts_count_by_are_those_of_the_connections_that_have_a_refresh_token() -> None:
    assert "as servicenow 86400 s;" in lifetimes({"SERVICENOW_REFRESH_TOKEN_LIFETIME": "86400"})
    assert lifetimes({"SERVICENOW_GRANT": "entra_id"}) == ""
    connections = {"a": {}, "b": {"refresh_token_lifetime": 86400}, "c": {"grant": "jwt_bearer"}}
    told = lifetimes({"SERVICENOW_CONNECTIONS": json.dumps(connections)})
    assert "as a 8640000 s, b 86400 s;" in told
    assert told.endswith("refresh_token_lifetime in SERVICENOW_CONNECTIONS")


@pytest.mark.parametrize("broken", ["{", "[1]", '{"a": 1}'])
def test_connections_that_cannot_be_read_are_named_before_the_provision(tmp_path: Path, broken: str) -> None:
    finished = hook(tmp_path, "before", answers(), RUNBOOK_URL="https://x/runbook", SERVICENOW_CONNECTIONS=broken)
    assert finished.returncode == 0
    assert "SERVICENOW_CONNECTIONS is no JSON object" in finished.stdout
    assert finished.stderr == ""


@pytest.mark.parametrize(
    ("changed", "environ", "expected"),
    thinned(
        [
            ({"rest --method": {"value": [CONTRIBUTOR]}}, {}, "azd env set BUILT_IN_ROLES true"),
            ({"rest --method": {"value": [CONTRIBUTOR]}}, {"BUILT_IN_ROLES": "true"}, "roleAssignments/write"),
            ({"provider list": EVERY_PROVIDER[1:]}, {}, "az provider register --namespace Microsoft.Insights"),
            ({}, {"PRIVATE_NETWORK": "true"}, "az provider register --namespace Microsoft.App"),
            ({}, {"AZURE_LOCATION": "usgovvirginia"}, "azd env set HOSTING_PLAN Dedicated"),
        ],
        3,
    ),
)
def test_what_would_fail_late_is_said_before(
    tmp_path: Path, changed: dict[str, object], environ: dict[str, str], expected: str
) -> None:
    finished = hook(tmp_path, "before", answers(**changed), **environ)
    assert finished.returncode == 1
    assert expected in finished.stdout


@pytest.mark.parametrize(("when", "code"), [("before", 1), ("after", 0)])
@pytest.mark.parametrize("version", [(3, 8, 18), (3, 9, 6), (3, 10, 13)])
def test_an_older_python_is_told_what_is_needed_and_what_was_made_stays_made(
    when: str, code: int, version: tuple[int, int, int]
) -> None:
    """As macOS brings (3.9) and Ubuntu 22.04 (3.10). In their place: this interpreter, which says that it is one."""
    script = str(ROOT / "infra" / "hooks.py")
    older = f"import runpy, sys; sys.version_info = {(*version, 'final', 0)}; sys.argv[1:] = [{when!r}]; "
    older += f"runpy.run_path({script!r}, run_name='__main__')"
    finished = subprocess.run(
        [sys.executable, "-S", "-c", older], capture_output=True, text=True, check=False, timeout=300
    )
    assert (finished.returncode, finished.stderr, finished.stdout.count("\n")) == (code, "", 1)
    (needed_version,) = re.findall(r'requires-python = ">=(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert f"needs Python {needed_version} or newer" in finished.stdout
    assert ".".join(map(str, version)) in finished.stdout
    assert sys.executable in finished.stdout
    assert "make .venv PYTHON=" in finished.stdout


def test_an_older_python_can_read_the_hooks_at_all() -> None:
    ast.parse((ROOT / "infra" / "hooks.py").read_text("utf-8"), feature_version=(3, 8))


REMOTES = {
    "https://github.com/contoso/refresher.git": "https://github.com/contoso/refresher/blob/HEAD/docs/runbook",
    "git@github.com:contoso/refresher.git": "https://github.com/contoso/refresher/blob/HEAD/docs/runbook",
    "ssh://git@github.contoso.com:8443/it/refresher": "https://github.contoso.com/it/refresher/blob/HEAD/docs/runbook",
    "https://gitlab.com/it/tools/refresher.git/": "https://gitlab.com/it/tools/refresher/-/blob/HEAD/docs/runbook",
    "https://bitbucket.org/it/refresher.git": "https://bitbucket.org/it/refresher/src/HEAD/docs/runbook",
    "https://me@dev.azure.com/me/IT%20desk/_git/refresher": (
        "https://dev.azure.com/me/IT%20desk/_git/refresher?path=/docs/runbook"
    ),
    "git@ssh.dev.azure.com:v3/me/desk/refresher": "https://dev.azure.com/me/desk/_git/refresher?path=/docs/runbook",
    # What nobody could open in a browser, or whose host's addresses are not known.
    "/srv/git/refresher.git": "",
    "../refresher": "",
    "file:///srv/git/refresher.git": "",
    "https://git.contoso.com/refresher.git": "",
    "https://notgithub.com/contoso/refresher.git": "",
    "": "",
}


@pytest.mark.parametrize(("remote", "expected"), REMOTES.items())
def test_where_the_runbook_can_be_read_is_told_by_the_repositorys_address(remote: str, expected: str) -> None:
    assert runbook_of(remote + "\n") == expected


def test_a_token_in_the_address_goes_nowhere() -> None:
    kept = runbook_of(f"https://oauth2:{CANARY_PREFIX}token@github.com/contoso/refresher.git")
    assert kept == "https://github.com/contoso/refresher/blob/HEAD/docs/runbook"


@pytest.mark.parametrize(
    ("remote", "known"), [("git@github.com:contoso/refresher.git", True), ("/srv/refresher", False)]
)
def test_alerts_link_to_the_repository_that_was_cloned_or_say_that_they_have_no_link(
    tmp_path: Path, remote: str, known: bool
) -> None:
    """By azd's own environment, which it reads again after the hook."""
    program(tmp_path / "git", f"print({remote!r})")
    program(tmp_path / "azd", f"open({str(tmp_path / 'set')!r}, 'w').write(' '.join(sys.argv[1:]))")
    finished = hook(tmp_path, "before", answers())
    assert finished.returncode == 0
    assert ("will link to https://github.com/contoso/refresher/" in finished.stdout) is known
    assert ("will have no link: azd env set RUNBOOK_URL" in finished.stdout) is not known
    kept = (tmp_path / "set").read_text() if known else ""
    assert (kept == "env set RUNBOOK_URL https://github.com/contoso/refresher/blob/HEAD/docs/runbook") is known


def test_a_runbook_that_was_chosen_stays(tmp_path: Path) -> None:
    program(tmp_path / "azd", "sys.exit('nothing is to be set')")
    finished = hook(tmp_path, "before", answers(), RUNBOOK_URL="https://contoso.com/runbook")
    assert (finished.returncode, finished.stderr) == (0, "")


def test_what_cannot_be_asked_stops_nothing_and_is_said(tmp_path: Path) -> None:
    finished = hook(tmp_path, "before", {})
    assert finished.returncode == 0
    assert finished.stdout.count("not checked: az ") == 3


def test_a_role_allows_what_it_does_not_leave_out() -> None:
    assert may(DEFINE, [CONTRIBUTOR, OWNER])
    assert not may(DEFINE, [CONTRIBUTOR])
    assert not may(DEFINE, [{"actions": ["Microsoft.Authorization/*/read"], "notActions": []}])


def test_the_secrets_that_are_needed_are_those_that_the_grants_send() -> None:
    assert needed({}) == ["servicenow-client-id", "servicenow-client-secret", "servicenow-refresh-token"]
    connections = {"a": {"grant": "jwt_bearer"}, "b": {"grant": "client_credentials", "fallback_grant": "password"}}
    assert needed({"SERVICENOW_CONNECTIONS": json.dumps(connections)}) == [
        *("a-client-id", "a-client-secret", "a-jwt-key"),
        *("b-client-id", "b-client-secret", "b-username", "b-password"),
    ]
    claims = {"key_identifier": "https://kv-x.vault.azure.net/keys/signer"}
    signing = {"a": {"grant": "jwt_bearer", "jwt": claims}}
    assert needed({"SERVICENOW_CONNECTIONS": json.dumps(signing)}) == ["a-client-id", "a-client-secret"]
    single = {"SERVICENOW_GRANT": "jwt_bearer", "SERVICENOW_JWT": json.dumps({**claims, "public_client": True})}
    assert needed(single) == ["servicenow-client-id"]


def test_afterwards_the_missing_secrets_come_with_the_commands_that_set_them(tmp_path: Path) -> None:
    there = {"keyvault secret": ["servicenow-client-id", "servicenow-refresh-token"]}
    finished = hook(tmp_path, "after", there, AZURE_KEY_VAULT_NAME="kv-x")
    assert finished.returncode == 0
    command = "az keyvault secret set --vault-name kv-x --name servicenow-client-secret --file FILE --output none"
    assert [line.strip() for line in finished.stdout.splitlines() if "secret set" in line] == [command]
    assert "python -m refresher status" in finished.stdout
