"""What a terminal shows of an examination: a line first, what passes folded, one instance's fault once, cause last."""

from dataclasses import replace

import pytest

from refresher.model.check import Check, failed, passed, warned
from refresher.views.examination import show_checks, verdict


def healthy(name: str) -> list[Check]:
    return [passed(name, "token", "accepted"), passed(name, "instance", "reached")]


def away(name: str) -> list[Check]:
    return [
        replace(failed(name, "token", "ended", "It follows."), follows=True),
        replace(failed(name, "instance", "the instance did not answer in time", "Ask its people."), suspected=True),
    ]


def wrong(name: str) -> list[Check]:
    return [
        warned(name, "lease", "a file", "Set LEASE."),
        replace(failed(name, f"{name}-client-secret", "its value is in quotation marks", "Store it."), suspected=True),
        replace(failed(name, "token", "ended", "It follows."), follows=True),
    ]


THIRTY = [
    passed(None, "identity", "somebody"),
    *(check for number in range(26) for check in healthy(f"c{number}")),
    *wrong("hr"),
    *away("it"),
    *away("finance"),
    *away("legal"),
]
INSTANCES = {"it": "https://one", "finance": "https://one", "legal": "https://two", "hr": "https://one"}


def shown(checks: list[Check], capsys: pytest.CaptureFixture[str], *, everything: bool = False) -> list[str]:
    show_checks(checks, INSTANCES, everything=everything)
    return capsys.readouterr().out.splitlines()


def test_the_first_line_counts_and_names_the_first_suspicion() -> None:
    assert verdict(THIRTY) == (
        "4 of 30 connections fail: hr, it, finance, legal. Most likely: hr: hr-client-secret: its value is in "
        "quotation marks"
    )
    assert verdict(healthy("hr")) == "Every check passes (1 connection)."
    assert verdict([*healthy("hr"), replace(warned("hr", "lease", "a file", "Set it."), suspected=True)]) == (
        "1 of 1 connection with a warning: hr. Most likely: hr: lease: a file"
    )


def test_a_warning_of_none_of_the_connections_is_told_in_the_first_line_too() -> None:
    checks = [warned(None, "identity", "AZURE_CLIENT_SECRET is set", "Take it out."), *healthy("hr")]
    assert verdict(checks) == "identity warns. Most likely: identity: AZURE_CLIENT_SECRET is set"
    assert verdict([*checks, *away("it")]).startswith("1 of 2 connections fails: it; identity warns. Most likely: it:")


def test_who_looks_is_suspected_before_every_connection() -> None:
    checks = [failed(None, "identity", "no token could be had", "Sign in."), *away("hr")]
    assert verdict(checks) == (
        "identity fails; 1 of 1 connection fails: hr. Most likely: identity: no token could be had"
    )


def test_what_passes_is_a_line_each_unless_all_is_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(THIRTY, capsys)
    assert len([line for line in lines if "all checks" in line and "2 pass" in line]) == 26
    assert not any("reached" in line for line in lines)
    opened = shown(THIRTY, capsys, everything=True)
    assert len([line for line in opened if "reached" in line]) == 26


def test_what_is_ever_so_opens_nothing_and_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    ever = replace(warned("c0", "refresh token's life", "until spring", "Authorize."), standing=True)
    lines = shown([*healthy("c0"), ever, *wrong("hr")], capsys)
    (folded,) = (line for line in lines if " c0 " in line)
    assert folded.split(maxsplit=2)[2].split(maxsplit=2)[2] == "2 pass; as ever: refresh token's life"
    assert "  Authorize" not in lines
    assert verdict([*healthy("c0"), ever]) == (
        "Every check passes (1 connection), but for what is ever so: refresh token's life."
    )


def test_of_several_what_does_not_pass_is_opened_and_the_rest_is_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(THIRTY, capsys)
    mine = [line for line in lines if line.split()[1:2] == ["hr"]]
    assert [line.split()[0] for line in mine] == ["warn", "fail", "fail", "pass"]


def test_no_working_token_is_graver_than_a_refresh_that_fails(capsys: pytest.CaptureFixture[str]) -> None:
    failing = [
        passed("it", "token", "accepted"),
        replace(failed("it", "last refresh", "failed", "Mend it."), suspected=True),
    ]
    checks = [*wrong("hr"), *failing]
    assert "Most likely: hr: hr-client-secret" in verdict(checks)
    assert shown(checks, capsys)[-1] == "  Store it"


def test_one_instances_fault_is_told_once_with_all_whom_it_meets(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown(THIRTY, capsys)
    assert "https://one: 2 connections have the same: it, finance" in lines
    assert lines.count("  Ask its people") == 2, "once for each instance"


def test_tokens_that_could_not_be_tried_at_one_instance_are_told_of_together(
    capsys: pytest.CaptureFixture[str],
) -> None:
    untried = "by its dates; could not be tried: the instance answered 503"
    checks = [replace(warned(name, "token", untried, "See what answers."), suspected=True) for name in ("it", "hr")]
    lines = shown(checks, capsys)
    assert "https://one: 2 connections have the same: it, hr" in lines
    assert lines.count("  See what answers") == 1


def test_the_first_suspicion_is_last_where_the_prompt_is(capsys: pytest.CaptureFixture[str]) -> None:
    lines = shown([passed(None, "identity", "somebody"), *wrong("hr")], capsys)
    assert lines[-2:] == ["fail: hr: hr-client-secret", "  Store it"]
    assert "  It follows" not in lines, "what follows from another needs no step of its own"


def test_what_has_one_remedy_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    checks = [
        replace(failed("hr", f"secret-{n}", f"kept out ({n})", "Let it in."), suspected=n == 0) for n in range(7)
    ]
    lines = shown(checks, capsys)
    assert [line for line in lines if "kept out" in line][1:] == [
        "fail  hr          secret-0 and 6 more  kept out (0)"
    ]
    assert lines[-2:] == ["fail: hr: secret-0 and 6 more", "  Let it in"]
