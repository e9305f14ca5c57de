"""Of all that a sandbox may pass to the host, only TCP connections are taken."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable

import pytest

from agentd.executors.egress.arrivals import ArrivalRefused, arrival


def _open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True


@pytest.mark.parametrize(("family", "host"), [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_a_connection_is_taken_and_freed_of_what_was_set(family: socket.AddressFamily, host: str) -> None:
    try:
        listener = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("not installable: this machine has no IPv6")
    with listener, socket.create_connection(listener.getsockname()[:2]) as client:
        theirs, _ = listener.accept()
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 1000))
        os.set_inheritable(theirs.fileno(), True)
        fd = theirs.detach()
        with arrival(fd) as sock:
            assert sock.fileno() == fd and not sock.getblocking() and not sock.get_inheritable()
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_LINGER) == 0
            client.sendall(b"x")
            client.shutdown(socket.SHUT_WR)
            sock.setblocking(True)
            assert sock.recv(2) == b"x"


def _listener() -> int:
    sock = socket.create_server(("127.0.0.1", 0))
    return sock.detach()


def _connected_udp() -> int:
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.connect(("127.0.0.1", 9))
    return sock.detach()


def _connecting() -> int:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(4)]
        for sock in waiting:
            sock.setblocking(False)
            sock.connect_ex(address)
        last = waiting.pop().detach()
        for sock in waiting:
            sock.close()
    return last


def _unix() -> int:
    mine, theirs = socket.socketpair()
    mine.close()
    return theirs.detach()


def _pipe() -> int:
    mine, theirs = os.pipe()
    os.close(mine)
    return theirs


WRONG: dict[str, tuple[Callable[[], int], str]] = {
    "unix": (_unix, "AF_UNIX"),
    "unconnected": (lambda: socket.socket().detach(), "not connected"),
    "connecting": (_connecting, "not connected"),
    "listener": (_listener, "not connected"),
    "udp": (_connected_udp, "SOCK_DGRAM"),
    "netlink": (lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW).detach(), "AF_NETLINK"),
    "file": (lambda: os.open("/dev/null", os.O_RDWR), "not a socket"),
    "path": (lambda: os.open("/", os.O_PATH), "not a socket"),
    "pipe": (_pipe, "not a socket"),
}


@pytest.mark.parametrize(("make", "reason"), WRONG.values(), ids=list(WRONG))
def test_what_is_none_is_closed_and_said(make: Callable[[], int], reason: str) -> None:
    fd = make()
    with pytest.raises(ArrivalRefused, match=reason):
        arrival(fd)
    assert not _open(fd)
