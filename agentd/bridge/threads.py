"""Threads for tools that block: as many as there are calls at once, each used again."""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Callable
from concurrent.futures import Future, InvalidStateError
from queue import Empty, SimpleQueue
from threading import Thread
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")
_Box = SimpleQueue[Callable[[], None]]


class Threads:
    """Runs each call in a thread that has nothing else to do; with a pool, some slow calls would make all others wait.

    A thread ends when it has had nothing to do for `idle_seconds`. No thread keeps the process from its end.
    """

    def __init__(self, idle_seconds: float = 10.0) -> None:
        self._idle_seconds = idle_seconds
        self._idle: list[_Box] = []

    def run(self, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Begin a call in the caller's context; what it raises, it raises where the future is waited for."""
        future: Future[T] = Future()
        context = contextvars.copy_context()

        def work() -> None:
            try:
                result = context.run(call, *args, **kwargs)
            except BaseException as error:  # noqa: BLE001  it is raised where the future is waited for
                _settle(future.set_exception, error)
            else:
                _settle(future.set_result, result)

        self._free_box().put(work)
        return future

    def _free_box(self) -> _Box:
        try:
            return self._idle.pop()
        except IndexError:
            box: _Box = SimpleQueue()
            # It knows nothing of this object, which may go while its threads are idle.
            Thread(target=_serve, args=(box, self._idle, self._idle_seconds), name="agentd tool", daemon=True).start()
            return box


def _serve(box: _Box, idle: list[_Box], idle_seconds: float) -> None:
    while True:
        try:
            work = box.get(timeout=idle_seconds)
        except Empty:
            try:
                idle.remove(box)
            except ValueError:
                continue  # it has just been taken, and a call is on its way
            return
        work()
        del work  # what a call held goes with its end
        idle.append(box)


def _settle(settle: Callable[[T], None], outcome: T) -> None:
    with contextlib.suppress(InvalidStateError):  # it was cancelled: nobody waits any more
        settle(outcome)
