"""The two ends of a transport that the SDK holds, without a change of tasks for each message."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import anyio
from mcp.shared.message import SessionMessage

MAX_WAITING = 64

Item = SessionMessage | Exception


class _End:
    """What both ends have in common: they are closed when they are left."""

    closed = False

    async def aclose(self) -> None:
        self.closed = True

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc_val: BaseException | None, exc_tb: TracebackType | None
    ) -> bool | None:
        await self.aclose()
        return None


class Incoming(_End):
    """Messages of the server, in order; `put` waits while there are many that nobody has taken."""

    def __init__(self) -> None:
        self._items: deque[Item] = deque()
        self._filled = asyncio.Event()
        self._emptied = asyncio.Event()
        self._ended = False

    async def put(self, item: Item) -> None:
        """Hand over a message; it is dropped when nobody will take it any more."""
        while len(self._items) >= MAX_WAITING and not self.closed:
            self._emptied.clear()
            await self._emptied.wait()
        if not self.closed:
            self._items.append(item)
            self._filled.set()

    def end(self) -> None:
        """Say that there will be no more."""
        self._ended = True
        self._filled.set()

    async def receive(self) -> Item:
        while not self._items:
            if self._ended or self.closed:
                raise anyio.EndOfStream
            self._filled.clear()
            await self._filled.wait()
        self._emptied.set()
        return self._items.popleft()

    async def aclose(self) -> None:
        self.closed = True
        self._filled.set()
        self._emptied.set()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Item:
        try:
            return await self.receive()
        except anyio.EndOfStream:
            raise StopAsyncIteration from None


class Outgoing(_End):
    """Messages for the server: `write` writes one, in the task of whoever sends it."""

    def __init__(self, write: Callable[[SessionMessage], Awaitable[None]]) -> None:
        self._write = write

    async def send(self, item: SessionMessage, /) -> None:
        if self.closed:
            raise anyio.ClosedResourceError
        await self._write(item)
