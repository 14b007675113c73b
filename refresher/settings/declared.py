"""Every setting, and every key of a JSON setting: one row each, from which code, sample, docs and Bicep follow."""

from collections.abc import Callable
from datetime import timedelta
from typing import NamedTuple

from refresher.model.grants import FALLBACKS, UNATTENDED
from refresher.model.timing import LONGEST_LIFETIME
from refresher.settings import addresses, forms
from refresher.settings.schedule import DEFAULT_SCHEDULE

DEFAULT_CONNECTION = "servicenow"
SEVERAL = "SERVICENOW_CONNECTIONS"
_SECOND, _MINUTE = timedelta(seconds=1), timedelta(minutes=1)


class SettingSpec(NamedTuple):
    """One setting, or one key of a JSON setting.

    A value that is not there is the default, or None where there is none; `parse` turns any other into the checked
    one, or raises UnusableError.
    """

    name: str
    meaning: str
    parse: Callable[[object], object]
    default: str | None = None
    required: bool = False
    empty_is_none: bool = False
    """Whether an empty text says "none at all", and not that nothing is set."""
    exact: bool = False
    """Whether white space around it counts, since the host reads it as well."""


SYS_USER_PROBE = (
    "/api/now/table/sys_user?sysparm_query=user_name=javascript:gs.getUserName()"
    "&sysparm_fields=user_name&sysparm_limit=1"
)

CONNECTION_KEYS = (
    SettingSpec(
        name="instance_url",
        required=True,
        meaning="https origin of the instance",
        parse=addresses.parse_instance_origin,
    ),
    SettingSpec(
        name="grant",
        default="refresh_token",
        meaning="how tokens are asked for: " + forms.listed(UNATTENDED),
        parse=forms.choice_parser(UNATTENDED),
    ),
    SettingSpec(
        name="fallback_grant",
        meaning="grant where the refresh token is missing, refused or near its end: " + forms.listed(FALLBACKS),
        parse=forms.choice_parser(FALLBACKS),
    ),
    SettingSpec(
        name="refresh_token_lifetime",
        default="8640000",
        meaning="seconds that a refresh token lives, as set on the OAuth application",
        parse=forms.span_parser(_SECOND, 60, LONGEST_LIFETIME // _SECOND),
    ),
    SettingSpec(
        name="publish_to",
        default="<name>--action--global--oauth-token",
        meaning="where the access token is published: secret names or full secret identifiers; empty = nowhere else",
        parse=addresses.parse_targets,
        empty_is_none=True,
    ),
    SettingSpec(
        name="probe_path",
        default=SYS_USER_PROBE,
        meaning="path that new and stored tokens are tried at; empty = do not probe",
        parse=forms.parse_probe_path,
        empty_is_none=True,
    ),
    SettingSpec(
        name="verify_interval_minutes",
        meaning="minutes between two trials of the stored token; not set: each tick; 0 = never",
        parse=forms.span_parser(_MINUTE, 0, 1440),
    ),
    SettingSpec(
        name="entra_scope",
        meaning="scope of grant entra_id: APPLICATION/.default or an api:// URI",
        parse=forms.parse_entra_scope,
    ),
    SettingSpec(
        name="entra_client_id",
        meaning="client id of an application that trusts the app's identity (federated credential)",
        parse=forms.parse_guid,
    ),
    SettingSpec(
        name="entra_tenant_id",
        meaning="tenant id of that application; both or none",
        parse=forms.parse_guid,
    ),
    SettingSpec(
        name="jwt",
        meaning="claims of grant jwt_bearer, an object of the keys below",
        parse=forms.parse_json_object,
    ),
)

JWT_KEYS = (
    SettingSpec(
        name="sub",
        required=True,
        meaning="value of the user field that names the integration user",
        parse=forms.parse_claim,
    ),
    SettingSpec(
        name="kid",
        meaning="key id on the JWT verifier map; or an object of one for each version of the key",
        parse=forms.parse_kid,
    ),
    SettingSpec(name="aud", meaning="audience; not set: the client id", parse=forms.parse_claim),
    SettingSpec(name="iss", meaning="issuer; not set: the client id", parse=forms.parse_claim),
    SettingSpec(
        name="alg",
        default="RS256",
        meaning="signature: " + ", ".join(forms.JWT_ALGORITHMS),
        parse=forms.choice_parser(forms.JWT_ALGORITHMS),
    ),
    SettingSpec(
        name="key_identifier",
        meaning="key of Key Vault that signs, https://VAULT/keys/NAME[/VERSION]; not set: `<name>-jwt-key`",
        parse=addresses.parse_key_identifier,
    ),
    SettingSpec(
        name="public_client",
        default="false",
        meaning="true: a public client, no client secret is sent or read",
        parse=forms.parse_boolean,
    ),
    SettingSpec(
        name="lifetime",
        default="300",
        meaning="seconds that an assertion is valid",
        parse=forms.span_parser(_SECOND, 1, 3600),
    ),
    SettingSpec(
        name="backdate",
        default="30",
        meaning="seconds that its start is set back, for differing clocks",
        parse=forms.span_parser(_SECOND, 0, 600),
    ),
)

SETTING_OF_KEY = {
    "instance_url": "SERVICENOW_INSTANCE_URL",
    "grant": "SERVICENOW_GRANT",
    "fallback_grant": "SERVICENOW_FALLBACK_GRANT",
    "refresh_token_lifetime": "SERVICENOW_REFRESH_TOKEN_LIFETIME",
    "entra_scope": "SERVICENOW_ENTRA_SCOPE",
    "entra_client_id": "SERVICENOW_ENTRA_CLIENT_ID",
    "entra_tenant_id": "SERVICENOW_ENTRA_TENANT_ID",
    "jwt": "SERVICENOW_JWT",
    "publish_to": "PUBLISH_TO",
    "probe_path": "PROBE_PATH",
    "verify_interval_minutes": "VERIFY_INTERVAL_MINUTES",
}
"""The settings of the single connection: what `SERVICENOW_CONNECTIONS` says of one by these keys."""
_TOLD_OTHERWISE = {
    "instance_url": f"https origin of the instance; not with {SEVERAL}",
    "jwt": "claims of grant jwt_bearer: a JSON object, keys below",
    "publish_to": "secret names or full secret identifiers that receive the access token, with commas; empty = none",
}


def _single(key: str) -> SettingSpec:
    (spec,) = (each for each in CONNECTION_KEYS if each.name == key)
    default = spec.default.replace("<name>", DEFAULT_CONNECTION) if spec.default else None
    meaning = _TOLD_OTHERWISE.get(key, spec.meaning)
    return spec._replace(name=SETTING_OF_KEY[key], default=default, meaning=meaning)


SETTINGS = (
    SettingSpec(
        name="KEY_VAULT_URL",
        required=True,
        meaning="https origin of the vault with credentials and tokens",
        parse=addresses.parse_vault_origin,
    ),
    _single("instance_url"),
    SettingSpec(
        name=SEVERAL,
        meaning="several connections: a JSON object, name to keys",
        parse=forms.parse_json_object,
    ),
    *(_single(key) for key in SETTING_OF_KEY if key != "instance_url"),
    SettingSpec(
        name="REFRESH_SCHEDULE",
        default=DEFAULT_SCHEDULE,
        meaning="the timer's tick: `0 MINUTES * * * *` with a number, a list, `*/N` or `M/N`",
        parse=forms.parse_schedule,
        exact=True,
    ),
    SettingSpec(
        name="REFRESH_INTERVAL_MINUTES",
        default="50",
        meaning="age at which a token is refreshed, or 5/6 of a shorter life",
        parse=forms.span_parser(_MINUTE, 1, 1440),
    ),
    SettingSpec(
        name="LEASE_CONTAINER_URL",
        meaning="blob container for the lease; not set: a file lock, for one machine only",
        parse=addresses.parse_container_url,
    ),
    SettingSpec(
        name="SERVICENOW_ALLOW_CUSTOM_HOST",
        default="false",
        meaning="true permits hosts outside of " + ", ".join(f"*{suffix}" for suffix in addresses.INSTANCE_HOSTS),
        parse=forms.parse_boolean,
    ),
    SettingSpec(
        name="REFRESH_QUEUE",
        meaning="storage queue that spreads connections over instances; not set: one run does all",
        parse=forms.parse_queue_name,
        exact=True,
    ),
)
