"""What only people can do, on the consoles of ServiceNow and Azure: over HTTP, for whoever repairs a sandbox.

`az` in a sandbox's shell (`sandbox.az`) and `curl` use it.
"""

from collections.abc import Mapping, MutableMapping

from sandbox.personality import Personality
from sandbox.running import ConnectionSecrets, Sandbox

PREFIX = "/sandbox/"
FUNCTION_KEY = "sandbox-key"


class Hands:
    """An administrator of both. `settings` are the app settings."""

    def __init__(self, sandbox: Sandbox, secrets: ConnectionSecrets, settings: MutableMapping[str, str]) -> None:
        self._sandbox = sandbox
        self._secrets = secrets
        self._settings = settings

    def handle(self, method: str, path: str, params: Mapping[str, str]) -> tuple[int, str]:
        """Do what is asked for; the status and a text."""
        match method, path.removeprefix(PREFIX):
            case "GET", "system-log":
                return 200, "".join(f"{line}\n" for line in self._sandbox.instance.system_log)
            case "GET", "client-secret":
                return 200, self._secrets.application.client_secret
            case "POST", "wake":
                self._sandbox.instance.personality = Personality()
                return 200, "the instance is awake\n"
            case "POST", "grant":
                self._sandbox.vault.grant(params["secret"])
                return 200, ""
            case "POST", "settings":
                self._settings.update(params)
                return 200, ""
            case _:
                return 404, "there is no such thing here\n"
