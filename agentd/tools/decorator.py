"""`@tool`, and which tools a client gets that was given none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar, cast, overload

from agentd.core.errors import OptionError
from agentd.core.protocols import Tool
from agentd.tools.hints import Function
from agentd.tools.local import LocalTool, local_tool

_MARK = "__agentd_tool__"
_FunctionT = TypeVar("_FunctionT", bound=Callable[..., object])
_registered: dict[tuple[str, str], LocalTool] = {}


class _Decorate(Protocol):
    def __call__(self, function: _FunctionT, /) -> _FunctionT: ...


@overload
def tool(function: _FunctionT, /) -> _FunctionT: ...
@overload
def tool(*, name: str = "", description: str = "") -> _Decorate: ...
def tool(function: Function | None = None, /, *, name: str = "", description: str = "") -> object:
    """Make a function, sync or async, a tool; it stays the ordinary function that it was.

    A function at the top level of a module becomes available to every client that is given no `tools=[…]`; a nested
    function or a method is used by naming it there. Defining the same function again (same module, same name: a
    notebook cell) replaces it. Of two different functions with one tool name the later one counts.
    """

    def decorate(function: _FunctionT) -> _FunctionT:
        if not callable(function):
            raise OptionError(f"@tool takes a function, not {function!r}")
        made = local_tool(function, name, description)
        try:
            setattr(function, _MARK, made)
        except AttributeError:
            raise OptionError(f"{function!r} cannot be decorated; pass it in tools=[…]") from None
        _register(function, made)
        return function

    return decorate if function is None else decorate(function)


def registered() -> list[Tool]:
    """Return the tools that were decorated at the top level of a module, in the order of their definition."""
    by_name: dict[str, Tool] = {}
    for made in _registered.values():
        by_name.pop(made.name, None)
        by_name[made.name] = made
    return list(by_name.values())


def as_tool(thing: Tool | Function) -> Tool:
    """Return a tool for a function, method, other callable, decorated function, or what is a tool already."""
    if isinstance(thing, type) or not hasattr(thing, "spec"):
        return _from_callable(thing)
    return cast(Tool, thing)


def _from_callable(thing: object) -> Tool:
    if not callable(thing):
        raise OptionError(f"a tool is a function or has a spec and a call; {thing!r} is neither")
    function: Function = thing
    made = getattr(function, _MARK, None)
    if not isinstance(made, LocalTool):
        return local_tool(function)
    if made.function is function:
        return made
    return made.over(function)


def _register(function: Function, made: LocalTool) -> None:
    qualified = getattr(function, "__qualname__", "")
    if not qualified or "." in qualified:
        return
    key = (getattr(function, "__module__", None) or "", qualified)
    _registered.pop(key, None)
    _registered[key] = made
