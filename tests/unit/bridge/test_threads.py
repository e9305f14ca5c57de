"""Threads for tools that block: none waits for another, they are used again, and they end."""

from __future__ import annotations

import contextvars
import threading
import time
import weakref
from collections.abc import Callable

import pytest

from agentd.bridge.threads import Threads

ASKED: contextvars.ContextVar[str] = contextvars.ContextVar("asked", default="")


def until(condition: Callable[[], object]) -> None:
    """Wait until something holds, which must not take 20 s."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_call_has_its_arguments_its_context_and_its_outcome() -> None:
    threads = Threads()
    token = ASKED.set("yes")
    try:
        made = threads.run(lambda one, *, two: (one, two, ASKED.get()), 1, two=2)
    finally:
        ASKED.reset(token)
    assert made.result(20) == (1, 2, "yes")
    assert threads.run(ASKED.get).result(20) == ""
    with pytest.raises(SystemExit):
        threads.run(exit).result(20)


def test_calls_that_hang_hold_up_no_other() -> None:
    threads, release = Threads(), threading.Event()
    hanging = [threads.run(release.wait, 50) for _ in range(60)]
    assert threads.run(lambda: "through").result(20) == "through"
    assert not any(call.done() for call in hanging)
    release.set()
    assert all(call.result(20) for call in hanging)


def test_a_thread_that_is_done_is_used_again() -> None:
    threads = Threads()
    first = threads.run(threading.get_ident).result(20)
    until(lambda: threads.run(threading.get_ident).result(20) == first)


def test_a_cancelled_call_leaves_its_thread_fit_for_the_next() -> None:
    threads, release = Threads(), threading.Event()
    busy: set[int] = set()

    def late(outcome: Callable[[], object]) -> object:
        busy.add(threading.get_ident())
        release.wait(50)
        return outcome()

    abandoned = [threads.run(late, lambda: 1), threads.run(late, lambda: 1 / 0)]
    until(lambda: len(busy) == 2)
    assert all(call.cancel() for call in abandoned)
    release.set()
    until(lambda: len(threads._idle) == 2)
    together = threading.Barrier(2)
    calls = [threads.run(lambda: (together.wait(20), threading.get_ident())[1]) for _ in range(2)]
    assert {call.result(20) for call in calls} == busy


def test_idle_threads_end_and_no_call_is_lost_while_they_do() -> None:
    threads = Threads(idle_seconds=0.002)
    seen: list[threading.Thread] = []
    for number in range(300):
        assert (
            threads.run(lambda number=number: (seen.append(threading.current_thread()), number)[1]).result(20) == number
        )
        time.sleep(0.0005 * (number % 8))
    for thread in seen:
        thread.join(20)
        assert not thread.is_alive()
    assert 1 < len(set(seen)) < 300


def test_an_idle_thread_holds_on_to_nothing() -> None:
    class Thing:
        pass

    threads, thing = Threads(idle_seconds=600), Thing()
    held, owner = weakref.ref(thing), weakref.ref(threads)
    threads.run(id, thing).result(20)
    del thing
    until(lambda: held() is None)
    del threads
    until(lambda: owner() is None)
