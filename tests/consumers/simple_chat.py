"""A model of what Simple Chat does with the Token field of an action: it reads a name's secret, and deletes it."""

import re

from azure.core.exceptions import AzureError
from azure.identity import ManagedIdentityCredential
from azure.keyvault.secrets import SecretClient

SOURCES = ("action", "action-addset", "agent", "model-endpoint", "other")
SCOPES = ("global", "user", "group")
MAX_NAME_LENGTH = 127
NAME = re.compile(rf"^.+--({'|'.join(SOURCES)})--({'|'.join(SCOPES)})--.+$")


def is_reference(token_field: str) -> bool:
    """Whether Simple Chat takes the text for the name of a secret, and not for a token."""
    return len(token_field) <= MAX_NAME_LENGTH and NAME.match(token_field) is not None


class SimpleChat:
    """Simple Chat with its own vault, read by a client of its own."""

    def __init__(self, vault_url: str) -> None:
        self._client = SecretClient(vault_url, ManagedIdentityCredential(), retry_total=0)

    def bearer(self, token_field: str) -> str:
        """What it sends as bearer token: the secret's newest version; the field as it stands, where reading fails."""
        if not is_reference(token_field):
            return token_field
        try:
            return self._client.get_secret(token_field).value or token_field
        except AzureError:
            return token_field

    def delete_action(self, token_field: str) -> None:
        """Deleting an action soft-deletes the secret that its Token field names."""
        if is_reference(token_field):
            self._client.begin_delete_secret(token_field)

    def close(self) -> None:
        """End its connections."""
        self._client.close()
