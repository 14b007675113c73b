"""The app settings, read once from a mapping into values that the rest of the app can trust.

Rules: `SETTINGS` declares every setting, and only what it declares can be read. All problems are reported at once,
each with the setting's name, what was found and what is expected. What was found is cut short, and not shown at all
where it may hold a credential (a URL with user information or a query, a JSON document).

`SERVICENOW_CONNECTIONS` replaces the settings of the single connection. Beside the settings of the design there is
`SERVICENOW_JWT`, which gives the single connection what the key `jwt` gives one of several. For `PUBLISH_TO` and
`PROBE_PATH`, an empty value means "none"; for every other setting it means "not set".
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

from refresher.model.connection import CONNECTION_NAME, Connection, JwtClaims, PublishTarget
from refresher.model.errors import SettingsError
from refresher.model.grants import FALLBACKS, UNATTENDED, Grant
from refresher.model.timing import Timing
from refresher.settings.declared import (
    CONNECTION_KEYS_BY_NAME,
    DEFAULT_CONNECTION,
    EMPTY_MEANS_NONE,
    EMPTY_MEANS_NONE_KEYS,
    JWT_KEYS_BY_NAME,
    SETTING_OF_KEY,
    SETTINGS,
    SEVERAL,
    SettingSpec,
)
from refresher.settings.forms import (
    LONGEST_LIFETIME,
    T,
    UnusableError,
    grant_parser,
    instance_origin_parser,
    integer_parser,
    listed,
    optional,
    parse_algorithm,
    parse_boolean,
    parse_claim,
    parse_container_url,
    parse_json_object,
    parse_probe_path,
    parse_queue_name,
    parse_schedule,
    parse_share,
    parse_url,
    parse_vault_origin,
    printable,
    quote,
    seconds_parser,
    show,
)

_BEFORE_THE_NEXT_TICK = timedelta(minutes=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """All settings. `tick` is the longest wait between two ticks; the blob lease outlasts `run_deadline`.

    The host's function time-out outlasts `tick_deadline`, which all runs of a tick share.
    """

    vault_url: str
    connections: tuple[Connection, ...]
    refresh_interval: timedelta
    tick: timedelta
    run_deadline: timedelta = timedelta(seconds=45)
    tick_deadline: timedelta = timedelta(minutes=4)
    lease_container_url: str | None = None
    refresh_queue: str | None = None

    @property
    def patience(self) -> timedelta:
        """How long a tick may wait for ServiceNow: not into the next one, which other connections need."""
        return max(timedelta(), min(self.tick_deadline, self.tick - _BEFORE_THE_NEXT_TICK))

    @property
    def timing(self) -> Timing:
        """How often what is due is looked for, and from which age on."""
        return Timing.of(self.refresh_interval, self.tick, len(self.connections))

    def connection(self, name: str) -> Connection | None:
        """The connection of that name, or None."""
        return next((each for each in self.connections if each.name == name), None)


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read and check every setting; raises SettingsError with all problems at once."""
    reader = _Reader(environ)
    vault_url = reader.take("KEY_VAULT_URL", parse_vault_origin, "")
    allow_custom_host = reader.take("SERVICENOW_ALLOW_CUSTOM_HOST", parse_boolean, otherwise=False)
    context = _Context(
        vault_url=vault_url,
        allow_custom_host=allow_custom_host,
        problems=reader.problems,
    )
    connections = _connections(reader, context)
    settings = Settings(
        vault_url=vault_url,
        connections=connections,
        refresh_interval=timedelta(minutes=reader.take("REFRESH_INTERVAL_MINUTES", integer_parser(1, 1440), 1)),
        tick=reader.take("REFRESH_SCHEDULE", parse_schedule, timedelta(0)),
        lease_container_url=reader.take("LEASE_CONTAINER_URL", optional(parse_container_url), None),
        refresh_queue=reader.take("REFRESH_QUEUE", optional(parse_queue_name), None),
    )
    _check_targets(connections, context, several=reader.value(SEVERAL) is not None)
    if reader.problems:
        raise SettingsError(tuple(reader.problems))
    return settings


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
    if value is not None and (value.strip() or spec.name in EMPTY_MEANS_NONE):
        return value.strip()
    return spec.default


def _take(
    problems: list[str],
    where: str,
    parse: Callable[[object], T],
    raw: object,
    otherwise: T,
) -> T:
    try:
        return parse(raw)
    except UnusableError as error:
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
        if raw is None and key in self.values and key in EMPTY_MEANS_NONE_KEYS:
            # It could mean the default or none at all, and a guess would be noticed late.
            self.problems.append(f"{self.label(key)} is null; expected no such key for the default, or an empty text")
            return otherwise
        if raw is None:
            raw = self.specs[key].default
        if isinstance(raw, str):
            raw = raw.strip()
        return _take(self.problems, self.label(key), parse, raw, otherwise)

    def refuse_unknown(self, where: str) -> None:
        """Note the keys that nobody reads: mostly a spelling mistake that would be ignored in silence."""
        for key in self.values:
            if key not in self.specs:
                known = ", ".join(self.specs)
                self.problems.append(f"{where} has the unknown key {quote(key)}; expected any of {known}")


def _connections(reader: _Reader, context: _Context) -> tuple[Connection, ...]:
    if reader.value(SEVERAL) is None:
        keys = _Keys(
            values={key: reader.value(setting) for key, setting in SETTING_OF_KEY.items()},
            specs=_specs_for(DEFAULT_CONNECTION),
            label=lambda key: SETTING_OF_KEY.get(key, key),
            problems=reader.problems,
        )
        return (_connection(DEFAULT_CONNECTION, keys, context),)
    named = reader.take(SEVERAL, parse_json_object, None)
    if named is None:
        return ()
    if not named:
        reader.problems.append(f"{SEVERAL} is an empty object; expected at least one connection")
    found = [_named_connection(name, value, context) for name, value in named.items()]
    return tuple(each for each in found if each is not None)


def _specs_for(name: str) -> dict[str, SettingSpec]:
    publish_to = CONNECTION_KEYS_BY_NAME["publish_to"]
    default = (publish_to.default or "").replace("<name>", name)
    return {**CONNECTION_KEYS_BY_NAME, "publish_to": replace(publish_to, default=default)}


def _named_connection(name: str, value: object, context: _Context) -> Connection | None:
    where = f"{SEVERAL} {printable(name)}"
    if not CONNECTION_NAME.fullmatch(name):
        context.problems.append(f"{where} is no name for a connection; expected {CONNECTION_NAME.pattern}")
    values = _take(context.problems, where, parse_json_object, value, None)
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
    grant = keys.take("grant", grant_parser(UNATTENDED), Grant.REFRESH_TOKEN)
    fallback = keys.take("fallback_grant", optional(grant_parser(FALLBACKS)), None)
    if fallback is grant:
        other = listed(each for each in FALLBACKS if each is not grant)
        keys.problems.append(f"{keys.label('fallback_grant')} is the grant itself; expected {other}, or nothing")
    jwt = keys.take("jwt", optional(parse_json_object), None)
    claims = _claims(jwt, keys) if jwt is not None else None
    signing = [each for each in (grant, fallback) if each is not None and each.row.signed]
    if jwt is None and signing and keys.values.get("jwt") is None:
        keys.problems.append(
            f"{keys.label('jwt')} is not set; expected an object with at least `sub`, for the grant {signing[0]}"
        )
    instance_origin = instance_origin_parser(allow_custom_host=context.allow_custom_host)
    lifetime = seconds_parser(60, LONGEST_LIFETIME)
    return Connection(
        name=name,
        instance_url=keys.take("instance_url", instance_origin, ""),
        grant=grant,
        fallback_grant=fallback,
        publish_to=keys.take("publish_to", _targets(context.vault_url), ()),
        probe_path=keys.take("probe_path", parse_probe_path, None),
        refresh_token_lifetime=keys.take(
            "refresh_token_lifetime",
            seconds_parser(60, LONGEST_LIFETIME),
            LONGEST_LIFETIME,
        ),
        access_token_lifetime=keys.take(
            "access_token_lifetime",
            optional(lifetime),
            None,
        ),
        renewal_share=keys.take("refresh_token_renewal_share", parse_share, 0.1),
        jwt=claims,
    )


def _claims(values: Mapping[str, object], connection: _Keys) -> JwtClaims:
    where = connection.label("jwt")
    keys = _Keys(
        values=values,
        specs=JWT_KEYS_BY_NAME,
        label=lambda key: f"{where}.{key}",
        problems=connection.problems,
    )
    keys.refuse_unknown(where)
    return JwtClaims(
        subject=keys.take("sub", parse_claim, ""),
        kid=keys.take("kid", optional(parse_claim), None),
        audience=keys.take("aud", optional(parse_claim), None),
        issuer=keys.take("iss", optional(parse_claim), None),
        algorithm=keys.take("alg", parse_algorithm, "RS256"),
        lifetime=keys.take("lifetime", seconds_parser(1, timedelta(hours=1)), timedelta(minutes=5)),
        backdating=keys.take("backdate", seconds_parser(0, timedelta(minutes=10)), timedelta(0)),
    )


def _check_targets(connections: Sequence[Connection], context: _Context, *, several: bool) -> None:
    """A target must not overwrite what a connection lives on, nor hold two connections' tokens by turns."""
    owners = {
        (
            context.vault_url,
            name.lower(),
        ): f"a secret of connection {printable(each.name)} itself"
        for each in connections
        for name in each.own_names
    }
    for connection in connections:
        where = f"{SEVERAL} {printable(connection.name)}.publish_to" if several else "PUBLISH_TO"
        for target in connection.publish_to:
            # Names of secrets are not case-sensitive in Key Vault.
            place = (target.vault_url, target.name.lower())
            if place in owners:
                context.problems.append(
                    f"{where} names {quote(target.name)}, which is {owners[place]}; "
                    "expected secrets that nothing else writes"
                )
            owners.setdefault(place, f"a target of connection {printable(connection.name)} already")


_SECRET_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")


def _targets(vault_url: str) -> Callable[[object], tuple[PublishTarget, ...]]:
    def parse(raw: object) -> tuple[PublishTarget, ...]:
        if isinstance(raw, str):
            return tuple(_target(part.strip(), vault_url) for part in raw.split(",") if part.strip())
        if isinstance(raw, list):
            return tuple(_target(item, vault_url) for item in raw)
        raise UnusableError(show(raw), "a list of secret names or secret identifiers; empty = none")

    return parse


def _target(raw: object, vault_url: str) -> PublishTarget:
    expected = (
        "secret names (letters, digits and hyphens, at most 127) or identifiers without a version "
        "such as https://NAME.vault.azure.net/secrets/NAME"
    )
    if isinstance(raw, str) and _SECRET_NAME.fullmatch(raw):
        return PublishTarget(vault_url=vault_url, name=raw)
    url = parse_url(raw, expected)
    prefix, name = url.path[: len("/secrets/")], url.path[len("/secrets/") :]
    if url.scheme != "https" or prefix != "/secrets/" or not _SECRET_NAME.fullmatch(name):
        raise UnusableError(show(raw), expected)
    return PublishTarget(vault_url=url.origin, name=name)
