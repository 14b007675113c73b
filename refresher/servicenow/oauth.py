"""RFC 6749 as ServiceNow speaks it, without I/O: requests for the token endpoint, and the meaning of its answers.

Rules: a request is a form in the body, credentials included, never a header or a query. Success is status 200 with
a JSON object, or what a gateway made a form of, that holds an `access_token` that still lives: a hibernating instance
answers 200 with HTML, a full session queue 202, and nearly every refusal is the same 401 `server_error`, passing
faults included. A refusal says what it is (`error`, section 5.2): whatever else comes with 4xx is of something on the
way, and counts against no credential. A refresh token that is absent, null or empty means: keep the one you have; so
does a mask in its place. One that comes with an answer of no other use is in the error: it may be the only one that
still works. No text of an error or a log holds a piece of an answer.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import NamedTuple
from urllib.parse import urlencode, urlsplit

from refresher.model.causes import Cause
from refresher.model.connection import Connection
from refresher.model.errors import TokenEndpointError
from refresher.model.grants import Grant
from refresher.model.moments import parse_retry_after, pause_text
from refresher.model.placeholders import is_placeholder
from refresher.model.timing import LONGEST_LIFETIME
from refresher.model.tokens import AccessToken, Secret, TokenResponse, strip_unseen
from refresher.servicenow.contents import (
    LARGEST_BODY,
    access_token_of,
    begins_as_page,
    find_refresh_token,
    form_fields,
    is_masked,
    json_object,
    refresh_token_of,
)


class TokenRequest(NamedTuple):
    """A POST to the token endpoint. `form` holds the fields in the order in which they are sent."""

    url: str
    form: Mapping[str, Secret | str]
    grant: Grant

    def body(self) -> bytes:
        """The form as `application/x-www-form-urlencoded`, with its secrets in the clear."""
        return encode_form(self.form)


def encode_form(form: Mapping[str, Secret | str]) -> bytes:
    """Encode a form's fields as UTF-8 (RFC 6749 appendix B), with its secrets in the clear."""
    fields = {name: value.reveal() if isinstance(value, Secret) else value for name, value in form.items()}
    return urlencode(fields, errors="replace").encode("ascii")


def build_token_request(connection: Connection, grant: Grant, fields: Mapping[str, Secret | str]) -> TokenRequest:
    """Build the request of a grant, with what its row names; a missing field is a ValueError of the caller."""
    row = grant.row
    if row.grant_type is None:
        message = f"the grant {grant} sends no form"
        raise ValueError(message)
    form: dict[str, Secret | str] = {"grant_type": row.grant_type}
    asked = connection.jwt is not None and row.signed and connection.jwt.public_client
    for name in (*row.sends, *row.brought):
        if asked and name == "client_secret":
            continue
        value = fields.get(name)
        # Copying a secret into the vault by hand leaves white space around it, most often a line feed.
        stripped = value.stripped() if isinstance(value, Secret) else value
        if not stripped:
            message = f"a request for the grant {grant} needs {name}"
            raise ValueError(message)
        form[name] = stripped
    return TokenRequest(url=connection.token_endpoint, form=form, grant=grant)


def parse_token_response(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: datetime,
    grant: Grant,
    sent: Collection[Secret | str] = (),
) -> TokenResponse:
    """Turn an answer of the token endpoint into tokens; raises TokenEndpointError for everything else.

    `now` is when the answer arrived: the access token's life is counted from it. What was `sent`, or comes under both
    names, is no access token: consumers would get the refresh token, or a password.
    """
    answer = _Answer.of(status, headers, body, now)
    access_token = access_token_of(answer.fields.get("access_token"))
    same = access_token is not None and access_token == refresh_token_of(answer.fields.get("refresh_token"))
    if same or access_token in sent:
        failure = _failure(replace(answer, fields={**answer.fields, "access_token": None}))
        failure.refresh_token, failure.doubtful = find_refresh_token(status, body, whole=answer.whole)
        failure.doubtful |= same
        raise failure
    stated = _lifetime(answer.fields.get("expires_in"))
    lifetime = _UNSTATED_LIFETIME if stated is None else stated
    if status != HTTPStatus.OK or answer.error is not None or access_token is None or not lifetime:
        failure = _failure(answer)
        failure.refresh_token, failure.doubtful = find_refresh_token(status, body, whole=answer.whole)
        raise failure
    return TokenResponse(
        access_token=AccessToken(value=access_token, issued_at=now, expires_at=now + lifetime, grant=grant),
        lifetime_stated=stated is not None,
        refresh_token=refresh_token_of(answer.fields.get("refresh_token")),
        refresh_token_masked=is_masked(answer.fields.get("refresh_token")),
        transaction_id=answer.transaction_id,
    )


def is_transaction_id(text: str) -> bool:
    """Whether it looks like one of ServiceNow's: what a header holds is anybody's text."""
    return _TRANSACTION_ID.fullmatch(text) is not None


def parse_probe_user(body: bytes) -> str | None:
    """The user name in the answer of the sys_user probe; None where it tells none."""
    rows = json_object(body).get("result")
    row = rows[0] if isinstance(rows, list) and rows else None
    name = row.get("user_name") if isinstance(row, dict) else None
    if isinstance(name, str) and name.isprintable() and 0 < len(name) <= _LONGEST_USER_NAME:
        return name
    return None


_LONGEST_USER_NAME = 100
_TRANSACTION_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_HOST = re.compile(r"[A-Za-z0-9.-]{1,253}")
_NUMBER = re.compile(r"-?[0-9]{1,300}(\.[0-9]*)?", re.ASCII)
_UNSTATED_LIFETIME = timedelta(minutes=30)
"""What ServiceNow gives an access token unless its application registry says otherwise."""
_NOT_UNPACKED = {"br": "Brotli", "zstd": "Zstandard", "compress": "compress"}
_LEAVE_UNPACKED = (
    "Something in front of the instance compresses answers that asked not to be: switch that off for /oauth_token.do."
)
LEAVE_UNMASKED = (
    "Something between the app and the instance hides what it takes for secrets: switch that off for /oauth_token.do."
)
_CHECK_ADDRESS = "Check that the instance URL is the instance itself, with no login page or proxy in between."

_DEFINITE_CODES = {
    "invalid_client": Cause.INVALID_CLIENT,
    "invalid_grant": Cause.INVALID_GRANT,
    "unsupported_grant_type": Cause.UNSUPPORTED_GRANT_TYPE,
    "invalid_request": Cause.REQUEST_REFUSED,
    "unauthorized_client": Cause.REQUEST_REFUSED,
    "invalid_scope": Cause.REQUEST_REFUSED,
}
"""RFC 6749 section 5.2. ServiceNow seldom uses them; where it does, they can be taken at their word."""

_NAMES_OF_STATUSES = frozenset(status.phrase.lower() for status in HTTPStatus)
_GENERIC_CODES = frozenset({"server_error", "access_denied"})
"""What ServiceNow calls nearly every refusal, whatever its cause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answer:
    """What an answer says, as far as it can be understood."""

    status: int
    fields: Mapping[str, object]
    error: object
    page: bool
    hibernating: bool
    too_large: bool
    whole: bool
    """Whether its end was told by HTTP: it was read to that."""
    transaction_id: str | None
    retry_after: float | None
    packed: str
    """An encoding that the body is left in, which nobody asked for, as a part of a sentence."""
    leads_to: str
    """Where a redirect leads, as a part of a sentence: the host alone, since a path or a query may say too much."""

    @classmethod
    def of(cls, status: int, headers: Mapping[str, str], body: bytes, now: datetime) -> "_Answer":
        by_name = {name.lower(): value for name, value in headers.items()}
        too_large = len(body) > LARGEST_BODY
        whole = "content-length" in by_name or "transfer-encoding" in by_name
        fields = {} if too_large else json_object(body) or form_fields(body, whole=whole)
        transaction_id = by_name.get("x-transaction-id", "")
        page = not fields and ("html" in by_name.get("content-type", "").lower() or begins_as_page(body))
        return cls(
            status=status,
            fields=fields,
            error=fields.get("error") or None,
            page=page,
            hibernating=page and b"instance hibernating" in body.lower(),
            too_large=too_large,
            whole=whole,
            transaction_id=transaction_id if is_transaction_id(transaction_id) else None,
            retry_after=parse_retry_after(by_name.get("retry-after"), now, by_name.get("date")),
            packed=_packed(by_name.get("content-encoding", "")) if not fields else "",
            leads_to=leads_to(by_name.get("location")),
        )

    @property
    def refuses(self) -> bool:
        """Whether it says what it refuses: a code in `error`, or a message in it, as ServiceNow's REST API does.

        Frameworks write the status there once more in words, and the APIs of clouds an object with a `code`.
        """
        if isinstance(self.error, str):
            return not re.search(r"\s", self.error) and self.error.lower() not in _NAMES_OF_STATUSES
        return isinstance(self.error, dict) and isinstance(self.error.get("message"), str) and "code" not in self.error

    def failure(self, message: str, cause: Cause, *, hint: str = "", transient: bool = False) -> TokenEndpointError:
        return TokenEndpointError(
            message,
            cause=cause,
            hint=hint,
            transient=transient,
            retry_after=self.retry_after if transient else None,
            transaction_id=self.transaction_id,
        )


def _failure(answer: _Answer) -> TokenEndpointError:
    for explain in (_by_status, _by_page, _by_error_code):
        failure = explain(answer)
        if failure is not None:
            return failure
    if answer.status == HTTPStatus.FORBIDDEN and (answer.refuses or answer.fields.get("status") == "failure"):
        return answer.failure(
            "ServiceNow keeps this address out (403): it refuses before it looks at any credential",
            Cause.ADDRESS_REFUSED,
        )
    if answer.status >= HTTPStatus.BAD_REQUEST and not answer.refuses:
        return answer.failure(
            f"the token endpoint answered {answer.status} without an error of OAuth, which refuses no credential",
            Cause.NOT_A_TOKEN,
            hint=f"{_CHECK_ADDRESS} Is it? Then ServiceNow's system log says why: 'Exception on token flow'.",
            # What ServiceNow itself refuses so may pass within seconds; what has another status is there for longer.
            transient=answer.status == HTTPStatus.UNAUTHORIZED,
        )
    if answer.status == HTTPStatus.UNAUTHORIZED:
        return _access_denied(answer)
    if answer.status >= HTTPStatus.BAD_REQUEST:
        return answer.failure(
            f"ServiceNow refused the token request with status {answer.status}",
            Cause.REQUEST_REFUSED,
            hint=_CHECK_ADDRESS,
        )
    given = answer.fields.get("access_token")
    masked = isinstance(given, str) and strip_unseen(given) != "" and is_placeholder(given)
    missing = "access_token" if access_token_of(given) is None else "expires_in"
    what = f"JSON without a usable {missing}" if answer.fields else "no JSON object"
    what += " (a word or a mask stands in its place)" if masked else answer.packed
    return answer.failure(
        f"the token endpoint answered {answer.status} with {what}",
        Cause.NOT_A_TOKEN,
        hint=LEAVE_UNMASKED if masked else _LEAVE_UNPACKED if answer.packed else _CHECK_ADDRESS,
        transient=True,
    )


def _by_status(answer: _Answer) -> TokenEndpointError | None:
    status = answer.status
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        return answer.failure(
            f"ServiceNow limits the rate of requests (429){pause_text(answer.retry_after)}",
            Cause.INSTANCE_THROTTLED,
            transient=True,
        )
    if 500 <= status < 600 or status == HTTPStatus.REQUEST_TIMEOUT:  # noqa: PLR2004 - the class of server errors
        if answer.hibernating:
            return _hibernating(answer)
        return answer.failure(
            f"ServiceNow failed with status {status}",
            Cause.INSTANCE_ERROR,
            transient=True,
        )
    if status == HTTPStatus.ACCEPTED:
        return answer.failure(
            "ServiceNow answered 202: its session queue is full, and no token was issued",
            Cause.NOT_A_TOKEN,
            hint="It passes when the instance has less to do; the next tick tries again.",
            transient=True,
        )
    if 300 <= status < 400:  # noqa: PLR2004 - the class of redirections
        return answer.failure(
            f"the token endpoint answered {status}, a redirect{answer.leads_to}, which is not followed",
            Cause.NOT_A_TOKEN,
            hint="Where that is the instance, SERVICENOW_INSTANCE_URL has to be its address; where it is a sign-in, "
            "something in front of the instance has to let the token endpoint through.",
        )
    return None


def _by_page(answer: _Answer) -> TokenEndpointError | None:
    if answer.hibernating:
        return _hibernating(answer)
    if answer.too_large:
        return answer.failure(
            "the answer is larger than any token",
            Cause.NOT_A_TOKEN,
            hint=_CHECK_ADDRESS,
        )
    if answer.page:
        # A refusal by ServiceNow is JSON: a page with 401 or 403 comes from something else on the way, and must
        # not count against the credentials.
        return answer.failure(
            f"the token endpoint answered {answer.status} with a web page",
            Cause.NOT_A_TOKEN,
            hint=_CHECK_ADDRESS,
            # A proxy's maintenance page passes; a wrong address fails after a few tries as well as after one.
            transient=True,
        )
    return None


def _by_error_code(answer: _Answer) -> TokenEndpointError | None:
    code = answer.error if isinstance(answer.error, str) else ""
    if code in _DEFINITE_CODES:
        return answer.failure(f"ServiceNow refused the token request: {code}", _DEFINITE_CODES[code])
    if code in _GENERIC_CODES:
        return _access_denied(answer)
    if answer.error is not None and answer.status == HTTPStatus.OK:
        return answer.failure(
            "ServiceNow answered 200 with an error instead of a token",
            Cause.REQUEST_REFUSED if answer.refuses else Cause.NOT_A_TOKEN,
        )
    return None


def _access_denied(answer: _Answer) -> TokenEndpointError:
    return answer.failure(
        f"ServiceNow refused the token request with its generic {answer.status}, which does not say why",
        Cause.ACCESS_DENIED,
        # Passing faults look the same as a dead credential, and heal on the next request.
        transient=True,
    )


def leads_to(location: str | None) -> str:
    """Where a redirect leads, as a part of a sentence: the host alone, since a path or a query may say too much."""
    try:
        host = urlsplit(location or "").hostname or ""
    except ValueError:
        host = ""
    if not location or not _HOST.fullmatch(host):
        return " to a path of its own" if location and location.startswith("/") else ""
    return f" to {host}"


def _hibernating(answer: _Answer) -> TokenEndpointError:
    return answer.failure("the ServiceNow instance is hibernating", Cause.INSTANCE_HIBERNATING)


def _lifetime(value: object) -> timedelta | None:
    """The life of a token that ServiceNow states in seconds, a number or a numeric text; None where it states none.

    Some set thousands of years to have a token without end: ten years are as good, and no calendar ends before them.
    """
    seconds = float(value) if isinstance(value, str) and _NUMBER.fullmatch(value.strip()) else value
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        return None
    return timedelta(seconds=int(max(0, min(seconds, LONGEST_LIFETIME.total_seconds()))))


def _packed(encoding: str) -> str:
    """An encoding that `unfold` leaves as it is, as a part of a sentence."""
    names = (_NOT_UNPACKED.get(name.strip().lower()) for name in encoding.split(","))
    return next((f" (compressed with {name}, which was not asked for)" for name in names if name), "")
