"""The gate: every tool call of the model's code passes here, whichever door it came through."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import re
from collections.abc import Callable, Mapping
from concurrent.futures import CancelledError, Future
from time import perf_counter
from typing import NamedTuple, cast

from agentd.bridge.threads import Threads
from agentd.core.events import Event, ToolFinished, ToolProgress, ToolStarted
from agentd.core.protocols import BlockingTool, ReportingTool, Tool
from agentd.core.tools import JSON, Progress, ToolResult, ToolSpec

MAX_ARGUMENTS_SHOWN = 2000
MAX_RESULT_SHOWN = 1000
CLOSED = "the block that made this call has ended"
CANCELLED = "the call was cancelled: the block that made it has ended"
ABANDONED = "the call was cancelled: nobody waits for its answer any more"

_to_json = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=str).encode
_SURROGATE = re.compile("[\ud800-\udfff]")
_log = logging.getLogger("agentd.bridge")


class UnknownTool(Exception):
    """No tool has this name."""


class _Entry(NamedTuple):
    tool: Tool
    blocking: Callable[[dict[str, JSON]], ToolResult] | None
    reporting: ReportingTool | None


class Gate:
    """Holds a session's tools by the keys that its code uses. Coroutines of tools run on `loop`.

    A call through `acall` has `timeout` seconds; what a blocking function still does then has no effect on the answer.
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
        self._futures: dict[str, Future[ToolResult]] = {}
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
        # Called on the gate's loop or on another one: either way the work belongs to the gate.
        if entry.blocking is not None:
            future = self.gate.threads.run(entry.blocking, arguments)
        else:
            future = self._submit(call_id, entry, arguments)
        self._watch(call_id, future)
        limit = asyncio.timeout(self.gate.timeout)
        try:
            async with limit:
                result = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            # Cancelled by close(), or with the task that waits here.
            future.cancel()
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                self._finish(call_id, False, ABANDONED)
                raise
            self._finish(call_id, False, CANCELLED)
            return ToolResult(False, CANCELLED)
        except Exception as error:  # noqa: BLE001  the rim of a tool call
            future.cancel()
            late = f"{key} did not answer within {self.gate.timeout} s"
            result = ToolResult(False, late) if limit.expired() else _failure(key, error)
        if not self._finish(call_id, result.ok, _shown(result.value, MAX_RESULT_SHOWN)):
            return ToolResult(False, CANCELLED)
        return result

    def close(self) -> None:
        """Refuse later calls and cancel the pending ones, whose finish is emitted before this returns."""
        self._closed = True
        for call_id in list(self._started):
            future = self._futures.get(call_id)
            self._finish(call_id, False, CANCELLED)
            if future is not None:
                future.cancel()

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
        try:
            if entry.blocking is not None:
                return entry.blocking(arguments)
            if _running_loop() is self.gate.loop:
                return ToolResult(False, f"{key} cannot be waited for on the event loop that runs it")
            future = self._submit(call_id, entry, arguments)
            self._watch(call_id, future)
            return future.result()
        except CancelledError:
            return ToolResult(False, CANCELLED)
        except Exception as error:  # noqa: BLE001  tools do not raise; one that does must not take the block with it
            return _failure(key, error)

    def _submit(self, call_id: str, entry: _Entry, arguments: dict[str, JSON]) -> Future[ToolResult]:
        def report(progress: Progress) -> None:
            if call_id in self._started:
                self._emit(ToolProgress(call_id, progress.progress, progress.total, progress.message))

        if entry.reporting is not None:
            return asyncio.run_coroutine_threadsafe(entry.reporting.call_reporting(arguments, report), self.gate.loop)
        return asyncio.run_coroutine_threadsafe(entry.tool.call(arguments), self.gate.loop)

    def _begin(self, key: str, arguments: str, call_id: str = "") -> str:
        call_id = call_id or f"{self._block}.{next(self._numbers)}"
        self._emit(ToolStarted(call_id, self._block, key, arguments))
        self._started[call_id] = perf_counter()
        return call_id

    def _watch(self, call_id: str, future: Future[ToolResult]) -> None:
        self._futures[call_id] = future
        if self._closed:
            future.cancel()

    def _finish(self, call_id: str, ok: bool, shown: str) -> bool:
        """Emit the call's finish, unless `close` has done so: whoever takes it out of `_started` emits."""
        self._futures.pop(call_id, None)
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


def _failure(key: str, error: Exception) -> ToolResult:
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


def _shown(value: JSON, limit: int) -> str:
    try:
        return _clean(_to_json(value)[:limit])
    except (ValueError, RecursionError) as error:
        return f"<{error}>"


def _clean(text: str) -> str:
    """Replace lone surrogates: events are stored as UTF-8."""
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
