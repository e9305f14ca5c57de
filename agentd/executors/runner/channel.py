"""The way to the host: an inherited socket, which descriptors can travel along, or standard input and output."""

from __future__ import annotations

import _socket
import array
import os

from .wire import SCM_RIGHTS, SOL_SOCKET, received_fds

TYPE_CHECKING = False  # `typing` takes a millisecond of every start
if TYPE_CHECKING:
    from typing import Protocol
else:
    Protocol = object


PIECE = 1 << 16  # below what malloc would map anew each time
_CONTROL = _socket.CMSG_SPACE(256)


class Channel(Protocol):
    """A stream of bytes to the host and back, that never blocks.

    `receive` gives what has come, with descriptors; no bytes at all mean that the host is gone. Both raise
    `BlockingIOError` when nothing can be done now.
    """

    reads: int
    writes: int
    passes_fds: bool

    def receive(self) -> tuple[bytes, list[int]]: ...

    def send(self, data: bytes | bytearray, fd: int) -> int: ...

    def close(self) -> None: ...


def open_channel(way: str) -> Channel:
    """Return the channel that the command line names: `-`, or a descriptor."""
    return StreamChannel() if way == "-" else SocketChannel(int(way))


class SocketChannel:
    """An inherited end of a socket pair."""

    passes_fds = True

    def __init__(self, given: int) -> None:
        # A host that has many files open has given it a number that blocks with a limit on theirs may not have.
        fd = os.dup(given)
        os.close(given)
        self._sock = _socket.socket(fileno=fd)
        self._sock.setblocking(False)
        self.reads = self.writes = fd

    def receive(self) -> tuple[bytes, list[int]]:
        piece, ancillary, _, _ = self._sock.recvmsg(PIECE, _CONTROL, _socket.MSG_CMSG_CLOEXEC)
        return piece, received_fds(ancillary)

    def send(self, data: bytes | bytearray, fd: int) -> int:
        """Send what there is room for, with a descriptor unless it is -1."""
        if fd < 0:
            return self._sock.send(data)
        return self._sock.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, array.array("i", [fd]))])

    def close(self) -> None:
        self._sock.close()


class StreamChannel:
    """Standard input and output, out of the way of the blocks to come."""

    passes_fds = False

    def __init__(self) -> None:
        self.reads, self.writes = os.dup(0), os.dup(1)
        null = os.open(os.devnull, os.O_RDWR)
        os.dup2(null, 0)
        os.dup2(null, 1)
        os.close(null)
        os.set_blocking(self.reads, False)
        os.set_blocking(self.writes, False)

    def receive(self) -> tuple[bytes, list[int]]:
        return os.read(self.reads, PIECE), []

    def send(self, data: bytes | bytearray, fd: int) -> int:
        return os.write(self.writes, data)

    def close(self) -> None:
        os.close(self.reads)
        os.close(self.writes)
