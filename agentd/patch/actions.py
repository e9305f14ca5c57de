"""The actions of one message, done on the background loop while the caller reads on."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import Future
from typing import Protocol

from agentd.core.actions import Action, Answer, Call, Refusal
from agentd.core.background import runs_in
from agentd.core.errors import ExecutorLost
from agentd.core.events import CodeFinished, CodeStarted
from agentd.core.protocols import Happening

Emit = Callable[[Happening], None]
Perform = Callable[[Action | Call, Emit], Awaitable[None]]
Letter = Happening | BaseException
STOP_SECONDS = 3.0


class Mailbox(Protocol):
    """Carries events from the background loop to the caller. `put` may be called in any thread."""

    def put(self, letter: Letter) -> None: ...

    def take(self) -> list[Letter]: ...

    async def wait(self) -> list[Letter]: ...

    async def join(self, future: Future[None]) -> None: ...


class BlockingMailbox:
    """For a caller that blocks."""

    def __init__(self) -> None:
        self._queue: queue.SimpleQueue[Letter] = queue.SimpleQueue()

    def put(self, letter: Letter) -> None:
        self._queue.put(letter)

    def take(self) -> list[Letter]:
        letters: list[Letter] = []
        while not self._queue.empty():
            letters.append(self._queue.get())
        return letters

    async def wait(self) -> list[Letter]:
        return [self._queue.get(), *self.take()]

    async def join(self, future: Future[None]) -> None:
        future.result(2 * STOP_SECONDS)


class LoopMailbox:
    """For a caller on an event loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._letters: deque[Letter] = deque()
        self._arrived = asyncio.Event()
        self._lock = threading.Lock()

    def put(self, letter: Letter) -> None:
        # Unlocked, a `take` in between would leave a letter that nobody is woken for.
        with self._lock:
            first = not self._letters
            self._letters.append(letter)
        if first and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._arrived.set)

    def take(self) -> list[Letter]:
        with self._lock:
            letters = list(self._letters)
            self._letters.clear()
        return letters

    async def wait(self) -> list[Letter]:
        while not self._letters:
            self._arrived.clear()
            if not self._letters:
                await self._arrived.wait()
        return self.take()

    async def join(self, future: Future[None]) -> None:
        await asyncio.wrap_future(future)


class ActionQueue:
    """Does what is submitted, and tells of it through a mailbox.

    Code runs one after the other, unless `concurrent`; calls of tools are made side by side. `perform` does one action
    and emits all that happens, `CodeFinished` or `Answer` last. `prepare` makes ready for code.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        perform: Perform,
        mailbox: Mailbox,
        prepare: Callable[[], object] | None,
        *,
        concurrent: bool = False,
    ) -> None:
        self._loop = loop
        self._do = perform
        self._prepare = prepare
        self._mailbox = mailbox
        self._concurrent = concurrent
        self._unfinished = 0
        self._begun: list[Happening] = []
        self._todo: deque[tuple[Action | Refusal, bool]] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._error: BaseException | None = None
        self._stopping = False
        self._pid = os.getpid()

    def prepare(self) -> None:
        if self._prepare is not None:
            self._loop.call_soon_threadsafe(self._prepare)

    def submit(self, action: Action | Refusal | Call) -> None:
        # With nothing before it, code starts now: the caller need not be woken to be told so.
        starts = not isinstance(action, Call) and (self._concurrent or self._unfinished == 0)
        self._unfinished += 1
        if starts and not isinstance(action, Call):
            self._begun.append(_started(action))
        self._loop.call_soon_threadsafe(self._enqueue, action, starts)

    def take(self) -> list[Happening]:
        events = [*self._begun, *self._events(self._mailbox.take())]
        self._begun.clear()
        if self._error is not None and not events and not self._stopping:
            raise self._error
        return events

    async def wait(self) -> list[Happening]:
        if not self._unfinished and self._error is None:
            return []
        if self._begun:
            return self.take()
        events = self._events(await self._mailbox.wait()) if self._error is None else []
        if self._error is not None and not events:
            raise self._error
        return events

    async def cancel(self) -> None:
        # A fork has the turns of its parent but not the loop that their code runs on.
        if not self._unfinished or os.getpid() != self._pid:
            return
        stopped = asyncio.run_coroutine_threadsafe(self._stop(), self._loop)
        # A lost stream may be collected on the background loop itself, which must not wait for itself.
        if not runs_in(self._loop):
            await self._mailbox.join(stopped)

    def _events(self, letters: list[Letter]) -> list[Happening]:
        """Return what has happened; an error is raised when all that came before it has been given."""
        events: list[Happening] = []
        for letter in letters:
            if isinstance(letter, BaseException):
                self._error = self._error or letter
                continue
            if isinstance(letter, CodeFinished | Answer):
                self._unfinished -= 1
            events.append(letter)
        return events

    def _enqueue(self, action: Action | Refusal | Call, told: bool) -> None:
        if isinstance(action, Call):
            self._start(self._call(action))
        elif self._concurrent:
            self._start(self._run(action, told))
        else:
            self._todo.append((action, told))
            if self._worker is None:
                self._worker = self._start(self._work())

    def _start(self, work: Coroutine[object, object, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(self._guarded(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _guarded(self, work: Coroutine[object, object, None]) -> None:
        try:
            await work
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # noqa: BLE001 - it is raised where the caller waits
            self._mailbox.put(error)

    async def _work(self) -> None:
        try:
            while self._todo:
                await self._run(*self._todo.popleft())
        finally:
            self._worker = None

    async def _stop(self) -> None:
        self._stopping = True
        self._todo.clear()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=STOP_SECONDS)
        self._mailbox.put(asyncio.CancelledError())

    async def _call(self, call: Call) -> None:
        try:
            await self._do(call, self._mailbox.put)
        except asyncio.CancelledError:
            if not self._stopping:
                self._mailbox.put(ExecutorLost("the client was closed while a tool was called"))
            self._mailbox.put(Answer(call.id, False, "the call was cancelled"))
            raise

    async def _run(self, action: Action | Refusal, told: bool) -> None:
        if not told:
            self._mailbox.put(_started(action))
        if isinstance(action, Refusal):
            self._mailbox.put(CodeFinished(action.id, 1, action.reason, 0.0, "refused"))
            return
        begun = self._loop.time()
        try:
            await self._do(action, self._mailbox.put)
        except asyncio.CancelledError:
            # The error goes first: after the last block's end nobody waits for more.
            if not self._stopping:
                self._mailbox.put(ExecutorLost("the client was closed while its code ran"))
            self._mailbox.put(CodeFinished(action.id, 137, "", self._loop.time() - begun, "cancelled"))
            raise


def _started(action: Action | Refusal) -> CodeStarted:
    if isinstance(action, Refusal):
        return CodeStarted(action.id, action.header, action.code)
    return CodeStarted(action.id, action.kind.value, action.code, action.path)
