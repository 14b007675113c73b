"""The instance, over HTTPS: token requests with retries, the probe, revocation.

Rules (ServiceNow, checked against public sources): no cookie is ever kept, since a token request made inside an
API session fails; no `Authorization` header on the token endpoint; redirects are not followed; every try after a
failure uses a fresh connection; bodies are read up to a limit. No URL with a query is logged or put into an error.
"""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Self

import httpx

from refresher.clock import Clock, Deadline
from refresher.errors import Cause, RefresherError, TokenEndpointError
from refresher.oauth import LARGEST_BODY, TokenRequest, is_token, parse_probe_user, parse_token_response
from refresher.retry import Wait, retrying
from refresher.settings import SYS_USER_PROBE, Connection
from refresher.tokens import Grant, Secret, TokenResponse

_OWN_USER = "getUserName"
"""What a probe's path asks for where its answer is about the token's own user, and not about any."""
PROBE_ALIVE = frozenset({200, 403, 404})
_REVOCATION_ANSWERS = frozenset({200, 400, 404})
_PASSING = frozenset({429, *range(500, 600)})
_CONNECT_TIMEOUT = 5.0
_READ_TIMEOUT = 12.0
_TOKEN_ATTEMPTS = 4
_ANSWER_TAKES = 2.0
"""Seconds. With less left no token is asked for: an answer that nobody waits for can cost the refresh token."""
_PROBE_ATTEMPTS = 2


class Verdict(StrEnum):
    """What the API says of an access token."""

    ACCEPTED = "accepted"
    REJECTED = "rejected"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """Answer of the probe; `user_name` where it told who the token acts as."""

    verdict: Verdict
    user_name: str | None = None
    transaction_id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Greeting:
    """What the token endpoint said to a request without credentials: the cause of its refusal, and its clock."""

    cause: Cause
    date: datetime | None


@dataclass(slots=True, kw_only=True)
class Attempts:
    """What happened while a token was requested, for the report: tries made, and whether an answer was lost."""

    made: int = 0
    answer_lost: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    status: int
    headers: dict[str, str]
    body: bytes


class ServiceNow:
    """Opens sessions with instances. One per process: it keeps the trusted certificates, which are slow to load."""

    def __init__(self, clock: Clock, *, transport: httpx.BaseTransport | None = None) -> None:
        self._clock = clock
        self._transport = transport
        self._tls: ssl.SSLContext | None = None

    def session(self, connection: Connection, deadline: Deadline) -> "Session":
        """A session for one run of one connection; close it (it is a context manager)."""
        if self._tls is None:
            self._tls = httpx.create_ssl_context()
        return Session(connection, self._clock, deadline, self._tls, self._transport)


class Session:
    """Requests of one run to one instance, on one connection while all goes well."""

    def __init__(
        self,
        connection: Connection,
        clock: Clock,
        deadline: Deadline,
        tls: ssl.SSLContext,
        transport: httpx.BaseTransport | None,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._deadline = deadline
        self._tls = tls
        self._transport = transport
        self._client: httpx.Client | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None
    ) -> None:
        self._disconnect()

    def request_token(
        self,
        build: Callable[[], TokenRequest],
        *,
        refusals_tolerated: int,
        attempts: Attempts,
        on_wait: Callable[[Wait], None],
        repeat_lost_answers: bool = True,
    ) -> TokenResponse:
        """Request a token; `build` makes each try's request (an assertion is good for one try only).

        Raises TokenEndpointError. The generic 401 is tried again until it came more than `refusals_tolerated` times.
        """
        refusals = 0

        def should_retry(error: RefresherError) -> bool:
            if isinstance(error, TokenEndpointError) and error.ambiguous:
                return refusals <= refusals_tolerated
            return error.transient and (repeat_lost_answers or not error.sent)

        if self._deadline.remaining() < _ANSWER_TAKES:
            message = "the time of the run was over before the ServiceNow instance could be asked"
            raise TokenEndpointError(message, cause=Cause.INSTANCE_TIMEOUT, transient=True, sent=False)
        loop = retrying(
            self._clock,
            self._deadline,
            attempts=_TOKEN_ATTEMPTS,
            takes=_ANSWER_TAKES,
            should_retry=should_retry,
            on_wait=on_wait,
        )
        for attempt in loop:
            with attempt:
                request = build()
                attempts.made += 1
                try:
                    return self._request_token_once(request)
                except TokenEndpointError as error:
                    self._disconnect()
                    refusals += error.ambiguous
                    attempts.answer_lost |= error.sent and error.cause in _WITHOUT_ANSWER
                    raise
        raise AssertionError  # pragma: no cover - tenacity returns or raises

    def _request_token_once(self, request: TokenRequest) -> TokenResponse:
        answer = self._send(
            "POST",
            request.url,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            content=request.body(),
        )
        return parse_token_response(
            answer.status, answer.headers, answer.body, now=self._clock.now(), grant=request.grant
        )

    def probe(self, access_token: Secret) -> Probe:
        """Ask the instance who the token acts as. Never raises: no answer means that it cannot be said."""
        try:
            for attempt in retrying(self._clock, self._deadline, attempts=_PROBE_ATTEMPTS):
                with attempt:
                    return self._probe_once(access_token)
        except TokenEndpointError:
            self._disconnect()
        return Probe(verdict=Verdict.UNKNOWN)

    def _probe_once(self, access_token: Secret) -> Probe:
        if not is_token(access_token):
            return Probe(verdict=Verdict.REJECTED)
        path = self._connection.probe_path or SYS_USER_PROBE
        headers = {"Accept": "application/json", "Authorization": f"Bearer {access_token.reveal()}"}
        answer = self._send("GET", f"{self._connection.instance_url}{path}", headers=headers)
        transaction_id = answer.headers.get("x-transaction-id")
        if answer.status in PROBE_ALIVE:
            tells = answer.status == httpx.codes.OK and _OWN_USER in path
            user_name = parse_probe_user(answer.body) if tells else None
            return Probe(verdict=Verdict.ACCEPTED, user_name=user_name, transaction_id=transaction_id)
        if answer.status == httpx.codes.UNAUTHORIZED:
            return Probe(verdict=Verdict.REJECTED, transaction_id=transaction_id)
        return Probe(verdict=Verdict.UNKNOWN, transaction_id=transaction_id)

    def greet(self) -> Greeting:
        """Send the token endpoint a request without credentials, which counts against nobody.

        Raises TokenEndpointError where no answer came.
        """
        for attempt in retrying(self._clock, self._deadline, attempts=_PROBE_ATTEMPTS):
            with attempt:
                return self._greet_once()
        raise AssertionError  # pragma: no cover - tenacity returns or raises

    def _greet_once(self) -> Greeting:
        answer = self._send(
            "POST",
            self._connection.token_endpoint,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            content=b"grant_type=refresh_token",
        )
        cause = Cause.NOT_A_TOKEN
        try:
            parse_token_response(
                answer.status, answer.headers, answer.body, now=self._clock.now(), grant=Grant.REFRESH_TOKEN
            )
        except TokenEndpointError as error:
            cause = error.cause
        return Greeting(cause=cause, date=_parse_date(answer.headers.get("date")))

    def revoke(self, token: Secret) -> bool:
        """Revoke a token; the token stands in the URL, as ServiceNow wants it. Returns whether it was known.

        Raises TokenEndpointError where the answer does not say that the token is dead now.
        """
        for attempt in retrying(self._clock, self._deadline, attempts=_TOKEN_ATTEMPTS):
            with attempt:
                return self._revoke_once(token)
        raise AssertionError  # pragma: no cover - tenacity returns or raises

    def _revoke_once(self, token: Secret) -> bool:
        answer = self._send("GET", self._connection.revocation_endpoint, params={"token": token.reveal()})
        if answer.status not in _REVOCATION_ANSWERS:
            message = f"the ServiceNow instance did not confirm the revocation (status {answer.status})"
            raise TokenEndpointError(
                message,
                cause=Cause.INSTANCE_ERROR,
                transient=answer.status in _PASSING,
                transaction_id=answer.headers.get("x-transaction-id"),
            )
        return answer.status == httpx.codes.OK

    def _send(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        params: dict[str, str] | None = None,
    ) -> _Answer:
        failure: TokenEndpointError
        try:
            return self._send_untranslated(method, url, headers, content, params)
        except httpx.TimeoutException as error:
            failure = _no_answer(Cause.INSTANCE_TIMEOUT, sent=not isinstance(error, httpx.ConnectTimeout))
        except httpx.ConnectError as error:
            failure = _certificate_refused() if _is_certificate_error(error) else _no_answer(sent=False)
        except httpx.HTTPError:
            failure = _no_answer()
        except httpx.InvalidURL:
            failure = _no_answer(sent=False)
        raise failure

    def _send_untranslated(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None,
        content: bytes | None,
        params: dict[str, str] | None,
    ) -> _Answer:
        remaining = max(0.1, self._deadline.remaining())
        timeout = httpx.Timeout(min(_READ_TIMEOUT, remaining), connect=min(_CONNECT_TIMEOUT, remaining))
        client = self._connect()
        with client.stream(method, url, headers=headers, content=content, params=params, timeout=timeout) as response:
            body, late = bytearray(), False
            for chunk in response.iter_bytes():
                if late:
                    message = "the body outlasts the run"
                    raise httpx.ReadTimeout(message)
                body += chunk
                if len(body) > LARGEST_BODY:
                    self._disconnect()
                    break
                # What arrived by now may be all: a token that is thrown away can cost the refresh token.
                late = self._deadline.remaining() <= 0
            names = {name.lower(): value for name, value in response.headers.items()}
            return _Answer(status=response.status_code, headers=names, body=bytes(body))

    def _connect(self) -> httpx.Client:
        if self._client is None:
            self._client = httpx.Client(
                verify=self._tls,
                transport=self._transport,
                cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
                follow_redirects=False,
                headers={"User-Agent": "servicenow-token-refresher"},
            )
        return self._client

    def _disconnect(self) -> None:
        if self._client is not None:
            self._client.close()
            self._client = None


def _parse_date(text: str | None) -> datetime | None:
    try:
        moment = parsedate_to_datetime(text) if text is not None else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo else None


_WITHOUT_ANSWER = frozenset({Cause.INSTANCE_UNREACHABLE, Cause.INSTANCE_TIMEOUT})


def _no_answer(cause: Cause = Cause.INSTANCE_UNREACHABLE, *, sent: bool = True) -> TokenEndpointError:
    what = "did not answer in time" if cause is Cause.INSTANCE_TIMEOUT else "could not be reached"
    if sent and cause is Cause.INSTANCE_UNREACHABLE:
        what = "closed the connection without an answer"
    return TokenEndpointError(f"the ServiceNow instance {what}", cause=cause, transient=True, sent=sent)


def _certificate_refused() -> TokenEndpointError:
    return TokenEndpointError(
        "the certificate of the ServiceNow instance is not trusted",
        cause=Cause.INSTANCE_UNREACHABLE,
        hint="Check the instance's address and any proxy that opens TLS; a private CA goes into SSL_CERT_FILE.",
        transient=True,
        sent=False,
    )


def _is_certificate_error(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False
