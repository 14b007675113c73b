"""What a token of Microsoft Entra says of itself: read, not trusted. ServiceNow is the one that verifies it. No I/O.

Only a workload's token may be published. A person's has `scp` (delegated permissions), and a `sub` that is made for
one application; a workload's `sub` is its `oid`. `idtyp` is optional and counts only where it is there
(learn.microsoft.com/entra/identity-platform/access-token-claims-reference).
"""

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from refresher.model.causes import Cause
from refresher.model.errors import IdentityError
from refresher.model.grants import Grant
from refresher.model.steps import Step
from refresher.model.stored import StoredAccessToken
from refresher.model.tokens import AccessToken, Secret

_LONGEST_SHOWN = 120
_LONGEST_LIFE = timedelta(days=2)
"""A managed identity's token lives about a day; what claims more is not one of Entra's."""


class Claims(NamedTuple):
    """Claims that decide how ServiceNow sees a token; none is a secret. Those that are not there are empty."""

    audience: str
    issuer: str
    subject: str
    version: str

    def __str__(self) -> str:
        return f"aud {self.audience}, iss {self.issuer}, sub {self.subject}, ver {self.version}"


class NotAWorkloadError(IdentityError):
    """A token that must not be published: a person's, or one that cannot be read."""

    def __init__(self, found: str) -> None:
        super().__init__(
            f"Microsoft Entra gave a token that is not a workload's ({found}); it was not published",
            cause=Cause.IDENTITY_UNAVAILABLE,
            hint=Step("Only the app's own managed identity may be asked: docs/entra.md, 'Whose token it is'."),
        )


def read_claims(token: Secret) -> Claims:
    """The claims of a token. Raises NotAWorkloadError where they cannot be read."""
    document = _document(token)
    return Claims(
        audience=_text(document.get("aud")),
        issuer=_text(document.get("iss")),
        subject=_text(document.get("sub")),
        version=_text(document.get("ver")),
    )


def accept_token(token: Secret, *, now: datetime) -> AccessToken:
    """The token with its life, if it is a workload's and lives. Raises IdentityError."""
    document = _document(token)
    subject, kind = document.get("sub"), document.get("idtyp", "app")
    if "scp" in document:
        raise NotAWorkloadError("it has the claim scp, as a person's has")
    if not isinstance(subject, str) or not subject or subject != document.get("oid"):
        raise NotAWorkloadError("its claims sub and oid differ")
    if kind != "app":
        raise NotAWorkloadError("its claim idtyp is not app")
    issued_at, expires_at = _moment(document.get("iat")), _moment(document.get("exp"))
    if issued_at is None or expires_at is None or not timedelta() < expires_at - issued_at < _LONGEST_LIFE:
        raise NotAWorkloadError("its claims iat and exp are no life")
    if expires_at <= now:
        message = (
            f"the identity hands out a token that ended at {expires_at:%Y-%m-%d %H:%M:%S} UTC; it was not published"
        )
        raise IdentityError(message, cause=Cause.IDENTITY_UNAVAILABLE, transient=True)
    # Clocks differ by seconds; a beginning in the future would count as a wrong clock.
    return AccessToken(value=token, issued_at=min(issued_at, now), expires_at=expires_at, grant=Grant.ENTRA_ID)


def latest_to_end(
    stored: StoredAccessToken | None, new: AccessToken, refused: Secret | None, now: datetime
) -> AccessToken:
    """The new token, or the stored one if it lives, is not refused, and ends later with the same claims.

    The identity's back end has several nodes, each of which hands out for hours what it keeps.
    """
    if stored is None or not stored.lives_at(now) or stored.expires_at is None or stored.issued_at is None:
        return new
    if stored.value == refused or new.expires_at >= stored.expires_at or new.grant is not Grant.ENTRA_ID:
        return new
    # One of another grant has no claims.
    if document_of(stored.value) is None or read_claims(stored.value) != read_claims(new.value):
        return new
    return new._replace(value=stored.value, issued_at=stored.issued_at, expires_at=stored.expires_at)


def document_of(token: Secret) -> dict[str, object] | None:
    """All that a token says of itself; None where it cannot be read."""
    parts = token.reveal().split(".")
    try:
        padded = parts[1] + "=" * (-len(parts[1]) % 4)
        document = json.loads(base64.urlsafe_b64decode(padded))
    except (IndexError, ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _document(token: Secret) -> dict[str, object]:
    document = document_of(token)
    if document is None:
        message = "its claims cannot be read"
        raise NotAWorkloadError(message)
    return document


def _text(claim: object) -> str:
    text = claim if isinstance(claim, str) else ""
    return "".join(sign for sign in text if sign.isprintable())[:_LONGEST_SHOWN]


def _moment(claim: object) -> datetime | None:
    if isinstance(claim, bool) or not isinstance(claim, int | float):
        return None
    try:
        return datetime.fromtimestamp(claim, UTC)
    except (OverflowError, ValueError, OSError):
        return None
