"""One plain schema for what two of them ask together."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from agentd.core.tools import JSON, Schema

# No value at all fits this one.
NEVER: Schema = {"not": {}}
MAX_BRANCHES = 16

_LARGER = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_SMALLER = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def is_never(schema: Schema) -> bool:
    """Tell whether no value fits."""
    return "not" in schema


def merged(first: Schema, second: Schema) -> Schema:
    """Return a schema for the values that fit both; what cannot be said of both is taken from the first.

    Objects that allow no further keys allow those of the other: that is what authors mean who put them together.
    """
    if is_never(first) or is_never(second):
        return dict(NEVER)
    result = first | second
    for key in first.keys() & second.keys():
        merge = _MERGES.get(key)
        if merge is not None:
            result[key] = merge(first[key], second[key])
        elif key in _LARGER:
            result[key] = max(cast(float, first[key]), cast(float, second[key]))
        elif key in _SMALLER:
            result[key] = min(cast(float, first[key]), cast(float, second[key]))
        else:
            result[key] = first[key]
    _close(first, second, result)
    return dict(NEVER) if result.get("type") == [] or result.get("enum") == [] else result


def same(first: JSON, second: JSON) -> bool:
    """Tell whether two JSON values are equal: `1` is `1.0`, but not `true`."""
    if first is second or isinstance(first, bool) or isinstance(second, bool):
        return first is second
    if isinstance(first, list) and isinstance(second, list):
        return len(first) == len(second) and all(map(same, first, second))
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(same(value, second[key]) for key, value in first.items())
    return first == second


def _types(first: JSON, second: JSON) -> JSON:
    one, other = cast("list[str]", first), cast("list[str]", second)
    both = [kind for kind in one if kind in other or (kind == "integer" and "number" in other)]
    return cast(JSON, both + ["integer"] * ("integer" in other and "number" in one and "integer" not in both))


def _values(first: JSON, second: JSON) -> JSON:
    others = cast("list[JSON]", second)
    return [value for value in cast("list[JSON]", first) if any(same(value, other) for other in others)]


def _properties(first: JSON, second: JSON) -> JSON:
    result = dict(cast(Schema, first))
    for key, schema in cast(Schema, second).items():
        result[key] = _schemas(result[key], schema) if key in result else schema
    return result


def _schemas(first: JSON, second: JSON) -> JSON:
    """Merge what stands under one key; a reference is not looked through, so that recursion ends."""
    one, other = cast(Schema, first), cast(Schema, second)
    if not one or "$ref" in other:
        return other
    return one if not other or "$ref" in one else merged(one, other)


def _names(first: JSON, second: JSON) -> JSON:
    return list(dict.fromkeys([*cast("list[JSON]", first), *cast("list[JSON]", second)]))  # pyright: ignore[reportArgumentType]  # all are texts


def _extra(first: JSON, second: JSON) -> JSON:
    if isinstance(first, bool) or isinstance(second, bool):
        return first if second is True else second
    return _schemas(first, second)


def _branches(first: JSON, second: JSON) -> JSON:
    ones, others = cast("list[Schema]", first), cast("list[Schema]", second)
    if len(ones) * len(others) > MAX_BRANCHES:
        return first
    return cast(JSON, [cast(Schema, _schemas(one, other)) for one in ones for other in others])


def _close(first: Schema, second: Schema, result: Schema) -> None:
    """An object stays closed when both are, or when the other one says nothing of keys."""
    for closed, other in ((first, second), (second, first)):
        if closed.get("additionalProperties") is False and "properties" in other:
            own = cast(Schema, closed.get("properties", {}))
            if other.get("additionalProperties") is not False and cast(Schema, other["properties"]).keys() - own.keys():
                result.pop("additionalProperties", None)
            return


_MERGES: dict[str, Callable[[JSON, JSON], JSON]] = {
    "type": _types,
    "enum": _values,
    "properties": _properties,
    "required": _names,
    "additionalProperties": _extra,
    "items": _schemas,
    "anyOf": _branches,
}
