"""A resolver that is silent costs a thread for each name, delays nobody else, and holds up no exit."""

import subprocess
import sys
import threading
import time
from typing import Any

import pytest

from refresher.network import names
from refresher.network.names import AT_ONCE, resolve
from sandbox.hostile.resolver import silence


@pytest.fixture(autouse=True)
def silent_resolver(monkeypatch: pytest.MonkeyPatch) -> object:
    """One that knows only `localhost`; what waits for it is let go at the end."""
    import socket  # noqa: PLC0415 - what is replaced is put back

    real = socket.getaddrinfo

    def without_a_network(host: str, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401 - as the C library has it
        if host.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return real(host, *arguments, **options)

    monkeypatch.setattr(socket, "getaddrinfo", without_a_network)
    released = silence(lambda host: host.endswith(".example"))
    yield
    released.set()
    # What is still to be looked up must not reach the machine's own resolver, nor keep the next test's names waiting.
    while names._resolver._under_way:
        time.sleep(0.001)


def test_who_waits_leaves_in_time_and_others_are_not_delayed() -> None:
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        resolve("silent.example", 443, 0.1)
    assert resolve("localhost", 443, 30.0)
    assert time.monotonic() - began < 30


def test_a_name_that_is_asked_for_again_and_again_takes_one_thread() -> None:
    before = threading.active_count()
    for _ in range(3 * AT_ONCE):
        with pytest.raises(TimeoutError):
            resolve("again.example", 443, 0.005)
    assert threading.active_count() <= before + 1


def test_there_are_never_more_threads_than_so_many() -> None:
    for number in range(3 * AT_ONCE):
        with pytest.raises(TimeoutError):
            resolve(f"n{number}.example", 443, 0.001)
    assert sum(each.name == "resolver" for each in threading.enumerate()) <= AT_ONCE


@pytest.mark.parametrize("host", [f"{'a' * 70}.service-now.com", "does-not-exist.invalid"])
def test_a_host_that_is_none_is_an_error_of_the_network(host: str) -> None:
    """A label of 70 letters cannot be encoded, which Python says with a UnicodeError."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 - each resolver has words of its own
        resolve(host, 443, 60.0)
    assert not isinstance(caught.value, TimeoutError)


def test_an_address_needs_no_thread() -> None:
    before = threading.active_count()
    assert resolve("::1", 443, 0.0)[0][4][0] == "::1"
    assert threading.active_count() == before


EXIT = """
import time
from sandbox.hostile.resolver import silence
silence(lambda host: True)
from refresher.network.names import resolve
try:
    resolve("silent.example", 443, 0.05)
except TimeoutError:
    print(time.monotonic(), flush=True)
"""


@pytest.mark.exhaustive
def test_an_abandoned_thread_does_not_keep_the_process() -> None:
    """Counted from when it was abandoned: the start takes as long as the machine pleases."""
    ran = subprocess.run([sys.executable, "-c", EXIT], capture_output=True, text=True, timeout=300, check=True)
    assert time.monotonic() - float(ran.stdout) < 20
