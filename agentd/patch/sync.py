"""The one background event loop, and the way for blocking callers to use asynchronous parts."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_running: dict[int, asyncio.AbstractEventLoop] = {}


def background_loop() -> asyncio.AbstractEventLoop:
    """Return the process's background event loop, started in a daemon thread at first need, and anew after a fork."""
    with _lock:
        loop = _running.get(os.getpid())
        if loop is None:
            loop = asyncio.new_event_loop()
            threading.Thread(target=loop.run_forever, name="agentd", daemon=True).start()
            _running[os.getpid()] = loop
        return loop


def wait_for(coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
    """Run a coroutine on the background loop and block until it has ended."""
    future = asyncio.run_coroutine_threadsafe(coroutine, background_loop())
    try:
        return future.result(timeout)
    except BaseException:
        future.cancel()
        raise


def runs_in(loop: asyncio.AbstractEventLoop) -> bool:
    """Tell whether the calling code runs in this event loop, and so must not block until it has done something."""
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


async def on_background(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine on the background loop and await its end on the caller's loop."""
    loop = background_loop()
    if asyncio.get_running_loop() is loop:
        return await coroutine
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(coroutine, loop))


def drive(awaitable: Awaitable[T]) -> T:
    """Run an awaitable whose parts all block instead of suspending. Works inside a running event loop, too."""
    try:
        next(iter(awaitable.__await__()))
    except StopIteration as stop:
        return stop.value
    raise RuntimeError("a blocking part suspended")
