"""What a cause most likely means, and what to do about it, in ServiceNow's and Azure's own terms.

ServiceNow answers nearly every failure with the same 401; the true cause stands only in the instance's system
log. An operator gets the likely causes in the order in which they are worth checking.
"""

from dataclasses import dataclass
from enum import StrEnum


class Cause(StrEnum):
    """Why a run did not end with a new token. Stable codes: alerts and runbook pages are named after them."""

    SETTINGS_INVALID = "settings_invalid"
    BAD_REQUEST = "bad_request"
    IDENTITY_UNAVAILABLE = "identity_unavailable"
    VAULT_UNAVAILABLE = "vault_unavailable"
    VAULT_THROTTLED = "vault_throttled"
    VAULT_FORBIDDEN = "vault_forbidden"
    SECRET_MISSING = "secret_missing"  # noqa: S105
    SECRET_DISABLED = "secret_disabled"  # noqa: S105
    SECRET_INVALID = "secret_invalid"  # noqa: S105
    INSTANCE_UNREACHABLE = "instance_unreachable"
    INSTANCE_TIMEOUT = "instance_timeout"
    INSTANCE_THROTTLED = "instance_throttled"
    INSTANCE_ERROR = "instance_error"
    INSTANCE_HIBERNATING = "instance_hibernating"
    NOT_A_TOKEN = "not_a_token"  # noqa: S105
    INVALID_CLIENT = "invalid_client"
    INVALID_GRANT = "invalid_grant"
    UNSUPPORTED_GRANT_TYPE = "unsupported_grant_type"
    REQUEST_REFUSED = "request_refused"
    ACCESS_DENIED = "access_denied"
    TOKEN_REJECTED = "token_rejected"  # noqa: S105
    GUEST_TOKEN = "guest_token"  # noqa: S105
    REFRESH_TOKEN_MISSING = "refresh_token_missing"  # noqa: S105
    REFRESH_TOKEN_REFUSED = "refresh_token_refused"  # noqa: S105
    ROTATED_TOKEN_LOST = "rotated_token_lost"  # noqa: S105
    PASSWORD_REFUSED = "password_refused"  # noqa: S105
    AUTHORIZATION_INCOMPLETE = "authorization_incomplete"
    UNCHANGED = "unchanged"
    LEASE_HELD = "lease_held"
    LEASE_UNAVAILABLE = "lease_unavailable"
    PUBLISH_FAILED = "publish_failed"
    UNEXPECTED = "unexpected"


AWAY = frozenset(
    {Cause.INSTANCE_UNREACHABLE, Cause.INSTANCE_TIMEOUT, Cause.INSTANCE_ERROR, Cause.INSTANCE_HIBERNATING}
)
"""What is said of an instance that serves nobody for a time; one that throttles or refuses is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Diagnosis:
    """`meaning` is a sentence for a person, `checks` what to look at in order, `next_step` the one thing to do.

    A command in them ends with the text, or before punctuation and a space, so that it can be told from the words.
    """

    meaning: str
    checks: tuple[str, ...]
    next_step: str


_LOG = "System Logs > System Log > All: search the message for 'Exception on token flow'"
_AUTHORIZE = "python -m refresher authorize {connection} --grant authorization_code"
_REFRESH = "python -m refresher refresh {connection}"
_SET = 'az keyvault secret set --vault-name "$VAULT" --name {connection}-%s --file FILE --output none'
_SET_CLIENT_SECRET = _SET % "client-secret"
_REGISTRY = "System OAuth > Application Registry"

_DIAGNOSES: dict[Cause, Diagnosis] = {
    Cause.SETTINGS_INVALID: Diagnosis(
        meaning="A setting is missing or cannot be used.",
        checks=("docs/settings.md: name, default and form of each setting",),
        next_step="Correct the app settings that the message names: az functionapp config appsettings set "
        '--name "$APP" --resource-group "$GROUP" --settings SETTING=VALUE',
    ),
    Cause.BAD_REQUEST: Diagnosis(
        meaning="The request or the command names something that is not there, or cannot be understood.",
        checks=("docs/cli.md and docs/runbook/force.md: what can be asked for",),
        next_step="Correct the request; nothing was changed.",
    ),
    Cause.IDENTITY_UNAVAILABLE: Diagnosis(
        meaning="The app could not get a token of its own from Microsoft Entra.",
        checks=("the managed identity is assigned to the app", "AZURE_CLIENT_ID is that identity's client id"),
        next_step="On a laptop: az login. In Azure, see that the identity is assigned to the app: python -m refresher "
        "doctor",
    ),
    Cause.VAULT_UNAVAILABLE: Diagnosis(
        meaning="Key Vault did not do what was asked.",
        checks=("KEY_VAULT_URL", "the vault's firewall and private endpoint", "Azure status"),
        next_step="The next tick tries again. If it repeats: python -m refresher doctor",
    ),
    Cause.VAULT_THROTTLED: Diagnosis(
        meaning="Key Vault throttles this subscription's requests.",
        checks=("other heavy users of the vault", "the number of connections in one vault"),
        next_step="The next tick tries again. If it repeats, use a vault of your own.",
    ),
    Cause.VAULT_FORBIDDEN: Diagnosis(
        meaning="The app's identity may not do this in Key Vault.",
        checks=("the role assignments of the secret and the vault", "the vault's firewall"),
        next_step="The command that assigns what is missing: python -m refresher doctor",
    ),
    Cause.SECRET_MISSING: Diagnosis(
        meaning="A secret that the connection needs is not in the vault.",
        checks=("the secret's name, letter by letter", "whether it was deleted: az keyvault secret list-deleted"),
        next_step="Store the secret that the message names, then: python -m refresher refresh {connection}",
    ),
    Cause.SECRET_DISABLED: Diagnosis(
        meaning="The newest version of a secret is disabled; older versions are not used.",
        checks=("the secret's versions in the portal",),
        next_step="Enable that version or store a new one, then: python -m refresher refresh {connection}",
    ),
    Cause.SECRET_INVALID: Diagnosis(
        meaning="A secret holds something that cannot be used for its purpose.",
        checks=("the secret that the message names: empty, or not in the form that is needed",),
        next_step="Store the right value, then: python -m refresher refresh {connection}",
    ),
    Cause.INSTANCE_UNREACHABLE: Diagnosis(
        meaning="The instance could not be reached, or hung up.",
        checks=("SERVICENOW_INSTANCE_URL", "the instance's IP address access control", "outbound rules, DNS, proxy"),
        next_step="Does the instance open in a browser? From here: python -m refresher doctor",
    ),
    Cause.INSTANCE_TIMEOUT: Diagnosis(
        meaning="The instance did not answer in time.",
        checks=("the instance's performance and node status", "an upgrade or clone under way"),
        next_step="The next tick tries again. If it repeats, tell the ServiceNow administrators.",
    ),
    Cause.INSTANCE_THROTTLED: Diagnosis(
        meaning="The instance limits the rate of requests (429).",
        checks=("Rate limit rules (sys_rate_limit_rules) for the integration user",),
        next_step="The next tick tries again. If it repeats, raise the limit for this user.",
    ),
    Cause.INSTANCE_ERROR: Diagnosis(
        meaning="The instance failed (5xx).",
        checks=("an upgrade, clone or restart under way", _LOG),
        next_step="The next tick tries again. If it repeats, open a case with the transaction id.",
    ),
    Cause.INSTANCE_HIBERNATING: Diagnosis(
        meaning="The developer instance sleeps; it answers 200 with a page that says so.",
        checks=("developer.servicenow.com: state of the instance",),
        next_step="Wake the instance by signing in at developer.servicenow.com; the next tick goes on by itself. "
        f"At once: {_REFRESH}",
    ),
    Cause.NOT_A_TOKEN: Diagnosis(
        meaning="Something other than a token came back: a login page, a proxy's page, a redirect.",
        checks=("SERVICENOW_INSTANCE_URL is the instance itself", "a proxy or single sign-on in between"),
        next_step="See what SERVICENOW_INSTANCE_URL answers in a browser, and from here: python -m refresher doctor",
    ),
    Cause.INVALID_CLIENT: Diagnosis(
        meaning="ServiceNow does not know the client id, or the client secret is wrong.",
        checks=(
            f"{_REGISTRY}: the application is active",
            "the client id and secret there equal {connection}-client-id and {connection}-client-secret",
        ),
        next_step=f"Store the client secret that the registry shows: {_SET_CLIENT_SECRET}; then: {_REFRESH} --force",
    ),
    Cause.INVALID_GRANT: Diagnosis(
        meaning="ServiceNow says definitely that the refresh token, password or assertion is not valid.",
        checks=(
            "the refresh token's life on the application registry",
            "the user is active and not locked out",
            "of an assertion: the JWT verifier map's key and `kid`, `sub`, `aud`, and the clocks of both sides",
            _LOG,
        ),
        next_step=f"Correct what the checks find; a refresh token or password that has ended needs: {_AUTHORIZE}",
    ),
    Cause.UNSUPPORTED_GRANT_TYPE: Diagnosis(
        meaning="The instance does not allow this grant.",
        checks=(
            "sys_properties: glide.oauth.inbound.client.credential.grant_type.enabled is true (client_credentials)",
            f"{_REGISTRY}: the application's type fits the grant",
        ),
        next_step="Enable the grant on the instance, or choose another with SERVICENOW_GRANT.",
    ),
    Cause.REQUEST_REFUSED: Diagnosis(
        meaning="ServiceNow refused the request as such.",
        checks=(f"{_REGISTRY}: scopes and type of the application", _LOG),
        next_step="Search the system log for the transaction id, and correct the application.",
    ),
    Cause.ACCESS_DENIED: Diagnosis(
        meaning="ServiceNow refused with its generic 401, which has many causes and sometimes none.",
        checks=(
            _LOG,
            f"{_REGISTRY}: the application is active, the secret equals {{connection}}-client-secret",
            "the refresh token has not ended or been revoked (System OAuth > Manage Tokens)",
            "the integration user is active, not locked out, and its password is right",
        ),
        next_step="The next tick tries again. If it stays, the instance's system log says why, in a message that "
        "starts with 'Exception on token flow'. The client: "
        f"{_SET_CLIENT_SECRET}; then: {_REFRESH} --force. The refresh token or the user: {_AUTHORIZE}",
    ),
    Cause.TOKEN_REJECTED: Diagnosis(
        meaning="ServiceNow issued a token that its own API refuses; it was not published.",
        checks=(
            "the integration user is active and not 'web service access' restricted away",
            "REST API access policies and the application's scopes",
        ),
        next_step=f"Correct the user or the policy, then: {_REFRESH} --force",
    ),
    Cause.GUEST_TOKEN: Diagnosis(
        meaning="The token acts as user guest: the release or its set-up does not tie client_credentials to a user.",
        checks=(
            f"{_REGISTRY}: field 'OAuth Application User' of the application",
            "sys_properties: glide.oauth.inbound.client.credential.grant_type.enabled",
        ),
        next_step=f"Set the OAuth Application User, then: {_REFRESH} --force",
    ),
    Cause.REFRESH_TOKEN_MISSING: Diagnosis(
        meaning="There is no refresh token, and no fallback grant to obtain one.",
        checks=("secret {connection}-refresh-token",),
        next_step=f"Authorize: {_AUTHORIZE}",
    ),
    Cause.REFRESH_TOKEN_REFUSED: Diagnosis(
        meaning="ServiceNow refused the refresh token repeatedly: it has ended or was revoked, or what goes with it, "
        "the client secret or the user, was changed.",
        checks=(
            "System OAuth > Manage Tokens: the refresh token's end",
            _LOG,
            f"{_REGISTRY}: the secret equals {{connection}}-client-secret",
            "the integration user is active",
        ),
        next_step=f"Authorize again: {_AUTHORIZE}. Where that is refused as well, it is the client secret: "
        f"{_SET_CLIENT_SECRET}; then: {_REFRESH} --force",
    ),
    Cause.ROTATED_TOKEN_LOST: Diagnosis(
        meaning="ServiceNow replaced the refresh token, but its answer was lost before it could be stored.",
        checks=("System OAuth > Manage Tokens",),
        next_step=f"Authorize again: {_AUTHORIZE}",
    ),
    Cause.PASSWORD_REFUSED: Diagnosis(
        meaning="The password was refused; it is sent a few times only, so that the user is not locked out.",
        checks=("the user is active and not locked out", "{connection}-username and {connection}-password", _LOG),
        next_step=f"Store the right password, whose new version the next tick tries: {_SET % 'password'}",
    ),
    Cause.AUTHORIZATION_INCOMPLETE: Diagnosis(
        meaning="The authorization in the browser was not finished, or was refused.",
        checks=(
            f"{_REGISTRY}: the application's Redirect URL is http://127.0.0.1:PORT/callback, PORT as in --port",
            "the person signed in as the integration user and allowed the access",
        ),
        next_step=f"Start again: {_AUTHORIZE}",
    ),
    Cause.UNCHANGED: Diagnosis(
        meaning="ServiceNow answers with the same access token until it ends; there may be a short gap then.",
        checks=(f"{_REGISTRY}: the access token's lifespan",),
        next_step="Set the access token's lifespan to 3600 s or more on the application registry.",
    ),
    Cause.LEASE_HELD: Diagnosis(
        meaning="Another refresh of this connection is under way.",
        checks=("python -m refresher status {connection}",),
        next_step="Wait a minute; the other run serves you as well.",
    ),
    Cause.LEASE_UNAVAILABLE: Diagnosis(
        meaning="The lease that keeps two refreshes apart could not be asked for.",
        checks=("LEASE_CONTAINER_URL", "role 'Storage Blob Data Contributor' on that container"),
        next_step="The role or the setting that is missing: python -m refresher doctor",
    ),
    Cause.PUBLISH_FAILED: Diagnosis(
        meaning="A new token was obtained, but not every publish target could be written.",
        checks=("the target's vault and its role assignments",),
        next_step="The next tick publishes again without asking ServiceNow. The access that is missing: python -m "
        "refresher doctor",
    ),
    Cause.UNEXPECTED: Diagnosis(
        meaning="Something happened that this program does not know.",
        checks=("the log of this run id",),
        next_step="Report it with the run id; the next tick tries again.",
    ),
}


def diagnose(cause: Cause, connection: str) -> Diagnosis:
    """The diagnosis of a cause, with the connection's name in its commands."""
    diagnosis = _DIAGNOSES[cause]
    return Diagnosis(
        meaning=diagnosis.meaning,
        checks=tuple(check.format(connection=connection) for check in diagnosis.checks),
        next_step=diagnosis.next_step.format(connection=connection),
    )
