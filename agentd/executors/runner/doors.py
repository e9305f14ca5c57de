"""Ways to the host besides its socket: a connection a block for its tool calls, and ports that lead out."""

from __future__ import annotations

import _socket
import os
import select
from collections.abc import Callable

from .processes import tag_of, wear
from .signals import signal

Listening = _socket.socket
# What `socket.socket` is made of; it has no type.
_accept: Callable[[Listening], tuple[int, object]] = getattr(_socket.socket, "_accept")  # noqa: B009
_HOST = 2  # the address of the machine under a virtual one
_PIECE = 1 << 16
_BACKLOG = 128


class Door:
    """Where the host listens: the path of a Unix socket, or a port of the machine under this virtual one."""

    def __init__(self, path: str = "", port: int = 0, net_key: str = "") -> None:
        self.path = path
        self.port = port
        self.net_key = net_key

    def connect(self, key: str) -> int:
        """Connect, say the key, and return the descriptor."""
        family = _socket.AF_UNIX if self.path else _socket.AF_VSOCK
        sock = _socket.socket(family, _socket.SOCK_STREAM)
        try:
            sock.connect(self.path or (_HOST, self.port))
            sock.sendall(key.encode() + b"\n")
        except OSError:
            sock.close()
            raise
        return sock.detach()

    def tools(self, key: str) -> tuple[int, int]:
        """Return the two ends that a block calls its tools by."""
        fd = self.connect(key)
        return fd, os.dup(fd)


def listen(port: int) -> Listening:
    """Listen on this port of our own loopback."""
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM)
    try:
        sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    return sock


def accept(sock: Listening) -> int:
    """Return the descriptor of the next connection; raises `OSError` when there is none."""
    fd, _ = _accept(sock)
    os.set_inheritable(fd, False)
    return fd


def forward(door: Door, port: int, fd: int, top: int) -> None:
    """Have a process of its own copy between a connection and the host, until both have ended."""
    pid = os.fork()
    if pid:
        return
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        wear(tag_of(0, 1))  # it belongs to no block, and ends with none
        client = os.dup2(fd, 3) if fd != 3 else fd
        os.closerange(4, max(top, fd) + 1)
        _copy(client, door.connect(f"{door.net_key} {port}"))
    finally:
        os._exit(0)


def _copy(one: int, other: int) -> None:
    ends = {one: _socket.socket(fileno=other), other: _socket.socket(fileno=one)}
    poll = select.poll()
    for fd in ends:
        os.set_blocking(fd, True)
        poll.register(fd, select.POLLIN)
    left = {one, other}
    while left:
        for fd, _ in poll.poll():
            piece = os.read(fd, _PIECE)
            if piece:
                ends[fd].sendall(piece)
            else:
                poll.unregister(fd)
                left.discard(fd)
                ends[fd].shutdown(_socket.SHUT_WR)
