"""Requests as they are, without an SDK that mends them: every rule is about what goes over the wire.

Nothing here prints an answer. A token goes to no host but the one that asked for it, and only over TLS.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

_CODE = re.compile(r"[A-Za-z_][A-Za-z_ ]{0,59}")
PATIENCE = 30.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """An answer. `headers` are lower-case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        """The object of a JSON body; empty where there is none."""
        try:
            value = json.loads(self.body)
        except ValueError:
            return {}
        return value if isinstance(value, dict) else {}

    @property
    def error(self) -> str:
        """Status and codes, for people; nothing else of the answer is fit to be printed."""
        return " ".join([str(self.status), *(code for code in self._codes() if code)])

    def _codes(self) -> tuple[str, ...]:
        error = self.json.get("error")
        if not isinstance(error, dict):
            return (printable(error), printable(self.json.get("error_description")))
        inner = error.get("innererror")
        return (printable(error.get("code")), printable(inner.get("code")) if isinstance(inner, dict) else "")


def printable(text: object) -> str:
    """A code of a service; anything that does not look like one is left out."""
    return text if isinstance(text, str) and _CODE.fullmatch(text) else ""


class Wire:
    """Sends requests, each on a connection of its own, so that no cookie of one reaches another."""

    def __init__(self) -> None:
        self._tls = httpx.create_ssl_context()

    def send(
        self,
        method: str,
        url: str,
        *,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
        body: object = None,
        form: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request; redirects are not followed. Raises httpx.HTTPError."""
        with httpx.Client(verify=self._tls, timeout=PATIENCE, follow_redirects=False) as client:
            response = client.request(method, url, params=params, headers=headers, json=body, data=form)
        return Reply(
            status=response.status_code,
            headers={name.lower(): value for name, value in response.headers.items()},
            body=response.content,
        )


def require_https(url: str) -> str:
    """The origin of an address. Raises ValueError where it is not https."""
    parts = urlsplit(url)
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.password:
        message = "an https address is expected, as https://NAME.vault.azure.net or https://NAME.service-now.com"
        raise ValueError(message)
    return f"https://{parts.netloc}"
