"""Why Microsoft Entra gave no token, as far as its answer tells, and the cure. No I/O.

The identity endpoint's own words are mostly "an unexpected error occurred" with status 500; the code that tells
(AADSTS and digits) then stands only in the platform's log. Where a code is there, it is kept, and nothing else of
the text: azure-identity puts a sentence before it that leads astray.
"""

import re

from refresher.entra.claims import read_claims
from refresher.model import steps
from refresher.model.causes import Cause
from refresher.model.errors import IdentityError, TokenRejectedError
from refresher.model.steps import Step
from refresher.model.tokens import Secret

_CODE = re.compile(r"AADSTS([0-9]{4,8})")
_CREATE = Step("Create its service principal: ", steps.create_service_principal(), ". Or correct the scope's id.")
_NO_IDENTITY = "the managed identity is missing from the app, or AZURE_CLIENT_ID names another"

_CURES: dict[str, tuple[str, Step]] = {
    "500011": ("the scope's application has no service principal in this tenant, or its id is mistyped", _CREATE),
    "501051": (
        "the application demands an assignment, and the identity has none",
        Step(
            "Assign an app role of it to the identity, or turn 'Assignment required' off on its enterprise "
            "application (docs/entra.md)."
        ),
    ),
    "700016": (
        "the application is not in this tenant",
        Step("Correct SERVICENOW_ENTRA_CLIENT_ID and SERVICENOW_ENTRA_TENANT_ID."),
    ),
    "90002": ("there is no such tenant in this cloud", Step("Correct SERVICENOW_ENTRA_TENANT_ID.")),
    "70021": (
        "no federated credential of the application fits the identity",
        Step("Add one whose subject is the identity's principal id (docs/entra.md)."),
    ),
    "700211": (
        "no federated credential of the application names the identity's issuer",
        Step("Its issuer is the tenant's v2.0 address (docs/entra.md)."),
    ),
    "700212": (
        "no federated credential of the application names the identity's audience",
        Step("Its audience is api://AzureADTokenExchange, in other clouds another (docs/entra.md)."),
    ),
    "700213": (
        "no federated credential of the application names the identity as its subject",
        Step("Its subject is the identity's principal id (docs/entra.md)."),
    ),
    "7000112": ("the application is disabled", Step("Enable its enterprise application.")),
}


class NoTokenError(IdentityError):
    """Microsoft Entra gave no token."""

    def __init__(self, message: str, hint: Step, *, passing: bool) -> None:
        super().__init__(message, cause=Cause.IDENTITY_UNAVAILABLE, hint=hint, transient=passing)


def no_identity_here(connection: str) -> NoTokenError:
    """There is no managed identity on this machine, and nobody else's token will do."""
    return NoTokenError(
        "the grant entra_id uses the app's managed identity, and this machine has none; a token of whoever is signed "
        "in here is a person's, and never published",
        Step(
            f"Force a run in the cloud: POST /api/refresh?connection={connection}&force=true (docs/runbook/force.md)"
        ),
        passing=False,
    )


def explain(scope: str, words: str) -> NoTokenError:
    """The error that an answer means. `words` are all that the libraries say of it; only a code of them is kept."""
    code = _CODE.search(words)
    if code is not None:
        known = _CURES.get(code[1])
        meaning, cure = known or (
            "a code that this program does not know",
            Step(f"Look it up: https://login.microsoftonline.com/error?code={code[1]}"),
        )
        return NoTokenError(
            f"Microsoft Entra refused a token for {scope}: AADSTS{code[1]}, {meaning}", cure, passing=False
        )
    return NoTokenError(
        f"the identity endpoint gave no token for {scope}, and no reason: mostly the scope's application has no "
        f"service principal (AADSTS500011), it demands an assignment (AADSTS501051), or {_NO_IDENTITY}",
        Step(_CREATE, " Then see that the identity is assigned to the app: ", steps.doctor()),
        passing=True,
    )


def entra_refused(token: Secret, transaction_id: str | None) -> TokenRejectedError:
    """ServiceNow's one 401 for everything, beside what the token says of itself."""
    claims = read_claims(token)
    metadata = (
        "/v2.0/.well-known/openid-configuration" if claims.version == "2.0" else "/.well-known/openid-configuration"
    )
    hint = Step(
        f"Compare with ServiceNow. Client ID: {claims.audience}. OIDC Metadata URL: that of the token's version, "
        f"which ends with TENANT{metadata}; its issuer is {claims.issuer}. User Claim sub, User Field User ID, and an "
        f"active user whose User ID is {claims.subject}. JTI claim verification off. All mistakes, in their order: "
        "docs/entra.md"
    )
    return TokenRejectedError(
        f"ServiceNow refuses the token of Microsoft Entra (401; {claims}); it was not published",
        cause=Cause.ENTRA_REFUSED,
        hint=hint,
        transaction_id=transaction_id,
    )
