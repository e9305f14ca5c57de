"""The shape of a JSON value: read from a JSON Schema or from a value, shown as a Python type or in few tokens."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from agentd.core.tools import JSON

MAX_LITERALS = 20
_MAX_TEXT = 200
_MAX_KEYS = 12
_MAX_WORD = 64
_BARE = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]*")
_PYTHON = {"any": "Any", "null": "None", "object": "dict[str, Any]"}


@dataclass(frozen=True, slots=True)
class Key:
    """One key of an object."""

    name: str
    shape: Shape
    required: bool = True


@dataclass(frozen=True, slots=True)
class Shape:
    """A JSON type. `kind` is `any null str int float bool literal array object union`.

    `items` are the members of a union, or the one item type of an array; `literals` the values of a literal. An
    object has `keys`, or with `items` any keys whose values are of that type.
    """

    kind: str
    items: tuple[Shape, ...] = ()
    literals: tuple[str | int | float | bool | None, ...] = ()
    keys: tuple[Key, ...] = ()


ANY = Shape("any")
NULL = Shape("null")


def union(shapes: Iterable[Shape]) -> Shape:
    """Return the union of `shapes`, flattened and without doubles; `any` swallows all others."""
    members: list[Shape] = []
    for shape in shapes:
        for member in shape.items if shape.kind == "union" else (shape,):
            if member == ANY:
                return ANY
            if member not in members:
                members.append(member)
    if len(members) == 1:
        return members[0]
    return Shape("union", tuple(members)) if members else ANY


def without_null(shape: Shape) -> Shape:
    """Return `shape` without the `null` of its union."""
    if shape.kind != "union":
        return shape
    return union(member for member in shape.items if member != NULL)


def python_type(shape: Shape) -> str:
    """Return `shape` as a Python annotation: `list[str] | None`, `Literal['asc', 'desc']`, `dict[str, Any]`."""
    if shape.kind == "literal":
        text = f"Literal[{', '.join(repr(value) for value in shape.literals)}]"
        return text if len(text) <= _MAX_TEXT else _literal_base(shape.literals)
    if shape.kind == "array":
        return f"list[{python_type(shape.items[0])}]" if shape.items else "list[Any]"
    if shape.kind == "object" and shape.items:
        return f"dict[str, {python_type(shape.items[0])}]"
    if shape.kind == "union":
        return " | ".join(dict.fromkeys(python_type(member) for member in shape.items))
    return _PYTHON.get(shape.kind, shape.kind)


def brief(shape: Shape, depth: int = 3) -> str:
    """Return `shape` in few tokens: `[str]`, `asc|desc`, `{a, b?:int}` where `b` may be absent and `a` is a string.

    Objects nested deeper than `depth` are `{}`.
    """
    if shape.kind == "literal":
        text = "|".join(_bare(value) for value in shape.literals)
        return text if len(text) <= _MAX_TEXT else _literal_base(shape.literals)
    if shape.kind == "array":
        return f"[{brief(shape.items[0], depth)}]" if shape.items else "[]"
    if shape.kind == "union":
        return "|".join(dict.fromkeys(brief(member, depth) for member in shape.items))
    if shape.kind == "object":
        return _brief_object(shape, depth)
    return shape.kind


def brief_key(name: str, shape: Shape, required: bool, depth: int = 3) -> str:
    """Return `name`, `name?`, `name:type` or `name?:type`; `str` is not said."""
    mark = "" if required else "?"
    kind = brief(shape if required else without_null(shape), depth)
    return f"{name}{mark}" if kind == "str" else f"{name}{mark}:{kind}"


def shape_of(value: JSON, depth: int = 4) -> Shape:
    """Return the shape of a value, of long lists that of the first items."""
    if isinstance(value, dict):
        if depth == 0:
            return Shape("object")
        return Shape("object", keys=tuple(Key(name, shape_of(item, depth - 1)) for name, item in value.items()))
    if isinstance(value, list):
        return Shape("array", (_merged([shape_of(item, depth) for item in value[:20]]),)) if value else Shape("array")
    if value is None:
        return NULL
    return Shape(type(value).__name__)


def _merged(shapes: Sequence[Shape]) -> Shape:
    """Return the union, with all objects made one whose keys are required where all have them."""
    objects = [shape for shape in shapes if shape.kind == "object"]
    if not objects:
        return union(shapes)
    found: dict[str, list[Shape]] = {}
    for shape in objects:
        for key in shape.keys:
            found.setdefault(key.name, []).append(key.shape)
    keys = tuple(Key(name, _merged(kinds), len(kinds) == len(objects)) for name, kinds in found.items())
    return union([Shape("object", keys=keys), *(shape for shape in shapes if shape.kind != "object")])


def _brief_object(shape: Shape, depth: int) -> str:
    if shape.items:
        return f"{{str: {brief(shape.items[0], depth - 1)}}}"
    if not shape.keys or depth <= 0:
        return "{}"
    shown = [brief_key(_bare(key.name), key.shape, key.required, depth - 1) for key in shape.keys[:_MAX_KEYS]]
    return "{" + ", ".join(shown) + (", …}" if len(shape.keys) > _MAX_KEYS else "}")


def _literal_base(values: Sequence[JSON]) -> str:
    return " | ".join(dict.fromkeys("None" if value is None else type(value).__name__ for value in values))


def _bare(value: JSON) -> str:
    """Return a text that is one plain word as it is, all else as Python would write it, at most 64 characters."""
    if isinstance(value, str) and len(value) > _MAX_WORD:
        value = value[: _MAX_WORD - 1] + "…"
    return value if isinstance(value, str) and _BARE.fullmatch(value) else repr(value)
