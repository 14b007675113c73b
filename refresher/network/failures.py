"""Why no connection came about, told apart by what the exceptions are and never by their words. No I/O.

The libraries wrap one another's exceptions: what happened stands somewhere in the chain of causes, and in the members
where requests, urllib3 and the Azure SDK keep what they wrap. A certificate's fault is OpenSSL's number of it
(X509_V_ERR_*, https://docs.openssl.org/master/man3/X509_STORE_CTX_get_error/).
"""

import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import urlsplit

from refresher.network.names import ResolverTimeoutError
from refresher.network.proxies import Proxy

_KEPT_IN = ("__cause__", "__context__", "inner_exception", "reason")
_DEEPEST = 32
_HOST = "HOST"
_BUNDLE = "BUNDLE"


class Trouble(NamedTuple):
    """What happened, as the end of a sentence that begins with the peer; and what to look at."""

    what: str
    hint: str
    of_certificate: bool = False
    """Whether the peer was reached, by way of a proxy or not, and showed a certificate."""
    of_the_first_hop: bool = False
    """Whether nobody was reached at all: where a proxy is on the way, it is the proxy's trouble."""


NO_NAME = Trouble(
    what="has a name that is not known here (DNS)",
    hint="See that the name is spelled right, and that it resolves here: nslookup HOST. In a network with private "
    "endpoints its private DNS zone may lack the name.",
    of_the_first_hop=True,
)
NO_RESOLVER = Trouble(
    what="could not be looked up, since the name server did not answer in time (DNS)",
    hint="The name server that this machine asks is silent or out of reach: it is no fault of the peer's.",
    of_the_first_hop=True,
)
REFUSED = Trouble(
    what="refused the connection: nobody listens at this address and port",
    hint="See that address and port are right.",
    of_the_first_hop=True,
)
RESET = Trouble(
    what="closed the connection without an answer",
    hint="A firewall on the way does that as well: see what may go out from here.",
)
EXPIRED = Trouble(
    what="shows a certificate that has expired",
    hint="Whoever runs it has to renew it. Is this machine's clock right? Behind a proxy that opens TLS, it is the "
    "proxy's.",
    of_certificate=True,
)
NOT_YET_VALID = Trouble(
    what="shows a certificate that is not valid yet",
    hint="This machine's clock is most likely slow: set it by NTP.",
    of_certificate=True,
)
WRONG_NAME = Trouble(
    what="shows a certificate for another name (the host name does not match)",
    hint="See that the address names the host itself, and no alias of it; a proxy that opens TLS, or a DNS entry that "
    "leads elsewhere, shows its own.",
    of_certificate=True,
)
UNKNOWN_CA = Trouble(
    what="shows a certificate of an authority that is not trusted here (unknown CA)",
    hint="Behind a proxy that opens TLS, or with an authority of your own: add its certificate to the file that "
    "BUNDLE names.",
    of_certificate=True,
)
NO_TLS = Trouble(
    what="does not speak TLS as it should",
    hint="Something else answers at this address and port: a proxy, or a service without TLS.",
)
TIMED_OUT = Trouble(
    what="did not answer in time",
    hint="A firewall that drops what it does not let through looks like this: see what may go out from here.",
)


def trouble_of(error: BaseException, url: str, bundle: str) -> Trouble | None:
    """What happened at that address; None where the exceptions do not tell.

    `bundle` is the variable that names the file of those who are trusted.
    """
    trouble = _find(error)
    if trouble is None:
        return None
    return trouble._replace(hint=trouble.hint.replace(_HOST, urlsplit(url).hostname or _HOST).replace(_BUNDLE, bundle))


def told(whom: str, what: str, hint: str, trouble: Trouble | None, proxy: Proxy | None) -> tuple[str, str]:
    """The sentence about somebody with whom no connection came about, and what to look at.

    `what` and `hint` are for where the exceptions do not tell.
    """
    if trouble is not None:
        what, hint = trouble.what, trouble.hint
    if proxy is None or (trouble is not None and trouble.of_certificate):
        return f"{whom} {what}", hint
    return proxy.between(whom, what, itself=trouble is not None and trouble.of_the_first_hop), proxy.hint


def _find(error: BaseException) -> Trouble | None:
    chain = tuple(_chain(error))
    for each in chain:
        if isinstance(each, ssl.SSLCertVerificationError):
            return _CERTIFICATES.get(each.verify_code, UNKNOWN_CA)
    for kind, trouble in _KINDS:
        if any(isinstance(each, kind) for each in chain):
            return trouble
    return None


_KINDS: tuple[tuple[type[BaseException], Trouble], ...] = (
    (ResolverTimeoutError, NO_RESOLVER),
    (socket.gaierror, NO_NAME),
    (ConnectionRefusedError, REFUSED),
    (ConnectionResetError, RESET),
    (ssl.SSLError, NO_TLS),
    (TimeoutError, TIMED_OUT),
)


_CERTIFICATES = {9: NOT_YET_VALID, 10: EXPIRED, 62: WRONG_NAME, 64: WRONG_NAME}
"""By OpenSSL's number; of the last two, one is about a host name, one about an address."""


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The exception, and all that it wraps, each once."""
    waiting, seen = [error], set[int]()
    while waiting and len(seen) < _DEEPEST:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        kept = (getattr(each, name, None) for name in _KEPT_IN)
        waiting += [other for other in (*kept, *each.args) if isinstance(other, BaseException)]
