"""The host's end of a runner: the process, the socket to it, and the blocks that are under way."""

from __future__ import annotations

import array
import asyncio
import codecs
import contextlib
import logging
import os
import socket
import subprocess
import sys
import tempfile
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from agentd.core.errors import ExecutorUnavailable
from agentd.executors.cgroups import Group
from agentd.executors.limits import Enforcement
from agentd.executors.runner.processes import everyone, kill_below
from agentd.executors.runner.wire import BINDINGS_KEPT, FrameError, FrameReader, Header, pack
from agentd.executors.toolpipe import ToolPipe

RUNNER = Path(__file__).with_name("runner")
RUNNER_PROCESSES = 3  # the guard, the runner, a process in reserve
PATIENCE = 2.0
_log = logging.getLogger("agentd.executors")


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
    pipe: ToolPipe | None
    decoder: codecs.IncrementalDecoder = field(default_factory=lambda: codecs.getincrementaldecoder("utf-8")("replace"))
    guard: asyncio.TimerHandle | None = None


def _with_room_for_runner(limits: Mapping[str, int]) -> dict[str, int]:
    return {name: value + RUNNER_PROCESSES if name == "processes" else value for name, value in limits.items()}


def _remove(group: Group, owner: int) -> None:
    if os.getpid() == owner:  # and not a child that was forked from it
        group.remove()


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
        workspace: Path,
        env: Mapping[str, str],
        enforcement: Enforcement,
        hello: Mapping[str, object],
        on_state: Callable[[str, str, dict[str, str]], None],
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.lost = ""
        self._bound: deque[str] = deque(maxlen=BINDINGS_KEPT)
        self._on_state = on_state
        self._pending: dict[int, Pending] = {}
        self._closing: dict[str, asyncio.Future[None]] = {}
        self._reader = FrameReader()
        self._outbox: deque[tuple[memoryview, tuple[int, ...]]] = deque()
        self._count = 0
        self._group = Group(_with_room_for_runner(enforcement.group))
        self._sock, theirs = socket.socketpair()
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115  # open as long as the runner
        with theirs:
            try:
                self._process = self._start(workspace, env, theirs)
            except OSError as error:
                self._group.remove()
                self._sock.close()
                self._stderr.close()
                raise ExecutorUnavailable(f"the runner cannot be started: {error}") from error
        # Whoever forgets to close leaves no group behind: the processes go by themselves when the socket does.
        removal = weakref.finalize(self, _remove, self._group, os.getpid())
        removal.atexit = False  # at the end of the program the executor is closed in its own order, or goes as above
        self._sock.setblocking(False)
        self._fd = self._sock.fileno()
        self.loop.add_reader(self._fd, self._on_readable)
        self.send({"op": "hello", "env": dict(env), "census": self._group.census, **hello})

    def _start(self, workspace: Path, env: Mapping[str, str], sock: socket.socket) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(RUNNER), str(sock.fileno())],
            pass_fds=(sock.fileno(),),
            start_new_session=True,
            cwd=workspace,
            env=dict(env),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=self._stderr,
        )
        try:
            self._group.add(process.pid)
        except OSError:
            process.kill()
            process.wait()
            raise
        return process

    def run(
        self,
        shell: str,
        header: Mapping[str, object],
        code: bytes,
        pipe: ToolPipe | None,
        on_output: Callable[[str], None],
    ) -> Pending:
        """Give the runner a block."""
        self._count += 1
        pending = Pending(self._count, shell, self.loop.create_future(), self.loop.create_future(), on_output, pipe)
        self._pending[pending.id] = pending
        fds = pipe.theirs if pipe else ()
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
            piece = self._sock.recv(1 << 16)
        except BlockingIOError:
            return
        except OSError:
            piece = b""
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
            if header.words("troubles"):
                self.lose("; ".join(header.words("troubles")))
        elif kind == "closed":
            done = self._closing.pop(header.text("shell"), None)
            if done is not None and not done.done():
                done.set_result(None)
        else:
            pending = self._pending.get(header.integer("id"))
            if pending is not None and kind == "out":
                self._show(pending, payload)
            elif pending is not None and kind == "done":
                self._done(pending, header, payload)

    def _show(self, pending: Pending, payload: bytes, final: bool = False) -> None:
        text = pending.decoder.decode(payload, final)
        if not text or pending.future.done():
            return
        try:
            pending.on_output(text)
        except Exception as error:  # noqa: BLE001  # the caller's own code: it gets its error back from `run`
            pending.future.set_exception(error)
            self.kill(pending, "cancelled")

    def _done(self, pending: Pending, header: Header, payload: bytes) -> None:
        self._show(pending, b"", final=True)
        if "cwd" in header:
            self._on_state(pending.shell, header.text("cwd"), header.table("env"))
        outcome = Outcome(
            exit_code=header.integer("code"),
            output=payload.decode("utf-8", "replace"),
            reason=header.text("why"),
            total=header.integer("total"),
            spill=header.text("spill"),
        )
        self._settle(pending, outcome)

    def _settle(self, pending: Pending, outcome: Outcome) -> None:
        self._pending.pop(pending.id, None)
        if pending.pipe is not None:
            pending.pipe.end()
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
        if not self.loop.is_closed():
            self.loop.remove_reader(self._fd)
            self.loop.remove_writer(self._fd)
        self._sock.close()
        for _, fds in self._outbox:
            for fd in fds:
                os.close(fd)
        self._outbox.clear()
        if reason == "lost":
            _log.warning("the runner is lost: %s %s", why, self._last_words())
        for pending in list(self._pending.values()):
            self._settle(pending, Outcome(137, "", reason))
        for done in self._closing.values():
            if not done.done():
                done.set_result(None)

    def _last_words(self) -> str:
        self._stderr.seek(0)
        return self._stderr.read(4000).decode("utf-8", "replace")

    async def aclose(self, reason: str = "cancelled") -> None:
        """Kill everything, and return when it is gone."""
        self.lose("the executor is closed", reason)
        deadline = time.monotonic() + PATIENCE
        pause = 0.001
        while self._process.poll() is None and time.monotonic() < deadline:
            await asyncio.sleep(pause)
            pause = min(0.02, pause * 2)
        await in_thread(self._bury)

    def close(self) -> None:
        """Do what `aclose` does, without an event loop."""
        self.lose("the executor is closed", "cancelled")
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        self._bury()

    def _bury(self) -> None:
        if self._process.poll() is None:
            kill_below(self._process.pid, everyone)
            self._process.kill()
            self._process.wait()
        self._group.remove()
        self._stderr.close()
