"""What `status` found, as checks: whether a token works that consumers read, and what is foreseen.

Status judged it once; nothing is judged again here, but for the timer by a clock that is right. The first question of
whoever is on call comes first.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from refresher.doctor.instance_checks import CLOCK
from refresher.doctor.remedies import follows_from, without_doctor
from refresher.model import steps
from refresher.model.causes import Kind
from refresher.model.check import Check, failed, passed, warned
from refresher.model.connection import Connection
from refresher.model.grants import Grant
from refresher.model.moments import minute
from refresher.model.report import WarningCode
from refresher.model.steps import Step
from refresher.model.stored import KeyLife
from refresher.policy.forecast import ENDING, KEY_ENDING
from refresher.policy.verify import behind_a_policy
from refresher.servicenow.answers import Verdict
from refresher.servicenow.probing import PATH_IS_SHUT
from refresher.status.connection_status import ConnectionStatus
from refresher.status.timer import TimerState, TimerStatus, judge_timer
from refresher.views.verdict import STANDING
from refresher.views.words import holds

TIMER = "timer"
TOKEN = "token"  # noqa: S105 - a check's name
REFRESH_TOKEN_LIFE = "refresh token's life"  # noqa: S105
KEY_LIFE = "signing key's life"
ACCESS_TOKEN_LIFE = "access token's life"  # noqa: S105
SIMPLE_CHAT = "Simple Chat"
_SIMPLE_CHAT_NAME = re.compile(r".+--(action|action-addset|agent|model-endpoint|other)--(global|user|group)--.+")
_TOLD_BY_OTHERS = frozenset({WarningCode.VERIFICATION_REFUSED, WarningCode.CREDENTIAL_UNSEEN})
"""By the checks of the token and of the secrets."""
_LIVES = frozenset({WarningCode.ACCESS_TOKEN_SHORT, WarningCode.ACCESS_TOKEN_LONG})


def timer_check(timer: TimerStatus, tick: timedelta, now: datetime, *, ahead: timedelta) -> Check:
    """Whether anything refreshes the tokens once they age.

    Where this machine's clock is `ahead`, or behind, the last tick is judged by the instance's, too.
    """
    detail = "; ".join((timer.message, *timer.remarks))
    if timer.state is TimerState.TICKING:
        return passed(None, TIMER, detail)
    theirs = judge_timer(timer.last_tick_at, shared=True, tick=tick, now=now - ahead)
    if ahead and theirs.state is TimerState.TICKING:
        told = f"{detail}; by the instance's clock, {theirs.message}"
        return replace(warned(None, TIMER, told, follows_from([CLOCK])), follows=True)
    if timer.state is TimerState.NO_TICK:
        return failed(None, TIMER, detail, timer.next_step or steps.refresh_all())
    return warned(None, TIMER, detail, timer.next_step or "The portal shows when the timer fired.")


def token_check(connection: Connection, status: ConnectionStatus, in_the_way: Sequence[str]) -> Check:
    """Whether whoever reads the vault gets a token that works, and on what that rests.

    `in_the_way` are the checks of the instance that fail, and so the reasons why it could not be tried; a probe that
    is not known to accept any token accuses what stands before its path.
    """
    name, path = status.connection, connection.probe_path
    shut = any(warning.code is WarningCode.VERIFICATION_REFUSED for warning in status.warnings)
    detail = f"{status.message}; {status.basis}" if status.basis else status.message
    if status.working is not True:
        remedy = without_doctor(status.next_step, name) or Step(steps.refresh(name, force=True))
        return failed(name, TOKEN, detail, behind_a_policy(connection) if shut else remedy)
    told = status.basis or status.message
    if shut or told.endswith(PATH_IS_SHUT):
        return warned(name, TOKEN, told, behind_a_policy(connection))
    if status.tried is Verdict.UNKNOWN:
        look = f"See what answers at {path}: a login page, a proxy or a limit in front of it keeps the probe out."
        if in_the_way:
            return replace(warned(name, TOKEN, told, follows_from(in_the_way)), follows=True)
        return warned(name, TOKEN, told, look)
    return passed(name, TOKEN, told)


def simple_chat_check(connection: Connection, status: ConnectionStatus) -> Iterator[Check]:
    """What the consumer of most copies finds, as it was tried; nothing of copies that could not be looked at.

    A name that it cannot use is not one of its own; the connection's own token is no copy for it.
    """
    if len(status.targets) < len(connection.publish_to):
        return
    name, names = status.connection, {target.name for target in connection.publish_to}
    targets = [target for target in status.targets if target.name in names]
    strange = [target.name for target in targets if not _SIMPLE_CHAT_NAME.fullmatch(target.name)]
    if not targets or strange:
        detail = f"it cannot read {', '.join(strange)} by that name" if strange else "nothing is published for it"
        remedy = f"If Simple Chat shall read it, choose a name like {name}--action--global--oauth-token "
        yield replace(warned(name, SIMPLE_CHAT, detail, f"{remedy}(docs/simple-chat.md)."), standing=True)
        return
    detail = "; ".join(f"{target.name} {holds(target)}" for target in targets)
    if any(target.working is False for target in targets):
        yield failed(name, SIMPLE_CHAT, detail, without_doctor(status.next_step, name) or steps.refresh(name))
    elif any(target.working is None for target in targets):
        yield warned(name, SIMPLE_CHAT, detail, "Whoever may read the copy can say whether it works.")
    else:
        yield passed(name, SIMPLE_CHAT, detail)


def life_checks(connection: Connection, status: ConnectionStatus) -> Iterator[Check]:
    """How long both tokens live, and what is foreseen of it, unless a refusal contradicts it already."""
    refused = status.cause is not None and status.cause.row.kind in {Kind.REFUSED, Kind.PERSON}
    for warning in status.warnings:
        if (refused and warning.code in ENDING) or warning.code in _TOLD_BY_OTHERS:
            continue
        about = REFRESH_TOKEN_LIFE if warning.code in ENDING else ACCESS_TOKEN_LIFE
        about = KEY_LIFE if warning.code in KEY_ENDING else about
        about = SIMPLE_CHAT if warning.code is WarningCode.TARGET_SHARED else about
        found = warned(status.connection, about, warning.message, warning.hint)
        yield replace(found, standing=warning.code in STANDING)
    codes = {warning.code for warning in status.warnings}
    key = status.signing_key
    if isinstance(key, KeyLife) and key.expires_on is not None and not codes & KEY_ENDING:
        yield passed(status.connection, KEY_LIFE, f"until {minute(key.expires_on)}")
    ends_at = status.refresh_token_expires_at
    if ends_at is not None and not codes & ENDING and not refused:
        yield passed(status.connection, REFRESH_TOKEN_LIFE, f"until {minute(ends_at)}")
    needed = connection.grant is Grant.REFRESH_TOKEN and connection.fallback_grant is None
    if ends_at is None and needed and status.working is not None and status.cause is not None:
        meaning, remedy = status.cause.row.meaning, status.next_step or steps.authorize(status.connection)
        yield failed(status.connection, REFRESH_TOKEN_LIFE, meaning, remedy)
    if status.working and not codes & _LIVES and status.issued_at is not None and status.expires_at is not None:
        minutes = round((status.expires_at - status.issued_at).total_seconds() / 60)
        in_hand = status.in_hand.text if status.in_hand is not None else "it fits the schedule"
        yield passed(status.connection, ACCESS_TOKEN_LIFE, f"{minutes} min; {in_hand}")
