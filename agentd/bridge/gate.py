"""The gate: every tool call of the model's code passes here, whichever door it came through."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from time import perf_counter
from typing import NamedTuple, cast

from agentd.bridge.threads import Threads
from agentd.core.events import Event, ToolFinished, ToolProgress, ToolStarted
from agentd.core.protocols import BlockingTool, ReportingTool, TimedTool, Tool
from agentd.core.tools import JSON, Progress, ToolResult, ToolSpec

MAX_ARGUMENTS_SHOWN = 2000
MAX_RESULT_SHOWN = 1000
CLOSED = "the block that made this call has ended"
CANCELLED = "the call was cancelled: the block that made it has ended"
ABANDONED = "the call was cancelled: nobody waits for its answer any more"

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
_SURROGATE = re.compile("[\ud800-\udfff]")
_log = logging.getLogger("agentd.bridge")
_Work = Future[ToolResult] | asyncio.Task[ToolResult]


class UnknownTool(Exception):
    """No tool has this name."""


class _Entry(NamedTuple):
    tool: Tool
    blocking: Callable[[dict[str, JSON]], ToolResult] | None
    reporting: ReportingTool | None
    timed: bool


class Gate:
    """Holds a session's tools by the keys that its code uses. Coroutines of tools run on `loop`.

    A call through `acall` has `timeout` seconds, unless the tool keeps time itself; what a blocking function still does
    then has no effect on the answer.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, timeout: float | None = None) -> None:
        self.loop = loop
        self.timeout = timeout
        self.threads = Threads()
        self._entries: dict[str, _Entry] = {}

    def update(self, tools: Mapping[str, Tool]) -> None:
        """Replace the catalogue; calls that run already are not touched."""
        self._entries = {
            # Asked once here: a protocol check costs as much as a whole call.
            key: _Entry(
                tool,
                tool.call_blocking if isinstance(tool, BlockingTool) else None,
                tool if isinstance(tool, ReportingTool) else None,
                isinstance(tool, TimedTool) and tool.keeps_time,
            )
            for key, tool in tools.items()
        }

    def door(self, block_id: str, emit: Callable[[Event], None]) -> BlockDoor:
        """Open a door for one block. `emit` gets its events in the thread that makes the call; it must not raise."""
        return BlockDoor(self, block_id, emit)

    def specs(self) -> dict[str, ToolSpec]:
        """Return what each key stands for."""
        return {key: entry.tool.spec for key, entry in self._entries.items()}

    def entry(self, key: str) -> _Entry:
        """Return the tool of this key; `UnknownTool` names those that are nearly called so."""
        try:
            return self._entries[key]
        except KeyError:
            raise UnknownTool(self._advice(key)) from None

    def _advice(self, key: str) -> str:
        import difflib

        near = difflib.get_close_matches(key, self._entries, n=3, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else f"there are {len(self._entries)} tools"
        return f"no tool is called {key[:100]!r}: {hint}"


class BlockDoor:
    """One block's way to the tools, for several threads at once. A started call has just one finish in the events."""

    def __init__(self, gate: Gate, block_id: str, emit: Callable[[Event], None]) -> None:
        self.gate = gate
        self._block = block_id
        self._emit = emit
        self._numbers = itertools.count(1)
        self._started: dict[str, float] = {}
        self._work: dict[str, _Work] = {}
        self._closed = False

    def call(self, request: bytes) -> bytes:
        """Answer `{"tool": …, "arguments": {…}}` with one line of JSON. Blocks, so never call it on the gate's loop."""
        try:
            try:
                key, arguments = _parse(request)
                entry = self.gate.entry(key)
            except (ValueError, RecursionError, UnknownTool) as error:
                return _refusal(str(error))
            return self._answer(key, entry, arguments)
        except Exception as error:  # noqa: BLE001  the rim of a tool call: code in the sandbox waits for an answer
            _log.exception("a tool call failed in the gate")
            return _refusal(f"{type(error).__name__} in the gate: {error}")

    async def acall(self, key: str, arguments: dict[str, JSON], call_id: str = "") -> ToolResult:
        """Call a tool from the loop; blocking tools run in a thread. Only `UnknownTool` is raised.

        `call_id` is the call's id in the events; by default it is made from the block's.
        """
        entry = self.gate.entry(key)
        if self._closed:
            return ToolResult(False, CLOSED)
        call_id = self._begin(key, _shown(arguments, MAX_ARGUMENTS_SHOWN), call_id)
        work = self._start(call_id, key, entry, arguments)
        self._watch(call_id, work)
        limit = asyncio.timeout(None if entry.timed else self.gate.timeout)
        try:
            async with limit:
                # Neither waits for work that does not heed its cancellation.
                result = await (asyncio.wrap_future(work) if isinstance(work, Future) else asyncio.shield(work))
        except asyncio.CancelledError:
            # Cancelled by close(), or with the task that waits here.
            work.cancel()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                self._finish(call_id, False, ABANDONED)
                raise
            self._finish(call_id, False, CANCELLED)
            return ToolResult(False, CANCELLED)
        except Exception as error:  # noqa: BLE001  the rim of a tool call
            work.cancel()
            late = f"{key} did not answer within {self.gate.timeout} s"
            result = ToolResult(False, late) if limit.expired() else _failure(key, error)
        shown = _shown(_beginning(result.value, MAX_RESULT_SHOWN), MAX_RESULT_SHOWN)
        if not self._finish(call_id, result.ok, shown):
            return ToolResult(False, CANCELLED)
        return result

    def close(self) -> None:
        """Refuse later calls and cancel the pending ones, whose finish is emitted before this returns."""
        self._closed = True
        for call_id in list(self._started):
            work = self._work.get(call_id)
            self._finish(call_id, False, CANCELLED)
            if work is not None:
                self._cancel(work)

    def _answer(self, key: str, entry: _Entry, arguments: dict[str, JSON]) -> bytes:
        if self._closed:
            return _refusal(CLOSED)
        call_id = self._begin(key, _shown(arguments, MAX_ARGUMENTS_SHOWN))
        if self._closed:
            # Closed between the two lines above: nothing may run any more.
            self._finish(call_id, False, CANCELLED)
            return _refusal(CANCELLED)
        result = self._run(call_id, key, entry, arguments)
        try:
            text = _to_json(result.value)
        except (ValueError, RecursionError) as error:
            result, text = ToolResult(False, ""), _to_json(f"{key} gave a value that is not JSON: {error}")
        if not self._finish(call_id, result.ok, _clean(text[:MAX_RESULT_SHOWN])):
            return _refusal(CANCELLED)
        return _line('{"ok":true,"value":' if result.ok else '{"ok":false,"error":', text)

    def _run(self, call_id: str, key: str, entry: _Entry, arguments: dict[str, JSON]) -> ToolResult:
        if entry.blocking is not None:
            return _called(key, entry.blocking, arguments)
        if _running_loop() is self.gate.loop:
            return ToolResult(False, f"{key} cannot be waited for on the event loop that runs it")
        future = self._submit(call_id, key, entry, arguments)
        self._watch(call_id, future)
        try:
            return future.result()
        except CancelledError:
            return ToolResult(False, CANCELLED)

    def _start(self, call_id: str, key: str, entry: _Entry, arguments: dict[str, JSON]) -> _Work:
        """Begin a call where it belongs, whichever loop this is: in a thread, or on the gate's loop."""
        if entry.blocking is not None:
            return self.gate.threads.run(_called, key, entry.blocking, arguments)
        if _running_loop() is self.gate.loop:
            return self.gate.loop.create_task(self._awaited(call_id, key, entry, arguments))
        return self._submit(call_id, key, entry, arguments)

    def _submit(self, call_id: str, key: str, entry: _Entry, arguments: dict[str, JSON]) -> Future[ToolResult]:
        return asyncio.run_coroutine_threadsafe(self._awaited(call_id, key, entry, arguments), self.gate.loop)

    async def _awaited(self, call_id: str, key: str, entry: _Entry, arguments: dict[str, JSON]) -> ToolResult:
        def report(progress: Progress) -> None:
            if call_id in self._started:
                self._emit(ToolProgress(call_id, progress.progress, progress.total, progress.message))

        try:
            if entry.reporting is not None:
                return await entry.reporting.call_reporting(arguments, report)
            return await entry.tool.call(arguments)
        except asyncio.CancelledError:
            raise
        except BaseException as error:  # a `KeyboardInterrupt` that left the task would end the loop
            if _is_ctrl_c(error):
                raise
            return _failure(key, error)

    def _begin(self, key: str, arguments: str, call_id: str = "") -> str:
        call_id = call_id or f"{self._block}.{next(self._numbers)}"
        self._emit(ToolStarted(call_id, self._block, key, arguments))
        self._started[call_id] = perf_counter()
        return call_id

    def _watch(self, call_id: str, work: _Work) -> None:
        self._work[call_id] = work
        if self._closed:
            self._cancel(work)

    def _cancel(self, work: _Work) -> None:
        if isinstance(work, Future) or _running_loop() is self.gate.loop:
            work.cancel()
        else:
            self.gate.loop.call_soon_threadsafe(work.cancel)

    def _finish(self, call_id: str, ok: bool, shown: str) -> bool:
        """Emit the call's finish, unless `close` has done so: whoever takes it out of `_started` emits."""
        self._work.pop(call_id, None)
        started = self._started.pop(call_id, None)
        if started is None:
            return False
        self._emit(ToolFinished(call_id, ok, shown, perf_counter() - started))
        return True


def _parse(request: bytes) -> tuple[str, dict[str, JSON]]:
    try:
        message: object = json.loads(request.decode())
    except UnicodeDecodeError:
        raise ValueError("the request is not UTF-8") from None
    except RecursionError:
        raise ValueError("the request is nested too deeply") from None
    except ValueError as error:
        raise ValueError(f"the request is not JSON: {error}") from None
    fields = cast(dict[str, object], message) if isinstance(message, dict) else {}
    key, arguments = fields.get("tool"), fields.get("arguments")
    if len(fields) != 2 or not isinstance(key, str) or not isinstance(arguments, dict):
        raise ValueError('a request is {"tool": name, "arguments": {…}} and nothing else')
    return key, cast(dict[str, JSON], arguments)


def _called(key: str, call: Callable[[dict[str, JSON]], ToolResult], arguments: dict[str, JSON]) -> ToolResult:
    try:
        return call(arguments)
    except BaseException as error:  # tools do not raise; one that does must not take the block with it
        if _is_ctrl_c(error):
            raise
        return _failure(key, error)


def _is_ctrl_c(error: BaseException) -> bool:
    """Tell whether the user wants the program to stop: Python raises his Ctrl-C in the main thread only."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def _failure(key: str, error: BaseException) -> ToolResult:
    _log.error("%s raised", key, exc_info=error)
    return ToolResult(False, f"{key} failed: {type(error).__name__}: {error}")


def _refusal(error: str) -> bytes:
    return _line('{"ok":false,"error":', _to_json(error))


def _line(start: str, value: str) -> bytes:
    text = f"{start}{value}}}"
    try:
        return text.encode()
    except UnicodeEncodeError:
        # A lone surrogate, which UTF-8 cannot carry and JSON's escapes can.
        return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text).encode()


def _beginning(value: JSON, limit: int) -> JSON:
    """Return as much of a value as the first `limit` characters of its JSON need: results may have 50 MB."""
    left = limit

    def text(whole: str) -> str:
        nonlocal left
        left -= len(whole)
        return whole[:limit]

    def cut(part: JSON) -> JSON:
        nonlocal left
        if isinstance(part, str):
            return text(part)
        left -= 1
        if isinstance(part, list):
            return [cut(inner) for inner in itertools.takewhile(lambda _: left > 0, part)]
        if isinstance(part, dict):
            return {text(name): cut(inner) for name, inner in itertools.takewhile(lambda _: left > 0, part.items())}
        return part

    try:
        return cut(value)
    except (RecursionError, TypeError):
        return value  # nested too deeply, or not JSON: to encode it tells so


def _shown(value: JSON, limit: int) -> str:
    try:
        return _clean(_to_json(value)[:limit])
    except (ValueError, TypeError, RecursionError) as error:
        return f"<{error}>"


def _clean(text: str) -> str:
    """Replace lone surrogates: events are stored as UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
