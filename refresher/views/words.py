"""Words for people: spans, and what a target holds."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from refresher.model.errors import VaultError
from refresher.model.stored import KeyLife
from refresher.policy.attempts import Attempt
from refresher.status.connection_status import ConnectionStatus
from refresher.status.copies import TargetStatus


def holds(target: TargetStatus) -> str:
    """What a target holds, as the end of a sentence."""
    if target.remark is not None:
        return target.remark
    if target.current is None:
        return "cannot be read"
    if target.current:
        return "holds the current token" if target.working else "holds the same token, which does not work"
    return "holds another token, which works" if target.working else "holds no token that works"


_NAMED = 20
"""Connections that are named one by one where many have the same."""


def together_text(statuses: Sequence[ConnectionStatus]) -> str:
    """How many connections of an instance have the same, and which."""
    named = ", ".join(f"{status.connection} ({status.state.replace('_', ' ')})" for status in statuses[:_NAMED])
    more = f" and {len(statuses) - _NAMED} more" if len(statuses) > _NAMED else ""
    return f"{len(statuses)} connections of {statuses[0].instance_url} have the same: {named}{more}"


def attempts_text(attempts: Collection[Attempt], now: datetime) -> str:
    """The last attempts in a line, newest first; their day where it is another one."""
    form = "{:%H:%M}" if all(now - attempt.at < timedelta(hours=12) for attempt in attempts) else "{:%Y-%m-%d %H:%M}"
    return ", ".join(f"{form.format(attempt.at)} {attempt.code}" for attempt in attempts)


def few(names: Sequence[str], most: int = 5) -> str:
    """Names for a line: of many the first ones."""
    others = len(names) - most
    return ", ".join(names[:most]) + (f" and {others} more" if others > 0 else "")


def key_text(key: KeyLife | VaultError, now: datetime) -> str:
    """When a key ends that signs, or why that cannot be said."""
    if isinstance(key, VaultError):
        return key.message
    if key.expires_on is None:
        return f"{key.name}: its end is unknown"
    return f"{key.name} ends in {span_text(key.expires_on - now)} ({key.expires_on:%Y-%m-%d})"


def ago_text(span: timedelta) -> str:
    """How long ago something was; where the machine that noted it is ahead of this one, that is what is told."""
    if span < -timedelta(minutes=1):
        return f"{span_text(-span)} ahead of this machine's clock"
    return f"{span_text(max(span, timedelta()))} ago"


def span_text(span: timedelta) -> str:
    """A stretch of time in the unit that a person would choose."""
    seconds = span.total_seconds()
    minutes = round(seconds / 60)
    if abs(seconds) < 2 * 60:
        return f"{round(seconds)} s"
    if minutes < 3 * 60:
        return f"{minutes} min"
    return f"{minutes / 60:.0f} h" if minutes < 3 * 24 * 60 else f"{minutes / 60 / 24:.0f} d"
