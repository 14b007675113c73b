"""Settings: what is read, what is refused, and that every refusal says what to do without telling secrets."""

import json
import re
from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from refresher.model.causes import Cause
from refresher.model.connection import Connection, JwtClaims, KeyIdentifier, SecretIdentifier
from refresher.model.errors import SettingsError
from refresher.model.grants import Grant
from refresher.settings.declared import CONNECTION_KEYS, SETTINGS
from refresher.settings.load import Settings, load_settings

VAULT = "https://contoso.vault.azure.net"
INSTANCE = "https://contoso.service-now.com"
REQUIRED = {"KEY_VAULT_URL": VAULT, "SERVICENOW_INSTANCE_URL": INSTANCE}
CANARY = "canary-secret"


def load(**settings: str) -> Settings:
    return load_settings({**REQUIRED, **settings})


def connection(**settings: str) -> Connection:
    (only,) = load(**settings).connections
    return only


def connections(document: object) -> Settings:
    return load_settings({"KEY_VAULT_URL": VAULT, "SERVICENOW_CONNECTIONS": json.dumps(document)})


def problems(**settings: str) -> tuple[str, ...]:
    with pytest.raises(SettingsError) as caught:
        load(**settings)
    assert caught.value.cause is Cause.SETTINGS_INVALID
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    return caught.value.problems


def problem(**settings: str) -> str:
    (only,) = problems(**settings)
    return only


def connection_problems(document: object) -> tuple[str, ...]:
    return problems(SERVICENOW_CONNECTIONS=json.dumps(document))


@pytest.mark.parametrize("around", [" {}\r\n", "\ufeff{}", "\u200b{}\u200b", "{}\u00a0", "\u2028{}"])
def test_what_surrounds_a_pasted_setting_unseen_is_none_of_it(around: str) -> None:
    one = {"instance_url": around.format(INSTANCE), "grant": around.format("password"), "publish_to": ""}
    document = around.format(json.dumps({"servicenow": one}))
    (only,) = load_settings({"KEY_VAULT_URL": around.format(VAULT), "SERVICENOW_CONNECTIONS": document}).connections
    assert (only.instance_url, only.grant) == (INSTANCE, Grant.PASSWORD)
    targets = connection(PUBLISH_TO=f"{around.format('one')},{around.format('two')}").publish_to
    assert [target.name for target in targets] == ["one", "two"]
    assert load(REFRESH_INTERVAL_MINUTES=around.format("")) == load()


def test_the_two_required_settings_are_enough() -> None:
    settings = load()
    assert settings == Settings(
        vault_url=VAULT,
        connections=(
            Connection(
                name="servicenow",
                instance_url=INSTANCE,
                grant=Grant.REFRESH_TOKEN,
                fallback_grant=None,
                publish_to=(SecretIdentifier(vault_url=VAULT, name="servicenow--action--global--oauth-token"),),
                probe_path="/api/now/table/sys_user?sysparm_query=user_name=javascript:gs.getUserName()"
                "&sysparm_fields=user_name&sysparm_limit=1",
                refresh_token_lifetime=timedelta(days=100),
                jwt=None,
            ),
        ),
        refresh_interval=timedelta(minutes=50),
        tick=timedelta(minutes=5),
        run_deadline=timedelta(seconds=45),
        lease_container_url=None,
    )


def test_every_setting_is_used() -> None:
    settings = load(
        SERVICENOW_GRANT="jwt_bearer",
        SERVICENOW_FALLBACK_GRANT="client_credentials",
        SERVICENOW_REFRESH_TOKEN_LIFETIME="86400",
        SERVICENOW_JWT='{"sub": "simple.chat", "kid": "k1", "aud": "a", "iss": "i", "alg": "ES256", "lifetime": 60, '
        '"backdate": 0}',
        PUBLISH_TO="one-name, https://Other.vault.azure.net/secrets/two ,",
        REFRESH_SCHEDULE="0 */10 * * * *",
        REFRESH_INTERVAL_MINUTES="20",
        PROBE_PATH="/api/now/ping",
        LEASE_CONTAINER_URL="https://account.blob.core.windows.net/leases/",
        REFRESH_QUEUE="refresh-queue",
    )
    assert settings == Settings(
        vault_url=VAULT,
        connections=(
            Connection(
                name="servicenow",
                instance_url=INSTANCE,
                grant=Grant.JWT_BEARER,
                fallback_grant=Grant.CLIENT_CREDENTIALS,
                publish_to=(
                    SecretIdentifier(vault_url=VAULT, name="one-name"),
                    SecretIdentifier(vault_url="https://other.vault.azure.net", name="two"),
                ),
                probe_path="/api/now/ping",
                refresh_token_lifetime=timedelta(days=1),
                jwt=JwtClaims(
                    subject="simple.chat",
                    kid="k1",
                    audience="a",
                    issuer="i",
                    algorithm="ES256",
                    lifetime=timedelta(minutes=1),
                    backdating=timedelta(0),
                ),
            ),
        ),
        refresh_interval=timedelta(minutes=20),
        tick=timedelta(minutes=10),
        lease_container_url="https://account.blob.core.windows.net/leases",
    )


def test_a_connection_knows_its_secrets_and_endpoints() -> None:
    it = connection()
    assert sorted(it.own_names) == [
        "servicenow-client-id",
        "servicenow-client-secret",
        "servicenow-jwt-key",
        "servicenow-oauth-token",
        "servicenow-password",
        "servicenow-refresh-record",
        "servicenow-refresh-token",
        "servicenow-username",
    ]
    assert it.token_endpoint == f"{INSTANCE}/oauth_token.do"
    assert it.revocation_endpoint == f"{INSTANCE}/oauth_revoke_token.do"
    assert it.authorization_endpoint == f"{INSTANCE}/oauth_auth.do"


def test_all_problems_are_reported_at_once() -> None:
    found = problems(
        KEY_VAULT_URL="http://contoso.vault.azure.net",
        SERVICENOW_INSTANCE_URL="ftp://x",
        SERVICENOW_GRANT="device_code",
        SERVICENOW_FALLBACK_GRANT="refresh_token",
        SERVICENOW_REFRESH_TOKEN_LIFETIME="-1",
        SERVICENOW_ENTRA_SCOPE="servicenow",
        SERVICENOW_ENTRA_CLIENT_ID="servicenow",
        SERVICENOW_ENTRA_TENANT_ID="contoso.com",
        SERVICENOW_JWT="[]",
        PUBLISH_TO="under_score",
        REFRESH_INTERVAL_MINUTES="50 minutes",
        PROBE_PATH="api/now",
        VERIFY_INTERVAL_MINUTES="1441",
        LEASE_CONTAINER_URL="https://account.blob.core.windows.net",
        SERVICENOW_ALLOW_CUSTOM_HOST="yes",
        REFRESH_QUEUE="A",
    )
    assert {re.split(r"[ .]", each)[0] for each in found} == {spec.name for spec in SETTINGS} - {
        "SERVICENOW_CONNECTIONS",
        "REFRESH_SCHEDULE",  # stops nothing: the timer has the default then
    }
    assert all("; expected " in each for each in found)


def test_nothing_set_names_what_is_required() -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings({})
    assert caught.value.problems == (
        "KEY_VAULT_URL is not set; expected an https origin such as https://NAME.vault.azure.net",
        "SERVICENOW_INSTANCE_URL is not set; expected an https origin such as https://NAME.service-now.com",
    )


@pytest.mark.parametrize("name", sorted({spec.name for spec in SETTINGS} - set(REQUIRED)))
@pytest.mark.parametrize("blank", ["", "  ", "\n"])
def test_a_blank_setting_counts_as_not_set_except_for_the_two_where_empty_means_none(name: str, blank: str) -> None:
    settings = load(**{name: blank})
    if name == "PUBLISH_TO":
        assert settings.connections[0].publish_to == ()
    elif name == "PROBE_PATH":
        assert settings.connections[0].probe_path is None
    else:
        assert settings == load()


@pytest.mark.parametrize(
    ("given_url", "origin"),
    [
        ("https://dev1.service-now.com/", "https://dev1.service-now.com"),
        (" https://DEV1.Service-Now.com ", "https://dev1.service-now.com"),
        ("https://a.servicenowservices.com:443", "https://a.servicenowservices.com"),
        ("https://a.servicenowcloud.com.au:8443", "https://a.servicenowcloud.com.au:8443"),
    ],
)
def test_an_instance_in_a_domain_of_servicenow_is_accepted(given_url: str, origin: str) -> None:
    assert connection(SERVICENOW_INSTANCE_URL=given_url).instance_url == origin


@pytest.mark.parametrize(
    "custom",
    [
        "https://help.contoso.com",
        "https://127.0.0.1:8443",
        "http://127.0.0.1:8080",
        "http://localhost",
        "http://[::1]:8080",
        "https://service-now.com",
        "https://evil-service-now.com",
    ],
)
def test_any_other_host_needs_the_opt_in(custom: str) -> None:
    assert "SERVICENOW_ALLOW_CUSTOM_HOST = true" in problem(SERVICENOW_INSTANCE_URL=custom)
    opted_in = connection(SERVICENOW_INSTANCE_URL=custom, SERVICENOW_ALLOW_CUSTOM_HOST="True")
    assert opted_in.instance_url == custom


@pytest.mark.parametrize(
    "bad",
    [
        "contoso.service-now.com",
        "http://contoso.service-now.com",
        "http://128.0.0.1",
        "https://contoso.service-now.com/nav_to.do",
        "https://contoso..service-now.com",
        "https://contoso.service-now.com:0",
        "https://contoso.service-now.com:65536",
        "https://[::zz]",
        "https://[::::]",
        "https://[1.2.3.4]",
        "https://con toso.service-now.com",
        "https://contoso.service-now.com\\evil",
        "https://",
    ],
)
def test_an_instance_url_that_is_no_https_origin_is_refused(bad: str) -> None:
    found = problem(SERVICENOW_INSTANCE_URL=bad, SERVICENOW_ALLOW_CUSTOM_HOST="true")
    assert found.startswith(f'SERVICENOW_INSTANCE_URL is "{bad}"; expected ')


@pytest.mark.parametrize("name", ["KEY_VAULT_URL", "SERVICENOW_INSTANCE_URL", "LEASE_CONTAINER_URL", "PUBLISH_TO"])
@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{CANARY}@host.service-now.com",
        f"https://account.blob.core.windows.net/leases?sig={CANARY}",
        f"https://host.service-now.com/#{CANARY}",
    ],
)
def test_a_url_that_may_hold_a_credential_is_not_shown(name: str, url: str) -> None:
    assert problem(**{name: url}).startswith(f"{name} is a value that is not shown, since it may hold a credential;")


REFERENCES = {
    "@Microsoft.KeyVault(VaultName=kv;SecretName=x)": "a Key Vault reference",
    " @microsoft.keyvault(SecretUri=https://kv.vault.azure.net/secrets/x/)": "a Key Vault reference",
    "@Microsoft.AppConfiguration(Endpoint=https://a.azconfig.io; Key=x)": "an App Configuration reference",
}


@pytest.mark.parametrize("reference", REFERENCES)
@pytest.mark.parametrize("name", [spec.name for spec in SETTINGS])
def test_a_reference_that_the_platform_did_not_resolve_is_named_with_what_helps(name: str, reference: str) -> None:
    """As the app finds one whose identity may not read it, and as the Azure CLI lists each."""
    found = load(**{name: reference}).schedule_problem if name == "REFRESH_SCHEDULE" else problem(**{name: reference})
    assert found is not None
    assert found.startswith(f"{name} is {REFERENCES[reference]} that was not resolved: put the value itself there")
    assert "keyVaultReferenceIdentity" in found
    assert "; expected " in found


def test_a_reference_within_a_setting_is_named_by_its_place() -> None:
    """The platform resolves whole settings only."""
    (reference, *_) = REFERENCES
    jwt = {"sub": reference, "kid": {"0" * 32: reference}}
    one = {"instance_url": INSTANCE, "publish_to": [reference], "jwt": jwt}
    found = connection_problems({"a": one, "b": reference})
    places = [each.partition(" is a Key Vault reference that was not resolved")[0] for each in found]
    where = "SERVICENOW_CONNECTIONS"
    assert places == [f"{where} a.publish_to", f"{where} a.jwt.sub", f"{where} a.jwt.kid", f"{where} b"]


def test_a_json_setting_is_never_shown() -> None:
    for document in (
        f'{{"sub": "{CANARY}"',
        f'["{CANARY}"]',
        f'{{"a": "{CANARY}", "a": 1}}',
        f'{{"sub": ["{CANARY}"]}}',
    ):
        assert CANARY not in "".join(problems(SERVICENOW_JWT=document, SERVICENOW_CONNECTIONS=document))
        assert CANARY not in "".join(problems(SERVICENOW_JWT=document))


@pytest.mark.parametrize("host", ["", "/x", "?x", "http://h"])
def test_a_vault_is_an_https_origin(host: str) -> None:
    bad = host if host.startswith("http:") else f"https://h{host}" if host else "h"
    assert "expected an https origin such as" in problem(KEY_VAULT_URL=bad)


def test_a_vault_on_a_loopback_port_is_accepted() -> None:
    assert load(KEY_VAULT_URL="https://127.0.0.1:8443/").vault_url == "https://127.0.0.1:8443"


@pytest.mark.parametrize("fallback", ["refresh_token", "authorization_code", "PASSWORD"])
def test_a_fallback_grant_is_one_that_works_unattended_and_starts_anew(fallback: str) -> None:
    assert "expected client_credentials, jwt_bearer, password or entra_id" in problem(
        SERVICENOW_FALLBACK_GRANT=fallback
    )


def test_a_fallback_grant_that_equals_the_grant_is_refused() -> None:
    assert problem(SERVICENOW_GRANT="password", SERVICENOW_FALLBACK_GRANT="password") == (
        "SERVICENOW_FALLBACK_GRANT is the grant itself; "
        "expected client_credentials, jwt_bearer or entra_id, or nothing"
    )


def test_the_grant_of_a_person_is_no_grant_of_a_program() -> None:
    assert 'SERVICENOW_GRANT is "authorization_code"; expected ' in problem(SERVICENOW_GRANT="authorization_code")


@pytest.mark.parametrize("setting", ["SERVICENOW_GRANT", "SERVICENOW_FALLBACK_GRANT"])
def test_the_jwt_bearer_grant_needs_a_subject(setting: str) -> None:
    assert "SERVICENOW_JWT is not set; expected an object with at least `sub`" in problem(**{setting: "jwt_bearer"})
    assert problem(SERVICENOW_JWT="{}", **{setting: "jwt_bearer"}).startswith("SERVICENOW_JWT.sub is not set;")


@pytest.mark.parametrize(
    ("claims", "told"),
    [
        ({"sub": ""}, 'SERVICENOW_JWT.sub is ""; expected a text that is not empty'),
        ({"sub": 1}, 'SERVICENOW_JWT.sub is "1"'),
        ({"sub": "x", "alg": "HS256"}, 'SERVICENOW_JWT.alg is "HS256"; expected RS256, RS384,'),
        ({"sub": "x", "lifetime": 0}, 'SERVICENOW_JWT.lifetime is "0"; expected a whole number from 1 to 3600'),
        ({"sub": "x", "backdate": 601}, 'SERVICENOW_JWT.backdate is "601"; expected a whole number from 0 to 600'),
        ({"sub": "x", "key": "y"}, 'SERVICENOW_JWT has the unknown key "key"; expected any of sub, kid, aud, iss,'),
    ],
)
def test_a_bad_claim_is_named(claims: dict[str, object], told: str) -> None:
    assert problem(SERVICENOW_JWT=json.dumps(claims)).startswith(told)


APPLICATION, TENANT = "00000000-0000-0000-0000-00000000000A", "00000000-0000-0000-0000-00000000000b"


@pytest.mark.parametrize(
    ("scope", "read"),
    [
        (f"{APPLICATION}/.default", f"{APPLICATION.lower()}/.default"),
        ("api://servicenow-tokens", "api://servicenow-tokens/.default"),
        (f"api://{TENANT}/{APPLICATION}/.default", f"api://{TENANT}/{APPLICATION}/.default"),
    ],
)
def test_a_scope_is_an_applications_default_one(scope: str, read: str) -> None:
    found = connection(SERVICENOW_GRANT="entra_id", SERVICENOW_ENTRA_SCOPE=scope)
    assert (found.grant, found.entra_scope) == (Grant.ENTRA_ID, read)
    assert found.own_names == ("servicenow-oauth-token", "servicenow-refresh-record")


@pytest.mark.parametrize(
    "scope",
    [
        APPLICATION,
        f"{APPLICATION}/user_impersonation",
        "api://x/user_impersonation",
        "https://vault.azure.net/.default",
        "api://",
        "/.default",
    ],
)
def test_another_scope_is_refused(scope: str) -> None:
    """`api://ID/user_impersonation` is AADSTS500011: a workload asks for all that it was given, or for nothing."""
    told = problem(SERVICENOW_ENTRA_SCOPE=scope)
    assert told.endswith("; expected <application client id>/.default, or the application's api:// URI")


@pytest.mark.parametrize("setting", ["SERVICENOW_GRANT", "SERVICENOW_FALLBACK_GRANT"])
def test_the_grant_entra_id_needs_a_scope(setting: str) -> None:
    assert problem(**{setting: "entra_id"}).startswith("SERVICENOW_ENTRA_SCOPE is not set; expected <application")


def test_an_application_that_trusts_the_identity_is_named_with_its_tenant_or_not_at_all() -> None:
    both = connection(SERVICENOW_ENTRA_CLIENT_ID=APPLICATION, SERVICENOW_ENTRA_TENANT_ID=TENANT)
    assert (both.entra_client_id, both.entra_tenant_id) == (APPLICATION.lower(), TENANT.lower())
    for name in ("SERVICENOW_ENTRA_CLIENT_ID", "SERVICENOW_ENTRA_TENANT_ID"):
        assert problem(**{name: APPLICATION}) == (
            "SERVICENOW_ENTRA_CLIENT_ID and SERVICENOW_ENTRA_TENANT_ID belong together; expected both, or none"
        )


def test_a_bad_object_of_claims_is_one_problem() -> None:
    """Not two: that it cannot be read, and that it is not there."""
    told = problem(SERVICENOW_GRANT="jwt_bearer", SERVICENOW_JWT="{")
    assert told == "SERVICENOW_JWT is not valid JSON; expected a JSON object"


@pytest.mark.parametrize("minutes", ["1", "1440"])
def test_the_refresh_age_is_a_minute_at_least_and_a_day_at_most(minutes: str) -> None:
    assert load(REFRESH_INTERVAL_MINUTES=minutes).refresh_interval == timedelta(minutes=int(minutes))
    for beyond in ("0", "1441"):
        told = problem(REFRESH_INTERVAL_MINUTES=beyond)
        assert told == f'REFRESH_INTERVAL_MINUTES is "{beyond}"; expected a whole number from 1 to 1440'


def test_a_life_is_a_minute_at_least() -> None:
    (only,) = connections({"hr": {"instance_url": INSTANCE, "refresh_token_lifetime": 60}}).connections
    assert only.refresh_token_lifetime == timedelta(minutes=1)


def test_claims_have_defaults() -> None:
    assert connection(SERVICENOW_JWT='{"sub": "x", "kid": null}').jwt == JwtClaims(
        subject="x",
        kid=None,
        audience=None,
        issuer=None,
        algorithm="RS256",
        lifetime=timedelta(minutes=5),
        backdating=timedelta(seconds=30),
    )


@pytest.mark.parametrize(
    "target",
    [
        "servicenow-oauth-token",
        "ServiceNow-Client-Secret",
        f"{VAULT}/secrets/servicenow-refresh-token",
    ],
)
def test_a_target_must_not_overwrite_what_the_connection_lives_on(target: str) -> None:
    assert "which is a secret of connection servicenow itself" in problem(PUBLISH_TO=target)


def test_the_same_name_in_another_vault_is_another_secret() -> None:
    (target,) = connection(PUBLISH_TO="https://other.vault.azure.net/secrets/servicenow-oauth-token").publish_to
    assert target == SecretIdentifier(vault_url="https://other.vault.azure.net", name="servicenow-oauth-token")


def test_a_target_named_twice_is_refused() -> None:
    assert 'PUBLISH_TO names "A", which is a target of connection servicenow already' in problem(PUBLISH_TO="a,b,A")


@pytest.mark.parametrize(
    "target",
    [
        "https://other.vault.azure.net/secrets/NAME/0123456789abcdef",
        "https://other.vault.azure.net/secrets/",
        "https://other.vault.azure.net/keys/NAME",
        "http://other.vault.azure.net/secrets/NAME",
        "a" * 128,
        "ä",
    ],
)
def test_a_target_is_a_name_or_an_identifier_without_a_version(target: str) -> None:
    shown = target if len(target) <= 60 else target[:59] + "…"
    assert problem(PUBLISH_TO=target) == (
        f'PUBLISH_TO is "{shown}"; expected secret names (letters, digits and hyphens, at most 127) or identifiers '
        "without a version such as https://NAME.vault.azure.net/secrets/NAME"
    )


@pytest.mark.parametrize("path", ["api", "//evil.example", "/a b", "/a#b", "/ä", "https://x"])
def test_a_probe_path_begins_with_one_slash(path: str) -> None:
    assert problem(PROBE_PATH=path).startswith("PROBE_PATH is ")


def test_azurites_container_has_an_account_in_its_path() -> None:
    url = "https://127.0.0.1:10000/devstoreaccount1/leases"
    assert load(LEASE_CONTAINER_URL=url).lease_container_url == url


@pytest.mark.parametrize("path", ["", "/", "/Leases", "/a", "/a--b", "/leases/blob", "/-ab"])
def test_a_lease_container_has_a_containers_name(path: str) -> None:
    assert problem(LEASE_CONTAINER_URL=f"https://account.blob.core.windows.net{path}").startswith(
        "LEASE_CONTAINER_URL"
    )


def test_several_connections_each_have_their_own_defaults() -> None:
    settings = connections(
        {
            "assets": {"instance_url": INSTANCE, "fallback_grant": None},
            "hr-2": {
                "instance_url": INSTANCE,
                "grant": "client_credentials",
                "fallback_grant": "password",
                "publish_to": ["hr-token", "https://other.vault.azure.net/secrets/hr-token"],
                "probe_path": "",
                "refresh_token_lifetime": 86400,
                "jwt": None,
            },
        }
    )
    assets, hr = settings.connections
    assert assets.publish_to == (SecretIdentifier(vault_url=VAULT, name="assets--action--global--oauth-token"),)
    assert assets.grant is Grant.REFRESH_TOKEN
    assert assets.access_token_name == "assets-oauth-token"
    assert [target.name for target in hr.publish_to] == ["hr-token", "hr-token"]
    assert (hr.grant, hr.fallback_grant) == (Grant.CLIENT_CREDENTIALS, Grant.PASSWORD)
    assert (hr.probe_path, hr.refresh_token_lifetime) == (None, timedelta(days=1))


def test_connections_replace_the_settings_of_the_single_connection() -> None:
    settings = load(SERVICENOW_CONNECTIONS=json.dumps({"hr": {"instance_url": INSTANCE}}), SERVICENOW_GRANT="nonsense")
    assert [each.name for each in settings.connections] == ["hr"]


def test_targets_may_be_a_text_with_commas_and_may_be_none() -> None:
    first, second = connections(
        {"a": {"instance_url": INSTANCE, "publish_to": "x, y"}, "b": {"instance_url": INSTANCE, "publish_to": []}}
    ).connections
    assert [target.name for target in first.publish_to] == ["x", "y"]
    assert second.publish_to == ()


@pytest.mark.parametrize(
    ("document", "told"),
    [
        ({}, "SERVICENOW_CONNECTIONS is an empty object; expected at least one connection"),
        ([], "SERVICENOW_CONNECTIONS is no JSON object but a list; expected a JSON object"),
        ("x", "SERVICENOW_CONNECTIONS is no JSON object but a text; expected a JSON object"),
        (None, "SERVICENOW_CONNECTIONS is no JSON object but null; expected a JSON object"),
        (True, "SERVICENOW_CONNECTIONS is no JSON object but true or false; expected a JSON object"),
        ({"hr": 1}, "SERVICENOW_CONNECTIONS hr is no JSON object but a number; expected a JSON object"),
        ({"HR": {"instance_url": INSTANCE}}, "SERVICENOW_CONNECTIONS HR is no name for a connection; expected [a-z]"),
        ({"hr": {}}, "SERVICENOW_CONNECTIONS hr.instance_url is not set; expected an https origin"),
    ],
)
def test_bad_connections_are_named(document: object, told: str) -> None:
    (only,) = connection_problems(document)
    assert only.startswith(told)


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("grant", True, 'is "true"; expected refresh_token,'),
        ("grant", "", 'is ""; expected refresh_token,'),
        ("publish_to", None, "is null; expected no such key for the default, or an empty text"),
        ("publish_to", 7, 'is "7"; expected a list of secret names'),
        ("publish_to", [["x"]], "is a list; expected secret names"),
        ("probe_path", None, "is null; expected no such key for the default, or an empty text"),
        ("probe_path", {}, "is an object; expected a path"),
        ("refresh_token_lifetime", 59, 'is "59"; expected a whole number from 60 to 315360000'),
        ("refresh_token_lifetime", 86400.5, 'is "86400.5"; expected a whole number'),
        ("refresh_token_lifetime", True, 'is "true"; expected a whole number'),
        ("jwt", [], "is no JSON object but a list"),
    ],
)
def test_a_bad_key_of_a_connection_is_named(key: str, value: object, told: str) -> None:
    (only,) = connection_problems({"hr": {"instance_url": INSTANCE, key: value}})
    assert only.startswith(f"SERVICENOW_CONNECTIONS hr.{key} {told}")


def test_an_unknown_key_lists_the_known_ones() -> None:
    (only,) = connection_problems({"hr": {"instance_url": INSTANCE, "instance": "x"}})
    assert only == (
        'SERVICENOW_CONNECTIONS hr has the unknown key "instance"; expected any of '
        + ", ".join(spec.name for spec in CONNECTION_KEYS)
    )


def test_two_connections_must_not_publish_to_one_secret() -> None:
    either = {"instance_url": INSTANCE, "publish_to": ["shared"]}
    (only,) = connection_problems({"a": either, "b": either})
    assert only == (
        'SERVICENOW_CONNECTIONS b.publish_to names "shared", which is a target of connection a already; '
        "expected secrets that nothing else writes"
    )


def test_a_connection_must_not_publish_over_another_ones_secret() -> None:
    first = {"instance_url": INSTANCE, "publish_to": ["b-password"]}
    (only,) = connection_problems({"a": first, "b": {"instance_url": INSTANCE}})
    assert "a.publish_to names" in only
    assert "a secret of connection b itself" in only


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a": {}, "a": {}}', 'is JSON with the key "a" twice'),
        ('{"a": {"grant": "password", "grant": "password"}}', 'is JSON with the key "grant" twice'),
        ('{"a": NaN}', "is not valid JSON"),
        ("{'a': {}}", "is not valid JSON"),
        ("[" * 100_000, "is not valid JSON"),
        ("9" * 5000, "is not valid JSON"),
    ],
)
def test_json_that_is_not_plain_is_refused(text: str, told: str) -> None:
    assert problem(SERVICENOW_CONNECTIONS=text) == f"SERVICENOW_CONNECTIONS {told}; expected a JSON object"


URLS = st.sampled_from(["https://x.service-now.com", "http://[::1", "https://u:p@x", "https://x:99999", "//"])
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=90) | URLS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([spec.name for spec in CONNECTION_KEYS] + ["a", "sub", "Ä"]), inner)
    ),
    max_leaves=12,
)
VALUES = st.text(max_size=200) | URLS | JSON.map(json.dumps) | st.text("0123456789*/ -", max_size=20)


@given(st.dictionaries(st.sampled_from([spec.name for spec in SETTINGS]) | st.text(max_size=5), VALUES))
def test_any_mapping_is_settings_or_a_settings_error(environ: dict[str, str]) -> None:
    settings: Settings | None = None
    found: tuple[str, ...] = ()
    try:
        settings = load_settings(environ)
    except SettingsError as error:
        found = error.problems
    assert (settings is None) == bool(found)
    assert settings is None or (settings.connections and settings.tick > timedelta(0))
    assert all(each.isprintable() for each in found)


@given(st.sampled_from([spec.name for spec in SETTINGS]), st.text("abcXYZ@?#{", min_size=61, max_size=300))
def test_no_long_value_is_echoed(name: str, value: str) -> None:
    told = ""
    try:
        load(**{name: value})
    except SettingsError as error:
        told = error.message
    assert not any(value[start : start + 61] in told for start in range(len(value) - 60))


class TestAKeyOfTheVault:
    """`key_identifier`: the key that signs stays where it is; `kid` may name versions of it."""

    VERSION = "0123456789abcdef0123456789abcdef"

    def claims(self, **keys: object) -> JwtClaims | None:
        document = json.dumps({"sub": "x", **keys})
        return connection(SERVICENOW_GRANT="jwt_bearer", SERVICENOW_JWT=document).jwt

    @pytest.mark.parametrize("version", [None, VERSION])
    def test_it_is_named_with_a_version_or_without(self, version: str | None) -> None:
        found = self.claims(
            key_identifier=f"https://NAME.vault.azure.net/keys/signer{f'/{version}' if version else ''}"
        )
        assert found is not None
        assert found.key == KeyIdentifier(vault_url="https://name.vault.azure.net", name="signer", version=version)

    @pytest.mark.parametrize(
        "identifier",
        [
            "https://name.vault.azure.net/secrets/signer",
            "https://name.vault.azure.net/keys/signer/1",
            "https://name.vault.azure.net/keys/",
            "http://name.vault.azure.net/keys/signer",
            "signer",
            7,
        ],
    )
    def test_whatever_else_is_one_clear_error(self, identifier: object) -> None:
        with pytest.raises(SettingsError) as caught:
            self.claims(key_identifier=identifier)
        (problem,) = caught.value.problems
        assert problem.startswith("SERVICENOW_JWT.key_identifier is ")
        assert "https://NAME.vault.azure.net/keys/NAME" in problem

    def test_versions_have_key_ids_of_their_own(self) -> None:
        found = self.claims(key_identifier="https://name.vault.azure.net/keys/signer", kid={self.VERSION: "first"})
        assert found is not None
        assert (found.kid, found.kids) == (None, ((self.VERSION, "first"),))
        assert (found.kid_of(self.VERSION), found.kid_of("other")) == ("first", None)

    @pytest.mark.parametrize(
        ("keys", "told"),
        [
            ({"kid": {VERSION: "first"}}, "kid names versions of a key"),
            (
                {
                    "kid": {VERSION: "first"},
                    "key_identifier": f"https://name.vault.azure.net/keys/signer/{VERSION}",
                },
                "kid names versions of a key",
            ),
            ({"kid": {"newest": "first"}}, "expected a text, or an object of key ids"),
            ({"kid": {}}, "expected a text, or an object of key ids"),
            ({"kid": {VERSION: ""}}, "expected a text that is not empty"),
            ({"public_client": "yes"}, "expected true or false"),
        ],
    )
    def test_what_does_not_go_together_is_said(self, keys: dict[str, object], told: str) -> None:
        with pytest.raises(SettingsError, match=told):
            self.claims(**keys)

    @pytest.mark.parametrize(("public", "client"), [(False, ["client-id", "client-secret"]), (True, ["client-id"])])
    def test_only_what_is_sent_is_read(self, public: bool, client: list[str]) -> None:
        document = {"sub": "x", "public_client": public, "key_identifier": "https://name.vault.azure.net/keys/signer"}
        found = connection(SERVICENOW_GRANT="jwt_bearer", SERVICENOW_JWT=json.dumps(document))
        assert list(found.sends(Grant.JWT_BEARER).values()) == client
        assert found.has_client_secret is not public
        assert found.own_secrets(Grant.JWT_BEARER) == ()
