"""Connections of a sandbox that go to a Unix socket of the host."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.executors.egress.relay import Relay, relay
from tests.unit.executors.egress_rig import hang_up, listening


@contextlib.asynccontextmanager
async def _echo(path: Path) -> AsyncIterator[None]:
    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while piece := await reader.read(1 << 16):
                writer.write(piece)
                await writer.drain()
            writer.write(b"bye")
        await hang_up(writer)

    server = await asyncio.start_unix_server(handle, path, backlog=1)
    async with server:
        yield


async def test_bytes_go_both_ways_and_each_end_apart(tmp_path: Path) -> None:
    serving: set[asyncio.Task[None]] = set()
    sent = bytes(range(256)) * 20_000
    async with _echo(tmp_path / "s"), listening(lambda sock: relay(sock, tmp_path / "s"), serving) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        writer.write_eof()
        assert await reader.read() == sent + b"bye"
        await hang_up(writer)
        await asyncio.gather(*serving)


async def test_many_wait_for_a_queue_that_is_full(tmp_path: Path) -> None:
    serving: set[asyncio.Task[None]] = set()
    bridge = Relay(tmp_path / "s")
    async with _echo(tmp_path / "s"), listening(bridge.serve, serving) as port:

        async def one(number: int) -> bytes:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"%d" % number)
            writer.write_eof()
            answer = await reader.read()
            await hang_up(writer)
            return answer

        answers = await asyncio.gather(*(one(number) for number in range(100)))
        assert answers == [b"%dbye" % number for number in range(100)]
        await bridge.aclose()


async def test_nobody_there_is_a_reset_and_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    serving: set[asyncio.Task[None]] = set()
    async with listening(lambda sock: relay(sock, tmp_path / "none"), serving) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with pytest.raises(ConnectionResetError):
            await reader.read()
        await hang_up(writer)
    assert "cannot be relayed" in caplog.text


async def test_closing_and_cancelling_leave_nothing(tmp_path: Path) -> None:
    serving: set[asyncio.Task[None]] = set()
    bridge = Relay(tmp_path / "s")
    async with _echo(tmp_path / "s"), listening(bridge.serve, serving) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"a")
        assert await reader.read(1) == b"a"
        await bridge.aclose()
        assert await reader.read() == b""
        await hang_up(writer)
        await asyncio.gather(*serving)
    mine, theirs = socket.socketpair()
    async with _echo(tmp_path / "t"):
        task = asyncio.create_task(relay(theirs, tmp_path / "t"))
        reader, writer = await asyncio.open_connection(sock=mine)
        writer.write(b"b")
        assert await reader.read(1) == b"b"
        task.cancel()
        await asyncio.wait([task])
        assert task.cancelled() and theirs.fileno() == -1
        assert await reader.read() == b""
        await hang_up(writer)


async def test_who_connects_to_nobody_again_and_again_fills_no_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    one = Relay(tmp_path / "none")
    async with listening(one.serve, set()) as port:
        for _ in range(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.suppress(ConnectionResetError):
                await reader.read()
            await hang_up(writer)
    assert [record.levelname for record in caplog.records if "cannot be relayed" in record.message] == ["WARNING"]
