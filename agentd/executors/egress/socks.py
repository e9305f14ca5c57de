"""SOCKS5 (RFC 1928), as far as it connects to names."""

from __future__ import annotations

import ipaddress

from agentd.executors.egress.carrying import Request, Tunnel
from agentd.executors.egress.refusals import Refusal, Why
from agentd.executors.egress.streams import Stream

VERSION = 5
_NO_AUTHENTICATION = 0
_CONNECT = 1
_IPV4, _NAME, _IPV6 = 1, 3, 4
_NOWHERE = bytes([0, _IPV4, 0, 0, 0, 0, 0, 0])


class Socks:
    """The conversation with one client."""

    def __init__(self) -> None:
        self._greeted = False

    async def read(self, client: Stream) -> Request:
        """Return what the client asks for; raises `Refusal`, and `EOFError` when it leaves."""
        _, count = await client.read_exactly(2)
        if _NO_AUTHENTICATION not in await client.read_exactly(count):
            raise Refusal(Why.MALFORMED, "this proxy asks for no authentication, and the client offers only others")
        await client.write(bytes([VERSION, _NO_AUTHENTICATION]))
        self._greeted = True
        version, command, reserved, kind = await client.read_exactly(4)
        if version != VERSION or reserved:
            raise Refusal(Why.MALFORMED, "this is not a request of SOCKS5")
        host = await _host(client, kind)
        port = int.from_bytes(await client.read_exactly(2), "big")
        if command != _CONNECT:
            raise Refusal(Why.UNKNOWN_COMMAND, "this proxy knows the command CONNECT only")
        return Tunnel(host, port, _reply(0))

    def refusal(self, refusal: Refusal) -> bytes:
        """Say no in the client's language."""
        return _reply(refusal.why.reply) if self._greeted else bytes([VERSION, 0xFF])


async def _host(client: Stream, kind: int) -> str:
    """Read a host. An address is written as one, so that the rules refuse it as they do elsewhere."""
    if kind == _NAME:
        (length,) = await client.read_exactly(1)
        return (await client.read_exactly(length)).decode("latin-1")
    if kind == _IPV4:
        return str(ipaddress.IPv4Address(await client.read_exactly(4)))
    if kind == _IPV6:
        return str(ipaddress.IPv6Address(await client.read_exactly(16)))
    raise Refusal(Why.UNKNOWN_ADDRESS_TYPE, "this is no type of address that SOCKS5 knows")


def _reply(code: int) -> bytes:
    return bytes([VERSION, code]) + _NOWHERE
