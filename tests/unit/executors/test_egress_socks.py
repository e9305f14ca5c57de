"""The proxy as clients of SOCKS5 see it."""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress

import pytest

from tests.unit.executors.egress_rig import echo, gate, hang_up, socks_request

_REST = b"\x00\x01\x00\x00\x00\x00\x00\x00"


async def test_a_name_is_connected_to() -> None:
    async with gate() as proxy, echo() as there:
        reader, writer = await proxy.connect()
        writer.write(socks_request(b"OK.test.", there.port) + b"early")
        assert await reader.readexactly(17) == b"\x05\x00" + b"\x05\x00" + _REST + b"early"
        writer.write_eof()
        assert await reader.read() == b"bye"
        await hang_up(writer)


async def test_it_can_come_byte_by_byte() -> None:
    async with gate() as proxy, echo() as there:
        reader, writer = await proxy.connect()
        for byte in socks_request(b"ok.test", there.port):
            writer.write(bytes([byte]))
            await writer.drain()
            await asyncio.sleep(0.001)
        assert await reader.readexactly(12) == b"\x05\x00" + b"\x05\x00" + _REST
        await hang_up(writer)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        (b"evil.test", "evil.test:80 is not in allowed_domains"),
        (b"evil.test\0.ok.test", r"'evil.test\x00.ok.test' is not the name of a host"),
        (b"ok.test\0", r"'ok.test\x00' is not the name of a host"),
        (b"\xc3\xb6k.test", r"'\xc3\xb6k.test' is not ASCII"),
        (b"ok.test:80", "'ok.test:80' is an address, or has a port too many"),
        (b"127.0.0.1", "'127.0.0.1' is an address"),
        (b"0177.1", "'0177.1' is an address"),
        (b"::1", "'::1' is an address"),
        (b"", "the name is empty"),
        (b"x" * 255, "is empty, or longer than 253 characters"),
        (b"ok.test..", "'ok.test..' is not the name of a host"),
    ],
)
async def test_what_the_rules_refuse_is_reply_2_and_never_looked_up(name: bytes, reason: str) -> None:
    async with gate() as proxy:
        assert await proxy.ask(socks_request(name, 80)) == b"\x05\x00" + b"\x05\x02" + _REST
        ((_, port, told),) = proxy.refused
        assert reason in told and port == 80
        assert proxy.names.asked == []


@pytest.mark.parametrize(("kind", "text"), [(1, "127.0.0.1"), (1, "8.8.8.8"), (4, "::1"), (4, "::ffff:127.0.0.1")])
async def test_an_address_is_refused(kind: int, text: str) -> None:
    packed = ipaddress.ip_address(text).packed
    async with gate(allowed=["*"]) as proxy:
        assert await proxy.ask(socks_request(packed, 80, kind=kind)) == b"\x05\x00" + b"\x05\x02" + _REST
        assert "is an address" in proxy.refused[0][2]


@pytest.mark.parametrize(
    ("sent", "reply"),
    [
        (b"\x05\x01\x02", b"\x05\xff"),
        (b"\x05\x00", b"\x05\xff"),
        (socks_request(b"ok.test", 80, command=2), b"\x05\x00\x05\x07" + _REST),
        (socks_request(b"ok.test", 80, command=3), b"\x05\x00\x05\x07" + _REST),
        (socks_request(b"ok.test", 80, kind=2), b"\x05\x00\x05\x08" + _REST),
        (b"\x05\x01\x00\x04\x01\x00\x03\x01a\x00\x50", b"\x05\x00\x05\x01" + _REST),
        (b"\x05\x01\x00\x05\x01\x09\x03\x01a\x00\x50", b"\x05\x00\x05\x01" + _REST),
        (socks_request(b"ok.test", 0), b"\x05\x00\x05\x02" + _REST),
    ],
)
async def test_what_is_no_such_request_is_refused(sent: bytes, reply: bytes) -> None:
    async with gate() as proxy:
        assert await proxy.ask(sent) == reply
        assert proxy.names.asked == []


async def test_other_methods_besides_none_do_not_matter() -> None:
    async with gate() as proxy, echo() as there:
        reader, writer = await proxy.connect()
        writer.write(b"\x05\x03\x02\x00\x01" + socks_request(b"ok.test", there.port)[3:])
        assert await reader.readexactly(12) == b"\x05\x00" + b"\x05\x00" + _REST
        await hang_up(writer)


async def test_a_client_that_leaves_in_between_is_let_go() -> None:
    whole = socks_request(b"ok.test", 80)
    async with gate() as proxy:
        for count in range(1, len(whole)):
            reader, writer = await proxy.connect()
            writer.write(whole[:count])
            writer.write_eof()
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() in (b"", b"\x05\x00")
            await hang_up(writer)
        assert proxy.names.asked == []
