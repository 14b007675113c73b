"""What keeps a whole vault away, whatever is asked: the network, something on the way, its firewall, its tenant.

A role helps in none of these cases, and none of these sentences proposes one.
"""

import ipaddress
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlsplit

from azure.core.exceptions import HttpResponseError, ServiceRequestError, ServiceResponseError

from refresher.model import steps
from refresher.model.causes import Cause
from refresher.model.errors import VaultError
from refresher.model.steps import Step
from refresher.network.failures import told, trouble_of
from refresher.network.proxies import proxy_for

_ISSUER = r"https://sts\.[\w.-]{1,60}/([0-9a-fA-F-]{36})/"
_OTHER_TENANT = re.compile(rf"AKV10032.*?{_ISSUER}.*found {_ISSUER}", re.DOTALL)
"""`Invalid issuer. Expected one of …, found …` (https://github.com/Azure/azure-sdk-for-js/issues/6221)."""
_AKV = re.compile(r"AKV[0-9]{5}")
_CLIENT_ADDRESS = re.compile(r"Client address: ([0-9A-Fa-f.:]{3,45})")
_REFUSED_BY_PROXY = re.compile(r"Tunnel connection failed: ([0-9]{3})")
NETWORK = frozenset({"ForbiddenByFirewall", "ForbiddenByConnection"})


class Asked(NamedTuple):
    """What a vault was asked for: an operation on a secret or a key, which is its `kind`."""

    operation: str
    kind: str
    name: str
    url: str

    def __str__(self) -> str:
        return f"{self.operation} of {self.kind} {self.name} in {self.url}"


def of_the_vault(asked: Asked, error: HttpResponseError) -> VaultError | None:
    """Why the vault lets nobody in who asks as this one did, or from there; None where it is about a role."""
    if inner_code(error) in NETWORK:
        address = _address_in(error.message or "")
        who = f"the address {address}" if address else "this address"
        message = f"the network rules of {asked.url} keep {who} out ({asked})"
        lead = "If the app asked: let its network through, for its addresses change (docs/azure.md). If a laptop did: "
        hint = Step(lead, steps.let_address_in(vault_name(asked.url), address or "ADDRESS"))
        return VaultError(message, cause=Cause.VAULT_FORBIDDEN, hint=hint)
    if error.status_code != HTTPStatus.UNAUTHORIZED:
        return None
    tenants = _OTHER_TENANT.search(error.message or "")
    if tenants is not None:
        return VaultError(
            f"{asked.url} belongs to tenant {tenants[1]}, and the identity's token is of tenant {tenants[2]} "
            f"({asked}; AKV10032)",
            cause=Cause.VAULT_FORBIDDEN,
            hint=Step(
                "No role helps. On a laptop, sign in to the vault's tenant: ",
                steps.log_in(tenants[1]),
                ". For the app, KEY_VAULT_URL has to name a vault of its own tenant, or the app has to run in the "
                "vault's.",
            ),
        )
    code = _AKV.search(error.message or "")
    return VaultError(
        f"{asked.url} does not take the identity's token (401{f', {code[0]}' if code else ''}; {asked})",
        cause=Cause.VAULT_FORBIDDEN,
        hint=Step(
            "No role helps: the token is of another tenant or another cloud than the vault, or something on the way "
            "took it out. See KEY_VAULT_URL, and on a laptop who is signed in: ",
            steps.log_in(),
        ),
    )


def _address_in(message: str) -> str | None:
    """That of whoever asked, as the vault's firewall tells it."""
    found = _CLIENT_ADDRESS.search(message)
    try:
        return str(ipaddress.ip_address(found[1])) if found else None
    except ValueError:
        return None


def is_its_own(error: HttpResponseError) -> bool:
    """Whether the answer is Key Vault's: an error of its own is JSON with a code, whatever its status is."""
    return bool(getattr(error.error, "code", None))


def not_its_own(asked: Asked, *, status: int | None = None, retry_after: float | None = None) -> VaultError:
    """The answer cannot be read, or tells of something else: it comes, most likely, from something on the way."""
    host, proxy = urlsplit(asked.url).hostname, proxy_for(asked.url)
    blocks = status is not None and HTTPStatus.BAD_REQUEST <= status < HTTPStatus.INTERNAL_SERVER_ERROR
    way = (
        f"the proxy that {proxy.variable} names, or something behind it" if proxy else "a proxy or firewall on the way"
    )
    return VaultError(
        f"Key Vault answered something that is not its own{f' (status {status})' if status else ''}: it comes, most "
        f"likely, from {way} ({asked})",
        cause=Cause.VAULT_UNAVAILABLE,
        hint=f"No role helps. Let {host} through there{', or name it in NO_PROXY' if proxy else ''}. Is KEY_VAULT_URL "
        "the vault itself?",
        transient=not blocks,
        retry_after=retry_after,
    )


def silent(asked: Asked, error: ServiceRequestError | ServiceResponseError) -> VaultError:
    """No answer of the vault came, or a proxy said something in its place; of its words only the status is read."""
    url = asked.url
    proxy, trouble = proxy_for(url), trouble_of(error, url, "REQUESTS_CA_BUNDLE")
    hint = "Check the vault's address, its firewall and the network."
    message, hint = told(url, "did not answer", hint, trouble, proxy)
    refused = _REFUSED_BY_PROXY.search(str(error))
    if proxy is not None and refused and not (trouble and trouble.of_certificate):
        message = proxy.refuses(url, refused[1])
    return VaultError(
        f"{message} ({asked.operation} of {asked.kind} {asked.name})",
        cause=Cause.VAULT_UNAVAILABLE,
        hint=hint,
        transient=True,
        sent=isinstance(error, ServiceResponseError),
    )


def inner_code(error: HttpResponseError) -> str | None:
    """The code inside of the code, where the vault gave one."""
    inner = getattr(error.error, "innererror", None)
    code = inner.get("code") if isinstance(inner, Mapping) else None
    return code if isinstance(code, str) else None


def vault_name(url: str) -> str:
    """What the Azure CLI calls a vault: the first label of its host."""
    return urlsplit(url).netloc.partition(".vault.")[0]
