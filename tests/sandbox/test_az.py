"""The stand-in of az answers as Azure does, or refuses: an answer that is nearly right would hide what is wrong."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.trial.serve import Standing, is_stopped, standing
from tests.sampling import thinned
from tests.shell import type_in

SHOW = 'az keyvault secret show --vault-name "$VAULT" --name servicenow-oauth-token'
LIST = 'az functionapp config appsettings list --name "$APP" --resource-group "$GROUP"'


@pytest.fixture(scope="module")
def place() -> Iterator[Standing]:
    with standing(None, 0) as place:
        place.functions.fire_timer()
        yield place


@pytest.mark.parametrize(
    ("command", "said"),
    thinned(
        [
            (f"{SHOW} --query attributes", "the sandbox knows no --query 'attributes'"),
            (f"{SHOW} --query \"[?name=='x']\"", "the sandbox knows no --query"),
            (f"{SHOW} --version 1", "unrecognized arguments: --version 1"),
            (f"{SHOW} --output table", "invalid choice: 'table'"),
            (f"{SHOW} --outp none", "unrecognized arguments: --outp none"),
            (
                'az keyvault secret set --vault-name "$VAULT" --name a --value b',
                "the following arguments are required",
            ),
            ('az keyvault secret set-attributes --vault-name "$VAULT" --name a --enabled yes', "true or false"),
            ('az keyvault secret purge --vault-name "$VAULT" --name a', "invalid choice: 'purge'"),
            ("az role assignment create --assignee a --role b --scope /subscriptions/c", "knows no role 'b'"),
            (
                "az role assignment create --assignee a --role 'Key Vault Reader' --scope /subscriptions/c",
                "single secrets only",
            ),
            ("az group create", "invalid choice: 'group'"),
            ("az keyvault set-policy --name a --object-id b --secret-permissions get", "goes by roles"),
            ("azd up", "invalid choice: 'up'"),
            ("azd env get-value OTHER", "invalid choice: 'OTHER'"),
        ],
        6,
    ),
)
def test_what_it_does_not_know_it_refuses(place: Standing, tmp_path: Path, command: str, said: str) -> None:
    done = type_in(place, tmp_path, command)
    assert done.returncode == 2
    assert done.stdout == ""
    assert said in done.stderr


def test_what_azure_refuses_fails_with_a_line(place: Standing, tmp_path: Path) -> None:
    done = type_in(place, tmp_path, 'az keyvault secret show --vault-name "$VAULT" --name no-such-secret')
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "SecretNotFound" in done.stderr


def test_a_timer_that_somebody_stopped_is_seen(place: Standing, tmp_path: Path) -> None:
    query = "--query \"[?ends_with(name, 'Disabled')]\""
    set_it = LIST.replace(" list ", " set ") + " --settings AzureWebJobs.refresh_tokens.Disabled={} --output none"
    assert json.loads(type_in(place, tmp_path, f"{LIST} {query}").stdout) == []
    type_in(place, tmp_path, set_it.format("true"))
    (found,) = json.loads(type_in(place, tmp_path, f"{LIST} {query}").stdout)
    assert (found["name"], found["value"]) == ("AzureWebJobs.refresh_tokens.Disabled", "true")
    assert is_stopped()
    type_in(place, tmp_path, set_it.format("false"))
    assert not is_stopped()


@pytest.mark.exhaustive
def test_the_app_reads_a_setting_that_was_changed(place: Standing, tmp_path: Path) -> None:
    """Azure starts an app anew when a setting changes, and it says what is wrong with it."""
    set_it = LIST.replace(" list ", " set ") + " --settings REFRESH_INTERVAL_MINUTES={} --output none"
    assert type_in(place, tmp_path, set_it.format("0")).returncode == 0
    assert place.functions.http("status", "GET", "/api/status").status_code == 500
    assert type_in(place, tmp_path, set_it.format("50")).returncode == 0
    assert place.functions.http("status", "GET", "/api/status").status_code == 200


def test_a_key_of_one_function_opens_that_one(place: Standing, tmp_path: Path) -> None:
    set_it = 'az functionapp function keys set --name "$APP" --resource-group "$GROUP" --function-name status'
    made = json.loads(type_in(place, tmp_path, f"{set_it} --key-name browser").stdout)
    ask = f"curl -s -o /dev/null -w '%{{http_code}}' -H 'x-functions-key: {made['value']}'"
    asked = type_in(place, tmp_path, f'{ask} "$URL/api/status"; {ask} -d "{{}}" "$URL/api/refresh"').stdout
    assert asked == "200401"
