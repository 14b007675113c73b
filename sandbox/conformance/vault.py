"""What Key Vault is known to do with secrets: a table of rules with their sources, and the question behind each.

The sandbox's vault keeps all of them. Sources, by their short names:
RECORDING  azure-sdk-for-python, sdk/keyvault/azure-keyvault-secrets/tests/recordings/
           test_samples_secrets.test_example_secrets_recover_7_3.yaml and …_secret_crud_operations_7_3.yaml
JS         azure-sdk-for-js, sdk/keyvault/keyvault-secrets/recordings, "can update a disabled secret"
REST       learn.microsoft.com/rest/api/keyvault/secrets: set-secret, update-secret, get-secrets
ABOUT      learn.microsoft.com/azure/key-vault/secrets/about-secrets
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from sandbox.conformance.findings import Check, NotAskedError, Rule
from sandbox.conformance.vault_client import VaultClient
from sandbox.conformance.wire import Reply

_VALUE = "conformance"
_Ask = Callable[[VaultClient], str | None]


def _challenge(vault: VaultClient) -> str | None:
    reply = vault.ask("GET", "secrets", with_token=False)
    challenge = reply.headers.get("www-authenticate", "")
    expected = reply.status == 401 and challenge.startswith("Bearer ") and "resource=" in challenge
    return None if expected else reply.error


def _api_version(vault: VaultClient) -> str | None:
    asked = [vault.ask("GET", "secrets", params={"api-version": version}) for version in ("", "no-such-version")]
    return _unless(asked[0], 400) or _unless(asked[1], 400)


def _name_characters(vault: VaultClient) -> str | None:
    named = [vault.ask("PUT", f"secrets/{name}", body={"value": _VALUE}) for name in ("under_score", "x" * 128)]
    return _unless(named[0], 400) or _unless(named[1], 400)


def _name_case(vault: VaultClient) -> str | None:
    name = vault.new_name()
    vault.put(name)
    return _unless(vault.ask("GET", f"secrets/{name.upper()}"), 200)


def _value_required(vault: VaultClient) -> str | None:
    return _unless(vault.ask("PUT", f"secrets/{vault.new_name()}", body={}), 400)


def _value_size(vault: VaultClient) -> str | None:
    fits = vault.put(vault.new_name(), "x" * 25_000)
    too_large = vault.put(vault.new_name(), "x" * 25_601)
    return _unless(fits, 200) or _unless(too_large, 400)


def _tags_number(vault: VaultClient) -> str | None:
    name = vault.new_name()
    fifteen = {f"tag-{number}": "x" for number in range(15)}
    sixteen = {**fifteen, "one-more": "x"}
    fits, too_many = vault.put(name, tags=fifteen), vault.put(name, tags=sixteen)
    patched = vault.ask("PATCH", f"secrets/{name}/", body={"tags": sixteen})
    return _unless(fits, 200) or _unless(too_many, 400) or _unless(patched, 400)


def _tags_size(vault: VaultClient) -> str | None:
    name = vault.new_name()
    fits, too_long = vault.put(name, tags={"tag": "x" * 256}), vault.put(name, tags={"tag": "x" * 513})
    return _unless(fits, 200) or _unless(too_long, 400)


def _content_type_size(vault: VaultClient) -> str | None:
    return _unless(vault.put(vault.new_name(), contentType="x" * 256), 400)


def _tags_left_out(vault: VaultClient) -> str | None:
    bare = vault.put(vault.new_name()).json
    present = [member for member in ("tags", "contentType") if member in bare]
    return f"there all the same: {', '.join(present)}" if present else None


def _attributes_on_put(vault: VaultClient) -> str | None:
    wanted = {"enabled": False, "nbf": _seconds(vault.now(), days=1), "exp": _seconds(vault.now(), days=2)}
    stored = _attributes(vault.put(vault.new_name(), attributes=wanted))
    ignored = [name for name, value in wanted.items() if stored.get(name) != value]
    return f"ignored: {', '.join(ignored)}" if ignored else None


def _disabled(vault: VaultClient) -> str | None:
    name = vault.new_name()
    vault.put(name, attributes={"enabled": False})
    return _unless(vault.ask("GET", f"secrets/{name}"), 403, "SecretDisabled")


def _disabled_patch(vault: VaultClient) -> str | None:
    name = vault.new_name()
    vault.put(name, attributes={"enabled": False})
    patched = vault.ask("PATCH", f"secrets/{name}/", body={"attributes": {"enabled": True}})
    return _unless(patched, 200) or _unless(vault.ask("GET", f"secrets/{name}"), 200)


def _out_of_window(vault: VaultClient) -> str | None:
    early, late = vault.new_name(), vault.new_name()
    vault.put(early, attributes={"nbf": _seconds(vault.now(), days=1)})
    vault.put(late, attributes={"exp": _seconds(vault.now(), days=-1)})
    return _unless(vault.ask("GET", f"secrets/{early}"), 200) or _unless(vault.ask("GET", f"secrets/{late}"), 200)


def _patch(vault: VaultClient) -> str | None:
    name = vault.new_name()
    before = vault.put(name, tags={"one": "1"}, contentType="text/plain").json
    after = vault.ask("PATCH", f"secrets/{name}/", body={"tags": {"two": "2"}}).json
    if after.get("id") != before.get("id"):
        return "another version"
    if after.get("tags") != {"two": "2"} or after.get("contentType") != "text/plain":
        return "tags are merged, or the content type is lost"
    return None


def _page_size(vault: VaultClient) -> str | None:
    sizes = [vault.ask("GET", "secrets", params={"maxresults": size}) for size in ("0", "26")]
    return _unless(sizes[0], 400) or _unless(sizes[1], 400)


def _listed(vault: VaultClient) -> str | None:
    vault.put(vault.new_name())
    items = vault.ask("GET", "secrets", params={"maxresults": "1"}).json.get("value")
    if not isinstance(items, list) or len(items) != 1 or not isinstance(items[0], dict):
        return "not a list of one"
    identifier = str(items[0].get("id", "")).rstrip("/")
    if "value" in items[0] or identifier.rpartition("/secrets/")[2].count("/"):
        return "with a value or a version"
    return None


def _versions_of_nothing(vault: VaultClient) -> str | None:
    reply = vault.ask("GET", f"secrets/{vault.new_name()}/versions")
    return _unless(reply, 200) or (None if reply.json.get("value") == [] else "not an empty list")


def _unknown(vault: VaultClient) -> str | None:
    name = vault.new_name()
    absent = vault.ask("GET", f"secrets/{name}")
    vault.put(name)
    return _unless(absent, 404, "SecretNotFound") or _unless(vault.ask("GET", f"secrets/{name}/{'0' * 32}"), 404)


def _deleted(vault: VaultClient) -> str | None:
    reply = vault.delete(vault.ready_for_deletion)
    missing = {"recoveryId", "deletedDate", "scheduledPurgeDate", "id", "attributes"} - reply.json.keys()
    return _unless(reply, 200) or (f"without {', '.join(sorted(missing))}" if missing else None)


def _deleting_takes_time(vault: VaultClient) -> str | None:
    name = vault.ready_for_deletion
    there = vault.ask("GET", f"deletedsecrets/{name}")
    written = vault.put(name)
    seen = None if there.status == 404 else "it was over at once"
    vault.wait_until(lambda: vault.ask("GET", f"deletedsecrets/{name}").status == 200, "deleting")
    return _unless(written, 409) or seen


def _deleted_name(vault: VaultClient) -> str | None:
    name = vault.ready_for_deletion
    read, written = vault.ask("GET", f"secrets/{name}"), vault.put(name)
    return _unless(read, 404, "SecretNotFound") or _unless(written, 409, "ObjectIsDeletedButRecoverable")


def _recovering_takes_time(vault: VaultClient) -> str | None:
    name = vault.ready_for_deletion
    recovered = vault.ask("POST", f"deletedsecrets/{name}/recover")
    if recovered.status != 200:
        return recovered.error
    read, written = vault.ask("GET", f"secrets/{name}"), vault.put(name)
    at_once = None if read.status == 404 else "it was over at once"
    in_time = vault.wait_until(lambda: vault.put(name).status == 200, "recovering")
    return at_once or _unless(written, 409, "ObjectIsBeingRecovered") or (None if in_time else "not within a minute")


def _recovered_versions(vault: VaultClient) -> str | None:
    listed = vault.ask("GET", f"secrets/{vault.ready_for_deletion}/versions").json.get("value")
    return None if isinstance(listed, list) and len(listed) > 1 else "the older versions are gone"


def _deleted_and_disabled(vault: VaultClient) -> str | None:
    name = vault.new_name()
    vault.put(name, attributes={"enabled": False})
    vault.delete(name)
    path = f"deletedsecrets/{name}"
    vault.wait_until(lambda: vault.ask("GET", path).status != 404)
    return _unless(vault.ask("GET", path), 403, "SecretDisabled")


def _never(why: str) -> _Ask:
    def ask(_: VaultClient) -> str | None:
        raise NotAskedError(why)

    return ask


def _unless(reply: Reply, status: int, code: str = "") -> str | None:
    """What was seen, if it was something else."""
    return None if reply.status == status and code in reply.error else reply.error


def _attributes(reply: Reply) -> dict[str, object]:
    attributes = reply.json.get("attributes")
    return attributes if isinstance(attributes, dict) else {}


def _seconds(now: datetime, *, days: int) -> int:
    return int((now + timedelta(days=days)).timestamp())


def _check(name: str, sentence: str, source: str, ask: _Ask) -> Check[VaultClient]:
    return Check(rule=Rule(name=name, sentence=sentence, source=source), ask=ask)


_NET = "Azure/azure-sdk-for-net issue 31581; hashicorp/terraform-provider-azurerm issues 12285, 19749"
CHECKS: Sequence[Check[VaultClient]] = (
    _check("challenge", "without a token: 401, and whom to ask for one", "RECORDING", _challenge),
    _check(
        "api-version", "without an api-version that it knows: 400", "REST: required in every request", _api_version
    ),
    _check(
        "name-characters",
        "a name has up to 127 letters, digits and dashes, else 400",
        "REST: pattern; ABOUT",
        _name_characters,
    ),
    _check(
        "name-case",
        "names are told apart without regard to case",
        "learn.microsoft.com/azure/key-vault/general/about-keys-secrets-certificates: object identifiers",
        _name_case,
    ),
    _check("value-required", "a PUT without a value: 400", "REST: required", _value_required),
    _check("value-size", "a value of 25,000 octets fits, one of 25,601 does not: 400", "ABOUT: 25 KB", _value_size),
    _check(
        "tags-number",
        "15 tags fit, 16 do not: 400",
        "ABOUT; hashicorp/terraform-provider-azurerm issue 16780",
        _tags_number,
    ),
    _check("tags-size", "a tag of 256 characters fits, one of 513 does not: 400", "ABOUT: 256, 512 later", _tags_size),
    _check("content-type-size", "a content type of 256 characters: 400", "ABOUT: 255", _content_type_size),
    _check("left-out", "tags and content type that are not there are left out", "RECORDING", _tags_left_out),
    _check("attributes-on-put", "a PUT sets enabled, nbf and exp", "REST: SecretAttributes; JS", _attributes_on_put),
    _check("disabled", "a disabled version cannot be read: 403 SecretDisabled", "JS", _disabled),
    _check("disabled-patch", "a disabled version can be changed, and enabled again", "JS", _disabled_patch),
    _check("out-of-window", "before nbf and after exp it can be read", "ABOUT: date-time controlled", _out_of_window),
    _check("patch", "a PATCH makes no version, replaces the tags and leaves the rest", "RECORDING", _patch),
    _check("page-size", "maxresults is 1 to 25, else 400", "REST: minimum, maximum", _page_size),
    _check("listed", "a list has neither values nor versions", "REST: SecretItem", _listed),
    _check(
        "versions-of-nothing",
        "the versions of a name that is not there: an empty list",
        "azure-sdk-for-js, keyvault-secrets, list tests: secret versions (non existing)",
        _versions_of_nothing,
    ),
    _check("unknown", "a name or a version that is not there: 404", "RECORDING", _unknown),
    _check("deleted", "a DELETE says how to recover, and until when", "RECORDING", _deleted),
    _check(
        "deleting-takes-time",
        "until a deletion is over, the name is nowhere, and cannot be written: 409",
        "RECORDING; Azure SDK for .NET, sample of SetSecret: ObjectIsBeingDeleted",
        _deleting_takes_time,
    ),
    _check(
        "deleted-name",
        "a deleted name cannot be read, nor written: 409 ObjectIsDeletedButRecoverable",
        "RECORDING; external-secrets/external-secrets issue 3519",
        _deleted_name,
    ),
    _check(
        "recovering-takes-time",
        "until a recovery is over: GET 404, PUT 409 ObjectIsBeingRecovered",
        f"RECORDING (4 s); {_NET}",
        _recovering_takes_time,
    ),
    _check("recovered-versions", "a recovery brings all versions back", "REST: recover", _recovered_versions),
    _check("deleted-and-disabled", "a deleted and disabled secret is not told: 403", "JS", _deleted_and_disabled),
    _check("purge", "a purge before the deletion is over: 409", "JS", _never("it cannot be undone")),
    _check("throttling", "too much at once: 429 with Retry-After", "service limits", _never("it would hinder others")),
    _check(
        "policy",
        "Azure Policy can demand an expiry, not too late and not too soon: 403",
        "Azure/azure-policy, built-in-policies/policyDefinitions/Key Vault/Secrets_*.json",
        _never("whether there is a policy is the subscription's affair"),
    ),
)
