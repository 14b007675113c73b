"""One request at a time to an instance, by httpx: bounded in time and size, its errors translated.

Rules: no cookie is ever kept, since a token request made inside an API session fails; redirects are not followed;
bodies are read up to a limit. No URL with a query is logged or put into an error.
"""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from refresher.model.causes import Cause
from refresher.model.clock import Deadline
from refresher.model.errors import TokenEndpointError
from refresher.servicenow.oauth import LARGEST_BODY

ANSWER_TAKES = 5.0
"""Seconds. With less left nothing is asked for: an answer that nobody waits for can cost the refresh token."""
_CONNECT_TIMEOUT = 5.0
_READ_TIMEOUT = 12.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An answer as it came; the names of the headers in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Wire:
    """Keeps one connection while all goes well; after `disconnect` the next request opens a fresh one."""

    def __init__(
        self,
        deadline: Deadline,
        tls: ssl.SSLContext,
        transport: httpx.BaseTransport | None,
        turns: threading.Semaphore,
    ) -> None:
        self._deadline = deadline
        self._tls = tls
        self._transport = transport
        self._turns = turns
        self._client: httpx.Client | None = None

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        params: dict[str, str] | None = None,
    ) -> Answer:
        """Send a request and read its answer, when it is its turn. Raises TokenEndpointError where none came."""
        failure: TokenEndpointError
        with self._turn():
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

    @contextmanager
    def _turn(self) -> Iterator[None]:
        if not self._turns.acquire(timeout=max(0.0, self._deadline.remaining() - ANSWER_TAKES)):
            raise _no_answer(Cause.INSTANCE_TIMEOUT, sent=False)
        try:
            yield
        finally:
            self._turns.release()

    def _send_untranslated(
        self,
        method: str,
        url: str,
        headers: dict[str, str] | None,
        content: bytes | None,
        params: dict[str, str] | None,
    ) -> Answer:
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
                    self.disconnect()
                    break
                # What arrived by now may be all: a token that is thrown away can cost the refresh token.
                late = self._deadline.remaining() <= 0
            names = {name.lower(): value for name, value in response.headers.items()}
            return Answer(status=response.status_code, headers=names, body=bytes(body))

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

    def disconnect(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None


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
