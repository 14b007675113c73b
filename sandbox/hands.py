"""What only people can do, on the consoles of ServiceNow and Azure: over HTTP, for whoever repairs a sandbox.

`az` in a sandbox's shell (`sandbox/az.py`) and `curl` use it.
"""

import json
from collections.abc import Callable, Mapping, MutableMapping

from sandbox.personality import Personality
from sandbox.running import ConnectionSecrets, Sandbox

PREFIX = "/sandbox/"
FUNCTION_KEY = "sandbox-key"
MASTER_KEY = "sandbox-master-key"
"""Opens every function, and calls one by hand."""
_DEPLOYED = ("KEY_VAULT_URL", "SERVICENOW_ALLOW_CUSTOM_HOST", "SERVICENOW_INSTANCE_URL")


class Hands:
    """An administrator of both. `settings` holds the app settings, among others; `restart` makes the app read them."""

    def __init__(
        self,
        sandbox: Sandbox,
        secrets: ConnectionSecrets,
        settings: MutableMapping[str, str],
        restart: Callable[[], object] = lambda: None,
    ) -> None:
        self._sandbox = sandbox
        self._secrets = secrets
        self._settings = settings
        self._restart = restart
        self._names = {name for name in _DEPLOYED if name in settings}
        self._keys: dict[str, str] = {}

    def admits(self, key: str | None, function: str) -> bool:
        """Whether a key opens a function: the app's opens every one, a function's own that one."""
        return key is not None and key in {FUNCTION_KEY, MASTER_KEY, self._keys.get(function)}

    def handle(self, method: str, path: str, params: Mapping[str, str]) -> tuple[int, str]:
        """Do what is asked for; the status and a text."""
        status, text = 200, ""
        match method, path.removeprefix(PREFIX):
            case "GET", "system-log":
                text = "".join(f"{line}\n" for line in self._sandbox.instance.system_log)
            case "GET", "client-secret":
                text = self._secrets.application.client_secret
            case "POST", "wake":
                self._sandbox.instance.personality = Personality()
                text = "the instance is awake\n"
            case "POST", "grant":
                self._sandbox.vault.grant(params["secret"])
            case "GET", "state":
                text = "Running\n"
            case "POST", "restart":
                self._restart()
            case "POST", "function-key":
                self._keys[params["function"]] = f"sandbox-key-of-{params['function']}"
                text = json.dumps({"name": params["name"], "value": self._keys[params["function"]]})
            case "GET", "settings":
                text = self._listed()
            case "POST", "settings":
                self._settings.update(params)
                self._names |= params.keys()
                self._restart()
                text = self._listed()
            case _:
                status, text = 404, "there is no such thing here\n"
        return status, text

    def _listed(self) -> str:
        names = sorted(self._names)
        return json.dumps([{"name": name, "slotSetting": False, "value": self._settings[name]} for name in names])
