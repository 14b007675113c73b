"""One request at a time to an instance, by httpx: bounded in time and size, its errors translated.

Rules: no cookie is ever kept, since a token request made inside an API session fails; redirects are not followed;
a request is over within its time, and an answer is read up to a limit, whatever the peer does. No URL with a query is
logged or put into an error.
"""

import re
import ssl
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import cast

import httpx

from refresher.model.causes import Cause
from refresher.model.clock import Clock, Deadline
from refresher.model.errors import TokenEndpointError
from refresher.model.moments import parse_retry_after, pause_text
from refresher.model.version import USER_AGENT
from refresher.network.failures import Trouble, told, trouble_of
from refresher.network.proxies import Proxy, proxy_for
from refresher.network.sockets import TooLargeError, limit, unfold
from refresher.servicenow.contents import LARGEST_BODY, find_refresh_token
from refresher.servicenow.transport import make_transport
from refresher.servicenow.turns import Turns

_INSTANCE = "the ServiceNow instance"
_TOO_MANY_REQUESTS = 429
_CONNECT_TIMEOUT = 5.0
_REQUEST_TAKES = 17.0
"""At the most, from the first step of a connection to the last byte of the answer."""


@dataclass(slots=True, kw_only=True)
class Answer:
    """An answer, as far as it has arrived; the names of the headers in lower case."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    received: bytearray = field(default_factory=bytearray)
    heard: bytearray = field(default_factory=bytearray)
    """All that came over the connection, which need not be HTTP."""

    @property
    def body(self) -> bytes:
        """The body as it was before it was encoded."""
        return unfold(bytes(self.received), self.headers.get("content-encoding"), LARGEST_BODY + 1)


class Wire:
    """Keeps one connection while all goes well; after `disconnect` the next request opens a fresh one."""

    def __init__(
        self,
        connection: str,
        clock: Clock,
        deadline: Deadline,
        tls: ssl.SSLContext,
        transport: httpx.BaseTransport | None,
        turns: Turns,
        *,
        answer_takes: float,
    ) -> None:
        self._connection = connection
        self._clock = clock
        self._deadline = deadline
        self._answer_takes = answer_takes
        self._tls = tls
        self._transport = transport
        self.turns = turns
        self._client: httpx.Client | None = None

    def send(
        self,
        method: str,
        url: str,
        *,
        headers: dict[str, str] | None = None,
        content: bytes | None = None,
        params: dict[str, str] | None = None,
        patient: bool = False,
        later: bool = False,
    ) -> Answer:
        """Send a request and read its answer, when it is its turn. Raises TokenEndpointError where none came.

        A `patient` one is waited for until the deadline. One that can come `later` lets those go first on which a
        token depends.
        """
        failure: TokenEndpointError
        answer = Answer()
        with self._turn(later=later):
            proxy = proxy_for(url)
            try:
                client = self._connect(proxy)
                seconds = max(0.1, self._deadline.remaining())
                seconds = seconds if patient else min(_REQUEST_TAKES, seconds)
                timeout = httpx.Timeout(seconds, connect=min(_CONNECT_TIMEOUT, seconds))
                request = client.build_request(
                    method, url, headers=headers, content=content, params=params, timeout=timeout
                )
                self._receive(answer, client, request, seconds)
                return answer
            except httpx.TimeoutException as error:
                sent = not isinstance(error, httpx.ConnectTimeout)
                failure = _no_answer(Cause.INSTANCE_TIMEOUT, proxy, sent=sent, trouble=_trouble(error, url))
            except httpx.ProxyError as error:
                failure = _refused_by_proxy(str(error), proxy)
            except httpx.ConnectError as error:
                failure = _no_answer(proxy=proxy, sent=False, trouble=_trouble(error, url))
            except httpx.HTTPError as error:
                too_large, no_http = _stems_from(error, TooLargeError), bool(_heard(answer))
                failure = _too_much() if too_large else _no_answer(proxy=proxy, no_http=no_http)
            except httpx.InvalidURL:
                failure = _no_answer(sent=False)
        failure.refresh_token, failure.doubtful = find_refresh_token(answer.status, answer.body or _heard(answer))
        raise failure

    @contextmanager
    def _turn(self, *, later: bool) -> Iterator[None]:
        patience = max(0.0, self._deadline.remaining() - self._answer_takes)
        pause = self.turns.pause_of(self._connection)
        if pause > patience:
            raise _told_to_wait(pause, self.turns.asked_of(self._connection))
        if pause > 0:
            self._clock.sleep(pause)
        with self.turns.take(patience - pause, later=later) as came:
            if not came:
                raise _no_answer(Cause.INSTANCE_TIMEOUT, sent=False)
            yield

    def _receive(self, answer: Answer, client: httpx.Client, request: httpx.Request, seconds: float) -> None:
        with limit(seconds, answer.heard), closing(client.send(request, stream=True)) as response:
            answer.status = response.status_code
            answer.headers = {name.lower(): value for name, value in response.headers.items()}
            for chunk in cast("httpx.SyncByteStream", response.stream):  # as it was sent: `unfold` has a bound
                answer.received += chunk
                if len(answer.received) > LARGEST_BODY:
                    self.disconnect()
                    break
            if answer.status == _TOO_MANY_REQUESTS:
                asked, date = answer.headers.get("retry-after"), answer.headers.get("date")
                pause = parse_retry_after(asked, self._clock.now(), date)
                self.turns.pause(self._connection, pause)

    def _connect(self, proxy: Proxy | None) -> httpx.Client:
        if self._client is None:
            self._client = httpx.Client(
                transport=self._transport or make_transport(self._tls, proxy),
                cookies=CookieJar(policy=DefaultCookiePolicy(allowed_domains=[])),
                follow_redirects=False,
                trust_env=False,
                headers={"User-Agent": USER_AGENT, "Accept-Encoding": "identity"},
            )
        return self._client

    def disconnect(self) -> None:
        """Close the connection, if there is one."""
        if self._client is not None:
            self._client.close()
            self._client = None


_HEAD_ENDS = re.compile(rb"\r?\n\r?\n")
_CHUNK_BEGINS = re.compile(rb"\A[0-9A-Fa-f]{1,8}[^\r\n]*\r?\n")


def _heard(answer: Answer) -> bytes:
    """The body, as far as it has arrived, of an answer whose head could not be read."""
    body = bytes(answer.heard) if not answer.status else b""
    while body:
        _, *after = _HEAD_ENDS.split(body, maxsplit=1)
        body = after[0] if after else b""
        if not body.startswith(b"HTTP/"):  # A proxy's consent, or an interim answer, came before it.
            break
    return _CHUNK_BEGINS.sub(b"", body)


def _no_answer(
    cause: Cause = Cause.INSTANCE_UNREACHABLE,
    proxy: Proxy | None = None,
    *,
    sent: bool = True,
    trouble: Trouble | None = None,
    no_http: bool = False,
) -> TokenEndpointError:
    what = "did not answer in time" if cause is Cause.INSTANCE_TIMEOUT else "could not be reached"
    if sent and cause is Cause.INSTANCE_UNREACHABLE:
        what = "answered what is no HTTP" if no_http else "closed the connection without an answer"
    message, hint = told(_INSTANCE, what, "", trouble, proxy)
    return TokenEndpointError(message, cause=cause, hint=hint, transient=True, sent=sent)


def _trouble(error: BaseException, url: str) -> Trouble | None:
    return trouble_of(error, url, "SSL_CERT_FILE")


def _told_to_wait(seconds: float, asked: float | None) -> TokenEndpointError:
    return TokenEndpointError(
        f"ServiceNow limits the rate of requests of this user (429){pause_text(asked)}; this run sends nothing more",
        cause=Cause.INSTANCE_THROTTLED,
        transient=True,
        retry_after=seconds,
        sent=False,
    )


def _refused_by_proxy(answer: str, proxy: Proxy | None) -> TokenEndpointError:
    """The proxy said no before the instance was asked; the beginning of its answer is the status."""
    if proxy is None:
        return _no_answer(sent=False)
    status = answer[:3] if answer[:3].isdecimal() else "without a status"
    return TokenEndpointError(
        proxy.refuses(_INSTANCE, status),
        cause=Cause.INSTANCE_UNREACHABLE,
        hint=proxy.hint,
        transient=True,
        sent=False,
    )


def _too_much() -> TokenEndpointError:
    return TokenEndpointError(
        "the ServiceNow instance sent more than any answer needs",
        cause=Cause.NOT_A_TOKEN,
        hint="Check that the instance URL is the instance itself, with no login page or proxy in between.",
        transient=True,
    )


def _stems_from(error: BaseException | None, kind: type[BaseException]) -> bool:
    while error is not None:
        if isinstance(error, kind):
            return True
        error = error.__cause__ or error.__context__
    return False
