"""Many connections: which are opened, in what order, and which are told of together."""

from refresher.views.folding import Finding, fold

ONE, OTHER = "https://one.service-now.com", "https://other.service-now.com"


def found(connection: str, gravity: int = 0, instance: str = ONE, shared: str | None = None) -> Finding[None]:
    return Finding(connection=connection, instance=instance, gravity=gravity, shared=shared, what=None)


def names(*findings: Finding[None], everything: bool = False) -> list[list[str]]:
    return [[each.connection for each in group] for group in fold(findings, everything=everything)]


def test_healthy_ones_are_folded_and_the_gravest_comes_last() -> None:
    shuffled = found("dead", 5), found("well"), found("late", 2), found("dying", 4)
    assert names(*shuffled) == [["late"], ["dying"], ["dead"]]
    assert fold([found("well"), found("fine")]) == ()


def test_everything_is_opened_each_by_itself_where_that_is_asked_for() -> None:
    away = [found(each, 2, shared="away") for each in "ab"]
    assert names(*away, found("well"), everything=True) == [["well"], ["a"], ["b"]]


def test_what_an_instance_causes_is_told_once_of_all_its_connections_by_the_gravest() -> None:
    findings = [
        found("a", 2, shared="away"),
        found("b", 5, shared="away"),
        found("c", 2, instance=OTHER, shared="away"),
        found("d", 2, shared="throttled"),
        found("e", 2),
        found("f", 3, shared="away"),
    ]
    assert names(*findings) == [["c"], ["d"], ["e"], ["b", "f", "a"]]
    assert {each.instance for each in fold(findings)[-1]} == {ONE}
