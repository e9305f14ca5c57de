"""Where LiteLLM runs: an event loop of its own, in a thread of its own.

It blocks while it translates, keeps connections for the loop that opened them, and leaves tasks behind that log. On one
lasting loop that disturbs nobody: no caller's loop waits for it, none is closed under its connections, and blocking
callers need no loop at all.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

from agentd.llm import litellm_import

T = TypeVar("T")
CLOSE_SECONDS = 5.0
_ROUNDS = 5
_ROUND_SECONDS = 0.5

_lock = threading.Lock()
_running: dict[int, asyncio.AbstractEventLoop] = {}


class Wait(Protocol):
    """Runs a coroutine on LiteLLM's loop, and waits for it as the caller does."""

    def __call__(self, coroutine: Coroutine[Any, Any, T]) -> Awaitable[T]: ...


def litellm_loop() -> asyncio.AbstractEventLoop:
    """Return LiteLLM's event loop, started in a daemon thread at first need, and anew after a fork."""
    with _lock:
        loop = _running.get(os.getpid())
        if loop is None:
            loop = asyncio.new_event_loop()
            thread = threading.Thread(target=loop.run_forever, name="agentd-litellm", daemon=True)
            thread.start()
            _running[os.getpid()] = loop
            atexit.register(_close, loop, thread, os.getpid())
        return loop


async def blocking(coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait by blocking: this never suspends, so it can be driven without an event loop, or inside of another one."""
    future = asyncio.run_coroutine_threadsafe(coroutine, litellm_loop())
    try:
        return future.result()
    except BaseException:
        future.cancel()
        raise


async def suspending(coroutine: Coroutine[Any, Any, T]) -> T:
    """Wait on the caller's loop; a caller that is cancelled cancels the coroutine."""
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, litellm_loop()))


def later(callback: Callable[[], object]) -> None:
    """Call something on LiteLLM's loop some time, from any thread; nothing happens when the loop is gone."""
    loop = _running.get(os.getpid())
    if loop is not None:
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(callback)


def _close(loop: asyncio.AbstractEventLoop, thread: threading.Thread, owner: int) -> None:
    """End all that runs on the loop and close LiteLLM's connections, at the end of the process that has the loop."""
    if os.getpid() != owner or not thread.is_alive():
        return
    with contextlib.suppress(Exception):
        asyncio.run_coroutine_threadsafe(_shut(), loop).result(CLOSE_SECONDS)
    loop.call_soon_threadsafe(loop.stop)
    thread.join(CLOSE_SECONDS)
    if not thread.is_alive():
        loop.close()


async def _shut() -> None:
    await _end_tasks()
    litellm = litellm_import.loaded()
    if litellm is not None:
        await litellm.close_litellm_async_clients()
    await asyncio.get_running_loop().shutdown_asyncgens()
    await _end_tasks()  # what closing has begun


async def _end_tasks() -> None:
    """Cancel all tasks until there are none: some begin others when they end. Some end only after a few attempts."""
    mine = asyncio.current_task()
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)
        others = [task for task in asyncio.all_tasks() if task is not mine]
        if not others:
            return
        for task in others:
            task.cancel()
        await asyncio.wait(others, timeout=_ROUND_SECONDS)
