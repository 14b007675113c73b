"""The settings that the code declares, the sample, the docs and the infrastructure are one and the same list."""

import ast
import json
import re
from collections.abc import Mapping, Sequence

import pytest

from refresher.model.connection import Connection, JwtClaims
from refresher.model.errors import SettingsError
from refresher.settings.declared import CONNECTION_KEYS, JWT_KEYS, SETTING_OF_KEY, SETTINGS, SettingSpec
from refresher.settings.load import Settings, load_settings
from tests.promises.places import ROOT, place_of

DOCS = ROOT / "docs" / "settings.md"
SAMPLE = ROOT / "local.settings.sample.json"
BICEP = ROOT / "infra" / "app" / "api.bicep"
BINDINGS = (ROOT / "function_app.py").read_text("utf-8")
"""Where the host reads a setting by its name between percent signs."""
PLATFORM = re.compile(
    r"(FUNCTIONS|AzureWebJobs|APPLICATIONINSIGHTS|AZURE|WEBSITE|PYTHON|SCM|SOURCE_DATE|ENABLE_ORYX)\w*"
)


def item_of(spec: SettingSpec) -> str:
    """How docs/settings.md lists a setting: with its default, where it has one, and its meaning."""
    default = " (required)" if spec.required else f" (`{spec.default}`)" if spec.default else ""
    return f"- `{spec.name}`{default}: {spec.meaning}"


def listed(first: SettingSpec) -> list[str]:
    """The list in docs/settings.md that begins with a setting."""
    _, start, rest = DOCS.read_text("utf-8").partition(f"\n- `{first.name}`")
    return (start + rest).strip().split("\n\n", 1)[0].splitlines()


def sample() -> dict[str, str]:
    document = json.loads(SAMPLE.read_text("utf-8"))
    return {name: value for name, value in document["Values"].items() if not PLATFORM.fullmatch(name)}


@pytest.mark.parametrize("specs", [SETTINGS, JWT_KEYS], ids=["settings", "claims"])
def test_the_docs_list_every_setting_with_its_default_and_meaning(specs: Sequence[SettingSpec]) -> None:
    found, expected = listed(specs[0]), [item_of(spec) for spec in specs]
    for item in expected:
        assert item in found, f"{place_of(DOCS, item.partition(': ')[0])} should say: {item}"
    assert found == expected, f"{place_of(DOCS, found[0])}: other settings"


def test_the_docs_list_every_key_of_a_connection_which_is_named_after_its_setting() -> None:
    sentence = DOCS.read_text("utf-8").split("in lower case and without `SERVICENOW_`:")[1].split(".")[0]
    assert re.findall(r"`(\w+)`", sentence) == [spec.name for spec in CONNECTION_KEYS]
    for key, setting in SETTING_OF_KEY.items():
        assert key == setting.removeprefix("SERVICENOW_").lower()


def test_the_sample_holds_every_setting_in_order_with_its_default() -> None:
    values = sample()
    assert list(values) == [spec.name for spec in SETTINGS], place_of(SAMPLE, '"Values"')
    for spec in SETTINGS:
        if not spec.required:
            assert values[spec.name] == (spec.default or ""), place_of(SAMPLE, f'"{spec.name}"')


def test_the_sample_says_the_same_as_the_required_settings_alone() -> None:
    values = sample()
    required = {spec.name: values[spec.name] for spec in SETTINGS if spec.required}
    assert load_settings(values) == load_settings(required)


def test_the_infrastructure_sets_every_setting_and_no_other() -> None:
    names = re.findall(r"^\s*'?([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)'?\s*:", BICEP.read_text("utf-8"), re.MULTILINE)
    ours = {name for name in names if not PLATFORM.fullmatch(name)}
    for name in ours ^ {spec.name for spec in SETTINGS}:
        pytest.fail(f"{place_of(BICEP, name)}: {name} is set here or declared in the code, not both")


ANOTHER = {
    "KEY_VAULT_URL": "https://other.vault.azure.net",
    "SERVICENOW_INSTANCE_URL": "https://other.service-now.com",
    "SERVICENOW_CONNECTIONS": '{"assets": {"instance_url": "https://contoso.service-now.com"}}',
    "SERVICENOW_GRANT": "client_credentials",
    "SERVICENOW_FALLBACK_GRANT": "client_credentials",
    "SERVICENOW_REFRESH_TOKEN_LIFETIME": "86400",
    "SERVICENOW_ENTRA_SCOPE": "api://other",
    "SERVICENOW_ENTRA_CLIENT_ID": "22222222-2222-2222-2222-222222222222",
    "SERVICENOW_ENTRA_TENANT_ID": "22222222-2222-2222-2222-222222222222",
    "SERVICENOW_JWT": '{"sub": "other"}',
    "PUBLISH_TO": "other",
    "REFRESH_SCHEDULE": "0 */10 * * * *",
    "REFRESH_INTERVAL_MINUTES": "25",
    "PROBE_PATH": "/other",
    "VERIFY_INTERVAL_MINUTES": "15",
    "LEASE_CONTAINER_URL": "https://other.blob.core.windows.net/leases",
    "SERVICENOW_ALLOW_CUSTOM_HOST": "true",
    "REFRESH_QUEUE": "other",
}
"""For each setting a value that is neither its default nor that of PLAIN."""
ANOTHER_CLAIM: dict[str, object] = {
    "sub": "other",
    "kid": "other",
    "aud": "other",
    "iss": "other",
    "alg": "ES256",
    "key_identifier": "https://contoso.vault.azure.net/keys/other",
    "public_client": True,
    "lifetime": 60,
    "backdate": 60,
}
PLAIN = {
    "KEY_VAULT_URL": "https://contoso.vault.azure.net",
    "SERVICENOW_INSTANCE_URL": "https://contoso.service-now.com",
    "SERVICENOW_ENTRA_CLIENT_ID": "11111111-1111-1111-1111-111111111111",
    "SERVICENOW_ENTRA_TENANT_ID": "11111111-1111-1111-1111-111111111111",
}
ELSEWHERE = {"KEY_VAULT_URL": PLAIN["KEY_VAULT_URL"], "SERVICENOW_INSTANCE_URL": "https://snow.contoso.com"}
"""With an instance that one of the settings permits."""


def loaded(environ: Mapping[str, str]) -> Settings | tuple[str, ...]:
    """The settings as the product has them, or what it says against them."""
    try:
        return load_settings(environ)
    except SettingsError as error:
        return error.problems


@pytest.mark.parametrize("name", [spec.name for spec in SETTINGS])
def test_every_setting_changes_something(name: str) -> None:
    """One that is declared and passed on to nobody would be documented, set in Azure, and mean nothing."""
    plain = ELSEWHERE if name == "SERVICENOW_ALLOW_CUSTOM_HOST" else PLAIN
    changed = loaded({**plain, name: ANOTHER[name]})
    assert isinstance(changed, Settings)
    assert changed != loaded(plain) or f"%{name}%" in BINDINGS


@pytest.mark.parametrize("name", [spec.name for spec in JWT_KEYS])
def test_every_claim_changes_something(name: str) -> None:
    claims = {"sub": "simplechat"}
    plain, changed = (
        load_settings({**PLAIN, "SERVICENOW_JWT": json.dumps(each)})
        for each in (claims, {**claims, name: ANOTHER_CLAIM[name]})
    )
    assert plain != changed


def test_every_field_that_a_setting_ends_in_is_read_by_somebody() -> None:
    read = {
        node.attr
        for path in (ROOT / "refresher").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load)
    }
    assert {name for kind in (Settings, Connection, JwtClaims) for name in kind._fields} - read == set()
