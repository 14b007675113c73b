"""What the product stores beside its tokens, and how it is read back: secret attributes and tags to values.

The vault is the only database. Tags are also edited by hand and lost by careless copies, so that reading is
tolerant: what cannot be understood counts as absent, which makes the policy refresh rather than trust it.
Tags hold at most 256 characters each, 15 to a secret (Key Vault's limits).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from refresher.password_gate import PasswordRefusals
from refresher.tokens import AccessToken, Grant, Secret, Trigger

ACCESS_TOKEN_CONTENT_TYPE = "application/vnd.servicenow.access-token"  # noqa: S105
REFRESH_TOKEN_CONTENT_TYPE = "application/vnd.servicenow.refresh-token"  # noqa: S105
CREDENTIAL_CONTENT_TYPE = "text/plain"
RECORD_CONTENT_TYPE = "application/vnd.servicenow.refresh-record"
RECORD_VALUE = "The record is in the tags."
REVOKED_AT = "revoked-at"
"""Tag of a token that an operator revoked at ServiceNow: it is of no more use, whatever its dates said."""
_LONGEST_TAG = 256
_CLOCKS_AGREE = timedelta(seconds=1)
"""Attributes hold whole seconds, tags the fraction as well."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredSecret:
    """A secret's newest version as Key Vault returned it."""

    name: str
    version: str
    value: Secret
    content_type: str | None = None
    created_on: datetime | None = None
    expires_on: datetime | None = None
    tags: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAccessToken:
    """An access token in the vault. `issued_at` and `expires_at` are None where its metadata cannot be trusted."""

    value: Secret
    version: str
    issued_at: datetime | None
    expires_at: datetime | None
    confirmed_at: datetime | None = None
    """When ServiceNow last answered a request with this same token."""
    grant: Grant | None = None
    trigger: str | None = None
    run_id: str | None = None
    recent: str | None = None
    """What its tag tells of the tokens before it (`coverage.recall`)."""
    revoked: bool = False
    """Whether an operator ended its life: how long it was then says nothing of the instance."""

    @property
    def life(self) -> tuple[datetime, datetime] | None:
        """From its issue, or its latest confirmation by ServiceNow, to its end; None where that is unknown."""
        if self.issued_at is None or self.expires_at is None:
            return None
        return (self.confirmed_at or self.issued_at, self.expires_at)

    def lives_at(self, moment: datetime) -> bool:
        """Whether it is known to be alive then."""
        return self.expires_at is not None and moment < self.expires_at


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRefreshToken:
    """The refresh token in the vault; `expires_at` follows from the start of its life and the configured lifetime."""

    value: Secret
    version: str
    issued_at: datetime
    expires_at: datetime
    described: bool
    """Whether tags and attribute say so already."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RefreshRecord:
    """What the next run must know of the failures before it."""

    exists: bool = False
    last_attempt_at: datetime | None = None
    last_outcome: str | None = None
    last_cause: str | None = None
    consecutive_failures: int = 0
    password: PasswordRefusals = field(default_factory=PasswordRefusals)
    refused_refresh_token_version: str | None = None
    refresh_token_refusals: int = 0
    spent_refresh_token_version: str | None = None
    """The version that a request may have used up: ServiceNow rotates, and no successor of it was stored."""
    rotates: bool = False
    """Whether ServiceNow was ever seen to replace this connection's refresh token at its use."""

    def is_settled(self, stored: "RefreshRecord") -> bool:
        """Whether a success leaves `stored`, which the vault holds, as true as it is: nothing to put right or add."""
        return not (stored.is_open or self.is_open) and self.memory == stored.memory

    @property
    def is_open(self) -> bool:
        """Whether it tells of a failure, or of an attempt that did not end."""
        return bool(self.consecutive_failures) or self.last_outcome == ATTEMPT_STARTED

    @property
    def memory(self) -> tuple[object, ...]:
        """What outlives the success of a run."""
        return (
            self.password,
            self.refused_refresh_token_version,
            self.refresh_token_refusals,
            self.spent_refresh_token_version,
            self.rotates,
        )

    def after_success(self, now: datetime, outcome: str) -> "RefreshRecord":
        """The record once a failure is over. What was refused stays refused: another grant's success mends nothing."""
        return replace(self, last_attempt_at=now, last_outcome=outcome, last_cause=None, consecutive_failures=0)

    def after_failure(self, now: datetime, outcome: str, cause: str) -> "RefreshRecord":
        """The record after one more failed run."""
        return replace(
            self,
            last_attempt_at=now,
            last_outcome=outcome,
            last_cause=cause,
            consecutive_failures=self.consecutive_failures + 1,
        )

    def before_attempt(self, now: datetime) -> "RefreshRecord":
        """The record before a request that may cost the refresh token or count against a password."""
        return replace(self, last_attempt_at=now, last_outcome=ATTEMPT_STARTED)

    def with_refresh_token_refusals(self, version: str, count: int) -> "RefreshRecord":
        """The record with `count` refusals of that version of the refresh token."""
        return replace(self, refused_refresh_token_version=version if count else None, refresh_token_refusals=count)

    def with_spent_refresh_token(self, version: str | None) -> "RefreshRecord":
        """The record with a refresh token that may be used up; None where none is."""
        return replace(self, spent_refresh_token_version=version)

    def refresh_token_refusals_of(self, version: str | None) -> int:
        """In how many runs in a row that version of the refresh token was refused."""
        same = version is not None and version == self.refused_refresh_token_version
        return self.refresh_token_refusals if same else 0

    def may_be_spent(self, version: str | None) -> bool:
        """Whether a request may have used up that version of the refresh token."""
        return version is not None and version == self.spent_refresh_token_version


ATTEMPT_STARTED = "started"


def parse_access_token(secret: StoredSecret) -> StoredAccessToken:
    """Read an access-token secret; contradictory dates (a hand edit) count as absent."""
    issued_at = _parse_instant(secret.tags.get("issued-at"))
    expires_at = _parse_instant(secret.tags.get("expires-at"))
    consistent = (
        issued_at is not None
        and expires_at is not None
        and issued_at < expires_at
        and secret.expires_on is not None
        and abs(secret.expires_on - expires_at) <= _CLOCKS_AGREE
    )
    grant = secret.tags.get("grant")
    return StoredAccessToken(
        value=secret.value,
        version=secret.version,
        issued_at=issued_at if consistent else None,
        expires_at=expires_at if consistent else None,
        confirmed_at=_parse_instant(secret.tags.get("confirmed-at")) if consistent else None,
        grant=Grant(grant) if grant in set(Grant) else None,
        trigger=secret.tags.get("trigger"),
        run_id=secret.tags.get("run-id"),
        recent=secret.tags.get("recent") if consistent else None,
        revoked=REVOKED_AT in secret.tags,
    )


def access_token_tags(
    token: AccessToken,
    *,
    connection: str,
    run_id: str,
    trigger: Trigger,
    reason: str | None = None,
    confirmed_at: datetime | None = None,
    recent: str | None = None,
) -> dict[str, str]:
    """Tags of an access-token secret."""
    tags = {
        "connection": connection,
        "issued-at": format_instant(token.issued_at),
        "expires-at": format_instant(token.expires_at),
        "grant": token.grant.value,
        "run-id": run_id,
        "trigger": trigger.value,
    }
    if confirmed_at is not None:
        tags["confirmed-at"] = format_instant(confirmed_at)
    if recent:
        tags["recent"] = recent
    if reason:
        tags["reason"] = reason[:_LONGEST_TAG]
    return tags


def parse_refresh_token(secret: StoredSecret, *, lifetime: timedelta, now: datetime) -> StoredRefreshToken:
    """Read the refresh-token secret; without tags, its creation stands in for the start of its life."""
    tagged = _parse_instant(secret.tags.get("issued-at"))
    trusted = tagged if tagged is not None and tagged <= now else None
    issued_at = trusted or secret.created_on or now
    expires_at = issued_at + lifetime
    described = (
        trusted is not None
        and secret.tags.get("expires-at") == format_instant(expires_at)
        and secret.expires_on is not None
        and abs(secret.expires_on - expires_at) <= _CLOCKS_AGREE
    )
    return StoredRefreshToken(
        value=secret.value.stripped(),
        version=secret.version,
        issued_at=issued_at,
        expires_at=expires_at,
        described=described,
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
    return RefreshRecord(
        exists=True,
        last_attempt_at=_parse_instant(tags.get("last-attempt-at")),
        last_outcome=tags.get("last-outcome"),
        last_cause=tags.get("last-cause"),
        consecutive_failures=_parse_count(tags.get("consecutive-failures")),
        password=_parse_password_refusals(tags),
        refused_refresh_token_version=tags.get("refused-refresh-token-version"),
        refresh_token_refusals=_parse_count(tags.get("refresh-token-refusals")),
        spent_refresh_token_version=tags.get("spent-refresh-token-version"),
        rotates=tags.get("rotates") == "true",
    )


def _parse_password_refusals(tags: Mapping[str, str]) -> PasswordRefusals:
    version, count = tags.get("refused-password-version"), _parse_count(tags.get("password-refusals"))
    if version is None:
        return PasswordRefusals()
    return PasswordRefusals(
        version=version,
        count=count,
        in_doubt=min(count, _parse_count(tags.get("password-refusals-in-doubt"))),
        forgiven=_parse_count(tags.get("password-refusals-forgiven")),
        tried_at=_parse_instant(tags.get("password-tried-at")),
    )


def record_tags(connection: str, record: RefreshRecord) -> dict[str, str]:
    """Tags of the record, those that say nothing left out."""
    tags = {
        "connection": connection,
        "last-attempt-at": _format_if_known(record.last_attempt_at),
        "last-outcome": record.last_outcome,
        "last-cause": record.last_cause,
        "consecutive-failures": str(record.consecutive_failures),
        "refused-password-version": record.password.version,
        "password-refusals": _format_count(record.password.count),
        "password-refusals-in-doubt": _format_count(record.password.in_doubt),
        "password-refusals-forgiven": _format_count(record.password.forgiven),
        "password-tried-at": _format_if_known(record.password.tried_at),
        "refused-refresh-token-version": record.refused_refresh_token_version,
        "refresh-token-refusals": _format_count(record.refresh_token_refusals),
        "spent-refresh-token-version": record.spent_refresh_token_version,
        "rotates": "true" if record.rotates else None,
    }
    return {name: value[:_LONGEST_TAG] for name, value in tags.items() if value is not None}


def format_instant(instant: datetime) -> str:
    """ISO 8601 in UTC, as in the tags and in JSON."""
    return instant.astimezone(UTC).isoformat()


def _format_if_known(instant: datetime | None) -> str | None:
    return format_instant(instant) if instant is not None else None


def _format_count(count: int) -> str | None:
    return str(count) if count else None


def _parse_instant(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text.strip())
        return instant.astimezone(UTC) if instant.tzinfo else None
    except (ValueError, OverflowError):
        return None


def _parse_count(text: str | None) -> int:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) <= 9 else 0  # noqa: PLR2004
