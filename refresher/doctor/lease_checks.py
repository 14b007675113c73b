"""The lease of one connection, looked at: who holds it, since when, and how it is ended where nobody else will."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from refresher.lease.lease import Lease
from refresher.model.check import Check, failed, passed, warned
from refresher.model.errors import LeaseHeldError, LeaseUnavailableError
from refresher.model.steps import Step

LEASE = "lease"
_LONGEST_RUN = timedelta(minutes=5)
"""A tick is over within four, and so is whatever a person starts."""


def lease_checks(
    name: str, lease: Lease, now: datetime, *, shared: bool, apps: bool, waited_for: timedelta
) -> Iterator[Check]:
    """Whether it can be had, and whether somebody keeps it.

    `shared`: all machines have the same; `apps`: the app's own identity looks, which has to be let in; `waited_for`:
    since when the connection has no token.
    """
    try:
        held = lease.holder(name)
    except LeaseUnavailableError as error:
        yield (failed if apps or not error.refused else warned)(name, LEASE, error.message, error.hint)
        return
    if held is not None:
        yield _held_check(name, held, now, waited_for)
    elif shared:
        yield passed(name, LEASE, "free")
    else:
        detail = "a file lock, and free: it keeps apart the runs of this machine only"
        remedy = "Set LEASE_CONTAINER_URL where more than one machine refreshes, as in Azure."
        yield replace(warned(name, LEASE, detail, remedy), standing=True)


def _held_check(name: str, held: LeaseHeldError, now: datetime, waited_for: timedelta) -> Check:
    long = held.since is not None and now - held.since > _LONGEST_RUN
    if held.endless or long:
        what = "it never ends by itself" if held.endless else "longer than any refresh takes"
        return failed(name, LEASE, f"{held.message}: {what}, and keeps every refresh out", held.way_out)
    if held.since is None and waited_for > _LONGEST_RUN:
        what = "who holds it is not written there, and no refresh has ended that would have been due"
        return failed(name, LEASE, f"{held.message}; {what}", held.way_out)
    if held.since is None:
        remedy = Step("A run ends within a minute. Is it held then as well? ", held.way_out)
        return warned(name, LEASE, f"{held.message}; who holds it, and since when, is not written there", remedy)
    return passed(name, LEASE, f"{held.message}; it ends by itself")
