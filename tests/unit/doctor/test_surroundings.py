"""As whom an examination looks, from where, and to whom its steps give something: never to the wrong identity."""

import base64
import json

import pytest
from azure.core.credentials import AccessToken
from azure.core.exceptions import ClientAuthenticationError

from refresher.doctor.surroundings import Identity, Surroundings, addressed
from refresher.model import steps
from refresher.model.check import Check, Verdict
from refresher.model.steps import Step
from tests.typed import understood

APP_ID, OID, PERSON = (f"{digit * 8}-0000-4000-8000-000000000000" for digit in "123")
ASSIGN = Step(
    "Give the app's identity the role: ", steps.assign_role(steps.KEEP_A_SECRET, "kv", "secrets/hr-oauth-token")
)


def token(**claims: str) -> str:
    return f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.signature"


class Signed:
    """A credential that gives one token, or none."""

    def __init__(self, value: str | None) -> None:
        self._value = value

    def get_token(self, *_: str, **__: object) -> AccessToken:
        if self._value is None:
            raise ClientAuthenticationError("canary")
        return AccessToken(self._value, 0)


def here(value: str | None = None, **environ: str) -> Surroundings:
    return Surroundings(environ=environ, credential=lambda: Signed(value))


MANAGED = token(appid=APP_ID, oid=OID)
SOMEBODY = token(upn="ada@example.com", oid=PERSON, appid="the CLI", scp="user_impersonation")


@pytest.mark.parametrize(
    ("value", "environ", "apps", "told"),
    [
        (MANAGED, {"WEBSITE_SITE_NAME": "refresher"}, True, "asked from the app refresher"),
        (MANAGED, {"WEBSITE_SITE_NAME": "refresher", "AZURE_CLIENT_ID": APP_ID.upper()}, True, "from the app"),
        (MANAGED, {"WEBSITE_SITE_NAME": "refresher", "AZURE_CLIENT_ID": PERSON}, False, "not the app's identity"),
        (SOMEBODY, {"AZURE_CLIENT_ID": APP_ID}, False, "user ada@example.com"),
        (SOMEBODY, {"IDENTITY_ENDPOINT": "http://127.0.0.1"}, False, "which is not the app's identity"),
        (SOMEBODY, {}, False, "asked from this machine, which is not the app"),
        (MANAGED, {}, False, "which is not the app's identity; asked from this machine"),
        ("opaque", {}, False, "an identity that it does not name"),
    ],
)
def test_it_says_who_looks_and_from_where(value: str, environ: dict[str, str], apps: bool, told: str) -> None:
    surroundings = here(value, **environ)
    identity = surroundings.sign_in("https://kv.vault.azure.net")
    assert isinstance(identity, Identity)
    assert surroundings.is_the_apps(identity) is apps
    check = surroundings.identity_check(identity)
    assert (check.verdict, told in check.detail) == (Verdict.PASS, True), check


def test_the_apps_own_identity_gets_what_it_lacks_by_its_object_id() -> None:
    surroundings = here(WEBSITE_SITE_NAME="refresher")
    step = addressed(ASSIGN, Identity.of(MANAGED), surroundings, "kv")
    assert step is not None
    (command,) = step.commands
    assert f"--assignee {OID} --role" in str(command)
    assert understood(str(command))


def test_a_person_gets_no_more_than_names_and_dates_and_the_app_its_own() -> None:
    step = addressed(ASSIGN, Identity.of(SOMEBODY), here(AZURE_CLIENT_ID=APP_ID), "kv")
    assert step is not None
    mine, apps = map(str, step.commands)
    assert step.startswith("This was refused to user ada@example.com")
    assert f'--assignee {PERSON} --role "Key Vault Reader"' in mine
    assert f"--assignee {APP_ID} --role" in apps
    assert PERSON not in apps
    assert all(map(understood, (mine, apps)))


def test_without_the_apps_name_the_runbooks_shell_finds_it() -> None:
    step = addressed(ASSIGN, Identity.of(SOMEBODY), here(), "kv")
    assert step is not None
    assert "AZURE_CLIENT_ID" in str(step.commands[-1])
    assert understood(str(step.commands[-1]))


def test_a_policy_names_an_object_id_as_one() -> None:
    step = addressed(Step(steps.set_policy("kv")), Identity.of(MANAGED), here(WEBSITE_SITE_NAME="app"), "kv")
    assert step is not None
    assert f"--object-id {OID}" in step


@pytest.mark.parametrize(
    ("environ", "told"),
    [
        ({"AZURE_CLIENT_SECRET": "CANARY", "AZURE_CLIENT_ID": APP_ID}, "AZURE_CLIENT_SECRET is set"),
        ({"AZURE_CLIENT_CERTIFICATE_PATH": "/x"}, "AZURE_CLIENT_CERTIFICATE_PATH is set"),
        ({"AZURE_TOKEN_CREDENTIALS": "AzureCliCredential"}, "AZURE_TOKEN_CREDENTIALS is AzureCliCredential"),
        ({"AZURE_TOKEN_CREDENTIALS": "\x1b[2J"}, "AZURE_TOKEN_CREDENTIALS is set"),
    ],
)
@pytest.mark.parametrize("app", [{}, {"WEBSITE_SITE_NAME": "refresher"}], ids=["laptop", "app"])
def test_leftovers_are_the_first_suspicion_where_nobody_gets_a_token(
    environ: dict[str, str], told: str, app: dict[str, str]
) -> None:
    check = here(None, **environ, **app).sign_in("https://kv.vault.azure.net")
    assert isinstance(check, Check)
    assert told in check.detail
    assert "CANARY" not in repr(check)
    assert check.remedy is not None
    assert ("unset" in check.remedy) is (not app)
    assert understood(str(check.remedy.commands[-1]))


@pytest.mark.parametrize("chosen", ["ManagedIdentityCredential", "managedidentitycredential", ""])
def test_the_templates_own_value_is_no_leftover(chosen: str) -> None:
    check = here(None, AZURE_TOKEN_CREDENTIALS=chosen, AZURE_CLIENT_ID=APP_ID).sign_in("https://kv.vault.azure.net")
    assert isinstance(check, Check)
    assert check.detail == "no token for Key Vault could be had"


def test_a_principal_that_is_never_asked_is_no_leftover() -> None:
    """The template's own choice leaves the variables of a service principal without effect."""
    surroundings = here(MANAGED, AZURE_CLIENT_SECRET="CANARY", AZURE_TOKEN_CREDENTIALS="ManagedIdentityCredential")
    assert surroundings.identity_check(Identity.of(MANAGED)).verdict is Verdict.PASS
