"""The secrets of one connection, examined: present, readable, writable and well-formed.

That a secret may be written is tried by a change of its newest version that changes nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from refresher.doctor.last_refresh import Evidence, accepted_until, is_refused
from refresher.doctor.replaced import Known, sent_by
from refresher.doctor.values import Beside, has_unseen_around, oddity
from refresher.keyvault.credentials import Found
from refresher.keyvault.errors import missing
from refresher.keyvault.listing import Listing
from refresher.keyvault.tags import parse_access_token, parse_record
from refresher.keyvault.vaults import Vaults
from refresher.keyvault.whole_vault import vault_name
from refresher.model import steps
from refresher.model.causes import Cause
from refresher.model.check import Check, Verdict, failed, passed, warned
from refresher.model.clock import Clock, Deadline
from refresher.model.connection import ACCESS_TOKEN, Connection, JwtClaims, KeyIdentifier, SecretIdentifier
from refresher.model.errors import RefresherError, VaultError
from refresher.model.grants import JWT_KEY, REFRESH_TOKEN
from refresher.model.moments import minute
from refresher.model.steps import Step
from refresher.model.stored import StoredSecret
from refresher.servicenow.assertion import build_assertion

_SOON = timedelta(days=14)


@dataclass(slots=True, kw_only=True)
class Examination:
    """The secrets of one connection; with a listing, by names and dates where values may not be read."""

    connection: Connection
    vaults: Vaults
    clock: Clock
    deadline: Deadline
    listing: Listing | None
    _found: Mapping[SecretIdentifier, Found] = field(default_factory=dict)
    _key: Known | None = None

    def run(self) -> tuple[list[Check], Evidence]:
        """Present, readable, writable, well-formed; then, all values beside each other, what cannot be meant.

        With the checks comes what was read, for those that judge by it.
        """
        connection, own = self.connection, self.vaults.own
        key, claims = connection.signing_key, connection.jwt
        written = [connection.access_token_name, connection.record_name]
        if connection.has_client_secret:
            written.insert(0, connection.refresh_token_name)
        credentials = [own(connection.secret_name(each)) for each in sent_by(connection) if each != REFRESH_TOKEN]
        tokens = [*map(own, written), *connection.publish_to]
        self._found = self.vaults.read((*credentials, *tokens), self.deadline)
        if self.listing is not None:
            readers = (own(connection.access_token_name), *connection.publish_to)
            self._found = self.listing.instead(self._found, readers, self.deadline)
        jobs: list[Callable[[], Check]] = [
            *(lambda place=place: self._credential_check(place) for place in credentials),
            *([lambda: self._signing_check(key, claims)] if key is not None and claims is not None else []),
            *(lambda place=place: self._token_check(place) for place in tokens),
        ]
        checks = list(self.vaults.executor.map(lambda job: job(), jobs))
        if credentials and not any(self._found.values()):
            checks[0] = self._nothing_check(credentials[0])
        evidence = self._evidence()
        suffixes = {own(connection.secret_name(each)): each for each in (*sent_by(connection), ACCESS_TOKEN)}
        suffixes |= dict.fromkeys(connection.publish_to, ACCESS_TOKEN)
        for place, suffix in suffixes.items():
            odd = self._odd(place, suffix, evidence)
            if odd is not None:
                replaced = {check for check in checks if check.name == odd.name and check.verdict is not Verdict.FAIL}
                checks = [odd if check in replaced else check for check in checks]
        return checks, evidence

    def _evidence(self) -> Evidence:
        connection, own = self.connection, self.vaults.own
        credentials: dict[str, Known] = {}
        for suffix in (*sent_by(connection), REFRESH_TOKEN):
            place = own(connection.secret_name(suffix))
            found = self._found.get(place)
            if found is not None:
                credentials[suffix] = "it cannot be read" if isinstance(found, VaultError) else found
        stored = self._read(own(connection.access_token_name))
        token = parse_access_token(stored) if stored is not None else None
        record = parse_record(self._read(own(connection.record_name)))
        return Evidence(
            connection=connection,
            vault=vault_name(self.vaults.own_url),
            record=record.read_beside(token, self.clock.now()),
            access_token=token,
            readable=not any(
                isinstance(self._found.get(own(name)), VaultError)
                for name in (connection.record_name, connection.access_token_name)
            ),
            credentials=credentials,
            key=self._key,
        )

    def _odd(self, place: SecretIdentifier, suffix: str, evidence: Evidence) -> Check | None:
        """What cannot be meant about a value, unless ServiceNow took it since it was stored."""
        secret = self._read(place)
        if secret is None or secret.unread or self._was_accepted(secret, suffix, evidence):
            return None
        if suffix == ACCESS_TOKEN and _is_issued(secret):
            return None
        published = (self.vaults.own(self.connection.access_token_name), *self.connection.publish_to)
        found = oddity(
            suffix,
            secret.value,
            Beside(
                names=self.connection.own_names,
                credentials={
                    each: known.value
                    for each, known in evidence.credentials.items()
                    if isinstance(known, StoredSecret)
                },
                access_tokens=[each.value for each in filter(None, map(self._read, published)) if _is_issued(each)],
            ),
        )
        if found is None:
            return None
        name, refresh = self.connection.name, steps.refresh(self.connection.name, force=True)
        remedy = Step("Store the value alone: ", steps.set_secret(evidence.vault, place.name), "; then: ", refresh)
        if suffix == REFRESH_TOKEN:
            remedy = Step("Begin a new life, which stores one: ", steps.authorize(name))
        elif suffix == ACCESS_TOKEN:
            remedy = Step("Publish another one: ", refresh)
        accuses = found.certain or is_refused(evidence)
        return (failed if accuses else warned)(name, place.name, f"its value {found.what}", remedy)

    def _was_accepted(self, secret: StoredSecret, suffix: str, evidence: Evidence) -> bool:
        at, sent = accepted_until(evidence)
        stored: datetime | None = secret.created_on
        return at is not None and stored is not None and suffix in sent and stored < at

    def _credential_check(self, where: SecretIdentifier) -> Check:
        name = where.name
        secret = self._found.get(where)
        if isinstance(secret, VaultError):
            return failed(self.connection.name, name, secret.message, secret.hint)
        if secret is not None and secret.unread:
            return self._unread_check(secret)
        if secret is None or not secret.value.stripped():
            detail = "missing" if secret is None else "empty"
            return failed(self.connection.name, name, detail, missing(name, where.vault_url).hint)
        if name == self.connection.secret_name(JWT_KEY):
            return self._key_check(secret)
        if secret.expires_on is not None and secret.expires_on < self.clock.now() + _SOON:
            detail = f"readable; its attribute says that it ends {secret.expires_on:%Y-%m-%d}"
            return warned(self.connection.name, name, detail, "Rotate it (docs/runbook/rotate.md).")
        around = "; what nobody sees around its value is left out" if has_unseen_around(secret.value) else ""
        return passed(self.connection.name, name, f"readable{around}")

    def _nothing_check(self, first: SecretIdentifier) -> Check:
        """Settings of another environment look like a vault in which everything was lost."""
        name, url = self.connection.name, self.vaults.own_url
        detail = f"missing, like every other secret of connection {name} in {url}: is it another's vault?"
        where = f"See that KEY_VAULT_URL is the vault, and {name} the connection, that credentials were stored for. "
        store = steps.set_secret(vault_name(url), first.name)
        lost = "Were they deleted? Recover them (docs/runbook/disaster.md). Were none stored yet? Then store them: "
        return failed(name, first.name, detail, Step(where, lost, store))

    def _key_check(self, key: StoredSecret) -> Check:
        claims = self.connection.jwt
        try:
            if claims is not None:
                build_assertion(key.value, claims, key.value, now=self.clock.now(), jti="doctor")
        except RefresherError as error:
            return failed(self.connection.name, key.name, error.message, error.hint)
        return passed(self.connection.name, key.name, "a private key that fits the algorithm")

    def _signing_check(self, named: KeyIdentifier, claims: JwtClaims) -> Check:
        """It may be read if it is described, and sign if it signs: a word that is no assertion."""
        name = self.connection.name
        try:
            key = self.vaults.keys.find(named, claims, self.deadline)
            self._key = key.message if isinstance(key, VaultError) else key.described
            if isinstance(key, VaultError):
                return failed(name, named.name, key.message, key.hint)
            key.sign(b"doctor", self.deadline)
        except VaultError as error:
            if self.listing is not None and error.cause is Cause.SIGNING_FORBIDDEN:
                return passed(name, named.name, "a key of the vault; whoever looks may not sign with it")
            return failed(name, named.name, f"readable; {error.message}", error.hint)
        return passed(name, named.name, f"a key of the vault that signs by {claims.algorithm}")

    def _token_check(self, place: SecretIdentifier) -> Check:
        secret = self._found.get(place)
        if isinstance(secret, VaultError):
            return failed(self.connection.name, place.name, secret.message, secret.hint)
        if secret is None:
            return self._absent_check(place)
        if secret.unread:
            return self._unread_check(secret)
        try:
            self.vaults.open(place.vault_url).touch(place.name, secret.version, self.deadline)
        except VaultError as error:
            return failed(self.connection.name, place.name, f"readable; {error.message}", error.hint)
        return passed(self.connection.name, place.name, "readable and writable")

    def _absent_check(self, place: SecretIdentifier) -> Check:
        try:
            if self.vaults.open(place.vault_url).is_deleted(place.name, self.deadline):
                return self._deleted_check(place)
        except VaultError:
            return passed(self.connection.name, place.name, "not there; whether it is soft-deleted may not be asked")
        return passed(self.connection.name, place.name, "not there yet; it is made when it is first needed")

    def _deleted_check(self, place: SecretIdentifier) -> Check:
        connection = self.connection
        if place in connection.publish_to:
            remedy = Step(
                "Deleted in Simple Chat with its action, most likely. The next tick recovers it. At once: ",
                steps.refresh(connection.name),
                ". Was it on purpose? Then take it out of publish_to.",
            )
            return failed(connection.name, place.name, "soft-deleted: its readers find no token", remedy)
        if place.name == connection.refresh_token_name:
            remedy = Step("Recover it: ", steps.recover_secret(vault_name(place.vault_url), place.name))
            return failed(connection.name, place.name, "soft-deleted", remedy)
        return warned(connection.name, place.name, "soft-deleted", "The next tick recovers it.")

    def _unread_check(self, secret: StoredSecret) -> Check:
        since = f" since {minute(secret.created_on)}" if secret.created_on is not None else ""
        detail = f"there{since}; whoever looks may not read its value, nor try whether it may be written"
        return passed(self.connection.name, secret.name, detail)

    def _read(self, place: SecretIdentifier) -> StoredSecret | None:
        found = self._found.get(place)
        return found if isinstance(found, StoredSecret) else None


def _is_issued(secret: StoredSecret) -> bool:
    """Whether a run published it, as ServiceNow issued it: what else stands there, somebody put there by hand."""
    return "run-id" in secret.tags
