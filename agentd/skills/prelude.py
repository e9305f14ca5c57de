# The beginning of every `lib/tools.py`. One function a tool follows; `_call` may stand in the module's globals already.
# ruff: noqa: F401, TID251
# pyright: reportUnusedImport=false, reportUnusedFunction=false, reportPossiblyUnboundVariable=false
"""The tools of this session as functions: from lib.tools import <name>. A call that fails raises ToolError."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import Any, Literal, cast
else:

    def cast(_, value):
        return value


if "ToolError" not in globals():

    class ToolError(Exception):
        """A tool call failed; the text is the tool's own message."""


class _WrongCall(ToolError, TypeError):
    """The arguments do not fit the tool's signature."""


_WrongCall.__name__ = _WrongCall.__qualname__ = "ToolError"

if "_call" not in globals():  # outside of the agent's own Python blocks

    def _call(tool: str, arguments: Mapping[str, object]) -> object:
        from importlib import import_module

        answer: dict[str, object] = import_module("lib._bridge").call(tool, arguments)
        if answer.get("ok"):
            return answer.get("value")
        raise ToolError(answer.get("error", "the tool gave no answer"))


class _Text(str):
    """An annotation that is shown without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


class _Unset:
    __slots__ = ()

    def __repr__(self) -> str:
        return "..."


_unset: Any = _Unset()


def _plain(value: object) -> object:
    """Return an argument as JSON knows it: paths, dates, sets, dataclasses and the like by their content."""
    if value is None or isinstance(value, (str, int, float)):
        return value
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in cast("dict[object, object]", value).items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in cast("Iterable[object]", value)]
    if isinstance(value, (bytes, bytearray)):
        return value.decode()
    return _content(value)


def _content(value: object) -> object:
    if not isinstance(value, type):
        for name in ("__fspath__", "isoformat", "tolist"):
            method = getattr(value, name, None)
            if method is not None:
                return _plain(method())
        if hasattr(value, "__dataclass_fields__"):
            return {name: _plain(getattr(value, name)) for name in getattr(value, "__dataclass_fields__")}  # noqa: B009
    raise TypeError(f"an argument of type {type(value).__name__} is not JSON")


def _tool(key: str, signature: str, renamed: dict[str, str] | None = None) -> Callable[..., Callable[..., Any]]:
    """Make a tool of a function that returns its arguments as a dict."""

    def given_by(function: Callable[..., dict[str, object]], args: tuple[object, ...], kwargs: dict[str, object]):
        if renamed:
            kwargs = {renamed.get(name, name): value for name, value in kwargs.items()}
        try:
            given = function(*args, **kwargs)
        except TypeError as error:
            raise _WrongCall(f"{error}; signature: {signature}") from None
        return {name: value for name, value in given.items() if value is not _unset}

    def decorate(function: Callable[..., dict[str, object]]) -> Callable[..., object]:
        def tool(*args: object, **kwargs: object) -> object:
            given = given_by(function, args, kwargs)
            try:
                return _call(key, given)
            except TypeError as error:  # nothing was sent: an argument is not JSON as it is
                if isinstance(error, ToolError) or "JSON serializable" not in str(error):
                    raise
            try:
                given = {name: _plain(value) for name, value in given.items()}
            except (TypeError, ValueError, RecursionError) as error:
                raise _WrongCall(f"{error}; signature: {signature}") from None
            return _call(key, given)

        for name in ("__module__", "__name__", "__qualname__", "__doc__"):
            setattr(tool, name, getattr(function, name))
        function.__annotations__ = {name: _Text(note) for name, note in function.__annotations__.items()}
        tool.__annotations__ = function.__annotations__
        tool.__dict__["__wrapped__"] = function
        return tool

    return decorate


del annotations
