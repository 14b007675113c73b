"""Two refreshers of one connection at an instance that rotates, in every order in which their steps can follow.

A step is what one request does at its service: look, acquire, each of two reads, note, token request, each of two
writes, release; besides, a note that fails or whose answer is lost, a crash after any step, and a lease that ends by
itself. What the refreshers decide in between is the product's own functions. `explore` returns what went wrong.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import Enum, auto
from typing import NamedTuple

from refresher.policy.exclusion import LONGEST_OVERLAP, may_release, reads_stand


class Stage(Enum):
    """What a refresher does next."""

    LOOK = auto()
    TRY = auto()
    READ_AGAIN = auto()
    ASK = auto()
    STORE = auto()
    PUBLISH = auto()
    RELEASE = auto()
    OVER = auto()


class Note(Enum):
    """What became of a holder's note."""

    NONE = auto()
    SENT = auto()
    STANDS = auto()
    FAILED = auto()


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The decisions that keep them apart."""

    reads_stand: Callable[[str | None, str | None, float], bool] = reads_stand
    may_release: Callable[[bool, bool], bool] = lambda writes, noted: may_release(writes=writes, noted=noted)
    waits_for_note: bool = True
    """Before the first write."""
    notes_fail: bool = True


class Refresher(NamedTuple):
    """One of them. Its runs are ticks, which ask only where the access token is the old one, or forced."""

    forced: tuple[bool, ...]
    """For each run that is still to come, the one under way first."""
    stage: Stage = Stage.LOOK
    seen: str | None = None
    acquired: str | None = None
    token: int | None = None
    refresh_token: int | None = None
    received: int = 0
    note: Note = Note.NONE
    writes: bool = False
    asked: bool = False
    crashed: bool = False
    overtaken: bool = False
    """Whether the other wrote after the first read."""
    late: bool = False
    """Whether two seconds or more have passed since."""


class World(NamedTuple):
    """The services, and both refreshers."""

    refreshers: tuple[Refresher, Refresher]
    changes: int = 0
    """Of the blob; its ETag."""
    holder: int | None = None
    token: int = 0
    refresh_token: int = 0
    accepted: int = 0
    """The refresh token that ServiceNow accepts."""
    wrong: str = ""

    @property
    def etag(self) -> str:
        """The blob's."""
        return str(self.changes)


def explore(first: tuple[bool, ...], second: tuple[bool, ...], rules: Rules | None = None) -> tuple[set[str], int]:
    """Everything that can go wrong, and how many worlds there are; whether each run of the two is forced."""
    start = World((Refresher(first), Refresher(second)))
    reached, left, wrong = {start}, [start], set()
    while left:
        for world in _following(left.pop(), rules or Rules()):
            if world.wrong:
                wrong.add(world.wrong)
            elif world not in reached:
                reached.add(world)
                left.append(world)
    return wrong, len(reached)


def _following(world: World, rules: Rules) -> Iterator[World]:
    for me in (0, 1):
        yield from _note(world, me, rules)
        if not world.refreshers[me].crashed:
            yield from _step(world, me, rules)
            yield from _crash(world, me)
    yield from _lease_ends(world)


def _with(world: World, me: int, **changes: object) -> World:
    refreshers = list(world.refreshers)
    refreshers[me] = refreshers[me]._replace(**changes)  # type: ignore[arg-type]
    return world._replace(refreshers=(refreshers[0], refreshers[1]))


def _step(world: World, me: int, rules: Rules) -> Iterator[World]:
    mine = world.refreshers[me]
    may_write = not rules.waits_for_note or mine.note in {Note.STANDS, Note.FAILED}
    match mine.stage:
        case Stage.LOOK:
            free = world.holder is None
            yield _with(world, me, stage=Stage.TRY, seen=world.etag) if free else _begin_next(world, me)
        case Stage.TRY:
            yield from _try(world, me, rules)
        case Stage.READ_AGAIN:
            yield from (_decided(each, me) for each in _reads(world, me))
        case Stage.ASK:
            yield _ask(world, me)
        case Stage.STORE if may_write:
            world = _overtake(world, me)._replace(refresh_token=mine.received)
            yield _with(world, me, stage=Stage.PUBLISH, writes=True)
        case Stage.PUBLISH if may_write:
            world = _overtake(world, me)._replace(token=world.token + 1)
            yield _with(world, me, stage=Stage.RELEASE, writes=True)
        case Stage.RELEASE if mine.note is not Note.SENT:
            if rules.may_release(mine.writes, mine.note is Note.STANDS):
                seen = world.etag if mine.note is Note.STANDS else None
                yield _begin_next(world._replace(holder=None), me, seen)
        case _:
            return


def _begin_next(world: World, me: int, seen: str | None = None) -> World:
    """The next run of the same process, which remembers the ETag of its own note."""
    forced = world.refreshers[me].forced[1:]
    stage = Stage.OVER if not forced else Stage.LOOK if seen is None else Stage.TRY
    refreshers = list(world.refreshers)
    refreshers[me] = Refresher(forced, stage=stage, seen=seen)
    return world._replace(refreshers=(refreshers[0], refreshers[1]))


def _try(world: World, me: int, rules: Rules) -> Iterator[World]:
    """Acquire and read, in any order."""
    mine = world.refreshers[me]
    if mine.acquired is None:
        if world.holder is None:
            held = world._replace(holder=me)
            yield _judged(_with(held, me, acquired=world.etag, note=Note.SENT), me, rules)
        else:
            yield _begin_next(world, me)
    yield from (_judged(each, me, rules) for each in _reads(world, me))


def _reads(world: World, me: int) -> Iterator[World]:
    mine = world.refreshers[me]
    if mine.token is None:
        yield _with(world, me, token=world.token)
    if mine.refresh_token is None:
        yield _with(world, me, refresh_token=world.refresh_token)


def _judged(world: World, me: int, rules: Rules) -> World:
    mine = world.refreshers[me]
    if mine.acquired is None or mine.token is None or mine.refresh_token is None:
        return world
    if rules.reads_stand(mine.seen, mine.acquired, LONGEST_OVERLAP + 1 if mine.late else 0.0):
        return _decided(world, me)
    return _with(world, me, stage=Stage.READ_AGAIN, token=None, refresh_token=None)


def _decided(world: World, me: int) -> World:
    mine = world.refreshers[me]
    if mine.token is None or mine.refresh_token is None:
        return world
    due = mine.forced[0] or mine.token == 0
    return _with(world, me, stage=Stage.ASK if due else Stage.RELEASE)


def _ask(world: World, me: int) -> World:
    mine, other = world.refreshers[me], world.refreshers[1 - me]
    if mine.refresh_token != world.accepted:
        return world._replace(wrong="a spent refresh token was sent")
    if not mine.forced[0] and world.token > 0:
        return world._replace(wrong="two tokens were asked for in the place of one")
    if other.asked and not other.crashed:
        return world._replace(wrong="two refreshers were at work at once")
    received = world.accepted + 1
    return _with(world._replace(accepted=received), me, stage=Stage.STORE, received=received, asked=True)


def _overtake(world: World, me: int) -> World:
    other = world.refreshers[1 - me]
    reading = other.stage is Stage.TRY and other.acquired is None
    if reading and (other.token is not None or other.refresh_token is not None):
        return _with(world, 1 - me, overtaken=True)
    return world


def _note(world: World, me: int, rules: Rules) -> Iterator[World]:
    """It stands there, its answer is lost, or it never comes; also where its sender is no more."""
    if world.refreshers[me].note is Note.SENT and world.holder == me:
        noted = world._replace(changes=world.changes + 1)
        yield _with(noted, me, note=Note.STANDS)
        if rules.notes_fail:
            yield _with(noted, me, note=Note.FAILED)
            yield _with(world, me, note=Note.FAILED)


def _crash(world: World, me: int) -> Iterator[World]:
    # Between ServiceNow's answer and the vault, a rotated token is lost whoever comes next: nothing to be seen there.
    if world.refreshers[me].stage not in {Stage.STORE, Stage.OVER}:
        yield _with(world, me, crashed=True)


def _lease_ends(world: World) -> Iterator[World]:
    """By itself, once its holder has crashed or keeps it: two seconds after the last write at the earliest."""
    if world.holder is None:
        return
    holder, other = world.refreshers[world.holder], 1 - world.holder
    if holder.crashed or (holder.stage is Stage.RELEASE and holder.note is not Note.SENT):
        ended = world._replace(holder=None)
        if world.refreshers[other].overtaken:
            ended = _with(ended, other, late=True)
        yield ended if holder.crashed else _begin_next(ended, world.holder)
