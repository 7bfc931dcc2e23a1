from ipaddress import ip_address

import pytest

from app.adapters.webhooks.addresses import is_allowed, parse_networks


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.254", "0.0.0.0", "10.1.2.3", "100.64.0.1", "169.254.169.254", "172.31.0.1",
        "192.168.1.1", "192.0.0.8", "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.51.100.1", "203.0.113.1",
        "224.0.0.1", "239.1.1.1", "240.0.0.1", "255.255.255.255",
        "::", "::1", "::ffff:127.0.0.1", "::ffff:10.0.0.1", "::127.0.0.1", "64:ff9b::7f00:1", "64:ff9b:1::1",
        "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "fc00::1", "fd00:ec2::254", "fe80::1",
        "fec0::1", "ff02::1", "100::1", "5f00::1",
    ],
)  # fmt: skip
def test_f29_what_is_not_the_public_internet_is_denied(address):
    assert not is_allowed(ip_address(address))


@pytest.mark.parametrize("address", ["1.1.1.1", "93.184.216.34", "2606:4700::1111", "::ffff:1.1.1.1"])
def test_the_public_internet_is_allowed(address):
    assert is_allowed(ip_address(address))


def test_named_networks_are_opened_and_nothing_else():
    opened = parse_networks(["127.0.0.0/8"])
    assert is_allowed(ip_address("127.0.0.1"), opened)
    assert is_allowed(ip_address("::ffff:127.0.0.1"), opened)
    assert not is_allowed(ip_address("::1"), opened)
    assert not is_allowed(ip_address("10.0.0.1"), opened)
