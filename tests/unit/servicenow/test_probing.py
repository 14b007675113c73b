"""The verdict of the probe, from answers of instances and of what stands in front of them."""

import json

import pytest

from refresher.model.tokens import Secret
from refresher.servicenow.answers import Probe, Verdict
from refresher.servicenow.probing import parse_probe_answer, unusable
from refresher.settings.declared import SYS_USER_PROBE

USER = json.dumps({"result": [{"user_name": "simplechat"}]}).encode()
REFUSED = b'{"error": {"message": "User Not Authenticated", "detail": "Required to provide Auth information"}}'
HIBERNATING = b"<html><head><title>Instance Hibernating page</title></head></html>"
JSON = {"content-type": "application/json;charset=UTF-8"}
HTML = {"content-type": "text/html"}


def judge(status: int, body: bytes = USER, path: str = SYS_USER_PROBE, headers: dict[str, str] | None = None) -> Probe:
    return parse_probe_answer(path, status, JSON if headers is None else headers, body)


def test_the_users_own_record_says_whose_token_it_is() -> None:
    assert judge(200) == Probe(verdict=Verdict.ACCEPTED, user_name="simplechat")


def test_the_answer_of_another_path_names_nobody() -> None:
    assert judge(200, path="/api/x/users").user_name is None


@pytest.mark.parametrize("status", [200, 403, 404])
def test_json_means_that_the_token_lives(status: int) -> None:
    assert judge(status, b'{"error": {"message": "No Record found"}}').verdict is Verdict.ACCEPTED


@pytest.mark.parametrize("status", [200, 401, 403, 404, 500])
@pytest.mark.parametrize("headers", [HTML, {}, JSON])
@pytest.mark.parametrize("body", [HIBERNATING, b"  <!doctype html><p>Blocked by the firewall"])
def test_a_page_says_nothing_whatever_its_status(status: int, headers: dict[str, str], body: bytes) -> None:
    found = judge(status, body, headers=headers)
    assert (found.verdict, found.user_name) == (Verdict.UNKNOWN, None)
    assert found.remark == f"the instance answered {status} with a web page"


@pytest.mark.parametrize("body", [b"", b"OK", b"[1", b'"text"', b"1", b"null"])
def test_neither_does_what_is_no_object(body: bytes) -> None:
    found = judge(200, body)
    assert (found.verdict, found.remark) == (Verdict.UNKNOWN, "the instance answered 200 with no JSON of ServiceNow's")


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b'{"error": "login_required"}'),
        (200, b"{}"),
        (403, b'{"message": "Forbidden"}'),
        (403, b'{"error": "blocked", "rule": 7}'),
        (404, b'{"message": "no Route matched with those values"}'),
        (404, b'{"statusCode": 404, "message": "Resource not found"}'),
    ],
)
def test_nor_does_the_json_of_a_gateway(status: int, body: bytes) -> None:
    """A token that is dead was said to be accepted."""
    found = judge(status, body)
    assert (found.verdict, found.remark) == (
        Verdict.UNKNOWN,
        f"the instance answered {status} with no JSON of ServiceNow's",
    )


@pytest.mark.parametrize("status", [202, 204, 302, 400, 407, 500, 503])
def test_nor_any_other_status(status: int) -> None:
    found = judge(status)
    assert (found.verdict, found.remark) == (Verdict.UNKNOWN, f"the instance answered {status}")


def test_a_limit_of_the_rate_is_said_by_its_name() -> None:
    found = judge(429)
    assert (found.verdict, found.remark) == (Verdict.UNKNOWN, "the instance limits the rate of requests (429)")


@pytest.mark.parametrize("body", [REFUSED, b"", b"Unauthorized"])
def test_a_401_of_the_instance_refuses(body: bytes) -> None:
    assert judge(401, body).verdict is Verdict.REJECTED


@pytest.mark.parametrize(
    ("error", "said"),
    [
        ({"message": "User Not Authorized", "detail": "Failed API level ACL Validation"}, "access policy"),
        ({"message": "Insufficient rights to query records", "detail": "Field(s) present"}, "lacks the role"),
        ("forbidden", "lacks the role"),
        ({"message": None, "detail": 1}, "lacks the role"),
    ],
)
def test_a_403_says_which_door_was_shut(error: object, said: str) -> None:
    found = judge(403, json.dumps({"error": error, "status": "failure"}).encode())
    assert found.verdict is Verdict.ACCEPTED
    assert said in (found.remark or "")


@pytest.mark.parametrize(("given", "told"), [("a1B2-c3", "a1B2-c3"), ("\x1b[2J", None), ("", None)])
def test_a_transaction_id_is_told_where_it_looks_like_one(given: str, told: str | None) -> None:
    assert judge(200, headers={**JSON, "x-transaction-id": given}).transaction_id == told


@pytest.mark.parametrize("value", ["", "two words", "line\nbreak", "caf\u00e9"])
def test_what_no_header_carries_is_refused_without_asking(value: str) -> None:
    found = unusable(Secret(value))
    assert found is not None
    assert found.verdict is Verdict.REJECTED
    assert unusable(Secret("CANARY-token")) is None
