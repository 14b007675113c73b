"""One blob container as the list of rules asks it: with blobs of its own names, which it deletes in the end."""

import uuid
from collections.abc import Callable, Mapping

from azure.core.credentials import TokenCredential

from sandbox.conformance.wire import Reply, Wire

_VERSION = "2021-12-02"


class BlobClient:
    """A container with blobs of its own names, which it deletes in the end. `sleep` None: nothing is waited for."""

    def __init__(self, url: str, credential: TokenCredential, *, sleep: Callable[[float], None] | None) -> None:
        self.url = url.rstrip("/")
        self.sleep = sleep
        self.names: list[str] = []
        self.prefix = f"conformance-{uuid.uuid4().hex[:8]}"
        self._credential = credential
        self._wire = Wire()

    def in_another_container(self) -> "BlobClient":
        """One that asks for a container that is not there."""
        return BlobClient(f"{self.url}-absent", self._credential, sleep=None)

    def new_blob(self) -> str:
        """An empty blob of a new name."""
        name = self.new_name()
        self.create(name)
        return name

    def new_name(self) -> str:
        """A name that nobody uses."""
        self.names.append(f"{self.prefix}-{len(self.names)}")
        return self.names[-1]

    def create(self, name: str, headers: Mapping[str, str] | None = None) -> Reply:
        """Put an empty blob where none is, as the lease does."""
        conditions = headers if headers is not None else {"If-None-Match": "*"}
        return self.ask("PUT", name, headers={"x-ms-blob-type": "BlockBlob", **conditions})

    def look(self, name: str) -> Reply:
        """The blob's properties."""
        return self.ask("HEAD", name)

    def acquire(self, name: str, seconds: int = 60, proposed: str = "") -> Reply:
        """Take the lease."""
        proposal = {"x-ms-proposed-lease-id": proposed} if proposed else {}
        return self.lease(name, "acquire", {"x-ms-lease-duration": str(seconds), **proposal})

    def lease(self, name: str, action: str, headers: Mapping[str, str]) -> Reply:
        """One of the five things that can be done with a lease."""
        return self.ask("PUT", name, {"comp": "lease"}, {"x-ms-lease-action": action, **headers})

    def note(self, name: str, headers: Mapping[str, str]) -> Reply:
        """Write the blob's metadata."""
        return self.ask("PUT", name, {"comp": "metadata"}, {"x-ms-meta-holder": "conformance", **headers})

    def ask(
        self,
        method: str,
        name: str,
        params: Mapping[str, str] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send one request. Raises httpx.HTTPError."""
        token = self._credential.get_token("https://storage.azure.com/.default").token
        return self._wire.send(
            method,
            f"{self.url}/{name}" if name else self.url,
            params=params,
            headers={
                "Authorization": f"Bearer {token}",
                "x-ms-version": _VERSION,
                "Content-Length": "0",
                **(headers or {}),
            },
        )

    def leave(self) -> list[str]:
        """Delete the blobs, whoever holds them; returns the names of those that stay."""
        stay = []
        for name in self.names:
            self.lease(name, "break", {"x-ms-lease-break-period": "0"})
            if self.ask("DELETE", name).status not in {202, 404}:
                stay.append(name)
        return stay
