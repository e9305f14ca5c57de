"""The one background event loop, and the way for blocking callers to use asynchronous parts."""

from __future__ import annotations

import asyncio
import logging
import os
import threading
from collections.abc import Awaitable, Coroutine
from typing import TypeVar

T = TypeVar("T")

_lock = threading.Lock()
_running: dict[int, tuple[asyncio.AbstractEventLoop, threading.Thread]] = {}
_log = logging.getLogger("agentd")


def background_loop() -> asyncio.AbstractEventLoop:
    """Return the process's background event loop.

    It is started in a daemon thread at first need, and anew after a fork or when its thread has ended.
    """
    with _lock:
        known = _running.get(os.getpid())
        if known is not None and known[1].is_alive():
            return known[0]
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=_keep_running, args=(loop,), name="agentd", daemon=True)
        thread.start()
        _running[os.getpid()] = loop, thread
        return loop


def _keep_running(loop: asyncio.AbstractEventLoop) -> None:
    """Run the loop until it is closed: whoever stops it, or lets a `SystemExit` out, must not end all clients."""
    while not loop.is_closed():
        try:
            loop.run_forever()
        except BaseException:  # noqa: BLE001  asyncio lets `SystemExit` and `KeyboardInterrupt` of a task out
            _log.exception("something on the background loop tried to end it")


def wait_for(coroutine: Coroutine[object, object, T], timeout: float | None = None) -> T:
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


async def on_background(coroutine: Coroutine[object, object, T]) -> T:
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
