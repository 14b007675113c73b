"""What an answer of Key Vault means: one cause, one sentence, and what to do; none of the SDK's text is in it."""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from http import HTTPStatus

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
)

from refresher.keyvault.dates import RefusedError
from refresher.keyvault.whole_vault import Asked, inner_code, is_its_own, not_its_own, of_the_vault, vault_name
from refresher.model import steps
from refresher.model.causes import Cause
from refresher.model.errors import VaultError
from refresher.model.grants import REFRESH_TOKEN, STORED
from refresher.model.moments import parse_retry_after, pause_text
from refresher.model.steps import Command, Step

FORBIDDEN = frozenset({401, 403})
_RECOVERABLE = frozenset({"ObjectIsDeletedButRecoverable", "ObjectIsBeingRecovered", "ObjectIsBeingDeleted"})
_OF_KIND = {
    "secret": ("this vault", "Check the secret's name and the vault's state."),
    "key": ("this vault's keys", "Check the key's identifier and the vault's state."),
}
"""What others may use too, and what to look at."""
_NO_ROLE = "ForbiddenByRbac"
_ACCESS_POLICY = frozenset({"AccessDenied", "ForbiddenByPolicy"})
_READ_ONLY = tuple(f"-{suffix}" for suffix in STORED if suffix != REFRESH_TOKEN)
"""Secrets that the product only reads; any other it writes, too."""
_WHATEVER_ELSE = Step(". Whatever else is missing: ", steps.doctor())
_UNKNOWN_VERSION = re.compile(r"version \(([\w.-]{1,24})\) is not recognized.{1,60}version \(([\w.-]{1,24})\)")
"""In a vault that is older than the SDK (https://github.com/Azure/azure-sdk-for-python/issues/28595)."""


class BeingRecoveredError(VaultError):
    """A name that was deleted is on its way back: for up to half a minute it is neither there nor free.

    Whoever has other things to write does that first (`Vault.once_recovered`).
    """

    def __init__(self, what: str, *, recover: bool) -> None:
        super().__init__(
            f"the name was deleted, and its recovery is not over yet ({what})",
            cause=Cause.VAULT_UNAVAILABLE,
            hint="Wait for the next tick: Key Vault takes up to half a minute.",
            sent=False,
        )
        self.recover = recover


def translate(asked: Asked, error: HttpResponseError, now: datetime) -> VaultError:
    """The error that an answer about a secret means, none of its text with it."""
    status, code = error.status_code, inner_code(error)
    if status == HTTPStatus.CONFLICT and code in _RECOVERABLE:
        return BeingRecoveredError(f"{asked}", recover=code == "ObjectIsDeletedButRecoverable")
    if status in FORBIDDEN and is_its_own(error):
        return of_the_vault(asked, error) or _forbidden(asked, code)
    return translate_of_any_kind(
        asked, error, now, answered=RefusedError if status == HTTPStatus.BAD_REQUEST else VaultError
    )


def translate_of_any_kind(
    asked: Asked, error: HttpResponseError, now: datetime, *, answered: type[VaultError] = VaultError
) -> VaultError:
    """What an answer means that says nothing about the secret or key itself."""
    if isinstance(error, ClientAuthenticationError) and error.status_code is None:
        return no_identity(error)
    status, retry_after = error.status_code or 0, _retry_after_of(error, now)
    busy, check = _OF_KIND[asked.kind]
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return VaultError(
            f"Key Vault throttles requests{pause_text(retry_after)} ({asked})",
            cause=Cause.VAULT_THROTTLED,
            hint=f"The next tick tries again; look for other heavy users of {busy}.",
            transient=True,
            retry_after=retry_after or 1.0,
        )
    if status < HTTPStatus.BAD_REQUEST or not is_its_own(error):
        return not_its_own(asked, status=status, retry_after=retry_after)
    unknown = _UNKNOWN_VERSION.search(error.message or "")
    if unknown is not None:
        return VaultError(
            f"{asked.url} does not know the version of Key Vault's API that is asked for, {unknown[1]}; its newest is "
            f"{unknown[2]} ({asked})",
            cause=Cause.VAULT_UNAVAILABLE,
            hint="Set KEY_VAULT_URL to a vault of Azure: that of an Azure Stack Hub, or something that stands in for "
            "a vault, is too old for this release.",
        )
    passing = status >= HTTPStatus.INTERNAL_SERVER_ERROR or status in {HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.CONFLICT}
    return answered(
        f"Key Vault answered {status} ({asked})",
        cause=Cause.VAULT_UNAVAILABLE,
        hint="The next tick tries again." if passing else check,
        transient=passing,
        retry_after=retry_after,
    )


def _forbidden(asked: Asked, code: str | None) -> VaultError:
    name, vault = asked.name, vault_name(asked.url)
    if code == "SecretDisabled":
        return disabled(name, asked.url)
    reads_only = name.endswith(_READ_ONLY)
    role, built_in = steps.KEEP_A_SECRET, "Key Vault Secrets Officer"
    if reads_only:
        role, built_in = steps.READ_A_SECRET, "Key Vault Secrets User"
    policy = steps.set_policy(vault, reads_only=reads_only)
    hint = permission(code, policy, steps.assign_role(role, vault, f"secrets/{name}"), built_in)
    known = VaultError if code == _NO_ROLE else RefusedError
    return known(f"Key Vault refused {asked}", cause=Cause.VAULT_FORBIDDEN, hint=hint)


def permission(code: str | None, policy: Command, role: Command, built_in: str) -> Step:
    """What lets the app's identity do it: a policy or a role, by what the vault goes by, as its answer tells."""
    if code in _ACCESS_POLICY:
        lead = "This vault goes by access policies, for which roles do not count. The app's identity: "
        return Step(lead, policy, _WHATEVER_ELSE)
    lead = "Give the app's identity the role, which works after some minutes: "
    return Step(lead, role, f" (with BUILT_IN_ROLES it is {built_in})", _WHATEVER_ELSE)


def disabled(name: str, url: str) -> VaultError:
    """Somebody disabled the secret's newest version, which nobody can read then."""
    return VaultError(
        f"the newest version of secret {name} in {url} is disabled",
        cause=Cause.SECRET_DISABLED,
        hint=Step("Store a new value, or enable this one: ", steps.enable_secret(vault_name(url), name)),
    )


def overdue(name: str, url: str) -> VaultError:
    """The run's time is over: by now another one may have stored something newer."""
    return VaultError(
        f"nothing was written to secret {name} in {url}, since the time of this run was over",
        cause=Cause.RUN_OVERDUE,
        sent=False,
    )


def missing(name: str, url: str) -> VaultError:
    """There is no such secret."""
    vault = vault_name(url)
    return VaultError(
        f"secret {name} is not in {url}",
        cause=Cause.SECRET_MISSING,
        hint=Step(
            "Was it deleted? Then recover it: ",
            steps.recover_secret(vault, name),
            ". Otherwise store it: ",
            steps.set_secret(vault, name),
        ),
    )


class TokenSource(StrEnum):
    """Where a token should have come from, and what that did; the end of a sentence."""

    NOBODY = "nobody is signed in on this machine, and it has no managed identity"
    REFUSED = "the identity endpoint refuses: no managed identity is assigned, or AZURE_CLIENT_ID names another"
    FAILING = "the identity endpoint does not answer as it should"


def token_source(answered: int | None, *, has_endpoint: bool) -> TokenSource:
    """What is known of it, by the status of its last answer."""
    if not has_endpoint:
        return TokenSource.NOBODY
    refused = answered is not None and HTTPStatus.BAD_REQUEST <= answered < HTTPStatus.INTERNAL_SERVER_ERROR
    if refused and answered != HTTPStatus.TOO_MANY_REQUESTS:
        return TokenSource.REFUSED
    return TokenSource.FAILING


_SIGN_IN: Mapping[TokenSource | None, Step] = {
    None: Step("Check the app's managed identity and AZURE_CLIENT_ID. On a laptop: ", steps.log_in()),
    TokenSource.NOBODY: Step("In Azure: assign the managed identity to the app. On a laptop: ", steps.log_in()),
    TokenSource.REFUSED: Step("Assign the managed identity to the app, or correct AZURE_CLIENT_ID"),
    TokenSource.FAILING: Step(
        "The next tick asks again: it passes as a rule. If not, restart the app, and see that its managed identity is "
        "assigned"
    ),
}


def no_identity(error: Exception | None = None) -> VaultError:
    """No token was given, as far as the error knows by whom."""
    source: TokenSource | None = getattr(error, "source", None)
    return VaultError(
        f"no token for Key Vault could be had{f': {source}' if source else ''}",
        cause=Cause.IDENTITY_UNAVAILABLE,
        hint=Step(_SIGN_IN[source], "; what else may keep it from signing in: ", steps.doctor()),
        transient=True,
        retry_after=getattr(error, "retry_after", None),
        sent=False,
    )


def _retry_after_of(error: HttpResponseError, now: datetime) -> float | None:
    """Seconds that the vault asked to wait, where it did."""
    headers = getattr(error.response, "headers", None) or {}
    value = headers.get("Retry-After")
    return parse_retry_after(value, now, headers.get("Date")) if isinstance(value, str) else None
