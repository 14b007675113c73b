"""Obtains a token from ServiceNow by the grants of a plan; `account` keeps account of the refusals."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import zip_longest
from typing import TYPE_CHECKING

from refresher.keyvault.credentials import Credentials
from refresher.model.causes import Cause, diagnose
from refresher.model.clock import Clock
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError, TokenEndpointError, TokenRejectedError, VaultError
from refresher.model.grants import CLIENT_ID, JWT_KEY, Grant
from refresher.model.stored import StoredRefreshToken
from refresher.model.tokens import Secret, TokenResponse
from refresher.policy.due import Urgency
from refresher.policy.grants import GrantPlan
from refresher.policy.record import RefreshRecord
from refresher.retry import Wait
from refresher.run.refusals import Account, Conditions, Effort
from refresher.servicenow.answers import Probe, Verdict
from refresher.servicenow.oauth import TokenRequest, build_token_request

if TYPE_CHECKING:
    from refresher.servicenow.session import Session

_GUEST = "guest"


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """A token that may be published, by which grant, and what the probe said of it."""

    response: TokenResponse
    grant: Grant
    probe: Probe | None


class CredentialError(RefresherError):
    """What only one grant needs is missing, or cannot be read or used; another grant does without it."""


class PasswordPausedError(CredentialError):
    """The password is not sent for a while, and there is no other grant."""


class AuthorizationRequiredError(RefresherError):
    """Only a person can help: there is nothing left that this program may try."""


class Obtainer:
    """One run's way to a token. `save_record` writes the record and raises VaultError where it cannot."""

    def __init__(
        self,
        connection: Connection,
        session: "Session",
        credentials: Credentials,
        clock: Clock,
        effort: Effort,
        *,
        save_record: Callable[[RefreshRecord], None],
        keep_refresh_token: Callable[[Secret | None, Grant], StoredRefreshToken | None],
    ) -> None:
        self._connection = connection
        self._session = session
        self._credentials = credentials
        self._clock = clock
        self._effort = effort
        self._save_record = save_record
        self._keep_refresh_token = keep_refresh_token
        self._account = Account(
            effort,
            refresh_token_version=credentials.refresh_token.version if credentials.refresh_token else None,
            password_version=credentials.password_version,
        )

    def obtain(self, plan: GrantPlan, conditions: Conditions) -> Obtained:
        """Try the plan's grants in order until one yields a token that may be published.

        Raises AuthorizationRequiredError, or the error of the last grant tried.
        """
        if plan.blocked is not None:
            raise _blocked(self._connection.name, plan.blocked, plan.until)
        failure: RefresherError
        for grant, following in zip_longest(plan.grants, plan.grants[1:]):
            try:
                return self._obtain_by(grant, conditions)
            except TokenEndpointError as error:
                cause = self._account.refused(grant, error)
                failure = _authorization_required(error, cause) if cause is not None else error
                goes_on = self._account.goes_on(error, grant, following, conditions)
            except CredentialError as error:
                failure, goes_on = error, True
            except TokenRejectedError as error:
                failure = error
                goes_on = conditions.force or conditions.urgency is Urgency.MANDATORY
            if following is None or not goes_on:
                raise failure
            self._effort.failures += ((grant, failure),)
        raise AssertionError  # pragma: no cover - a plan that is not blocked names a grant

    def _obtain_by(self, grant: Grant, conditions: Conditions) -> Obtained:
        effort = self._effort
        effort.grant, effort.grants_tried = grant, (*effort.grants_tried, grant)
        build_request = self._request_builder(grant)

        def build() -> TokenRequest:
            request = build_request()
            effort.asked = True
            return request

        effort.attempts.answer_lost = self._account.may_be_spent(grant)
        record = self._account.to_remember(grant, self._clock.now())
        if record is not None:
            self._save_record(record)
            effort.record = record

        def keep(received: Secret | None) -> None:
            kept = self._keep_refresh_token(received, grant)
            self._credentials = replace(self._credentials, refresh_token=kept)
            self._account.refresh_token_version = kept.version if kept is not None else None

        conditions.on_progress(f"asking {self._connection.instance_url} for a token (grant {grant})")
        response = self._session.request_token(
            build,
            refusals_tolerated=self._account.refusals_tolerated(grant, conditions.urgency),
            attempts=effort.attempts,
            repeat_lost_answers=not grant.row.careful,
            on_wait=lambda wait: conditions.on_progress(_describe(wait)),
            keep=keep,
        )
        self._account.accepted(grant)
        keep(response.refresh_token)
        conditions.on_progress("trying the new token")
        return Obtained(response=response, grant=grant, probe=check_token(self._connection, self._session, response))

    def _request_builder(self, grant: Grant) -> Callable[[], TokenRequest]:
        try:
            form = self._credentials.form(grant)
        except VaultError as error:
            unusable = _credential_error(error)
        else:
            if grant.row.signed:
                return lambda: self._signed_request(grant, form)
            # Put together anew for each try: an answer of no other use may have brought another refresh token.
            return lambda: build_token_request(self._connection, grant, self._credentials.form(grant))
        raise unusable

    def _signed_request(self, grant: Grant, form: Mapping[str, Secret | str]) -> TokenRequest:
        from refresher.servicenow.assertion import build_assertion  # noqa: PLC0415 - PyJWT loads cryptography

        claims, credentials = self._connection.jwt, self._credentials
        if claims is None:
            message = f"a connection with grant {grant} has claims"
            raise ValueError(message)
        now, jti = self._clock.now(), self._clock.new_id()
        try:
            key, client_id = credentials.required(JWT_KEY), credentials.required(CLIENT_ID)
            assertion = build_assertion(key, claims, client_id, now=now, jti=jti)
        except RefresherError as error:
            unusable = _credential_error(error)
        else:
            return build_token_request(self._connection, grant, {**form, "assertion": assertion})
        raise unusable


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


def _credential_error(error: RefresherError) -> CredentialError:
    return CredentialError(error.message, cause=error.cause, hint=error.hint, retry_after=error.retry_after)


def _blocked(name: str, cause: Cause, until: datetime | None) -> RefresherError:
    if until is None:
        return AuthorizationRequiredError(f"connection {name} has no grant left that may be tried", cause=cause)
    message = f"ServiceNow refused the password; it is sent again from {until:%H:%M:%S} UTC on"
    return PasswordPausedError(message, cause=cause)


def _authorization_required(error: TokenEndpointError, cause: Cause) -> AuthorizationRequiredError:
    return AuthorizationRequiredError(error.message, cause=cause, transaction_id=error.transaction_id)


def _describe(wait: Wait) -> str:
    return f"{wait.error.message}; try {wait.next_attempt} in {wait.seconds:.1f} s"
