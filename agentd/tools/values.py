"""Whatever a function returns, as JSON."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import cast

from agentd.core.tools import JSON

MAX_DEPTH = 100
_CUT = "…"


def to_json(value: object) -> JSON:
    """Return `value` as JSON.

    Dataclasses, pydantic models, named tuples and mappings become objects, other collections and generators arrays
    (sets sorted where they can be), enums their values, dates ISO 8601, bytes text or else base64, NaN and the
    infinities `null`. Anything else is its `str()`. A value inside itself, or 100 levels deep, is `"…"`.
    """
    return _convert(value, ())


def _convert(value: object, path: tuple[int, ...]) -> JSON:
    """Convert `value`; `path` holds the ids of the collections that it lies in."""
    kind = type(value)
    if kind is str:
        return _text(cast(str, value))
    if value is None or kind is int or kind is bool:
        return cast("int | bool | None", value)
    if kind is float:
        return _number(cast(float, value))
    if id(value) in path or len(path) >= MAX_DEPTH:
        return _CUT
    inner = (*path, id(value))
    if kind is dict:
        return _object(cast(dict[object, object], value), inner)
    if kind is list or kind is tuple:
        return _array(cast(list[object], value), inner)
    return _special(value, inner)


def _special(value: object, path: tuple[int, ...]) -> JSON:
    import dataclasses
    import enum

    if isinstance(value, enum.Enum):
        return _convert(cast(object, value.value), path)
    if isinstance(value, str):
        return _text(str.__str__(value))
    if isinstance(value, float):
        return _number(float(value))
    if isinstance(value, int):
        return int(value)
    if isinstance(value, bytes | bytearray | memoryview):
        return _bytes(bytes(cast(bytes, value)))
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _object({field.name: getattr(value, field.name) for field in dataclasses.fields(value)}, path)
    return _structured(value, path)


def _structured(value: object, path: tuple[int, ...]) -> JSON:
    """Convert what tells its content by a method, or is an abstract collection; else a leaf."""
    from collections.abc import Sequence
    from collections.abc import Set as AbstractSet
    from types import GeneratorType

    if isinstance(value, type):
        return str(value)
    for name in ("model_dump", "_asdict", "tolist"):  # pydantic, named tuples, numpy
        method = getattr(value, name, None)
        if callable(method):
            return _convert(cast(Callable[[], object], method)(), path)
    if isinstance(value, Mapping):
        return _object(cast(Mapping[object, object], value), path)
    if isinstance(value, AbstractSet):
        return _array(_sorted(cast(AbstractSet[object], value)), path)
    if isinstance(value, Sequence | GeneratorType | map | filter | zip | enumerate):
        return _array(cast(Iterable[object], value), path)
    return _leaf(value)


def _leaf(value: object) -> JSON:
    from pydantic_core import to_jsonable_python

    try:
        plain = cast(object, to_jsonable_python(value, fallback=str))
    except Exception:  # noqa: BLE001  # a user's __str__ or serializer may raise anything
        return f"<{type(value).__name__}>"
    return _convert(plain, ()) if isinstance(plain, str | int | float) else _text(str(plain))


def _object(items: Mapping[object, object], path: tuple[int, ...]) -> JSON:
    return {_key(key): _convert(item, path) for key, item in items.items()}


def _array(items: Iterable[object], path: tuple[int, ...]) -> JSON:
    return [_convert(item, path) for item in items]


def _key(key: object) -> str:
    """Return a key as text, as `json.dumps` would: `True` is "true", `None` "null"."""
    if type(key) is str:
        return _text(key)
    plain = _convert(key, ())
    if isinstance(plain, bool) or plain is None:
        return {True: "true", False: "false", None: "null"}[plain]
    return plain if isinstance(plain, str) else str(plain)


def _sorted(items: Iterable[object]) -> Iterable[object]:
    try:
        return sorted(items)  # pyright: ignore[reportArgumentType, reportUnknownVariableType]  # tried, not known
    except TypeError:
        return items


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _bytes(value: bytes) -> str:
    import base64

    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def _text(value: str) -> str:
    """Return `value` with lone surrogates, which no UTF-8 can carry, replaced."""
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value
