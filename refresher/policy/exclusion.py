"""What keeps two refreshers of one connection apart, decided from plain values.

Who holds the lease writes a note on its blob before anything else, and lets nobody in before the note stands there:
so as long as the blob's ETag is the same, nobody else has written to the vault. Acquiring and releasing leave the ETag
alone. The reference (learn.microsoft.com/rest/api/storageservices/lease-blob) says so of Last-Modified; Azurite leaves
both, and `make conformance` asks any container. A note that fails stops no run: its lease is left to its own end,
which comes after the run's last write by more than the reads of another may be old.
"""

LONGEST_OVERLAP = 2.0
"""Seconds, from the first of the reads to the lease. A run writes for 58 at the most, and its lease lasts 60."""


def reads_stand(seen: str | None, acquired: str | None, took: float) -> bool:
    """Whether what was read while the lease was being acquired is what would be read under it.

    `seen` and `acquired` are the blob's ETags: when the lease was last known to be free, or its own, before the reads;
    and in the answer that gave it. `took`: seconds from the beginning of the reads to that answer.
    """
    return seen is not None and seen == acquired and took <= LONGEST_OVERLAP


def may_release(*, writes: bool, noted: bool) -> bool:
    """Whether others may be let in before the lease ends by itself: where its holder wrote, the note tells them so."""
    return noted or not writes
