"""Obtains a token from ServiceNow by the grants of a plan, and keeps account of what each answer means."""

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext, suppress
from datetime import datetime
from functools import partial
from itertools import zip_longest
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from refresher.keyvault.credentials import Credentials
from refresher.model.causes import Cause
from refresher.model.connection import JwtClaims
from refresher.model.errors import (
    IdentityError,
    RefresherError,
    TokenEndpointError,
    TokenRejectedError,
    VaultError,
    next_step,
)
from refresher.model.grants import CLIENT_ID, JWT_KEY, Grant
from refresher.model.report import WarningCode
from refresher.model.tokens import Secret, TokenResponse
from refresher.policy.due import Urgency
from refresher.policy.grants import GrantPlan, may_fall_back
from refresher.policy.refusals import Sent, after_refusal, after_success, before_try, refusals_tolerated
from refresher.run.check import check_token
from refresher.run.failures import AuthorizationRequiredError, CredentialError, PasswordPausedError
from refresher.run.keep import Keeper, Obtained
from refresher.run.run import Run
from refresher.servicenow.assertion import build_assertion, build_assertion_elsewhere
from refresher.servicenow.oauth import TokenRequest, build_token_request

if TYPE_CHECKING:
    from refresher.servicenow.session import Session

_T = TypeVar("_T")
_counting: dict[tuple[str, str], Lock] = {}
"""By instance and user. Of two that counted at the same moment, each would send one, and together one too many."""


class Failed(NamedTuple):
    """A grant that yielded no token to publish, and whether the next one may be tried in the same run."""

    error: RefresherError
    goes_on: bool


AskIdentity = Callable[[], TokenResponse]


def obtain(
    run: Run, keeper: Keeper, session: "Session", plan: GrantPlan, urgency: Urgency, ask_identity: AskIdentity
) -> Obtained:
    """Try the plan's grants in order until one yields a token that may be published.

    Raises AuthorizationRequiredError, or the error of the last grant tried; VaultError where the record that must
    come first could not be written.
    """
    if plan.blocked is not None:
        raise _blocked(run, plan.blocked, plan.until)
    failures: list[tuple[Grant, RefresherError]] = []
    for grant, following in zip_longest(plan.grants, plan.grants[1:]):
        if grant.row.grant_type is None:
            result = _obtain_from_identity(run, session, grant, urgency, ask_identity)
        else:
            result = _obtain_by(run, keeper, session, grant, following, urgency)
        if isinstance(result, Obtained):
            _warn_of_failed_grants(run, failures, grant)
            return result
        failures.append((grant, result.error))
        if not result.goes_on:
            break
    *before, (_, error) = failures
    error.message += "".join(f"; before it, the grant {grant} failed: {other.message}" for grant, other in before)
    raise error


def _obtain_from_identity(
    run: Run, session: "Session", grant: Grant, urgency: Urgency, ask_identity: AskIdentity
) -> Obtained | Failed:
    run.grant = grant
    run.attempts.made += 1
    run.request.on_progress(f"asking Microsoft Entra for a token (grant {grant})")
    try:
        response = ask_identity()
        run.request.on_progress("trying the token")
        return Obtained(response=response, grant=grant, probe=check_token(run, session, response))
    except (IdentityError, TokenRejectedError) as error:
        return Failed(error, goes_on=run.request.force or urgency is Urgency.MANDATORY)


def _obtain_by(
    run: Run, keeper: Keeper, session: "Session", grant: Grant, following: Grant | None, urgency: Urgency
) -> Obtained | Failed:
    run.grant = grant
    now, untried = run.clock.now(), keeper.memory.record
    next_is_sound = following is Grant.REFRESH_TOKEN and not untried.refresh_token_refusals_of(
        keeper.sent(grant).refresh_token
    )
    try:
        if grant is Grant.REFRESH_TOKEN:
            # A successor must be storable before it is spent.
            _of_one_grant(keeper.succession.prove, only=Cause.VAULT_FORBIDDEN)
        sent = keeper.sent(grant)
        build = _request_builder(run, keeper, grant)
        run.attempts.answer_lost = sent.is_refresh and untried.may_be_spent(sent.refresh_token)
        with _alone_with(run.connection.instance_url, sent):
            if grant.row.sends_password and not run.request.force:
                masked = _sees_a_mask(run, keeper, session)
                if masked is not None:
                    return Failed(masked, goes_on=next_is_sound)
            keeper.memory.remember(before_try(untried, sent, now))
        run.request.on_progress(f"asking {run.connection.instance_url} for a token (grant {grant})")
        ask = partial(
            session.request_token,
            build,
            refusals_tolerated=refusals_tolerated(untried, sent, urgency),
            attempts=run.attempts,
            repeat_lost_answers=not grant.row.sends_password,
            on_progress=run.request.on_progress,
            keep=lambda received, doubtful: keeper.succession.keep(
                received, grant, doubtful=doubtful or not sent.is_refresh
            ),
            patient=sent.is_refresh and keeper.may_rotate(),
            insists=not run.request.again,
        )
        return _ask_and_try(run, keeper, session, sent, ask)
    except CredentialError as error:
        return Failed(error, goes_on=True)
    except TokenRejectedError as error:
        at_once = run.request.force or urgency is Urgency.MANDATORY
        return Failed(error, goes_on=at_once or following is Grant.REFRESH_TOKEN)
    except TokenEndpointError as error:
        refusal = error
    # An answer of no other use may have brought another refresh token: that is the one that was refused then.
    record, sent, lost = keeper.memory.record, keeper.sent(grant), run.attempts.answer_lost
    refusals_before = record.refresh_token_refusals_of(sent.refresh_token)
    keeper.memory.record, cause = after_refusal(
        record, sent, refusal, untried=untried.password, answer_lost=lost, counts=not run.request.again
    )
    goes_on = may_fall_back(
        refusal,
        refusals_before=refusals_before if sent.is_refresh else 0,
        urgency=urgency,
        force=run.request.force,
        answer_lost=lost and record.rotates,
        next_is_sound=next_is_sound,
    )
    # What meets a password alone is no reason to leave the refresh token out that still works.
    goes_on |= grant.row.sends_password and next_is_sound
    if cause is None:
        return Failed(refusal, goes_on)
    message, transaction_id = refusal.message, refusal.transaction_id
    return Failed(AuthorizationRequiredError(message, cause=cause, transaction_id=transaction_id), goes_on)


def _alone_with(instance_url: str, sent: Sent) -> AbstractContextManager[object]:
    """Let no other run of this process count the tries of the same user's password until this one is counted."""
    if not sent.grant.row.sends_password or sent.user is None:
        return nullcontext()
    return _counting.setdefault((instance_url, sent.user), Lock())


def _sees_a_mask(run: Run, keeper: Keeper, session: "Session") -> TokenEndpointError | None:
    """Why a password that was refused would not be seen to be, as far as that has to be asked.

    Raises CredentialError where it is not to be sent, VaultError where that cannot be read.
    """
    refusals, now = keeper.password_refusals(), run.clock.now()
    if not refusals.is_open(now):
        message = "the password was refused as often as is safe, here and by other connections of the same user"
        raise CredentialError(message, cause=Cause.PASSWORD_REFUSED)
    if not refusals.asks_the_way(now):
        return None
    run.attempts.made += 1
    try:
        refusal, _ = session.greet()
    except TokenEndpointError as error:
        return error
    if refusal is None:
        message = "a token came back for a request without credentials: that is not ServiceNow"
        return TokenEndpointError(message, cause=Cause.NOT_A_TOKEN)
    return None if refusal.refused else refusal


def _ask_and_try(
    run: Run,
    keeper: Keeper,
    session: "Session",
    sent: Sent,
    ask: Callable[[], TokenResponse],
    doubted: TokenResponse | None = None,
) -> Obtained:
    """Ask for tokens and try the access token; the refresh token is stored first where it may be the only one.

    Else one that came with an access token which the API refuses replaces none: after a refresh (`doubted`) the stored
    one is sent once more, and gives way only if it is refused, since it was spent then. Raises TokenEndpointError, and
    TokenRejectedError.
    """
    grant, succession = sent.grant, keeper.succession
    try:
        response = ask()
    except TokenEndpointError as error:
        if doubted is not None and error.grant_refused:
            succession.keep(doubted.refresh_token, grant)
        raise
    keeper.memory.record = after_success(keeper.memory.record, sent)
    succession.tell_of_a_mask(response)
    untried = keeper.may_have_spent(grant, response.refresh_token)
    if untried:
        succession.keep(response.refresh_token, grant)
    run.request.on_progress("trying the new token")
    try:
        probe = check_token(run, session, response)
    except TokenRejectedError as error:
        rejection = error
    else:
        if not untried:
            succession.keep(response.refresh_token, grant)
        return Obtained(response=response, grant=grant, probe=probe)
    if not untried and (rejection.cause is Cause.NOT_A_TOKEN or keeper.credentials.refresh_token is None):
        succession.keep(response.refresh_token, grant)
    elif not untried and sent.is_refresh and doubted is None:
        with suppress(TokenEndpointError):
            return _ask_and_try(run, keeper, session, sent, ask, response)
    raise rejection


def _of_one_grant(job: Callable[[], _T], *, only: Cause | None = None) -> _T:
    """What a job yields; what keeps it from that (`only` for this cause) leaves the other grants to be tried.

    Raises CredentialError.
    """
    try:
        return job()
    except RefresherError as error:
        if only is not None and error.cause is not only:
            raise
        unusable = CredentialError(error.message, cause=error.cause, hint=error.hint, retry_after=error.retry_after)
    raise unusable


def _request_builder(run: Run, keeper: Keeper, grant: Grant) -> Callable[[], TokenRequest]:
    form = _of_one_grant(lambda: keeper.credentials.form(grant))
    claims = run.connection.jwt
    if grant.row.signed and claims is not None:
        return lambda: _signed_request(run, keeper.credentials, claims, grant, form)
    # Put together anew for each try: an answer of no other use may have brought another refresh token.
    return lambda: build_token_request(run.connection, grant, keeper.credentials.form(grant))


def _signed_request(
    run: Run, credentials: Credentials, claims: JwtClaims, grant: Grant, form: Mapping[str, Secret | str]
) -> TokenRequest:
    now, jti = run.clock.now(), run.clock.new_id()

    def assertion() -> Secret:
        client_id, key = credentials.required(CLIENT_ID), credentials.signing_key
        if isinstance(key, VaultError):
            raise key
        if key is None:
            return build_assertion(credentials.required(JWT_KEY), claims, client_id, now=now, jti=jti)
        version = key.described.version
        return build_assertion_elsewhere(
            lambda message: key.sign(message, run.deadline), version, claims, client_id, now=now, jti=jti
        )

    return build_token_request(run.connection, grant, {**form, "assertion": _of_one_grant(assertion)})


def _blocked(run: Run, cause: Cause, until: datetime | None) -> RefresherError:
    if until is None:
        message = f"connection {run.connection.name} has no grant left that may be tried"
        token = run.side.access_token if run.side is not None else None
        if token is not None and token.revoked:
            message = f"the tokens were revoked; {message}"
        return AuthorizationRequiredError(message, cause=cause)
    message = f"the password was not accepted; it is sent again from {until:%H:%M:%S} UTC on"
    return PasswordPausedError(message, cause=cause)


def _warn_of_failed_grants(run: Run, failures: list[tuple[Grant, RefresherError]], served: Grant) -> None:
    """A refresh token that gives way is what a fallback grant is for; one that does not work itself is news."""
    for grant, error in failures:
        if grant is not Grant.REFRESH_TOKEN:
            run.warn(
                WarningCode.GRANT_FAILED,
                f"the grant {grant} failed, and {served} served instead: {error.message}",
                next_step(error, run.connection.name),
            )
