"""Assertions of the JWT bearer grant: what they say, and what is said of a key that cannot sign them."""

import base64
import os
from datetime import UTC, datetime, timedelta

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from refresher.model.causes import Cause
from refresher.model.connection import JwtClaims
from refresher.model.errors import RefresherError
from refresher.model.tokens import Secret
from refresher.servicenow.assertion import build_assertion

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
CLIENT_ID = Secret("client-id\n")
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}


def pem(key: PrivateKeyTypes, *, private_format: PrivateFormat = PrivateFormat.PKCS8) -> str:
    return key.private_bytes(Encoding.PEM, private_format, NoEncryption()).decode()


@pytest.fixture(scope="module")
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


def sign(key: str, algorithm: str = "RS256", *, kid: str | None = None, jti: str = "jti-1") -> Secret:
    claims = JwtClaims(subject="simple.chat", algorithm=algorithm, kid=kid)
    return build_assertion(Secret(key), claims, CLIENT_ID, now=NOW, jti=jti)


def refusal(key: str, algorithm: str = "RS256") -> RefresherError:
    with pytest.raises(RefresherError) as caught:
        sign(key, algorithm)
    error = caught.value
    assert error.cause is Cause.SECRET_INVALID
    assert error.__cause__ is None
    assert error.__context__ is None
    assert "PEM private key without a passphrase" in error.hint
    return error


@pytest.mark.parametrize("algorithm", ["RS256", "RS384", "RS512"])
def test_an_rsa_key_signs_what_the_settings_say(algorithm: str, rsa_key: rsa.RSAPrivateKey) -> None:
    assertion = sign(pem(rsa_key), algorithm, kid="k1").reveal()
    assert jwt.get_unverified_header(assertion) == {"alg": algorithm, "typ": "JWT", "kid": "k1"}
    claims = jwt.decode(
        assertion, rsa_key.public_key(), algorithms=[algorithm], options={"verify_exp": False, "verify_aud": False}
    )
    assert claims == {
        "iss": "client-id",
        "aud": "client-id",
        "sub": "simple.chat",
        "iat": int((NOW - timedelta(seconds=30)).timestamp()),
        "exp": int((NOW + timedelta(minutes=5)).timestamp()),
        "jti": "jti-1",
    }


@pytest.mark.parametrize("algorithm", sorted(CURVES))
def test_a_key_on_the_curve_of_the_algorithm_signs(algorithm: str) -> None:
    key = ec.generate_private_key(CURVES[algorithm])
    assertion = sign(pem(key, private_format=PrivateFormat.TraditionalOpenSSL), algorithm).reveal()
    assert "kid" not in jwt.get_unverified_header(assertion)
    claims = jwt.decode(
        assertion, key.public_key(), algorithms=[algorithm], options={"verify_exp": False}, audience="client-id"
    )
    assert claims["sub"] == "simple.chat"


def test_issuer_and_audience_may_differ_from_the_client(rsa_key: rsa.RSAPrivateKey) -> None:
    claims = JwtClaims(
        subject="s", issuer="i", audience="a", lifetime=timedelta(seconds=10), backdating=timedelta(seconds=0)
    )
    assertion = build_assertion(Secret(f"\n{pem(rsa_key)}\n\n"), claims, CLIENT_ID, now=NOW, jti="x").reveal()
    told = jwt.decode(assertion, options={"verify_signature": False})
    assert (told["iss"], told["aud"], told["exp"] - told["iat"]) == ("i", "a", 10)


def test_each_assertion_has_the_jti_that_it_was_given(rsa_key: rsa.RSAPrivateKey) -> None:
    key = pem(rsa_key)
    assert sign(key, jti="one") != sign(key, jti="two")


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "it is not PEM text"),
        ("canary", "it is not PEM text"),
        ("\ud800", "it is not PEM text"),
        ("-----BEGIN PRIVATE KEY-----\ncanary\n-----END PRIVATE KEY-----", "its content is damaged"),
        ("-----BEGIN PRIVATE KEY----- canary -----END PRIVATE KEY-----", "its line breaks are lost"),
        ("-----BEGIN CERTIFICATE-----\ncanary\n-----END CERTIFICATE-----", "it is PEM text, but not of a private key"),
    ],
)
def test_what_is_no_key_is_named_and_not_shown(text: str, told: str) -> None:
    error = refusal(text)
    assert told in error.message
    assert "canary" not in error.message + error.hint


def test_a_public_key_cannot_sign(rsa_key: rsa.RSAPrivateKey) -> None:
    public = rsa_key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
    assert "not of a private key" in refusal(public).message


def test_a_key_with_a_passphrase_cannot_be_used_unattended(rsa_key: rsa.RSAPrivateKey) -> None:
    locked = rsa_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"canary")).decode()
    assert "protected by a passphrase" in refusal(locked).message


def test_a_damaged_key_is_damaged(rsa_key: rsa.RSAPrivateKey) -> None:
    noise = base64.b64encode(os.urandom(120)).decode()
    assert "damaged" in refusal(f"-----BEGIN PRIVATE KEY-----\n{noise}\n-----END PRIVATE KEY-----").message
    assert "damaged" in refusal(pem(rsa_key)[:400]).message


@pytest.mark.parametrize("algorithm", ["ES256", "ES384", "ES512"])
def test_an_rsa_key_does_not_fit_an_elliptic_curve(algorithm: str, rsa_key: rsa.RSAPrivateKey) -> None:
    assert f"it is an RSA key, which does not fit {algorithm}" in refusal(pem(rsa_key), algorithm).message


@pytest.mark.parametrize("algorithm", ["RS256", "ES384"])
def test_another_curve_does_not_fit(algorithm: str) -> None:
    error = refusal(pem(ec.generate_private_key(ec.SECP256R1())), algorithm)
    assert f"an elliptic-curve key on secp256r1, which does not fit {algorithm}" in error.message


def test_a_key_of_another_kind_does_not_fit() -> None:
    assert "of a kind that does not fit RS256" in refusal(pem(ed25519.Ed25519PrivateKey.generate())).message


def test_an_rsa_key_that_is_too_short_is_refused() -> None:
    short = rsa.generate_private_key(65537, 1024)  # noqa: S505 - that it is too short is the point
    assert "it has 1024 bits; RS256 needs 2048 or more" in refusal(pem(short)).message
