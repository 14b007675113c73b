"""What an answer to the probe says of a token. No I/O.

Only the instance's own JSON counts: a page with any status, 401 included, comes from something on the way (a
hibernating instance, a proxy, a login) and says nothing. 200, 403 and 404 mean that the token lives, in JSON as
ServiceNow writes it: a gateway knows nothing of tokens. A 401 means that it is refused, or that an API access policy
keeps its user or this address out, which looks the same.
"""

from collections.abc import Mapping
from http import HTTPStatus

from refresher.model.tokens import Secret
from refresher.servicenow.answers import Probe, Verdict
from refresher.servicenow.contents import begins_as_page, is_token, json_object
from refresher.servicenow.oauth import is_transaction_id, leads_to, parse_probe_user

_ALIVE = frozenset({HTTPStatus.OK, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND})
_OWN_USER = "getUserName"
"""What a probe's path asks for where its answer is about the token's own user, and not about any."""
_API_ACL = "API level ACL"
"""In ServiceNow's 403 where a REST API ACL or an access policy refuses, before any table's ACL is looked at."""


UNAUTHORIZED = "401"
"""Remark of a refusal that the instance pronounced; it need not be about the token."""


def unusable(token: Secret) -> Probe | None:
    """The verdict on what no instance has to be asked about: a value that no header can carry, or a mask."""
    if is_token(token):
        return None
    return Probe(verdict=Verdict.REJECTED, remark="it holds characters that no token has, or a mask in place of one")


def parse_probe_answer(path: str, status: int, headers: Mapping[str, str], body: bytes) -> Probe:
    """Judge an answer; the names of `headers` in lower case."""
    document = json_object(body)
    page = not document and ("html" in headers.get("content-type", "").lower() or begins_as_page(body))
    transaction_id = headers.get("x-transaction-id", "")
    told = transaction_id if is_transaction_id(transaction_id) else None
    if status in _ALIVE and _is_of_servicenow(status, document):
        user_name = parse_probe_user(body) if status == HTTPStatus.OK and _OWN_USER in path else None
        remark = _refusal(document) if status == HTTPStatus.FORBIDDEN else None
        return Probe(verdict=Verdict.ACCEPTED, user_name=user_name, transaction_id=told, remark=remark)
    if status == HTTPStatus.UNAUTHORIZED and not page:
        return Probe(verdict=Verdict.REJECTED, transaction_id=told, remark=UNAUTHORIZED)
    what = "a web page" if page else "no JSON of ServiceNow's" if status in _ALIVE else ""
    what = f" with {what}" if what else leads_to(headers.get("location"))
    remark = f"the instance answered {status}{what}"
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        remark = "the instance limits the rate of requests (429)"
    return Probe(verdict=Verdict.UNKNOWN, transaction_id=told, remark=remark)


def _is_of_servicenow(status: int, document: Mapping[str, object]) -> bool:
    """Whether its API answered: an error is an object there."""
    error = document.get("error")
    if isinstance(error, dict) or "result" in document:
        return True
    return bool(document) and not error if status == HTTPStatus.OK else document.get("status") == "failure"


PATH_IS_SHUT = "the probe's path (403)"
"""How a remark ends where the token passed, and its user may not read what the probe asks for."""


def _refusal(document: Mapping[str, object]) -> str:
    """Of a 403, which of two doors was shut; the token itself has passed."""
    error = document.get("error")
    texts = [error.get("message"), error.get("detail")] if isinstance(error, dict) else []
    if any(isinstance(text, str) and _API_ACL.lower() in text.lower() for text in texts):
        return f"a REST API ACL or an access policy keeps its user out of {PATH_IS_SHUT}"
    return f"its user lacks the role for {PATH_IS_SHUT}"
