"""Which addresses a name may lead to."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# What `is_global` says of these differs between releases of Python, or is not what matters here.
_NEVER_PUBLIC = tuple(
    ipaddress.IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",  # looks public, and is what gives Azure's machines their certificates
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",
    )
)
_PUBLIC_6 = ipaddress.IPv6Network("2000::/3")
_NEVER_PUBLIC_6 = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # Teredo and other special uses
        "2001:db8::/32",
        "2002::/16",  # 6to4: an IPv4 address inside
        "3fff::/20",
    )
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def refusal(address: Address, networks: Iterable[Network]) -> str:
    """Say why no connection is made to an address; empty when it is public and not ours, or in one of `networks`."""
    if address.is_unspecified or address.is_multicast:
        return "is no address of a host"
    if any(address in network for network in networks):
        return ""
    if not _is_public(address):
        return "is not public, and not in private_networks"
    return "is this machine's own, and not in private_networks" if is_own(address) else ""


def _is_public(address: Address) -> bool:
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_global and not any(address in network for network in _NEVER_PUBLIC)
    if address in _NAT64:
        return _is_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    special = any(address in network for network in _NEVER_PUBLIC_6)
    return address in _PUBLIC_6 and address.is_global and not special


def is_own(address: Address) -> bool:
    """Tell whether this machine itself has the address. Sends nothing: it asks the routing table."""
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((str(address), 9))
        except OSError:
            return False
        return probe.getsockname()[0] == str(address)
