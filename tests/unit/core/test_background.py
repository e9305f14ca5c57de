"""The one background loop: nothing that runs on it ends it, and one that has ended is replaced."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from agentd.core import background
from agentd.core.background import background_loop, wait_for


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Iterator[asyncio.AbstractEventLoop]:
    """A background loop that no other test lives on."""
    monkeypatch.setattr(background, "_running", {})
    made = background_loop()
    yield made
    for each, thread in background._running.values():
        end(each, thread)


def end(loop: Any, thread: threading.Thread) -> None:
    """Close a loop that is kept running: it is called closed before it is."""
    loop.is_closed = lambda: True
    loop.call_soon_threadsafe(loop.stop)
    thread.join(5)
    assert not thread.is_alive()
    del loop.is_closed
    loop.close()


async def nothing() -> str:
    await asyncio.sleep(0)
    return "done"


async def raising(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_error_does_not_end_the_loop(
    loop: asyncio.AbstractEventLoop, error: BaseException, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR, "agentd.patch"), pytest.raises(type(error)):
        asyncio.run_coroutine_threadsafe(raising(error), loop).result(5)
    assert wait_for(nothing(), 5) == "done" and background_loop() is loop
    assert "tried to end it" in caplog.text


def test_nobody_stops_the_loop(loop: asyncio.AbstractEventLoop) -> None:
    loop.call_soon_threadsafe(loop.stop)
    assert wait_for(nothing(), 5) == "done" and background_loop() is loop


def test_a_loop_whose_thread_has_ended_is_replaced(loop: asyncio.AbstractEventLoop) -> None:
    end(*next(iter(background._running.values())))
    assert wait_for(nothing(), 5) == "done" and background_loop() is not loop
