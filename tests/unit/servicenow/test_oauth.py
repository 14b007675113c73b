"""The token endpoint's answers: what is a token, and what each other answer means."""

import json
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs

import pytest
from hypothesis import example, given, settings, strategies as st

from refresher.model.causes import Cause, diagnose
from refresher.model.connection import Connection, JwtClaims
from refresher.model.errors import TokenEndpointError
from refresher.model.grants import Grant
from refresher.model.moments import parse_retry_after
from refresher.model.tokens import Secret, TokenResponse
from refresher.servicenow.contents import LARGEST_BODY
from refresher.servicenow.oauth import (
    build_token_request,
    encode_form,
    parse_probe_user,
    parse_token_response,
)
from refresher.settings.load import load_settings

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
TEN_YEARS = 3650 * 24 * 3600
CANARY = "CANARY-token-value"
CLIENT = {"client_id": Secret("id\n"), "client_secret": Secret(" s&c=r%t ")}
GOOD = {"access_token": CANARY, "expires_in": 1799, "refresh_token": "CANARY-refresh", "scope": "useraccount"}
JSON_HEADERS = {"Content-Type": "application/json;charset=UTF-8", "X-Transaction-ID": "abc-123"}
HTML = b"<html><head><title>Log in</title></head></html>"
CHECK_ADDRESS = "Check that the instance URL is the instance itself, with no login page or proxy in between."
SPEAKING_PAGE = b"""<!DOCTYPE html><script>var texts = {"access_token":"a","refresh_token":"b"};</script>"""
SPEAKING_PAGES = (SPEAKING_PAGE, b"\xef\xbb\xbf\n" + SPEAKING_PAGE, SPEAKING_PAGE.decode().encode("utf-16"))
HIBERNATING = b"<html><head><title>Instance Hibernating page</title></head></html>"


def connection() -> Connection:
    settings = load_settings(
        {"KEY_VAULT_URL": "https://v.vault.azure.net", "SERVICENOW_INSTANCE_URL": "https://x.service-now.com"}
    )
    return settings.connections[0]


def parse(
    body: bytes | dict[str, object], *, status: int = 200, headers: dict[str, str] | None = None
) -> TokenResponse:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return parse_token_response(
        status, JSON_HEADERS if headers is None else headers, content, now=NOW, grant=Grant.REFRESH_TOKEN
    )


def failure(
    body: bytes | dict[str, object], *, status: int = 200, headers: dict[str, str] | None = None
) -> TokenEndpointError:
    with pytest.raises(TokenEndpointError) as caught:
        parse(body, status=status, headers=headers)
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "canary" not in (error.message + error.hint).lower()
    return error


class TestWhatIsNoAccessToken:
    """Consumers would get a refresh token, or a password, and send it to everybody."""

    @pytest.mark.parametrize("unseen", ["", "\u200b", " "])
    def test_one_that_comes_under_both_names(self, unseen: str) -> None:
        error = failure({**GOOD, "refresh_token": f"{CANARY}{unseen}"})
        assert (error.cause, error.doubtful) == (Cause.NOT_A_TOKEN, True)
        assert error.message == "the token endpoint answered 200 with JSON without a usable access_token"
        assert error.refresh_token == Secret(CANARY)

    def test_one_that_was_sent(self) -> None:
        with pytest.raises(TokenEndpointError) as caught:
            parse_token_response(
                200,
                JSON_HEADERS,
                json.dumps(GOOD).encode(),
                now=NOW,
                grant=Grant.REFRESH_TOKEN,
                sent=("refresh_token", Secret(CANARY)),
            )
        assert (caught.value.cause, caught.value.doubtful) == (Cause.NOT_A_TOKEN, False)
        assert caught.value.refresh_token == Secret("CANARY-refresh")

    @pytest.mark.parametrize("header", ["Content-Length", "Transfer-Encoding", None])
    def test_a_form_counts_where_its_end_was_told(self, header: str | None) -> None:
        """One that was cut short would hand on half a refresh token."""
        body = f"access_token={CANARY}&expires_in=0&refresh_token=CANARY-refresh".encode()
        headers = {"Content-Type": "text/plain", **({header: "1"} if header else {})}
        error = failure(body, headers=headers)
        assert error.refresh_token == (Secret("CANARY-refresh") if header else None)


class TestRequest:
    """Requests are forms that hold the grant's own fields, and stripped secrets."""

    @pytest.mark.parametrize(
        ("grant", "parts", "fields"),
        [
            (
                Grant.REFRESH_TOKEN,
                {"refresh_token": Secret("r\n")},
                {"grant_type": "refresh_token", "refresh_token": "r"},
            ),
            (
                Grant.PASSWORD,
                {"username": Secret("bob "), "password": Secret("pä ss")},
                {"grant_type": "password", "username": "bob", "password": "pä ss"},
            ),
            (Grant.CLIENT_CREDENTIALS, {}, {"grant_type": "client_credentials"}),
            (
                Grant.JWT_BEARER,
                {"assertion": Secret("a.b.c")},
                {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": "a.b.c"},
            ),
            (
                Grant.AUTHORIZATION_CODE,
                {"code": Secret("c"), "code_verifier": Secret("v"), "redirect_uri": "http://127.0.0.1:1/"},
                {
                    "grant_type": "authorization_code",
                    "code": "c",
                    "redirect_uri": "http://127.0.0.1:1/",
                    "code_verifier": "v",
                },
            ),
        ],
    )
    def test_each_grant_sends_its_own_fields(
        self, grant: Grant, parts: dict[str, Secret | str], fields: object
    ) -> None:
        request = build_token_request(connection(), grant, {**CLIENT, **parts})
        sent = {name: value for name, (value,) in parse_qs(request.body().decode("ascii")).items()}
        assert isinstance(fields, dict)
        assert sent == {"client_id": "id", "client_secret": "s&c=r%t", **fields}
        assert request.url == "https://x.service-now.com/oauth_token.do"
        assert request.grant is grant

    def test_a_grant_that_sends_no_form_is_one_as_well(self) -> None:
        with pytest.raises(ValueError, match="the grant entra_id sends no form"):
            build_token_request(connection(), Grant.ENTRA_ID, CLIENT)

    def test_an_application_without_a_secret_sends_none_where_it_signs(self) -> None:
        """And a refresh sends it all the same, where there is one: only the assertion says who asks."""
        base = connection()
        asks = base._replace(jwt=JwtClaims(subject="x", public_client=True))
        assertion = {**CLIENT, "assertion": Secret("a.b.c"), "refresh_token": Secret("r")}
        assert list(build_token_request(asks, Grant.JWT_BEARER, assertion).form) == [
            "grant_type",
            "client_id",
            "assertion",
        ]
        for each, grant in ((asks, Grant.REFRESH_TOKEN), (base, Grant.JWT_BEARER)):
            assert "client_secret" in build_token_request(each, grant, assertion).form

    @pytest.mark.parametrize(
        ("grant", "missing"),
        [
            (Grant.REFRESH_TOKEN, "refresh_token"),
            (Grant.PASSWORD, "username"),
            (Grant.JWT_BEARER, "assertion"),
            (Grant.AUTHORIZATION_CODE, "code"),
        ],
    )
    def test_a_missing_part_is_an_error_of_the_caller(self, grant: Grant, missing: str) -> None:
        with pytest.raises(ValueError, match=f"needs {missing}"):
            build_token_request(connection(), grant, CLIENT)

    def test_a_part_of_white_space_is_missing(self) -> None:
        with pytest.raises(ValueError, match="needs refresh_token"):
            build_token_request(connection(), Grant.REFRESH_TOKEN, {**CLIENT, "refresh_token": Secret(" \n")})

    def test_a_request_shows_no_secret(self) -> None:
        request = build_token_request(connection(), Grant.REFRESH_TOKEN, {**CLIENT, "refresh_token": Secret(CANARY)})
        assert CANARY not in repr(request)

    def test_a_character_that_is_none_cannot_break_the_form(self) -> None:
        assert encode_form({"a": Secret("\ud800"), "b": "x y"}) == b"a=%3F&b=x+y"


class TestSuccess:
    """A token is taken from 200 and a JSON object with a token and its life, and from nothing else."""

    def test_a_full_answer(self) -> None:
        response = parse(GOOD)
        assert response.access_token.value == Secret(CANARY)
        assert response.access_token.issued_at == NOW
        assert response.access_token.lifetime == timedelta(seconds=1799)
        assert response.access_token.grant is Grant.REFRESH_TOKEN
        assert response.refresh_token == Secret("CANARY-refresh")
        assert response.transaction_id == "abc-123"

    @pytest.mark.parametrize("given_refresh_token", [None, "", " ", {}])
    def test_a_refresh_token_that_is_none_leaves_the_old_one(self, given_refresh_token: object) -> None:
        response = parse({**GOOD, "refresh_token": given_refresh_token})
        assert (response.refresh_token, response.refresh_token_masked) == (None, False)

    @pytest.mark.parametrize("given_refresh_token", [7, ["x"], "null", "[REDACTED]", " ********", "CANARY\ud800"])
    def test_what_stands_in_its_place_is_told(self, given_refresh_token: object) -> None:
        response = parse({**GOOD, "refresh_token": given_refresh_token})
        assert (response.refresh_token, response.refresh_token_masked) == (None, True)

    @pytest.mark.parametrize(
        "given_refresh_token", ["r", "CANARY two words", "CANARY\nline", "CANARY-\u00e9", "CANARY" + "x" * 30_000]
    )
    def test_a_refresh_token_is_whatever_a_form_can_carry(self, given_refresh_token: str) -> None:
        response = parse({**GOOD, "refresh_token": given_refresh_token})
        assert (response.refresh_token, response.refresh_token_masked) == (Secret(given_refresh_token), False)

    def test_an_absent_refresh_token_leaves_the_old_one(self) -> None:
        assert parse({"access_token": "t", "expires_in": 60}).refresh_token is None

    @pytest.mark.parametrize(
        ("expires_in", "seconds"),
        [
            (1, 1),
            (1799, 1799),
            (1800.0, 1800),
            ("1798", 1798),
            (" 60 ", 60),
            (1799.9, 1799),
            ("1799.5", 1799),
            ("60.", 60),
            (TEN_YEARS, TEN_YEARS),
            (TEN_YEARS + 1, TEN_YEARS),
            (2_147_483_647, TEN_YEARS),
            ("99999999999", TEN_YEARS),
            (10**40, TEN_YEARS),
            (1e300, TEN_YEARS),
        ],
    )
    def test_a_life_may_be_a_number_or_a_numeric_text(self, expires_in: object, seconds: int) -> None:
        assert parse({**GOOD, "expires_in": expires_in}).access_token.lifetime == timedelta(seconds=seconds)

    @pytest.mark.parametrize("expires_in", [None, True, "", "soon", "1e3", "\u0663\u0660", [60], {}])
    def test_a_life_that_is_not_stated_is_the_default_of_servicenow(self, expires_in: object) -> None:
        response = parse({**GOOD, "expires_in": expires_in})
        assert response.access_token.lifetime == timedelta(seconds=1800)
        assert not response.lifetime_stated
        assert not parse({"access_token": "t"}).lifetime_stated
        assert parse(GOOD).lifetime_stated

    @pytest.mark.parametrize("expires_in", [0, -1, "-0", "-5", 0.5, -0.5, "-99999999999", -(10**40)])
    def test_a_life_that_is_over_makes_it_no_token(self, expires_in: object) -> None:
        error = failure({**GOOD, "expires_in": expires_in})
        assert (error.cause, error.transient) == (Cause.NOT_A_TOKEN, True)
        assert error.message == "the token endpoint answered 200 with JSON without a usable expires_in"
        assert error.refresh_token == Secret("CANARY-refresh")

    @pytest.mark.parametrize("access_token", [None, "", " ", "a b", "a\tb", "a\n", "\x7f", "tökén", 5, ["t"]])
    def test_an_access_token_that_is_no_visible_text_is_no_token(self, access_token: object) -> None:
        error = failure({**GOOD, "access_token": access_token})
        assert error.cause is Cause.NOT_A_TOKEN
        assert error.message == "the token endpoint answered 200 with JSON without a usable access_token"

    @pytest.mark.parametrize(
        "access_token", ["null", "None", "N/A", "-", "xxxx", "[REDACTED]", "<masked>", "{{token}}"]
    )
    def test_what_stands_in_the_place_of_an_access_token_is_none(self, access_token: str) -> None:
        error = failure({**GOOD, "access_token": access_token})
        assert error.cause is Cause.NOT_A_TOKEN
        assert error.message.endswith("without a usable access_token (a word or a mask stands in its place)")
        assert "hides what it takes for secrets" in error.hint
        assert error.refresh_token == Secret("CANARY-refresh")

    def test_signs_that_are_not_utf_8_beside_the_tokens_do_not_matter(self) -> None:
        body = json.dumps({**GOOD, "scope": "f\u00fcr"}, ensure_ascii=False).encode("latin-1")
        assert parse(body).access_token.value == Secret(CANARY)

    @pytest.mark.parametrize("around", [" {} ", "{}\n", "\ufeff{}", "\u200b{}\u00a0"])
    def test_what_surrounds_a_refresh_token_unseen_is_none_of_it(self, around: str) -> None:
        assert parse({**GOOD, "refresh_token": around.format("CANARY-refresh")}).refresh_token == Secret(
            "CANARY-refresh"
        )

    @pytest.mark.parametrize("scope", ["", None, 5, ["a"], "\u2028", "\ud800"])
    def test_a_scope_that_is_no_plain_text_spoils_nothing(self, scope: object) -> None:
        assert parse({**GOOD, "scope": scope}) == parse(GOOD)

    @pytest.mark.parametrize("error", [None, "", 0])
    def test_an_error_that_says_nothing_is_none(self, error: object) -> None:
        assert parse({**GOOD, "error": error}).access_token.value == Secret(CANARY)

    @pytest.mark.parametrize("last", ["&expires_in=1799", "&scope=useraccount", "&scope=&expires_in=1799\n"])
    def test_a_form_is_read_as_well(self, last: str) -> None:
        """Some gateways make one of what the instance answered."""
        form = f"access_token={CANARY}&refresh_token=CANARY%2Brefresh&token_type=Bearer{last}"
        response = parse(form.encode(), headers={"Content-Type": "application/x-www-form-urlencoded"})
        assert (response.access_token.value, response.refresh_token) == (Secret(CANARY), Secret("CANARY+refresh"))
        assert response.lifetime_stated == ("expires_in" in last)

    def test_a_token_at_the_end_of_a_form_counts_where_that_is_known_to_be_its_end(self) -> None:
        form = f"access_token={CANARY}&expires_in=60&refresh_token=CANARY-ref".encode()
        assert parse(form).refresh_token is None
        assert parse(form, headers={"Content-Length": "75"}).refresh_token == Secret("CANARY-ref")
        assert failure(f"expires_in=60&access_token={CANARY}".encode()).cause is Cause.NOT_A_TOKEN

    def test_a_byte_order_mark_and_another_content_type_do_not_matter(self) -> None:
        response = parse(b"\xef\xbb\xbf" + json.dumps(GOOD).encode(), headers={"content-type": "text/html"})
        assert response.access_token.value == Secret(CANARY)
        assert response.transaction_id is None

    @pytest.mark.parametrize("transaction_id", ["", "a" * 65, "a b", "<script>", "a\n"])
    def test_a_transaction_id_of_another_form_is_dropped(self, transaction_id: str) -> None:
        assert parse(GOOD, headers={"x-transaction-id": transaction_id}).transaction_id is None


class TestFailure:
    """Every other answer has one cause, says whether it may pass, and repeats nothing of the answer."""

    @pytest.mark.parametrize(
        ("code", "cause"),
        [
            ("invalid_client", Cause.INVALID_CLIENT),
            ("invalid_grant", Cause.INVALID_GRANT),
            ("unsupported_grant_type", Cause.UNSUPPORTED_GRANT_TYPE),
            ("invalid_request", Cause.REQUEST_REFUSED),
            ("unauthorized_client", Cause.REQUEST_REFUSED),
            ("invalid_scope", Cause.REQUEST_REFUSED),
        ],
    )
    @pytest.mark.parametrize("status", [200, 400, 401, 403])
    def test_a_code_of_the_rfc_is_definite(self, status: int, code: str, cause: Cause) -> None:
        error = failure({**GOOD, "error": code, "error_description": "canary"}, status=status)
        assert (error.cause, error.transient, error.ambiguous) == (cause, False, False)
        assert error.message == f"ServiceNow refused the token request: {code}"
        assert error.transaction_id == "abc-123"

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (401, {"error": "server_error", "error_description": "access_denied"}),
            (401, {"error": "access_denied"}),
            (400, {"error": "server_error"}),
            (200, {**GOOD, "error": "server_error"}),
            (401, {"error": {"message": "User Not Authenticated canary"}, "status": "failure"}),
            (401, {"error": "canary"}),
        ],
    )
    def test_the_generic_refusal_may_pass(self, status: int, body: bytes | dict[str, object]) -> None:
        error = failure(body, status=status)
        assert error.cause is Cause.ACCESS_DENIED
        assert error.ambiguous
        assert error.transient
        assert "Exception on token flow" in diagnose(error.cause, "servicenow").checks[0]
        assert (
            error.message == f"ServiceNow refused the token request with its generic {status}, which does not say why"
        )

    @pytest.mark.parametrize("error", ["canary", {"message": "canary", "detail": "canary"}, None])
    def test_a_403_is_the_addresss_and_counts_against_no_credential(self, error: object) -> None:
        found = failure({"error": error, "status": "failure"}, status=403)
        assert (found.cause, found.transient, found.refused) == (Cause.ADDRESS_REFUSED, False, False)
        assert found.message == "ServiceNow keeps this address out (403): it refuses before it looks at any credential"

    @pytest.mark.parametrize("status", [400, 404, 405, 415])
    def test_another_refusal_names_its_status(self, status: int) -> None:
        error = failure({"error": "canary"}, status=status)
        assert (error.cause, error.transient) == (Cause.REQUEST_REFUSED, False)
        assert error.message == f"ServiceNow refused the token request with status {status}"
        assert error.hint == CHECK_ADDRESS

    @pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 407, 415, 421, 451])
    @pytest.mark.parametrize(
        "body",
        [
            *(b"", b"canary", {}, GOOD, {"message": "canary"}, {"statusCode": 401, "message": "canary"}),
            *({"error": ""}, {"error": None}, {"error": {}}, {"error": True}, {"error": ["canary"]}),
            *({"error": {"code": "canary", "message": "canary"}}, {"error": "no Route matched"}),
            *({"error": "Not Found"}, {"error": "Unauthorized", "path": "/oauth_token.do"}, {"error": "Forbidden"}),
        ],
    )
    def test_what_does_not_say_what_it_refuses_refuses_nothing(
        self, status: int, body: bytes | dict[str, object]
    ) -> None:
        """A gateway's answer says nothing of a credential, whatever its status; ServiceNow's says `error`."""
        error = failure(body, status=status)
        assert (error.cause, error.refused, error.transient) == (Cause.NOT_A_TOKEN, False, status == 401)
        assert error.message == (
            f"the token endpoint answered {status} without an error of OAuth, which refuses no credential"
        )
        assert error.hint.startswith(CHECK_ADDRESS)
        assert "Exception on token flow" in error.hint

    @pytest.mark.parametrize(
        ("error_value", "cause"),
        [
            ("canary", Cause.REQUEST_REFUSED),
            ({"message": "canary"}, Cause.REQUEST_REFUSED),
            (True, Cause.NOT_A_TOKEN),
        ],
    )
    def test_a_200_that_carries_an_error_is_a_failure(self, error_value: object, cause: Cause) -> None:
        error = failure({**GOOD, "error": error_value})
        assert error.cause is cause
        assert error.message == "ServiceNow answered 200 with an error instead of a token"

    @pytest.mark.parametrize("status", [200, 401, 404, 503])
    def test_a_hibernating_instance_is_recognized_whatever_its_status(self, status: int) -> None:
        error = failure(HIBERNATING, status=status, headers={"content-type": "text/html"})
        assert (error.cause, error.transient) == (Cause.INSTANCE_HIBERNATING, False)
        assert error.message == "the ServiceNow instance is hibernating"
        assert "developer.servicenow.com" in diagnose(error.cause, "servicenow").next_step

    @pytest.mark.parametrize("headers", [{"content-type": "Text/HTML"}, {"Content-Type": "application/xhtml+xml"}])
    def test_a_page_is_told_by_its_type_even_where_its_text_is_not(self, headers: dict[str, str]) -> None:
        assert failure(b"please log in", headers=headers).message == "the token endpoint answered 200 with a web page"

    @pytest.mark.parametrize("body", [b"<html>", b" \n<html>", b"<html> "])
    def test_or_by_its_text_even_where_its_type_is_not(self, body: bytes) -> None:
        assert failure(body, headers={"content-type": "application/json"}).cause is Cause.NOT_A_TOKEN
        assert "web page" in failure(body, headers={"content-type": "application/json"}).message

    @pytest.mark.parametrize("status", [200, 201, 400, 401, 403, 404])
    @pytest.mark.parametrize("headers", [{"content-type": "text/html;charset=UTF-8"}, {}])
    def test_a_page_does_not_count_against_the_credentials(self, status: int, headers: dict[str, str]) -> None:
        error = failure(HTML, status=status, headers=headers)
        assert (error.cause, error.transient, error.refused) == (Cause.NOT_A_TOKEN, True, False)
        assert error.message == f"the token endpoint answered {status} with a web page"
        assert error.hint == CHECK_ADDRESS

    def test_a_full_session_queue_passes(self) -> None:
        error = failure(b"", status=202, headers={"Retry-After": "7"})
        assert (error.cause, error.transient, error.retry_after) == (Cause.NOT_A_TOKEN, True, 7.0)
        assert error.message == "ServiceNow answered 202: its session queue is full, and no token was issued"
        assert error.hint == "It passes when the instance has less to do; the next tick tries again."

    @pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
    def test_a_redirect_is_no_token(self, status: int) -> None:
        error = failure(GOOD, status=status)
        assert (error.cause, error.transient) == (Cause.NOT_A_TOKEN, False)
        assert error.message == f"the token endpoint answered {status}, a redirect, which is not followed"
        assert error.hint == (
            "Where that is the instance, SERVICENOW_INSTANCE_URL has to be its address; where it is a sign-in, "
            "something in front of the instance has to let the token endpoint through."
        )
        assert "SERVICENOW_INSTANCE_URL" in error.hint

    @pytest.mark.parametrize(
        ("location", "told"),
        [
            ("https://sso.example.com/login?canary=1", " to sso.example.com"),
            ("https://user:canary@sso.example.com:8443/", " to sso.example.com"),
            ("/login.do?canary", " to a path of its own"),
            ("https://\u202ecanary.example", ""),
            ("https://[", ""),
            ("", ""),
        ],
    )
    def test_a_redirect_names_its_host_and_nothing_else(self, location: str, told: str) -> None:
        error = failure(GOOD, status=302, headers={"Location": location})
        assert error.message == f"the token endpoint answered 302, a redirect{told}, which is not followed"

    @pytest.mark.parametrize(("value", "seconds"), [("30", 30.0), ("Sun, 01 Mar 2026 12:00:20 GMT", 20.0), ("", None)])
    def test_throttling_says_when_to_come_back(self, value: str, seconds: float | None) -> None:
        error = failure(b"", status=429, headers={"retry-after": value})
        assert (error.cause, error.transient, error.retry_after) == (Cause.INSTANCE_THROTTLED, True, seconds)
        told = f", and asks for a pause of {seconds:.0f} s" if seconds else ""
        assert error.message == f"ServiceNow limits the rate of requests (429){told}"

    @pytest.mark.parametrize("status", [408, 500, 502, 503, 504, 599])
    def test_a_fault_of_the_instance_passes(self, status: int) -> None:
        error = failure({"error": "invalid_client"}, status=status, headers={"Retry-After": "3"})
        assert (error.cause, error.transient, error.retry_after) == (Cause.INSTANCE_ERROR, True, 3.0)

    def test_a_definite_refusal_names_no_time_to_come_back(self) -> None:
        error = failure({"error": "invalid_grant"}, status=401, headers={"Retry-After": "3"})
        assert error.retry_after is None
        assert error.hint == ""

    @pytest.mark.parametrize("status", [100, 201, 204, 206, 0, -1])
    def test_another_success_is_none(self, status: int) -> None:
        error = failure(GOOD, status=status)
        assert (error.cause, error.transient, error.hint) == (Cause.NOT_A_TOKEN, True, CHECK_ADDRESS)

    def test_a_status_beyond_the_classes_is_a_refusal_where_it_says_so(self) -> None:
        assert failure({"error": "canary"}, status=600).cause is Cause.REQUEST_REFUSED
        assert failure(b"", status=600).cause is Cause.NOT_A_TOKEN

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"canary",
            b"[]",
            b"null",
            b'"canary"',
            b"\xff\xfe",
            b"[" * 200_000,
            b'{"access_token": "canary", "expires_in": NaN}',
            b'{"access_token": "canary", "expires_in": 60, "access_token": "other"}',
            b'{"access_token": "canary", "expires_in": ' + b"9" * 5000 + b"}",
            json.dumps(GOOD).encode("utf-16"),
            json.dumps([GOOD]).encode(),
            b"access_token=canary&access_token=other&expires_in=60",
            b"access_token=canary&&expires_in=60",
            b"access_token=two+words&expires_in=60",
            b"access_token=&expires_in=60",
            b"error=server_error&error_description=canary",
        ],
    )
    def test_what_is_no_json_object_is_no_token(self, body: bytes) -> None:
        error = failure(body)
        assert error.cause is Cause.NOT_A_TOKEN
        assert error.message == "the token endpoint answered 200 with no JSON object"

    @pytest.mark.parametrize("encoding", ["br", "gzip, BR", "zstd"])
    def test_a_body_that_was_compressed_unasked_is_named(self, encoding: str) -> None:
        error = failure(b"\x8b\x02\x80", headers={"content-encoding": encoding})
        assert error.message.startswith("the token endpoint answered 200 with no JSON object (compressed with ")
        assert "switch that off for /oauth_token.do" in error.hint

    def test_an_answer_larger_than_any_token_is_not_read(self) -> None:
        padded = json.dumps(GOOD).encode().ljust(LARGEST_BODY + 1)
        error = failure(padded)
        assert (error.cause, error.message) == (Cause.NOT_A_TOKEN, "the answer is larger than any token")
        assert (error.transient, error.hint) == (False, CHECK_ADDRESS)
        assert parse(padded[:-1]).access_token.value == Secret(CANARY)


class TestRefreshTokenOfAFailure:
    """Whatever else is wrong with an answer, a refresh token in it may be the only one that still works."""

    @pytest.mark.parametrize(
        "body",
        [
            {**GOOD, "access_token": None},
            {**GOOD, "access_token": "two words"},
            {"refresh_token": "CANARY-refresh"},
            {**GOOD, "expires_in": 0},
            {**GOOD, "error": "server_error"},
            {**GOOD, "error": "invalid_grant"},
            [GOOD],
            {"refresh_token": "CANARY-refresh", "access_token": "null"},
            {"result": GOOD},
            {"status": "ok", "result": {"tokens": [{}, GOOD]}, "grants": {"refresh_token": "enabled"}},
            b'{"access_token": "a", "access_token": "b", "expires_in": 60, "refresh_token": "CANARY-refresh"}',
            b'{"access_token": "a", "expires_in": 60, "expires_in": 6, "refresh_token":"CANARY-refresh"}',
            b'{"access_token": "a", "refresh_token": "CANARY-first", "refresh_token" : "CANARY-refresh"}',
            b'{"access_token": "a", "refresh_token": "CANARY-refresh", "refresh_token": null}',
            b'{"access_token": "a", "refresh_token": "CANARY-refresh", "refresh_token": ""}',
            b'{"access_token": "a", "expires_in": NaN, "refresh_token": "CANARY-refresh"}',
            b'{"access_token": "a", "expires_in": ' + b"9" * 5000 + b', "refresh_token": "CANARY-refresh"}',
            b'{"refresh_token": "CANARY-refresh", "access_token": "cut sho',
            b'{"refresh_token": "CANARY\\u002drefresh", "access_token": "',
            b'{"scope": "\xff", "refresh_token": "CANARY-refresh"}',
            b'{"refresh_token": "CANARY-refresh", "you sent": {"refresh_token": "CANARY-old"}}',
            b'{"refresh_token": "\\u200bCANARY-refresh\\n"}',
            b'{"refresh_token": " CANARY-refresh", "access_token": "cut sho',
            json.dumps(GOOD).encode("utf-16"),
            b"access_token=a&refresh_token=CANARY-refresh&expires_in=0",
            b"access_token=a&refresh_token=CANARY-refresh&error=server_error",
        ],
    )
    def test_it_is_kept(self, body: bytes | dict[str, object]) -> None:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        assert failure(content).refresh_token == Secret("CANARY-refresh")

    @pytest.mark.parametrize(
        ("body", "doubtful"),
        [
            ({**GOOD, "expires_in": 0}, False),
            (json.dumps({**GOOD, "expires_in": 0}).encode()[:-1], False),
            ({"refresh_token": "CANARY-refresh"}, False),
            ({**GOOD, "access_token": None}, False),
            ({"result": GOOD}, False),
            ({"refresh_token": "enabled"}, True),
            ({"refresh_token": "/oauth2/refresh"}, True),
            ({"refresh_token": "https://sso.example/refresh"}, True),
            ({"texts": {"access_token": "Zugriffstoken", "refresh_token": "Aktualisierungstoken"}}, True),
        ],
    )
    def test_one_that_may_only_bear_the_name_is_doubtful(
        self, body: bytes | dict[str, object], doubtful: bool
    ) -> None:
        """It replaces none that is not known to be spent: any JSON could cost the good one."""
        error = failure(body)
        assert error.refresh_token is not None
        assert error.doubtful is doubtful

    @pytest.mark.parametrize("status", [201, 202, 206, 302, 400, 401, 500, 503])
    def test_whatever_the_status_of_an_answer_with_both_tokens(self, status: int) -> None:
        assert failure(GOOD, status=status).refresh_token == Secret("CANARY-refresh")

    @pytest.mark.parametrize(
        ("status", "body"),
        [
            (401, {"error": "server_error", "error_description": "access_denied"}),
            (400, {"error": "invalid_request", "refresh_token": "missing"}),
            (200, {"error": "invalid_request", "refresh_token": "missing"}),
            (200, {"refresh_token": ""}),
            (200, {"refresh_token": None}),
            (200, {"refresh_token": "is required"}),
            (200, {"refresh_token": "[REDACTED]"}),
            (200, {"refresh_token": "missing"}),
            (200, {"note": 'the "refresh_token": "CANARY-none" of yours'}),
            (200, b'{"access_token": "a", "refresh_token": "CANARY-cut-sh'),
            (200, json.dumps(GOOD).encode().ljust(LARGEST_BODY + 1)),
            *((status, page) for status in (200, 302, 401, 403, 500, 503) for page in SPEAKING_PAGES),
            (200, {"status": "ok", "grants": {"refresh_token": "enabled", "password": "disabled"}}),
            (200, {"issuer": "https://sso.example", "endpoints": [{"refresh_token": "/oauth2/refresh"}]}),
            (200, {"access_token": None, "texts": {"access_token": "", "refresh_token": "missing"}}),
            (401, {"access_token": "a", "fields": {"refresh_token": "missing"}}),
            (401, {"refresh_token": "missing", "fields": {"access_token": "a"}}),
            (200, b'var texts = {"access_token": "a", "refresh_token": "b", "expires_in": 3};'),
            (200, b'Allowed: "refresh_token": "granted"'),
        ],
    )
    def test_what_only_speaks_of_one_is_none(self, status: int, body: bytes | dict[str, object]) -> None:
        assert failure(body, status=status).refresh_token is None


DATES = st.from_regex(
    r"(Sun, )?[0-9]{1,2} (Mar|Feb) [0-9]{1,5} [0-9]{1,2}:[0-9]{2}(:[0-9]{2})? (GMT|[+-][0-9]{4,6})", fullmatch=True
)
"""Dates as they are written in headers, and those that no calendar has."""


class TestRetryAfter:
    """Both forms are understood; nonsense is no instruction."""

    @pytest.mark.parametrize(
        ("value", "seconds"),
        [
            ("0", 0.0),
            (" 120 ", 120.0),
            ("-5", 0.0),
            ("Sun, 01 Mar 2026 12:01:00 GMT", 60.0),
            ("Sun, 01 Mar 2026 12:01:00 -0000", 60.0),
            ("Sun, 01 Mar 2026 13:01:00 +0100", 60.0),
            ("Sun, 01 Mar 2026 11:00:00 GMT", 0.0),
            (None, None),
            ("", None),
            ("soon", None),
            ("1.5", 1.5),
            ("120, 120", 120.0),
            ("120,60", 120.0),
            ("+120", 120.0),
            ("120s", 120.0),
            ("120 seconds", 120.0),
            ("120;", 120.0),
            ("12 monkeys", None),
            ("2026-03-01T12:01:00Z", None),
            ("9" * 16, None),
            ("\u0663", None),
            ("Sun, 99 Mar 2026 12:01:00 GMT", None),
            ("Mon, 01 Jan 0001 00:00:00 +2359", 0.0),
        ],
    )
    def test_forms(self, value: str | None, seconds: float | None) -> None:
        assert parse_retry_after(value, NOW) == seconds

    @pytest.mark.parametrize(
        ("date", "seconds"),
        [
            ("Sun, 01 Mar 2026 11:59:00 GMT", 120.0),
            ("Sun, 01 Mar 2026 12:59:00 +0100", 120.0),
            ("Sun, 01 Mar 2026 12:02:00 GMT", 0.0),
            ("soon", 60.0),
            (None, 60.0),
        ],
    )
    def test_a_date_is_compared_with_the_answers_own(self, date: str | None, seconds: float) -> None:
        """Whatever this machine's clock says."""
        assert parse_retry_after("Sun, 01 Mar 2026 12:01:00 GMT", NOW, date) == seconds

    @given(st.text(max_size=80) | st.text("0123456789 :,-+GMTSunMar", max_size=40) | DATES)
    def test_any_text_is_a_time_or_nothing(self, value: str) -> None:
        seconds = parse_retry_after(value, NOW)
        assert seconds is None or seconds >= 0


ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PROBE_ANSWERS = st.fixed_dictionaries(
    {
        "result": st.lists(st.fixed_dictionaries({}, optional={"user_name": st.text(max_size=110) | ANY_JSON}))
        | ANY_JSON
    }
)


class TestProbeUser:
    """The probe's answer names a user, or it does not."""

    @pytest.mark.parametrize("name", ["simple.chat", "x", "x" * 100])
    def test_the_user_is_read(self, name: str) -> None:
        assert parse_probe_user(json.dumps({"result": [{"user_name": name}]}).encode()) == name

    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"{}",
            b'{"result": []}',
            b'{"result": {}}',
            b'{"result": ["x"]}',
            b'{"result": [{}]}',
            b'{"result": [{"user_name": ""}]}',
            b'{"result": [{"user_name": 5}]}',
            b'{"result": [{"user_name": "a\\nb"}]}',
            b'{"result": [{"user_name": "' + b"x" * 101 + b'"}]}',
        ],
    )
    def test_another_answer_names_nobody(self, body: bytes) -> None:
        assert parse_probe_user(body) is None

    @given(st.binary(max_size=60) | PROBE_ANSWERS.map(lambda value: json.dumps(value).encode()))
    @example(b'{"result": [{"user_name": "u"}]}')
    def test_any_body_is_a_user_or_nobody(self, body: bytes) -> None:
        name = parse_probe_user(body)
        if name is not None:
            assert name == json.loads(body)["result"][0]["user_name"]
            assert name.isprintable()
            assert 0 < len(name) <= 100


VISIBLE = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
ANY_FIELDS = {
    "access_token": VISIBLE | st.text(max_size=20) | ANY_JSON,
    "expires_in": st.integers(-5, 10**11) | st.text("0123456789.-e", max_size=12) | ANY_JSON,
    "refresh_token": VISIBLE | st.text(max_size=20) | ANY_JSON,
    "error": st.sampled_from(["invalid_client", "server_error", "", "x"]) | ANY_JSON,
    "scope": ANY_JSON,
}
# A token with at most one thing wrong with it: chance alone never comes so near.
NEARLY = st.builds(
    lambda token, life, change: {"access_token": token, "expires_in": life, **change},
    VISIBLE,
    st.integers(1, 4000),
    st.sampled_from(sorted(ANY_FIELDS)).flatmap(lambda name: st.fixed_dictionaries({name: ANY_FIELDS[name]})),
)
ANSWERS = st.fixed_dictionaries({}, optional=ANY_FIELDS)
BODIES = (
    st.binary(max_size=200)
    | ANY_JSON.map(lambda value: json.dumps(value).encode())
    | ANSWERS.map(lambda value: json.dumps(value).encode())
)
HEADERS = st.dictionaries(
    st.sampled_from(["Content-Type", "Retry-After", "X-Transaction-ID", "Location"]),
    st.text(max_size=70) | st.sampled_from(["text/html", "30", "application/json"]) | DATES,
)


@given(status=st.sampled_from([200, 200, 200, 400, 401, 429, 503]) | st.integers(0, 999), headers=HEADERS, body=BODIES)
@example(status=200, headers={}, body=b'{"access_token": "t", "expires_in": 1}')
def test_any_answer_is_a_valid_token_or_a_declared_error(status: int, headers: dict[str, str], body: bytes) -> None:
    assert_understood(status, headers, body)


@settings(max_examples=3 * settings().max_examples)
@given(status=st.sampled_from([200, 200, 200, 201, 202, 401]), answer=NEARLY)
def test_one_thing_wrong_is_enough(status: int, answer: dict[str, object]) -> None:
    assert_understood(status, {}, json.dumps(answer).encode())


def assert_understood(status: int, headers: dict[str, str], body: bytes) -> None:
    response: TokenResponse | None = None
    error: TokenEndpointError | None = None
    try:
        response = parse_token_response(status, headers, body, now=NOW, grant=Grant.PASSWORD)
    except TokenEndpointError as caught:
        error = caught
    if response is None:
        assert error is not None
        assert error.message
        assert error.retry_after is None or error.transient
        return
    fields = json.loads(body)
    assert status == 200
    assert not fields.get("error")
    assert response.access_token.value == Secret(fields["access_token"])
    assert all("!" <= sign <= "~" for sign in fields["access_token"])
    assert fields["access_token"]
    assert timedelta(seconds=1) <= response.access_token.lifetime <= timedelta(days=3650)
    if response.refresh_token is not None:
        assert response.refresh_token == Secret(fields["refresh_token"]).stripped()
        assert response.refresh_token
