"""One limit for everything that a thread sends and receives, and bodies that unfold up to a bound."""

import gzip
import socket
import time
import zlib
from collections.abc import Callable

import pytest

from refresher.network.sockets import LARGEST_ANSWER, LimitedSocket, TooLargeError, connect, limit, remaining, unfold


def pair() -> tuple[LimitedSocket, socket.socket]:
    """Two ends of a connection, of which one is limited."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        near = connect("127.0.0.1", listener.getsockname()[1], 60.0)
        return near, listener.accept()[0]


def listen(near: LimitedSocket, speak: Callable[[], object]) -> None:
    """Receive for ever."""
    while True:
        speak()
        near.recv_into(bytearray(1 << 16))


def test_the_second_part_of_what_is_sent_waits_for_no_acknowledgement_of_the_first() -> None:
    """A form after its headers would otherwise take another round trip, or forty milliseconds."""
    near, far = pair()
    with near, far:
        assert near.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_what_was_received_in_time_does_not_prolong_the_limit() -> None:
    near, far = pair()
    with near, far, limit(0.15):
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            listen(near, lambda: far.send(b"."))
    assert 0.1 < time.monotonic() - began < 30


def test_a_time_out_of_its_own_that_is_shorter_counts() -> None:
    near, far = pair()
    with near, far, limit(60.0):
        near.settimeout(0.05)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            near.recv(1)
    assert time.monotonic() - began < 30


def test_more_than_an_answer_may_hold_is_not_received() -> None:
    near, far = pair()
    sent = []
    with near, far, limit(60.0), pytest.raises(TooLargeError):
        listen(near, lambda: sent.append(far.send(bytes(1 << 16))))
    assert LARGEST_ANSWER <= sum(sent) < LARGEST_ANSWER + (1 << 18)


def test_the_earliest_of_several_limits_counts_and_each_ends_with_its_block() -> None:
    with limit(200):
        with limit(600):
            assert remaining() <= 200
        with limit(100):
            assert remaining() <= 100
        assert 100 < remaining() <= 200
    assert remaining() == float("inf")


def test_addresses_of_a_host_share_the_time_that_there_is_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of two, nobody is behind the first: a listener that accepts no more."""
    full = socket.create_server(("127.0.0.1", 0), backlog=0)
    waiting = [socket.socket() for _ in range(3)]
    for each in waiting:
        each.setblocking(False)
        each.connect_ex(full.getsockname())
    there = socket.create_server(("127.0.0.1", 0))
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", listener.getsockname()) for listener in (full, there)]
    monkeypatch.setattr("refresher.network.sockets.resolve", lambda *_: found)
    began = time.monotonic()
    with connect("two.example", 443, 2.0) as connection:
        assert connection.getpeername() == there.getsockname()
    assert time.monotonic() - began > 0.9
    for each in (full, there, *waiting):
        each.close()


ONCE = gzip.compress(b"{}", mtime=0)


@pytest.mark.parametrize(
    ("encoding", "packed"),
    [
        (None, b"{}"),
        ("identity", b"{}"),
        ("identity, identity", b"{}"),
        ("gzip", ONCE),
        (" GZIP ", ONCE),
        (None, ONCE),
        ("identity", ONCE),
        ("gzip", b"{}"),
        ("br", b"{}"),
        ("utf-8", b"{}"),
        ("gzip, gzip", gzip.compress(ONCE, mtime=0)),
        ("gzip", gzip.compress(ONCE, mtime=0)),
        ("deflate", zlib.compress(b"{}")),
        ("deflate", zlib.compress(b"{}")[2:-4]),
        ("deflate", b"{}"),
        ("deflate", ONCE),
        ("gzip", ONCE[:-8]),
    ],
)
def test_an_encoding_is_told_by_the_bytes_whatever_is_said_of_it(encoding: str | None, packed: bytes) -> None:
    """None was asked for; something on the way may choose one all the same, and lie about it, or be cut off."""
    assert unfold(packed, encoding, 100) == b"{}"


@pytest.mark.parametrize(
    "packed", [b"\x1f\x8bnonsense", b"nonsense", gzip.compress(gzip.compress(ONCE, mtime=0), mtime=0), b""]
)
def test_what_cannot_be_unfolded_stays_as_it_is(packed: bytes) -> None:
    """Nor does a chain go on without end."""
    assert unfold(packed, "deflate", 1000) in {packed, ONCE}


@pytest.mark.parametrize("encoding", [None, "gzip"])
def test_no_more_is_unfolded_than_asked_for(encoding: str | None) -> None:
    body = bytes(1 << 20)
    assert len(unfold(gzip.compress(body) if encoding else body, encoding, 1000)) == 1000
