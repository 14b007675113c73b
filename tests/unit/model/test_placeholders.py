"""What stands in the place of a value, and what is one however odd it looks."""

import pytest

from refresher.model.placeholders import is_placeholder, is_template


@pytest.mark.parametrize(
    "text",
    [
        *("null", "None", "NIL", "undefined", "N/A", "n.a.", "true", "false", "redacted", "HIDDEN", "removed"),
        *("-", "--", "***", "\u2022\u2022\u2022\u2022", "?", "xxxx", "XXXX-XXXX", "00000", "********", "____"),
        *("[REDACTED]", "<masked>", "(hidden)", "***REDACTED***", "__masked__", "[REDACTED: 86 signs]", "'null'"),
        *("${TOKEN}", "$TOKEN", "%TOKEN%", "{{ token }}", "{token}", "#{refresh}", "[token#1]", "<your token here>"),
        *("access_token", "REFRESH-TOKEN", "yourAccessToken", "changeme", "token-removed-by-gateway", "Not Available"),
        *("****wxyz", "eyJhbGciOi...", "eyJhbGciOi\u2026abcd"),
    ],
)
def test_it_stands_in_the_place_of_a_value(text: str) -> None:
    assert is_placeholder(text)


@pytest.mark.parametrize(
    "text",
    [
        *("t", "ab", "a1", "7", "aa", "abc", "nullable7", "nonesuch", "trueblue", "hiddenX9"),
        *("0a1b2c3d4e5f60718293a4b5c6d7e8f9", "p3Vf9_xR4tLm", "eyJh.eyJp.c2ln", "eyJh..c2ln", "a+b/c==", "--a7--"),
        *("secret-7", "token42", "CANARY two words", "\u00e9t\u00e9"),
    ],
)
def test_it_may_be_a_value(text: str) -> None:
    assert not is_placeholder(text)


@pytest.mark.parametrize("text", ["hidden", "----", "xxxx", "token", "{abc}"])
def test_a_password_may_be_what_no_token_is(text: str) -> None:
    assert is_placeholder(text)
    assert not is_template(text)
