"""The errors of the package.

RefresherError                      cause, message, hint, transient, retry_after, transaction_id
  SettingsError                     every bad setting at once
  VaultError                        Key Vault or the identity endpoint
  TokenEndpointError                `oauth_token.do` refused, failed, or answered something else than a token
  IdentityError                     Microsoft Entra gave no token that may be published
  TokenRejectedError                a token was issued, but the API does not accept it
  LeaseHeldError                    another refresher is at work
  LeaseUnavailableError             the lease service cannot be asked

Rules: foreign exceptions are translated once, at the boundary where they arise, without their text (it may hold
a URL, a body or a secret) and outside of their `except` block, so that they are not chained either. Whoever reads
an error gets the cause, a sentence, and the next step.
"""

from datetime import datetime

from refresher.model.causes import Cause, Kind, diagnose
from refresher.model.steps import Step
from refresher.model.tokens import Secret


class RefresherError(Exception):
    """Base of all. `retry_after` is in seconds; `transient` says that the same request may succeed later."""

    def __init__(
        self,
        message: str,
        *,
        cause: Cause,
        hint: str = "",
        transient: bool = False,
        retry_after: float | None = None,
        transaction_id: str | None = None,
        sent: bool = True,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.cause = cause
        self.hint = Step(hint)
        self.transient = transient
        self.retry_after = retry_after
        self.transaction_id = transaction_id
        self.sent = sent
        """False where the request certainly never reached the other side."""


class SettingsError(RefresherError):
    """Settings that cannot be used; `problems` holds one sentence for each."""

    def __init__(self, problems: tuple[str, ...]) -> None:
        super().__init__(
            "; ".join(problems),
            cause=Cause.SETTINGS_INVALID,
            hint="Correct the settings named here (docs/settings.md lists all of them), then run again.",
        )
        self.problems = problems


class VaultError(RefresherError):
    """Key Vault, or the identity that opens it, did not do what was asked."""


class TokenEndpointError(RefresherError):
    """The token endpoint refused the grant, failed, or answered something that is not a token.

    A refusal is `ambiguous` where ServiceNow's generic 401 leaves open which of many causes it has.
    """

    refresh_token: Secret | None = None
    """What came with an answer of no other use; it may be the only one that ServiceNow still accepts."""
    doubtful: bool = False
    """Whether it may be none: it came as access token as well, or in something else than an answer of ServiceNow's."""

    @property
    def refused(self) -> bool:
        """Whether ServiceNow said no to the credentials, ambiguously or not."""
        return self.cause.row.kind is Kind.REFUSED

    @property
    def grant_refused(self) -> bool:
        """Whether it said no to the grant and what was sent with it; a wrong client is refused whatever the grant."""
        return self.refused and self.cause is not Cause.INVALID_CLIENT

    @property
    def ambiguous(self) -> bool:
        """Whether it was the generic 401, which also stands for passing faults."""
        return self.cause is Cause.ACCESS_DENIED


class IdentityError(RefresherError):
    """Microsoft Entra gave the app's identity no token that may be published."""


class TokenRejectedError(RefresherError):
    """ServiceNow issued a token that its own API then refuses (or that acts as nobody)."""


class LeaseHeldError(RefresherError):
    """Another refresh of the same connection is under way; `retry_after` says when to ask again."""

    since: datetime | None = None
    """Since when, where its holder said so."""
    endless: bool = False
    """Whether it never ends by itself: no refresher takes such a lease."""
    way_out: Step = Step("")
    """What to do where it is held for longer than any refresh takes."""


class LeaseUnavailableError(RefresherError):
    """The lease service cannot be reached or refuses this identity."""

    refused: bool = False
    """Whether it was whoever asked that was refused: another may be let in."""


def unforeseen(error: Exception) -> RefresherError:
    """What is said of an exception that nobody foresaw: its type and place. Its own text may hold a secret."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f" in {frame.tb_frame.f_globals.get('__name__', '?')}, line {frame.tb_lineno}" if frame else ""
    return RefresherError(f"unexpected {type(error).__name__}{place}", cause=Cause.UNEXPECTED)


def next_step(error: RefresherError, connection: str) -> Step:
    """What to do about an error: its own hint, which knows the circumstances, or else what its cause calls for."""
    return error.hint or diagnose(error.cause, connection).next_step
