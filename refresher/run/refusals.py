"""What a run learns of refusals: the record that comes of it, and whether another grant may be tried.

Before a request that could do harm if nobody remembered it, the record is written: a password counts as refused
until the answer says otherwise (so that crashes cannot lock the user out), and a refresh token that rotates is
marked as spent (so that its loss is recognized, and a vault that cannot be written never costs it).
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime

from refresher.model.causes import Cause
from refresher.model.errors import RefresherError, TokenEndpointError
from refresher.model.grants import Grant
from refresher.policy.due import Urgency
from refresher.policy.grants import may_fall_back, needs_person
from refresher.policy.password_gate import PasswordRefusals
from refresher.policy.record import RefreshRecord
from refresher.servicenow.answers import Attempts

_TRIES_AFTER_REFUSAL = 2
_RUNS_OF_A_PASSING_FAULT = 6
"""Half an hour of ticks."""
_DOUBTED_TOGETHER = frozenset({Grant.REFRESH_TOKEN, Grant.PASSWORD})


@dataclass(slots=True, kw_only=True)
class Effort:
    """What has been done so far, for the report of a run that may fail at any step."""

    attempts: Attempts = field(default_factory=Attempts)
    grant: Grant | None = None
    grants_tried: tuple[Grant, ...] = ()
    record: RefreshRecord
    asked: bool = False
    """Whether ServiceNow was asked for a token."""
    failures: tuple[tuple[Grant, RefresherError], ...] = ()
    """Grants that failed before another one was tried, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Conditions:
    """The circumstances of a run that the fallback depends on."""

    urgency: Urgency
    force: bool
    on_progress: Callable[[str], None]


class Account:
    """One run's account. Versions are those of the secrets that are sent; None where there are none."""

    def __init__(self, effort: Effort, *, refresh_token_version: str | None, password_version: str | None) -> None:
        self.refresh_token_version = refresh_token_version
        self._password_version = password_version
        self._effort = effort
        self._untried = effort.record.password
        self._refused: frozenset[Grant] = frozenset()

    def to_remember(self, grant: Grant, now: datetime) -> RefreshRecord | None:
        """The record that must be written before that grant is sent; None where it need not."""
        record = self._effort.record
        if grant is Grant.PASSWORD and self._password_version is not None:
            self._untried = record.password
            return replace(
                record.before_attempt(now), password=record.password.of(self._password_version).before_try(now)
            )
        if grant is Grant.REFRESH_TOKEN and record.rotates:
            return record.before_attempt(now).with_spent_refresh_token(self.refresh_token_version)
        return None

    def may_be_spent(self, grant: Grant) -> bool:
        """Whether an earlier request may have used up what this grant sends."""
        return grant is Grant.REFRESH_TOKEN and self._effort.record.may_be_spent(self.refresh_token_version)

    def refusals_tolerated(self, grant: Grant, urgency: Urgency) -> int:
        """How often the generic 401 is met with another try in the same run.

        A refresh token that was refused before is tried once, unless consumers are about to be without a token, and
        for as long as a passing fault may last.
        """
        hopeful_runs = _RUNS_OF_A_PASSING_FAULT if urgency is Urgency.MANDATORY else 0
        if grant is Grant.PASSWORD or (grant is Grant.REFRESH_TOKEN and self._refusals() > hopeful_runs):
            return 0
        return _TRIES_AFTER_REFUSAL

    def refused(self, grant: Grant, error: TokenEndpointError) -> Cause | None:
        """Note that a grant failed; the cause where a person must act now."""
        effort, token = self._effort, self.refresh_token_version
        refusals = 0
        if grant is Grant.REFRESH_TOKEN and token is not None and error.refused:
            refusals = self._refusals() + error.grant_refused
            effort.record = effort.record.with_refresh_token_refusals(token, refusals)
        if grant is Grant.PASSWORD:
            self._hold_against_password(effort.record.password.after_error(self._untried, error))
        self._doubt(grant, error)
        if grant is Grant.PASSWORD and effort.record.password.of(self._password_version).shut:
            return Cause.PASSWORD_REFUSED
        lost = grant is Grant.REFRESH_TOKEN and effort.attempts.answer_lost and effort.record.rotates
        if grant is Grant.REFRESH_TOKEN:
            effort.record = effort.record.with_spent_refresh_token(token if lost else None)
        if error.grant_refused and lost:
            return Cause.ROTATED_TOKEN_LOST
        asks = needs_person(error, refresh_token_refusals=refusals, grants_tried=effort.grants_tried)
        return Cause.REFRESH_TOKEN_REFUSED if asks else None

    def accepted(self, grant: Grant) -> None:
        """Note that a grant yielded a token: what was held against it is forgotten."""
        record = self._effort.record
        if grant is Grant.PASSWORD:
            record = replace(record, password=PasswordRefusals())
        if grant is Grant.REFRESH_TOKEN:
            record = replace(record, password=record.password.after_refresh(was_refused=self._refusals() > 0))
            record = record.with_refresh_token_refusals("", 0).with_spent_refresh_token(None)
        self._effort.record = record

    def goes_on(
        self, error: TokenEndpointError, grant: Grant, following: Grant | None, conditions: Conditions
    ) -> bool:
        """Whether the following grant may be tried in the same run."""
        refusals = self._refusals()
        return may_fall_back(
            error,
            refusals_before=max(0, refusals - 1) if grant is Grant.REFRESH_TOKEN else 0,
            urgency=conditions.urgency,
            force=conditions.force,
            answer_lost=self._effort.attempts.answer_lost and self._effort.record.rotates,
            next_is_sound=following is Grant.REFRESH_TOKEN and refusals == 0,
        )

    def _refusals(self) -> int:
        return self._effort.record.refresh_token_refusals_of(self.refresh_token_version)

    def _doubt(self, grant: Grant, error: TokenEndpointError) -> None:
        """Where ServiceNow refuses the refresh token and the password in one run, neither need be at fault."""
        definite = error.cause is Cause.INVALID_GRANT
        if definite or not error.grant_refused or grant in self._refused:
            return
        self._refused |= {grant}
        if grant in _DOUBTED_TOGETHER and self._refused >= _DOUBTED_TOGETHER:
            self._hold_against_password(self._effort.record.password.doubted())

    def _hold_against_password(self, refusals: PasswordRefusals) -> None:
        self._effort.record = replace(self._effort.record, password=refusals)
