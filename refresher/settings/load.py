"""The app settings, read once from a mapping into values that the rest of the app can trust.

Rules: `SETTINGS` declares every setting, and only what it declares is read. All problems are reported at once, each
with the setting's name, what was found and what is expected, and nothing is built where there is one. What was found
is cut short, and not shown at all where it may hold a credential (a URL with user information or a query, a JSON
document). `null` and a blank text mean "not set", save where an empty text says "none" (`PUBLISH_TO`, `PROBE_PATH`).

`SERVICENOW_CONNECTIONS` replaces the settings of the single connection, which are read as if it had named that one.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, NamedTuple

from refresher.model.connection import CONNECTION_NAME, Connection, JwtClaims, own_names
from refresher.model.errors import SettingsError
from refresher.model.grants import FALLBACKS, Grant
from refresher.model.timing import Timing
from refresher.model.tokens import strip_unseen
from refresher.settings import addresses, forms
from refresher.settings.declared import (
    CONNECTION_KEYS,
    DEFAULT_CONNECTION,
    JWT_KEYS,
    SETTING_OF_KEY,
    SETTINGS,
    SEVERAL,
    SettingSpec,
)
from refresher.settings.schedule import DEFAULT_SCHEDULE

_BEFORE_THE_NEXT_TICK = timedelta(minutes=1)
_SCHEDULE = "REFRESH_SCHEDULE"
_APP = tuple(spec for spec in SETTINGS if spec.name not in SETTING_OF_KEY.values())


class Settings(NamedTuple):
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
    schedule_problem: str | None = None
    """What is wrong with REFRESH_SCHEDULE, in whose place the default counts."""

    @property
    def patience(self) -> timedelta:
        """How long a tick may wait for ServiceNow: not into the next one, which other connections need."""
        return max(timedelta(), min(self.tick_deadline, self.tick - _BEFORE_THE_NEXT_TICK))

    @property
    def timing(self) -> Timing:
        """How often what is due is looked for, and from which age on."""
        return Timing.of(self.refresh_interval, self.tick, len(self.connections))


class _Described(NamedTuple):
    """One connection as it was set: its checked values by key, and how a key is called in a sentence."""

    name: str
    values: Mapping[str, Any]
    label: Callable[[str], str]


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read and check every setting; raises SettingsError with all problems at once."""
    problems: list[str] = []
    given = {
        spec.name: environ[spec.name]
        for spec in SETTINGS
        if spec.name in environ and (strip_unseen(environ[spec.name]) or spec.empty_is_none)
    }
    schedule_problem = _unusable_schedule(given)
    if schedule_problem is not None:
        del given[_SCHEDULE]
    app = _read(_APP, given, str, problems)
    found = list(_connections(given, app, problems))
    for each in found:
        problems += _contradictions(each, allow_custom_host=app.get("SERVICENOW_ALLOW_CUSTOM_HOST") is True)
    vault_url = app.get("KEY_VAULT_URL", "")
    problems += _clashes(found, vault_url)
    if problems:
        raise SettingsError(tuple(problems))
    return Settings(
        vault_url=vault_url,
        connections=tuple(_build(each, vault_url) for each in found),
        refresh_interval=app["REFRESH_INTERVAL_MINUTES"],
        tick=app[_SCHEDULE],
        lease_container_url=app["LEASE_CONTAINER_URL"],
        schedule_problem=schedule_problem,
    )


def _unusable_schedule(given: Mapping[str, str]) -> str | None:
    """What is wrong with the schedule. It stops nothing: the host ticks by the default, and so it counts here."""
    try:
        forms.parse_schedule(given.get(_SCHEDULE, DEFAULT_SCHEDULE))
    except forms.UnusableError as error:
        return f"{_SCHEDULE} {error.problem}; the timer ticks by the default, {DEFAULT_SCHEDULE}"
    return None


def _read(
    specs: Sequence[SettingSpec], values: Mapping[str, object], label: Callable[[str], str], problems: list[str]
) -> dict[str, Any]:
    """Each row's value or default, checked; a value with a problem is left out, and the problem noted."""
    read: dict[str, Any] = {}
    for spec in specs:
        raw = values.get(spec.name)
        if raw is None and spec.name in values and spec.empty_is_none:
            # It could mean the default or none at all, and a guess would be noticed late.
            problems.append(f"{label(spec.name)} is null; expected no such key for the default, or an empty text")
            continue
        if raw is None:
            raw = spec.default
        if isinstance(raw, str) and not spec.exact:
            raw = strip_unseen(raw)
        if (raw is None or raw == "") and not spec.required and spec.default is None:
            read[spec.name] = None
            continue
        try:
            read[spec.name] = spec.parse(raw)
        except forms.UnusableError as error:
            problems.append(f"{label(spec.name)} {error.problem}")
    return read


def _connections(given: Mapping[str, str], app: Mapping[str, Any], problems: list[str]) -> Iterator[_Described]:
    if SEVERAL not in given:
        single = {key: given[setting] for key, setting in SETTING_OF_KEY.items() if setting in given}
        yield _describe(DEFAULT_CONNECTION, single, SETTING_OF_KEY.__getitem__, problems)
        return
    named = app.get(SEVERAL)
    if named == {}:
        problems.append(f"{SEVERAL} is an empty object; expected at least one connection")
    for name, document in (named or {}).items():
        where = f"{SEVERAL} {forms.printable(name)}"
        if not CONNECTION_NAME.fullmatch(name):
            problems.append(f"{where} is no name for a connection; expected {CONNECTION_NAME.pattern}")
        try:
            values = forms.parse_json_object(document)
        except forms.UnusableError as error:
            problems.append(f"{where} {error.problem}")
            continue
        problems += _unknown(where, values, CONNECTION_KEYS)
        yield _describe(name, values, f"{where}.{{}}".format, problems)


def _describe(name: str, values: Mapping[str, object], label: Callable[[str], str], problems: list[str]) -> _Described:
    specs = [each._replace(default=each.default and each.default.replace("<name>", name)) for each in CONNECTION_KEYS]
    read = _read(specs, values, label, problems)
    claims = read.get("jwt")
    if claims is not None:
        where = label("jwt")
        problems += _unknown(where, claims, JWT_KEYS)
        read["jwt"] = _read(JWT_KEYS, claims, f"{where}.{{}}".format, problems)
    return _Described(name=name, values=read, label=label)


def _unknown(where: str, values: Mapping[str, object], specs: Sequence[SettingSpec]) -> list[str]:
    """The keys that nobody reads: mostly a spelling mistake that would be ignored in silence."""
    known = [spec.name for spec in specs]
    return [
        f"{where} has the unknown key {forms.quote(key)}; expected any of {', '.join(known)}"
        for key in values
        if key not in known
    ]


def _contradictions(each: _Described, *, allow_custom_host: bool) -> Iterator[str]:
    """What is wrong with keys that are right by themselves."""
    values, label = each.values, each.label
    custom = (
        addresses.host_problem(values["instance_url"]) if "instance_url" in values and not allow_custom_host else None
    )
    if custom is not None:
        yield f"{label('instance_url')} {custom}"
    grant, fallback = values.get("grant"), values.get("fallback_grant")
    if grant is not None and grant is fallback:
        other = forms.listed(one for one in FALLBACKS if one is not grant)
        yield f"{label('fallback_grant')} is the grant itself; expected {other}, or nothing"
    if (values.get("entra_client_id") is None) != (values.get("entra_tenant_id") is None):
        yield f"{label('entra_client_id')} and {label('entra_tenant_id')} belong together; expected both, or none"
    if Grant.ENTRA_ID in {grant, fallback} and values.get("entra_scope", ...) is None:
        yield f"{label('entra_scope')} is not set; expected <application client id>/.default, for the grant entra_id"
    signed = [one for one in (grant, fallback) if one is not None and one.row.signed]
    if signed and values.get("jwt", ...) is None:
        yield f"{label('jwt')} is not set; expected an object with at least `sub`, for the grant {signed[0]}"
    claims, where = values.get("jwt") or {}, label("jwt")
    key = claims.get("key_identifier")
    if isinstance(claims.get("kid"), dict) and (key is None or key.version is not None):
        yield (
            f"{where}.kid names versions of a key; expected {where}.key_identifier without a version, "
            "so that one of them can be chosen"
        )


def _clashes(found: Sequence[_Described], vault_url: str) -> Iterator[str]:
    """Targets that would overwrite what a connection lives on, or hold two connections' tokens by turns."""
    owners = {
        (vault_url, name.lower()): f"a secret of connection {forms.printable(each.name)} itself"
        for each in found
        for name in own_names(each.name)
    }
    for each in found:
        for target in each.values.get("publish_to", ()):
            # Names of secrets are not case-sensitive in Key Vault.
            place = (target.vault_url or vault_url, target.name.lower())
            if place in owners:
                yield (
                    f"{each.label('publish_to')} names {forms.quote(target.name)}, which is {owners[place]}; "
                    "expected secrets that nothing else writes"
                )
            owners.setdefault(place, f"a target of connection {forms.printable(each.name)} already")


def _build(each: _Described, vault_url: str) -> Connection:
    values = dict(each.values)
    claims, every = values["jwt"], values.pop("verify_interval_minutes")
    targets = (target._replace(vault_url=target.vault_url or vault_url) for target in each.values["publish_to"])
    return Connection(
        name=each.name,
        verify_interval=every,
        **{**values, "publish_to": tuple(targets), "jwt": _claims(claims) if claims else None},
    )


def _claims(claims: Mapping[str, Any]) -> JwtClaims:
    return JwtClaims(
        subject=claims["sub"],
        kid=None if isinstance(claims["kid"], dict) else claims["kid"],
        kids=tuple(claims["kid"].items()) if isinstance(claims["kid"], dict) else (),
        audience=claims["aud"],
        issuer=claims["iss"],
        algorithm=claims["alg"],
        lifetime=claims["lifetime"],
        backdating=claims["backdate"],
        key=claims["key_identifier"],
        public_client=claims["public_client"],
    )
