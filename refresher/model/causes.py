"""Causes: what each most likely means, what to look at, what to do next, and what it is to the rest of the product.

One row for each: a member of the enum is its row, so that none can lack a column. ServiceNow answers nearly every
failure with the same 401; the true cause stands only in the instance's system log. An operator gets the likely
causes in the order in which they are worth checking, in ServiceNow's and Azure's own terms.
"""

from dataclasses import dataclass, replace
from enum import StrEnum
from http import HTTPStatus
from typing import Self

from refresher import REPORT_TO
from refresher.model import steps
from refresher.model.steps import VAULT, Step


class Kind(StrEnum):
    """Whose fault a cause is, and what follows for everybody who asks."""

    CALLER = "caller"
    """The request or the command."""
    PRODUCT = "product"
    """Settings or this program."""
    BUSY = "busy"
    """Nobody's: another run is at work."""
    AZURE = "azure"
    """The vault, what is in it, the identity, the lease."""
    AWAY = "away"
    """The instance serves nobody for a time; one that throttles or refuses is there."""
    THROTTLED = "throttled"
    """The instance serves, but less often than it is asked."""
    ANSWER = "answer"
    """The instance's answer is neither a token that works nor a refusal."""
    REFUSED = "refused"
    """ServiceNow said no to what was sent."""
    PERSON = "person"
    """Nothing is left that the product may try."""

    @property
    def http_status(self) -> HTTPStatus:
        """What a caller over HTTP is answered."""
        return _HTTP_STATUS[self]


_HTTP_STATUS = {
    Kind.CALLER: HTTPStatus.BAD_REQUEST,
    Kind.PRODUCT: HTTPStatus.INTERNAL_SERVER_ERROR,
    Kind.BUSY: HTTPStatus.CONFLICT,
    Kind.AZURE: HTTPStatus.SERVICE_UNAVAILABLE,
    Kind.AWAY: HTTPStatus.SERVICE_UNAVAILABLE,
    Kind.THROTTLED: HTTPStatus.SERVICE_UNAVAILABLE,
    Kind.ANSWER: HTTPStatus.BAD_GATEWAY,
    Kind.REFUSED: HTTPStatus.BAD_GATEWAY,
    Kind.PERSON: HTTPStatus.BAD_GATEWAY,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """What there is to know of a cause; `{connection}` in a text stands for the connection's name."""

    code: str
    kind: Kind
    meaning: str
    """A sentence for a person."""
    checks: tuple[str, ...]
    """What to look at, in order."""
    next_step: Step
    """The one thing to do."""
    passes: bool = False
    """Whether waiting helps: the next tick may well succeed."""
    ends_refresh_token: bool = False
    """Whether the refresh token's dates mean nothing any more."""
    unclear: bool = False
    """Whether it also comes from something on the way, after ServiceNow did what was asked."""


_NAME = "{connection}"
_LOG = "System Logs > System Log > All: 'Exception on token flow'"
_REGISTRY = "System OAuth > Application Registry"
_AUTHORIZE = steps.authorize(_NAME)
_RECOVER = steps.recover_secret(VAULT, f"{_NAME}-refresh-token")
_REFRESH = steps.refresh(_NAME)
_FORCE = steps.refresh(_NAME, force=True)
_DOCTOR = steps.doctor()
_SET_CLIENT_SECRET = steps.set_secret(VAULT, f"{_NAME}-client-secret")


class Cause(StrEnum):
    """Why a run did not end with a new token. Stable codes: alerts and runbook pages are named after them."""

    _value_: str
    row: Row

    def __new__(cls, row: Row) -> Self:
        """Make a member of its row."""
        member = str.__new__(cls, row.code)
        member._value_ = row.code
        member.row = row
        return member

    @classmethod
    def of(cls, code: str | None) -> "Cause | None":
        """The cause of that code, as a record tells it; None where there is none."""
        return next((cause for cause in cls if cause == code), None)

    SETTINGS_INVALID = Row(
        code="settings_invalid",
        kind=Kind.PRODUCT,
        meaning="A setting is missing or cannot be used.",
        checks=("docs/settings.md",),
        next_step=Step("Correct the app settings that the message names: ", steps.set_app_setting()),
    )
    BAD_REQUEST = Row(
        code="bad_request",
        kind=Kind.CALLER,
        meaning="The request or command is not understood, or names what is not there.",
        checks=("docs/cli.md, docs/runbook/force.md",),
        next_step=Step("Correct the request; nothing was changed."),
    )
    IDENTITY_UNAVAILABLE = Row(
        code="identity_unavailable",
        kind=Kind.AZURE,
        meaning="The app got no token of its own from Microsoft Entra.",
        checks=("the managed identity is assigned to the app", "AZURE_CLIENT_ID is its client id"),
        next_step=Step(
            "On a laptop: ", steps.log_in(), ". In Azure, assign the identity to the app; what is missing: ", _DOCTOR
        ),
        passes=True,
    )
    VAULT_UNAVAILABLE = Row(
        code="vault_unavailable",
        kind=Kind.AZURE,
        meaning="Key Vault did not do what was asked.",
        checks=("KEY_VAULT_URL", "the vault's firewall and private endpoint", "Azure status"),
        next_step=Step("The next tick tries again. If it repeats: ", _DOCTOR),
        passes=True,
    )
    VAULT_THROTTLED = Row(
        code="vault_throttled",
        kind=Kind.AZURE,
        meaning="Key Vault throttles this subscription.",
        checks=("who else uses the vault: its metric Service Api Hits",),
        next_step=Step("The next tick tries again. If it repeats, use a vault of its own."),
        passes=True,
    )
    VAULT_FORBIDDEN = Row(
        code="vault_forbidden",
        kind=Kind.AZURE,
        meaning="The app's identity may not do this in Key Vault.",
        checks=("role assignments of the secret and the vault", "the vault's firewall"),
        next_step=Step("The command that assigns what is missing: ", _DOCTOR),
    )
    SECRET_MISSING = Row(
        code="secret_missing",
        kind=Kind.AZURE,
        meaning="A secret is not in the vault.",
        checks=("the secret's name, letter by letter", Step("was it deleted? ", steps.list_deleted())),
        next_step=Step("Store the secret that the message names, then: ", _REFRESH),
    )
    SECRET_DISABLED = Row(
        code="secret_disabled",
        kind=Kind.AZURE,
        meaning="The newest version of a secret is disabled.",
        checks=("the vault's audit log: who disabled it?",),
        next_step=Step("Enable that version or store a new one, then: ", _REFRESH),
    )
    SECRET_INVALID = Row(
        code="secret_invalid",
        kind=Kind.AZURE,
        meaning="A secret holds what cannot be used.",
        checks=("the secret that the message names: empty, or of another form",),
        next_step=Step("Store the right value, then: ", _REFRESH),
    )
    SIGNING_KEY_MISSING = Row(
        code="signing_key_missing",
        kind=Kind.AZURE,
        meaning="The key that signs, or its version in the settings, is not in its vault.",
        checks=("`key_identifier` and `kid`, letter by letter", "was the key deleted?"),
        next_step=Step("Correct the identifier, or make the key (docs/keys.md); then: ", _REFRESH),
    )
    SIGNING_KEY_DISABLED = Row(
        code="signing_key_disabled",
        kind=Kind.AZURE,
        meaning="The key that signs is disabled.",
        checks=("the vault's audit log: who disabled it?",),
        next_step=Step("Enable it, or name another version; then: ", _REFRESH),
    )
    SIGNING_KEY_EXPIRED = Row(
        code="signing_key_expired",
        kind=Kind.AZURE,
        meaning="The key that signs is outside its dates.",
        checks=("the key's dates; was its certificate renewed?",),
        next_step=Step("Renew the certificate, give it to ServiceNow (docs/keys.md), then: ", _REFRESH),
    )
    SIGNING_KEY_UNFIT = Row(
        code="signing_key_unfit",
        kind=Kind.AZURE,
        meaning="The key that signs does not fit the algorithm, or was not made to sign.",
        checks=("which key `alg` needs (docs/keys.md)",),
        next_step=Step("Set `alg` to what the key can do, or name a key that fits; then: ", _REFRESH),
    )
    SIGNING_FORBIDDEN = Row(
        code="signing_forbidden",
        kind=Kind.AZURE,
        meaning="The app's identity may not read the key that signs, or sign with it.",
        checks=("the role on the key (docs/keys.md)",),
        next_step=Step("The command that assigns what is missing: ", _DOCTOR),
    )
    INSTANCE_UNREACHABLE = Row(
        code="instance_unreachable",
        kind=Kind.AWAY,
        meaning="The instance could not be reached, or hung up.",
        checks=("SERVICENOW_INSTANCE_URL", "the instance's IP address access control", "outbound rules, DNS, proxy"),
        next_step=Step("Does the instance open in a browser? From here: ", _DOCTOR),
        passes=True,
        unclear=True,
    )
    INSTANCE_TIMEOUT = Row(
        code="instance_timeout",
        kind=Kind.AWAY,
        meaning="The instance did not answer in time.",
        checks=("the instance's node status", "an upgrade or clone under way"),
        next_step=Step("The next tick tries again. If it repeats, tell the ServiceNow administrators."),
        passes=True,
        unclear=True,
    )
    INSTANCE_THROTTLED = Row(
        code="instance_throttled",
        kind=Kind.THROTTLED,
        meaning="The instance limits the rate of requests (429).",
        checks=("rate limit rules (sys_rate_limit_rules) for the integration user",),
        next_step=Step("The next tick tries again. If it repeats, raise the limit for this user."),
        passes=True,
    )
    INSTANCE_ERROR = Row(
        code="instance_error",
        kind=Kind.AWAY,
        meaning="The instance failed (5xx).",
        checks=("an upgrade, clone or restart under way", _LOG),
        next_step=Step("The next tick tries again. If it repeats, open a case with the transaction id."),
        passes=True,
        unclear=True,
    )
    INSTANCE_HIBERNATING = Row(
        code="instance_hibernating",
        kind=Kind.AWAY,
        meaning="The developer instance sleeps.",
        checks=("SERVICENOW_INSTANCE_URL: a production instance never sleeps",),
        next_step=Step(
            "Sign in at developer.servicenow.com, which wakes it; the next tick goes on. At once: ",
            _REFRESH,
        ),
    )
    NOT_A_TOKEN = Row(
        code="not_a_token",
        kind=Kind.ANSWER,
        meaning="No token came back and no refusal of ServiceNow's, but a page, a gateway's answer or a redirect.",
        checks=("SERVICENOW_INSTANCE_URL is the instance itself", "a proxy or single sign-on in between"),
        next_step=Step("See what SERVICENOW_INSTANCE_URL answers in a browser, and from here: ", _DOCTOR),
        unclear=True,
    )
    ADDRESS_REFUSED = Row(
        code="address_refused",
        kind=Kind.ANSWER,
        meaning="ServiceNow shuts out the address that asks (403).",
        checks=(
            "System Security > IP Address Access Control: the app's outgoing address (docs/azure.md)",
            "an API access policy on the token endpoint",
        ),
        next_step=Step("Let the app's outgoing address through, then: ", _FORCE),
    )
    INVALID_CLIENT = Row(
        code="invalid_client",
        kind=Kind.REFUSED,
        meaning="The client id or secret is wrong, or the application is inactive.",
        checks=(
            f"{_REGISTRY}: the application is active",
            "its id and secret equal {connection}-client-id and {connection}-client-secret",
        ),
        next_step=Step(
            "Activate the application, or store the client secret that it shows: ",
            _SET_CLIENT_SECRET,
            "; then: ",
            _FORCE,
        ),
    )
    INVALID_GRANT = Row(
        code="invalid_grant",
        kind=Kind.REFUSED,
        meaning="The refresh token, password or assertion is not valid.",
        checks=(
            "the refresh token's lifespan on the registry",
            "the user is active and not locked out",
            "of an assertion: JWT verifier map, `kid`, `sub`, `aud`, both clocks",
            _LOG,
        ),
        next_step=Step("Correct what the checks find; where a refresh token or password has ended: ", _AUTHORIZE),
    )
    UNSUPPORTED_GRANT_TYPE = Row(
        code="unsupported_grant_type",
        kind=Kind.REFUSED,
        meaning="The instance does not allow this grant.",
        checks=(
            "client_credentials: glide.oauth.inbound.client.credential.grant_type.enabled is true",
            f"{_REGISTRY}: the application is of that grant",
        ),
        next_step=Step("Enable the grant on the instance, or choose another with SERVICENOW_GRANT."),
    )
    REQUEST_REFUSED = Row(
        code="request_refused",
        kind=Kind.REFUSED,
        meaning="ServiceNow refused the request as such.",
        checks=(f"{_REGISTRY}: scopes and type of the application", _LOG),
        next_step=Step("Search the system log for the transaction id; correct the application."),
    )
    ACCESS_DENIED = Row(
        code="access_denied",
        kind=Kind.REFUSED,
        meaning="ServiceNow's generic 401, which has many causes and sometimes none.",
        checks=(
            _LOG,
            f"{_REGISTRY}: the application is active, the secret equals {{connection}}-client-secret",
            "System OAuth > Manage Tokens: the refresh token lives",
            "the integration user is active, not locked out, and its password is right",
        ),
        next_step=Step(
            "The next tick tries again. If it stays, the system log says why. The client: ",
            _SET_CLIENT_SECRET,
            "; then: ",
            _FORCE,
            ". The refresh token or the user: ",
            _AUTHORIZE,
        ),
        passes=True,
    )
    TOKEN_REJECTED = Row(
        code="token_rejected",
        kind=Kind.ANSWER,
        meaning="ServiceNow's API refuses a new token; it was not published.",
        checks=(
            "the integration user is active, and may use web services",
            "REST API access policies and the application's scopes",
        ),
        next_step=Step("Correct the user or the policy, then: ", _FORCE),
    )
    ENTRA_REFUSED = Row(
        code="entra_refused",
        kind=Kind.ANSWER,
        meaning="ServiceNow refuses the token of Microsoft Entra; it was not published.",
        checks=(
            "the entity's Client ID is the token's `aud`",
            "the issuer behind its OIDC Metadata URL is the token's `iss`",
            "User Claim is `sub`, User Field is User ID, and an active user has the token's `sub` there",
            "JTI claim verification is off; entity and provider are active",
            "REST API access policies admit ID tokens",
        ),
        next_step=Step("Correct what differs from the claims in the message, then: ", _FORCE),
    )
    GUEST_TOKEN = Row(
        code="guest_token",
        kind=Kind.ANSWER,
        meaning="The token acts as user guest: client_credentials are tied to no user.",
        checks=(
            f"{_REGISTRY}: field 'OAuth Application User'",
            "glide.oauth.inbound.client.credential.grant_type.enabled is true",
        ),
        next_step=Step("Set the OAuth Application User, then: ", _FORCE),
    )
    ACCESS_TOKEN_REFUSED = Row(
        code="access_token_refused",
        kind=Kind.ANSWER,
        meaning="ServiceNow refuses the stored token, although its dates say that it lives.",
        checks=(
            "System OAuth > Manage Tokens: was it revoked?",
            "the integration user is active and not locked out",
            "REST API access policies, which answer the same",
        ),
        next_step=Step("Get another one: ", _FORCE, ". Refused as well? Correct what the checks find."),
    )
    REFRESH_TOKEN_MISSING = Row(
        code="refresh_token_missing",
        kind=Kind.PERSON,
        meaning="There is no refresh token (none, or one that `revoke` ended), and no fallback grant.",
        checks=("{connection}-refresh-token: is it there, and more than a placeholder? Has it a tag revoked-at?",),
        next_step=Step("Authorize: ", _AUTHORIZE, ". If it was deleted by mistake: ", _RECOVER),
    )
    REFRESH_TOKEN_REFUSED = Row(
        code="refresh_token_refused",
        kind=Kind.PERSON,
        meaning="ServiceNow refused the refresh token repeatedly: it ended, was revoked, or secret or user changed.",
        checks=(
            "System OAuth > Manage Tokens: the refresh token's end",
            _LOG,
            f"{_REGISTRY}: the application is active, the secret equals {{connection}}-client-secret",
            "the integration user is active",
        ),
        next_step=Step(
            "What was replaced or switched off since the last success: ",
            _DOCTOR,
            ". Nothing? Authorize again: ",
            _AUTHORIZE,
            ". Refused as well? The application is inactive, or the password or the client secret wrong: ",
            _SET_CLIENT_SECRET,
            "; then: ",
            _FORCE,
        ),
        ends_refresh_token=True,
    )
    ROTATED_TOKEN_LOST = Row(
        code="rotated_token_lost",
        kind=Kind.PERSON,
        meaning="ServiceNow replaced the refresh token, and its answer was lost.",
        checks=("System OAuth > Manage Tokens",),
        next_step=Step("Authorize again: ", _AUTHORIZE),
        ends_refresh_token=True,
    )
    PASSWORD_REFUSED = Row(
        code="password_refused",
        kind=Kind.PERSON,
        meaning="The password was refused, or no answer says that it was not; few tries are made, to lock nobody out.",
        checks=("the user is active and not locked out", "{connection}-username and {connection}-password", _LOG),
        next_step=Step(
            "Store the right password, which the next tick tries: ",
            steps.set_secret(VAULT, f"{_NAME}-password"),
        ),
    )
    AUTHORIZATION_INCOMPLETE = Row(
        code="authorization_incomplete",
        kind=Kind.PERSON,
        meaning="The authorization in the browser was not finished, or was refused.",
        checks=(
            f"{_REGISTRY}: its Redirect URL is http://127.0.0.1:PORT/callback, PORT as in --port",
            "sign in as the integration user, in a browser of this machine, and allow it",
        ),
        next_step=Step("Start again: ", steps.authorize(_NAME, browser=True)),
    )
    UNCHANGED = Row(
        code="unchanged",
        kind=Kind.ANSWER,
        meaning="ServiceNow gives the same access token until it ends; a short gap may follow.",
        checks=(f"{_REGISTRY}: the access token's lifespan",),
        next_step=Step("Set the access token's lifespan to 3600 s or more."),
        passes=True,
    )
    NO_TICK = Row(
        code="no_tick",
        kind=Kind.PRODUCT,
        meaning="The timer has not fired for three intervals: nothing refreshes the tokens.",
        checks=(
            "the app runs; portal: Functions lists refresh_tokens as enabled",
            "AzureWebJobs.refresh_tokens.Disabled: somebody may have meant it",
            "the log of its last start",
        ),
        next_step=Step("Start the app or its timer again. Until it fires, by hand: ", steps.refresh_all()),
    )
    LEASE_HELD = Row(
        code="lease_held",
        kind=Kind.BUSY,
        meaning="Another refresh of this connection is under way.",
        checks=(Step(steps.status(_NAME)),),
        next_step=Step("Wait a minute; the other run serves you as well."),
        passes=True,
    )
    LEASE_STUCK = Row(
        code="lease_stuck",
        kind=Kind.AZURE,
        meaning="Something holds the lease for longer than any refresh takes.",
        checks=("the message says who, and since when",),
        next_step=Step("End what holds it, or break the lease as the message says: ", _REFRESH),
    )
    LEASE_UNAVAILABLE = Row(
        code="lease_unavailable",
        kind=Kind.AZURE,
        meaning="The lease could not be asked for.",
        checks=("LEASE_CONTAINER_URL", "role 'Storage Blob Data Contributor' on that container"),
        next_step=Step("The role or the setting that is missing: ", _DOCTOR),
        passes=True,
    )
    RUN_OVERDUE = Row(
        code="run_overdue",
        kind=Kind.AZURE,
        meaning="The run's time was over before it asked ServiceNow, or could write.",
        checks=("a slow vault, many that are due at once, a busy machine",),
        next_step=Step("Wait for the next tick, or run it now: ", _REFRESH),
        passes=True,
    )
    REFRESH_TOKEN_NOT_STORED = Row(
        code="refresh_token_not_stored",
        kind=Kind.AZURE,
        meaning="The vault did not take ServiceNow's new refresh token, as long as the run lasted.",
        checks=("what the vault said: in the message", "its role assignments and policies"),
        next_step=Step("See that the vault can be written: ", _DOCTOR, ". Then begin a new life: ", _AUTHORIZE),
        ends_refresh_token=True,
    )
    PUBLISH_FAILED = Row(
        code="publish_failed",
        kind=Kind.AZURE,
        meaning="There is a new token, but not every target could be written.",
        checks=("the target's vault and its role assignments",),
        next_step=Step("The next tick publishes again. The access that is missing: ", _DOCTOR),
        passes=True,
    )
    UNEXPECTED = Row(
        code="unexpected",
        kind=Kind.PRODUCT,
        meaning="Something happened that this program does not know.",
        checks=("the log of this run id",),
        next_step=Step(f"The next tick tries again. Report it, with the run id, to {REPORT_TO}"),
        passes=True,
    )


def diagnose(cause: Cause, connection: str) -> Row:
    """The row of a cause, with the connection's name in its texts and commands."""
    row = cause.row
    checks = tuple(Step(check).naming(_NAME, connection) for check in row.checks)
    return replace(row, checks=checks, next_step=row.next_step.naming(_NAME, connection))
