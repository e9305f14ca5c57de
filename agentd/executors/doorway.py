"""Ways out of a sandbox that descriptors cannot be sent into: each is a connection to a socket of the host."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path

from agentd.core.ids import new_token
from agentd.core.protocols import Door
from agentd.executors.toolpipe import SocketEnds, ToolPipe

FILE = "door"
_BACKLOG = 128
_LONGEST_KEY = 256
_AT_ONCE = 256
NET = "net"


class Ticket:
    """A block's right to call tools: with its key it may connect once. Everything here is on the event loop."""

    theirs: tuple[int, ...] = ()

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
        self.folder = Path(tempfile.mkdtemp(prefix="agentd-door-"))
        self.path = self.folder / FILE
        self.net_key = new_token()
        self._tickets: dict[str, Ticket] = {}
        self._strangers: set[socket.socket] = set()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self._sock.bind(str(self.path))
        self._sock.listen(_BACKLOG)
        self._loop.add_reader(self._sock, self._accept)

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
        shutil.rmtree(self.folder, ignore_errors=True)

    def _accept(self) -> None:
        try:
            sock, _ = self._sock.accept()
        except OSError:
            return
        if len(self._strangers) >= _AT_ONCE:
            sock.close()
            return
        sock.setblocking(False)
        self._strangers.add(sock)
        self._loop.add_reader(sock, self._greet, sock)

    def _greet(self, sock: socket.socket) -> None:
        """Read the key and no byte more: what follows is for whoever serves the connection."""
        try:
            start = sock.recv(_LONGEST_KEY, socket.MSG_PEEK)
        except BlockingIOError:
            return
        except OSError:
            start = b""
        end = start.find(b"\n")  # the runner sends its key in one piece
        self._strangers.discard(sock)
        self._loop.remove_reader(sock)
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
