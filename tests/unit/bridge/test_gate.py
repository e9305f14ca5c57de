from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from agentd.bridge.gate import MAX_RESULT_SHOWN, BlockDoor, Gate, UnknownTool
from agentd.core.events import Event, ToolFinished, ToolStarted
from agentd.core.protocols import Door
from agentd.core.tools import JSON, ToolResult, ToolSpec


class Local:
    """A blocking tool made of a function."""

    def __init__(self, name: str, function: Callable[[dict[str, JSON]], ToolResult]) -> None:
        self.spec = ToolSpec(name)
        self._function = function

    def call_blocking(self, arguments: dict[str, JSON]) -> ToolResult:
        return self._function(arguments)

    async def call(self, arguments: dict[str, JSON]) -> ToolResult:
        return self._function(arguments)


class Remote:
    """A tool that waits on the loop, as those of MCP servers do."""

    def __init__(self, seconds: float = 0) -> None:
        self.spec = ToolSpec("remote")
        self.cancelled = threading.Event()
        self.started = threading.Event()
        self._seconds = seconds

    async def call(self, arguments: dict[str, JSON]) -> ToolResult:
        self.started.set()
        try:
            await asyncio.sleep(self._seconds)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return ToolResult(True, arguments)


def raising(arguments: dict[str, JSON]) -> ToolResult:
    raise RuntimeError("inside the tool")


@pytest.fixture
def gate() -> Iterator[Gate]:
    """A gate whose loop runs in a thread of its own, as in the library."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield Gate(loop)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()
    loop.close()


@pytest.fixture
def events() -> list[Event]:
    return []


def echoing(value: JSON, ok: bool = True) -> Local:
    return Local("tool", lambda _: ToolResult(ok, value))


def ask(door: Door, tool: str, arguments: object) -> dict[str, object]:
    answer = door.call(json.dumps({"tool": tool, "arguments": arguments}).encode())
    assert b"\n" not in answer
    return json.loads(answer)


def test_a_blocking_tool_runs_in_the_calling_thread(gate: Gate, events: list[Event]) -> None:
    threads: list[int] = []
    gate.update({"here": Local("here", lambda _: ToolResult(not threads.append(threading.get_ident()), 1))})
    assert ask(gate.door("b", events.append), "here", {}) == {"ok": True, "value": 1}
    assert threads == [threading.get_ident()]


def test_any_other_tool_runs_on_the_loop(gate: Gate, events: list[Event]) -> None:
    gate.update({"remote": Remote()})
    assert ask(gate.door("b", events.append), "remote", {"a": [None, "é"]}) == {"ok": True, "value": {"a": [None, "é"]}}


def test_events_tell_of_each_call(gate: Gate, events: list[Event]) -> None:
    gate.update({"good": echoing("x" * 5000), "bad": echoing("no", ok=False)})
    door = gate.door("block_1", events.append)
    assert ask(door, "good", {"long": "é" * 5000})["ok"]
    assert ask(door, "bad", {}) == {"ok": False, "error": "no"}
    first, second, third, fourth = events
    assert isinstance(first, ToolStarted) and isinstance(third, ToolStarted)
    assert isinstance(second, ToolFinished) and isinstance(fourth, ToolFinished)
    assert (first.block, first.tool, first.id) == ("block_1", "good", second.id) and third.id == fourth.id != first.id
    assert first.arguments.startswith('{"long":"éé') and len(first.arguments) == 2000
    assert second.ok and second.result.startswith('"xx') and len(second.result) == 1000 and second.duration >= 0
    assert (fourth.ok, fourth.result) == (False, '"no"')


def test_an_unknown_tool_is_answered_with_those_that_are_nearly_called_so(gate: Gate, events: list[Event]) -> None:
    gate.update({"read_file": echoing(1), "write_file": echoing(1)})
    answer = ask(gate.door("b", events.append), "readfile", {})
    assert answer["ok"] is False and "read_file" in str(answer["error"]) and events == []


@pytest.mark.parametrize(
    "request_",
    [
        b"",
        b"not json",
        b"[]",
        b"null",
        b'"add"',
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"tool": "t"}',
        b'{"arguments": {}}',
        b'{"tool": 1, "arguments": {}}',
        b'{"tool": "t", "arguments": []}',
        b'{"tool": "t", "arguments": null}',
        b'{"tool": "t", "arguments": {}, "more": 1}',
        b'{"tool": "t", "arguments": ' + b'{"a":' * 100_000,
    ],
)
def test_a_malformed_request_is_refused_and_runs_nothing(gate: Gate, events: list[Event], request_: bytes) -> None:
    gate.update({"t": Local("t", raising)})
    answer = json.loads(gate.door("b", events.append).call(request_))
    assert answer["ok"] is False and answer["error"] and events == []


def test_a_tool_that_raises_is_a_failed_call(gate: Gate, events: list[Event]) -> None:
    gate.update({"t": Local("t", raising)})
    assert ask(gate.door("b", events.append), "t", {}) == {
        "ok": False,
        "error": "t failed: RuntimeError: inside the tool",
    }
    assert isinstance(events[-1], ToolFinished) and not events[-1].ok


@pytest.mark.parametrize("value", ["\ud800 é \n  ", {"k\udfff": "中"}, '\x00\x1f"\\'])
def test_every_string_survives(gate: Gate, events: list[Event], value: JSON) -> None:
    gate.update({"t": Local("t", lambda arguments: ToolResult(True, [value, arguments["v"]]))})
    assert ask(gate.door("b", events.append), "t", {"v": value})["value"] == [value, value]
    for event in events:
        assert isinstance(event, ToolStarted | ToolFinished)
        (event.arguments if isinstance(event, ToolStarted) else event.result).encode()


def test_a_value_that_is_no_json_does_not_break_the_door(gate: Gate, events: list[Event]) -> None:
    loop: list[JSON] = []
    loop.append(loop)
    gate.update({"t": echoing(loop), "u": echoing(object())})  # pyright: ignore[reportArgumentType]
    door = gate.door("b", events.append)
    assert ask(door, "t", {})["ok"] is False
    assert str(ask(door, "u", {})["value"]).startswith("<object")


def test_a_closed_door_answers_and_runs_nothing(gate: Gate, events: list[Event]) -> None:
    gate.update({"t": Local("t", raising)})
    door = gate.door("b", events.append)
    door.close()
    answer = ask(door, "t", {})
    assert answer["ok"] is False and "ended" in str(answer["error"]) and events == []


def test_closing_cancels_what_is_pending(gate: Gate, events: list[Event]) -> None:
    slow = Remote(600)
    gate.update({"slow": slow})
    door = gate.door("b", events.append)
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(ask, door, "slow", {})
        assert slow.started.wait(10)
        door.close()
        finishes = [event for event in events if isinstance(event, ToolFinished)]
        assert len(finishes) == 1 and "cancelled" in finishes[0].result
        answer = waiting.result(10)
    assert answer["ok"] is False and "cancelled" in str(answer["error"])
    assert slow.cancelled.wait(10)
    assert [type(event) for event in events] == [ToolStarted, ToolFinished]


def test_what_a_blocking_tool_gives_after_the_close_is_dropped(gate: Gate, events: list[Event]) -> None:
    door: BlockDoor

    def closes(arguments: dict[str, JSON]) -> ToolResult:
        door.close()
        return ToolResult(True, "too late")

    gate.update({"t": Local("t", closes)})
    door = gate.door("b", events.append)
    assert "cancelled" in str(ask(door, "t", {})["error"])
    assert [type(event) for event in events] == [ToolStarted, ToolFinished]


def test_two_doors_have_nothing_to_do_with_each_other(gate: Gate) -> None:
    gate.update({"t": echoing(1)})
    one: list[Event] = []
    two: list[Event] = []
    first, second = gate.door("one", one.append), gate.door("two", two.append)
    first.close()
    assert ask(second, "t", {})["ok"] and not one and len(two) == 2


def test_threads_share_a_door(gate: Gate, events: list[Event]) -> None:
    gate.update({"r": Remote(0.01), "l": Local("l", lambda arguments: ToolResult(True, arguments["n"]))})
    door = gate.door("b", events.append)
    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(lambda n: ask(door, "rl"[n % 2], {"n": n})["value"], range(200)))
    assert answers == [n if n % 2 else {"n": n} for n in range(200)]
    assert len({event.id for event in events if isinstance(event, ToolStarted)}) == 200


async def test_from_its_own_loop_a_door_refuses_instead_of_waiting_for_ever(events: list[Event]) -> None:
    gate = Gate(asyncio.get_running_loop())
    gate.update({"r": Remote()})
    assert "event loop" in str(ask(gate.door("b", events.append), "r", {})["error"])


async def test_acall_runs_blocking_tools_beside_the_loop(events: list[Event]) -> None:
    gate = Gate(asyncio.get_running_loop())
    release = threading.Event()
    gate.update({"wait": Local("wait", lambda _: ToolResult(release.wait(30), "done")), "r": Remote()})
    door = gate.door("b", events.append)
    slow = [asyncio.create_task(door.acall("wait", {})) for _ in range(40)]
    assert await door.acall("r", {"a": 1}) == ToolResult(True, {"a": 1})
    assert not any(task.done() for task in slow)
    release.set()
    assert [result.value for result in await asyncio.gather(*slow)] == ["done"] * 40
    assert len(events) == 82


async def test_acall_is_cancelled_by_the_close(events: list[Event]) -> None:
    gate = Gate(asyncio.get_running_loop())
    slow = Remote(600)
    gate.update({"slow": slow})
    door = gate.door("b", events.append)
    task = asyncio.create_task(door.acall("slow", {}))
    assert await asyncio.to_thread(slow.started.wait, 10)
    door.close()
    result = await task
    assert not result.ok and "cancelled" in str(result.value) and slow.cancelled.is_set()
    assert not (await door.acall("slow", {})).ok
    with pytest.raises(UnknownTool):
        await door.acall("missing", {})
    assert [type(event) for event in events] == [ToolStarted, ToolFinished]


def test_acall_is_cancelled_by_a_close_in_another_thread(gate: Gate, events: list[Event]) -> None:
    slow = Remote(600)
    gate.update({"slow": slow})
    door = gate.door("b", events.append)
    call = asyncio.run_coroutine_threadsafe(door.acall("slow", {}), gate.loop)
    assert slow.started.wait(10)
    time.sleep(0.1)  # nothing else wakes the loop then
    door.close()
    assert "cancelled" in str(call.result(20).value) and slow.cancelled.is_set()


async def test_acall_from_another_loop_runs_the_tool_on_the_gates(gate: Gate, events: list[Event]) -> None:
    ran_on: list[asyncio.AbstractEventLoop] = []

    class Where(Remote):
        async def call(self, arguments: dict[str, JSON]) -> ToolResult:
            ran_on.append(asyncio.get_running_loop())
            return await super().call(arguments)

    gate.update({"r": Where()})
    assert await gate.door("b", events.append).acall("r", {"a": 1}) == ToolResult(True, {"a": 1})
    assert ran_on == [gate.loop]


async def test_acall_does_not_wait_for_a_coroutine_that_goes_on_when_cancelled(events: list[Event]) -> None:
    release = asyncio.Event()

    class Stubborn(Remote):
        async def call(self, arguments: dict[str, JSON]) -> ToolResult:
            try:
                return await super().call(arguments)
            except asyncio.CancelledError:
                await release.wait()
                raise

    gate = Gate(asyncio.get_running_loop(), timeout=0.05)
    stubborn = Stubborn(600)
    gate.update({"r": stubborn})
    result = await asyncio.wait_for(gate.door("b", events.append).acall("r", {}), 20)
    assert not result.ok and "did not answer within 0.05 s" in str(result.value) and not release.is_set()
    await asyncio.sleep(0)
    assert stubborn.cancelled.is_set()
    release.set()
    await asyncio.sleep(0)


async def test_acall_cancelled_with_its_task_tells_so_and_cancels_the_work(events: list[Event]) -> None:
    gate = Gate(asyncio.get_running_loop())
    slow = Remote(600)
    gate.update({"slow": slow})
    task = asyncio.create_task(gate.door("b", events.append).acall("slow", {}))
    assert await asyncio.to_thread(slow.started.wait, 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert slow.cancelled.is_set() and [type(event) for event in events] == [ToolStarted, ToolFinished]


class Timed(Remote):
    """A tool that keeps time itself."""

    keeps_time = True


async def test_a_tool_that_keeps_time_itself_is_not_limited(events: list[Event]) -> None:
    gate = Gate(asyncio.get_running_loop(), 0.05)
    gate.update({"timed": Timed(0.3), "remote": Remote(600)})
    door = gate.door("", events.append)
    assert (await door.acall("timed", {})).ok
    assert (await door.acall("remote", {})).value == "remote did not answer within 0.05 s"


class Interrupted(Remote):
    async def call(self, arguments: dict[str, JSON]) -> ToolResult:
        raise SystemExit("x")


def exits(arguments: dict[str, JSON]) -> ToolResult:
    raise SystemExit("x")


def stops(arguments: dict[str, JSON]) -> ToolResult:
    raise StopIteration("x")


async def test_whatever_a_tool_raises_is_its_answer(gate: Gate, events: list[Event]) -> None:
    gate.update({"remote": Interrupted(), "here": Local("here", exits), "stops": Local("stops", stops)})
    door = gate.door("b", events.append)
    for key, kind in (("remote", "SystemExit"), ("here", "SystemExit"), ("stops", "StopIteration")):
        told = f"{key} failed: {kind}: x"
        assert ask(door, key, {}) == {"ok": False, "error": told}
        async with asyncio.timeout(10):
            assert await door.acall(key, {}) == ToolResult(False, told)
    assert len([event for event in events if isinstance(event, ToolFinished)]) == 6


class Counted:
    """Counts how often it is written."""

    def __init__(self) -> None:
        self.written = 0

    def __str__(self) -> str:
        self.written += 1
        return "x"


async def test_of_a_large_result_only_the_beginning_is_written(events: list[Event]) -> None:
    counted = Counted()
    large: Any = [counted] * 100_000
    results: list[Any] = [large, {"a": large}, {"a": {"b": [1, "é" * 5000]}}, "\n" * 5000, 5, None, [[]] * 9, {}]
    gate = Gate(asyncio.get_running_loop())
    for result in results:
        gate.update({"tool": echoing(result)})
        assert (await gate.door("", events.append).acall("tool", {})).value is result
    assert 0 < counted.written <= 2 * MAX_RESULT_SHOWN
    shown = [event.result for event in events if isinstance(event, ToolFinished)]
    whole = [json.dumps(each, ensure_ascii=False, separators=(",", ":"), default=str) for each in results]
    assert shown == [each[:MAX_RESULT_SHOWN] for each in whole]
