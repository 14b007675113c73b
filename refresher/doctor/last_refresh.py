"""Why refreshing fails, as far as the record, the vault and this examination can tell. No I/O.

ServiceNow's refusals seldom say which of the credentials they mean. What was replaced after the last success is
suspected first; where nothing was, the change was made on the instance. What failed on the way, and does not any
more, is over; what still does has a check of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from refresher.doctor.remedies import follows_from, remedy_of_cause
from refresher.doctor.replaced import WRITES_TAKE, Comparison, Known, Replaced, compare
from refresher.keyvault.tags import parse_refresh_token
from refresher.model import steps
from refresher.model.causes import Cause, Kind, diagnose
from refresher.model.check import Check, failed, passed, warned
from refresher.model.connection import Connection
from refresher.model.grants import CLIENT_SECRET, PASSWORD, REFRESH_TOKEN, USERNAME
from refresher.model.moments import minute
from refresher.model.steps import Command, Step
from refresher.model.stored import StoredAccessToken, StoredSecret
from refresher.policy.record import RefreshRecord
from refresher.policy.verify import behind_a_policy
from refresher.views.words import ago_text

LAST_REFRESH = "last refresh"
_OF_THE_TOKEN = frozenset({Cause.ACCESS_DENIED, Cause.INVALID_GRANT, Cause.REFRESH_TOKEN_REFUSED})
_REFUSALS = _OF_THE_TOKEN | {Cause.INVALID_CLIENT, Cause.PASSWORD_REFUSED}
"""Causes that mean a credential: which of them, the comparison says."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What was found out of one connection before its last refresh is judged."""

    connection: Connection
    vault: str
    """The vault's name."""
    record: RefreshRecord
    access_token: StoredAccessToken | None
    readable: bool = True
    """Whether both of them could be read, where they are there."""
    credentials: Mapping[str, Known] = field(default_factory=dict)
    """By the ends of their names: what was read, or why it was not."""
    key: Known | None = None
    in_the_way: Sequence[str] = ()
    """Names of the checks that failed for a reason of their own."""
    acts_as: str | None = None
    """The user for whom ServiceNow accepts the stored token just now."""
    refused_for: str | None = None
    """The user for whom it refuses the stored token just now, which its dates say lives."""


def judge_last_refresh(evidence: Evidence, now: datetime) -> Check:
    """Whether the last refresh succeeded; if not, what to suspect and what to do first."""
    connection, record, token = evidence.connection, evidence.record, evidence.access_token
    succeeded_at = token.life[0] if token is not None and token.life is not None else None
    if not record.consecutive_failures:
        if succeeded_at is None:
            says = "does not tell: somebody put its value there by hand" if token is not None else "is not there"
            told = f"none is known: {connection.access_token_name} {says}"
            return warned(connection.name, LAST_REFRESH, told, steps.refresh(connection.name))
        told, untried = f"succeeded {ago_text(now - succeeded_at)}", _untried(evidence, succeeded_at, now)
        if not untried:
            return passed(connection.name, LAST_REFRESH, told)
        told = f"{told}; nobody has tried since what was stored then: {', '.join(untried)}"
        remedy = Step("Try it while the token lives: ", steps.refresh(connection.name, force=True))
        return warned(connection.name, LAST_REFRESH, told, remedy)
    suspected, step = _suspicion(evidence, record, succeeded_at, now)
    told = _told(record, now) + (f"; suspected: {suspected}" if suspected else "")
    found = failed(connection.name, LAST_REFRESH, told, step)
    # Of a credential the comparison speaks for itself, whatever else stands in the way.
    of_a_credential = Cause.of(record.last_cause) in _REFUSALS | {Cause.TOKEN_REJECTED}
    return replace(found, follows=bool(evidence.in_the_way) and not of_a_credential)


def _untried(evidence: Evidence, succeeded_at: datetime, now: datetime) -> tuple[str, ...]:
    """Names of what the next refresh sends, and the last one did not."""
    sent = accepted_until(evidence)[1]
    compared = compare(evidence.connection, evidence.credentials, evidence.key, succeeded_at, now)
    return tuple(each.name for each in compared.replaced if each.suffix in sent)


def is_refused(evidence: Evidence) -> bool:
    """Whether refreshing fails since ServiceNow refuses a credential, whichever it is."""
    record = evidence.record
    return bool(record.consecutive_failures) and Cause.of(record.last_cause) in _REFUSALS


def accepted_until(evidence: Evidence) -> tuple[datetime | None, frozenset[str]]:
    """When a refresh last succeeded, and the ends of the names of the secrets that its request sent."""
    token = evidence.access_token
    if token is None or token.life is None or token.grant is None:
        return None, frozenset()
    return token.life[0], frozenset(evidence.connection.sends(token.grant).values())


def _told(record: RefreshRecord, now: datetime) -> str:
    last = f", the last time {ago_text(now - record.last_attempt_at)}" if record.last_attempt_at else ""
    times = "once" if record.consecutive_failures == 1 else f"{record.consecutive_failures} times in a row"
    return f"failed {times}{last}: {record.last_cause or 'cause unknown'}"


_Suspicion = tuple[str, Step]
"""What is suspected, as the end of a sentence, where it is a suspicion; and what to do."""


def _suspicion(evidence: Evidence, record: RefreshRecord, succeeded_at: datetime | None, now: datetime) -> _Suspicion:
    cause, connection = Cause.of(record.last_cause) or Cause.UNEXPECTED, evidence.connection
    if cause in _REFUSALS:
        return _refused(evidence, record, cause, succeeded_at, now)
    if cause is Cause.TOKEN_REJECTED:
        step = Step("A token just issued is refused as well: so it is not the token. ", behind_a_policy(connection))
        return "an access policy before PROBE_PATH", step
    if evidence.in_the_way:
        return "", follows_from(evidence.in_the_way)
    if _would_have_been_met(cause):
        return "", Step(
            "Nothing of the kind was met from here: it has passed, or only the app meets it, whose log says more "
            f"(docs/runbook/force.md: POST /api/refresh?connection={evidence.connection.name}). Try it: ",
            steps.refresh(evidence.connection.name, force=True),
        )
    return "", remedy_of_cause(cause, evidence.connection.name)


def _refused(
    evidence: Evidence, record: RefreshRecord, cause: Cause, succeeded_at: datetime | None, now: datetime
) -> _Suspicion:
    """Which credential is meant, by what is younger than the last success; none that the last attempt did not send."""
    untried = _stored_after(evidence, record.last_attempt_at, now)
    if untried:
        lead = f"{', '.join(untried)}: stored after the last attempt, and not tried yet. Try it: "
        return "", Step(lead, steps.refresh(evidence.connection.name, force=True))
    if succeeded_at is None:
        step = diagnose(cause, evidence.connection.name).next_step
        return "any of the values, none of which is known to have worked", Step("Look at each of them first. ", step)
    compared = compare(evidence.connection, evidence.credentials, evidence.key, succeeded_at, now)
    if compared.replaced:
        return _put_right(evidence, compared.replaced, succeeded_at)
    return _changed_there(evidence, cause, compared, succeeded_at, now)


def _stored_after(evidence: Evidence, moment: datetime | None, now: datetime) -> tuple[str, ...]:
    """Names of credentials that stand there since then only."""
    if moment is None:
        return ()
    compared = compare(evidence.connection, evidence.credentials, evidence.key, moment - WRITES_TAKE, now)
    return tuple(each.name for each in compared.replaced)


def _would_have_been_met(cause: Cause) -> bool:
    """Whether this examination tries what that cause is about; what a token does, only a refresh finds out."""
    if cause.row.kind is Kind.AZURE:
        return cause not in {Cause.REFRESH_TOKEN_NOT_STORED, Cause.RUN_OVERDUE}
    return cause.row.kind in {Kind.AWAY, Kind.THROTTLED} or cause in {Cause.NOT_A_TOKEN, Cause.ADDRESS_REFUSED}


def _put_right(evidence: Evidence, replaced: Sequence[Replaced], succeeded_at: datetime) -> _Suspicion:
    """Name all that is younger than the last success: one of them, at least, is wrong."""
    suspected = f"{' or '.join(each.name for each in replaced)}, replaced since the last success"
    name = evidence.connection.name
    told = ", ".join(f"{each.name} at {minute(each.at)}" for each in replaced)
    lead = f"{told}: replaced after the last success at {minute(succeeded_at)}. "
    one = len(replaced) == 1
    lead += f"Most likely {'the new value' if one else 'one of the new values'} is wrong. Store what is right: "
    pieces: list[str | Command] = [lead]
    for each in replaced:
        if each.suffix == REFRESH_TOKEN:
            pieces += [steps.authorize(name), "; "]
        elif each.suffix:
            pieces += [steps.set_secret(evidence.vault, each.name), "; "]
        else:
            pieces += ["give ServiceNow the new key's certificate (docs/keys.md, 'Renewal'); "]
    if [each.suffix for each in replaced] == [REFRESH_TOKEN]:
        return suspected, Step(*pieces[:-1], ". The version before it is in the vault still.")
    return suspected, Step(*pieces, "then: ", steps.refresh(name, force=True))


def _changed_there(
    evidence: Evidence, cause: Cause, compared: Comparison, succeeded_at: datetime, now: datetime
) -> _Suspicion:
    """What was compared is as old as it was: name that, what could not be compared, and what the instance may have."""
    name = evidence.connection.name
    since = f"since the last success at {minute(succeeded_at)}"
    told = f"Not replaced {since}: {', '.join(compared.older)}. " if compared.older else ""
    if compared.unknown:
        told += f"Not compared: {', '.join(compared.unknown)}. "
    told += "What the app settings were then is not known. "
    ended_at = _refresh_token_ended_at(evidence, cause, now)
    if ended_at is not None:
        lead = f"The refresh token's life was to end at {minute(ended_at)}. Begin a new one: "
        return "the refresh token, whose life was to end by now", Step(lead, steps.authorize(name))
    if cause is Cause.PASSWORD_REFUSED:
        return "the user on the instance (another password, inactive or locked out)", Step(
            f"{told}So the user was changed on the instance: its password, or it is inactive or locked out. Set that "
            "right there, then store what is right: ",
            steps.set_secret(evidence.vault, evidence.connection.secret_name(PASSWORD)),
            " and ",
            steps.set_secret(evidence.vault, evidence.connection.secret_name(USERNAME)),
            "; then: ",
            steps.refresh(name, force=True),
        )
    if evidence.refused_for is not None and cause in _OF_THE_TOKEN:
        return f"the user {evidence.refused_for} on the instance (inactive or locked out), or the application", Step(
            f"{told}The stored token is refused as well, which a wrong secret does not do. First see on the instance "
            f"that the user {evidence.refused_for} is active and not locked out, second in System OAuth > Application "
            "Registry that the application is there and active (a clone of another instance takes it away). Then: ",
            steps.refresh(name, force=True),
            "; refused still: ",
            steps.authorize(name),
        )
    client = Step(
        "see in System OAuth > Application Registry that the application is active, and that its secret is the one in "
        "the vault: ",
        steps.set_secret(evidence.vault, evidence.connection.secret_name(CLIENT_SECRET)),
        "; then: ",
        steps.refresh(name, force=True),
    )
    if cause is Cause.INVALID_CLIENT:
        step = Step(f"{told}So the application was changed on the instance, or made inactive: ", client)
        return "the application on the instance (inactive, or with another secret)", step
    user = (
        f"the user, {evidence.acts_as}, comes last, since the stored token still works for it"
        if evidence.acts_as
        else "the user may be inactive or locked out"
    )
    suspected = (
        "a change on the instance: the application (inactive, or with another secret), the refresh token, the user"
    )
    return suspected, Step(
        f"{told}So something was changed on the instance. Its system log says what, in a message that starts with "
        "'Exception on token flow'. First ",
        client,
        *(
            ("; second, the refresh token may have been revoked: ", steps.authorize(name))
            if REFRESH_TOKEN in evidence.credentials
            else ()
        ),
        f"; and {user}.",
    )


def _refresh_token_ended_at(evidence: Evidence, cause: Cause, now: datetime) -> datetime | None:
    stored = evidence.credentials.get(REFRESH_TOKEN)
    if cause not in _OF_THE_TOKEN or not isinstance(stored, StoredSecret):
        return None
    token = parse_refresh_token(stored, lifetime=evidence.connection.refresh_token_lifetime, now=now)
    return token.expires_at if token.expires_at <= now else None
