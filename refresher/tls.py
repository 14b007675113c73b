"""TLS contexts, made once for a process: reading the bundle of trusted certificates takes 17 ms and 0.8 MB each time.

The libraries would read it anew for every connection. Verification is theirs and always on; what they trust is what
the environment names for them (`SSL_CERT_FILE` for httpx, `REQUESTS_CA_BUNDLE` for the Azure SDK), certifi otherwise.
"""

import functools
import os
import ssl
import threading
from pathlib import Path

import certifi

from refresher.model.errors import SettingsError
from refresher.network.sockets import LimitedTLSSocket

_reading = threading.Lock()
"""The cache alone lets two threads that ask at the same time, as those of a cold process do, each read the bundle."""


def tls_context(*variables: str) -> ssl.SSLContext:
    """A client's context that trusts the file or directories named by the first of these variables that is set.

    Raises SettingsError where that cannot be read.
    """
    variable = next((each for each in variables if os.environ.get(each)), None)
    place = certifi.where() if variable is None else os.environ[variable]
    try:
        with _reading:
            return _trusting(place)
    except OSError:
        if variable is None:
            raise
        problem = (
            f"{variable} names {place}, where no certificates can be read; expected a file or folder of PEM files"
        )
    raise SettingsError((problem,))


@functools.cache
def _trusting(place: str) -> ssl.SSLContext:
    is_folder = any(Path(each).is_dir() for each in place.split(os.pathsep))
    context = ssl.create_default_context(capath=place) if is_folder else ssl.create_default_context(cafile=place)
    context.sslsocket_class = LimitedTLSSocket
    return context
