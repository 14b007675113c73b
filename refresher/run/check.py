"""Whether a new token works: tried before it is published, and before what came with it takes a good one's place."""

from typing import TYPE_CHECKING

from refresher.entra.refusals import entra_refused
from refresher.model.causes import Cause, diagnose
from refresher.model.connection import Connection
from refresher.model.errors import TokenRejectedError
from refresher.model.grants import Grant
from refresher.model.tokens import TokenResponse
from refresher.servicenow.answers import Probe, Verdict

if TYPE_CHECKING:
    from refresher.servicenow.session import Session

_GUEST = "guest"


def check_token(connection: Connection, session: "Session", response: TokenResponse) -> Probe | None:
    """Try a new token before it is published; None where no probe is configured.

    Raises TokenRejectedError, also where neither ServiceNow's answer nor the probe says that the token lives.
    """
    probe = session.probe(response.access_token.value) if connection.probe_path is not None else None
    if not response.lifetime_stated and (probe is None or probe.verdict is Verdict.UNKNOWN):
        message = "ServiceNow did not say how long its token lives, and no probe that it does; it was not published"
        hint = "Set Access Token Lifespan in System OAuth > Application Registry; set PROBE_PATH, if it is empty."
        raise TokenRejectedError(
            message, cause=Cause.NOT_A_TOKEN, hint=hint, transient=True, transaction_id=response.transaction_id
        )
    if probe is None:
        return None
    if probe.verdict is Verdict.REJECTED and response.access_token.grant is Grant.ENTRA_ID:
        raise entra_refused(response.access_token.value, probe.transaction_id)
    if probe.verdict is Verdict.REJECTED:
        message = "ServiceNow issued a token that its own API refuses (401); it was not published"
        # Old releases answer client_credentials with a token of user guest, which every API call refuses.
        guest = response.access_token.grant is Grant.CLIENT_CREDENTIALS
        hint = diagnose(Cause.GUEST_TOKEN, connection.name).next_step if guest else ""
        raise TokenRejectedError(
            message, cause=Cause.TOKEN_REJECTED, hint=hint, transaction_id=response.transaction_id
        )
    if probe.user_name == _GUEST:
        message = "ServiceNow issued a token that acts as user guest; it was not published"
        raise TokenRejectedError(message, cause=Cause.GUEST_TOKEN, transaction_id=response.transaction_id)
    return probe
