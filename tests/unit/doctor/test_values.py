"""What cannot be meant, by form alone: whatever is pasted in the place of a credential is told, and never shown."""

import json

import pytest

from refresher.doctor.values import Beside, Oddity, has_unseen_around, oddity
from refresher.model.tokens import Secret

CLIENT_ID = "0a1b2c3d4e5f60718293a4b5c6d7e8f9"
ACCESS = "CANARY-access-MTAxXzEuVGVzdA-86-letters"
REFRESH = "CANARY-refresh-p3Vf9_xR4tLm-letters"
PLAIN = {
    "client-id": CLIENT_ID,
    "client-secret": "Tq8(k{Zr#2",
    "refresh-token": REFRESH,
    "username": "simple chat integration",
    "password": "correct {horse} = \u00fcber 'battery' %2B",
    "jwt-key": "-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----",
}
NAMES = tuple(f"servicenow-{suffix}" for suffix in (*PLAIN, "oauth-token", "refresh-record"))


def look(suffix: str, value: str, **others: str) -> Oddity | None:
    known = {**PLAIN, **{name.replace("_", "-"): other for name, other in others.items()}, suffix: value}
    credentials = {name: Secret(other) for name, other in known.items()}
    return oddity(suffix, Secret(value), Beside(names=NAMES, credentials=credentials, access_tokens=[Secret(ACCESS)]))


@pytest.mark.parametrize("suffix", PLAIN)
def test_nothing_is_odd_about_values_as_they_are_made(suffix: str) -> None:
    assert look(suffix, PLAIN[suffix]) is None


CERTAIN = [
    ("client-secret", "servicenow-client-secret", "the name of a secret, servicenow-client-secret"),
    ("client-secret", "ServiceNow-Client-ID", "the name of a secret, servicenow-client-id"),
    ("refresh-token", "servicenow-oauth-token", "the name of a secret"),
    ("password", "servicenow-password", "the name of a secret"),
    ("refresh-token", ACCESS, "an access token"),
    ("oauth-token", REFRESH, "the same value as -refresh-token"),
    ("client-id", "Tq8(k{Zr#2", "the same value as -client-secret"),
    ("client-secret", "@Microsoft.KeyVault(SecretUri=https://v.vault.azure.net/secrets/s)", "Key Vault reference"),
    ("password", "@microsoft.keyvault(VaultName=v;SecretName=s)", "Key Vault reference"),
    ("client-id", "<client-id>", "placeholder"),
    ("password", "<password>", "placeholder"),
    ("client-secret", "${CLIENT_SECRET}", "placeholder"),
    ("client-secret", "$(cat client-secret)", "placeholder"),
    ("client-secret", "********", "placeholder"),
    ("jwt-key", "{{ jwt_key }}", "placeholder"),
    ("client-secret", "changeme", "a word that stands for a value"),
    ("client-id", "YOUR_CLIENT_ID", "a word that stands for a value"),
    ("refresh-token", "null", "a word that stands for a value"),
    ("client-secret", "[REDACTED]", "placeholder"),
    ("refresh-token", "n/a", "a word that stands for a value"),
    ("client-id", "----", "a word that stands for a value"),
    ("client-secret", "CLIENT_SECRET_FILE", "a word that stands for a value"),
    ("client-secret", '"Tq8(k{Zr#2"', "quotation marks"),
    ("refresh-token", f"'{REFRESH}'", "quotation marks"),
    ("client-id", f"\u201c{CLIENT_ID}\u201d", "quotation marks"),
    ("refresh-token", json.dumps({"access_token": ACCESS, "refresh_token": REFRESH}), "JSON"),
    ("password", '{"password": "x"}', "JSON"),
    ("client-secret", '["x"]', "JSON"),
    ("client-secret", '{"client_secret": "cut sho', "JSON"),
    ("client-id", "{0a1b2c", "begins like JSON"),
    ("refresh-token", f"Bearer {REFRESH}", "the word of a header"),
    ("client-secret", "Basic abcdef", "the word of a header"),
    ("oauth-token", f"Bearer {ACCESS}", "the word of a header"),
    ("refresh-token", f"refresh_token={REFRESH}", "a field's name"),
    ("client-secret", "client_secret: Tq8", "a field's name"),
    ("client-id", "https://dev1.service-now.com", "an address"),
    ("refresh-token", "http://127.0.0.1:8400/callback?code=x", "an address"),
    ("jwt-key", "https://v.vault.azure.net/keys/k", "an address"),
    ("client-secret", PLAIN["jwt-key"], "a key or a certificate"),
    ("jwt-key", "LS0tLS1CRUdJTiBQUklWQVRFIEtFWS0tLS0t", "Base64"),
    ("jwt-key", r"-----BEGIN PRIVATE KEY-----\nMIIE\n-----END PRIVATE KEY-----", "where lines should break"),
    ("client-secret", "Tq8(k\n{Zr#2", "more than one line"),
    ("password", "one\r\ntwo", "more than one line"),
    ("client-secret", "Tq8\u200b(k", "nobody sees"),
    ("refresh-token", "CANARY\ufeff-refresh", "nobody sees"),
    ("client-id", "0a1b\u00ad2c3d", "nobody sees"),
    ("client-id", "0a1b 2c3d", "white space in it"),
    ("refresh-token", "CANARY-ref...", "cut short"),
]


@pytest.mark.parametrize(("suffix", "value", "told"), CERTAIN)
def test_what_cannot_be_meant_is_told_and_not_shown(suffix: str, value: str, told: str) -> None:
    found = look(suffix, value)
    assert found is not None
    assert (told in found.what, found.certain) == (True, True), found
    assert "CANARY" not in found.what


DOUBTFUL = [
    ("refresh-token", "CANARY\u2013refresh", "ServiceNow's values have not"),
    ("refresh-token", "CANARY\u00a0refresh", "white space in it"),
    ("password", '"quoted"', "quotation marks"),
    ("password", "{begins", "begins like JSON"),
    ("client-secret", "{k8(Zr#2", "begins like JSON"),
    ("password", "changeme", "a word that stands"),
    ("password", "https://x", "an address"),
    ("password", "p\u200bw", "nobody sees"),
    ("client-secret", "two words", "white space"),
    ("client-secret", "Tq8%2Bk", "from an address"),
    ("username", "Tq8(k{Zr#2", "the same value as -client-secret"),
    ("client-secret", CLIENT_ID[::-1], "swapped"),
]


@pytest.mark.parametrize(("suffix", "value", "told"), DOUBTFUL)
def test_what_somebody_may_have_chosen_is_doubted_and_not_accused(suffix: str, value: str, told: str) -> None:
    found = look(suffix, value, client_id="not-made-by-servicenow") if told == "swapped" else look(suffix, value)
    assert found is not None
    assert (told in found.what, found.certain) == (True, False), found


def test_what_is_left_out_when_a_value_is_sent_is_no_mistake() -> None:
    assert has_unseen_around(Secret(f"\ufeff{CLIENT_ID}\n"))
    assert not has_unseen_around(Secret(CLIENT_ID))
    assert look("client-id", f"\ufeff{CLIENT_ID} \n") is None
