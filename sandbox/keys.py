"""The routes of Key Vault's REST surface for keys: described by all who may read, and signing without ever leaving.

A disabled or expired key is described as readily as any other, and signs nothing: 403 with the inner code KeyDisabled
(github.com/Azure/azure-sdk-for-python/issues/45342), KeyOperationForbidden where its operations lack `sign` (the .NET
SDK's troubleshooting guide), 400 BadParameter where type or curve do not go with the algorithm ("Key and signing
algorithm are incompatible"). Signatures of ECDSA are r and s, one after the other. `/keys/NAME//sign` is the newest.
"""

import base64
import functools
import hashlib
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sandbox.clock import SandboxClock
from sandbox.http import Request, Response, json_response
from sandbox.vault_limits import RefusedError, bad_parameter

_NAME = re.compile(r"[0-9a-zA-Z-]{1,127}")
_CURVES: dict[str, tuple[str, type[ec.EllipticCurve]]] = {
    "P-256": ("ES256", ec.SECP256R1),
    "P-384": ("ES384", ec.SECP384R1),
    "P-521": ("ES512", ec.SECP521R1),
}
_HASHES: dict[str, hashes.HashAlgorithm] = {"256": hashes.SHA256(), "384": hashes.SHA384(), "512": hashes.SHA512()}


@dataclass(slots=True, kw_only=True)
class KeyVersion:
    """One version of a key, as an administrator sees it."""

    name: str
    version: str
    private: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey
    curve: str | None
    created_on: datetime
    enabled: bool = True
    not_before: datetime | None = None
    expires_on: datetime | None = None
    operations: tuple[str, ...] = ("sign", "verify")

    @property
    def public_pem(self) -> str:
        """What a certificate of it holds."""
        public = self.private.public_key()
        return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


class KeysApi:
    """The keys of one vault. Whoever calls holds the vault's lock."""

    def __init__(self, check: Callable[[str, str], None], clock: SandboxClock, new_id: Callable[[], str]) -> None:
        self.url = ""
        self._check = check
        self._clock = clock
        self._new_id = new_id
        self._keys: dict[str, list[KeyVersion]] = {}

    def make(
        self, name: str, *, curve: str | None = None, bits: int = 2048, expires_on: datetime | None = None
    ) -> KeyVersion:
        """Make a new version, as a renewal does: on a curve, or of RSA."""
        versions = self._keys.setdefault(name.lower(), [])
        version = KeyVersion(
            name=name,
            version=self._new_id(),
            private=ec.generate_private_key(_CURVES[curve][1]()) if curve else _rsa_key(bits, len(versions)),
            curve=curve,
            created_on=self._clock.now().replace(microsecond=0),
            expires_on=expires_on,
        )
        versions.append(version)
        return version

    def remove(self, name: str) -> None:
        """Delete a key with all its versions."""
        del self._keys[name.lower()]

    def answer(self, request: Request) -> Response:
        """Answer a request. Raises RefusedError."""
        name, *rest = request.path.removeprefix("/keys").strip("/").split("/")
        if not _NAME.fullmatch(name):
            raise bad_parameter()
        match request.method, rest:
            case "GET", [] | [_]:
                self._check("get key", name)
                return json_response(200, self._bundle(self._find(name, rest)))
            case "POST", [_, "sign"]:
                self._check("sign", name)
                return self._sign(self._find(name, rest[:1]), request.json)
            case _:
                raise RefusedError(405, "MethodNotAllowed")

    def _find(self, name: str, rest: Sequence[str]) -> KeyVersion:
        wanted = rest[0] if rest else ""
        found = [each for each in self._keys.get(name.lower(), []) if wanted in {"", each.version}]
        if not found:
            raise RefusedError(404, "KeyNotFound")
        return found[-1]

    def _sign(self, key: KeyVersion, body: dict[str, object]) -> Response:
        now = self._clock.now()
        if not key.enabled:
            raise RefusedError(403, "Forbidden", "KeyDisabled")
        if key.expires_on is not None and now >= key.expires_on:
            raise RefusedError(403, "Forbidden", "KeyExpired")
        if key.not_before is not None and now < key.not_before:
            raise RefusedError(403, "Forbidden", "KeyNotYetValid")
        if "sign" not in key.operations:
            raise RefusedError(403, "Forbidden", "KeyOperationForbidden")
        algorithm, digest = str(body.get("alg")), _decode(str(body.get("value")))
        bits = algorithm[2:]
        if bits not in _HASHES or len(digest) != hashlib.new(f"sha{bits}").digest_size:
            raise bad_parameter()
        signature = _signature(key, algorithm, digest)
        return json_response(200, {"kid": self._id(key), "value": _encode(signature)})

    def _bundle(self, key: KeyVersion) -> dict[str, object]:
        public: dict[str, object] = {"kid": self._id(key), "key_ops": list(key.operations)}
        match key.private.public_key():
            case rsa.RSAPublicKey() as of_rsa:
                numbers = of_rsa.public_numbers()
                public |= {"kty": "RSA", "n": _encode(_octets(numbers.n)), "e": _encode(_octets(numbers.e))}
            case ec.EllipticCurvePublicKey() as of_curve:
                size, point = (of_curve.key_size + 7) // 8, of_curve.public_numbers()
                x, y = (_encode(each.to_bytes(size, "big")) for each in (point.x, point.y))
                public |= {"kty": "EC", "crv": key.curve, "x": x, "y": y}
        attributes: dict[str, object] = {
            "enabled": key.enabled,
            "created": int(key.created_on.timestamp()),
            "updated": int(key.created_on.timestamp()),
            "recoveryLevel": "Recoverable+Purgeable",
            "recoverableDays": 90,
            "exportable": False,
        }
        for name, moment in (("nbf", key.not_before), ("exp", key.expires_on)):
            if moment is not None:
                attributes[name] = int(moment.timestamp())
        return {"key": public, "attributes": attributes}

    def _id(self, key: KeyVersion) -> str:
        return f"{self.url}/keys/{key.name}/{key.version}"


def _signature(key: KeyVersion, algorithm: str, digest: bytes) -> bytes:
    hashed = Prehashed(_HASHES[algorithm[2:]])
    private = key.private
    if isinstance(private, rsa.RSAPrivateKey):
        if not algorithm.startswith("RS"):
            raise bad_parameter()
        return private.sign(digest, padding.PKCS1v15(), hashed)
    if key.curve is None or algorithm != _CURVES[key.curve][0]:
        raise bad_parameter()
    size = (private.key_size + 7) // 8
    return b"".join(
        each.to_bytes(size, "big") for each in decode_dss_signature(private.sign(digest, ec.ECDSA(hashed)))
    )


@functools.cache
def _rsa_key(bits: int, nth: int) -> rsa.RSAPrivateKey:
    """The same keys in every vault of a process, since making one takes a tenth of a second."""
    del nth
    return rsa.generate_private_key(public_exponent=65537, key_size=bits)


def _octets(number: int) -> bytes:
    return number.to_bytes((number.bit_length() + 7) // 8, "big")


def _encode(value: bytes) -> str:
    return base64.urlsafe_b64encode(value).rstrip(b"=").decode()


def _decode(text: str) -> bytes:
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise bad_parameter() from None
