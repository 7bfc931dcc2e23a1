"""Which addresses a webhook may be sent to. Judged on the address that is dialled, never on a name.

A name may resolve to anything, and to something else a moment later; redirects are not followed. So the only
safe place is the socket: `Guard.socket` is called by aiohttp for each address it is about to dial.

`ipaddress.is_global` is True for some of what must be denied (multicast, 6to4, NAT64), so ranges are named.
"""

import socket
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

DENIED_IPV4 = tuple(
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # carrier-grade NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # what a cloud's machines ask for their own settings
        "169.254.0.0/16",  # link-local, cloud metadata
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarking
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, broadcast
    )
)
GLOBAL_IPV6 = IPv6Network("2000::/3")  # all else is local, mapped, translated (64:ff9b::/96) or unassigned
DENIED_IPV6 = tuple(
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: carries any IPv4 address
        "3fff::/20",  # documentation
    )
)


class AddressDenied(OSError):
    """The endpoint's address is not one that webhooks may reach.

    Tenants read it, so it does not say which: names that only the operator's network knows would be told.
    """


def parse_networks(networks: Sequence[str]) -> tuple[Network, ...]:
    return tuple(map(ip_network, networks))


def is_allowed(address: Address, allowed_networks: Sequence[Network] = ()) -> bool:
    if _is_opened(address, allowed_networks):
        return True
    address = _dialled(address)
    if isinstance(address, IPv4Address):
        return not any(address in network for network in DENIED_IPV4)
    return address in GLOBAL_IPV6 and not any(address in network for network in DENIED_IPV6)


def _is_opened(address: Address, networks: Sequence[Network]) -> bool:
    return any(_dialled(address) in network for network in networks)


def _dialled(address: Address) -> Address:
    """The kernel dials IPv4 for IPv6 addresses that stand for it."""
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return mapped or address


@dataclass(frozen=True, slots=True)
class Guard:
    """`networks` are opened, on every port; all else has to be public, and on one of `ports`."""

    networks: tuple[Network, ...] = ()
    ports: frozenset[int] = frozenset()

    def check(self, host: str, port: int) -> None:
        """AddressDenied unless that may be dialled. `host` is an address."""
        address = ip_address(host.partition("%")[0])
        if not is_allowed(address, self.networks):
            raise AddressDenied("the host has no address that webhooks may be sent to")
        if port not in self.ports and not _is_opened(address, self.networks):
            raise AddressDenied(f"port {port} is not one that webhooks may be sent to")

    def socket(self, address_info: tuple[Any, ...]) -> socket.socket:
        """A socket factory that refuses; aiohttp then goes on to the name's next address."""
        family, kind, protocol, _, (host, port, *_) = address_info
        self.check(str(host), port)
        return socket.socket(family=family, type=kind, proto=protocol)
