"""For each cause: what it most likely is, what to check, and one next step, in the terms of those who must act."""

import re

import pytest

from refresher.model.causes import Cause, diagnose


@pytest.mark.parametrize("cause", Cause)
def test_every_cause_has_a_meaning_something_to_check_and_a_next_step(cause: Cause) -> None:
    found = diagnose(cause, "hr")
    for sentence in (found.meaning, found.next_step):
        assert re.fullmatch(r"[A-Z][^{}]+[A-Za-z.)]", sentence)
    assert found.checks
    for check in found.checks:
        assert len(check) > 10
        assert not re.search(r"[{}]", check)
    for command in re.findall(r"python -m refresher (\w+) (\S+)", found.next_step):
        assert command[0] == "doctor" or command[1].rstrip(".") == "hr"


@pytest.mark.parametrize(
    ("cause", "words"),
    [
        (Cause.INVALID_CLIENT, ("Application Registry", "application is active", "hr-client-secret")),
        (Cause.INVALID_GRANT, ("refresh token", "locked out", "Exception on token flow", "JWT verifier map")),
        (Cause.ACCESS_DENIED, ("Exception on token flow", "hr-client-secret", "Manage Tokens", "locked out")),
        (Cause.UNSUPPORTED_GRANT_TYPE, ("glide.oauth.inbound.client.credential.grant_type.enabled",)),
        (Cause.GUEST_TOKEN, ("OAuth Application User",)),
        (Cause.TOKEN_REJECTED, ("user is active", "access policies")),
        (Cause.PASSWORD_REFUSED, ("locked out", "hr-password")),
    ],
)
def test_it_speaks_servicenows_language(cause: Cause, words: tuple[str, ...]) -> None:
    found = diagnose(cause, "hr")
    text = " ".join((found.meaning, *found.checks, found.next_step))
    for each in words:
        assert each in text
