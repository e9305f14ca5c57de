"""A Python function as a tool."""

from __future__ import annotations

import inspect
import threading
from collections.abc import AsyncIterator, Awaitable, Mapping
from functools import cached_property
from typing import Self, cast

from agentd.core.tools import JSON, ToolResult, ToolSpec
from agentd.tools.hints import Function, enclosing_types
from agentd.tools.schema import ArgumentsError, Interface
from agentd.tools.values import to_json

_MAX_ERROR = 4_000


class LocalTool:
    """An async function as a `core.protocols.Tool`.

    Its signature is read when its schema is first asked for or it is first called. Whatever it raises, `SystemExit`
    included, becomes an answer with `ok=False`: the error's type and text, without its traceback. Only the user's
    Ctrl-C passes, which is a `KeyboardInterrupt` in the main thread.
    """

    def __init__(self, function: Function, name: str = "", description: str = "") -> None:
        self.function = function
        self.name = name or name_of(function)
        self._description = description
        self._types: Mapping[str, object] = enclosing_types(function)

    @property
    def spec(self) -> ToolSpec:
        """The tool as it is shown to a model."""
        return self._spec

    def over(self, function: Function) -> Self:
        """Return the same tool over another function, such as the method that `function` is bound to."""
        return type(self)(function, self.name, self._description)

    async def call(self, arguments: dict[str, JSON]) -> ToolResult:
        """Call the function on the running loop."""
        from asyncio import CancelledError

        try:
            bound = self._interface.bind(arguments)
            return ToolResult(True, to_json(await settled(self.function(*bound.positional, **bound.named))))
        except CancelledError:
            raise
        except BaseException as error:  # the rim of a user's function
            if _is_ctrl_c(error):
                raise
            return failure(error, self.name)

    @cached_property
    def _interface(self) -> Interface:
        return Interface(self.function, self.name, self._types)

    @cached_property
    def _spec(self) -> ToolSpec:
        face = self._interface
        return ToolSpec(self.name, self._description or face.description, face.input_schema, face.output_schema)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}>"


class BlockingLocalTool(LocalTool):
    """An ordinary function as a `core.protocols.BlockingTool`."""

    def call_blocking(self, arguments: dict[str, JSON]) -> ToolResult:
        """Call the function in this thread."""
        try:
            bound = self._interface.bind(arguments)
            value = self.function(*bound.positional, **bound.named)
            if inspect.isawaitable(value):
                value = _run(value)
            return ToolResult(True, to_json(value))
        except BaseException as error:  # the rim of a user's function, SystemExit included
            if _is_ctrl_c(error):
                raise
            return failure(error, self.name)

    async def call(self, arguments: dict[str, JSON]) -> ToolResult:
        """Call the function in a thread, so that the loop goes on."""
        from asyncio import to_thread

        return await to_thread(self.call_blocking, arguments)


async def settled(value: object) -> object:
    """Return what an awaitable gives, or the items of an async generator."""
    while inspect.isawaitable(value):
        value = await cast("Awaitable[object]", value)
    if inspect.isasyncgen(value):
        return [item async for item in cast("AsyncIterator[object]", value)]
    return value


def _run(value: Awaitable[object]) -> object:
    from asyncio import run

    return run(settled(value))


def _is_ctrl_c(error: BaseException) -> bool:
    """Tell whether the user wants the program to stop: Python raises his Ctrl-C in the main thread only."""
    return isinstance(error, KeyboardInterrupt) and threading.current_thread() is threading.main_thread()


def local_tool(function: Function, name: str = "", description: str = "") -> LocalTool:
    """Return `function` as the kind of tool that it is: blocking unless it is async."""
    call = getattr(type(function), "__call__", None)  # noqa: B004  # the method itself is wanted
    is_async = any(inspect.iscoroutinefunction(it) or inspect.isasyncgenfunction(it) for it in (function, call))
    return (LocalTool if is_async else BlockingLocalTool)(function, name, description)


def name_of(function: Function) -> str:
    """Return the function's own name; that of a partial's function, or of the class of a callable object."""
    inner: object = function
    while not isinstance(getattr(inner, "__name__", None), str) and hasattr(inner, "func"):
        inner = cast(object, getattr(inner, "func"))  # noqa: B009  # pyright knows no such attribute
    own = getattr(inner, "__name__", None)
    return own if isinstance(own, str) else type(inner).__name__


def failure(error: BaseException, name: str) -> ToolResult:
    """Return the answer to a call that raised; the traceback goes to the log only."""
    if isinstance(error, ArgumentsError):
        return ToolResult(False, str(error))
    import logging

    logging.getLogger(__name__).info("tool %s failed", name, exc_info=error)
    kind = type(error).__name__
    try:
        text = str(error)
    except Exception:  # noqa: BLE001  # a user's __str__ may raise anything
        text = ""
    whole = f"{kind}: {text}" if text else kind
    return ToolResult(False, whole if len(whole) <= _MAX_ERROR else whole[: _MAX_ERROR - 1] + "…")
