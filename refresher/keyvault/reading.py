"""Reads of a run, side by side: what consumers see first, the credentials only when a token is to be requested."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime

from refresher.keyvault.credentials import Credentials, Found, checked
from refresher.keyvault.found import ConsumerSide, Overview
from refresher.keyvault.keys import SigningKey
from refresher.keyvault.listing import Listing
from refresher.keyvault.tags import REVOKED_AT, parse_access_token, parse_record, parse_refresh_token, publisher
from refresher.keyvault.vaults import Vaults, short_share
from refresher.model.causes import Cause
from refresher.model.clock import Deadline
from refresher.model.connection import Connection, SecretIdentifier
from refresher.model.errors import VaultError
from refresher.model.grants import CLIENT, REFRESH_TOKEN, USERNAME
from refresher.model.stored import StoredSecret, TargetState
from refresher.policy.password_gate import PasswordRefusals

_OF_ONE_SECRET = frozenset({Cause.SECRET_DISABLED, Cause.VAULT_FORBIDDEN})
"""What a vault says of one secret: it is there, and read others."""


def read_consumer_side(vaults: Vaults, connection: Connection, deadline: Deadline) -> ConsumerSide:
    """One parallel round: access token, targets, record. Raises VaultError; that of one secret alone is kept aside."""
    return _consumer_side(vaults, connection, vaults.read(_consumer_names(vaults, connection), deadline))


Everything = tuple[ConsumerSide, Callable[[], Credentials]]


def read_everything(vaults: Vaults, connection: Connection, now: datetime, deadline: Deadline) -> Everything:
    """One parallel round: the consumers' side, and the credentials, whose errors wait until they are asked for."""
    key = _reading_key(vaults, connection, deadline)
    places = (*_consumer_names(vaults, connection), *_credential_names(vaults, connection))
    needed = (*connection.own_secrets(connection.grant), *_needed_client(connection))
    found = vaults.read(places, deadline, needed=[vaults.own(connection.secret_name(suffix)) for suffix in needed])
    credentials = _credentials(vaults, connection, found, now, key())
    side = _consumer_side(vaults, connection, found)
    if side.record_error is not None:
        held = _by_touch(vaults, connection, short_share(deadline))
        if held is not None:
            side = side._replace(record_secret=held, record=parse_record(held), record_error=None)
    return side, lambda: _demanded(connection, credentials)


def read_overview(
    vaults: Vaults, connection: Connection, now: datetime, deadline: Deadline, listing: Listing
) -> Overview:
    """One parallel round: the tokens, and what ends. Raises VaultError; the key's error is kept aside.

    Whoever may read no values gets the same by the secrets' tags.
    """
    place = vaults.own(connection.refresh_token_name)
    needed = _credential_names(vaults, connection)
    key = _reading_key(vaults, connection, deadline)
    found: Mapping[SecretIdentifier, Found] = vaults.read((*_consumer_names(vaults, connection), *needed), deadline)
    tokens = (vaults.own(connection.access_token_name), *connection.publish_to)
    listed = listing.instead(found, tokens, deadline)
    # Where no token was ever published, what was refused is all that there is to say.
    if any(isinstance(listed[token], StoredSecret) for token in tokens):
        found = listed
    side = _consumer_side(vaults, connection, found)
    side = side._replace(record=side.record.read_beside(side.access_token, now))
    credentials = _credentials(vaults, connection, found, now, key())
    unread = side.target_errors.get(vaults.own(connection.access_token_name))
    if unread is not None and not side.is_dated and unread.cause not in _OF_ONE_SECRET:
        raise unread
    if side.access_token is None:
        checked(found.get(place))
    last = side.record.last_attempt_at
    return Overview(
        side=side,
        refresh_token=credentials.refresh_token,
        key=credentials.key_life,
        fallback_ready=credentials.fallback_ready(side.record),
        untried=credentials.stored_after(last) if last is not None else (),
        blocked=_blocked(connection, credentials),
        by_app=listing.by_app,
    )


def _blocked(connection: Connection, credentials: Credentials) -> VaultError | None:
    try:
        _demanded(connection, credentials)
    except VaultError as error:
        return error
    return None


def _reading_key(
    vaults: Vaults, connection: Connection, deadline: Deadline
) -> Callable[[], SigningKey | VaultError | None]:
    """Begin to read the key that signs; a fallback's must not hold up what does without it."""
    key, claims = connection.signing_key, connection.jwt
    if key is None or claims is None:
        return lambda: None
    limit = deadline if connection.grant.row.signed else short_share(deadline)
    return vaults.executor.submit(vaults.keys.find, key, claims, limit).result


def read_refusals_elsewhere(
    vaults: Vaults, connections: Iterable[Connection], user: str | None, deadline: Deadline
) -> tuple[PasswordRefusals, ...]:
    """One parallel round: what the records of these connections tell of passwords that were sent for that user.

    Whatever became of those passwords since: ServiceNow has counted them. A record of old that does not tell for whom
    counts as well; one that is kept from this app holds nothing against anybody. Raises VaultError where another one
    cannot be read, unless its connection is known to send for another user: a password can wait, and a user who is
    locked cannot.
    """
    asked = [(each, vaults.own(each.secret_name(USERNAME)), vaults.own(each.record_name)) for each in connections]
    found = vaults.read([place for _, *places in asked for place in places], deadline)
    refusals = []
    for connection, user_place, record_place in asked:
        sends_for, record = found[user_place], found[record_place]
        if isinstance(record, VaultError):
            error, record = record, _by_touch(vaults, connection, short_share(deadline))
            another = isinstance(sends_for, StoredSecret) and sends_for.value.name_mark() != user
            if record is None and not another and error.cause not in _OF_ONE_SECRET:
                raise _untold(connection, error)
        refusals.append(parse_record(record).password)
    return tuple(each for each in refusals if each.user in {None, user})


def _untold(connection: Connection, error: VaultError) -> VaultError:
    """Why a password is not sent: nobody knows how often a neighbour's was refused."""
    return VaultError(
        f"the password was not sent: {connection.name} may send one for the same user, and its record does not tell "
        f"how often that was refused ({error.message})",
        cause=error.cause,
        hint=error.hint,
        transient=error.transient,
        retry_after=error.retry_after,
    )


def _by_touch(vaults: Vaults, connection: Connection, deadline: Deadline) -> StoredSecret | None:
    """A record that cannot be read, by a change of nothing; None where it cannot be written either.

    That it was changed just now says nothing of when it was written.
    """
    try:
        return vaults.main.touch(connection.record_name, None, deadline)._replace(updated_on=None)
    except VaultError:
        return None


def _consumer_names(vaults: Vaults, connection: Connection) -> tuple[SecretIdentifier, ...]:
    return (*connection.publish_to, vaults.own(connection.access_token_name), vaults.own(connection.record_name))


def _needed_client(connection: Connection) -> tuple[str, ...]:
    """Of the client's secrets, by the ends of their names, those that every grant sends."""
    sent = [connection.sends(grant).values() for grant in connection.configured_grants]
    return tuple(suffix for suffix in CLIENT if all(suffix in each for each in sent))


def _credential_names(vaults: Vaults, connection: Connection) -> tuple[SecretIdentifier, ...]:
    suffixes = [REFRESH_TOKEN] if connection.has_client_secret else []
    suffixes += [suffix for grant in connection.configured_grants for suffix in connection.sends(grant).values()]
    return tuple(vaults.own(connection.secret_name(suffix)) for suffix in dict.fromkeys(suffixes))


def _consumer_side(vaults: Vaults, connection: Connection, found: Mapping[SecretIdentifier, Found]) -> ConsumerSide:
    main, record = found[vaults.own(connection.access_token_name)], found[vaults.own(connection.record_name)]
    states, secrets, errors = [], {}, {}
    for target in connection.publish_to:
        held = found[target]
        if isinstance(held, VaultError):
            errors[target] = held
            states.append(TargetState(target=target, holds=None, known=False))
        else:
            secrets[target] = held
            states.append(TargetState(target=target, holds=parse_access_token(held) if held else None))
    _refuse_where_away(vaults, found)
    secret, main_error = (None, main) if isinstance(main, VaultError) else (main, None)
    record_secret, record_error = (None, record) if isinstance(record, VaultError) else (record, None)
    source = secret
    if main_error is not None:
        place = vaults.own(connection.access_token_name)
        errors[place] = main_error
        states.append(TargetState(target=place, holds=None, known=False))
        ours = {None, publisher(connection.name, vaults.own_url)}
        copies = [each for each in secrets.values() if each is not None and parse_access_token(each).publisher in ours]
        source = max(copies, key=_end_of, default=None)
    return ConsumerSide(
        secret=secret,
        source=source,
        access_token=parse_access_token(source) if source else None,
        targets=tuple(states),
        target_secrets=secrets,
        target_errors=errors,
        record_secret=record_secret,
        record=parse_record(record_secret),
        main_unreadable=main_error is not None,
        record_error=record_error,
    )


def _end_of(secret: StoredSecret) -> datetime:
    return parse_access_token(secret).expires_at or datetime.min.replace(tzinfo=UTC)


def _refuse_where_away(vaults: Vaults, found: Mapping[SecretIdentifier, Found]) -> None:
    """Raises VaultError where nothing of the connection's own vault could be read, and that told why of no secret."""
    own = [held for place, held in found.items() if place.vault_url == vaults.own_url]
    errors = [held for held in own if isinstance(held, VaultError) and held.cause not in _OF_ONE_SECRET]
    if len(errors) == len(own):
        raise errors[0]


def _credentials(
    vaults: Vaults,
    connection: Connection,
    found: Mapping[SecretIdentifier, Found],
    now: datetime,
    key: SigningKey | VaultError | None,
) -> Credentials:
    secrets = {place.name: held for place, held in found.items() if place.vault_url == vaults.own_url}
    stored = secrets.get(connection.refresh_token_name)
    refresh_token = None
    if (
        isinstance(stored, StoredSecret)
        and (stored.unread or not stored.value.is_none)
        and REVOKED_AT not in stored.tags
    ):
        refresh_token = parse_refresh_token(stored, lifetime=connection.refresh_token_lifetime, now=now)
    return Credentials(
        connection=connection,
        vault_url=vaults.own_url,
        secrets=secrets,
        refresh_token=refresh_token,
        signing_key=key,
    )


def _demanded(connection: Connection, credentials: Credentials) -> Credentials:
    """The credentials. Raises VaultError for what the connection cannot do without, whatever its fallback is."""
    for suffix in connection.own_secrets(connection.grant):
        checked(credentials.secrets.get(connection.secret_name(suffix)))
    for suffix in _needed_client(connection):
        credentials.required(suffix)
    return credentials
