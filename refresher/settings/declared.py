"""Every setting, and every key of a JSON setting: one list on which the code, the sample, the docs and Bicep agree."""

from dataclasses import dataclass

from refresher.model.grants import FALLBACKS, UNATTENDED
from refresher.settings.forms import INSTANCE_HOSTS, JWT_ALGORITHMS, listed

DEFAULT_CONNECTION = "servicenow"


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingSpec:
    """One setting, or one key of a JSON setting, as the code, the sample, the docs and Bicep must agree on it."""

    name: str
    meaning: str
    required: bool = False
    default: str | None = None


SYS_USER_PROBE = (
    "/api/now/table/sys_user?sysparm_query=user_name=javascript:gs.getUserName()"
    "&sysparm_fields=user_name&sysparm_limit=1"
)

CONNECTION_KEYS = (
    SettingSpec(
        name="instance_url",
        required=True,
        meaning="https origin of the ServiceNow instance",
    ),
    SettingSpec(
        name="grant",
        default="refresh_token",
        meaning="how tokens are asked for: " + listed(UNATTENDED),
    ),
    SettingSpec(
        name="fallback_grant",
        meaning="grant used when the refresh token is missing, refused or near its end: " + listed(FALLBACKS),
    ),
    SettingSpec(
        name="refresh_token_lifetime",
        default="8640000",
        meaning="seconds that a refresh token lives, as set on the OAuth application",
    ),
    SettingSpec(
        name="publish_to",
        default="<name>--action--global--oauth-token",
        meaning="where the access token is published: secret names or full secret identifiers; empty = nowhere else",
    ),
    SettingSpec(
        name="probe_path",
        default=SYS_USER_PROBE,
        meaning="path asked with a new token before it is published; empty = do not probe",
    ),
    SettingSpec(
        name="access_token_lifetime",
        meaning="seconds that an access token should live; a warning says where ServiceNow differs",
    ),
    SettingSpec(
        name="refresh_token_renewal_share",
        default="0.1",
        meaning="share of a refresh token's life, at its end, in which the fallback grant starts a new one",
    ),
    SettingSpec(
        name="jwt",
        meaning="claims of the JWT bearer grant, an object of the keys below",
    ),
)

JWT_KEYS = (
    SettingSpec(
        name="sub",
        required=True,
        meaning="value of the user field that names the integration user in ServiceNow",
    ),
    SettingSpec(name="kid", meaning="key id, as shown on the JWT verifier map"),
    SettingSpec(name="aud", meaning="audience; not set: the client id"),
    SettingSpec(name="iss", meaning="issuer; not set: the client id"),
    SettingSpec(name="alg", default="RS256", meaning="signature: " + ", ".join(JWT_ALGORITHMS)),
    SettingSpec(name="lifetime", default="300", meaning="seconds that an assertion is valid"),
    SettingSpec(
        name="backdate",
        default="30",
        meaning="seconds that its start is set back, for clocks that differ",
    ),
)

CONNECTION_KEYS_BY_NAME = {spec.name: spec for spec in CONNECTION_KEYS}
JWT_KEYS_BY_NAME = {spec.name: spec for spec in JWT_KEYS}
SETTING_OF_KEY = {
    "instance_url": "SERVICENOW_INSTANCE_URL",
    "grant": "SERVICENOW_GRANT",
    "fallback_grant": "SERVICENOW_FALLBACK_GRANT",
    "refresh_token_lifetime": "SERVICENOW_REFRESH_TOKEN_LIFETIME",
    "publish_to": "PUBLISH_TO",
    "probe_path": "PROBE_PATH",
    "jwt": "SERVICENOW_JWT",
}
SEVERAL = "SERVICENOW_CONNECTIONS"
EMPTY_MEANS_NONE = frozenset({"PUBLISH_TO", "PROBE_PATH"})
EMPTY_MEANS_NONE_KEYS = frozenset({"publish_to", "probe_path"})


def _single(key: str) -> SettingSpec:
    spec = CONNECTION_KEYS_BY_NAME[key]
    default = spec.default.replace("<name>", DEFAULT_CONNECTION) if spec.default else None
    return SettingSpec(name=SETTING_OF_KEY[key], default=default, meaning=spec.meaning)


SETTINGS = (
    SettingSpec(
        name="KEY_VAULT_URL",
        required=True,
        meaning="https origin of the vault with credentials and tokens",
    ),
    SettingSpec(
        name="SERVICENOW_INSTANCE_URL",
        required=True,
        meaning="https origin of the ServiceNow instance; not required where SERVICENOW_CONNECTIONS is set",
    ),
    SettingSpec(
        name=SEVERAL,
        meaning="several connections: a JSON object, name to keys; replaces the settings of the single connection",
    ),
    _single("grant"),
    _single("fallback_grant"),
    _single("refresh_token_lifetime"),
    SettingSpec(
        name="SERVICENOW_JWT",
        meaning="claims of the JWT bearer grant: a JSON object with the keys of `jwt`",
    ),
    SettingSpec(
        name="PUBLISH_TO",
        default=f"{DEFAULT_CONNECTION}--action--global--oauth-token",
        meaning="comma-separated secret names or full secret identifiers that receive the access token; empty = none",
    ),
    SettingSpec(
        name="REFRESH_SCHEDULE",
        default="0 */5 * * * *",
        meaning="the timer's tick: NCRONTAB, six fields, UTC",
    ),
    SettingSpec(
        name="REFRESH_INTERVAL_MINUTES",
        default="50",
        meaning="age at which a token is refreshed (earlier where it lives shorter: 5/6 of its life)",
    ),
    _single("probe_path"),
    SettingSpec(
        name="LEASE_CONTAINER_URL",
        meaning="blob container for the lease that keeps refreshers apart; not set: a file lock, for one machine only",
    ),
    SettingSpec(
        name="SERVICENOW_ALLOW_CUSTOM_HOST",
        default="false",
        meaning="true permits instance hosts outside of " + ", ".join(f"*{suffix}" for suffix in INSTANCE_HOSTS),
    ),
    SettingSpec(
        name="REFRESH_QUEUE",
        meaning="storage queue that spreads the connections of a tick over instances; not set: one run does all",
    ),
)
