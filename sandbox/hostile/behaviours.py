"""What hostile peers do. Where no report is named, the behaviour comes from a trial against the clients used here."""

import gzip
import itertools
import json
import zlib

from sandbox.hostile.peer import Behaviour, Conversation

_ENDLESS = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
_RECORD_OF_A_HANDSHAKE = b"\x16\x03\x03\x3f\xff\x02\x00\x3f\xfb"
"""The beginning of a TLS record of 16 kB that holds a ServerHello."""


def answer(status: int, headers: dict[str, str], body: bytes) -> bytes:
    """An answer with these headers, and the right length unless they say another."""
    lines = [f"HTTP/1.1 {status} .", *(f"{name}: {value}" for name, value in headers.items())]
    if "Content-Length" not in headers and "Transfer-Encoding" not in headers:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def silence(peer: Conversation) -> None:
    """Take the request, and say nothing (tinylabscom/mvm 2897: parked for half an hour)."""
    peer.wait()


def handshake_drips(peer: Conversation) -> None:
    """Begin a TLS handshake, and send its bytes one by one. For a peer that does not greet."""
    peer.say(_RECORD_OF_A_HANDSHAKE)
    while peer.go_on():
        peer.drip(b"\x00" * 16)


def status_line_drips(peer: Conversation) -> None:
    """Send the status line byte by byte."""
    peer.hear()
    peer.drip(b"HTTP/1.1 200 " + b"O" * 60000)


def again_and_again(opening: bytes, part: bytes, *, every: float = 0.0, drips: bool = False) -> Behaviour:
    """Begin an answer, and send the same part of it without end: as fast as the client takes it, or in time."""

    def behave(peer: Conversation) -> None:
        peer.hear()
        peer.say(opening)
        while peer.go_on():
            (peer.drip if drips else peer.say)(part)
            peer.pause(every)

    return behave


def body_drips(peer: Conversation) -> None:
    """Send a body byte by byte (postmanlabs/httpbin 642; seanmonstar/reqwest 243)."""
    peer.hear()
    peer.say(_ENDLESS + b"Content-Length: 100000\r\n\r\n")
    peer.drip(b" " * 100000)


def once(status: int, headers: dict[str, str], body: bytes) -> Behaviour:
    """Answer so, and wait."""

    def behave(peer: Conversation) -> None:
        peer.hear()
        peer.say(answer(status, headers, body))
        peer.wait()

    return behave


def gzip_in_gzip(peer: Conversation) -> None:
    """Answer with a few kilobytes that unfold to gigabytes (CVE-2025-66418: a chain of decodings without bound)."""
    packing = zlib.compressobj(9, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
    beginning = packing.compress(bytes(1 << 20)) + packing.flush(zlib.Z_FULL_FLUSH)
    # A block that begins afresh can be repeated: packing so much in earnest takes longer than a test may.
    another = packing.compress(bytes(1 << 20)) + packing.flush(zlib.Z_FULL_FLUSH)
    body = gzip.compress(beginning + another * 4096)
    peer.hear()
    peer.say(answer(200, {"Content-Type": "application/json", "Content-Encoding": "gzip, gzip"}, body))
    peer.wait()


def tunnels(peer: Conversation) -> None:
    """A proxy that does its work."""
    host, _, port = peer.hear().split(b" ")[1].decode().rpartition(":")
    peer.say(b"HTTP/1.1 200 OK\r\n\r\n")
    peer.relay(host, int(port))


def refuses_tunnels(status: int) -> Behaviour:
    """A proxy that does not let the client through (407: it wants to know who it is; 403: not there)."""

    def behave(peer: Conversation) -> None:
        while peer.hear():
            peer.say(answer(status, {}, b""))

    return behave


def tunnel_drips(peer: Conversation) -> None:
    """A proxy whose consent comes byte by byte."""
    peer.hear()
    peer.say(b"HTTP/1.1 200 OK\r\n")
    for number in itertools.count():
        if not peer.go_on():
            return
        peer.drip(f"X-Filler-{number}: yes\r\n".encode())


_JSON = {"Content-Type": "application/json"}
_FAR = "Fri, 31 Dec 99999999999999999999 23:59:59 +9999"
_FILLER, _INTERIM = b"X-Filler: yes\r\n", b"HTTP/1.1 100 Continue\r\n\r\n"
_CHUNKED = _ENDLESS + b"Transfer-Encoding: chunked\r\n\r\n"
nested_json = once(200, _JSON, b"[" * 100_000)
"""JSON nested a hundred thousand deep (a RecursionError in the parser)."""
date_of_another_age = once(429, {"Date": _FAR, "Retry-After": _FAR}, b"")
"""Dates that no clock can hold."""
SLOW: dict[str, Behaviour] = {
    "silence": silence,
    "status line drips": status_line_drips,
    # guzzle/test-server 39; psf/requests 2228: a time-out is one read's
    "headers drip": again_and_again(_ENDLESS, _FILLER, drips=True),
    "headers without end": again_and_again(_ENDLESS, _FILLER * 500),
    # python/cpython 150743: a client reads 1xx answers without end, and trailers
    "1xx answers drip": again_and_again(b"", _INTERIM, every=0.05),
    "1xx answers flow": again_and_again(b"", _INTERIM),
    "body drips": body_drips,
    "chunks drip": again_and_again(_CHUNKED, b"1\r\n \r\n", every=0.05),
    "trailers without end": again_and_again(_CHUNKED + b"2\r\n{}\r\n0\r\n", _FILLER, every=0.002),
    "body without end": again_and_again(_ENDLESS + b"\r\n", b" " * 65536),
}
"""Peers that never come to an end, however long a client waits between two bytes."""
_HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
NO_HTTP = {
    "chunked twice": f"{_HEAD}Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n{{size:x}}\r\n",
    "a header without a colon": f"{_HEAD}X-Proxy\r\nContent-Length: {{size}}\r\n\r\n",
    "a line before the status": f"X-Proxy: yes\r\n{_HEAD}Content-Length: {{size}}\r\n\r\n",
    "two lengths": f"{_HEAD}Content-Length: {{size}}\r\nContent-Length: 1\r\n\r\n",
}
"""Heads that a strict reader of HTTP refuses, for bodies of some size, and others read all the same."""


def mangled(kind: str, body: bytes) -> Behaviour:
    """Answer with such a head, in one piece."""

    def behave(peer: Conversation) -> None:
        peer.hear()
        peer.say(NO_HTTP[kind].format(size=len(body)).encode() + body)
        peer.wait()

    return behave


LARGE: dict[str, Behaviour] = {
    "gzip in gzip": gzip_in_gzip,
    "nested JSON": nested_json,
    # A token that no secret can hold (25 kB).
    "huge token": once(200, _JSON, json.dumps({"access_token": "x" * 30_000, "expires_in": 1799}).encode()),
}
"""Peers whose answer is more than it seems."""
