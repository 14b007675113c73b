"""Whether a new token works: tried before it is published, and before what came with it takes a good one's place."""

from typing import TYPE_CHECKING

from refresher.entra.refusals import entra_refused
from refresher.model.causes import Cause, diagnose
from refresher.model.errors import TokenRejectedError
from refresher.model.grants import Grant
from refresher.model.tokens import Secret, TokenResponse
from refresher.run.run import Run
from refresher.servicenow.answers import REFUSALS_APART, TRIAL_TAKES, Probe, Verdict

if TYPE_CHECKING:
    from refresher.servicenow.session import Session

_GUEST = "guest"


def check_token(run: Run, session: "Session", response: TokenResponse) -> Probe | None:
    """Try a new token, and once more where it is refused; None where no probe is configured.

    Raises TokenRejectedError, also where neither ServiceNow's answer nor the probe says that the token lives.
    """
    connection, token = run.connection, response.access_token.value
    probe = session.probe(token) if connection.probe_path is not None else None
    if probe is not None and probe.verdict is Verdict.REJECTED:
        probe = _tried_again(run, session, token, probe)
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


def _tried_again(run: Run, session: "Session", token: Secret, first: Probe) -> Probe:
    """The answer to a second trial on a fresh connection: only that it is accepted takes a refusal back."""
    if run.deadline.remaining() <= REFUSALS_APART + TRIAL_TAKES:
        return first
    run.clock.sleep(REFUSALS_APART)
    second = session.probe(token)
    return second if second.verdict is Verdict.ACCEPTED else first
