"""A function called as a tool answers, whatever it does."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

from agentd.core.protocols import BlockingTool
from agentd.core.tools import ToolResult
from agentd.tools import as_tool


def blocking(function: Callable[..., object]) -> BlockingTool:
    made = as_tool(function)
    assert isinstance(made, BlockingTool)
    return made


def test_a_blocking_call_runs_in_the_calling_thread() -> None:
    def where() -> int:
        return threading.get_ident()

    assert blocking(where).call_blocking({}) == ToolResult(True, threading.get_ident())


async def test_the_loop_goes_on_while_a_blocking_tool_runs() -> None:
    gate = threading.Event()

    def wait() -> str:
        assert gate.wait(20)
        return "done"

    call = asyncio.create_task(as_tool(wait).call({}))
    await asyncio.sleep(0)
    gate.set()
    assert await call == ToolResult(True, "done")


async def test_an_async_tool_runs_on_the_loop() -> None:
    async def where(n: int) -> list[object]:
        await asyncio.sleep(0)
        return [n, threading.get_ident()]

    assert await as_tool(where).call({"n": "1"}) == ToolResult(True, [1, threading.get_ident()])


async def test_an_async_tool_can_be_cancelled() -> None:
    started = asyncio.Event()

    async def forever() -> None:
        started.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(as_tool(forever).call({}))
    await started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_generators_give_their_items() -> None:
    def count(n: int) -> Iterator[int]:
        yield from range(n)

    async def count_later(n: int) -> AsyncIterator[int]:
        for each in range(n):
            yield each

    assert blocking(count).call_blocking({"n": 3}).value == [0, 1, 2]
    assert (await as_tool(count_later).call({"n": 3})).value == [0, 1, 2]


def test_a_function_that_returns_a_coroutine_is_awaited() -> None:
    async def inner() -> int:
        return 5

    def outer() -> object:
        return inner()

    assert blocking(outer).call_blocking({}) == ToolResult(True, 5)


class Silent(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class Rude(BaseException):
    pass


def raising(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        secret = "s3cret"  # noqa: F841  # must not be in the answer
        raise error

    return fail


ERRORS: list[tuple[BaseException, str]] = [
    (ValueError("bad"), "ValueError: bad"),
    (SystemExit(3), "SystemExit: 3"),
    (KeyError("k"), "KeyError: 'k'"),
    (Silent(), "Silent"),
    (Rude("x"), "Rude: x"),
    (asyncio.CancelledError(), "CancelledError"),
    (AssertionError(), "AssertionError"),
    (ValueError("\n".join("x" * 9000)), "ValueError: x"),
]


@pytest.mark.parametrize(
    ("error", "text"), ERRORS, ids=lambda each: type(each).__name__ if isinstance(each, BaseException) else each
)
def test_what_it_raises_is_the_answer(error: BaseException, text: str) -> None:
    answer = blocking(raising(error)).call_blocking({})
    assert not answer.ok
    assert isinstance(answer.value, str)
    assert answer.value.startswith(text)
    assert len(answer.value) <= 4000
    assert "s3cret" not in answer.value
    assert "Traceback" not in answer.value


def test_an_interrupt_passes() -> None:
    with pytest.raises(KeyboardInterrupt):
        blocking(raising(KeyboardInterrupt())).call_blocking({})


class Boom(BaseException):
    pass


@pytest.mark.parametrize("error", [SystemExit("bye"), Boom("bye")])
async def test_exit_in_an_async_tool_is_an_answer(error: BaseException) -> None:
    async def leave() -> None:
        raise error

    assert await as_tool(leave).call({}) == ToolResult(False, f"{type(error).__name__}: bye")


def test_an_interrupt_that_is_not_of_the_user_is_an_answer() -> None:
    """Python raises Ctrl-C in the main thread only."""
    answers: list[ToolResult] = []

    async def interrupted() -> None:
        raise KeyboardInterrupt

    def call() -> None:
        answers.append(blocking(raising(KeyboardInterrupt())).call_blocking({}))
        answers.append(asyncio.run(as_tool(interrupted).call({})))

    thread = threading.Thread(target=call)
    thread.start()
    thread.join()
    assert answers == [ToolResult(False, "KeyboardInterrupt")] * 2


def test_a_wrong_call_does_not_run_it() -> None:
    ran: list[int] = []

    def append(n: int) -> None:
        ran.append(n)

    answer = blocking(append).call_blocking({"m": 1})
    assert answer == ToolResult(
        False, "append() is missing argument 'n', has no argument 'm'; signature: append(n: int) -> None"
    )
    assert ran == []


def test_a_result_that_cannot_be_shown_is_an_answer() -> None:
    class Broken:
        @property
        def model_dump(self) -> object:
            raise OSError("gone")

    answer = blocking(Broken).call_blocking({})
    assert answer == ToolResult(False, "OSError: gone")
