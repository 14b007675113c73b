"""Secrets show themselves to nobody by accident, and to few on purpose."""

import ast
import copy
import json
import pickle
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest

from refresher.model.grants import Grant
from refresher.model.tokens import AccessToken, Secret
from tests.factories import HOUR, NOON

PACKAGE = Path(__file__).parents[3] / "refresher"
CANARY = "CANARY-value"
OPENERS = {
    "doctor/values",
    "entra/claims",
    "keyvault/vault",
    "servicenow/assertion",
    "servicenow/authorization",
    "servicenow/contents",
    "servicenow/oauth",
    "servicenow/session",
}
"""They build requests, read a redirect, write the vault, or look at a value's form and tell nothing of it."""


def test_only_what_builds_a_request_or_writes_the_vault_opens_a_secret() -> None:
    opened = {
        path.relative_to(PACKAGE).with_suffix("").as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Attribute) and node.attr in {"reveal", "_value"} and path.stem != "tokens"
    }
    assert opened
    assert opened <= OPENERS


@pytest.mark.parametrize("form", ["{}", "{!s}", "{!r}", "{!a}"])
def test_a_secret_is_never_shown(form: str) -> None:
    """Neither by itself nor in what holds it."""
    token = AccessToken(value=Secret(CANARY), issued_at=NOON, expires_at=NOON + HOUR, grant=Grant.PASSWORD)
    for each in (Secret(CANARY), [Secret(CANARY)], token):
        assert CANARY not in form.format(each)
    assert f"{Secret(CANARY):>20}" == "(hidden)"


TAKEN: dict[str, Callable[[object], object]] = {
    "pickle": pickle.dumps,
    "deepcopy": copy.deepcopy,
    "json": json.dumps,
    "copy": copy.copy,
    "vars": vars,
}


@pytest.mark.parametrize(
    ("take", "of_what_holds_it"), [*((each, False) for each in TAKEN), *((each, True) for each in list(TAKEN)[:3])]
)
def test_a_secret_is_not_taken_out_of_the_process(take: str, *, of_what_holds_it: bool) -> None:
    token = AccessToken(value=Secret(CANARY), issued_at=NOON, expires_at=NOON + HOUR, grant=Grant.PASSWORD)
    with pytest.raises(TypeError) as caught:
        TAKEN[take](token if of_what_holds_it else token.value)
    assert CANARY not in str(caught.value)


def test_a_secret_is_equal_to_the_same_one_and_to_no_text() -> None:
    assert Secret(CANARY) == Secret(CANARY)
    assert len({Secret(CANARY), Secret(CANARY), Secret("CANARY-other")}) == 2
    assert Secret(CANARY) != Secret("CANARY-other")
    assert Secret(CANARY) != CANARY
    assert Secret(f" {CANARY}\n").stripped() == Secret(CANARY)
    assert not Secret("")


def test_half_a_surrogate_pair_is_a_value_like_another() -> None:
    """A vault's JSON can hold one, and UTF-8 cannot: a run that compares must not fail for it."""
    half = json.loads(r'"\ud800CANARY"')
    assert Secret(half) == Secret(half)
    assert Secret(half) != Secret(CANARY)


@pytest.mark.parametrize(
    "unseen",
    [
        " ",
        "\n",
        "\r\n",
        "\ufeff",
        "\u200b",
        "\u00a0",
        "\u2060",
        "\u200e",
        "\u00ad",
        "\u202a",
        "\u2028",
        "\x00",
        "\u3164",
        "\u2800",
        "\u180e",
        "\U000e0020",
        "\ufeff \u200b\n",
    ],
    ids=ascii,
)
def test_what_nobody_sees_around_a_pasted_secret_is_no_part_of_it(unseen: str) -> None:
    pasted = Secret(f"{unseen}{CANARY}{unseen}")
    assert pasted.stripped() == Secret(CANARY)
    assert not Secret(unseen * 2).stripped()


def test_what_stands_within_a_secret_stays() -> None:
    assert Secret("p\u200b w").stripped() == Secret("p\u200b w")
    ends_in_a_picture = Secret("\u2764\ufe0f")
    assert ends_in_a_picture.stripped() == ends_in_a_picture


def test_a_token_lives_from_its_issue_to_its_end() -> None:
    token = AccessToken(value=Secret(CANARY), issued_at=NOON, expires_at=NOON + HOUR, grant=Grant.PASSWORD)
    assert token.lifetime == timedelta(hours=1)
