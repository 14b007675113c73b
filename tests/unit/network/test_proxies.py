"""Which proxy a request goes through, from what people write into the environment."""

import pytest

from refresher.model.errors import SettingsError
from refresher.network.proxies import proxy_for

INSTANCE = "https://acme.service-now.com"
PROXY = "http://proxy.example:8080"


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without any."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.mark.parametrize(
    ("environment", "variable"),
    [
        ({}, None),
        ({"HTTPS_PROXY": PROXY}, "HTTPS_PROXY"),
        ({"https_proxy": PROXY, "HTTPS_PROXY": "http://other:1"}, "https_proxy"),
        ({"HTTP_PROXY": PROXY}, None),
        ({"ALL_PROXY": PROXY}, "ALL_PROXY"),
        ({"ALL_PROXY": "http://other:1", "HTTPS_PROXY": PROXY}, "HTTPS_PROXY"),
        ({"HTTPS_PROXY": " "}, None),
        ({"HTTPS_PROXY": "proxy.example:8080"}, "HTTPS_PROXY"),
    ],
)
def test_the_variable_of_the_scheme_counts_and_small_letters_before_large(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], variable: str | None
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    proxy = proxy_for(INSTANCE)
    assert (proxy.variable if proxy else None) == variable
    assert proxy is None or proxy.url == PROXY


@pytest.mark.parametrize(
    ("listed", "url", "direct"),
    [
        ("*", INSTANCE, True),
        ("acme.service-now.com", INSTANCE, True),
        ("service-now.com", INSTANCE, True),
        (".service-now.com", INSTANCE, True),
        ("*.service-now.com", INSTANCE, True),
        ("ACME.Service-Now.com", INSTANCE, True),
        ("now.com", INSTANCE, False),
        ("localhost, acme.service-now.com", INSTANCE, True),
        ("localhost acme.service-now.com", INSTANCE, True),
        ("acme.service-now.com:443", "https://acme.service-now.com:443", True),
        ("acme.service-now.com:8443", "https://acme.service-now.com:443", False),
        ("127.0.0.1", "https://127.0.0.1:8443", True),
        ("127.0.0.0/8", "https://127.8.9.1:8443", True),
        ("10.0.0.0/8", "https://127.0.0.1:8443", False),
        ("fe80::/10", INSTANCE, False),
        ("fe80::/10", "https://[fe80::1]:8443", True),
        ("[fe80::]/10", "https://[fe80::1]:8443", True),
        ("::1", "https://[::1]:8443", True),
        ("[::1]", "https://[::1]:8443", True),
        ("[::1]:8443", "https://[::1]:8443", True),
        ("[::1]:1", "https://[::1]:8443", False),
        ("fe80::/10,[::1],fd07:b51a:cc66:f0::/64", INSTANCE, False),
        (",,", INSTANCE, False),
        ("http://[", INSTANCE, False),
    ],
)
def test_no_proxy_covers_names_addresses_and_networks(
    monkeypatch: pytest.MonkeyPatch, listed: str, url: str, *, direct: bool
) -> None:
    """As people, container tools and clusters write it; what cannot be read covers nothing."""
    monkeypatch.setenv("ALL_PROXY", PROXY)
    monkeypatch.setenv("NO_PROXY", listed)
    assert (proxy_for(url) is None) is direct


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ("socks5://user:CANARY-password@proxy:1080", "a proxy of the kind 'socks5'"),
        ("http://user:CANARY-password@proxy:port", "an address that cannot be read"),
        ("http://", "an address that cannot be read"),
        ("http://[::1", "an address that cannot be read"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_refused_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, value: str, what: str
) -> None:
    """Only for what would go through it: what NO_PROXY covers needs none."""
    monkeypatch.setenv("ALL_PROXY", value)
    with pytest.raises(SettingsError) as caught:
        proxy_for(INSTANCE)
    expected = f"ALL_PROXY names {what}; expected http://HOST:PORT, or acme.service-now.com in NO_PROXY"
    assert caught.value.problems == (expected,)
    monkeypatch.setenv("NO_PROXY", "service-now.com")
    assert proxy_for(INSTANCE) is None
