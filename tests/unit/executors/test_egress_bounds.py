"""Slow, silent, many and malicious clients: none of them holds up the host, or makes it grow."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import socket
import struct

import pytest

from agentd.executors.egress import dialing, streams
from agentd.executors.egress.crowd import Crowd
from agentd.executors.egress.streams import Stream
from tests.unit.executors.egress_rig import PAGE, echo, gate, hang_up, page, site, tunnel


async def test_three_hundred_at_once_are_all_served() -> None:
    async with gate() as proxy, echo() as there:

        async def one(number: int) -> bytes:
            reader, writer = await tunnel(proxy, there.port)
            await asyncio.sleep(0.01)
            writer.write(b"%d" % number)
            writer.write_eof()
            answer = await reader.read()
            await hang_up(writer)
            return answer

        answers = await asyncio.gather(*(one(number) for number in range(300)))
        assert answers == [b"%dbye" % number for number in range(300)]


async def test_more_than_can_wait_are_reset() -> None:
    async with gate(at_once=2) as proxy, echo() as there:
        proxy.egress._crowd._most = 3
        first = [await tunnel(proxy, there.port) for _ in range(2)]
        reader, writer = await proxy.connect()
        writer.write(f"CONNECT ok.test:{there.port} HTTP/1.1\r\n\r\n".encode())
        async with asyncio.timeout(20):
            while len(proxy.serving) < 3:  # noqa: ASYNC110  # nobody tells of what waits for its turn
                await asyncio.sleep(0.001)
        extra, far = await proxy.connect()
        with pytest.raises(ConnectionResetError):
            await extra.read()
        assert len(proxy.names.asked) == 2
        await hang_up(far)
        await hang_up(first[0][1])
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        for one in (writer, first[1][1]):
            await hang_up(one)


@pytest.mark.parametrize(
    ("sent", "answer"),
    [
        (b"GET http://ok.test/ HTTP/1.1\r\nHost:", b"HTTP/1.1 408 "),
        (b"", b"HTTP/1.1 408 "),
        (b"\x05\x01\x00", b"\x05\x00\x05\x01"),
    ],
)
async def test_who_does_not_say_what_he_wants_is_let_go(sent: bytes, answer: bytes) -> None:
    async with gate(head_timeout=0.1) as proxy:
        assert (await proxy.ask(sent)).startswith(answer)


async def test_a_head_that_drips_is_no_better_than_none() -> None:
    async with gate(head_timeout=0.2) as proxy:
        reader, writer = await proxy.connect()
        writer.write(b"GET http://ok.test/ HTTP/1.1\r\n")
        answer = asyncio.create_task(reader.readuntil(b"\r\n"))
        while not (await asyncio.wait([answer], timeout=0.01))[0]:
            writer.write(b"X: y\r\n")
        assert (await answer).startswith(b"HTTP/1.1 408 ")
        await hang_up(writer)


async def test_a_slow_reader_does_not_make_the_host_grow() -> None:
    sent = 0

    async def pour(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        while sent < 1 << 30:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with gate() as proxy, site(pour) as there:
        _, writer = await tunnel(proxy, there.port)
        before = -1
        while before != sent:  # until nothing moves any more
            before = sent
            await asyncio.sleep(0.3)
        assert sent < 64 << 20  # what the system keeps in the buffers of four sockets
        await hang_up(writer)


async def test_a_slow_site_does_not_make_the_host_grow() -> None:
    stop = asyncio.Event()

    async def ignore(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
        await stop.wait()

    async with gate() as proxy, site(ignore) as there:
        _, writer = await tunnel(proxy, there.port)
        sock = writer.get_extra_info("socket")
        sent, before = 0, -1
        while before != sent:
            before = sent
            with contextlib.suppress(BlockingIOError):
                while True:
                    sent += os.write(sock.fileno(), b"x" * 65536)
                    assert sent < 64 << 20
                    await asyncio.sleep(0)
            await asyncio.sleep(0.3)
        stop.set()
        await hang_up(writer)


async def test_one_who_always_has_more_leaves_the_others_their_turn() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    mine, theirs = _pair()
    stream = Stream(theirs)
    with mine:
        mine.sendall(b"x" * 1000)
        task = asyncio.create_task(other())
        for _ in range(1000):
            await stream.read(1)
        task.cancel()
        await asyncio.wait([task])
    stream.close()
    assert turns >= 999


async def test_closing_ends_idle_connections() -> None:
    async with gate() as proxy, echo() as there:
        open_ones = [await tunnel(proxy, there.port) for _ in range(5)]
        silent, far = await proxy.connect()
        await proxy.egress.aclose()
        for reader, writer in [*open_ones, (silent, far)]:
            with contextlib.suppress(ConnectionResetError):
                assert await reader.read() == b""
            await hang_up(writer)
        later, far = await proxy.connect()
        with pytest.raises(ConnectionResetError):
            await later.read()
        await hang_up(far)


async def test_a_cancelled_connection_leaves_nothing() -> None:
    async with gate() as proxy, echo() as there:
        reader, writer = await tunnel(proxy, there.port)
        (serving,) = proxy.serving
        serving.cancel()
        await asyncio.wait([serving])
        assert serving.cancelled()
        assert proxy.egress._crowd._tasks == set()
        assert await reader.read() == b""
        await hang_up(writer)


async def test_one_that_is_cancelled_before_it_began_is_closed() -> None:
    mine, theirs = socket.socketpair()

    async def work(_stream: Stream) -> None:
        raise AssertionError("it has begun")

    with mine:
        task = asyncio.create_task(Crowd().serve(theirs, work))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled()
        assert theirs.fileno() == -1
        assert mine.recv(1) == b""


async def test_an_error_of_ours_ends_its_own_connection_only(caplog: pytest.LogCaptureFixture) -> None:
    def fail(_host: str, _port: int, _reason: str) -> None:
        raise RuntimeError("a bug")

    async with gate() as proxy, page() as there:
        proxy.egress._on_refused = fail
        with pytest.raises(ConnectionResetError):
            await proxy.ask(b"GET http://evil.test/ HTTP/1.1\r\n\r\n")
        assert "a bug" in caplog.text
        assert await proxy.ask(f"GET http://ok.test:{there.port}/ HTTP/1.1\r\nHost: x\r\n\r\n".encode()) == PAGE


def _pair() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        mine = socket.create_connection(listener.getsockname())
        return mine, listener.accept()[0]


async def test_a_descriptor_that_is_made_blocking_blocks_nobody() -> None:
    mine, theirs = _pair()
    held = theirs.dup()  # as somebody in the sandbox may hold it
    stream = Stream(theirs)
    held.setblocking(True)
    with mine, held:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await stream.read()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await stream.write(b"x" * (64 << 20))
        assert held.getblocking()
        mine.sendall(b"a" * 10)
        assert await stream.read() == b"a" * 10
        stream.close()


async def test_a_close_does_not_linger() -> None:
    mine, theirs = _pair()
    stream = Stream(theirs)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.3):
            await stream.write(b"x" * (64 << 20))
    theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 10_000))
    with mine:
        stream.close()  # nobody reads: this would take hours
        stream.close()
        stream.abort()


async def test_last_words_do_not_wait_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "FAREWELL", 0.05)
    mine, theirs = _pair()
    stream = Stream(theirs)
    with mine:
        await stream.farewell(b"bye")
        assert mine.recv(10) == b"bye"
        await stream.farewell(b"x" * (64 << 20))
    stream.close()


async def test_the_last_descriptors_are_the_programs_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many connections come out of sandboxes, a quarter of the descriptors is for all else."""
    async with gate() as proxy, echo() as there:
        _, first = await tunnel(proxy, there.port)
        number = first.get_extra_info("socket").fileno()
        for most, spared in ((number, False), (2 * number, True), (resource.RLIM_INFINITY, True)):
            monkeypatch.setattr(resource, "getrlimit", lambda _, most=most: (most, most))
            assert streams.is_affordable(first.get_extra_info("socket")) == spared
        monkeypatch.setattr(resource, "getrlimit", lambda _: (4, 4))
        far, writer = await proxy.connect()
        with pytest.raises(ConnectionResetError):
            await far.read()
        await hang_up(writer)
        monkeypatch.undo()
        # Nor does it connect to a site with one of those.
        monkeypatch.setattr(dialing, "is_affordable", lambda _: False)
        request = f"GET http://ok.test:{there.port}/ HTTP/1.1\r\n\r\n".encode()
        assert (await proxy.ask(request)).startswith(b"HTTP/1.1 502 ")
        await hang_up(first)
