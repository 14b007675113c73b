"""What a vault refuses: bodies that do not fit, dates that a policy forbids, and too much at once.

The sources stand beside the checks that anybody can run against a vault (`sandbox/conformance/vault.py`).
"""

import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from sandbox.http import Response, json_response
from sandbox.shelf import SecretVersion

LARGEST_VALUE = 25 * 1024
"""Octets."""
MOST_TAGS = 15
LONGEST_TAG = 256
LONGEST_CONTENT_TYPE = 255
LARGEST_PAGE = 25


class RefusedError(Exception):
    """A request is refused; `inner` is the code inside the code, where the service gives one."""

    def __init__(
        self, status: int, code: str, inner: str | None = None, headers: Mapping[str, str] | None = None
    ) -> None:
        super().__init__(code)
        error: dict[str, object] = {"code": code, "message": f"sandbox: {inner or code}"}
        if inner:
            error["innererror"] = {"code": inner}
        self.response: Response = json_response(status, {"error": error}, headers)


def bad_parameter() -> RefusedError:
    """The refusal of a body or a query that does not fit."""
    return RefusedError(400, "BadParameter")


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What a PUT or PATCH asks for; None: not spoken of."""

    value: str | None = None
    content_type: str | None = None
    tags: dict[str, str] | None = None
    enabled: bool | None = None
    not_before: datetime | None = None
    expires_on: datetime | None = None


def parse_changes(body: Mapping[str, object], *, with_value: bool) -> Changes:
    """Take a body apart. Raises RefusedError where it does not fit."""
    value = body.get("value")
    if with_value and (not isinstance(value, str) or len(value.encode()) > LARGEST_VALUE):
        raise bad_parameter()
    content_type, tags = body.get("contentType"), body.get("tags")
    attributes = body.get("attributes")
    attributes = {} if attributes is None else attributes
    if content_type is not None and (not isinstance(content_type, str) or len(content_type) > LONGEST_CONTENT_TYPE):
        raise bad_parameter()
    if not isinstance(attributes, dict):
        raise bad_parameter()
    enabled = attributes.get("enabled")
    if enabled is not None and not isinstance(enabled, bool):
        raise bad_parameter()
    return Changes(
        value=value if isinstance(value, str) else None,
        content_type=content_type,
        tags=_tags(tags),
        enabled=enabled,
        not_before=_instant(attributes.get("nbf")),
        expires_on=_instant(attributes.get("exp")),
    )


def _tags(tags: object) -> dict[str, str] | None:
    if tags is None:
        return None
    if not isinstance(tags, dict) or len(tags) > MOST_TAGS:
        raise bad_parameter()
    for name, value in tags.items():
        if not isinstance(value, str) or len(value) > LONGEST_TAG or len(name) > LONGEST_TAG:
            raise bad_parameter()
    return dict(tags)


def _instant(seconds: object) -> datetime | None:
    if seconds is None:
        return None
    if not isinstance(seconds, int) or isinstance(seconds, bool):
        raise bad_parameter()
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError):
        raise bad_parameter() from None


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What Azure Policy can ask of every secret of a vault: the built-in definitions with the effect Deny.

    Source: Azure/azure-policy, built-in-policies/policyDefinitions/Key Vault/Secrets_ExpirationSet, _ValidityPeriod
    (which refuses a secret without an end as well), _Expiry_ByDays (which does not) and _ContentTypeSet.
    """

    demands_expiry: bool = False
    at_most: timedelta | None = None
    """From its creation on."""
    at_least: timedelta | None = None
    """From now on."""
    demands_content_type: bool = False

    def check(self, secret: SecretVersion, now: datetime) -> None:
        """Raise RefusedError where the secret may not be stored so."""
        ends = secret.expires_on
        refused = self.demands_content_type and not secret.content_type
        if ends is None:
            refused |= self.demands_expiry or self.at_most is not None
        else:
            refused |= self.at_most is not None and ends > secret.created_on + self.at_most
            refused |= self.at_least is not None and ends < now + self.at_least
        if refused:
            raise RefusedError(403, "Forbidden", "ForbiddenByPolicy")


@dataclass(slots=True, kw_only=True)
class Throttling:
    """The documented limits, by the real clock: secrets created, and all other requests, in a window of seconds."""

    creations: int = 300
    others: int = 4000
    per_seconds: float = 10.0
    _creations: deque[float] = field(default_factory=deque)
    _others: deque[float] = field(default_factory=deque)

    def admit(self, *, creates: bool) -> float | None:
        """None where the request is within the limit, otherwise the seconds until it would be."""
        seen, limit = (self._creations, self.creations) if creates else (self._others, self.others)
        now = time.monotonic()
        while seen and now - seen[0] >= self.per_seconds:
            seen.popleft()
        if len(seen) >= limit:
            return self.per_seconds - (now - seen[0])
        seen.append(now)
        return None
