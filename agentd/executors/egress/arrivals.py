"""What a sandbox passes to the host: connections, or nothing."""

from __future__ import annotations

import os
import socket
import struct


class ArrivalRefused(ValueError):
    """A sandbox has passed something that is no TCP connection; it is closed."""


def arrival(fd: int) -> socket.socket:
    """Return the connection that a sandbox has passed as the descriptor `fd`, which is the socket's from now on.

    Raises `ArrivalRefused` for whatever else it is, and closes it.
    """
    try:
        sock = socket.socket(fileno=fd)
    except OSError as error:
        os.close(fd)
        raise ArrivalRefused("a descriptor from the sandbox is not a socket") from error
    try:
        _check(sock)
        os.set_inheritable(sock.fileno(), False)
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 0, 0))
    except (OSError, ValueError) as error:
        sock.close()
        raise ArrivalRefused(f"a socket from the sandbox is not a TCP connection: {error}") from error
    return sock


def _check(sock: socket.socket) -> None:
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        raise ValueError(f"its family is {_name(sock.family)}")
    if sock.type != socket.SOCK_STREAM or sock.proto != socket.IPPROTO_TCP:
        raise ValueError(f"its type is {_name(sock.type)}, its protocol {sock.proto}")
    sock.getpeername()  # fails where nobody is connected: a listener, too


def _name(value: int) -> str:
    return str(getattr(value, "name", value))
