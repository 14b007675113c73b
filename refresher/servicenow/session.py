"""The conversation of one run with one instance: token requests with retries, the probe, revocation.

Rules (ServiceNow, checked against public sources): no `Authorization` header on the token endpoint; every try after
a failure uses a fresh connection, since passing faults sit in connections as well; a generic 401 is tried again.
"""

from collections.abc import Callable
from datetime import datetime

from refresher.model.causes import Cause, Kind
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import Connection
from refresher.model.errors import RefresherError, TokenEndpointError
from refresher.model.grants import Grant
from refresher.model.moments import parse_http_date
from refresher.model.tokens import Secret, TokenResponse
from refresher.retry import retrying
from refresher.servicenow.answers import ANSWER_TAKES, Attempts, Probe, Verdict
from refresher.servicenow.contents import begins_as_page, json_object
from refresher.servicenow.http import Wire
from refresher.servicenow.oauth import TokenRequest, parse_token_response
from refresher.servicenow.probing import parse_probe_answer, unusable
from refresher.settings.declared import SYS_USER_PROBE

_OK = 200
_REVOCATION_ANSWERS = frozenset({_OK, 400, 404})
_PASSING = frozenset({429, *range(500, 600)})
_TOKEN_ATTEMPTS = 4
_PROBE_ATTEMPTS = 2


class Session:
    """Requests of one run to one instance, on one connection while all goes well."""

    def __init__(self, connection: Connection, clock: Clock, deadline: Deadline, wire: Wire) -> None:
        self._connection = connection
        self._clock = clock
        self._deadline = deadline
        self._wire = wire
        self._asked = False

    def request_token(
        self,
        build: Callable[[], TokenRequest],
        *,
        refusals_tolerated: int,
        attempts: Attempts,
        on_progress: Callable[[str], None] = lambda _: None,
        keep: Callable[[Secret, bool], None] = lambda *_: None,
        repeat_lost_answers: bool = True,
        patient: bool = False,
        insists: bool = True,
    ) -> TokenResponse:
        """Request a token; `build` makes each try's request (an assertion is good for one try only).

        `keep` is handed the refresh token of an answer that is of no other use, and whether it is doubtful, before
        anything is tried again. A `patient` request waits for its answer as long as the run lasts: there may be no
        second one. Who does not `insist` takes a no for an answer: it was asked more than once a minute ago.
        Raises TokenEndpointError. The generic 401 is tried again until it came more than `refusals_tolerated` times.
        """
        refusals = 0

        def should_retry(error: RefresherError) -> bool:
            if not insists and error.cause.row.kind in {Kind.REFUSED, Kind.THROTTLED}:
                return False
            if isinstance(error, TokenEndpointError) and error.ambiguous:
                return refusals <= refusals_tolerated
            # A request over the limit is turned away before anybody looks at it: if it was ServiceNow that said so.
            turned_away = error.cause is Cause.INSTANCE_THROTTLED and not attempts.password_sent
            unseen = not error.sent or turned_away
            return error.transient and (repeat_lost_answers or unseen)

        if self._deadline.remaining() < ANSWER_TAKES:
            message = "the time of the run was over before the ServiceNow instance could be asked"
            raise TokenEndpointError(message, cause=Cause.RUN_OVERDUE, transient=True, sent=False)

        def ask() -> TokenResponse:
            nonlocal refusals
            request = build()
            attempts.made += 1
            sent = True
            try:
                return self._request_token_once(request, patient=patient)
            except TokenEndpointError as error:
                self._wire.disconnect()
                sent = error.sent
                refusals += error.ambiguous
                if error.refresh_token is not None:
                    keep(error.refresh_token, error.doubtful)
                attempts.answer_lost |= sent and error.cause.row.unclear and error.refresh_token is None
                raise
            finally:
                attempts.password_sent |= sent and request.grant.row.sends_password

        loop = retrying(
            self._clock,
            self._deadline,
            attempts=_TOKEN_ATTEMPTS,
            takes=ANSWER_TAKES,
            should_retry=should_retry,
            on_progress=on_progress,
        )
        return loop(ask)

    def _request_token_once(self, request: TokenRequest, *, patient: bool = False) -> TokenResponse:
        self._asked = True
        answer = self._wire.send(
            "POST",
            request.url,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            content=request.body(),
            patient=patient,
        )
        return parse_token_response(
            answer.status,
            answer.headers,
            answer.body,
            now=self._clock.now(),
            grant=request.grant,
            sent=tuple(request.form.values()),
        )

    def probe(self, access_token: Secret) -> Probe:
        """Ask the instance who the token acts as. Never raises: no answer means that it cannot be said."""
        judged = unusable(access_token)
        if judged is not None:
            return judged
        loop = retrying(self._clock, self._deadline, attempts=_PROBE_ATTEMPTS)
        try:
            probe = loop(self._probe_once, access_token)
        except TokenEndpointError as error:
            probe = Probe(verdict=Verdict.UNKNOWN, remark=error.message)
        if probe.verdict is not Verdict.ACCEPTED:
            self._wire.disconnect()
        return probe

    def _probe_once(self, access_token: Secret) -> Probe:
        path = self._connection.probe_path or SYS_USER_PROBE
        headers = {"Accept": "application/json", "Authorization": f"Bearer {access_token.reveal()}"}
        url = f"{self._connection.instance_url}{path}"
        answer = self._wire.send("GET", url, headers=headers, later=not self._asked)
        probe = parse_probe_answer(path, answer.status, answer.headers, answer.body)
        if probe.user_name is not None:
            self._wire.turns.acts_as(self._connection.name, probe.user_name)
        return probe

    def greet(self) -> tuple[TokenEndpointError | None, datetime | None]:
        """Send the token endpoint a request without credentials, which counts against nobody: its refusal, its clock.

        No refusal is a token, which nobody can have meant. Raises TokenEndpointError where no answer came.
        """
        return retrying(self._clock, self._deadline, attempts=_PROBE_ATTEMPTS)(self._greet_once)

    def _greet_once(self) -> tuple[TokenEndpointError | None, datetime | None]:
        answer = self._wire.send(
            "POST",
            self._connection.token_endpoint,
            headers={"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"},
            content=b"grant_type=refresh_token",
        )
        refusal = None
        try:
            parse_token_response(
                answer.status, answer.headers, answer.body, now=self._clock.now(), grant=Grant.REFRESH_TOKEN
            )
        except TokenEndpointError as error:
            refusal = error
        return refusal, parse_http_date(answer.headers.get("date"))

    def revoke(self, token: Secret) -> bool | None:
        """Revoke a token; the token stands in the URL, as ServiceNow wants it. Returns whether it was known.

        None where something answered, and said nothing of it. Raises TokenEndpointError where no answer came.
        """
        return retrying(self._clock, self._deadline, attempts=_TOKEN_ATTEMPTS)(self._revoke_once, token)

    def _revoke_once(self, token: Secret) -> bool | None:
        answer = self._wire.send("GET", self._connection.revocation_endpoint, params={"token": token.reveal()})
        page = begins_as_page(answer.body)
        if page or answer.status not in _REVOCATION_ANSWERS:
            with_page = ", with a web page" if page else ""
            raise not_revoked(
                f"the ServiceNow instance did not confirm the revocation (status {answer.status}{with_page})",
                transient=answer.status in _PASSING,
                transaction_id=answer.headers.get("x-transaction-id"),
            )
        if not answer.body.strip():
            return answer.status == _OK
        told = json_object(answer.body)
        return True if answer.status == _OK and told and not told.get("error") else None


def not_revoked(message: str, *, transient: bool = False, transaction_id: str | None = None) -> TokenEndpointError:
    """What is raised where tokens may live on after they were to be revoked."""
    return TokenEndpointError(
        message,
        cause=Cause.INSTANCE_ERROR,
        hint="Revoke them in ServiceNow: System OAuth > Manage Tokens. Does something in front of the instance answer "
        "for /oauth_revoke_token.do? Let it through, and revoke again.",
        transient=transient,
        transaction_id=transaction_id,
    )
