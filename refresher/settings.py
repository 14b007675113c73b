"""The app settings, read once from a mapping into values that the rest of the app can trust.

Rules: `SETTINGS` declares every setting, and only what it declares can be read. All problems are reported at once,
each with the setting's name, what was found and what is expected. What was found is cut short, and not shown at all
where it may hold a credential (a URL with user information or a query, a JSON document).

`SERVICENOW_CONNECTIONS` replaces the settings of the single connection. Beside the settings of the design there is
`SERVICENOW_JWT`, which gives the single connection what the key `jwt` gives one of several. For `PUBLISH_TO` and
`PROBE_PATH`, an empty value means "none"; for every other setting it means "not set".
"""

import ipaddress
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar

from refresher.errors import SettingsError
from refresher.schedule import ScheduleError, longest_gap
from refresher.tokens import Grant

DEFAULT_CONNECTION = "servicenow"
INSTANCE_HOSTS = (".service-now.com", ".servicenowservices.com", ".servicenowcloud.com.au")
JWT_ALGORITHMS = ("RS256", "RS384", "RS512", "ES256", "ES384", "ES512")
LONGEST_LIFETIME = timedelta(days=3650)
_LONGEST_SHOWN = 60

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishTarget:
    """A secret that receives the access token: its vault's origin, without a slash at the end, and its name."""

    vault_url: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class JwtClaims:
    """What the assertion of the JWT bearer grant says (RFC 7523); `audience` and `issuer` None: the client id."""

    subject: str
    kid: str | None = None
    audience: str | None = None
    issuer: str | None = None
    algorithm: str = "RS256"
    lifetime: timedelta = timedelta(minutes=5)
    backdating: timedelta = timedelta(seconds=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Connection:
    """One OAuth application on one instance, and where its access token goes.

    `renewal_share` is the share of a refresh token's life, counted from its end, in which a new life is started.
    """

    name: str
    instance_url: str
    grant: Grant
    fallback_grant: Grant | None
    publish_to: tuple[PublishTarget, ...]
    probe_path: str | None
    refresh_token_lifetime: timedelta
    access_token_lifetime: timedelta | None
    renewal_share: float = 0.1
    jwt: JwtClaims | None = None

    @property
    def client_id_name(self) -> str:
        """Secret name of the OAuth application's client id."""
        return f"{self.name}-client-id"

    @property
    def client_secret_name(self) -> str:
        """Secret name of the OAuth application's client secret."""
        return f"{self.name}-client-secret"

    @property
    def refresh_token_name(self) -> str:
        """Secret name of the current refresh token."""
        return f"{self.name}-refresh-token"

    @property
    def access_token_name(self) -> str:
        """Secret name of the current access token, for any consumer."""
        return f"{self.name}-oauth-token"

    @property
    def username_name(self) -> str:
        """Secret name of the integration user's name."""
        return f"{self.name}-username"

    @property
    def password_name(self) -> str:
        """Secret name of the integration user's password."""
        return f"{self.name}-password"

    @property
    def jwt_key_name(self) -> str:
        """Secret name of the private key for the JWT bearer grant."""
        return f"{self.name}-jwt-key"

    @property
    def record_name(self) -> str:
        """Secret name of the record of failed attempts."""
        return f"{self.name}-refresh-record"

    @property
    def own_names(self) -> tuple[str, ...]:
        """Every secret name that the connection takes in the vault."""
        return (
            self.client_id_name,
            self.client_secret_name,
            self.refresh_token_name,
            self.access_token_name,
            self.username_name,
            self.password_name,
            self.jwt_key_name,
            self.record_name,
        )

    @property
    def token_endpoint(self) -> str:
        """URL that issues tokens (RFC 6749 section 3.2)."""
        return f"{self.instance_url}/oauth_token.do"

    @property
    def revocation_endpoint(self) -> str:
        """URL that revokes tokens (RFC 7009)."""
        return f"{self.instance_url}/oauth_revoke_token.do"

    @property
    def authorization_endpoint(self) -> str:
        """URL at which a person authorizes the application (RFC 6749 section 3.1)."""
        return f"{self.instance_url}/oauth_auth.do"


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. `tick` is the longest wait between two ticks; the blob lease outlasts `run_deadline`."""

    vault_url: str
    connections: tuple[Connection, ...]
    refresh_interval: timedelta
    tick: timedelta
    run_deadline: timedelta = timedelta(seconds=45)
    lease_container_url: str | None = None
    refresh_queue: str | None = None

    def connection(self, name: str) -> Connection | None:
        """The connection of that name, or None."""
        return next((each for each in self.connections if each.name == name), None)


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingSpec:
    """One setting, or one key of a JSON setting, as the code, the sample, the docs and Bicep must agree on it."""

    name: str
    meaning: str
    required: bool = False
    default: str | None = None


_SYS_USER_PROBE = (
    "/api/now/table/sys_user?sysparm_query=user_name=javascript:gs.getUserName()"
    "&sysparm_fields=user_name&sysparm_limit=1"
)

CONNECTION_KEYS = (
    SettingSpec(name="instance_url", required=True, meaning="https origin of the ServiceNow instance"),
    SettingSpec(
        name="grant",
        default="refresh_token",
        meaning="how tokens are asked for: refresh_token, client_credentials, jwt_bearer or password",
    ),
    SettingSpec(
        name="fallback_grant",
        meaning="grant used when the refresh token is missing, refused or near its end: "
        "client_credentials, jwt_bearer or password",
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
        default=_SYS_USER_PROBE,
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
    SettingSpec(name="jwt", meaning="claims of the JWT bearer grant, an object of the keys below"),
)

JWT_KEYS = (
    SettingSpec(
        name="sub", required=True, meaning="value of the user field that names the integration user in ServiceNow"
    ),
    SettingSpec(name="kid", meaning="key id, as shown on the JWT verifier map"),
    SettingSpec(name="aud", meaning="audience; not set: the client id"),
    SettingSpec(name="iss", meaning="issuer; not set: the client id"),
    SettingSpec(name="alg", default="RS256", meaning="signature: " + ", ".join(JWT_ALGORITHMS)),
    SettingSpec(name="lifetime", default="300", meaning="seconds that an assertion is valid"),
    SettingSpec(name="backdate", default="30", meaning="seconds that its start is set back, for clocks that differ"),
)

_CONNECTION_KEYS = {spec.name: spec for spec in CONNECTION_KEYS}
_JWT_KEYS = {spec.name: spec for spec in JWT_KEYS}
_SETTING_OF_KEY = {
    "instance_url": "SERVICENOW_INSTANCE_URL",
    "grant": "SERVICENOW_GRANT",
    "fallback_grant": "SERVICENOW_FALLBACK_GRANT",
    "refresh_token_lifetime": "SERVICENOW_REFRESH_TOKEN_LIFETIME",
    "publish_to": "PUBLISH_TO",
    "probe_path": "PROBE_PATH",
    "jwt": "SERVICENOW_JWT",
}
_SEVERAL = "SERVICENOW_CONNECTIONS"
_EMPTY_MEANS_NONE = frozenset({"PUBLISH_TO", "PROBE_PATH"})
_EMPTY_MEANS_NONE_KEYS = frozenset({"publish_to", "probe_path"})


def _single(key: str) -> SettingSpec:
    spec = _CONNECTION_KEYS[key]
    default = spec.default.replace("<name>", DEFAULT_CONNECTION) if spec.default else None
    return SettingSpec(name=_SETTING_OF_KEY[key], default=default, meaning=spec.meaning)


SETTINGS = (
    SettingSpec(name="KEY_VAULT_URL", required=True, meaning="https origin of the vault with credentials and tokens"),
    SettingSpec(
        name="SERVICENOW_INSTANCE_URL",
        required=True,
        meaning="https origin of the ServiceNow instance; not required where SERVICENOW_CONNECTIONS is set",
    ),
    SettingSpec(
        name=_SEVERAL,
        meaning="several connections: a JSON object, name to keys; replaces the settings of the single connection",
    ),
    _single("grant"),
    _single("fallback_grant"),
    _single("refresh_token_lifetime"),
    SettingSpec(name="SERVICENOW_JWT", meaning="claims of the JWT bearer grant: a JSON object with the keys of `jwt`"),
    SettingSpec(
        name="PUBLISH_TO",
        default=f"{DEFAULT_CONNECTION}--action--global--oauth-token",
        meaning="comma-separated secret names or full secret identifiers that receive the access token; empty = none",
    ),
    SettingSpec(
        name="REFRESH_SCHEDULE", default="0 */5 * * * *", meaning="the timer's tick: NCRONTAB, six fields, UTC"
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


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read and check every setting; raises SettingsError with all problems at once."""
    reader = _Reader(environ)
    vault_url = reader.take("KEY_VAULT_URL", _vault_origin, "")
    allow_custom_host = reader.take("SERVICENOW_ALLOW_CUSTOM_HOST", _boolean, otherwise=False)
    context = _Context(vault_url=vault_url, allow_custom_host=allow_custom_host, problems=reader.problems)
    connections = _connections(reader, context)
    settings = Settings(
        vault_url=vault_url,
        connections=connections,
        refresh_interval=timedelta(minutes=reader.take("REFRESH_INTERVAL_MINUTES", _integer(1, 1440), 1)),
        tick=reader.take("REFRESH_SCHEDULE", _schedule, timedelta(0)),
        lease_container_url=reader.take("LEASE_CONTAINER_URL", _optional(_container_url), None),
        refresh_queue=reader.take("REFRESH_QUEUE", _optional(_queue_name), None),
    )
    _check_targets(connections, context, several=reader.value(_SEVERAL) is not None)
    if reader.problems:
        raise SettingsError(tuple(reader.problems))
    return settings


class _UnusableError(Exception):
    """A value that cannot be used. `found` completes "NAME is …"; None where the value may not be shown."""

    def __init__(self, found: str, expected: str) -> None:
        super().__init__(expected)
        self.problem = f"is {found}; expected {expected}"


class _Reader:
    """The declared settings' values, and the problems found while reading them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._values = {spec.name: _given(environ, spec) for spec in SETTINGS}
        self.problems: list[str] = []

    def value(self, name: str) -> str | None:
        """The value or else the default; None where neither is there. A name that is not declared is a KeyError."""
        return self._values[name]

    def take(self, name: str, parse: Callable[[object], T], otherwise: T) -> T:
        """The value of a setting, parsed; a problem is noted and `otherwise` stands in."""
        return _take(self.problems, name, parse, self.value(name), otherwise)


def _given(environ: Mapping[str, str], spec: SettingSpec) -> str | None:
    value = environ.get(spec.name)
    if value is not None and (value.strip() or spec.name in _EMPTY_MEANS_NONE):
        return value.strip()
    return spec.default


def _take(problems: list[str], where: str, parse: Callable[[object], T], raw: object, otherwise: T) -> T:
    try:
        return parse(raw)
    except _UnusableError as error:
        problems.append(f"{where} {error.problem}")
    return otherwise


@dataclass(frozen=True, slots=True, kw_only=True)
class _Context:
    """What every connection is checked against."""

    vault_url: str
    allow_custom_host: bool
    problems: list[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Keys:
    """The keys of one object, whether they came as settings or as JSON, and how a problem with one is named."""

    values: Mapping[str, object]
    specs: Mapping[str, SettingSpec]
    label: Callable[[str], str]
    problems: list[str]

    def take(self, key: str, parse: Callable[[object], T], otherwise: T) -> T:
        """The value of a key or else its default, parsed; a problem is noted and `otherwise` stands in."""
        raw = self.values.get(key)
        if key not in self.values or (raw is None and key not in _EMPTY_MEANS_NONE_KEYS):
            raw = self.specs[key].default
        if isinstance(raw, str):
            raw = raw.strip()
        return _take(self.problems, self.label(key), parse, raw, otherwise)

    def refuse_unknown(self, where: str) -> None:
        """Note the keys that nobody reads: mostly a spelling mistake that would be ignored in silence."""
        for key in self.values:
            if key not in self.specs:
                known = ", ".join(self.specs)
                self.problems.append(f"{where} has the unknown key {_shown(key)}; expected any of {known}")


def _connections(reader: _Reader, context: _Context) -> tuple[Connection, ...]:
    if reader.value(_SEVERAL) is None:
        keys = _Keys(
            values={key: reader.value(setting) for key, setting in _SETTING_OF_KEY.items()},
            specs=_specs_for(DEFAULT_CONNECTION),
            label=lambda key: _SETTING_OF_KEY.get(key, key),
            problems=reader.problems,
        )
        return (_connection(DEFAULT_CONNECTION, keys, context),)
    named = reader.take(_SEVERAL, _json_object, None)
    if named is None:
        return ()
    if not named:
        reader.problems.append(f"{_SEVERAL} is an empty object; expected at least one connection")
    found = [_named_connection(name, value, context) for name, value in named.items()]
    return tuple(each for each in found if each is not None)


def _specs_for(name: str) -> dict[str, SettingSpec]:
    publish_to = _CONNECTION_KEYS["publish_to"]
    default = (publish_to.default or "").replace("<name>", name)
    return {**_CONNECTION_KEYS, "publish_to": replace(publish_to, default=default)}


def _named_connection(name: str, value: object, context: _Context) -> Connection | None:
    where = f"{_SEVERAL} {_printable(name)}"
    if not _CONNECTION_NAME.fullmatch(name):
        context.problems.append(f"{where} is no name for a connection; expected {_CONNECTION_NAME.pattern}")
    values = _take(context.problems, where, _json_object, value, None)
    if values is None:
        return None
    keys = _Keys(
        values=values,
        specs=_specs_for(name),
        label=lambda key: f"{where}.{key}",
        problems=context.problems,
    )
    keys.refuse_unknown(where)
    return _connection(name, keys, context)


def _connection(name: str, keys: _Keys, context: _Context) -> Connection:
    grant = keys.take("grant", _grant(_GRANTS), Grant.REFRESH_TOKEN)
    fallback = keys.take("fallback_grant", _optional(_grant(_FALLBACK_GRANTS)), None)
    if fallback is grant:
        other = _listed(each for each in _FALLBACK_GRANTS if each is not grant)
        keys.problems.append(f"{keys.label('fallback_grant')} is the grant itself; expected {other}, or nothing")
    jwt = keys.take("jwt", _optional(_json_object), None)
    claims = _claims(jwt, keys) if jwt is not None else None
    if jwt is None and Grant.JWT_BEARER in {grant, fallback} and keys.values.get("jwt") is None:
        keys.problems.append(
            f"{keys.label('jwt')} is not set; expected an object with at least `sub`, for the grant jwt_bearer"
        )
    return Connection(
        name=name,
        instance_url=keys.take("instance_url", _instance_origin(allow_custom_host=context.allow_custom_host), ""),
        grant=grant,
        fallback_grant=fallback,
        publish_to=keys.take("publish_to", _targets(context.vault_url), ()),
        probe_path=keys.take("probe_path", _probe_path, None),
        refresh_token_lifetime=keys.take("refresh_token_lifetime", _seconds(60, LONGEST_LIFETIME), LONGEST_LIFETIME),
        access_token_lifetime=keys.take("access_token_lifetime", _optional(_seconds(60, LONGEST_LIFETIME)), None),
        renewal_share=keys.take("refresh_token_renewal_share", _share, 0.1),
        jwt=claims,
    )


def _claims(values: Mapping[str, object], connection: _Keys) -> JwtClaims:
    where = connection.label("jwt")
    keys = _Keys(values=values, specs=_JWT_KEYS, label=lambda key: f"{where}.{key}", problems=connection.problems)
    keys.refuse_unknown(where)
    return JwtClaims(
        subject=keys.take("sub", _claim, ""),
        kid=keys.take("kid", _optional(_claim), None),
        audience=keys.take("aud", _optional(_claim), None),
        issuer=keys.take("iss", _optional(_claim), None),
        algorithm=keys.take("alg", _algorithm, "RS256"),
        lifetime=keys.take("lifetime", _seconds(1, timedelta(hours=1)), timedelta(minutes=5)),
        backdating=keys.take("backdate", _seconds(0, timedelta(minutes=10)), timedelta(0)),
    )


def _check_targets(connections: Sequence[Connection], context: _Context, *, several: bool) -> None:
    """A target must not overwrite what a connection lives on, nor hold two connections' tokens by turns."""
    owners = {
        (context.vault_url, name.lower()): f"a secret of connection {_printable(each.name)} itself"
        for each in connections
        for name in each.own_names
    }
    for connection in connections:
        where = f"{_SEVERAL} {_printable(connection.name)}.publish_to" if several else "PUBLISH_TO"
        for target in connection.publish_to:
            # Names of secrets are not case-sensitive in Key Vault.
            place = (target.vault_url, target.name.lower())
            if place in owners:
                context.problems.append(
                    f"{where} names {_shown(target.name)}, which is {owners[place]}; "
                    "expected secrets that nothing else writes"
                )
            owners.setdefault(place, f"a target of connection {_printable(connection.name)} already")


_CONNECTION_NAME = re.compile(r"[a-z][a-z0-9-]{0,40}")
_SECRET_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_CONTAINER = re.compile(r"(?:/devstoreaccount1)?/(?=[a-z0-9-]{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")
_QUEUE = re.compile(r"(?=[a-z0-9-]{3,63}$)[a-z0-9]+(?:-[a-z0-9]+)*")
_URL = re.compile(
    r"(https?)://(\[[0-9a-f:.]+\]|[0-9a-z](?:[0-9a-z.-]*[0-9a-z])?)(?::([0-9]{1,5}))?((?:/[0-9a-z._$~-]*)*)",
    re.IGNORECASE | re.ASCII,
)
_PROBE = re.compile(r"/(?!/)[!-~]*")
_HIGHEST_PORT = 65535
_GRANTS = (Grant.REFRESH_TOKEN, Grant.CLIENT_CREDENTIALS, Grant.JWT_BEARER, Grant.PASSWORD)
_FALLBACK_GRANTS = _GRANTS[1:]


def _optional(parse: Callable[[object], T]) -> Callable[[object], T | None]:
    def parse_optional(raw: object) -> T | None:
        return None if raw is None or raw == "" else parse(raw)

    return parse_optional


def _vault_origin(raw: object) -> str:
    expected = "an https origin such as https://NAME.vault.azure.net"
    url = _url(raw, expected)
    if url.scheme != "https" or url.path not in {"", "/"}:
        raise _UnusableError(_found(raw), expected)
    return url.origin


def _instance_origin(*, allow_custom_host: bool) -> Callable[[object], str]:
    def parse(raw: object) -> str:
        url = _url(raw, "an https origin such as https://NAME.service-now.com")
        if url.path not in {"", "/"}:
            raise _UnusableError(_found(raw), "an origin only, without a path")
        if url.scheme != "https" and not url.loopback:
            raise _UnusableError(_found(raw), "https:// (http:// is for a loopback host only)")
        if not allow_custom_host and not url.host.endswith(INSTANCE_HOSTS):
            hosts = ", ".join(f"*{suffix}" for suffix in INSTANCE_HOSTS)
            raise _UnusableError(_found(raw), f"a host in {hosts}, or SERVICENOW_ALLOW_CUSTOM_HOST = true")
        return url.origin

    return parse


def _container_url(raw: object) -> str:
    expected = "a container's https URL without a query, such as https://ACCOUNT.blob.core.windows.net/leases"
    url = _url(raw, expected)
    path = url.path.rstrip("/")
    if url.scheme != "https" or not _CONTAINER.fullmatch(path):
        raise _UnusableError(_found(raw), expected)
    return url.origin + path


def _targets(vault_url: str) -> Callable[[object], tuple[PublishTarget, ...]]:
    def parse(raw: object) -> tuple[PublishTarget, ...]:
        if isinstance(raw, str):
            return tuple(_target(part.strip(), vault_url) for part in raw.split(",") if part.strip())
        if isinstance(raw, list):
            return tuple(_target(item, vault_url) for item in raw)
        raise _UnusableError(_found(raw), "a list of secret names or secret identifiers; empty = none")

    return parse


def _target(raw: object, vault_url: str) -> PublishTarget:
    expected = (
        "secret names (letters, digits and hyphens, at most 127) or identifiers without a version "
        "such as https://NAME.vault.azure.net/secrets/NAME"
    )
    if isinstance(raw, str) and _SECRET_NAME.fullmatch(raw):
        return PublishTarget(vault_url=vault_url, name=raw)
    url = _url(raw, expected)
    prefix, name = url.path[: len("/secrets/")], url.path[len("/secrets/") :]
    if url.scheme != "https" or prefix != "/secrets/" or not _SECRET_NAME.fullmatch(name):
        raise _UnusableError(_found(raw), expected)
    return PublishTarget(vault_url=url.origin, name=name)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Url:
    scheme: str
    host: str
    origin: str
    path: str

    @property
    def loopback(self) -> bool:
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host.strip("[]")).is_loopback
        except ValueError:
            return False


def _url(raw: object, expected: str) -> _Url:
    """A URL of scheme, host, port and path and nothing else: user information and queries may be credentials."""
    match = _URL.fullmatch(raw) if isinstance(raw, str) else None
    if match is None or not _is_host(match[2]) or not 0 < int(match[3] or 1) <= _HIGHEST_PORT:
        raise _UnusableError(_found(raw), expected)
    scheme, host = match[1].lower(), match[2].lower()
    usual = {"https": 443, "http": 80}[scheme]
    port = f":{int(match[3])}" if match[3] and int(match[3]) != usual else ""
    return _Url(scheme=scheme, host=host, origin=f"{scheme}://{host}{port}", path=match[4])


def _is_host(host: str) -> bool:
    if host.startswith("["):
        try:
            return ipaddress.ip_address(host[1:-1]).version == 6  # noqa: PLR2004 - the version's name
        except ValueError:
            return False
    return ".." not in host


def _probe_path(raw: object) -> str | None:
    if raw == "":
        return None
    if isinstance(raw, str) and _PROBE.fullmatch(raw) and "#" not in raw:
        return raw
    raise _UnusableError(_found(raw), "a path of the instance that begins with one slash; empty = do not probe")


def _grant(allowed: tuple[Grant, ...]) -> Callable[[object], Grant]:
    def parse(raw: object) -> Grant:
        for grant in allowed:
            if raw == grant.value:
                return grant
        raise _UnusableError(_found(raw), _listed(allowed))

    return parse


def _algorithm(raw: object) -> str:
    for algorithm in JWT_ALGORITHMS:
        if raw == algorithm:
            return algorithm
    raise _UnusableError(_found(raw), _listed(JWT_ALGORITHMS))


def _claim(raw: object) -> str:
    if isinstance(raw, str) and raw.strip() and raw.isprintable():
        return raw.strip()
    raise _UnusableError(_found(raw), "a text that is not empty")


def _integer(lowest: int, highest: int) -> Callable[[object], int]:
    def parse(raw: object) -> int:
        number = int(raw) if isinstance(raw, str) and re.fullmatch(r"[0-9]{1,12}", raw) else raw
        if isinstance(number, bool) or not isinstance(number, int) or not lowest <= number <= highest:
            raise _UnusableError(_found(raw), f"a whole number from {lowest} to {highest}")
        return number

    return parse


def _seconds(lowest: int, longest: timedelta) -> Callable[[object], timedelta]:
    parse = _integer(lowest, int(longest.total_seconds()))
    return lambda raw: timedelta(seconds=parse(raw))


def _share(raw: object) -> float:
    number = float(raw) if isinstance(raw, str) and re.fullmatch(r"0?\.[0-9]{1,9}", raw) else raw
    if isinstance(number, float) and 0 < number < 1:
        return number
    raise _UnusableError(_found(raw), "a number between 0 and 1")


def _boolean(raw: object) -> bool:
    values = {"true": True, "false": False}
    if isinstance(raw, str) and raw.lower() in values:
        return values[raw.lower()]
    raise _UnusableError(_found(raw), "true or false")


def _schedule(raw: object) -> timedelta:
    problem = "it is not a text"
    try:
        if isinstance(raw, str):
            return longest_gap(raw)
    except ScheduleError as error:
        problem = str(error)
    found = f"{_found(raw)} ({problem})"
    raise _UnusableError(found, "NCRONTAB with six fields, such as 0 */5 * * * *")


def _queue_name(raw: object) -> str:
    if isinstance(raw, str) and _QUEUE.fullmatch(raw):
        return raw
    raise _UnusableError(_found(raw), "a queue's name: 3 to 63 lower-case letters, digits and single hyphens")


def _json_object(raw: object) -> dict[str, object]:
    value = raw
    if isinstance(raw, str):
        problem = "not valid JSON"
        try:
            value = json.loads(raw, object_pairs_hook=_unique, parse_constant=_refuse_constant)
        except _DuplicateKeyError as error:
            problem = f"JSON with the key {error.key} twice"
        except (ValueError, RecursionError):
            # The parser's own message is not used: it can hold a piece of the document.
            pass
        else:
            problem = ""
        if problem:
            raise _UnusableError(problem, "a JSON object")
    if isinstance(value, dict):
        return value
    found = f"no JSON object but {_kind(value)}"
    raise _UnusableError(found, "a JSON object")


class _DuplicateKeyError(ValueError):
    def __init__(self, key: str) -> None:
        super().__init__()
        self.key = _shown(key)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found: dict[str, object] = {}
    for key, value in pairs:
        if key in found:
            raise _DuplicateKeyError(key)
        found[key] = value
    return found


def _refuse_constant(_: str) -> float:
    raise ValueError


def _listed(values: Iterable[str]) -> str:
    *others, last = values
    return f"{', '.join(others)} or {last}" if others else last


def _kind(value: object) -> str:
    return {dict: "an object", list: "a list", str: "a text", bool: "true or false", type(None): "null"}.get(
        type(value), "a number"
    )


def _found(raw: object) -> str:
    """How a value is shown: never where it may hold a credential, nothing that is not printable, and cut short."""
    if raw is None:
        return "not set (or null)"
    if isinstance(raw, dict | list):
        return _kind(raw)
    text = raw if isinstance(raw, str) else json.dumps(raw)
    if any(sign in text for sign in "@?#"):
        return "a value that is not shown, since it may hold a credential"
    return _shown(text)


def _shown(text: str) -> str:
    return f'"{_printable(text)}"'


def _printable(text: str) -> str:
    text = "".join(sign if sign.isprintable() else "\N{REPLACEMENT CHARACTER}" for sign in text)
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 1] + "…"
