"""Ways out of a sandbox that descriptors cannot be sent into: each is a connection to a socket of the host."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
import weakref
from collections.abc import Callable
from pathlib import Path

from agentd.core.errors import ExecutorUnavailable
from agentd.core.ids import new_token
from agentd.core.protocols import Door
from agentd.executors import scratch
from agentd.executors.egress.streams import is_affordable
from agentd.executors.toolpipe import SocketEnds, ToolPipe

FILE = "door"
_BACKLOG = 128
_LONGEST_KEY = 256
_AT_ONCE = 256
_PAUSE = 0.1


class Ticket:
    """A block's right to call tools: with its key it may connect once. Everything here is on the event loop."""

    def __init__(self, doorway: Doorway, door: Door) -> None:
        self.key = new_token()
        self._doorway = doorway
        self._door = door
        self._pipe: ToolPipe | None = None

    def admit(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> None:
        """Serve the block's connection."""
        self._pipe = ToolPipe(loop, self._door, SocketEnds(sock))

    def end(self) -> None:
        """Answer nothing more."""
        self._doorway.revoke(self)
        if self._pipe is not None:
            self._pipe.end()


class Doorway:
    """A Unix socket in a folder of its own. Who connects says a key first: a block's, or `net` with a port.

    `net_key` is the runner's own: with it a connection that somebody inside has made to a port of the runner's is
    handed on, to `on_arrival`.
    """

    def __init__(self, on_arrival: Callable[[int, socket.socket], None] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        self._on_arrival = on_arrival
        self.folder = scratch.make("door", len(FILE))
        self._removal = weakref.finalize(self, _remove, self.folder, os.getpid())  # for who forgets to close
        self.path = self.folder / FILE
        self.net_key = new_token()
        self._tickets: dict[str, Ticket] = {}
        self._strangers: dict[socket.socket, None] = {}  # the one that came first is the first
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._sock.bind(str(self.path))
            self._sock.listen(_BACKLOG)
        except OSError as error:
            self._sock.close()
            self._removal()
            raise ExecutorUnavailable(f"no socket can be made at {self.path}: {error.strerror}") from error
        self._listen()

    def issue(self, door: Door) -> Ticket:
        """Return a ticket for one block."""
        ticket = Ticket(self, door)
        self._tickets[ticket.key] = ticket
        return ticket

    def revoke(self, ticket: Ticket) -> None:
        """Let nobody in any more with this ticket."""
        self._tickets.pop(ticket.key, None)

    def close(self) -> None:
        """Close the socket and remove it; what has been let in is closed by those who serve it."""
        if self._sock.fileno() < 0:
            return
        if not self._loop.is_closed():
            for sock in (self._sock, *self._strangers):
                self._loop.remove_reader(sock)
        for sock in (self._sock, *self._strangers):
            sock.close()
        self._strangers.clear()
        self._removal()

    def _listen(self) -> None:
        if self._sock.fileno() >= 0:
            self._loop.add_reader(self._sock, self._accept)

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except (BlockingIOError, ConnectionAbortedError):
            return
        except OSError:  # no descriptor is left, and who wants to come in would be told of without end
            self._loop.remove_reader(self._sock)
            self._loop.call_later(_PAUSE, self._listen)
            return
        if not is_affordable(sock):
            sock.close()
            return
        if len(self._strangers) >= _AT_ONCE:
            # Who has a key says it at once: one that says nothing keeps nobody out.
            self._dismiss(next(iter(self._strangers))).close()
        sock.setblocking(False)
        self._strangers[sock] = None
        self._loop.add_reader(sock, self._greet, sock)

    def _dismiss(self, sock: socket.socket) -> socket.socket:
        del self._strangers[sock]
        self._loop.remove_reader(sock)
        return sock

    def _greet(self, sock: socket.socket) -> None:
        """Read the key and no byte more: what follows is for whoever serves the connection."""
        try:
            start = sock.recv(_LONGEST_KEY, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            start = b""
        end = start.find(b"\n")  # the runner sends its key in one piece
        self._dismiss(sock)
        if end < 0:
            sock.close()
            return
        sock.recv(end + 1)
        self._admit(start[:end].decode("ascii", "replace"), sock)

    def _admit(self, key: str, sock: socket.socket) -> None:
        ticket = self._tickets.pop(key, None)
        if ticket is not None:
            ticket.admit(self._loop, sock)
            return
        secret, _, port = key.partition(" ")
        if secret == self.net_key and port.isdigit() and self._on_arrival is not None:
            self._on_arrival(int(port), sock)
            return
        with contextlib.suppress(OSError):
            sock.close()


def _remove(folder: Path, owner: int) -> None:
    if os.getpid() == owner:  # and not a child that was forked from it
        shutil.rmtree(folder, ignore_errors=True)
