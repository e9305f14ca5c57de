"""Services of the host that no sandbox is to reach; they remember who spoke to them."""

from __future__ import annotations

import contextlib
import os
import re
import selectors
import socket
import threading
from pathlib import Path

_SAID = re.compile(rb"said:([\w-]+)")
_ANSWER = b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"


class Listeners:
    """TCP, UDP and Unix sockets, served by one thread until `close`."""

    def __init__(self) -> None:
        self.heard: set[str] = set()
        self._sockets: list[socket.socket] = []
        self._selector = selectors.DefaultSelector()
        self._wake, self._bell = os.pipe()
        self._selector.register(self._wake, selectors.EVENT_READ)
        self._thread = threading.Thread(target=self._serve, name="agentd-battery", daemon=True)

    def tcp(self, host: str, port: int = 0) -> int:
        """Listen on an address; return the port, 0 when that cannot be done."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        return self._open(family, socket.SOCK_STREAM, (host, port))

    def udp(self, host: str, port: int = 0) -> int:
        """Wait for datagrams on an address; return the port, 0 when that cannot be done."""
        return self._open(socket.AF_INET, socket.SOCK_DGRAM, (host, port))

    def unix(self, address: str | Path) -> bool:
        """Listen on a path, or with a first NUL on an abstract name."""
        return self._open(socket.AF_UNIX, socket.SOCK_STREAM, str(address)) >= 0

    def _open(self, family: int, kind: int, address: tuple[str, int] | str) -> int:
        sock = socket.socket(family, kind)
        try:
            sock.bind(address)
            if kind == socket.SOCK_STREAM:
                sock.listen(16)
        except OSError:
            sock.close()
            return 0 if family != socket.AF_UNIX else -1
        sock.setblocking(False)
        self._sockets.append(sock)
        self._selector.register(sock, selectors.EVENT_READ)
        return 0 if family == socket.AF_UNIX else int(sock.getsockname()[1])

    def start(self) -> None:
        """Begin to answer."""
        self._thread.start()

    def close(self) -> None:
        """Stop, and close everything."""
        os.write(self._bell, b"x")
        if self._thread.ident:
            self._thread.join()
        self._selector.close()
        for sock in self._sockets:
            sock.close()
        os.close(self._wake)
        os.close(self._bell)

    def _serve(self) -> None:
        while True:
            for key, _ in self._selector.select():
                sock = key.fileobj
                if not isinstance(sock, socket.socket):
                    return
                with contextlib.suppress(OSError):
                    self._hear(sock)

    def _hear(self, sock: socket.socket) -> None:
        if sock.type == socket.SOCK_DGRAM:
            data, sender = sock.recvfrom(1024)
            self._note(data)
            sock.sendto(b"yes", sender)
            return
        connection, _ = sock.accept()
        with connection:
            connection.settimeout(1.0)
            self._note(connection.recv(4096))
            connection.sendall(_ANSWER)

    def _note(self, data: bytes) -> None:
        self.heard.update(name.decode() for name in _SAID.findall(data))


def other_address() -> str:
    """Return an address of this machine that is not its loopback's, `""` when there is none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            sock.connect(("192.0.2.1", 9))  # nothing is sent: this only asks which address would be used
        except OSError:
            return ""
        address = str(sock.getsockname()[0])
    return "" if address.startswith("127.") else address
