"""The errors that only runs know, and how a run that met an error ends."""

from collections.abc import Callable, Mapping
from datetime import datetime

from refresher.keyvault.found import ConsumerSide
from refresher.model.causes import Cause
from refresher.model.connection import SecretIdentifier
from refresher.model.errors import RefresherError, VaultError, unforeseen
from refresher.model.report import Outcome, RunReport
from refresher.model.stored import StoredAccessToken
from refresher.model.timing import Timing
from refresher.model.tokens import Secret
from refresher.policy.due import Urgency, evaluate_urgency


class CredentialError(RefresherError):
    """What only one grant needs is missing, or cannot be read or used; another grant does without it."""


class PasswordPausedError(CredentialError):
    """The password is not sent for a while, and there is no other grant."""


class AuthorizationRequiredError(RefresherError):
    """Only a person can help: there is nothing left that this program may try."""


class PublishFailedError(VaultError):
    """A token is in the main secret, and these targets could not be written."""

    def __init__(self, failed: Mapping[SecretIdentifier, VaultError]) -> None:
        names = "; ".join(f"{target.name}: {error.message}" for target, error in failed.items())
        first = next(iter(failed.values()))
        super().__init__(
            f"not every publish target was written ({names})", cause=Cause.PUBLISH_FAILED, hint=first.hint
        )
        self.targets = frozenset(failed)


def outcome_of(
    error: RefresherError,
    side: ConsumerSide | None,
    timing: Timing,
    now: datetime,
    published: tuple[datetime, datetime] | None = None,
    refused: Secret | None = None,
) -> Outcome:
    """How a run ends that met an error: kept where what consumers go on reading lasts until the next tick.

    `published` is the life of the token that the run published before, `refused` a token that ServiceNow
    does not take, whatever its dates say.
    """
    if isinstance(error, AuthorizationRequiredError):
        return Outcome.AUTHORIZATION_REQUIRED
    if published is not None and not isinstance(error, PublishFailedError):
        return Outcome.KEPT if now < published[1] else Outcome.FAILED
    lasting = all(
        evaluate_urgency(token, timing, now) is Urgency.ADVISORY and (token is None or token.value != refused)
        for token in _still_read(error, side)
    )
    return Outcome.KEPT if lasting else Outcome.FAILED


def _still_read(error: RefresherError, side: ConsumerSide | None) -> list[StoredAccessToken | None]:
    """What consumers go on reading: of targets that could not be written, what those hold."""
    if side is None:
        return [None]
    if isinstance(error, PublishFailedError):
        return [state.holds for state in side.targets if state.target in error.targets]
    return [side.access_token]


def reported(job: Callable[[], RunReport], failed: Callable[[RefresherError], RunReport]) -> RunReport:
    """The report of a job, whatever it raises: one connection's surprise must not stop the others."""
    failure: RefresherError
    try:
        return job()
    except RefresherError as error:
        failure = error
    except Exception as error:  # noqa: BLE001 - isolation
        failure = unforeseen(error)
    return failed(failure)
