"""What may be said of a token: what its instance said when it was tried, else what its dates say, and which it was."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from refresher.keyvault.found import ConsumerSide
from refresher.model.connection import Connection
from refresher.model.stored import StoredAccessToken
from refresher.model.tokens import Secret
from refresher.policy.verify import is_proven
from refresher.servicenow.answers import Probe, Verdict
from refresher.servicenow.probing import UNAUTHORIZED


@dataclass(frozen=True, slots=True, kw_only=True)
class Tried:
    """What an instance said of a token, and when."""

    probe: Probe
    at: datetime


Trial = Mapping[Secret, Tried]
"""What was tried of a connection, by the token's value; what is not in it was not tried."""


def verdict_on(token: StoredAccessToken | None, trial: Trial) -> Verdict | None:
    """What the instance said of it; None where it was not tried."""
    tried = trial.get(token.value) if token is not None else None
    return tried.probe.verdict if tried is not None else None


def works(token: StoredAccessToken | None, trial: Trial, now: datetime) -> bool:
    """Whether it works: by the instance's word where it gave one, by its dates elsewhere."""
    match verdict_on(token, trial):
        case Verdict.ACCEPTED:
            return True
        case Verdict.REJECTED:
            return False
        case _:
            return token is not None and token.lives_at(now)


UNPROVEN = "PROBE_PATH answers 401, and never accepted a token of this connection"


def without_unproven(trial: Trial, connection: Connection, side: ConsumerSide) -> Trial:
    """The trial, but a refusal counts only where ticks let it count: for others the instance has said nothing.

    What the probe accepts of the connection's own secret, just now or before, proves it for the copies as well.
    """
    own, copies = side.access_token, [state.holds for state in side.targets if state.holds is not None]
    accepted = own is not None and (is_proven(connection, own) or verdict_on(own, trial) is Verdict.ACCEPTED)
    proven = {each.value for each in copies if accepted or is_proven(connection, each)}
    proven |= {own.value} if own is not None and accepted else set()
    unsure = Probe(verdict=Verdict.UNKNOWN, remark=UNPROVEN)
    return {
        value: tried if tried.probe.remark != UNAUTHORIZED or value in proven else replace(tried, probe=unsure)
        for value, tried in trial.items()
    }


def is_worth_trying(token: StoredAccessToken, now: datetime) -> bool:
    """Whether its dates leave a question: one that has ended, or was revoked, needs no instance to say so."""
    return bool(token.value) and not token.revoked and (token.expires_at is None or now < token.expires_at)


UNREAD = (
    "by its dates; not tried: this identity may read no values, and refreshes through the app (docs/runbook/force.md)"
)


def basis(token: StoredAccessToken | None, trial: Trial, now: datetime, *, untried: str) -> str | None:
    """On what the word of it rests, for people; `untried` says why nothing was tried."""
    if token is not None and token.unread:
        return UNREAD
    if token is None or not is_worth_trying(token, now):
        return None
    tried = trial.get(token.value)
    if tried is None:
        return f"by its dates; not tried: {untried}"
    probe, seconds = tried.probe, round((now - tried.at).total_seconds())
    when = f"tried {seconds} s ago" if seconds > 1 else "tried just now"
    match probe.verdict:
        case Verdict.UNKNOWN:
            return f"by its dates; could not be tried: {probe.remark or 'no answer'}"
        case Verdict.REJECTED:
            return f"{when}, refused ({probe.remark or 401})"
        case Verdict.ACCEPTED:
            who = f", acts as {probe.user_name}" if probe.user_name else ""
            return f"{when}, accepted{who}{f'; {probe.remark}' if probe.remark else ''}"
