"""The runner's loop: one thread, the host on one socket, a pipe from every block."""

from __future__ import annotations

import os
import resource
import select
import sys
import time
from collections.abc import Callable, Mapping

from . import doors, python
from .blocks import Blocks
from .channel import Channel
from .oom import Sacrifice
from .signals import signal
from .state import Settings
from .wire import FrameReader, Header, pack

_OUTBOX_FULL = 8 << 20
_ARRIVALS = 64
_LULL = 0.02


class Server:
    """Reads what the host asks, hands it to `Blocks`, and sends what comes of it."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self._poll = select.epoll()
        self._handlers: dict[int, Callable[[], None]] = {}
        self._reader = FrameReader()
        self._fds: list[int] = []
        # Each piece is sent with its descriptor, -1 for none.
        self._outbox: list[tuple[bytearray, int]] = []
        self._door = doors.Door()
        self._listening: dict[int, doors.Listening] = {}
        self._blocks: Blocks | None = None
        self._alive = True
        self._preloaded = False
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
        if not self._outbox:
            self._outbox.append((bytearray(), -1))
        self._outbox[-1][0].extend(pack(header, payload))

    @property
    def congested(self) -> bool:
        """Whether the host does not take what it is sent."""
        return sum(len(data) for data, _ in self._outbox) > _OUTBOX_FULL

    @property
    def top(self) -> int:
        """The highest descriptor that is watched."""
        return max(*self._handlers, *(fd for _, fd in self._outbox))

    def run(self) -> None:
        """Serve until the host closes its end."""
        wake, bell = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(bell, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, _wake)
        self.watch(self._channel.reads, self._on_host)
        self.watch(wake, lambda: self._on_children(wake))
        while self._alive:
            self._round()

    def _round(self) -> None:
        blocks = self._blocks
        due = blocks.due() if blocks else None
        timeout = None if due is None else max(0.0, due - time.monotonic())
        if not self._preloaded and blocks is not None:
            timeout = _LULL if timeout is None else min(timeout, _LULL)
        events = self._poll.poll(timeout, 64)
        if not events and not self._preloaded and blocks is not None and not blocks.active:
            self._preloaded = True
            python.preload()
        for fd, event in events:
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
        while self._outbox:
            data, fd = self._outbox[0]
            try:
                sent = self._channel.send(data, fd)
            except BlockingIOError:
                break
            except OSError:
                self._alive = False
                return
            if fd >= 0:
                os.close(fd)
            if sent < len(data):
                del data[:sent]
                self._outbox[0] = data, -1
                break
            del self._outbox[0]
        self._wait_to_send(bool(self._outbox))

    def _wait_to_send(self, wait: bool) -> None:
        if self._waiting == wait:
            return
        self._waiting = wait
        channel = self._channel
        if channel.reads == channel.writes:
            self._poll.modify(channel.writes, select.EPOLLIN | (select.EPOLLOUT if wait else 0))
        elif wait:
            self._poll.register(channel.writes, select.EPOLLOUT)
        else:
            self._poll.unregister(channel.writes)

    def _on_host(self) -> None:
        try:
            piece, fds = self._channel.receive()
        except BlockingIOError:
            return
        except OSError:
            piece, fds = b"", []
        if not piece:
            self._alive = False
            return
        self._fds += fds
        for header, payload in self._reader.feed(piece):
            self._obey(header, payload)

    def _obey(self, header: Header, payload: bytes) -> None:
        order = header.text("op")
        if order == "hello":
            self._begin(Settings(header), self._taken(header))
            return
        blocks = self._blocks
        if blocks is None:
            raise RuntimeError("no hello")
        if order == "run":
            blocks.start(header, payload, self._tools(header))
        elif order == "kill":
            blocks.kill(header.integer("id"), header.text("why"))
        elif order == "bindings":
            blocks.bind(header.text("digest"), payload.decode("utf-8", "surrogatepass"))
        elif order == "shell":
            blocks.restore(header.text("shell"), header.text("cwd"), header.table("env"))
        elif order == "listen":
            self._listen(header.integer("port"))
        elif order == "close":
            blocks.close(header.text("shell"))
            self.send({"op": "closed", "shell": header.text("shell")})

    def _taken(self, header: Header) -> tuple[int, ...]:
        """Return the descriptors that came with a frame."""
        count = header.integer("fds")
        fds = tuple(self._fds[:count])
        del self._fds[:count]
        return fds

    def _tools(self, header: Header) -> tuple[int, ...]:
        """Return the two ends that a block calls its tools by; none when there is no way to the host."""
        key = header.text("key")
        if not key:
            return self._taken(header)
        try:
            return self._door.tools(key)
        except OSError:
            return ()

    def _begin(self, settings: Settings, counts: tuple[int, ...]) -> None:
        troubles: list[str] = []
        for name, value in settings.rlimits.items():
            try:
                resource.setrlimit(getattr(resource, name), (value, value))
            except (OSError, ValueError) as error:
                troubles.append(f"{name}={value}: {error}")
        if settings.mounted is not None:
            troubles += self._compare(settings.mounted)
        self._door = doors.Door(settings.door_path, settings.door_port, settings.net_key)
        for port in settings.ports:
            self._listen(port)
        if settings.prefix:
            sys.prefix = sys.exec_prefix = settings.prefix
        kept = {name: os.environ[name] for name in settings.keep_env if name in os.environ}
        settings.env = kept | settings.env
        os.environ.clear()
        os.environ.update(settings.env)
        sys.path += settings.path
        python.prepare()
        sacrifice = Sacrifice(settings.score)
        walls = self._build(settings, troubles)
        self._blocks = Blocks(self, settings, counts[0] if counts else -1, sacrifice)
        self.send({"op": "ready", "troubles": troubles, "walls": walls})

    def _compare(self, meant: Header) -> list[str]:
        """Return how the mounts of this sandbox differ from what was meant: somebody has changed paths meanwhile."""
        from . import mounted

        try:
            trouble = mounted.trouble(meant)
        except OSError as error:
            trouble = str(error)
        return (
            [f"the sandbox is not as it was meant: {trouble}. Its paths changed while it was made"] if trouble else []
        )

    def _build(self, settings: Settings, troubles: list[str]) -> dict[str, int]:
        """Put walls around this process and all that it will start; a wall that cannot be built is a trouble."""
        if settings.walls is None:
            return {}
        from . import walls

        try:
            return walls.apply(settings.walls)
        except OSError as error:
            troubles.append(str(error))
            return {}

    def _listen(self, port: int) -> None:
        if port not in self._listening:
            sock = self._listening[port] = doors.listen(port)
            self.watch(sock.fileno(), lambda: self._on_connection(port))

    def _on_connection(self, port: int) -> None:
        try:
            fd = doors.accept(self._listening[port])
        except OSError:
            return
        if self._channel.passes_fds:
            if len(self._outbox) > _ARRIVALS:
                os.close(fd)
                return
            self._outbox.append((bytearray(pack({"op": "arrived", "port": port})), fd))
            return
        doors.forward(self._door, port, fd, self.top)
        os.close(fd)

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


def main(channel: Channel) -> None:
    """Serve the host on a channel; when it is gone the guard kills what is left."""
    Server(channel).run()
