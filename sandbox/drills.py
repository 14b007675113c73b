"""Installations that are broken on demand: what an engineer trains with, and what the runbook is tried against.

Each drill is one thing that somebody, or time, did to an installation that had worked for a day.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta

from sandbox.clock import SandboxClock
from sandbox.personality import PERSONALITIES
from sandbox.running import ConnectionSecrets, Sandbox

TICK = timedelta(minutes=5)
_LONG_ENOUGH = timedelta(minutes=75)
"""By then the last token that was obtained has ended."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drill:
    """What is done to the sandbox, and how long ago."""

    do: Callable[[Sandbox, ConnectionSecrets], None]
    ago: timedelta = _LONG_ENOUGH


def _refresh_token_dies(sandbox: Sandbox, secrets: ConnectionSecrets) -> None:
    sandbox.instance.kill_refresh_token(secrets.refresh_token or "")


def _secret_is_changed_on_the_instance_only(sandbox: Sandbox, secrets: ConnectionSecrets) -> None:
    sandbox.instance.change_client_secret(secrets.application)


def _instance_falls_asleep(sandbox: Sandbox, _: ConnectionSecrets) -> None:
    sandbox.instance.personality = PERSONALITIES["hibernating"]


def _roles_are_removed(sandbox: Sandbox, _: ConnectionSecrets) -> None:
    for operation in ("get", "set", "update", "list", "recover"):
        sandbox.vault.deny(operation)


def _simple_chat_deletes_the_action(sandbox: Sandbox, _: ConnectionSecrets) -> None:
    sandbox.vault.delete("servicenow--action--global--oauth-token")


DRILLS: Mapping[str, Drill] = {
    "dead-refresh-token": Drill(do=_refresh_token_dies),
    "wrong-client-secret": Drill(do=_secret_is_changed_on_the_instance_only),
    "hibernating-instance": Drill(do=_instance_falls_asleep),
    "forbidden-vault": Drill(do=_roles_are_removed),
    "deleted-target": Drill(do=_simple_chat_deletes_the_action, ago=timedelta()),
}


def live_through(
    drill: Drill, sandbox: Sandbox, secrets: ConnectionSecrets, tick: Callable[[], None], before: timedelta
) -> None:
    """Let the installation work for a while, break it, and let it be broken for as long as the drill says."""
    _let_pass(sandbox.clock, tick, before)
    drill.do(sandbox, secrets)
    _let_pass(sandbox.clock, tick, drill.ago)


def _let_pass(clock: SandboxClock, tick: Callable[[], None], span: timedelta) -> None:
    at = clock.now()
    ends = at + span
    while at < ends:
        tick()
        at += TICK
        # The tick may have taken time of its own, waiting between tries.
        clock.advance(at - clock.now())
