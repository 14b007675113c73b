"""The straight-line refresher that a guide suggests, as the yardstick.

Read three secrets, post the form, write two secrets; on the schedule `0 */50 * * * *`; no retry, no probe, no
fallback, clients made where they are used. It is written fairly: it checks the status and leaves the vault alone when
the answer is not JSON with a token.
"""

import httpx
from azure.core.credentials import TokenCredential
from azure.identity import DefaultAzureCredential
from azure.keyvault.secrets import SecretClient


def refresh(
    vault_url: str,
    instance_url: str,
    name: str = "servicenow",
    *,
    credential: TokenCredential | None = None,
    client: SecretClient | None = None,
    transport: httpx.BaseTransport | None = None,
) -> None:
    """Refresh once. Raises whatever goes wrong, as a script would."""
    vault = client or SecretClient(vault_url, credential or DefaultAzureCredential())
    form = {
        "grant_type": "refresh_token",
        "client_id": vault.get_secret(f"{name}-client-id").value or "",
        "client_secret": vault.get_secret(f"{name}-client-secret").value or "",
        "refresh_token": vault.get_secret(f"{name}-refresh-token").value or "",
    }
    with httpx.Client(transport=transport) as http:
        response = http.post(f"{instance_url}/oauth_token.do", data=form)
    if not response.is_success:
        message = f"oauth_token.do answered {response.status_code}"
        raise RuntimeError(message)
    tokens = response.json()
    vault.set_secret(f"{name}-oauth-token", tokens["access_token"])
    vault.set_secret(f"{name}-refresh-token", tokens["refresh_token"])
