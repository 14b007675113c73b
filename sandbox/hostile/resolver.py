"""A resolver that does not answer: a thread in `getaddrinfo` waits for it and cannot be stopped.

So it is with a DNS server that is silent and an `/etc/resolv.conf` that is patient (systemd/systemd 9162,
spesmilo/electrum 4836, ruby/ruby 8695). The C library has no switch for it that a process can set for itself, so its
Python name is replaced: meant for a process that is started for the purpose.
"""

import socket
import threading
from collections.abc import Callable
from typing import Any


def silence(is_silent: Callable[[str], bool]) -> threading.Event:
    """Let the resolution of these hosts wait until the event is set, and come to nothing then; returns the event."""
    released = threading.Event()
    resolve: Callable[..., Any] = socket.getaddrinfo

    def wait_or_resolve(host: Any, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as the C library has it
        if is_silent(host.decode() if isinstance(host, bytes) else str(host)):
            released.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "the name server never answered")
        return resolve(host, *arguments, **options)

    socket.getaddrinfo = wait_or_resolve
    return released
