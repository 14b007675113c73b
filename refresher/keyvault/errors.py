"""What an answer of Key Vault means: one cause, one sentence, and what to do; none of the SDK's text is in it."""

import re
from collections.abc import Mapping
from datetime import datetime
from urllib.parse import urlsplit

from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from refresher.keyvault.dates import RefusedError
from refresher.model import steps
from refresher.model.causes import Cause
from refresher.model.errors import VaultError
from refresher.model.grants import REFRESH_TOKEN, STORED
from refresher.model.moments import parse_retry_after
from refresher.model.steps import Step
from refresher.network.proxies import proxy_for

BAD_REQUEST = 400
FORBIDDEN = frozenset({401, 403})
_CONFLICT = 409
_THROTTLED = 429
_SERVER_ERRORS = 500
_REQUEST_TIMEOUT = 408
_RECOVERABLE = frozenset({"ObjectIsDeletedButRecoverable", "ObjectIsBeingRecovered", "ObjectIsBeingDeleted"})
_CHECK_NAME = "Check the secret's name and the vault's state."
_NO_ROLE = "ForbiddenByRbac"
NETWORK = frozenset({"ForbiddenByFirewall", "ForbiddenByConnection"})
ACCESS_POLICY = frozenset({"AccessDenied", "ForbiddenByPolicy"})
_READ_ONLY = tuple(f"-{suffix}" for suffix in STORED if suffix != REFRESH_TOKEN)
"""Secrets that the product only reads; any other it writes, too."""
_REFUSED_BY_PROXY = re.compile(r"Tunnel connection failed: ([0-9]{3})")
IDENTITY = "IDENTITY"
WHO_IDENTITY_IS = Step(f". {IDENTITY}, and whatever else is missing: ", steps.doctor())
"""A hint names the identity that asked by this word, since a vault's answer does not; `doctor` fills it in."""


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


def translate(operation: str, name: str, url: str, error: HttpResponseError, now: datetime) -> VaultError:
    """The error that an answer about a secret means, none of its text with it."""
    status, code = error.status_code, inner_code(error)
    what = f"{operation} of secret {name} in {url}"
    if status == _CONFLICT and code in _RECOVERABLE:
        return BeingRecoveredError(what, recover=code == "ObjectIsDeletedButRecoverable")
    if status in FORBIDDEN:
        return _forbidden(what, name, url, code)
    answered = RefusedError if status == BAD_REQUEST else VaultError
    return translate_of_any_kind(operation, name, url, error, now, answered=answered)


def translate_of_any_kind(
    operation: str,
    name: str,
    url: str,
    error: HttpResponseError,
    now: datetime,
    *,
    kind: str = "secret",
    busy: str = "this vault",
    check: str = _CHECK_NAME,
    answered: type[VaultError] = VaultError,
) -> VaultError:
    """What an answer means that says nothing about the secret or key itself: `busy` is what others may use too."""
    if isinstance(error, ClientAuthenticationError) and error.status_code is None:
        return no_identity(getattr(error, "retry_after", None))
    status, what = error.status_code or 0, f"{operation} of {kind} {name} in {url}"
    if status == _THROTTLED:
        return VaultError(
            f"Key Vault throttles requests ({what})",
            cause=Cause.VAULT_THROTTLED,
            hint=f"The next tick tries again; look for other heavy users of {busy}.",
            transient=True,
            retry_after=retry_after_of(error, now) or 1.0,
        )
    if status < BAD_REQUEST:
        return not_its_own(operation, name, url, kind=kind)
    passing = status >= _SERVER_ERRORS or status in {_REQUEST_TIMEOUT, _CONFLICT}
    return answered(
        f"Key Vault answered {status} ({what})",
        cause=Cause.VAULT_UNAVAILABLE,
        hint="The next tick tries again." if passing else check,
        transient=passing,
        retry_after=retry_after_of(error, now),
    )


def _forbidden(what: str, name: str, url: str, code: str | None) -> VaultError:
    vault = vault_name(url)
    if code == "SecretDisabled":
        return disabled(name, url)
    if code in NETWORK:
        return kept_out(what, url)
    if code in ACCESS_POLICY:
        hint = Step(
            "This vault goes by access policies, for which roles do not count: ",
            steps.set_policy(vault, IDENTITY),
            WHO_IDENTITY_IS,
        )
        return RefusedError(f"Key Vault refused {what}", cause=Cause.VAULT_FORBIDDEN, hint=hint)
    role = "Key Vault Secrets User" if name.endswith(_READ_ONLY) else "Key Vault Secrets Officer"
    hint = Step(
        "Assign the role, which works after some minutes: ",
        steps.assign_role(role, vault, name, IDENTITY),
        WHO_IDENTITY_IS,
    )
    known = VaultError if code == _NO_ROLE else RefusedError
    return known(f"Key Vault refused {what}", cause=Cause.VAULT_FORBIDDEN, hint=hint)


def disabled(name: str, url: str) -> VaultError:
    """Somebody disabled the secret's newest version, which nobody can read then."""
    return VaultError(
        f"the newest version of secret {name} in {url} is disabled",
        cause=Cause.SECRET_DISABLED,
        hint=Step("Store a new value, or enable this one: ", steps.enable_secret(vault_name(url), name)),
    )


def kept_out(what: str, url: str) -> VaultError:
    """The vault's firewall does not let this machine in."""
    message = f"the network rules of {url} keep this address out ({what})"
    hint = Step("Let the app's network through (docs/azure.md). A laptop: ", steps.let_address_in(vault_name(url)))
    return VaultError(message, cause=Cause.VAULT_FORBIDDEN, hint=hint)


def vault_name(url: str) -> str:
    """What the Azure CLI calls a vault: the first label of its host."""
    return urlsplit(url).netloc.partition(".vault.")[0]


def not_its_own(operation: str, name: str, url: str, *, kind: str = "secret") -> VaultError:
    """The answer cannot be read, or tells of something else: it comes, most likely, from something on the way."""
    return VaultError(
        f"Key Vault answered something that is not its own ({operation} of {kind} {name} in {url})",
        cause=Cause.VAULT_UNAVAILABLE,
        hint="The next tick tries again.",
        transient=True,
    )


def silent(
    operation: str, name: str, url: str, error: ServiceRequestError | ServiceResponseError, *, kind: str = "secret"
) -> VaultError:
    """No answer of the vault came, or a proxy said something in its place; of its words only the status is read."""
    proxy = proxy_for(url)
    message = f"{url} did not answer ({operation} of {kind} {name})"
    hint = "Check the vault's address, its firewall and the network; the next tick tries again."
    if proxy is not None:
        refused = _REFUSED_BY_PROXY.search(str(error))
        message = proxy.refuses(url, refused[1]) if refused else f"{message}{proxy.by_way_of}"
        hint = proxy.hint
    return VaultError(
        message,
        cause=Cause.VAULT_UNAVAILABLE,
        hint=hint,
        transient=True,
        sent=isinstance(error, ServiceResponseError),
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


def no_identity(retry_after: float | None = None) -> VaultError:
    """The identity endpoint gave no token."""
    return VaultError(
        "no token for Key Vault could be had from the identity endpoint",
        cause=Cause.IDENTITY_UNAVAILABLE,
        hint=Step("Check the app's managed identity and AZURE_CLIENT_ID. On a laptop: ", steps.log_in()),
        transient=True,
        retry_after=retry_after,
        sent=False,
    )


def inner_code(error: HttpResponseError) -> str | None:
    """The code inside of the code, where the vault gave one."""
    inner = getattr(error.error, "innererror", None)
    code = inner.get("code") if isinstance(inner, Mapping) else None
    return code if isinstance(code, str) else None


def retry_after_of(error: HttpResponseError, now: datetime) -> float | None:
    """Seconds that the vault asked to wait, where it did."""
    headers = getattr(error.response, "headers", None) or {}
    value = headers.get("Retry-After")
    return parse_retry_after(value, now) if isinstance(value, str) else None
