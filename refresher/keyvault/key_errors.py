"""Why a key of Key Vault does not sign: one cause, one sentence, and what to do; none of the SDK's text is in it.

The vault describes a disabled or expired key as readily as any other, and refuses to sign with it
(github.com/Azure/azure-sdk-for-python/issues/45342, notaryproject/ratify#1474), so that both are known before it is
asked. Whatever it refuses all the same has a code: `KeyDisabled`, `KeyExpired`, `KeyOperationForbidden`.
"""

from collections.abc import Mapping
from datetime import datetime
from http import HTTPStatus

from azure.core.exceptions import HttpResponseError

from refresher.keyvault.errors import FORBIDDEN, permission, translate_of_any_kind
from refresher.keyvault.whole_vault import Asked, inner_code, is_its_own, of_the_vault, vault_name
from refresher.model import steps
from refresher.model.causes import Cause
from refresher.model.errors import VaultError
from refresher.model.moments import minute
from refresher.model.steps import Step
from refresher.model.stored import StoredKey

_SMALLEST_RSA_KEY = 2048
"""Bits, as RFC 7518 section 3.3 demands."""
_CURVES: Mapping[str, str] = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}
_DISABLED = "KeyDisabled"
_OUTSIDE_ITS_DATES = frozenset({"KeyExpired", "KeyNotYetValid"})
_UNFIT = frozenset({"KeyOperationForbidden", "KeyOperationNotAllowed"})
_WHAT_FITS = "Set `alg` to what the key can do, or `key_identifier` to a key that fits (docs/keys.md)."


def problem_of(key: StoredKey, algorithm: str, now: datetime) -> VaultError | None:
    """Why a key may not sign by that algorithm now; None where it may."""
    if not key.enabled:
        return _disabled(key.name, key.vault_url)
    if key.expires_on is not None and key.expires_on <= now:
        return _ended(key.name, key.vault_url, f"ended on {minute(key.expires_on)}")
    if key.not_before is not None and key.not_before > now:
        return _ended(key.name, key.vault_url, f"begins on {minute(key.not_before)}")
    unfit = _unfit(key, algorithm)
    if unfit is None:
        return None
    message = f"key {key.name} in {key.vault_url} cannot sign by {algorithm}: {unfit}"
    return VaultError(message, cause=Cause.SIGNING_KEY_UNFIT, hint=_WHAT_FITS)


def translate_for_key(asked: Asked, error: HttpResponseError, now: datetime) -> VaultError:
    """The error that an answer about a key means, none of its text with it."""
    status = error.status_code
    if status in FORBIDDEN and is_its_own(error):
        return of_the_vault(asked, error) or _forbidden(asked, inner_code(error))
    if status == HTTPStatus.BAD_REQUEST and asked.operation == "sign" and is_its_own(error):
        message = f"key {asked.name} in {asked.url} does not fit the algorithm that it was to sign by"
        return VaultError(message, cause=Cause.SIGNING_KEY_UNFIT, hint=_WHAT_FITS)
    return translate_of_any_kind(asked, error, now)


def key_missing(name: str, url: str) -> VaultError:
    """There is no such key, or no such version of it."""
    return VaultError(
        f"key {name} is not in {url}, or not in the version that is asked for",
        cause=Cause.SIGNING_KEY_MISSING,
        hint=Step(
            "Which versions there are: ",
            steps.list_key_versions(vault_name(url), name),
            ". Was it deleted? Then recover it: ",
            steps.recover_key(vault_name(url), name),
        ),
    )


def _unfit(key: StoredKey, algorithm: str) -> str | None:
    kind = key.kind.removesuffix("-HSM")
    if not key.signs:
        return "its permitted operations lack `sign`"
    if algorithm.startswith("RS"):
        if kind != "RSA":
            return f"it is of type {key.kind}"
        return None if key.bits >= _SMALLEST_RSA_KEY else f"it has {key.bits} bits, fewer than {_SMALLEST_RSA_KEY}"
    if kind != "EC":
        return f"it is of type {key.kind}"
    wanted = _CURVES[algorithm]
    return None if key.curve == wanted else f"it is on curve {key.curve}, and the algorithm goes with {wanted}"


def _forbidden(asked: Asked, code: str | None) -> VaultError:
    name, url = asked.name, asked.url
    if code == _DISABLED:
        return _disabled(name, url)
    if code in _OUTSIDE_ITS_DATES:
        return _ended(name, url, "is outside of its dates")
    if code in _UNFIT:
        message = f"key {name} in {url} cannot sign: its permitted operations lack `sign`"
        hint = "Set `key_identifier` to a key made for signing (docs/keys.md)."
        return VaultError(message, cause=Cause.SIGNING_KEY_UNFIT, hint=hint)
    role = steps.assign_role(steps.SIGN_WITH_A_KEY, vault_name(url), f"keys/{name}")
    hint = permission(code, steps.set_key_policy(vault_name(url)), role, "Key Vault Crypto User; docs/keys.md")
    return VaultError(f"Key Vault refused {asked}", cause=Cause.SIGNING_FORBIDDEN, hint=hint)


def _disabled(name: str, url: str) -> VaultError:
    return VaultError(
        f"key {name} in {url} is disabled",
        cause=Cause.SIGNING_KEY_DISABLED,
        hint=Step("Somebody did that on purpose. If it shall sign again: ", steps.enable_key(vault_name(url), name)),
    )


def _ended(name: str, url: str, how: str) -> VaultError:
    return VaultError(
        f"key {name} in {url} {how}",
        cause=Cause.SIGNING_KEY_EXPIRED,
        hint=Step(
            "Renew its certificate, and give ServiceNow the new one (docs/keys.md, 'Renewal'). What Key Vault says: ",
            steps.show_key(vault_name(url), name),
        ),
    )
