"""What an operator mistyped is told at the start, by name, and what may be secret is not repeated."""

import pytest

from app.domain.errors import ConfigurationError
from app.settings import load_settings


@pytest.mark.parametrize(
    "proxy",
    ["proxy:3128", "127.0.0.1:3128", "http://", "socks5://proxy:1080", "http://proxy:99999",
     "http://desk:hunter2/@proxy:3128", "proxy"],
)  # fmt: skip
def test_a_proxy_has_an_address(monkeypatch, proxy):
    monkeypatch.setenv("BALLAST_WEBHOOK_PROXY", proxy)
    with pytest.raises(ConfigurationError) as told:
        load_settings()
    assert str(told.value) == "BALLAST_WEBHOOK_PROXY: Value error, http://host:port is needed"


@pytest.mark.parametrize("proxy", ["http://desk:hunter2@proxy:3128", "https://proxy", "http://[::1]:3128/"])
def test_a_proxy_is_taken_and_not_shown(monkeypatch, proxy):
    monkeypatch.setenv("BALLAST_WEBHOOK_PROXY", proxy)
    settings = load_settings()
    assert settings.webhook_proxy.get_secret_value() == proxy
    assert proxy not in repr(settings)


def test_no_proxy_is_none(monkeypatch):
    monkeypatch.setenv("BALLAST_WEBHOOK_PROXY", "")
    assert load_settings().webhook_proxy is None


@pytest.mark.parametrize("networks", ["10.0.0.1/8", "loopback", "127.0.0.0/8,10.0.0.0/33"])
def test_networks_are_networks(monkeypatch, networks):
    monkeypatch.setenv("BALLAST_WEBHOOK_ALLOWED_NETWORKS", networks)
    with pytest.raises(ConfigurationError, match="BALLAST_WEBHOOK_ALLOWED_NETWORKS"):
        load_settings()
