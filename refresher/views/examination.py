"""What a terminal shows of an examination: the verdict first, and the first suspicion last, where the prompt is.

Connections that pass are a line each; those of one instance that fail for the same reason are told of together.
"""

from collections.abc import Iterable, Mapping, Sequence

from refresher.model.check import Check, Verdict
from refresher.views.folding import Finding, fold
from refresher.views.tables import print_table, say_wrapped, show_step
from refresher.views.terminal import say
from refresher.views.words import few

_GRAVITY = {Verdict.PASS: 0, Verdict.WARN: 1, Verdict.FAIL: 2}
_OF_THE_INSTANCE = frozenset({"instance", "token endpoint"})
"""Checks that several connections of an instance fail for one reason."""
_TOKEN = "token"  # noqa: S105 - a check's name
_SHORTEST_FOLD = 2
_Found = Finding[Sequence[Check]]
Alike = tuple[Check, int]
"""A check, and how many others of its connection have its verdict and its remedy."""


def show_checks(checks: Sequence[Check], instances: Mapping[str, str], *, everything: bool = False) -> None:
    """The verdict, a table, then the remedies, the first suspicion last. `instances`: addresses by connection."""
    found = list(_found(checks, instances))
    general = [check for check in checks if check.connection is None]
    everything |= len(found) < _SHORTEST_FOLD
    say(verdict(checks))
    say()
    groups = fold(found, everything=everything)
    opened = {finding.connection for group in groups for finding in group[:1]}
    rows = [_row(alike) for alike in alike_ones(general)]
    for finding in sorted(found, key=lambda each: each.gravity):
        rows += _rows(finding, opened=finding.connection in opened, everything=everything)
    print_table(("", "connection", "check", "found"), rows)
    if all(check.verdict is not Verdict.FAIL for check in general):
        _show_remedies(general, everything=everything)
        general = []
    for group in groups:
        if len(group) > 1:
            names = ", ".join(finding.connection for finding in group)
            say()
            say_wrapped(f"{group[0].instance}: ", f"{len(group)} connections have the same: {names}")
        _show_remedies(group[0].what, everything=everything)
    _show_remedies(general, everything=everything)


def verdict(checks: Sequence[Check]) -> str:
    """What all comes to, with the first suspicion."""
    found = list(_found(checks, {}))
    connections = f"{len(found)} connection{'s' if len(found) != 1 else ''}"
    total, worst = f"of {connections}", max((each.gravity for each in found), default=0)
    failing = [each.connection for each in found if each.gravity >= _GRAVITY[Verdict.FAIL]]
    warned = [each.connection for each in found if each.gravity == _GRAVITY[Verdict.WARN]]
    gravest = {each.connection for each in found if each.gravity == worst}
    parts = [f"{len(failing)} {total} fail{'s' if len(failing) == 1 else ''}: {few(failing)}"] if failing else []
    parts += [f"{len(warned)} {total} with a warning: {few(warned)}"] if warned else []
    general = [check for check in checks if check.connection is None]
    graver = [check for check in general if check.verdict is Verdict.FAIL]
    doubted = [check for check in general if check.verdict is Verdict.WARN]
    parts = [*(f"{check.name} fails" for check in graver), *parts, *(f"{check.name} warns" for check in doubted)]
    if not parts:
        ever = list(dict.fromkeys(check.name for check in checks if check.verdict is Verdict.WARN))
        return f"Every check passes ({connections}){f', but for what is ever so: {few(ever)}' if ever else ''}."
    marked = [check for check in checks if check.suspected and check.connection in gravest]
    suspected = next(iter((*graver, *marked, *doubted)), None)
    first = f" Most likely: {_where(suspected)}{suspected.name}: {suspected.detail}" if suspected is not None else ""
    return f"{'; '.join(parts)}.{first}"


def alike_ones(checks: Iterable[Check]) -> list[Alike]:
    """The checks in their order, those with the same remedy as one."""
    found: list[Alike] = []
    for check in checks:
        at = next((number for number, (first, _) in enumerate(found) if _is_same(first, check)), None)
        if at is None:
            found.append((check, 0))
        else:
            first, others = found[at]
            found[at] = (check if check.suspected else first, others + 1)
    return found


def _is_same(one: Check, other: Check) -> bool:
    return bool(one.remedy) and not one.follows and (one.verdict, one.remedy) == (other.verdict, other.remedy)


def _found(checks: Iterable[Check], instances: Mapping[str, str]) -> Iterable[_Found]:
    by_connection: dict[str, list[Check]] = {}
    for check in checks:
        if check.connection is not None:
            by_connection.setdefault(check.connection, []).append(check)
    for name, own in by_connection.items():
        suspected = next((check for check in own if check.suspected), None)
        of_instance = suspected is not None and _is_of_the_instance(suspected)
        yield Finding(
            connection=name,
            instance=instances.get(name, ""),
            gravity=max((_gravity(check) for check in own), default=0),
            shared=suspected.detail if suspected is not None and of_instance else None,
            what=own,
        )


def _is_of_the_instance(check: Check) -> bool:
    """Whether all that ask the same instance may find the same, a token that could not be tried there included."""
    return check.name in _OF_THE_INSTANCE or (check.name == _TOKEN and check.verdict is Verdict.WARN)


def _gravity(check: Check) -> int:
    """A token that does not work is graver than what stands in its next one's way; what is ever so is no news."""
    return 0 if check.standing else _GRAVITY[check.verdict] + (check.verdict is Verdict.FAIL and check.name == _TOKEN)


def _show_remedies(checks: Iterable[Check], *, everything: bool) -> None:
    news = [check for check in checks if everything or not check.standing]
    for check, others in sorted(alike_ones(news), key=lambda each: (_GRAVITY[each[0].verdict], each[0].suspected)):
        if check.remedy and not check.follows:
            say()
            say(f"{check.verdict}: {_where(check)}{_called(check, others)}")
            show_step(check.remedy, label="")


def _rows(finding: _Found, *, opened: bool, everything: bool) -> list[tuple[str, str, str, str]]:
    """All checks of a connection; of several connections what does not pass, and a line for what does."""
    if everything:
        return [_row(alike) for alike in alike_ones(finding.what)]
    name, rest = finding.connection, [check for check in finding.what if check.verdict is not Verdict.PASS]
    passing = f"{len(finding.what) - len(rest)} pass"
    if not finding.gravity:
        lasting = f"; as ever: {few([check.name for check in rest])}" if rest else ""
        return [(Verdict.PASS, name, "all checks", f"{passing}{lasting}")]
    if not opened:
        return [_row((check, 0)) for check in rest if check.suspected]
    return [*map(_row, alike_ones(rest)), (Verdict.PASS, name, "the others", passing)]


def _row(alike: Alike) -> tuple[str, str, str, str]:
    check, others = alike
    return check.verdict, check.connection or "", _called(check, others), check.detail


def _called(check: Check, others: int) -> str:
    return f"{check.name} and {others} more" if others else check.name


def _where(check: Check) -> str:
    return f"{check.connection}: " if check.connection else ""
