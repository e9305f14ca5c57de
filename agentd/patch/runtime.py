"""What stands behind a patched client: its executor, its tools, its sessions, and their end."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from agentd.core.actions import Action, ActionResult, Kind
from agentd.core.errors import ExecutorLost, OptionError
from agentd.core.events import CodeFinished, CodeOutput, FileChanged
from agentd.core.ids import new_id
from agentd.core.protocols import Executor, Model, Shell, Store
from agentd.loop.engine import Engine, Limits, Log
from agentd.loop.responses import ResponseIds
from agentd.loop.wire import Dialect
from agentd.patch.actions import ActionQueue, BlockingMailbox, Emit, LoopMailbox
from agentd.patch.options import CallOptions
from agentd.patch.sync import background_loop, on_background, wait_for
from agentd.patch.toolbox import Toolbox, Toolset
from agentd.patch.turns import Run
from agentd.store.memory import MemoryStore

CLOSE_SECONDS = 5.0
_DEFAULT_SESSION = "default"
_open: weakref.WeakSet[Runtime] = weakref.WeakSet()


@dataclass(frozen=True)
class Prepared:
    """A call whose tools are connected: all that is left is to ask the model."""

    runtime: Runtime
    toolset: Toolset
    call: CallOptions

    @property
    def guidance(self) -> str:
        return self.toolset.guidance

    def engine(
        self, dialect: Dialect, model: Model, stream: bool, caller: asyncio.AbstractEventLoop | None
    ) -> tuple[Engine, Run]:
        """Return the turn's engine for a caller that blocks (`None`) or lives on an event loop."""
        runtime, call = self.runtime, self.call
        session = call.session or new_id("session")
        store: Store = runtime.store if call.session else MemoryStore()
        log = Log(store, session, new_id("turn"), call.on_event)
        shell = call.session or _DEFAULT_SESSION
        perform = partial(runtime.perform, self.toolset, shell)

        def new_actions() -> ActionQueue:
            mailbox = BlockingMailbox() if caller is None else LoopMailbox(caller)
            prepare = None if runtime.is_warm(shell) else partial(runtime.warm, shell)
            return ActionQueue(background_loop(), perform, mailbox, prepare)

        limits = Limits(call.max_turns or runtime.max_turns)
        engine = Engine(dialect, model, new_actions, partial(new_id, "ci"), log, limits, stream)
        return engine, Run(engine, log)


class Runtime:
    """Shared by a patched client and all clients derived from it; closed when the last of them is gone.

    An executor that is not `owned` belongs to the caller: its shells are closed, it is not.
    """

    def __init__(
        self,
        executor: Executor,
        *,
        tools: Sequence[object] | None,
        mcp_servers: Sequence[object],
        max_turns: int,
        owned: bool,
    ) -> None:
        self.executor = executor
        self._owned = owned
        self.max_turns = max_turns
        self.store = MemoryStore()
        self.response_ids = ResponseIds()
        self._toolbox = Toolbox(executor.workspace_dir, tools, mcp_servers)
        self._shells: dict[str, asyncio.Task[Shell]] = {}
        self._holders = 0
        self._lock = threading.Lock()
        self._closed = False
        self._pid = os.getpid()
        _open.add(self)

    def hold(self, client: Any) -> None:
        """Stay open for this client as well; it lets go when it is collected or `release` is called."""
        with self._lock:
            self._holders += 1
        finalizer = weakref.finalize(client, self.release, False)
        finalizer.atexit = False
        client.__dict__["_agentd_release"] = finalizer

    def release(self, wait: bool) -> None:
        """A client lets go. The last one closes the runtime, and with `wait` returns when that is done."""
        with self._lock:
            self._holders -= 1
            last = self._holders == 0 and not self._closed
            self._closed = self._closed or last
        if last:
            closing = asyncio.run_coroutine_threadsafe(self._close(), background_loop())
            if wait:
                closing.result(CLOSE_SECONDS)

    def caller_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of an asynchronous caller."""
        return asyncio.get_running_loop()

    def prepare_blocking(self, call: CallOptions) -> Prepared:
        """Connect the tools of a call, blocking."""
        self._check()
        toolset = self._toolbox.ready(call)
        return Prepared(self, toolset or wait_for(self._toolbox.gather(call, None)), call)

    async def prepare(self, call: CallOptions) -> Prepared:
        """Connect the tools of a call, from any event loop."""
        self._check()
        toolset = self._toolbox.ready(call)
        if toolset is None:
            toolset = await on_background(self._toolbox.gather(call, asyncio.get_running_loop()))
        return Prepared(self, toolset, call)

    async def perform(self, toolset: Toolset, session: str, action: Action, emit: Emit) -> None:
        """Run one action on the background loop and emit what happens, `CodeFinished` last."""
        shell = await self._shell(session)
        door = toolset.open_door(action.id, emit)
        try:
            result = await shell.run(
                replace(action, env=door.env), toolset.bindings, door, lambda text: emit(CodeOutput(action.id, text))
            )
        except ExecutorLost as error:
            self._shells.pop(session, None)
            result = ActionResult(137, str(error), 0.0, "lost")
        finally:
            door.close()
        if action.kind is Kind.CREATE and result.exit_code == 0 and not result.reason:
            emit(FileChanged(action.path, len(action.code.encode(errors="replace"))))
        emit(CodeFinished(action.id, result.exit_code, result.output, result.duration, result.reason, result.spill))

    def is_warm(self, session: str) -> bool:
        """Tell, from any thread, whether a session's shell has been opened."""
        return session in self._shells

    def warm(self, session: str) -> asyncio.Task[Shell]:
        """Begin to open a session's shell on the background loop, if it is not open."""
        self._check()
        opening = self._shells.get(session)
        if opening is None or (opening.done() and (opening.cancelled() or opening.exception() is not None)):
            opening = asyncio.get_running_loop().create_task(self.executor.open(session))
            self._shells[session] = opening
        return opening

    async def _shell(self, session: str) -> Shell:
        return await asyncio.shield(self.warm(session))

    def _check(self) -> None:
        if self._closed:
            raise OptionError("this client has been unpatched; patch it again")
        if os.getpid() != self._pid:
            raise OptionError("this client was patched in another process; patch it again after the fork")

    async def _close(self) -> None:
        await self._toolbox.close()
        for opening in self._shells.values():
            opening.cancel()
            if opening.done() and not opening.cancelled() and opening.exception() is None:
                await opening.result().close()
        self._shells.clear()
        if self._owned:
            await self.executor.aclose()

    def close_now(self) -> Future[None] | None:
        """Begin to close at the end of the process."""
        if self._closed or os.getpid() != self._pid:
            return None
        self._closed = True
        return asyncio.run_coroutine_threadsafe(self._close(), background_loop())


def _close_all() -> None:
    for closing in [runtime.close_now() for runtime in list(_open)]:
        if closing is not None:
            try:
                closing.result(CLOSE_SECONDS)
            except Exception:  # noqa: BLE001, S112 - the process is ending: the rest must still be closed
                continue


atexit.register(_close_all)
