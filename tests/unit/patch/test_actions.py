"""Blocks on the background loop: every letter arrives, errors come after what came before, nothing waits for itself."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from typing import Any

import pytest

from agentd.core.actions import Action, Kind
from agentd.core.background import background_loop, drive, wait_for
from agentd.core.errors import ExecutorLost
from agentd.core.events import CodeFinished, CodeOutput, CodeStarted
from agentd.core.protocols import Happening
from agentd.patch.actions import ActionQueue, BlockingMailbox, Emit, LoopMailbox

ONE, TWO = Action("ci_1", Kind.BASH, "a"), Action("ci_2", Kind.BASH, "b")


def queue_of(run: Any) -> ActionQueue:
    return ActionQueue(background_loop(), run, BlockingMailbox(), lambda: None)


def drained(actions: ActionQueue) -> tuple[list[Happening], BaseException | None]:
    found: list[Happening] = []
    try:
        while events := drive(actions.wait()):
            found += events
    except BaseException as error:  # noqa: BLE001 - it is what the tests look at
        return found, error
    return found, None


async def test_a_letter_is_never_left_unread() -> None:
    """The reader takes all letters while the writer is between looking at them and adding its own."""
    looked, went_on = threading.Event(), threading.Event()

    class Slow(deque[Any]):
        def __bool__(self) -> bool:
            full = len(self) > 0
            if full and threading.current_thread() is writer:
                looked.set()
                went_on.wait(1)
            return full

    box: Any = LoopMailbox(asyncio.get_running_loop())
    box._letters = Slow([CodeOutput("a", "first")])
    writer = threading.Thread(target=box.put, args=[CodeOutput("a", "second")])
    writer.start()
    await asyncio.to_thread(looked.wait)
    found = box.take()
    asyncio.get_running_loop().call_later(0.1, went_on.set)
    while len(found) < 2:
        found += await asyncio.wait_for(box.wait(), 5)
    writer.join()
    assert [letter.text for letter in found] == ["first", "second"]


def test_what_came_before_an_error_is_given_first() -> None:
    async def fails(action: Action, emit: Emit) -> None:
        if action is TWO:
            raise ValueError("broken")
        emit(CodeFinished(action.id, 0, "", 0.0))

    actions = queue_of(fails)
    actions.submit(ONE)
    actions.submit(TWO)
    wait_for(asyncio.sleep(0.1))
    events, error = drained(actions)
    assert [type(event) for event in events] == [CodeStarted, CodeFinished, CodeStarted]
    assert isinstance(error, ValueError)


@pytest.mark.parametrize("error", [SystemExit(1), KeyboardInterrupt(), GeneratorExit()])
def test_no_error_is_lost(error: BaseException) -> None:
    async def fails(action: Action, emit: Emit) -> None:
        raise error

    actions = queue_of(fails)
    actions.submit(ONE)
    found: list[BaseException | None] = []
    reader = threading.Thread(target=lambda: found.append(drained(actions)[1]), daemon=True)
    reader.start()
    reader.join(5)
    assert found == [error]


def test_a_cancelled_block_is_told_as_ended() -> None:
    begun = threading.Event()

    async def waits(action: Action, emit: Emit) -> None:
        begun.set()
        await asyncio.sleep(600)

    actions = queue_of(waits)
    actions.submit(ONE)
    actions.submit(TWO)
    assert begun.wait(5)
    drive(actions.cancel())
    ends = [(event.id, event.reason) for event in actions.take() if isinstance(event, CodeFinished)]
    assert ends == [("ci_1", "cancelled")]


def test_a_caller_is_not_left_waiting_when_the_code_is_cancelled_from_elsewhere() -> None:
    async def lost(action: Action, emit: Emit) -> None:
        raise asyncio.CancelledError

    actions = queue_of(lost)
    actions.submit(ONE)
    actions.submit(TWO)
    reader = threading.Thread(target=lambda: found.append(drained(actions)), daemon=True)
    found: list[Any] = []
    reader.start()
    reader.join(5)
    assert found and isinstance(found[0][1], ExecutorLost)


def test_a_stream_may_be_collected_on_the_background_loop() -> None:
    begun = threading.Event()

    async def waits(action: Action, emit: Emit) -> None:
        begun.set()
        await asyncio.sleep(600)

    actions = queue_of(waits)
    actions.submit(ONE)
    assert begun.wait(5)

    async def collect() -> None:
        drive(actions.cancel())

    wait_for(collect(), 2)
    _, error = drained(actions)
    assert error is None or isinstance(error, asyncio.CancelledError)
