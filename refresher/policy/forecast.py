"""What will go wrong, and when, unless a person acts: warnings that come in time.

A refresh token's life neither slides nor restarts by being used, so that a set-up without a fallback grant stops
on a known day. These checks are pure. `status` shows what they find, and so do report and log of each refresh: an
alert sees only what is logged while it lasts.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from refresher.model import steps
from refresher.model.connection import Connection
from refresher.model.errors import VaultError
from refresher.model.grants import Grant
from refresher.model.moments import minute
from refresher.model.report import Warning_, WarningCode
from refresher.model.steps import Step
from refresher.model.stored import KeyLife, StoredAccessToken, TargetState
from refresher.model.timing import Timing

_EARLY = timedelta(days=14)
_LATE = timedelta(days=3)
_LONG_LIVED = timedelta(hours=8)


ENDING = frozenset(
    {
        WarningCode.REFRESH_TOKEN_ENDING,
        WarningCode.REFRESH_TOKEN_ENDING_SOON,
        WarningCode.STOPS_WITHOUT_A_PERSON,
    }
)
"""Those that tell when the refresh token ends, and what then."""
KEY_ENDING = frozenset(
    {
        WarningCode.SIGNING_KEY_ENDING,
        WarningCode.SIGNING_KEY_ENDING_SOON,
        WarningCode.SIGNING_KEY_END_UNKNOWN,
    }
)
"""Those that tell when the key ends that signs in a vault."""


def foresee(
    connection: Connection,
    access_token_lifetime: timedelta | None,
    refresh_token_life: tuple[datetime, datetime] | None,
    timing: Timing,
    now: datetime,
    *,
    fallback_ready: bool = True,
    failing: bool = False,
    key: KeyLife | VaultError | None = None,
    shared: tuple[TargetState, ...] = (),
) -> tuple[Warning_, ...]:
    """All that can be foreseen. `refresh_token_life` is the start and the end of the refresh token's life.

    `fallback_ready` says whether the configured fallback grant could start a new one (`policy.is_ready`). A key that
    cannot be used is an error of the run's, or of the fallback. While refreshing is `failing`, time after time, nobody
    is told of the far day on which it will stop. `shared` are targets that others publish to as well.
    """
    found = [
        _refresh_token_warning(connection, refresh_token_life, now, fallback_ready=fallback_ready, failing=failing)
    ]
    if isinstance(key, KeyLife):
        found.append(_key_warning(key, now))
    if access_token_lifetime is not None:
        found += _access_token_warnings(access_token_lifetime, timing)
    found += map(_shared_warning, shared)
    return tuple(warning for warning in found if warning is not None)


def lost_tags(access_token: StoredAccessToken | None) -> tuple[Warning_, ...]:
    """The warning of a stored token that something took the tags from."""
    if access_token is None or access_token.described:
        return ()
    message = "the stored token has lost its tags, and is judged by when it was stored and by the secret's expiry"
    hint = Step(
        "Find what takes the tags from this vault's secrets (a copy, a restore, something in front of it): they tell "
        "the user, the age of the refresh token, and how often a password was refused."
    )
    return (Warning_(code=WarningCode.TAGS_LOST, message=message, hint=hint),)


def _refresh_token_warning(
    connection: Connection,
    life: tuple[datetime, datetime] | None,
    now: datetime,
    *,
    fallback_ready: bool,
    failing: bool,
) -> Warning_ | None:
    fallback = connection.fallback_grant
    if connection.grant is not Grant.REFRESH_TOKEN or life is None or (fallback is not None and fallback_ready):
        return None
    started_at, expires_at = life
    lifetime, remaining = expires_at - started_at, expires_at - now
    day = minute(expires_at)
    otherwise = ". Or set SERVICENOW_FALLBACK_GRANT, so that nobody has to."
    if fallback is not None:
        state = "missing, unreadable or refused"
        otherwise = f". The fallback grant {fallback} would do it, but its credentials are {state}."
    hint = Step("Before then: ", steps.authorize(connection.name), otherwise)
    if remaining > min(_EARLY, lifetime / 4):
        message = f"refreshing will stop on {day} unless a person authorizes again"
        return None if failing else Warning_(code=WarningCode.STOPS_WITHOUT_A_PERSON, message=message, hint=hint)
    soon = remaining <= min(_LATE, lifetime / 10)
    code = WarningCode.REFRESH_TOKEN_ENDING_SOON if soon else WarningCode.REFRESH_TOKEN_ENDING
    message = f"the refresh token ends on {day}, and nothing can replace it"
    if remaining <= timedelta():
        message = f"the refresh token's life was to end on {day}"
    return Warning_(code=code, message=message, hint=hint)


def _key_warning(key: KeyLife, now: datetime) -> Warning_ | None:
    """A key ends with its certificate; where it has no date, only the certificate knows, in ServiceNow as well."""
    hint = Step("Renew the certificate, and give ServiceNow the new one before (docs/keys.md, 'Renewal').")
    if key.expires_on is None:
        message = f"when the key {key.name} ends is unknown: it has no expiration date"
        hint = Step("Give it that of its certificate, so that there is a warning (docs/keys.md).")
        return Warning_(code=WarningCode.SIGNING_KEY_END_UNKNOWN, message=message, hint=hint)
    remaining = key.expires_on - now
    if remaining > _EARLY:
        return None
    code = WarningCode.SIGNING_KEY_ENDING_SOON if remaining <= _LATE else WarningCode.SIGNING_KEY_ENDING
    message = f"the key {key.name} ends on {minute(key.expires_on)}, and signs nothing from then on"
    return Warning_(code=code, message=message, hint=hint)


def _access_token_warnings(lifetime: timedelta, timing: Timing) -> Iterator[Warning_]:
    registry = "System OAuth > Application Registry, field Access Token Lifespan"
    if lifetime < 2 * timing.tick:
        yield Warning_(
            code=WarningCode.ACCESS_TOKEN_SHORT,
            message=f"access tokens live {_seconds(lifetime)}, less than two ticks of {_seconds(timing.tick)}",
            hint=Step(f"Set a longer life ({registry}; 3600 s or more)."),
        )
    if lifetime > _LONG_LIVED:
        yield Warning_(
            code=WarningCode.ACCESS_TOKEN_LONG,
            message=f"access tokens live {_seconds(lifetime)}, more than 8 hours: a stolen one serves as long",
            hint=Step(f"Set a shorter life ({registry}) unless the consumer needs it."),
        )


def _shared_warning(state: TargetState) -> Warning_:
    other = state.holds.publisher if state.holds is not None else None
    return Warning_(
        code=WarningCode.TARGET_SHARED,
        message=f"{state.target.name} holds a token that another installation published: connection {other}",
        hint=Step("Its readers get whichever token came last. Let one of the two publish elsewhere (PUBLISH_TO)."),
    )


def _seconds(span: timedelta) -> str:
    return f"{span.total_seconds():.0f} s"
