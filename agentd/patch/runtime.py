"""What stands behind a patched client: its executor, its tools, its sessions, and their end."""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import weakref
from collections.abc import Callable, Generator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from agentd.bridge.open import OpenBridge
from agentd.core.actions import Action, ActionResult, Call, Kind
from agentd.core.background import background_loop, on_background, runs_in, wait_for
from agentd.core.errors import ExecutorLost, OptionError
from agentd.core.events import CodeFinished, CodeOutput, Event, FileChanged, TurnEnded
from agentd.core.ids import new_id
from agentd.core.protocols import Described, Executor, Model, Shell, Store
from agentd.core.tools import JSON
from agentd.llm.prices import Prices
from agentd.loop.calls import CallingMessage
from agentd.loop.engine import Engine, Limits, Log
from agentd.loop.fenced import FencedMessage
from agentd.loop.folding import CALL
from agentd.loop.memory import Memory
from agentd.loop.wire import NO_TOOLS, Dialect, Reading, Toolkit
from agentd.patch.actions import ActionQueue, BlockingMailbox, Emit, LoopMailbox
from agentd.patch.calling import call_tool
from agentd.patch.options import CallOptions
from agentd.patch.sampling import Calling, Sampler
from agentd.patch.toolbox import Toolbox, Toolset
from agentd.patch.turns import Run
from agentd.store.memory import MemoryStore

CLOSE_SECONDS = 5.0
_DEFAULT_SESSION = "default"
_open: weakref.WeakSet[Runtime] = weakref.WeakSet()


@dataclass(frozen=True)
class Prepared:
    """A call whose tools are connected: all that is left is to ask the model.

    `toolkit` holds what the model may call as JSON, `takes` tells which kinds of media it can see or hear, `asks_usage`
    that its API tells a stream's usage when it is asked to. `calling` says that the call runs.
    """

    runtime: Runtime
    toolset: Toolset
    call: CallOptions
    toolkit: Toolkit = NO_TOOLS
    takes: Callable[[str], bool] = bool
    asks_usage: bool = False
    calling: Calling | None = None

    @property
    def guidance(self) -> str:
        parts = [self.toolset.guidance, "" if self.call.bare else self.runtime.place]
        return "\n".join(part for part in parts if part)

    @property
    def fenced(self) -> bool:
        """Tell whether the model acts by fenced blocks."""
        return self.runtime.convention == "fences" and not self.call.bare

    def for_model(self, body: Mapping[str, JSON], flavour: str, takes: Callable[[str], bool]) -> Prepared:
        """Return the same for a request: its tools in the form that the model's provider takes."""
        asks_usage = flavour == "openai"
        if not self.fenced and not self.call.bare:
            return replace(self, toolkit=self.toolset.toolkit(flavour, body), takes=takes, asks_usage=asks_usage)
        return replace(self, asks_usage=True) if asks_usage else self

    def engine(
        self, dialect: Dialect, model: Model, stream: bool, caller: asyncio.AbstractEventLoop | None
    ) -> tuple[Engine, Run]:
        """Return the turn's engine for a caller that blocks (`None`) or lives on an event loop."""
        runtime, call, fenced = self.runtime, self.call, self.fenced
        # The engine outlives the call, in its response, and so must not hold what says that the call runs.
        calling = self.calling
        held = self if calling is None else replace(self, calling=None)
        session = call.session or new_id("session")
        store: Store = runtime.store if call.session else MemoryStore()
        log = Log(store, session, new_id("turn"), _observer(call.on_event, calling))
        shell = call.session or _DEFAULT_SESSION
        perform = partial(runtime.perform, held, shell)

        def new_actions() -> ActionQueue:
            mailbox = BlockingMailbox() if caller is None else LoopMailbox(caller)
            prepare = None if runtime.is_warm(shell) else partial(runtime.warm, shell)
            return ActionQueue(background_loop(), perform, mailbox, prepare, concurrent=not fenced)

        def new_message(max_blocks: int) -> Reading:
            if fenced:
                return FencedMessage(partial(new_id, "ci"), max_blocks)
            return CallingMessage(held.toolkit, partial(new_id, CALL), max_blocks)

        limits = Limits(call.max_turns or runtime.max_turns)
        engine = Engine(dialect, model, new_message, new_actions, log, limits, stream)
        return engine, Run(engine, log, calling.used if calling is not None else None)


def _observer(on_event: Callable[[Event], object] | None, calling: Calling | None) -> Callable[[Event], object] | None:
    """Return who is shown a turn's events: with its end, its call has ended."""
    if calling is None:
        return on_event
    end = calling.end

    def observe(event: Event) -> None:
        if isinstance(event, TurnEnded):
            end()
        if on_event is not None:
            on_event(event)

    return observe


class Runtime:
    """Shared by a patched client and all clients derived from it; closed when the last of them is gone.

    The toolbox's convention is how the model acts: by `fences`, by JSON calls of `bash` and `python` (`shell`), or by
    JSON calls of the tools themselves (`tools`), which needs no executor. One that is not `owned` belongs to the
    caller: its shells are closed, it is not.
    """

    def __init__(
        self,
        toolbox: Toolbox,
        executor: Executor | None,
        *,
        max_turns: int,
        owned: bool,
        sampler: Sampler | None = None,
    ) -> None:
        self.convention = toolbox.convention
        self.executor = executor
        self.place = executor.guidance if isinstance(executor, Described) else ""
        self._owned = owned
        self.max_turns = max_turns
        self.store = MemoryStore()
        self.prices = Prices()
        self.sampler = sampler
        self.bridges: set[OpenBridge] = set()
        self.memory = Memory()
        self._toolbox = toolbox
        self._shells: dict[str, asyncio.Task[Shell]] = {}
        self._holders = 0
        self._lock = threading.Lock()
        self._closed = False
        self._pid = os.getpid()
        _open.add(self)

    def hold(self, client: Any) -> None:
        """Stay open for this client as well; it lets go when it is collected or by `let_go`."""
        with self._lock:
            self._holders += 1
        if self.sampler is not None:
            self.sampler.add(client)
        finalizer = weakref.finalize(client, self.release, False)
        finalizer.atexit = False
        client.__dict__["_agentd_release"] = finalizer

    def let_go(self, client: Any) -> None:
        """Do without this client, which lives on; the last one closes the runtime, and waits until that is done."""
        if self.sampler is not None:
            self.sampler.discard(client)
        self.release(True)

    def release(self, wait: bool) -> None:
        """A client lets go. The last one closes the runtime, and with `wait` returns when that is done."""
        with self._lock:
            self._holders -= 1
            last = self._holders == 0 and not self._closed
            self._closed = self._closed or last
        if last:
            loop = background_loop()
            closing = asyncio.run_coroutine_threadsafe(self._close(), loop)
            # An async tool may be what lets go: its loop cannot wait for itself.
            if wait and not runs_in(loop):
                closing.result(CLOSE_SECONDS)

    def caller_loop(self) -> asyncio.AbstractEventLoop:
        """Return the event loop of an asynchronous caller."""
        return asyncio.get_running_loop()

    def prepare_blocking(self, call: CallOptions) -> Prepared:
        """Connect the tools of a call, blocking."""
        if runs_in(background_loop()):
            raise OptionError(
                "a blocking client was called in an async tool, handler or callback, which would wait for itself for "
                "ever: use AsyncOpenAI there, or make it an ordinary function, which runs in a thread of its own"
            )
        calling = self._begin(call, None)
        with _ended_by_errors(calling):
            toolset = self._toolbox.ready(call) or wait_for(self._toolbox.gather(call, None))
        return Prepared(self, toolset, call, calling=calling)

    async def prepare(self, call: CallOptions) -> Prepared:
        """Connect the tools of a call, from any event loop."""
        caller = asyncio.get_running_loop()
        calling = self._begin(call, caller)
        with _ended_by_errors(calling):
            toolset = self._toolbox.ready(call)
            if toolset is None:
                toolset = await on_background(self._toolbox.gather(call, caller))
        return Prepared(self, toolset, call, calling=calling)

    async def gather(self, call: CallOptions, home: asyncio.AbstractEventLoop | None) -> Toolset:
        """Connect the tools of a call on the background loop; `home` is the loop of an asynchronous caller."""
        self._check()
        return self._toolbox.ready(call) or await self._toolbox.gather(call, home)

    async def perform(self, prepared: Prepared, session: str, action: Action | Call, emit: Emit) -> None:
        """Do one action on the background loop and emit what happens, `CodeFinished` or `Answer` last."""
        if isinstance(action, Call):
            await call_tool(prepared.toolset, action, prepared.takes, emit)
        else:
            await self._run(prepared.toolset, session, action, emit)

    async def _run(self, toolset: Toolset, session: str, action: Action, emit: Emit) -> None:
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
            assert self.executor is not None  # without one the model is offered nothing to run
            opening = asyncio.get_running_loop().create_task(self.executor.open(session))
            self._shells[session] = opening
        return opening

    async def _shell(self, session: str) -> Shell:
        return await asyncio.shield(self.warm(session))

    def _begin(self, call: CallOptions, caller: asyncio.AbstractEventLoop | None) -> Calling | None:
        self._check()
        return None if self.sampler is None or call.bare else self.sampler.begin(caller)

    def _check(self) -> None:
        if self._closed:
            raise OptionError("this client has been unpatched; patch it again")
        if os.getpid() != self._pid:
            raise OptionError("this client was patched in another process; patch it again after the fork")

    async def _close(self) -> None:
        for bridge in list(self.bridges):
            await bridge.aclose()
        await self._toolbox.close()
        for opening in self._shells.values():
            opening.cancel()
            if opening.done() and not opening.cancelled() and opening.exception() is None:
                await opening.result().close()
        self._shells.clear()
        if self._owned and self.executor is not None:
            await self.executor.aclose()

    def close_now(self) -> Future[None] | None:
        """Begin to close at the end of the process."""
        if self._closed or os.getpid() != self._pid:
            return None
        self._closed = True
        return asyncio.run_coroutine_threadsafe(self._close(), background_loop())


@contextmanager
def _ended_by_errors(calling: Calling | None) -> Generator[None]:
    try:
        yield
    except BaseException:
        if calling is not None:
            calling.end()
        raise


def _close_all() -> None:
    for closing in [runtime.close_now() for runtime in list(_open)]:
        if closing is not None:
            try:
                closing.result(CLOSE_SECONDS)
            except Exception:  # noqa: BLE001, S112 - the process is ending: the rest must still be closed
                continue


atexit.register(_close_all)
