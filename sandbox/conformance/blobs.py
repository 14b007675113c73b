"""What Azure's blob service is known to do with the blob of a lease: rules, sources and the question behind each.

Sources, by their short names (learn.microsoft.com/rest/api/storageservices):
LEASE      lease-blob: modes, outcomes of lease operations by state, response headers
PUT        put-blob; specifying-conditional-headers-for-blob-service-operations
META       set-blob-metadata: needs the lease, and changes ETag and Last-Modified
ERRORS     blob-service-error-codes, common-rest-api-error-codes
"""

import uuid
from collections.abc import Callable, Sequence

from sandbox.conformance.blob_client import BlobClient
from sandbox.conformance.findings import Check, NotAskedError, Rule
from sandbox.conformance.wire import Reply

_SHORTEST = 15


def _created(blobs: BlobClient) -> str | None:
    name = blobs.new_name()
    reply = blobs.create(name)
    return _unless(reply, 201) or _without(reply, "etag", "last-modified")


def _exists(blobs: BlobClient) -> str | None:
    return _unless(blobs.create(blobs.new_blob()), 409, "BlobAlreadyExists")


def _never_met(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    before = blobs.look(name).headers.get("etag")
    refused = blobs.create(name, {"If-Match": '"0x0"'})
    return _unless(refused, 412, "ConditionNotMet") or _changed(before, blobs.look(name))


def _met(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    written = blobs.create(name, {"If-Match": blobs.look(name).headers.get("etag", "")})
    return _unless(written, 201)


def _nothing_there(blobs: BlobClient) -> str | None:
    return _unless(blobs.look(blobs.new_name()), 404, "BlobNotFound")


def _no_container(blobs: BlobClient) -> str | None:
    return _unless(blobs.in_another_container().acquire("servicenow"), 404, "ContainerNotFound")


def _acquired(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    before = blobs.look(name).headers.get("etag")
    reply = blobs.acquire(name)
    return _unless(reply, 201) or _without(reply, "x-ms-lease-id") or _changed(before, reply, blobs.look(name))


def _seen_held(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    blobs.acquire(name)
    return _lease_is(blobs.look(name), "leased", "locked") or (
        None if blobs.look(name).headers.get("x-ms-lease-duration") == "fixed" else "no fixed duration"
    )


def _held(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    blobs.acquire(name)
    return _unless(blobs.acquire(name), 409, "LeaseAlreadyPresent")


def _acquired_again(blobs: BlobClient) -> str | None:
    name, mine = blobs.new_blob(), str(uuid.uuid4())
    blobs.acquire(name, proposed=mine)
    again = blobs.acquire(name, proposed=mine)
    return _unless(again, 201) or (None if again.headers.get("x-ms-lease-id") == mine else "another lease id")


def _durations(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    for seconds in (14, 61):
        seen = _unless(blobs.acquire(name, seconds), 400, "InvalidHeaderValue")
        if seen:
            return f"{seconds} s: {seen}"
    return None


def _note_needs_lease(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    blobs.acquire(name)
    other = {"x-ms-lease-id": str(uuid.uuid4())}
    return _unless(blobs.note(name, {}), 412, "LeaseIdMissing") or _unless(
        blobs.note(name, other), 412, "LeaseIdMismatchWithBlobOperation"
    )


def _noted(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    lease = blobs.acquire(name).headers.get("x-ms-lease-id", "")
    before = blobs.look(name).headers.get("etag")
    reply = blobs.note(name, {"x-ms-lease-id": lease})
    looked = blobs.look(name)
    if _unless(reply, 200):
        return reply.error
    if reply.headers.get("etag") == before or looked.headers.get("etag") != reply.headers.get("etag"):
        return "the ETag stays"
    return None if looked.headers.get("x-ms-meta-holder") == "conformance" else "the note is lost"


def _write_needs_lease(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    blobs.acquire(name)
    return _unless(blobs.create(name, {}), 412, "LeaseIdMissing") or _unless(
        blobs.ask("DELETE", name), 412, "LeaseIdMissing"
    )


def _renewed(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    lease = blobs.acquire(name).headers.get("x-ms-lease-id", "")
    other = blobs.lease(name, "renew", {"x-ms-lease-id": str(uuid.uuid4())})
    return _unless(blobs.lease(name, "renew", {"x-ms-lease-id": lease}), 200) or _unless(
        other, 409, "LeaseIdMismatchWithLeaseOperation"
    )


def _released(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    lease = {"x-ms-lease-id": blobs.acquire(name).headers.get("x-ms-lease-id", "")}
    before = blobs.look(name).headers.get("etag")
    reply = blobs.lease(name, "release", lease)
    looked = blobs.look(name)
    return _unless(reply, 200) or _lease_is(looked, "available", "unlocked") or _changed(before, reply, looked)


def _released_twice(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    lease = {"x-ms-lease-id": blobs.acquire(name).headers.get("x-ms-lease-id", "")}
    blobs.lease(name, "release", lease)
    return _unless(blobs.lease(name, "release", lease), 409)


def _not_mine(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    blobs.acquire(name)
    other = blobs.lease(name, "release", {"x-ms-lease-id": str(uuid.uuid4())})
    return _unless(other, 409, "LeaseIdMismatchWithLeaseOperation")


def _broken(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    blobs.acquire(name)
    reply = blobs.lease(name, "break", {"x-ms-lease-break-period": "0"})
    return (
        _unless(reply, 202)
        or _without(reply, "x-ms-lease-time")
        or _lease_is(blobs.look(name), "broken", "unlocked")
        or _unless(blobs.acquire(name), 201)
    )


def _breaking(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    blobs.acquire(name)
    reply = blobs.lease(name, "break", {})
    return (
        _unless(reply, 202)
        or _lease_is(blobs.look(name), "breaking", "locked")
        or _unless(blobs.acquire(name), 409, "LeaseAlreadyPresent")
    )


def _expired(blobs: BlobClient) -> str | None:
    if blobs.sleep is None:
        why = "it takes a quarter of a minute"
        raise NotAskedError(why)
    name = blobs.new_blob()
    lease = {"x-ms-lease-id": blobs.acquire(name, _SHORTEST).headers.get("x-ms-lease-id", "")}
    blobs.sleep(_SHORTEST + 2)
    return _lease_is(blobs.look(name), "expired", "unlocked") or _unless(blobs.lease(name, "renew", lease), 200)


def _errors(blobs: BlobClient) -> str | None:
    name = blobs.new_blob()
    blobs.acquire(name)
    reply = blobs.acquire(name)
    code = reply.headers.get("x-ms-error-code", "")
    told = code and code.encode() in reply.body and b"<Message>" in reply.body
    return None if told else "without its code in the header, or code and message in the body"


def _unless(reply: Reply, status: int, code: str = "") -> str | None:
    """What was seen, if it was something else."""
    found = reply.headers.get("x-ms-error-code", "")
    return None if reply.status == status and code in {"", found} else f"{reply.status} {found}".rstrip()


def _without(reply: Reply, *headers: str) -> str | None:
    missing = [header for header in headers if not reply.headers.get(header)]
    return f"without {', '.join(missing)}" if missing else None


def _changed(etag: str | None, *replies: Reply) -> str | None:
    return None if all(reply.headers.get("etag") == etag for reply in replies) else "the ETag changes"


def _lease_is(reply: Reply, state: str, status: str) -> str | None:
    found = (reply.headers.get("x-ms-lease-state"), reply.headers.get("x-ms-lease-status"))
    return None if found == (state, status) else f"{found[0]}, {found[1]}"


def _check(name: str, sentence: str, source: str, ask: Callable[[BlobClient], str | None]) -> Check[BlobClient]:
    return Check(rule=Rule(name=name, sentence=sentence, source=source), ask=ask)


CHECKS: Sequence[Check[BlobClient]] = (
    _check("created", "a new blob: 201 with ETag and Last-Modified", "PUT", _created),
    _check("exists", "If-None-Match: * where there is one: 409 BlobAlreadyExists", "PUT, ERRORS", _exists),
    _check("condition-never-met", "If-Match of no blob's ETag: 412, and nothing changes", "PUT", _never_met),
    _check("condition-met", "If-Match of its ETag writes: 201", "PUT", _met),
    _check("nothing-there", "looking where none is: 404 BlobNotFound", "ERRORS", _nothing_there),
    _check("no-container", "a container that is not there: 404 ContainerNotFound", "ERRORS", _no_container),
    _check("acquired", "acquire: 201 with a lease id; the ETag stays", "LEASE", _acquired),
    _check("seen-held", "a held blob looks leased, locked, fixed", "LEASE: states", _seen_held),
    _check("held", "acquire while held: 409 LeaseAlreadyPresent", "LEASE", _held),
    _check("acquired-again", "acquire with the id that holds it: 201, the same id", "LEASE", _acquired_again),
    _check("durations", "a duration outside of 15 to 60 s: 400 InvalidHeaderValue", "LEASE", _durations),
    _check(
        "note-needs-lease", "metadata without the lease: 412, told apart from a wrong one", "META", _note_needs_lease
    ),
    _check("noted", "metadata with the lease: 200, and another ETag", "META", _noted),
    _check("write-needs-lease", "writing or deleting without the lease: 412", "LEASE: effect", _write_needs_lease),
    _check("renewed", "renew: 200; with another id 409", "LEASE", _renewed),
    _check("released", "release: 200, available at once; the ETag stays", "LEASE", _released),
    _check("released-twice", "release of what nobody holds: 409", "LEASE: outcomes", _released_twice),
    _check("not-mine", "release with another id: 409 mismatch", "LEASE: outcomes", _not_mine),
    _check("broken", "break at once: 202 with the time left, then anybody may acquire", "LEASE", _broken),
    _check(
        "breaking", "break without a period: held by nobody, and taken by nobody, till its end", "LEASE", _breaking
    ),
    _check("expired", "after its end it is free, and its holder may renew it", "LEASE: states", _expired),
    _check("errors", "an error has its code in x-ms-error-code and, with a message, in the XML", "ERRORS", _errors),
)
