"""Host names to addresses, in a bounded number of threads that may be abandoned.

A thread in `getaddrinfo` cannot be stopped, and takes as long as the resolver's configuration says. So it is not the
thread that needs the answer: that one waits for as long as it may, and leaves. Who asks for a name that is being
resolved already waits for the same answer, so that a silent resolver costs one thread for each name. The threads are
daemons: unlike those of a ThreadPoolExecutor, they are not waited for when the process ends.
"""

import ipaddress
import queue
import socket
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

AT_ONCE = 64
"""Threads, of a process: as many names on a silent resolver keep no other from being looked up."""
Addresses = Sequence[tuple[socket.AddressFamily, socket.SocketKind, int, str, Any]]
"""As `socket.getaddrinfo` gives them."""
_Name = tuple[str, int]


class ResolverTimeoutError(TimeoutError):
    """Nobody said in time what a name's addresses are."""


class _Resolver:
    """The one of the process: what bounds its threads must be shared by all."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._under_way: dict[_Name, Future[Addresses]] = {}
        self._asked: queue.SimpleQueue[_Name] = queue.SimpleQueue()
        self._threads = 0

    def ask(self, name: _Name) -> "Future[Addresses]":
        with self._lock:
            answer = self._under_way.get(name)
            if answer is None:
                answer = self._under_way[name] = Future()
                self._asked.put(name)
                if self._threads < AT_ONCE:
                    self._threads += 1
                    threading.Thread(target=self._work, name="resolver", daemon=True).start()
        return answer

    def _work(self) -> None:
        while True:
            name = self._asked.get()
            try:
                found, failure = _look_up(name), None
            except (OSError, ValueError) as error:
                found, failure = [], error
            with self._lock:
                answer = self._under_way.pop(name)
            if failure is None:
                answer.set_result(found)
            else:
                answer.set_exception(failure)


_resolver = _Resolver()


def resolve(host: str, port: int, seconds: float) -> Addresses:
    """The addresses of a host. Raises ResolverTimeoutError after so many seconds, OSError where there are none."""
    if _is_address(host):
        return _look_up((host, port))
    answer = _resolver.ask((host, port))
    try:
        return answer.result(seconds)
    except TimeoutError:
        message = "the resolver did not answer in time"
    except ValueError:
        # A label of more than 63 letters cannot be encoded for a resolver.
        message = ""
    except OSError as error:
        # Another thread's exception is not raised again: it would grow by each traceback.
        raise type(error)(*error.args) from None
    if message:
        raise ResolverTimeoutError(message)
    raise socket.gaierror(socket.EAI_NONAME, "not a name that could be resolved")


def _look_up(name: _Name) -> Addresses:
    return socket.getaddrinfo(*name, type=socket.SOCK_STREAM)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
