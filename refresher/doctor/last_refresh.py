"""Why refreshing fails, as far as the vault can tell: its record, and what was changed there since the last success.

ServiceNow's generic 401 does not say which of the credentials it refuses. What was replaced after the last success
is suspected first; where nothing was, the change was made on the instance.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta

from refresher.keyvault.tags import parse_access_token, parse_record, parse_refresh_token
from refresher.model import steps
from refresher.model.causes import Cause, diagnose
from refresher.model.check import Check, failed, passed, warned
from refresher.model.connection import Connection
from refresher.model.steps import Step
from refresher.model.stored import StoredSecret
from refresher.views.words import span_text

_CHECK = "last refresh"
_WRITES_TAKE = timedelta(minutes=2)
"""A run stores a refresh token and then dates the access token by its own clock, not by Key Vault's."""


def judge_last_refresh(
    connection: Connection, secrets: Mapping[str, StoredSecret], vault: str, now: datetime
) -> Check:
    """Whether the last refresh succeeded; if not, what to do first. `secrets` are those that could be read."""
    record = parse_record(secrets.get(connection.record_name))
    stored = secrets.get(connection.access_token_name)
    token = parse_access_token(stored) if stored is not None else None
    succeeded_at = token.life[0] if token is not None and token.life is not None else None
    if not record.consecutive_failures:
        if succeeded_at is None:
            return warned(connection.name, _CHECK, "there was none yet", steps.refresh(connection.name))
        return passed(connection.name, _CHECK, f"succeeded {span_text(now - succeeded_at)} ago")
    last = f", the last time {span_text(now - record.last_attempt_at)} ago" if record.last_attempt_at else ""
    detail = f"failed {record.consecutive_failures} times in a row{last}: {record.last_cause or 'cause unknown'}"
    cause = Cause.of(record.last_cause) or Cause.UNEXPECTED
    if not cause.row.explains and succeeded_at is not None:
        return failed(connection.name, _CHECK, detail, _suspect(connection, secrets, vault, succeeded_at, now))
    return failed(connection.name, _CHECK, detail, diagnose(cause, connection.name).next_step)


def _suspect(
    connection: Connection, secrets: Mapping[str, StoredSecret], vault: str, succeeded_at: datetime, now: datetime
) -> Step:
    authorize, refresh = steps.authorize(connection.name), steps.refresh(connection.name, force=True)
    last = f"the last success at {_minute(succeeded_at)}"
    for name in (connection.client_secret_name, connection.client_id_name):
        changed_at = secrets[name].created_on if name in secrets else None
        if changed_at is not None and changed_at > succeeded_at + _WRITES_TAKE:
            return Step(
                f"{name} was replaced at {_minute(changed_at)}, after {last}: most likely the new value is wrong. "
                "Store the right one: ",
                steps.set_secret(vault, name),
                "; then: ",
                refresh,
            )
    stored = secrets.get(connection.refresh_token_name)
    ends = ""
    if stored is not None:
        expires_at = parse_refresh_token(stored, lifetime=connection.refresh_token_lifetime, now=now).expires_at
        if expires_at <= now:
            return Step(f"The refresh token's life was to end at {_minute(expires_at)}. Begin a new one: ", authorize)
        ends = f", and the refresh token was to live until {_minute(expires_at)}"
    return Step(
        f"Nothing in the vault was replaced since {last}{ends}: so something was changed on the instance, whose "
        "system log says what (message starts with 'Exception on token flow'). The refresh token or the user: ",
        authorize,
        ". The client: ",
        steps.set_secret(vault, connection.client_secret_name),
        "; then: ",
        refresh,
    )


def _minute(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
