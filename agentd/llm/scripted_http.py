"""As much of an HTTP/1.1 server as API clients use: blocking sockets, keep-alive, a thread a connection, SSE."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http import HTTPStatus

from agentd.core.errors import AgentdError

BATCH = 4096  # bytes of undelayed events that go out in one send
POLL = 0.005  # seconds between two looks at a held answer


class Disconnected(Exception):
    """The client closed the connection before the answer was complete."""


class CutOff(Exception):
    """The script wants the connection closed here."""


class NotHttp(AgentdError):
    """This is not an HTTP/1.1 request."""


@dataclass(frozen=True, slots=True)
class Incoming:
    """A request; header names are in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Connection:
    """One client's connection. Whatever the socket says about a client that has left becomes `Disconnected`."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._sock = sock
        self._buffer = bytearray()
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)

    def receive(self) -> Incoming | None:
        """Return the next request, or `None` when the client has closed."""
        while (end := self._buffer.find(b"\r\n\r\n")) < 0:
            if not self._fill():
                return None
        first, *lines = bytes(self._buffer[:end]).decode("latin-1").split("\r\n")
        del self._buffer[: end + 4]
        method, target, version = [*first.split(" "), "", ""][:3]
        if not version.startswith("HTTP/1."):
            raise NotHttp(repr(first[:80]))
        pairs = (line.partition(":") for line in lines)
        headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
        try:
            return Incoming(method, target, headers, self._body(headers))
        except ValueError as error:
            raise NotHttp(f"the length of its body: {error}") from error

    def send(self, data: bytes) -> None:
        try:
            self._sock.sendall(data)
        except OSError as error:
            raise Disconnected from error

    def check(self) -> None:
        """Raise `Disconnected` if the client has closed its side."""
        if self._poll.poll(0):
            self._peek()

    def wait(self, seconds: float) -> None:
        """Sleep, and raise `Disconnected` as soon as the client leaves."""
        until = time.monotonic() + seconds
        if self._poll.poll(seconds * 1000):
            self._peek()
            time.sleep(max(0.0, until - time.monotonic()))

    def hold(self, gate: threading.Event) -> None:
        """Wait until the gate is open, and raise `Disconnected` as soon as the client leaves."""
        while not gate.wait(POLL):
            self.check()

    def shut(self) -> None:
        """Close both directions: another thread that reads or writes wakes up."""
        with contextlib.suppress(OSError):  # the client may be faster
            self._sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.shut()
        self._sock.close()

    def _peek(self) -> None:
        try:
            if self._sock.recv(1, socket.MSG_PEEK) == b"":
                raise Disconnected
        except OSError as error:
            raise Disconnected from error

    def _fill(self) -> bool:
        try:
            data = self._sock.recv(65536)
        except OSError:
            return False
        self._buffer += data
        return bool(data)

    def _take(self, size: int) -> bytes:
        while len(self._buffer) < size:
            if not self._fill():
                raise Disconnected
        data = bytes(self._buffer[:size])
        del self._buffer[:size]
        return data

    def _line(self) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if not self._fill():
                raise Disconnected
        return self._take(end + 2)

    def _body(self, headers: Mapping[str, str]) -> bytes:
        if headers.get("expect", "").lower() == "100-continue":
            self.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        if headers.get("transfer-encoding", "").lower() != "chunked":
            return self._take(int(headers.get("content-length", 0)))
        chunks: list[bytes] = []
        while size := int(self._line().partition(b";")[0], 16):
            chunks.append(self._take(size))
            self._line()
        while self._line() != b"\r\n":  # trailers
            pass
        return b"".join(chunks)


def head(status: int, headers: Mapping[str, str]) -> bytes:
    """Return the status line and the headers, with the empty line after them."""
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Scripted"
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode("latin-1")


class EventStream:
    """A body that is sent piece by piece as HTTP chunks. Undelayed events share a send; `flush` sends at once."""

    def __init__(self, connection: Connection, start: bytes) -> None:
        self.connection = connection
        self._start = start
        self._events: list[bytes] = []
        self._size = 0

    def put(self, event: bytes) -> None:
        self._events.append(event)
        self._size += len(event)
        if self._size >= BATCH:
            self.flush()

    def flush(self, end: bytes = b"") -> None:
        self.connection.check()
        data = b"".join(self._events)
        chunk = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
        self.connection.send(self._start + chunk + end)
        self._start = b""
        self._events.clear()
        self._size = 0

    def finish(self) -> None:
        """Send what is left together with the end mark, so that a client reads both at once."""
        self.flush(b"0\r\n\r\n")


class Listener:
    """Accepts on a loopback port and runs `serve(connection)` in a daemon thread for each client."""

    def __init__(self, serve: Callable[[Connection], None], port: int = 0) -> None:
        self._serve = serve
        self._socket = socket.create_server(("127.0.0.1", port), backlog=512)
        self.port: int = self._socket.getsockname()[1]
        self.accepted = 0
        self._open: dict[threading.Thread, Connection] = {}
        self._lock = threading.Lock()
        self._closing = False
        self._thread = threading.Thread(target=self._accept, name=f"scripted-{self.port}", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening, close every connection, and wait for their threads."""
        if self._closing:
            return
        self._closing = True
        with socket.create_connection(("127.0.0.1", self.port)):  # wakes the blocking accept on every platform
            self._thread.join()
        self._socket.close()
        with self._lock:
            threads = dict(self._open)
        for connection in threads.values():
            connection.shut()
        for thread in threads:
            thread.join(5)

    def _accept(self) -> None:
        while True:
            sock, _ = self._socket.accept()
            if self._closing:
                sock.close()
                return
            self.accepted += 1
            connection = Connection(sock)
            thread = threading.Thread(target=self._run, args=(connection,), daemon=True)
            with self._lock:
                self._open[thread] = connection
            thread.start()

    def _run(self, connection: Connection) -> None:
        try:
            self._serve(connection)
        finally:
            connection.close()
            with self._lock:
                self._open.pop(threading.current_thread(), None)
