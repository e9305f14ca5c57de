"""The runner's loop: one thread, the host on one socket, a pipe from every block."""

from __future__ import annotations

import _socket
import os
import resource
import select
import signal
import sys
import time
from collections.abc import Callable, Mapping

from . import python
from .blocks import Blocks
from .state import Settings
from .wire import FrameReader, Header, pack
from .worker import received_fds

_OUTBOX_FULL = 8 << 20
PIECE = 1 << 16  # below what malloc would map anew each time
_CONTROL = _socket.CMSG_SPACE(256)


class Server:
    """Reads what the host asks, hands it to `Blocks`, and sends what comes of it."""

    def __init__(self, sock: _socket.socket) -> None:
        self._sock = sock
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._reader = FrameReader()
        self._fds: list[int] = []
        self._outbox = bytearray()
        self._blocks: Blocks | None = None
        self._alive = True
        self._waiting = False

    def watch(self, fd: int, handler: Callable[[], None]) -> None:
        """Call `handler` whenever `fd` can be read."""
        self._handlers[fd] = handler
        self._poll.register(fd, select.EPOLLIN)

    def forget(self, fd: int) -> None:
        """Stop watching `fd`."""
        if self._handlers.pop(fd, None) is not None:
            self._poll.unregister(fd)

    def send(self, header: Mapping[str, object], payload: bytes = b"") -> None:
        """Send a frame to the host at the end of this round."""
        self._outbox += pack(header, payload)

    @property
    def congested(self) -> bool:
        """Whether the host does not take what it is sent."""
        return len(self._outbox) > _OUTBOX_FULL

    @property
    def top(self) -> int:
        """The highest descriptor that is watched."""
        return max(self._handlers)

    def run(self) -> None:
        """Serve until the host closes its end."""
        wake, bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake)
        self._sock.setblocking(False)
        self.watch(self._sock.fileno(), self._on_host)
        self.watch(wake, lambda: self._on_children(wake))
        while self._alive:
            self._round()

    def _round(self) -> None:
        blocks = self._blocks
        due = blocks.due() if blocks else None
        timeout = None if due is None else max(0.0, due - time.monotonic())
        for fd, event in self._poll.poll(timeout, 64):
            handler = self._handlers.get(fd)
            if handler is not None and event & ~select.EPOLLOUT:
                handler()
        if self._blocks is not None:
            self._blocks.tick(time.monotonic())
        if self._outbox:
            self._flush()
        if blocks is not None:
            blocks.idle()

    def _flush(self) -> None:
        try:
            sent = self._sock.send(self._outbox)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._alive = False
            return
        del self._outbox[:sent]
        if self._waiting != bool(self._outbox):
            self._waiting = not self._waiting
            self._poll.modify(self._sock.fileno(), select.EPOLLIN | (select.EPOLLOUT if self._waiting else 0))

    def _on_host(self) -> None:
        try:
            piece, ancillary, _, _ = self._sock.recvmsg(PIECE, _CONTROL, _socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            piece, ancillary = b"", []
        if not piece:
            self._alive = False
            return
        self._fds += received_fds(ancillary)
        for header, payload in self._reader.feed(piece):
            self._obey(header, payload)

    def _obey(self, header: Header, payload: bytes) -> None:
        order = header.text("op")
        if order == "hello":
            self._begin(Settings.read(header))
            return
        blocks = self._blocks
        if blocks is None:
            raise RuntimeError("no hello")
        if order == "run":
            count = header.integer("fds")
            tools = tuple(self._fds[:count])
            del self._fds[:count]
            blocks.start(header, payload, tools)
        elif order == "kill":
            blocks.kill(header.integer("id"), header.text("why"))
        elif order == "bindings":
            blocks.bind(header.text("digest"), payload.decode("utf-8", "surrogatepass"))
        elif order == "shell":
            blocks.restore(header.text("shell"), header.text("cwd"), header.table("env"))
        elif order == "close":
            blocks.close(header.text("shell"))
            self.send({"op": "closed", "shell": header.text("shell")})

    def _begin(self, settings: Settings) -> None:
        troubles: list[str] = []
        for name, value in settings.rlimits.items():
            try:
                resource.setrlimit(getattr(resource, name), (value, value))
            except (OSError, ValueError) as error:
                troubles.append(f"{name}={value}: {error}")
        if settings.prefix:
            sys.prefix = sys.exec_prefix = settings.prefix
        os.environ.clear()
        os.environ.update(settings.env)
        sys.path += settings.path
        python.prepare()
        self._blocks = Blocks(self, settings)
        self.send({"op": "ready", "troubles": troubles})

    def _on_children(self, wake: int) -> None:
        os.read(wake, 4096)
        if self._blocks is None:
            return
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            code = os.waitstatus_to_exitcode(status)
            self._blocks.ended(pid, code if code >= 0 else 128 - code)


def _wake(_number: int, _frame: object) -> None:
    """Let the wake-up descriptor tell."""


def main(sock: _socket.socket) -> None:
    """Serve the host on a socket; when it is gone the guard kills what is left."""
    Server(sock).run()
