"""Obtains a token from ServiceNow by the grants of a plan, and keeps account of the refusals.

Before a request that could do harm if nobody remembered it, the record is written: a password counts as refused
until the answer says otherwise (so that crashes cannot lock the user out), and a refresh token that rotates is
marked as spent (so that its loss is recognized, and a vault that cannot be written never costs it).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import zip_longest
from typing import TYPE_CHECKING

from refresher.clock import Clock
from refresher.connection import Connection, JwtClaims
from refresher.diagnosis import diagnose
from refresher.errors import Cause, RefresherError, TokenEndpointError, TokenRejectedError
from refresher.oauth import TokenRequest, build_token_request
from refresher.policy import (
    PASSWORD_TRIES,
    GrantPlan,
    Urgency,
    may_fall_back,
    needs_person,
)
from refresher.probing import Attempts, Probe, Verdict
from refresher.record import RefreshRecord, StoredRefreshToken
from refresher.retry import Wait
from refresher.state import Credentials
from refresher.tokens import Grant, Secret, TokenResponse
from refresher.vault_errors import missing

if TYPE_CHECKING:
    from refresher.session import Session

_TRIES_AFTER_REFUSAL = 2
_GUEST = "guest"


@dataclass(slots=True, kw_only=True)
class Effort:
    """What has been done so far, for the report of a run that may fail at any step."""

    attempts: Attempts = field(default_factory=Attempts)
    grant: Grant | None = None
    grants_tried: tuple[Grant, ...] = ()
    record: RefreshRecord
    asked: bool = False
    """Whether ServiceNow was asked for a token."""
    failures: tuple[tuple[Grant, RefresherError], ...] = ()
    """Grants that failed before another one was tried, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Obtained:
    """A token that may be published, by which grant, and what the probe said of it."""

    response: TokenResponse
    grant: Grant
    probe: Probe | None


class CredentialError(RefresherError):
    """What only one grant needs is missing, or cannot be read or used; another grant does without it."""


class AuthorizationRequiredError(RefresherError):
    """Only a person can help: there is nothing left that this program may try."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The circumstances of a run that the fallback depends on."""

    urgency: Urgency
    force: bool
    on_progress: Callable[[str], None]


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
        keep_refresh_token: Callable[[TokenResponse, Grant], StoredRefreshToken | None],
        vault_url: str,
    ) -> None:
        self._connection = connection
        self._session = session
        self._credentials = credentials
        self._clock = clock
        self._effort = effort
        self._save_record = save_record
        self._keep_refresh_token = keep_refresh_token
        self._vault_url = vault_url

    def obtain(self, plan: GrantPlan, conditions: Conditions) -> Obtained:
        """Try the plan's grants in order until one yields a token that may be published.

        Raises AuthorizationRequiredError, or the error of the last grant tried.
        """
        if plan.blocked is not None:
            message = f"connection {self._connection.name} has no grant left that may be tried"
            raise AuthorizationRequiredError(message, cause=plan.blocked)
        failure: RefresherError
        for grant, following in zip_longest(plan.grants, plan.grants[1:]):
            try:
                return self._obtain_by(grant, conditions)
            except TokenEndpointError as error:
                failure = self._account(grant, error) or error
                goes_on = self._goes_on(error, grant, following, conditions)
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

        effort.attempts.answer_lost = grant is Grant.REFRESH_TOKEN and effort.record.may_be_spent(self._version())
        self._prepare(grant)
        conditions.on_progress(f"asking {self._connection.instance_url} for a token (grant {grant})")
        response = self._session.request_token(
            build,
            refusals_tolerated=self._refusals_tolerated(grant),
            attempts=effort.attempts,
            repeat_lost_answers=grant is not Grant.PASSWORD,
            on_wait=lambda wait: conditions.on_progress(_describe(wait)),
        )
        effort.record = self._forgiven(grant)
        kept = self._keep_refresh_token(response, grant)
        self._credentials = replace(self._credentials, refresh_token=kept)
        conditions.on_progress("trying the new token")
        return Obtained(response=response, grant=grant, probe=check_token(self._connection, self._session, response))

    def _request_builder(self, grant: Grant) -> Callable[[], TokenRequest]:
        connection, credentials, name = self._connection, self._credentials, self._connection.name
        unreadable = credentials.errors.get(grant)
        if unreadable is not None:
            raise _credential_error(unreadable)
        match grant:
            case Grant.REFRESH_TOKEN:
                token = credentials.refresh_token
                return lambda: build_token_request(
                    connection, grant, credentials.client, refresh_token=token.value if token else None
                )
            case Grant.PASSWORD:
                if credentials.password is None:
                    message = f"secrets {connection.username_name} and {connection.password_name} are not both there"
                    hint = f"Store the integration user of {name}: python -m refresher authorize {name} "
                    hint += "--grant password --store"
                    raise CredentialError(message, cause=Cause.SECRET_MISSING, hint=hint)
                return lambda: build_token_request(
                    connection, grant, credentials.client, password=credentials.password
                )
            case Grant.JWT_BEARER:
                key, claims = credentials.jwt_key, connection.jwt
                if key is None:
                    raise _credential_error(missing(connection.jwt_key_name, self._vault_url))
                if claims is None:
                    message = "a connection with grant jwt_bearer has claims"
                    raise ValueError(message)
                return lambda: self._jwt_request(key, claims)
            case Grant.CLIENT_CREDENTIALS:
                return lambda: build_token_request(connection, grant, credentials.client)
            case Grant.AUTHORIZATION_CODE:
                message = "authorization_code needs a person; settings do not admit it"
                raise ValueError(message)

    def _jwt_request(self, key: Secret, claims: JwtClaims) -> TokenRequest:
        from refresher.jwt_bearer import build_assertion  # noqa: PLC0415 - PyJWT loads cryptography

        client_id, now, jti = self._credentials.client.client_id, self._clock.now(), self._clock.new_id()
        try:
            assertion = build_assertion(key, claims, client_id, now=now, jti=jti)
        except RefresherError as error:
            unusable = _credential_error(error)
        else:
            return build_token_request(
                self._connection, Grant.JWT_BEARER, self._credentials.client, assertion=assertion
            )
        raise unusable

    def _prepare(self, grant: Grant) -> None:
        record = self._effort.record
        version = self._credentials.password_version
        if grant is Grant.PASSWORD and version is not None:
            tries = record.password_refusals_of(version) + 1
            record = record.before_attempt(self._clock.now()).with_password_refusals(version, tries)
        elif grant is Grant.REFRESH_TOKEN and record.rotates:
            record = record.before_attempt(self._clock.now()).with_spent_refresh_token(self._version())
        else:
            return
        self._save_record(record)
        self._effort.record = record

    def _version(self) -> str | None:
        token = self._credentials.refresh_token
        return token.version if token is not None else None

    def _refusals_tolerated(self, grant: Grant) -> int:
        if grant is Grant.PASSWORD:
            return 0
        token = self._credentials.refresh_token
        known = grant is Grant.REFRESH_TOKEN and token is not None
        if known and self._effort.record.refresh_token_refusals_of(token.version if token else None):
            return 0
        return _TRIES_AFTER_REFUSAL

    def _account(self, grant: Grant, error: TokenEndpointError) -> AuthorizationRequiredError | None:
        """Note the refusal in the record; the error to raise instead where a person must act."""
        record, token = self._effort.record, self._credentials.refresh_token
        refusals = 0
        if grant is Grant.REFRESH_TOKEN and token is not None and error.refused:
            refusals = record.refresh_token_refusals_of(token.version)
            if error.cause is not Cause.INVALID_CLIENT:
                refusals += 1
                self._effort.record = record.with_refresh_token_refusals(token.version, refusals)
        if grant is Grant.PASSWORD:
            self._account_password(error)
            if self._effort.record.password_refusals_of(self._credentials.password_version) >= PASSWORD_TRIES:
                return _authorization_required(error, Cause.PASSWORD_REFUSED)
        lost = self._effort.attempts.answer_lost and record.rotates and grant is Grant.REFRESH_TOKEN
        if grant is Grant.REFRESH_TOKEN:
            spent = self._version() if lost else None
            self._effort.record = self._effort.record.with_spent_refresh_token(spent)
        if error.refused and error.cause is not Cause.INVALID_CLIENT and lost:
            return _authorization_required(error, Cause.ROTATED_TOKEN_LOST)
        if not needs_person(error, refresh_token_refusals=refusals, grants_tried=self._effort.grants_tried):
            return None
        return _authorization_required(error, Cause.REFRESH_TOKEN_REFUSED)

    def _account_password(self, error: TokenEndpointError) -> None:
        record, version = self._effort.record, self._credentials.password_version
        if version is None:
            return
        tries = record.password_refusals_of(version)
        if error.cause is Cause.INVALID_GRANT:
            tries = PASSWORD_TRIES
        elif not error.refused or error.cause is Cause.INVALID_CLIENT:
            tries -= 1
        self._effort.record = record.with_password_refusals(version, max(0, tries))

    def _goes_on(
        self, error: TokenEndpointError, grant: Grant, following: Grant | None, conditions: Conditions
    ) -> bool:
        token = self._credentials.refresh_token
        refusals = self._effort.record.refresh_token_refusals_of(token.version if token else None)
        return may_fall_back(
            error,
            refusals_before=max(0, refusals - 1) if grant is Grant.REFRESH_TOKEN else 0,
            urgency=conditions.urgency,
            force=conditions.force,
            answer_lost=self._effort.attempts.answer_lost and self._effort.record.rotates,
            next_is_sound=following is Grant.REFRESH_TOKEN and refusals == 0,
        )

    def _forgiven(self, grant: Grant) -> RefreshRecord:
        record, version = self._effort.record, self._credentials.password_version
        if grant is Grant.PASSWORD and version is not None:
            record = record.with_password_refusals(version, 0)
        if grant is Grant.REFRESH_TOKEN:
            record = record.with_refresh_token_refusals("", 0).with_spent_refresh_token(None)
        return record


def check_token(connection: Connection, session: "Session", response: TokenResponse) -> Probe | None:
    """Try a new token before it is published; None where no probe is configured. Raises TokenRejectedError."""
    if connection.probe_path is None:
        return None
    probe = session.probe(response.access_token.value)
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


def _authorization_required(error: TokenEndpointError, cause: Cause) -> AuthorizationRequiredError:
    return AuthorizationRequiredError(error.message, cause=cause, transaction_id=error.transaction_id)


def _describe(wait: Wait) -> str:
    return f"{wait.error.message}; try {wait.next_attempt} in {wait.seconds:.1f} s"
