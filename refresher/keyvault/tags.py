"""What the product stores beside its tokens, and how it is read back: secret attributes and tags to values.

The vault is the only database. Tags are also edited by hand and lost by careless copies, so that reading is
tolerant: what cannot be understood counts as absent, which makes the policy refresh rather than trust it.
Tags hold at most 256 characters each, 15 to a secret (Key Vault's limits).
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from refresher.model.grants import Grant
from refresher.model.moments import format_instant, parse_instant
from refresher.model.report import Trigger
from refresher.model.stored import StoredAccessToken, StoredRefreshToken, StoredSecret
from refresher.model.tokens import AccessToken
from refresher.policy.attempts import format_failures, parse_failures
from refresher.policy.password_gate import PasswordRefusals
from refresher.policy.record import RefreshRecord

ACCESS_TOKEN_CONTENT_TYPE = "application/vnd.servicenow.access-token"  # noqa: S105
REFRESH_TOKEN_CONTENT_TYPE = "application/vnd.servicenow.refresh-token"  # noqa: S105
CREDENTIAL_CONTENT_TYPE = "text/plain"
RECORD_CONTENT_TYPE = "application/vnd.servicenow.refresh-record"
RECORD_VALUE = "The record is in the tags."
REVOKED_AT = "revoked-at"
"""Tag of a token that an operator revoked at ServiceNow: it is of no more use, whatever its dates said."""
_LONGEST_TAG = 256
_UNDATED_LIFETIME = timedelta(minutes=30)
"""What ServiceNow gives a token unless it is told otherwise."""
_SHORTEST_LIFE = timedelta(seconds=1)
_RECORD_LASTS = timedelta(days=364)
_RENEWED_BEFORE = timedelta(days=2)
"""Its end: of a year, or of the month that a strict policy leaves it."""


def parse_access_token(secret: StoredSecret) -> StoredAccessToken:
    """Read an access-token secret; contradictory dates (a hand edit) count as absent.

    The attribute that should say when it ends counts only where something took the tags from what the product stored
    (a restore, a proxy): a policy of the vault may have had another one written, but no token is new at every tick.
    Who revokes right after a refresh may do so, by a clock that is behind, before it: that life lasted a second.
    """
    issued_at = parse_instant(secret.tags.get("issued-at"))
    expires_at = parse_instant(secret.tags.get("expires-at"))
    told = {"issued-at", "expires-at"} & secret.tags.keys()
    described = secret.content_type != ACCESS_TOKEN_CONTENT_TYPE or bool(told)
    if not described and secret.created_on is not None:
        issued_at, expires_at = secret.created_on, secret.expires_on or secret.created_on + _UNDATED_LIFETIME
    revoked = REVOKED_AT in secret.tags
    if revoked and issued_at is not None and expires_at is not None:
        expires_at = max(expires_at, issued_at + _SHORTEST_LIFE)
    consistent = issued_at is not None and expires_at is not None and issued_at < expires_at
    grant = secret.tags.get("grant")
    return StoredAccessToken(
        value=secret.value,
        version=secret.version,
        issued_at=issued_at if consistent else None,
        expires_at=expires_at if consistent else None,
        confirmed_at=parse_instant(secret.tags.get("confirmed-at")) if consistent else None,
        grant=Grant(grant) if grant in set(Grant) else None,
        trigger=secret.tags.get("trigger"),
        run_id=secret.tags.get("run-id"),
        recent=secret.tags.get("recent") if consistent else None,
        publisher=_publisher(secret.tags),
        accepted_by=secret.tags.get("accepted-by"),
        user_name=secret.tags.get("user-name"),
        user_before=secret.tags.get("user-before"),
        described=described,
        revoked=revoked,
        unread=secret.unread,
    )


def publisher(connection: str, vault_url: str) -> str:
    """What a connection's copies are known by."""
    return f"{connection} of {vault_url}"


def _publisher(tags: Mapping[str, str]) -> str | None:
    if "vault" in tags:
        return publisher(tags.get("connection", ""), tags["vault"])
    if {"connection", "issued-at"} <= tags.keys():
        return publisher(tags["connection"], "version 1.0, which does not name its vault")
    return None


def access_token_tags(
    token: AccessToken,
    *,
    connection: str,
    vault_url: str,
    run_id: str,
    trigger: Trigger,
    reason: str | None = None,
    confirmed_at: datetime | None = None,
    recent: str | None = None,
) -> dict[str, str]:
    """Tags of an access-token secret; `vault_url` is the vault of the connection, wherever the copy goes."""
    tags = {
        "connection": connection,
        "vault": vault_url[:_LONGEST_TAG],
        "issued-at": format_instant(token.issued_at),
        "expires-at": format_instant(token.expires_at),
        "grant": token.grant.value,
        "run-id": run_id,
        "trigger": trigger.value,
    }
    if confirmed_at is not None:
        tags["confirmed-at"] = format_instant(confirmed_at)
    return tags | _told(recent=recent, reason=reason)


def probe_tags(accepted_by: str | None, user_name: str | None, user_before: str | None) -> dict[str, str]:
    """Tags of an access-token secret that tell of the probe. With all others they are 13; Key Vault takes 15."""
    return _told(**{"accepted-by": accepted_by, "user-name": user_name, "user-before": user_before})


def _told(**tags: str | None) -> dict[str, str]:
    return {name: value[:_LONGEST_TAG] for name, value in tags.items() if value}


def parse_refresh_token(secret: StoredSecret, *, lifetime: timedelta, now: datetime) -> StoredRefreshToken:
    """Read the refresh-token secret; without tags, its creation stands in for the start of its life."""
    tagged = parse_instant(secret.tags.get("issued-at"))
    trusted = tagged if tagged is not None and tagged <= now else None
    issued_at = trusted or secret.created_on or now
    expires_at = issued_at + lifetime
    described = trusted is not None and secret.tags.get("expires-at") == format_instant(expires_at)
    return StoredRefreshToken(
        value=secret.value.stripped(),
        version=secret.version,
        issued_at=issued_at,
        expires_at=expires_at,
        described=described,
        own=secret.content_type == REFRESH_TOKEN_CONTENT_TYPE,
        stored_at=secret.created_on,
    )


def refresh_token_tags(connection: str, issued_at: datetime, expires_at: datetime) -> dict[str, str]:
    """Tags of the refresh-token secret."""
    return {
        "connection": connection,
        "issued-at": format_instant(issued_at),
        "expires-at": format_instant(expires_at),
    }


def revoked_tags(now: datetime) -> dict[str, str]:
    """Tags that end a token's life now."""
    return {"expires-at": format_instant(now), REVOKED_AT: format_instant(now)}


def parse_record(secret: StoredSecret | None) -> RefreshRecord:
    """Read the record; an absent one is the record of a connection that never failed."""
    if secret is None:
        return RefreshRecord()
    tags = secret.tags
    refresh_token = _parse_state(tags, "refresh-token", _OLD_REFRESH_TOKEN_TAGS)
    record = RefreshRecord(
        last_attempt_at=parse_instant(tags.get("last-attempt-at")),
        last_outcome=tags.get("last-outcome"),
        last_cause=tags.get("last-cause"),
        consecutive_failures=_parse_count(tags.get("consecutive-failures")),
        password=_parse_password_refusals(_parse_state(tags, "password", _OLD_PASSWORD_TAGS)),
        refused_refresh_token_version=refresh_token.get("refused"),
        refresh_token_refusals=_parse_count(refresh_token.get("refusals")),
        spent_refresh_token_version=refresh_token.get("spent"),
        rotates=refresh_token.get("rotates") == "true",
        access_token_refused_at=parse_instant(tags.get("access-token-refused-at")),
        failures=parse_failures(tags.get("failures")),
    )
    if secret.updated_on is None or record.written_at is None:
        return record
    return replace(record, password=replace(record.password, vault_ahead=secret.updated_on - record.written_at))


_OLD_PASSWORD_TAGS = {
    "refused-password-version": "version",
    "password-refusals": "refusals",
    "password-tried-at": "tried-at",
}
_OLD_REFRESH_TOKEN_TAGS = {
    "refused-refresh-token-version": "refused",
    "refresh-token-refusals": "refusals",
    "spent-refresh-token-version": "spent",
    "rotates": "rotates",
}
"""Tags that records were written with while each field had one of its own, and how the fields are called."""


def _parse_state(tags: Mapping[str, str], name: str, old: Mapping[str, str]) -> Mapping[str, str]:
    """The fields of one tag, `field=value` with spaces between them; or of the tags that stood in its place."""
    if name not in tags:
        return {field: tags[tag] for tag, field in old.items() if tag in tags}
    pairs = (each.partition("=") for each in tags[name].split())
    return {field: value for field, _, value in pairs}


def _format_state(**fields: str | None) -> str | None:
    told = [f"{field.replace('_', '-')}={value}" for field, value in fields.items() if value is not None]
    return " ".join(told) or None


def _parse_password_refusals(state: Mapping[str, str]) -> PasswordRefusals:
    version, count = state.get("version"), _parse_count(state.get("refusals"))
    if version is None:
        return PasswordRefusals()
    return PasswordRefusals(
        version=version,
        count=count,
        unclear=_parse_count(state.get("unclear")),
        tried_at=parse_instant(state.get("tried-at")),
        user=state.get("user"),
    )


def record_tags(connection: str, record: RefreshRecord) -> dict[str, str]:
    """Tags of the record, those that say nothing left out. One of a secret's 15 for each thing that is told of."""
    tags = {
        "connection": connection,
        "last-attempt-at": _format_if_known(record.last_attempt_at),
        "last-outcome": record.last_outcome,
        "last-cause": record.last_cause,
        "consecutive-failures": str(record.consecutive_failures),
        "password": _format_state(
            version=record.password.version,
            refusals=_format_count(record.password.count),
            unclear=_format_count(record.password.unclear),
            tried_at=_format_if_known(record.password.tried_at),
            user=record.password.user,
        ),
        "refresh-token": _format_state(
            refused=record.refused_refresh_token_version,
            refusals=_format_count(record.refresh_token_refusals),
            spent=record.spent_refresh_token_version,
            rotates="true" if record.rotates else None,
        ),
        "access-token-refused-at": _format_if_known(record.access_token_refused_at),
        "failures": format_failures(record.failures),
    }
    return {name: value[:_LONGEST_TAG] for name, value in tags.items() if value is not None}


def record_expiry(stored: StoredSecret | None, now: datetime) -> datetime | None:
    """The expiry to write beside the record, which has none of its own: a year; None where it ends late enough."""
    if stored is not None and stored.expires_on is not None and stored.expires_on - now > _RENEWED_BEFORE:
        return None
    return now + _RECORD_LASTS


def _format_if_known(instant: datetime | None) -> str | None:
    return format_instant(instant) if instant is not None else None


def _format_count(count: int) -> str | None:
    return str(count) if count else None


def _parse_count(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 9 else 0  # noqa: PLR2004
