"""The host's end of a runner: the process, the socket to it, and the blocks that are under way."""

from __future__ import annotations

import array
import asyncio
import codecs
import logging
import os
import re
import socket
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from agentd.core.errors import ExecutorUnavailable
from agentd.executors.egress.arrivals import ArrivalRefused, arrival
from agentd.executors.launch import PATIENCE, Launch
from agentd.executors.runner.wire import BINDINGS_KEPT, FrameError, FrameReader, Header, pack, received_fds

READY_WITHIN = 60.0
MOST_SHOWN = 4 << 20  # of one block, live; a runner shows less
_MOST_ARRIVED = 64
_MOST_SAID = 2000
_WHYS = ("", "timeout", "cancelled")
_SPILL = re.compile(r"(?:\.agentd/output/[A-Za-z0-9_-]{1,100}\.txt)?")
_CONTROL = socket.CMSG_SPACE(16 * array.array("i").itemsize)
_log = logging.getLogger("agentd.executors")


_disowned: list[Link] = []


class Way(Protocol):
    """A block's way to its tools."""

    def end(self) -> None:
        """Answer nothing more."""
        ...


@dataclass(slots=True)
class Outcome:
    """How a block ended, as the runner tells it; `reason` is `lost` when the runner is gone."""

    exit_code: int
    output: str
    reason: str
    total: int = 0
    spill: str = ""


@dataclass(slots=True)
class Pending:
    """A block that the runner has been given."""

    id: int
    shell: str
    future: asyncio.Future[Outcome]
    ended: asyncio.Future[None]
    on_output: Callable[[str], None]
    way: Way | None
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))
    guard: asyncio.TimerHandle | None = None
    shown: int = 0


def _outcome(header: Header, payload: bytes) -> Outcome:
    """Read how a block ended; raises `FrameError` for what no runner of ours says: it may be code that speaks."""
    code, why, total, spill = header.integer("code"), header.text("why"), header.integer("total"), header.text("spill")
    if not 0 <= code <= 255 or why not in _WHYS or not 0 <= total < 1 << 63 or not _SPILL.fullmatch(spill):
        raise FrameError("an end that cannot be")
    return Outcome(code, payload.decode("utf-8", "replace"), why, total, spill)


async def in_thread(work: Callable[[], object]) -> None:
    """Run what blocks for a moment away from the event loop; here when the program ends and there are no threads."""
    try:
        await asyncio.to_thread(work)
    except RuntimeError:
        work()


class Link:
    """One running runner. Everything here happens on one event loop."""

    def __init__(
        self,
        launch: Launch,
        hello: Mapping[str, object],
        on_state: Callable[[str, str, dict[str, str]], None],
        *,
        on_arrival: Callable[[int, socket.socket], None] | None = None,
        most_output: int = 1 << 20,
    ) -> None:
        """Begin to talk to a runner that has been started.

        `on_state` is told where a shell's state has changed, `on_arrival` that somebody has connected to a port that
        the runner listens on: the port and the connection, which is then the receiver's to close. `most_output` is how
        many bytes of a block's output the runner was told to send: one that sends many more is given up.
        """
        self.loop = asyncio.get_running_loop()
        self.lost = ""
        self.ready: asyncio.Future[None] = self.loop.create_future()
        self.walls: dict[str, int] = {}
        self.passes_fds = launch.passes_fds
        self.doorway = launch.doorway
        self._launch = launch
        self._on_arrival = on_arrival
        self._arrived: list[int] = []
        self._bound: deque[str] = deque(maxlen=BINDINGS_KEPT)
        self._on_state = on_state
        self._pending: dict[int, Pending] = {}
        self._closing: dict[str, asyncio.Future[None]] = {}
        self._reader = FrameReader(most_output + MOST_SHOWN)
        self._outbox: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._count = 0
        self._sock = launch.sock
        self._sock.setblocking(False)
        self._fd = self._sock.fileno()
        self.loop.add_reader(self._fd, self._on_readable)
        counts = (os.open(launch.census, os.O_RDONLY | os.O_CLOEXEC),) if launch.census else ()
        self.send({"op": "hello", "fds": len(counts), **hello}, fds=counts)

    @property
    def launch(self) -> Launch:
        """What was started."""
        return self._launch

    @property
    def busy(self) -> bool:
        """Whether a block is under way."""
        return bool(self._pending)

    async def start(self) -> None:
        """Wait until the runner is ready; raises `ExecutorUnavailable` when it cannot be started."""
        try:
            await self._launch.started()
        except BaseException:
            self.lose("it was not started", "cancelled")
            raise
        await asyncio.wait([self.ready], timeout=READY_WITHIN)
        if not self.ready.done():
            self.lose(f"it did not answer within {READY_WITHIN:.0f} seconds")
        await asyncio.shield(self.ready)

    def run(
        self,
        shell: str,
        header: Mapping[str, object],
        code: bytes,
        way: Way | None,
        fds: tuple[int, ...],
        on_output: Callable[[str], None],
    ) -> Pending:
        """Give the runner a block, with the descriptors that it calls its tools by; `way` is ended with it."""
        self._count += 1
        pending = Pending(self._count, shell, self.loop.create_future(), self.loop.create_future(), on_output, way)
        self._pending[pending.id] = pending
        whole = {"op": "run", "id": pending.id, "shell": shell, "fds": len(fds), **header}
        self.send(whole, code, fds)
        return pending

    def bind(self, digest: str, source: str) -> None:
        """Send bindings unless the runner has them. It keeps the latest few, in this same order."""
        if digest not in self._bound:
            self._bound.append(digest)
            self.send({"op": "bindings", "digest": digest}, source.encode("utf-8", "surrogatepass"))

    def kill(self, pending: Pending, why: str) -> None:
        """Have a block killed."""
        self.send({"op": "kill", "id": pending.id, "why": why})

    async def close_shell(self, shell: str) -> None:
        """Have everything of a shell killed, and wait for that."""
        if self.lost:
            return
        done = self._closing.setdefault(shell, self.loop.create_future())
        self.send({"op": "close", "shell": shell})
        await asyncio.wait([done], timeout=PATIENCE)

    def send(self, header: Mapping[str, object], payload: bytes = b"", fds: tuple[int, ...] = ()) -> None:
        """Send a frame, with descriptors: they are closed here, sent or not."""
        if self.lost:
            for fd in fds:
                os.close(fd)
            return
        self._outbox.append((memoryview(pack(header, payload)), fds))
        if len(self._outbox) == 1:
            self._flush()

    def _flush(self) -> None:
        while self._outbox:
            data, fds = self._outbox[0]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
            try:
                sent = self._sock.sendmsg([data], rights)
            except BlockingIOError:
                self.loop.add_writer(self._fd, self._flush)
                return
            except OSError:
                self.lose("it has closed its socket")
                return
            for fd in fds:
                os.close(fd)
            if sent < len(data):
                self._outbox[0] = (data[sent:], ())
                self.loop.add_writer(self._fd, self._flush)
                return
            self._outbox.popleft()
        self.loop.remove_writer(self._fd)

    def _on_readable(self) -> None:
        try:
            piece, ancillary, flags, _ = self._sock.recvmsg(1 << 16, _CONTROL, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        except OSError:
            piece, ancillary, flags = b"", [], 0
        if ancillary:
            self._arrived += received_fds(ancillary)
            if len(self._arrived) > _MOST_ARRIVED or flags & socket.MSG_CTRUNC:
                self.lose("it sent too many descriptors")
                return
        if not piece:
            self.lose("it was killed, or it failed")
            return
        try:
            for header, payload in self._reader.feed(piece):
                self._on_frame(header, payload)
        except FrameError as error:
            self.lose(f"it sent what makes no sense ({error})")

    def _on_frame(self, header: Header, payload: bytes) -> None:
        kind = header.text("op")
        if kind == "ready":
            self._on_ready(header)
        elif kind == "closed":
            done = self._closing.pop(header.text("shell"), None)
            if done is not None and not done.done():
                done.set_result(None)
        elif kind == "arrived":
            if not self._arrived or self._on_arrival is None:
                raise FrameError("a connection without a descriptor")
            self._arrival(header.integer("port"), self._arrived.pop(0))
        else:
            pending = self._pending.get(header.integer("id"))
            if pending is not None and kind == "out":
                self._show(pending, payload)
            elif pending is not None and kind == "done":
                self._done(pending, header, payload)

    def _arrival(self, port: int, fd: int) -> None:
        try:
            sock = arrival(fd)
        except ArrivalRefused as error:
            _log.warning("%s", error)
            return
        assert self._on_arrival is not None
        self._on_arrival(port, sock)

    def _on_ready(self, header: Header) -> None:
        if header.words("troubles"):
            self.lose("; ".join(header.words("troubles"))[:_MOST_SAID])
        elif not self.ready.done():
            self.walls = header.integers("walls")
            self.ready.set_result(None)

    def _show(self, pending: Pending, payload: bytes, final: bool = False) -> None:
        text = pending.decoder.decode(payload, final)
        pending.shown += len(payload)
        if not text or pending.future.done() or pending.shown > MOST_SHOWN:
            return
        try:
            pending.on_output(text)
        except Exception as error:  # noqa: BLE001  # the caller's own code: it gets its error back from `run`
            pending.future.set_exception(error)
            self.kill(pending, "cancelled")

    def _done(self, pending: Pending, header: Header, payload: bytes) -> None:
        outcome = _outcome(header, payload)
        self._show(pending, b"", final=True)
        if "cwd" in header:
            self._on_state(pending.shell, header.text("cwd"), header.table("env"))
        self._settle(pending, outcome)

    def _settle(self, pending: Pending, outcome: Outcome) -> None:
        self._pending.pop(pending.id, None)
        if pending.way is not None:
            pending.way.end()
        if pending.guard is not None:
            pending.guard.cancel()
        pending.ended.set_result(None)
        if not pending.future.done():
            pending.future.set_result(outcome)

    def lose(self, why: str, reason: str = "lost") -> None:
        """Give the runner up: all that it was doing has ended, and what it left behind is killed."""
        if self.lost:
            return
        self.lost = why
        self._hang_up()
        words = self._launch.last_words()
        if not self.ready.done():
            self.ready.set_exception(ExecutorUnavailable(f"the runner could not be started: {words or why}"))
            self.ready.exception()  # nobody has to ask
        elif reason == "lost":
            _log.warning("the runner is lost: %s %s", why, words)
        for pending in list(self._pending.values()):
            self._settle(pending, Outcome(137, "", reason))
        for done in self._closing.values():
            if not done.done():
                done.set_result(None)

    def _hang_up(self) -> None:
        """Close the way to the runner, with the descriptors that were on it."""
        if not self.loop.is_closed():
            self.loop.remove_reader(self._fd)
            self.loop.remove_writer(self._fd)
        self._sock.close()
        if self.doorway is not None:
            self.doorway.close()
        for fd in (*self._arrived, *(fd for _, fds in self._outbox for fd in fds)):
            os.close(fd)
        self._arrived.clear()
        self._outbox.clear()

    async def aclose(self, reason: str = "cancelled") -> None:
        """Kill everything, and return when it is gone."""
        self.lose("the executor is closed", reason)
        deadline = time.monotonic() + PATIENCE
        pause = 0.001
        while not self._launch.gone() and time.monotonic() < deadline:
            await asyncio.sleep(pause)
            pause = min(0.02, pause * 2)
        await in_thread(self._launch.destroy)

    def disown(self) -> None:
        """Let go of a runner that is another process's, from which this one was forked: its loop is shared with it."""
        self.lost = "it is the parent's"
        self._sock.close()
        _disowned.append(self)  # to be collected would be to end what is the parent's

    def close(self) -> None:
        """Do what `aclose` does, without an event loop."""
        self.lose("the executor is closed", "cancelled")
        deadline = time.monotonic() + PATIENCE
        while not self._launch.gone() and time.monotonic() < deadline:
            time.sleep(0.002)
        self._launch.destroy()
