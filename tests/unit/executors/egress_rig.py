"""A proxy on a real port, names that lead where a test says, and sites that keep what they were sent."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import TypedDict, Unpack

from agentd.executors.egress.names import Rules
from agentd.executors.egress.proxy import Egress

LOOPBACK = ("127.0.0.0/8",)
PAGE = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello"
Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


class Bounds(TypedDict, total=False):
    """The bounds of an `Egress`."""

    connect_timeout: float
    head_timeout: float
    at_once: int


class Names:
    """A resolver: each name has a list of answers, of which the last one stays. Others are at 127.0.0.1."""

    def __init__(self, answers: dict[str, list[list[str]]] | None = None) -> None:
        self.answers = answers or {}
        self.asked: list[str] = []

    async def __call__(self, name: str, port: int) -> list[str]:
        self.asked.append(name)
        answers = self.answers.get(name, [["127.0.0.1"]])
        return answers.pop(0) if len(answers) > 1 else answers[0]


@dataclass
class Gate:
    """A proxy that listens."""

    egress: Egress
    names: Names
    port: int = 0
    refused: list[tuple[str, int, str]] = field(default_factory=list)
    serving: set[asyncio.Task[None]] = field(default_factory=set)

    async def connect(self) -> Streams:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def ask(self, data: bytes) -> bytes:
        """Send bytes, and return everything that comes back."""
        reader, writer = await self.connect()
        writer.write(data)
        async with asyncio.timeout(20):
            answer = await reader.read()
        await hang_up(writer)
        return answer


@contextlib.asynccontextmanager
async def gate(
    allowed: Iterable[str] = ("ok.test",),
    denied: Iterable[str] = (),
    networks: Iterable[str] = LOOPBACK,
    answers: dict[str, list[list[str]]] | None = None,
    **bounds: Unpack[Bounds],
) -> AsyncIterator[Gate]:
    """Run a proxy; at the end nothing of it may be left."""
    names = Names(answers)
    refused: list[tuple[str, int, str]] = []
    egress = Egress(Rules(allowed, denied), networks, names, lambda *seen: refused.append(seen), **bounds)
    one = Gate(egress, names, refused=refused)
    async with listening(egress.serve, one.serving) as one.port:
        yield one
        await egress.aclose()
        await asyncio.gather(*one.serving, return_exceptions=True)
    left = [task.get_coro() for task in asyncio.all_tasks()]
    assert [coro for coro in left if "egress" in str(coro)] == []


@contextlib.asynccontextmanager
async def listening(
    serve: Callable[[socket.socket], Awaitable[None]], serving: set[asyncio.Task[None]]
) -> AsyncIterator[int]:
    """Accept connections on a port of the loopback, as the runner of a sandbox does, and pass each on."""
    loop = asyncio.get_running_loop()

    async def one(sock: socket.socket) -> None:
        await serve(sock)

    async def accept() -> None:
        while True:
            sock, _ = await loop.sock_accept(listener)
            task = asyncio.create_task(one(sock))
            serving.add(task)
            task.add_done_callback(serving.discard)

    with socket.create_server(("127.0.0.1", 0), backlog=512) as listener:
        listener.setblocking(False)
        task = asyncio.create_task(accept())
        try:
            yield listener.getsockname()[1]
        finally:
            task.cancel()
            await asyncio.wait([task])


@dataclass
class Site:
    """A server on the loopback."""

    port: int = 0
    seen: list[bytes] = field(default_factory=list)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def whole(self) -> bytes:
        """Return all that the first client sent, once it has ended."""
        async with asyncio.timeout(20):
            await self.ended.wait()
        return self.seen[0]


@contextlib.asynccontextmanager
async def site(handle: Handle) -> AsyncIterator[Site]:
    """Run a server; whatever its handler leaves open is closed."""
    one = Site()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await handle(reader, writer)
        one.ended.set()
        await hang_up(writer)

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=512)
    one.port = server.sockets[0].getsockname()[1]
    async with server:
        yield one


@contextlib.asynccontextmanager
async def page(body: int = 0, answer: bytes = PAGE) -> AsyncIterator[Site]:
    """Run a site that takes a head and so many bytes of body, keeps all that came, and answers."""
    kept: list[bytes] = []

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen = await reader.readuntil(b"\r\n\r\n")
        seen += await reader.readexactly(body)
        kept.append(seen)
        writer.write(answer)
        await writer.drain()
        writer.write_eof()
        kept[-1] += await reader.read()  # what else came, until the proxy ended

    async with site(handle) as one:
        one.seen = kept
        yield one


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[Site]:
    """Run a site that says everything again, and `bye` once the client has ended."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
        writer.write(b"bye")

    async with site(handle) as one:
        yield one


async def hang_up(writer: asyncio.StreamWriter) -> None:
    """Close a connection, broken or not."""
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()


def reset(writer: asyncio.StreamWriter) -> None:
    """Break a connection off, so that the other end sees an error."""
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def tunnel(one: Gate, port: int, name: str = "ok.test") -> Streams:
    """Open a tunnel by CONNECT."""
    reader, writer = await one.connect()
    writer.write(f"CONNECT {name}:{port} HTTP/1.1\r\nHost: {name}:{port}\r\n\r\n".encode())
    async with asyncio.timeout(20):
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    return reader, writer


def socks_request(name: bytes, port: int, command: int = 1, kind: int = 3) -> bytes:
    """Write a greeting and a request of SOCKS5."""
    host = bytes([len(name)]) + name if kind == 3 else name
    return b"\x05\x01\x00" + bytes([5, command, 0, kind]) + host + port.to_bytes(2, "big")
