"""Names that tests of the connection `servicenow` share: its secrets in the vault, its user, the endpoint it asks."""

from collections.abc import Sequence

from sandbox import Fault
from sandbox.faults import Action, Drop, Garbage, Respond, Stall

TOKEN = "servicenow-oauth-token"
TARGET = "servicenow--action--global--oauth-token"
"""The consumer's copy."""
REFRESH_TOKEN = "servicenow-refresh-token"
RECORD = "servicenow-refresh-record"
CLIENT_SECRET = "servicenow-client-secret"
PASSWORD = "servicenow-password"
USER = "servicenow.integration"
TOKEN_ENDPOINT = "/oauth_token.do"

_JSON = {"Content-Type": "application/json"}
UNREADABLE: Sequence[Action] = (
    Respond(500, _JSON, b'{"error": {"code": "InternalServerError", "message": "Try again"}}'),
    Respond(400, _JSON, b'{"error": {"code": "BadParameter", "message": "No"}}'),
    Respond(403, {"Content-Type": "text/html"}, b"<html>Blocked</html>"),
    Garbage(b"{}"),
    Garbage(b"["),
    Stall(),
    Drop(),
)
"""What a vault, or something on the way, may answer for one secret alone, again and again."""


def away_from(name: str, action: Action, method: str = "GET") -> Fault:
    """The vault answers everything but this, for good."""
    return Fault(service="vault", method=method, path=f"/secrets/{name}(/|$)", times=None, action=action)
