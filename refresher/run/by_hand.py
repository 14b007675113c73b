"""What only a person starts: a new authorization, a revocation, a look at the stored token.

Authorizing and revoking never raise: what went wrong is in the report, with its cause and next step.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from refresher.keyvault.credentials import Credentials
from refresher.keyvault.found import ConsumerSide
from refresher.keyvault.reading import read_consumer_side, read_everything
from refresher.keyvault.tags import ACCESS_TOKEN_CONTENT_TYPE, revoked_tags
from refresher.keyvault.vaults import Vaults
from refresher.model import steps
from refresher.model.causes import Cause, Kind
from refresher.model.connection import Connection, SecretIdentifier
from refresher.model.grants import CLIENT_ID, Grant
from refresher.model.report import Outcome, RunReport, RunRequest
from refresher.model.steps import VAULT, Step
from refresher.model.stored import StoredSecret
from refresher.model.tokens import Secret
from refresher.policy.due import Urgency
from refresher.policy.verify import is_proven
from refresher.run.check import check_token
from refresher.run.failures import reported
from refresher.run.keep import Keeper, Obtained
from refresher.run.parts import Parts
from refresher.run.run import Run
from refresher.servicenow.answers import Probe, Verdict
from refresher.servicenow.oauth import build_token_request
from refresher.servicenow.probing import UNAUTHORIZED
from refresher.servicenow.session import not_revoked
from refresher.status.tried import UNPROVEN


@dataclass(frozen=True, slots=True, kw_only=True)
class Authorization:
    """What a person brought, and whether the vault shall keep the secrets in it."""

    grant: Grant
    brought: Mapping[str, Secret | str]
    """Form fields of the grant; what is not among them is read from the vault."""
    keep: bool = False


def authorize(parts: Parts, connection: Connection, request: RunRequest, authorization: Authorization) -> RunReport:
    """Start a new life with what a person brought: same lease, same probe, same writes as a refresh."""
    run = parts.begin(connection, request)
    return once_only(reported(lambda: _authorize(parts, run, authorization), run.failed), authorization.grant)


def once_only(report: RunReport, grant: Grant) -> RunReport:
    """The report of an authorization: where it failed, no tick has what the person brought, to try it again."""
    cause, name = report.cause, report.connection
    if cause is None or cause.row.kind in {Kind.BUSY, Kind.CALLER, Kind.PRODUCT, Kind.PERSON}:
        return report
    hint: Step | None = None
    if cause.row.kind is Kind.REFUSED and grant is Grant.PASSWORD and cause not in _NOT_THE_PASSWORD:
        hint = Step(
            "No tick tries this password again. Look at user name and password first, since five wrong ones lock the "
            "user, and authorize again. Or it is the client: ",
            steps.set_secret(VAULT, f"{name}-client-secret"),
        )
    elif cause is Cause.UNSUPPORTED_GRANT_TYPE and grant is Grant.PASSWORD:
        hint = Step(
            "The application takes no passwords. Enable that grant on the instance, or: ",
            steps.authorize(name, browser=True),
        )
    elif cause in {Cause.TOKEN_REJECTED, Cause.GUEST_TOKEN}:
        hint = Step("Nothing was stored. Correct the user or the policy, then authorize again.")
    elif cause is Cause.INSTANCE_HIBERNATING:
        hint = Step(
            "Nothing was stored. Wake the instance at https://developer.service-now.com, then authorize again."
        )
    elif cause.row.passes:
        hint = Step("Nothing was stored, and no tick tries it again: authorize again in some minutes.")
    return report._replace(hint=hint) if hint is not None else report


_NOT_THE_PASSWORD = frozenset(
    {Cause.INVALID_CLIENT, Cause.UNSUPPORTED_GRANT_TYPE, Cause.TOKEN_REJECTED, Cause.GUEST_TOKEN}
)


def revoke(parts: Parts, connection: Connection, request: RunRequest) -> RunReport:
    """Revoke the stored tokens at ServiceNow, and let the vault say so."""
    run = parts.begin(connection, request)
    return reported(lambda: _revoke(parts, run), run.failed)


def probe(parts: Parts, connection: Connection) -> Probe | None:
    """Try the stored access token; None where there is none. Raises VaultError, but for that of the token alone.

    Where its secret cannot be read, a copy that works says nothing of it.
    """
    deadline = parts.deadline()
    side = read_consumer_side(parts.vaults, connection, deadline)
    unread = side.target_errors.get(parts.vaults.own(connection.access_token_name))
    if unread is not None:
        return Probe(verdict=Verdict.UNKNOWN, remark=unread.message)
    if side.access_token is None:
        return None
    with parts.servicenow.session(connection, deadline) as session:
        answer = session.probe(side.access_token.value)
    if side.access_token.revoked:
        return replace(answer, remark="the tokens were revoked")
    if answer.remark == UNAUTHORIZED and connection.probe_path and not is_proven(connection, side.access_token):
        return replace(answer, remark=UNPROVEN)
    return answer


def client_id(parts: Parts, connection: Connection) -> Secret:
    """The OAuth application's client id, for the address that a person opens. Raises VaultError."""
    _, read_credentials = read_everything(parts.vaults, connection, parts.clock.now(), parts.deadline())
    return read_credentials().required(CLIENT_ID)


def _authorize(parts: Parts, run: Run, authorization: Authorization) -> RunReport:
    grant = authorization.grant
    with parts.hold_lease(run, Urgency.MANDATORY) as (side, read_credentials):
        credentials = read_credentials()
        request = build_token_request(run.connection, grant, credentials.form(grant, authorization.brought))
        keeper = Keeper(run, parts.vaults, side, credentials)
        run.grant = grant
        run.request.on_progress(f"asking {run.connection.instance_url} for a token (grant {grant})")
        with parts.servicenow.session(run.connection, run.deadline) as session:
            response = session.request_token(
                lambda: request,
                refusals_tolerated=0,
                attempts=run.attempts,
                repeat_lost_answers=False,
            )
            # A person can start again, so the stored refresh token gives way only to one that is known to work.
            run.request.on_progress("trying the new token")
            checked = check_token(run, session, response)
            keeper.succession.tell_of_a_mask(response)
            keeper.succession.keep(response.refresh_token, grant)
            if authorization.keep:
                keeper.keep_brought(grant, authorization.brought)
            return keeper.publish(Obtained(response=response, grant=grant, probe=checked))


def _revoke(parts: Parts, run: Run) -> RunReport:
    """Whatever answers for ServiceNow, the access token shows whether it was revoked, where it can be tried."""
    with parts.hold_lease(run, Urgency.MANDATORY) as (side, read_credentials):
        known: list[bool | None] = []
        dead: _Copies = []
        doubtful: _Copies = []
        proven = False
        try:
            with parts.servicenow.session(run.connection, run.deadline) as session:
                for token, copies in _copies_of_tokens(parts.vaults, run.connection, side, read_credentials()):
                    known.append(session.revoke(token))
                    (dead if known[-1] else doubtful).extend(copies)
                    if copies[0][0].name == run.connection.refresh_token_name or run.connection.probe_path is None:
                        continue
                    verdict = session.probe(token).verdict
                    if verdict is Verdict.ACCEPTED:
                        dead.clear()
                        message = "the ServiceNow instance still accepts an access token after its revocation"
                        raise not_revoked(message)
                    proven |= verdict is Verdict.REJECTED
        finally:
            # Whatever failed after it: what is dead must not look alive. Values and versions stay.
            _mark_revoked(parts, run, dead)
        if None in known and not proven:
            message = "something answered the revocation, and did not say that it was done"
            raise not_revoked(message)
        _mark_revoked(parts, run, doubtful)
    message = f"{len(known)} tokens revoked at ServiceNow"
    if False in known:
        message = f"{len(known) - known.count(False)} of {message}, which did not know the others"
    for target in side.target_errors:
        message += f"; {target.name} cannot be read, and may still hold one of them"
    return run.report(Outcome.REVOKED, message)


_Copies = list[tuple[SecretIdentifier, StoredSecret]]


def _mark_revoked(parts: Parts, run: Run, copies: _Copies) -> None:
    now = parts.clock.now()
    if copies:
        run.before_writing()
    for place, secret in copies:
        parts.vaults.open(place.vault_url).describe(
            place.name,
            secret.version,
            content_type=secret.content_type or ACCESS_TOKEN_CONTENT_TYPE,
            tags={**secret.tags, **revoked_tags(now)},
            expires_on=now,
            deadline=run.writing_deadline,
        )


def _copies_of_tokens(
    vaults: Vaults, connection: Connection, side: ConsumerSide, credentials: Credentials
) -> list[tuple[Secret, _Copies]]:
    """The stored tokens, and where each is kept: the refresh token first, since it could make another one."""
    found: list[tuple[SecretIdentifier, StoredSecret | None]] = [
        (vaults.own(connection.refresh_token_name), credentials.refresh_token_secret),
        (vaults.own(connection.access_token_name), side.secret),
        *side.target_secrets.items(),
    ]
    copies: dict[Secret, _Copies] = {}
    for place, secret in found:
        if secret is not None and secret.value.stripped():
            copies.setdefault(secret.value.stripped(), []).append((place, secret))
    return list(copies.items())
