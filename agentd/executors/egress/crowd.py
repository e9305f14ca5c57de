"""Many connections at once, within bounds."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable

from agentd.executors.egress.streams import Stream, is_affordable

AT_ONCE = 256
WAITING = 128
_log = logging.getLogger("agentd.executors")


class Crowd:
    """Serves connections, at most `at_once` of them; some more wait for their turn, and the rest are reset.

    So are those for which the program has no descriptors to spare.
    """

    def __init__(self, at_once: int = AT_ONCE, waiting: int = WAITING) -> None:
        self._most = at_once + waiting
        self._turns = asyncio.Semaphore(at_once)
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False

    async def serve(self, sock: socket.socket, work: Callable[[Stream], Awaitable[None]]) -> None:
        """Have `work` serve a connection, and return when it is closed."""
        stream = Stream(sock)
        if self._closed or len(self._tasks) >= self._most or not is_affordable(sock):
            stream.abort()
            return
        task = asyncio.create_task(self._attend(stream, work))
        self._tasks.add(task)
        # Not in the task: one that is cancelled before its first step runs no line of its own.
        task.add_done_callback(lambda _: stream.close())
        task.add_done_callback(self._tasks.discard)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait([task])
            raise

    async def _attend(self, stream: Stream, work: Callable[[Stream], Awaitable[None]]) -> None:
        async with self._turns:
            try:
                await work(stream)
            except (OSError, EOFError):
                stream.abort()
            except Exception:  # noqa: BLE001  # a rim: one connection must not end the others
                _log.exception("a connection of a sandbox failed")
                stream.abort()

    async def aclose(self) -> None:
        """Close all connections, and take no more."""
        self._closed = True
        tasks = set(self._tasks)
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)
