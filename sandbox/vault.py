"""Key Vault's REST surface for secrets: challenge, versions, tags, soft delete, access and throttling."""

import itertools
import random
import re
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime

from sandbox.clock import SandboxClock
from sandbox.http import Request, Response, json_response
from sandbox.identity import TENANT, Identity

_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_PAGE = 25


@dataclass(slots=True, kw_only=True)
class SecretVersion:
    """One version of a secret, as an administrator sees it."""

    name: str
    version: str
    value: str
    created_on: datetime
    updated_on: datetime
    tags: dict[str, str] = field(default_factory=dict)
    expires_on: datetime | None = None
    enabled: bool = True
    content_type: str | None = None


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


class KeyVault:
    """One vault. `resource` is what its challenge asks a token for."""

    def __init__(self, name: str, clock: SandboxClock, identity: Identity) -> None:
        self.name = name
        self.url = ""
        self.resource = ""
        self.throttle: Throttling | None = None
        self._clock = clock
        self._identity = identity
        self._random = random.Random(name)
        self._lock = threading.RLock()
        self._secrets: dict[str, list[SecretVersion]] = {}
        self._deleted: dict[str, list[SecretVersion]] = {}
        self._denied: list[tuple[str, re.Pattern[str]]] = []
        self._granted: set[str] = set()
        self._order = itertools.count()

    def listen_at(self, url: str, resource: str) -> None:
        """Say where the vault is reached."""
        self.url, self.resource = url, resource

    # An administrator's hands: not seen as requests.

    def put(
        self,
        name: str,
        value: str,
        *,
        tags: dict[str, str] | None = None,
        expires_on: datetime | None = None,
        enabled: bool = True,
        content_type: str | None = None,
    ) -> SecretVersion:
        """Store a new version."""
        now = self._clock.now().replace(microsecond=0)
        with self._lock:
            version = SecretVersion(
                name=name,
                version=f"{self._random.getrandbits(128):032x}",
                value=value,
                created_on=now,
                updated_on=now,
                tags=dict(tags or {}),
                expires_on=expires_on,
                enabled=enabled,
                content_type=content_type,
            )
            self._secrets.setdefault(name, []).append(version)
            return version

    def get(self, name: str) -> SecretVersion | None:
        """The newest version."""
        with self._lock:
            versions = self._secrets.get(name)
            return versions[-1] if versions else None

    def versions(self, name: str) -> list[SecretVersion]:
        """All versions, oldest first."""
        with self._lock:
            return list(self._secrets.get(name, ()))

    def names(self) -> list[str]:
        """The names of all secrets that are not deleted."""
        with self._lock:
            return sorted(self._secrets)

    def deleted_names(self) -> list[str]:
        """The names of all secrets that are soft-deleted."""
        with self._lock:
            return sorted(self._deleted)

    def delete(self, name: str) -> None:
        """Soft-delete."""
        with self._lock:
            self._deleted[name] = self._secrets.pop(name)

    def purge(self, name: str) -> None:
        """Remove a soft-deleted secret for good."""
        with self._lock:
            del self._deleted[name]

    def deny(self, operation: str, name: str = ".*") -> None:
        """Refuse get, set, update, list or recover for the names that match."""
        self._denied.append((operation, re.compile(name)))

    def grant(self, name: str) -> None:
        """Take every refusal of one secret back, as a role on that secret does."""
        self._granted.add(name)

    def allow_all(self) -> None:
        """Take every refusal back."""
        self._denied.clear()

    # The REST surface.

    def handle(self, request: Request) -> Response:
        """Answer a request."""
        if not self._identity.admits(request.headers.get("authorization"), self.resource):
            challenge = (
                f'Bearer authorization="https://login.microsoftonline.com/{TENANT}", resource="{self.resource}"'
            )
            return _error(401, "Unauthorized", headers={"WWW-Authenticate": challenge})
        with self._lock:
            if self.throttle is not None:
                pause = self.throttle.admit(creates=request.method == "PUT")
                if pause is not None:
                    return _error(429, "Throttled", headers={"Retry-After": str(max(1, int(pause) + 1))})
            parts = request.path.strip("/").split("/")
            collection, name, rest = parts[0], parts[1] if len(parts) > 1 else "", parts[2:]
            if name and not _NAME.fullmatch(name):
                return _error(400, "BadParameter")
            if collection == "secrets":
                return self._handle_secrets(request, name, rest)
            if collection == "deletedsecrets":
                return self._handle_deleted(request, name, rest)
        return _error(404, "NotFound")

    def _handle_secrets(self, request: Request, name: str, rest: list[str]) -> Response:  # noqa: PLR0911 - a route each
        listing = not name or rest == ["versions"]
        operation = {"GET": "list" if listing else "get", "PUT": "set", "PATCH": "update", "DELETE": "delete"}.get(
            request.method, "unknown"
        )
        if self._is_denied(operation, name):
            return _error(403, "Forbidden", "ForbiddenByRbac")
        version = rest[0] if rest and rest[0] else None
        match request.method:
            case "GET" if listing:
                return self._list(request, name)
            case "GET":
                return self._get(name, version)
            case "PUT":
                return self._set(request, name)
            case "PATCH":
                return self._update(request, name, version)
            case "DELETE" if name in self._secrets:
                self.delete(name)
                return json_response(200, {"recoveryId": f"{self.url}/deletedsecrets/{name}"})
            case _:
                return _error(404, "SecretNotFound")

    def _get(self, name: str, version: str | None) -> Response:
        found = self._find(name, version)
        if found is None:
            return _error(404, "SecretNotFound")
        if not found.enabled:
            return _error(403, "Forbidden", "SecretDisabled")
        return json_response(200, {"value": found.value, **self._bundle(found)})

    def _set(self, request: Request, name: str) -> Response:
        if name in self._deleted:
            return _error(409, "Conflict", "ObjectIsDeletedButRecoverable")
        body = request.json
        tags = body.get("tags") or {}
        if not isinstance(tags, dict) or not _fit(tags):
            return _error(400, "BadParameter")
        attributes = body.get("attributes") or {}
        stored = self.put(
            name,
            str(body["value"]),
            tags=tags,
            expires_on=_instant(attributes.get("exp") if isinstance(attributes, dict) else None),
            content_type=str(body["contentType"]) if body.get("contentType") else None,
        )
        return json_response(200, {"value": stored.value, **self._bundle(stored)})

    def _update(self, request: Request, name: str, version: str | None) -> Response:
        found = self._find(name, version)
        if found is None:
            return _error(404, "SecretNotFound")
        body = request.json
        tags = body.get("tags")
        if isinstance(tags, dict):
            if not _fit(tags):
                return _error(400, "BadParameter")
            found.tags = dict(tags)
        attributes = body.get("attributes")
        if isinstance(attributes, dict):
            if attributes.get("exp") is not None:
                found.expires_on = _instant(attributes["exp"])
            if isinstance(attributes.get("enabled"), bool):
                found.enabled = bool(attributes["enabled"])
        if body.get("contentType"):
            found.content_type = str(body["contentType"])
        found.updated_on = self._clock.now().replace(microsecond=0)
        return json_response(200, self._bundle(found))

    def _list(self, request: Request, name: str) -> Response:
        if name:
            items = sorted(self._secrets.get(name, []), key=lambda each: each.version)
            path = f"/secrets/{name}/versions"
        else:
            items = [versions[-1] for _, versions in sorted(self._secrets.items())]
            path = "/secrets"
        start = int(request.params.get("$skiptoken", "0"))
        size = min(_PAGE, int(request.params.get("maxresults", _PAGE)))
        page = [self._bundle(each, with_version=bool(name)) for each in items[start : start + size]]
        more = start + size < len(items)
        following = f"{self.url}{path}?api-version=7.5&$skiptoken={start + size}&maxresults={size}" if more else None
        return json_response(200, {"value": page, "nextLink": following})

    def _handle_deleted(self, request: Request, name: str, rest: list[str]) -> Response:
        if request.method == "GET" and not name:
            items = [self._bundle(versions[-1], with_version=False) for versions in self._deleted.values()]
            return json_response(200, {"value": items, "nextLink": None})
        if name not in self._deleted:
            return _error(404, "SecretNotFound")
        newest = self._deleted[name][-1]
        if request.method == "POST" and rest == ["recover"]:
            if self._is_denied("recover", name):
                return _error(403, "Forbidden", "ForbiddenByRbac")
            self._secrets[name] = self._deleted.pop(name)
            return json_response(200, self._bundle(newest))
        if request.method == "DELETE":
            self.purge(name)
            return Response(status=204)
        return json_response(200, {"recoveryId": f"{self.url}/deletedsecrets/{name}", **self._bundle(newest)})

    def _is_denied(self, operation: str, name: str) -> bool:
        if name in self._granted:
            return False
        return any(denied == operation and pattern.fullmatch(name) for denied, pattern in self._denied)

    def _find(self, name: str, version: str | None) -> SecretVersion | None:
        versions = self._secrets.get(name, [])
        if version is None:
            return versions[-1] if versions else None
        return next((each for each in versions if each.version == version), None)

    def _bundle(self, secret: SecretVersion, *, with_version: bool = True) -> dict[str, object]:
        version = f"/{secret.version}" if with_version else ""
        attributes: dict[str, object] = {
            "enabled": secret.enabled,
            "created": int(secret.created_on.timestamp()),
            "updated": int(secret.updated_on.timestamp()),
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": 90,
        }
        if secret.expires_on is not None:
            attributes["exp"] = int(secret.expires_on.timestamp())
        bundle: dict[str, object] = {
            "id": f"{self.url}/secrets/{secret.name}{version}",
            "attributes": attributes,
            "tags": dict(secret.tags),
        }
        if secret.content_type:
            bundle["contentType"] = secret.content_type
        return bundle


def _fit(tags: dict[object, object]) -> bool:
    return len(tags) <= 15 and all(len(str(value)) <= 256 for value in tags.values())


def _instant(seconds: object) -> datetime | None:
    return datetime.fromtimestamp(seconds, UTC) if isinstance(seconds, int) else None


def _error(status: int, code: str, inner: str | None = None, headers: dict[str, str] | None = None) -> Response:
    error: dict[str, object] = {"code": code, "message": code}
    if inner:
        error["innererror"] = {"code": inner}
    return json_response(status, {"error": error}, headers)
