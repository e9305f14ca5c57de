"""Only public addresses are reached by name, however they are wrapped."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.executors.egress.addresses import is_own, refusal

PUBLIC = ["8.8.8.8", "93.184.216.34", "2606:4700::1111", "2001:4860:4860::8888", "64:ff9b::808:808"]
NOT_PUBLIC = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "100.64.0.1",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.9",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "198.18.0.1",
    "203.0.113.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::7f00:1",
    "::ffff:8.8.8.8",
    "::ffff:10.0.0.1",
    "::ffff:0:10.0.0.1",
    "64:ff9b::a00:1",
    "64:ff9b::7f00:1",
    "64:ff9b::a9fe:a9fe",
    "64:ff9b:1::808:808",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:7f00:1::1",
    "2002:808:808::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%lo",
    "fec0::1",
    "ff02::1",
]


@pytest.mark.parametrize("text", PUBLIC)
def test_public_addresses_are_reached(text: str) -> None:
    assert refusal(ipaddress.ip_address(text), []) == ""


@pytest.mark.parametrize("text", NOT_PUBLIC)
def test_other_addresses_are_not(text: str) -> None:
    assert refusal(ipaddress.ip_address(text), []) != ""


def test_private_networks_are_reached_where_they_are_named() -> None:
    networks = [ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd00::/8")]
    assert refusal(ipaddress.ip_address("10.1.2.3"), networks) == ""
    assert refusal(ipaddress.ip_address("fd00::1"), networks) == ""
    for text in ("10.2.0.1", "::ffff:10.1.2.3", "64:ff9b::a01:203", "2002:a01:203::1", "127.0.0.1"):
        assert "not in private_networks" in refusal(ipaddress.ip_address(text), networks)


def test_no_network_makes_a_host_of_what_is_none() -> None:
    everything = [ipaddress.ip_network("0.0.0.0/0"), ipaddress.ip_network("::/0")]
    for text in ("0.0.0.0", "::", "224.0.0.1", "ff02::1"):
        assert refusal(ipaddress.ip_address(text), everything) == "is no address of a host"
    assert refusal(ipaddress.ip_address("127.0.0.1"), everything) == ""


@given(st.ip_addresses())
def test_what_python_calls_private_is_never_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    if not address.is_global or address.is_multicast or address.is_reserved:
        wrapped = address in ipaddress.ip_network("64:ff9b::/96") if address.version == 6 else False
        assert wrapped or refusal(address, []) != ""


@given(st.ip_addresses(v=4))
def test_a_wrapped_address_is_no_better_than_what_is_in_it(address: ipaddress.IPv4Address) -> None:
    wrapped = ipaddress.IPv6Address(int(ipaddress.IPv6Address("64:ff9b::")) + int(address))
    if refusal(address, []):
        assert refusal(wrapped, []) != ""
    for prefix in ("::", "::ffff:0:0", "::ffff:0:0:0"):
        assert refusal(ipaddress.IPv6Address(int(ipaddress.IPv6Address(prefix)) + int(address)), []) != ""


def test_the_machine_knows_its_own_addresses() -> None:
    assert is_own(ipaddress.ip_address("127.0.0.1"))
    assert not is_own(ipaddress.ip_address("8.8.8.8"))
