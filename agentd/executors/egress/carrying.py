"""What a client may ask for, once it is granted: a tunnel, or one exchange of plain HTTP."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass
from typing import Protocol

from agentd.executors.egress.streams import PIECE, Stream, copy, join

_CHUNK_SIZE = re.compile(rb"([0-9a-fA-F]{1,15})\r\n")
_LONGEST_LINE = 8192
_MOST_TRAILERS = 64


class Request(Protocol):
    """A request for a host, which the client named: nothing is known of that name yet."""

    @property
    def host(self) -> str:
        """The name as the client wrote it."""
        ...

    @property
    def port(self) -> int:
        """The port."""
        ...

    async def carry(self, client: Stream, server: Stream) -> None:
        """Serve the client, connected to the host."""
        ...


@dataclass(frozen=True, slots=True)
class Tunnel:
    """Bytes both ways, after the client was told `welcome`."""

    host: str
    port: int
    welcome: bytes

    async def carry(self, client: Stream, server: Stream) -> None:
        """Copy both ways until both have ended."""
        await client.write(self.welcome)
        await join(client, server)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its response; of the request exactly `length` bytes of body, or chunks when that is `None`."""

    host: str
    port: int
    head: bytes
    length: int | None

    async def carry(self, client: Stream, server: Stream) -> None:
        """Send the request, and copy what comes back until the server ends it."""
        try:
            async with asyncio.TaskGroup() as both:
                request = both.create_task(self._send(client, server))
                await copy(server, client)
                request.cancel()
        except* (OSError, EOFError):  # the response, or the request's body, is not whole: neither may look so
            client.abort()
            server.abort()
        await client.farewell()

    async def _send(self, client: Stream, server: Stream) -> None:
        body = _Body(client, server)
        await body.send(self.head)
        if self.length is None:
            await body.chunks()
        else:
            await body.copy(self.length)
        # Whatever else the client sends is left where it is: one request a connection.
        if not await client.read(1):
            server.end_writing()


class _Body:
    """Copies a body. A server that takes no more of it may have answered: that is no error, the rest is let go."""

    def __init__(self, client: Stream, server: Stream) -> None:
        self._client = client
        self._server = server
        self._refused = False

    async def send(self, data: bytes) -> None:
        if not self._refused:
            try:
                await self._server.write(data)
            except OSError:
                self._refused = True

    async def copy(self, count: int) -> None:
        while count and not self._refused:
            piece = await self._client.read(min(PIECE, count))
            if not piece:
                raise EOFError
            count -= len(piece)
            await self.send(piece)

    async def chunks(self) -> None:
        """Copy chunks, written anew, without extensions and trailers."""
        while not self._refused:
            await asyncio.sleep(0)  # thousands of small ones may have come at once
            size = _CHUNK_SIZE.fullmatch(await self._client.read_line(_LONGEST_LINE))
            if size is None:
                raise EOFError("a chunk has no proper size")
            count = int(size[1], 16)
            if count == 0:
                await self._end()
                return
            await self.send(f"{count:x}\r\n".encode())
            await self.copy(count)
            if not self._refused and await self._client.read_exactly(2) != b"\r\n":
                raise EOFError("a chunk has no proper end")
            await self.send(b"\r\n")

    async def _end(self) -> None:
        for _ in range(_MOST_TRAILERS):
            if await self._client.read_line(_LONGEST_LINE) == b"\r\n":
                await self.send(b"0\r\n\r\n")
                return
        raise EOFError("the trailers have no end")
