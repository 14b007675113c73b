"""The routes of Key Vault's REST surface for secrets: `/secrets` and `/deletedsecrets`.

Every rule has its source beside the check that anybody can run against a vault (`sandbox/conformance/vault.py`).
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sandbox.clock import SandboxClock
from sandbox.http import Request, Response, json_response
from sandbox.shelf import Life, SecretVersion, Shelf, Shelved
from sandbox.vault_limits import LARGEST_PAGE, Changes, Policy, RefusedError, bad_parameter, parse_changes

_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_RECOVERABLE_DAYS = 90
_IN_THE_WAY = {
    Life.BEING_DELETED: "ObjectIsBeingDeleted",
    Life.DELETED: "ObjectIsDeletedButRecoverable",
    Life.BEING_RECOVERED: "ObjectIsBeingRecovered",
}


@dataclass(slots=True, kw_only=True)
class Pace:
    """How long the vault takes for what it does not do at once. Recordings and reports know from 4 to 30 seconds."""

    recovering: timedelta = timedelta(seconds=20)
    deleting: timedelta = timedelta(seconds=8)


class Permissions:
    """What the identity may not do, by operation (get, set, update, list, delete, recover, purge) and name."""

    def __init__(self) -> None:
        self.denied: list[tuple[str, re.Pattern[str]]] = []
        self.granted: set[str] = set()

    def check(self, operation: str, name: str) -> None:
        """Raise RefusedError where it may not."""
        denied = any(each == operation and pattern.fullmatch(name) for each, pattern in self.denied)
        if denied and name not in self.granted:
            raise RefusedError(403, "Forbidden", "ForbiddenByRbac")


class SecretsApi:
    """Answers requests that were let in. Whoever calls holds the shelf's lock."""

    def __init__(
        self, shelf: Shelf, permissions: Permissions, pace: Pace, clock: SandboxClock, new_id: Callable[[], str]
    ) -> None:
        self.url = ""
        self.policy = Policy()
        self._shelf = shelf
        self._permissions = permissions
        self._pace = pace
        self._clock = clock
        self._new_id = new_id

    def answer(self, request: Request) -> Response:
        """Answer a request. Raises RefusedError."""
        collection, *rest = request.path.strip("/").split("/")
        # A final slash, as the SDK sends it, says nothing.
        name = rest.pop(0) if rest else ""
        if name and not _NAME.fullmatch(name):
            raise bad_parameter()
        if collection == "secrets":
            return self._secrets(request, name, rest)
        if collection == "deletedsecrets":
            return self._deleted_secrets(request, name, rest)
        raise RefusedError(404, "NotFound")

    def new_version(self, name: str, changes: Changes) -> SecretVersion:
        """A version that is not stored yet. Its dates have a resolution of one second."""
        known = self._shelf.find(name)
        return SecretVersion(
            name=known.name if known is not None else name,
            version=self._new_id(),
            value=changes.value or "",
            created_on=self._now(),
            updated_on=self._now(),
            tags=dict(changes.tags or {}),
            expires_on=changes.expires_on,
            not_before=changes.not_before,
            enabled=changes.enabled is not False,
            content_type=changes.content_type,
        )

    def _secrets(self, request: Request, name: str, rest: Sequence[str]) -> Response:
        match request.method:
            case "GET" if not name:
                return self._list(request, [each.versions[-1] for each in self._shelf.all(Life.ACTIVE)])
            case "GET" if rest == ["versions"]:
                return self._list_versions(request, name)
            case "GET":
                return self._get(name, rest)
            case "PUT" if name and not rest:
                return self._set(request, name)
            case "PATCH":
                return self._update(request, name, rest)
            case "DELETE" if not rest:
                return self._delete(name)
            case _:
                raise RefusedError(405, "MethodNotAllowed")

    def _deleted_secrets(self, request: Request, name: str, rest: Sequence[str]) -> Response:
        match request.method:
            case "GET" if not name:
                self._permissions.check("list", name)
                return self._page(request, [_deleted_bundle(self.url, each) for each in self._shelf.all(Life.DELETED)])
            case "GET":
                return self._get_deleted(name)
            case "DELETE":
                return self._purge(name)
            case "POST" if list(rest) == ["recover"]:
                return self._recover(name)
            case _:
                raise RefusedError(405, "MethodNotAllowed")

    def _get(self, name: str, rest: Sequence[str]) -> Response:
        self._permissions.check("get", name)
        found = self._find(name, rest)
        if not found.enabled:
            raise RefusedError(403, "Forbidden", "SecretDisabled")
        return json_response(200, {"value": found.value, **_bundle(self.url, found)})

    def _set(self, request: Request, name: str) -> Response:
        self._permissions.check("set", name)
        changes = parse_changes(request.json, with_value=True)
        known = self._shelf.find(name)
        if known is not None and known.life is not Life.ACTIVE:
            raise RefusedError(409, "Conflict", _IN_THE_WAY[known.life])
        stored = self.new_version(name, changes)
        self.policy.check(stored, self._now())
        self._shelf.add(stored)
        return json_response(200, {"value": stored.value, **_bundle(self.url, stored)})

    def _update(self, request: Request, name: str, rest: Sequence[str]) -> Response:
        self._permissions.check("update", name)
        found = self._find(name, rest)
        changed = _changed(found, parse_changes(request.json, with_value=False), self._now())
        self.policy.check(changed, self._now())
        self._shelf.change(found, changed)
        return json_response(200, _bundle(self.url, changed))

    def _delete(self, name: str) -> Response:
        self._permissions.check("delete", name)
        self._find(name, [])
        return json_response(200, _deleted_bundle(self.url, self._shelf.delete(name, self._pace.deleting)))

    def _get_deleted(self, name: str) -> Response:
        self._permissions.check("get", name)
        shelved = self._find_deleted(name)
        if not shelved.versions[-1].enabled:
            raise RefusedError(403, "Forbidden", "SecretDisabled")
        return json_response(200, _deleted_bundle(self.url, shelved))

    def _recover(self, name: str) -> Response:
        self._permissions.check("recover", name)
        self._find_deleted(name)
        recovered = self._shelf.recover(name, self._pace.recovering)
        return json_response(200, _bundle(self.url, recovered.versions[-1]))

    def _purge(self, name: str) -> Response:
        self._permissions.check("purge", name)
        shelved = self._shelf.find(name)
        if shelved is not None and shelved.life is Life.BEING_DELETED:
            raise RefusedError(409, "Conflict", "ObjectIsBeingDeleted")
        self._find_deleted(name)
        self._shelf.purge(name)
        return Response(status=204)

    def _list_versions(self, request: Request, name: str) -> Response:
        found = self._shelf.active(name)
        # By the version's id, which says nothing of its age.
        versions = sorted(found.versions, key=lambda each: each.version) if found is not None else []
        return self._list(request, versions, name)

    def _list(self, request: Request, secrets: Sequence[SecretVersion], name: str = "") -> Response:
        self._permissions.check("list", name)
        return self._page(request, [_bundle(self.url, each, with_version=bool(name)) for each in secrets])

    def _page(self, request: Request, items: Sequence[object]) -> Response:
        try:
            start = int(request.params.get("$skiptoken", "0"))
            size = int(request.params.get("maxresults", LARGEST_PAGE))
        except ValueError:
            raise bad_parameter() from None
        if start < 0 or not 1 <= size <= LARGEST_PAGE:
            raise bad_parameter()
        following = None
        if start + size < len(items):
            query = f"api-version={request.params['api-version']}&$skiptoken={start + size}&maxresults={size}"
            following = f"{self.url}{request.path}?{query}"
        return json_response(200, {"value": items[start : start + size], "nextLink": following})

    def _find(self, name: str, rest: Sequence[str]) -> SecretVersion:
        """The version that a path names, or the newest. Raises RefusedError."""
        found = self._shelf.active(name)
        versions = found.versions if found is not None else []
        if rest:
            versions = [each for each in versions if each.version == rest[0].lower()]
        if not versions:
            raise RefusedError(404, "SecretNotFound")
        return versions[-1]

    def _find_deleted(self, name: str) -> Shelved:
        shelved = self._shelf.find(name)
        if shelved is None or shelved.life is not Life.DELETED:
            raise RefusedError(404, "SecretNotFound")
        return shelved

    def _now(self) -> datetime:
        return self._clock.now().replace(microsecond=0)


def _changed(secret: SecretVersion, changes: Changes, now: datetime) -> SecretVersion:
    """What is not spoken of stays; tags are replaced as a whole."""
    return replace(
        secret,
        updated_on=now,
        tags=secret.tags if changes.tags is None else changes.tags,
        content_type=secret.content_type if changes.content_type is None else changes.content_type,
        enabled=secret.enabled if changes.enabled is None else changes.enabled,
        not_before=secret.not_before if changes.not_before is None else changes.not_before,
        expires_on=secret.expires_on if changes.expires_on is None else changes.expires_on,
    )


def _deleted_bundle(url: str, shelved: Shelved) -> dict[str, object]:
    newest = shelved.versions[-1]
    deleted_on = shelved.deleted_on or newest.updated_on
    return {
        "recoveryId": f"{url}/deletedsecrets/{shelved.name}",
        "deletedDate": int(deleted_on.timestamp()),
        "scheduledPurgeDate": int((deleted_on + timedelta(days=_RECOVERABLE_DAYS)).timestamp()),
        **_bundle(url, newest),
    }


def _bundle(url: str, secret: SecretVersion, *, with_version: bool = True) -> dict[str, object]:
    """A version without its value. What is not there is left out, not empty."""
    attributes: dict[str, object] = {
        "enabled": secret.enabled,
        "created": int(secret.created_on.timestamp()),
        "updated": int(secret.updated_on.timestamp()),
        "recoveryLevel": "Recoverable+Purgeable",
        "recoverableDays": _RECOVERABLE_DAYS,
    }
    if secret.expires_on is not None:
        attributes["exp"] = int(secret.expires_on.timestamp())
    if secret.not_before is not None:
        attributes["nbf"] = int(secret.not_before.timestamp())
    version = f"/{secret.version}" if with_version else ""
    bundle: dict[str, object] = {"id": f"{url}/secrets/{secret.name}{version}", "attributes": attributes}
    if secret.tags:
        bundle["tags"] = dict(secret.tags)
    if secret.content_type is not None:
        bundle["contentType"] = secret.content_type
    return bundle
