"""The assertion of the JWT bearer grant (RFC 7523): a short-lived statement, signed with the connection's key.

ServiceNow takes each assertion once: every request needs a fresh `jti`. `iss` and `aud` are the client id unless
the settings say otherwise. The start is set back a little, since two clocks never agree.
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from refresher.model.causes import Cause
from refresher.model.connection import JwtClaims
from refresher.model.errors import RefresherError
from refresher.model.tokens import Secret

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePrivateKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

_SMALLEST_RSA_KEY = 2048
"""Bits, as RFC 7518 section 3.3 demands."""
_OTHER_FORMS: Mapping[str, str] = {
    "PuTTY-": "it is a key of PuTTY's, and",
    "ssh-": "it is the public half of a key for SSH, and",
    "ecdsa-sha2-": "it is the public half of a key for SSH, and",
    "{": "it is JSON (a JWK), and",
}
"""Keys that people have at hand, by how they begin."""
_CURVES: Mapping[str, str] = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}


def build_assertion(key_pem: Secret, claims: JwtClaims, client_id: Secret, *, now: datetime, jti: str) -> Secret:
    """Sign an assertion that is valid from a little before `now`, for `claims.lifetime`.

    Raises RefresherError with cause `secret_invalid` where the key cannot be read or does not fit the algorithm.
    """
    # Loading these takes a quarter of a second, which a run with another grant does not pay.
    import jwt  # noqa: PLC0415

    key = _private_key(key_pem, claims.algorithm)
    payload = _payload(claims, client_id, now, jti)
    headers = {"kid": claims.kid} if claims.kid else None
    return Secret(jwt.encode(payload, key, algorithm=claims.algorithm, headers=headers))


def build_assertion_elsewhere(
    sign: Callable[[bytes], bytes], version: str, claims: JwtClaims, client_id: Secret, *, now: datetime, jti: str
) -> Secret:
    """The same, signed by whoever holds the key, in that version of it (RFC 7515 section 3.1)."""
    headers = {"alg": claims.algorithm, "typ": "JWT"}
    kid = claims.kid_of(version)
    if kid:
        headers["kid"] = kid
    parts = [_encode(json.dumps(part).encode()) for part in (headers, _payload(claims, client_id, now, jti))]
    parts.append(_encode(sign(".".join(parts).encode())))
    return Secret(".".join(parts))


def _payload(claims: JwtClaims, client_id: Secret, now: datetime, jti: str) -> dict[str, object]:
    client = client_id.stripped().reveal()
    return {
        "iss": claims.issuer or client,
        "aud": claims.audience or client,
        "sub": claims.subject,
        "iat": int((now - claims.backdating).timestamp()),
        "exp": int((now + claims.lifetime).timestamp()),
        "jti": jti,
    }


def _encode(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def _private_key(key_pem: Secret, algorithm: str) -> "RSAPrivateKey | EllipticCurvePrivateKey":
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    pem = key_pem.stripped().reveal()
    problem = _not_a_key(pem)
    try:
        key = load_pem_private_key(pem.encode("utf-8", errors="replace"), password=None)
    except TypeError:
        key, problem = None, "it is protected by a passphrase"
    except (ValueError, UnsupportedAlgorithm):
        key = None
    match key:
        case None:
            pass
        case rsa.RSAPrivateKey() if algorithm.startswith("RS"):
            if key.key_size >= _SMALLEST_RSA_KEY:
                return key
            problem = f"it has {key.key_size} bits; {algorithm} needs {_SMALLEST_RSA_KEY} or more"
        case ec.EllipticCurvePrivateKey() if key.curve.name == _CURVES.get(algorithm):
            return key
        case ec.EllipticCurvePrivateKey():
            problem = f"it is an elliptic-curve key on {key.curve.name}, which does not fit {algorithm}"
        case rsa.RSAPrivateKey():
            problem = f"it is an RSA key, which does not fit {algorithm}"
        case _:
            problem = f"it is of a kind that does not fit {algorithm}"
    message = f"the private key for the JWT bearer grant cannot be used: {problem}"
    hint = (
        "Store a PEM private key without a passphrase that fits `alg`, from a file (--file) so that its lines are "
        "kept."
    )
    raise RefresherError(message, cause=Cause.SECRET_INVALID, hint=hint)


def _not_a_key(pem: str) -> str:
    """Name what most often stands in the place of a private key, from the first line and nothing else."""
    label = re.match(r"-----BEGIN ([A-Z ]{1,40})-----", pem)
    if label is None:
        other = next((what for begins, what in _OTHER_FORMS.items() if pem.startswith(begins)), "it is")
        return f"{other} not PEM text (-----BEGIN … PRIVATE KEY-----)"
    if label[1] == "OPENSSH PRIVATE KEY":
        return "it is in OpenSSH's form (a copy of it is converted by ssh-keygen -p -m PKCS8 -f COPY)"
    if not label[1].endswith("PRIVATE KEY"):
        return "it is PEM text, but not of a private key"
    if "\n" not in pem:
        return "its line breaks are lost"
    return "its content is damaged"
