"""The blocks of one message, run in order on the background loop while the caller reads on."""

from __future__ import annotations

import asyncio
import os
import queue
import threading
from collections import deque
from collections.abc import Awaitable, Callable
from concurrent.futures import Future
from typing import Protocol

from agentd.core.actions import Action, Refusal
from agentd.core.errors import ExecutorLost
from agentd.core.events import CodeFinished, CodeStarted, Event
from agentd.patch.sync import runs_in

Emit = Callable[[Event], None]
RunAction = Callable[[Action, Emit], Awaitable[None]]
Letter = Event | BaseException
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
    """Runs what is submitted, one after the other, and tells of it through a mailbox.

    `run` performs one action and emits all its events, `CodeFinished` last. `prepare` makes ready for one.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, run: RunAction, mailbox: Mailbox, prepare: Callable[[], object] | None
    ) -> None:
        self._loop = loop
        self._run = run
        self._prepare = prepare
        self._mailbox = mailbox
        self._unfinished = 0
        self._begun: list[Event] = []
        self._todo: deque[tuple[Action | Refusal, bool]] = deque()
        self._task: asyncio.Task[None] | None = None
        self._error: BaseException | None = None
        self._stopping = False
        self._pid = os.getpid()

    def prepare(self) -> None:
        if self._prepare is not None:
            self._loop.call_soon_threadsafe(self._prepare)

    def submit(self, action: Action | Refusal) -> None:
        # With nothing before it, it starts now: the caller need not be woken to be told so.
        starts = self._unfinished == 0
        self._unfinished += 1
        if starts:
            self._begun.append(_started(action))
        self._loop.call_soon_threadsafe(self._enqueue, action, starts)

    def take(self) -> list[Event]:
        events = [*self._begun, *self._events(self._mailbox.take())]
        self._begun.clear()
        if self._error is not None and not events and not self._stopping:
            raise self._error
        return events

    async def wait(self) -> list[Event]:
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

    def _events(self, letters: list[Letter]) -> list[Event]:
        """Return what has happened; an error is raised when all that came before it has been given."""
        events: list[Event] = []
        for letter in letters:
            if isinstance(letter, BaseException):
                self._error = self._error or letter
                continue
            if isinstance(letter, CodeFinished):
                self._unfinished -= 1
            events.append(letter)
        return events

    def _enqueue(self, action: Action | Refusal, told: bool) -> None:
        self._todo.append((action, told))
        if self._task is None:
            self._task = self._loop.create_task(self._work())

    async def _work(self) -> None:
        try:
            while self._todo:
                await self._perform(*self._todo.popleft())
        except Exception as error:  # noqa: BLE001 - it is raised where the caller waits
            self._mailbox.put(error)
        finally:
            self._task = None

    async def _stop(self) -> None:
        self._stopping = True
        self._todo.clear()
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task], timeout=STOP_SECONDS)
        self._mailbox.put(asyncio.CancelledError())

    async def _perform(self, action: Action | Refusal, told: bool) -> None:
        if not told:
            self._mailbox.put(_started(action))
        if isinstance(action, Refusal):
            self._mailbox.put(CodeFinished(action.id, 1, action.reason, 0.0, "refused"))
            return
        begun = self._loop.time()
        try:
            await self._run(action, self._mailbox.put)
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
