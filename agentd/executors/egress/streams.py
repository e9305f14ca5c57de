"""Connections with somebody hostile at the other end, and the copying between two of them."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import socket
import struct
from collections.abc import Callable

PIECE = 1 << 16
FAREWELL = 2.0
_INTERNET = (socket.AF_INET, socket.AF_INET6)
# As much of the program's descriptors as its sandboxes may take together, beside what else is open.
_SHARE = 0.75


def is_affordable(sock: socket.socket) -> bool:
    """Tell whether the program has descriptors to spare beside this one, which somebody in a sandbox has asked for.

    The system gives the lowest number that is free: a high one tells that most are taken.
    """
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return most == resource.RLIM_INFINITY or sock.fileno() < most * _SHARE


class Stream:
    """A stream socket, read and written without ever blocking the event loop; it buffers only what was peeked at.

    Whoever passed the descriptor may still hold it, and undo O_NONBLOCK or have `close` linger: nothing here trusts
    either. One task may read while another one writes.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        if sock.family in _INTERNET:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._fd = sock.fileno()
        self._loop = asyncio.get_running_loop()
        self._ahead = bytearray()

    async def read(self, most: int = PIECE) -> bytes:
        """Return some bytes, at most so many; none when the peer has ended. Raises `OSError` when it went away."""
        if self._ahead:
            piece = bytes(self._ahead[:most])
            del self._ahead[:most]
            return piece
        return await self._receive(most)

    async def peek(self) -> bytes:
        """Return the bytes that come next, at least one unless the peer has ended, and leave them there."""
        if not self._ahead:
            self._ahead += await self._receive(PIECE)
        return bytes(self._ahead)

    async def read_exactly(self, count: int) -> bytes:
        """Return so many bytes; raises `EOFError` when the peer ends before."""
        while len(self._ahead) < count:
            await self._read_ahead()
        return await self.read(count)

    async def read_line(self, most: int) -> bytes:
        r"""Return a line with its `\n`, or without when it would be longer than `most` bytes; raises `EOFError`."""
        seen = 0
        while (end := self._ahead.find(b"\n", seen, most) + 1) == 0:
            seen = len(self._ahead)
            if seen >= most:
                return await self.read(most)
            await self._read_ahead()
        return await self.read(end)

    async def _read_ahead(self) -> None:
        piece = await self._receive(PIECE)
        if not piece:
            raise EOFError
        self._ahead += piece

    async def _receive(self, most: int) -> bytes:
        await asyncio.sleep(0)  # a peer that always has more must not keep the event loop to itself
        while True:
            try:
                return self._sock.recv(most, socket.MSG_DONTWAIT)
            except BlockingIOError:
                await self._turn(self._loop.add_reader, self._loop.remove_reader)

    async def write(self, data: bytes) -> None:
        """Return when the system has taken all of it. Raises `OSError` when the peer went away."""
        left = memoryview(data)
        while left:
            try:
                left = left[self._sock.send(left, socket.MSG_DONTWAIT) :]
            except BlockingIOError:
                await self._turn(self._loop.add_writer, self._loop.remove_writer)

    async def _turn(self, add: Callable[..., object], remove: Callable[[int], object]) -> None:
        turn: asyncio.Future[None] = self._loop.create_future()
        add(self._fd, _come, turn)
        try:
            await turn
        finally:
            if self._sock.fileno() != -1:
                remove(self._fd)

    def end_writing(self) -> None:
        """Tell the peer that no more is written."""
        with contextlib.suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    async def farewell(self, data: bytes = b"") -> None:
        """Write last words and wait a little for the peer to end: a close with bytes unread would take them back."""
        with contextlib.suppress(OSError):  # a time-out is one
            async with asyncio.timeout(FAREWELL):
                await self.write(data)
                self.end_writing()
                while await self.read():
                    pass

    def close(self) -> None:
        """Close, now and without waiting; what was written still goes out."""
        self._close(struct.pack("ii", 0, 0))

    def abort(self) -> None:
        """Close so that the peer sees an error, and not an end."""
        self._close(struct.pack("ii", 1, 0))

    def _close(self, linger: bytes) -> None:
        if self._sock.fileno() == -1:
            return
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        with contextlib.suppress(OSError):
            self._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self._sock.close()


def _come(turn: asyncio.Future[None]) -> None:
    if not turn.done():
        turn.set_result(None)


async def copy(source: Stream, sink: Stream) -> None:
    """Copy until the source ends, and tell the sink; a sink that takes no more ends it, too.

    Raises `OSError` when the source broke off: then the sink must not see a proper end.
    """
    while piece := await source.read():
        try:
            await sink.write(piece)
        except OSError:
            return
    sink.end_writing()


async def join(left: Stream, right: Stream) -> None:
    """Copy both ways until both have ended. When one breaks off, both are aborted."""
    try:
        async with asyncio.TaskGroup() as both:
            both.create_task(copy(left, right))
            await copy(right, left)
    except* OSError:
        left.abort()
        right.abort()
