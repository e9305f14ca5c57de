"""A function's signature as text, for people and models."""

from __future__ import annotations

import functools
import inspect
import typing
from collections.abc import Sequence
from typing import cast

from agentd.tools.hints import Function

_MAX_DEFAULT = 40
_PLAIN = (str, int, float, bool, type(None))


def bound_by_partial(function: Function) -> set[str]:
    """Return the names of parameters that a `functools.partial` has settled: no caller gives them."""
    if isinstance(function, functools.partial):
        return set(function.keywords)
    return set()


def signature_text(name: str, parameters: Sequence[inspect.Parameter], result: object) -> str:
    """Return for example `add(a: int, b: int = 2) -> int`."""
    parts: list[str] = []
    starred = False
    for place, param in enumerate(parameters):
        if param.kind is param.VAR_POSITIONAL:
            starred = True
        elif param.kind is param.KEYWORD_ONLY and not starred:
            parts.append("*")
            starred = True
        parts.append(_parameter(param))
        if param.kind is param.POSITIONAL_ONLY and not _positional_only(parameters, place + 1):
            parts.append("/")
    arrow = "" if result is inspect.Signature.empty else f" -> {_annotation(result)}"
    return f"{name}({', '.join(parts)}){arrow}"


def _positional_only(parameters: Sequence[inspect.Parameter], place: int) -> bool:
    return place < len(parameters) and parameters[place].kind is inspect.Parameter.POSITIONAL_ONLY


def _parameter(param: inspect.Parameter) -> str:
    stars = {param.VAR_POSITIONAL: "*", param.VAR_KEYWORD: "**"}.get(param.kind, "")
    typed = param.annotation is not param.empty
    text = f"{stars}{param.name}: {_annotation(param.annotation)}" if typed else f"{stars}{param.name}"
    if param.default is param.empty:
        return text
    return f"{text} = {_default(param.default)}" if typed else f"{text}={_default(param.default)}"


def _annotation(annotation: object) -> str:
    if isinstance(annotation, str):
        return annotation
    if typing.get_origin(annotation) is typing.Annotated:
        return _annotation(typing.get_args(annotation)[0])
    if isinstance(annotation, type) and typing.get_origin(annotation) is None:
        return annotation.__qualname__.rpartition("<locals>.")[2]
    return inspect.formatannotation(annotation)


def _default(default: object) -> str:
    """Return a default that is plain data; of others, which may hold anything, only that there is one."""
    if isinstance(default, _PLAIN) or default in ([], {}, ()):
        text = repr(cast(object, default))
        return text if len(text) <= _MAX_DEFAULT else "..."
    return "..."
