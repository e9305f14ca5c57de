"""A runner in a virtual machine: the machine's life, and the bytes between the runner's streams and the host."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import socket
import threading
from collections.abc import Callable

from agentd.core.errors import AgentdError, ExecutorUnavailable
from agentd.core.ids import new_token
from agentd.executors.doorway import Doorway
from agentd.executors.microsandbox_probe import examine
from agentd.executors.microsandbox_sdk import Machine, Process, Running, Sdk, Trouble
from agentd.executors.owner import is_orphan, mark

MARK = "-agentd-"
PATIENCE = 10.0
GRACE = 1.5
_ENDING = 1.0
_PIECE = 1 << 16
_WORDS = 4000
_ASKED = ("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
_OLDEST_PYTHON = (3, 11)
Configure = Callable[[], Machine]
_log = logging.getLogger("agentd.executors")


class MachineLaunch:
    """A runner in a machine of its own, which ends and is removed with it; it ends with this process too."""

    passes_fds = False
    census = ""

    def __init__(self, sdk: Sdk, name: str, configure: Configure, doorway: Doorway) -> None:
        """Begin to boot it in a thread, as `configure` says there."""
        self.doorway: Doorway | None = doorway
        self.sock, near = socket.socketpair()
        self._life = _Life(sdk, name, configure, near)
        self._life.thread.start()

    async def started(self) -> None:
        """Return when the runner has been started; raises `ExecutorUnavailable` when the machine does not come up."""
        await asyncio.shield(asyncio.wrap_future(self._life.up))

    def gone(self) -> bool:
        """Tell whether the machine has been removed."""
        return not self._life.thread.is_alive()

    def destroy(self) -> None:
        """End the machine, and return when it has been removed."""
        self.sock.close()
        self._life.end()
        self._life.thread.join(PATIENCE)
        if not self.gone():
            _log.warning("the virtual machine %s may be left over: no answer", self._life.name)

    def last_words(self) -> str:
        """Return what the runner has complained of, or why it was not started."""
        return self._life.words.decode("utf-8", "replace").strip()


class _Life:
    """What happens in the thread of a machine. It does not hold the host's end: when that is closed, it ends."""

    def __init__(self, sdk: Sdk, name: str, configure: Configure, near: socket.socket) -> None:
        self.name = name
        self.up: concurrent.futures.Future[None] = concurrent.futures.Future()
        self.words = bytearray()
        self.thread = threading.Thread(target=self._live, name="agentd-microsandbox", daemon=True)
        self._sdk = sdk
        self._configure = configure
        self._near = near
        self._near.setblocking(False)
        self._spoke = False
        self._ending = threading.Lock()
        self._task: asyncio.Task[None] | None = None
        self._doomed = False

    def end(self) -> None:
        """Have it end; may be called twice, and in any thread."""
        with self._ending:
            self._doomed = True
            if self._task is not None:
                self._task.get_loop().call_soon_threadsafe(self._task.cancel)

    def _live(self) -> None:
        with contextlib.suppress(asyncio.CancelledError):
            asyncio.run(self._begin_and_end())

    async def _begin_and_end(self) -> None:
        with self._ending:
            if self._doomed:
                self._near.close()
                return
            self._task = asyncio.current_task()
        try:
            await self._serve()
        except Trouble as trouble:
            self._fail(_unavailable(trouble))
        except AgentdError as error:
            self._fail(error)
        finally:
            self._fail(ExecutorUnavailable("microsandbox: it was ended before it had begun"))
            if self.up.exception() is None:
                self._near.close()  # a runner is over, which need not wait until its machine is
            tidying = asyncio.create_task(self._tidy())
            while not tidying.done():
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.shield(tidying)
            self._near.close()
            with self._ending:
                self._task = None

    async def _serve(self) -> None:
        await self._sweep()
        machine = self._configure()
        running = await self._sdk.create(machine)
        process = await running.start(machine.runner, machine.cwd)
        self.up.set_result(None)
        await self._carry(running, process, machine.image)

    def _fail(self, error: AgentdError) -> None:
        """Tell why there is no machine, unless there is one, or it has been told."""
        if not self.up.done():
            self.words += str(error).encode()
            self.up.set_exception(error)

    async def _tidy(self) -> None:
        problem = await self._sdk.remove(self.name, GRACE)
        if problem:
            _log.warning("the virtual machine %s may be left over: %s", self.name, problem)

    async def _sweep(self) -> None:
        """Remove the machines of this name's beginning whose processes have died without doing so."""
        prefix, _, _ = self.name.rpartition(MARK)
        for name, up in (await self._sdk.names()).items():
            theirs, found, rest = name.rpartition(MARK)
            if found and theirs == prefix and is_orphan(rest.rpartition("-")[0], up):
                _log.info("removing the virtual machine %s: the process that made it is gone", name)
                await self._sdk.remove(name, GRACE)

    async def _carry(self, running: Running, process: Process, image: str) -> None:
        """Copy both ways, until the host hangs up or the runner ends."""
        outward = asyncio.create_task(self._outward(process))
        inward = asyncio.create_task(self._inward(process))
        try:
            await asyncio.wait([outward, inward], return_when=asyncio.FIRST_COMPLETED)
            if inward.done():
                # The runner has been told: it kills what runs, and ends by itself.
                await asyncio.wait([outward], timeout=_ENDING)
            elif not self._spoke:
                await self._explain(running, image)
        finally:
            outward.cancel()
            inward.cancel()
            await asyncio.wait([outward, inward])

    async def _inward(self, process: Process) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            while piece := await loop.sock_recv(self._near, _PIECE):
                await process.write(piece)
        await process.close()

    async def _outward(self, process: Process) -> None:
        loop = asyncio.get_running_loop()
        with contextlib.suppress(OSError):
            async for piece in process.pieces():
                if piece.kind == "stdout":
                    self._spoke = True
                    await loop.sock_sendall(self._near, piece.data)
                elif piece.kind == "stderr":
                    self.words = (self.words + piece.data)[-_WORDS:]

    async def _explain(self, running: Running, image: str) -> None:
        """Say which Python the machine has, when the runner has ended without a word."""
        found = await running.ask(_ASKED)
        oldest = ".".join(map(str, _OLDEST_PYTHON))
        if found is None:
            said = f"the image {image!r} has no `python3` that works"
        elif tuple(int(part) for part in found.split(".") if part.isdigit()) < _OLDEST_PYTHON:
            said = f"the image {image!r} has Python {found}"
        else:
            return
        self.words = bytearray(f"{said}: take one with Python {oldest} or newer, such as 'python'".encode())


def _unavailable(trouble: Trouble) -> ExecutorUnavailable:
    """Return the error for a machine that did not come up, with what `msb doctor` says about that."""
    found = examine()
    return ExecutorUnavailable(f"microsandbox: {trouble}" + ("" if found.ok else f". {found.reason}. {found.fix}"))


def machine_name(conversation: str) -> str:
    """Return the name of a machine, which begins with the conversation's; no two of them are the same."""
    plain = "".join(sign if sign.isascii() and sign.isalnum() else "-" for sign in conversation)[:40].strip("-")
    return f"{plain or 'sandbox'}{MARK}{mark()}-{new_token()[:8]}"
