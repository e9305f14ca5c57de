"""The real types behind a function's annotations, also where these are strings or name local types."""

from __future__ import annotations

import functools
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping
from typing import cast

Function = Callable[..., object]


def enclosing_types(function: Function) -> dict[str, object]:
    """Return the types that the function which defines `function` has defined so far, if it is still running.

    String annotations may name them, and nothing else keeps them findable. Only types are taken, so that no other
    local is kept alive.
    """
    inner = _plain_function(function)
    outer, dot, _ = getattr(inner, "__qualname__", "").rpartition(".<locals>.")
    if not dot:
        return {}
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_code.co_qualname == outer and frame.f_globals is getattr(inner, "__globals__", None):
            return {name: value for name, value in frame.f_locals.items() if _is_type(value)}
        frame = frame.f_back
    return {}


def namespace_of(function: Function) -> dict[str, object]:
    """Return the names that an annotation of `function` may use: its closure's over its module's."""
    inner = _plain_function(function)
    names = dict(cast(Mapping[str, object], getattr(inner, "__globals__", None) or _module_names(inner)))
    code = cast(types.CodeType | None, getattr(inner, "__code__", None))
    cells = cast("tuple[types.CellType, ...] | None", getattr(inner, "__closure__", None))
    for name, cell in zip(code.co_freevars if code else (), cells or (), strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:
            continue
    return names


def resolve(annotation: object, names: dict[str, object]) -> object:
    """Return the type that `annotation` means; raises whatever its text raises when it cannot be evaluated."""
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    return typing.get_type_hints(holder, names, names, include_extras=True)["it"]


def _plain_function(function: object) -> object:
    """Return the function that holds code and globals, behind partials, methods, wrappers and callable objects."""
    while True:
        if isinstance(function, functools.partial):
            function = cast(object, cast("functools.partial[object]", function).func)
        elif inspect.ismethod(function):
            function = function.__func__
        elif hasattr(function, "__wrapped__"):
            function = cast(object, getattr(function, "__wrapped__"))  # noqa: B009  # pyright knows no such attribute
        else:
            break
    if isinstance(function, type) or hasattr(function, "__code__"):
        return function
    call = getattr(type(function), "__call__", None)  # noqa: B004  # the method itself is wanted
    return call if hasattr(call, "__code__") else function


def _module_names(owner: object) -> dict[str, object]:
    module = sys.modules.get(getattr(owner, "__module__", None) or "")
    return vars(module) if module is not None else {}


def _is_type(value: object) -> bool:
    return isinstance(value, type | typing.TypeVar | typing.NewType) or typing.get_origin(value) is not None
