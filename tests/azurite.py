"""Azurite, Microsoft's own stand-in for Azure Storage: blobs and queues on loopback ports, over HTTPS, with OAuth."""

import base64
import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme
from azure.core.credentials import AccessToken

from tests.needs import need_node_package

ACCOUNT = "devstoreaccount1"


@dataclass(frozen=True, slots=True, kw_only=True)
class Azurite:
    """A running Azurite: the account's two addresses, and the authority that signed its certificate."""

    blob_url: str
    queue_url: str
    certificates: str


class StubCredential:
    """A token that only its audience matters of, as Azurite's basic OAuth check wants it."""

    def __init__(self, audience: str = "https://storage.azure.com") -> None:
        self._audience = audience

    def get_token(self, *_scopes: str, **_: Any) -> AccessToken:  # noqa: ANN401 - as the SDK declares it
        """A token for whatever is asked for."""
        now = int(time.time())
        claims = {
            "aud": self._audience,
            "iss": "https://sts.windows-ppe.net/00000000-0000-0000-0000-000000000000/",
            "nbf": now - 60,
            "iat": now - 60,
            "exp": now + 3600,
        }
        parts = [json.dumps({"alg": "none", "typ": "JWT"}), json.dumps(claims), "signature"]
        token = ".".join(base64.urlsafe_b64encode(part.encode()).decode().rstrip("=") for part in parts)
        return AccessToken(token, now + 3600)


@contextmanager
def run_azurite(folder: Path) -> Iterator[Azurite]:
    """Run it in a folder of its own, with a throw-away certificate; skips, and says so, where it is not installed."""
    installed = need_node_package("azurite").parent / ".bin" / "azurite"
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.private_key_pem.write_to_path(folder / "key.pem")
    for blob in certificate.cert_chain_pems:
        blob.write_to_path(folder / "cert.pem", append=True)
    authority.cert_pem.write_to_path(folder / "ca.pem")
    command = [str(installed), "--silent", "--inMemoryPersistence", "--oauth", "basic", "--skipApiVersionCheck"]
    command += ["--disableTelemetry", "--cert", str(folder / "cert.pem"), "--key", str(folder / "key.pem")]
    # It takes ports of its own: one that was free a moment ago may be another process's by now.
    for service in ("blob", "queue", "table"):
        command += [f"--{service}Host", "127.0.0.1", f"--{service}Port", "0"]
    with (folder / "log").open("wb") as log, subprocess.Popen(command, cwd=folder, stdout=log, stderr=log) as process:
        listening = _addresses(process, folder / "log")
        yield Azurite(
            blob_url=f"{listening['Blob']}/{ACCOUNT}",
            queue_url=f"{listening['Queue']}/{ACCOUNT}",
            certificates=str(folder / "ca.pem"),
        )
        process.terminate()
        process.wait(300)


def _addresses(process: subprocess.Popen[bytes], log: Path) -> dict[str, str]:
    """The address of each service, once all three listen."""
    for _ in range(3000):
        told = log.read_text()
        listening = dict(re.findall(r"Azurite (\w+) service is successfully listening at (https://\S+)", told))
        if len(listening) == 3:
            return listening
        assert process.poll() is None, told
        time.sleep(0.1)
    raise AssertionError(log.read_text())
