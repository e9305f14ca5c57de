"""A plain schema made consistent: keywords fit the types, and unions are as small as they can be."""

from __future__ import annotations

from typing import cast

from agentd.core.tools import JSON, Schema
from agentd.tools.merging import NEVER, is_never, same
from agentd.tools.words import cleaned, note

TYPES = ("null", "boolean", "integer", "number", "string", "array", "object")
BOUNDS: dict[str, tuple[str, ...]] = {
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength", "pattern", "format"),
    "array": ("minItems", "maxItems", "uniqueItems"),
    "object": ("minProperties", "maxProperties"),
}
# What a keyword is about: it counts for values of this type only.
ABOUT = {key: kind for kind, keys in BOUNDS.items() for key in keys} | {
    "properties": "object",
    "required": "object",
    "additionalProperties": "object",
    "items": "array",
}
_SAID = {"description", "default"}


def type_of(value: JSON) -> str:
    """Return the name of a value's JSON type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    for kind, name in ((int, "integer"), (float, "number"), (str, "string"), (list, "array")):
        if isinstance(value, kind):
            return name
    return "object"


def is_type(value: JSON, kind: str) -> bool:
    """Tell whether a value is of a JSON type: `5.0` is an integer too."""
    own = type_of(value)
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return own == kind or (kind == "number" and own == "integer")


def tidy(schema: Schema) -> Schema:
    """Return the schema with a type where one can be told, and without what is of no use beside it."""
    if is_never(schema) or "$ref" in schema:
        return schema
    if "anyOf" in schema:
        return _tidy_union(schema)
    types = _told(schema)
    if not types:
        return _filtered(schema, list(TYPES))
    if "enum" in schema:
        values = [value for value in cast("list[JSON]", schema["enum"]) if any(is_type(value, kind) for kind in types)]
        if not values:
            return dict(NEVER)
        types = [kind for kind in types if any(is_type(value, kind) for value in values)]
        schema = dict(schema)
        schema["enum"] = values
        if all(kind in ("null", "boolean") for kind in types) and _is_complete(values, types):
            del schema["enum"]
    return _with_properties(_filtered(schema, types) | {"type": cast(JSON, types)})


def _told(schema: Schema) -> list[str]:
    """Return the types that the schema names, else those that its keywords are about."""
    given = schema.get("type")
    if isinstance(given, list):
        return cast("list[str]", given)
    if "enum" in schema:
        found = [type_of(value) for value in cast("list[JSON]", schema["enum"])]
        return [kind for kind in dict.fromkeys(found) if kind != "integer" or "number" not in found]
    return list(dict.fromkeys(ABOUT[key] for key in schema if key in ABOUT and key != "format"))


def _is_complete(values: list[JSON], types: list[str]) -> bool:
    wanted = [None] * ("null" in types) + [True, False] * ("boolean" in types)
    return all(any(same(value, each) for value in values) for each in wanted)


def _filtered(schema: Schema, types: list[str]) -> Schema:
    """Leave out the keywords that are about other types."""
    kinds = {*types, "number"} if "integer" in types else set(types)
    return {key: value for key, value in schema.items() if key not in ABOUT or ABOUT[key] in kinds}


def _with_properties(schema: Schema) -> Schema:
    """Give each required key its property, leave out the keys that can have no value."""
    if not schema.keys() & {"properties", "required"}:
        return schema
    needed = cast("list[str]", schema.get("required", []))
    given = cast("dict[str, Schema]", schema.get("properties", {}))
    properties = {key: each for key, each in given.items() if key in needed or not is_never(each)}
    for key in needed:
        if is_never(properties.get(key, dict(NEVER))):
            properties[key] = {}
    result: Schema = schema | {"properties": cast(JSON, properties), "required": cast(JSON, list(needed))}
    if not needed:
        del result["required"]
    return result


def _tidy_union(schema: Schema) -> Schema:
    forms = [tidy(form) for form in cast("list[Schema]", schema["anyOf"])]
    members: list[Schema] = []
    for form in forms:
        inner = cast("list[Schema]", form["anyOf"]) if form.keys() == {"anyOf"} else [form]
        members += [each for each in inner if not is_never(each) and not any(same(each, one) for one in members)]
    said = {key: schema[key] for key in _SAID if key in schema}
    if not members:
        return dict(NEVER)
    if len(members) == 1:
        return members[0] | said
    if any(not member.keys() - _SAID for member in members):
        return said
    return _as_one(members, said) or {**said, "anyOf": cast(JSON, members)}


def _as_one(members: list[Schema], said: Schema) -> Schema | None:
    """Return the union as one schema where its members differ in their values or types only, or in `null`."""
    if all("enum" in member and member.keys() <= {"enum", "type", "description"} for member in members):
        return _one_enum(members, said)
    bare = {"type", "description"}
    if all(member.keys() <= {"type"} for member in members):
        return tidy(said | {"type": _all_types(members)})
    rest = [member for member in members if member.get("type") != ["null"] or not member.keys() <= bare]
    if len(rest) == 1 and len(rest) < len(members) and "type" in rest[0]:
        types = [*cast("list[str]", rest[0]["type"]), "null"]
        result = rest[0] | said | {"type": cast(JSON, list(dict.fromkeys(types)))}
        if "enum" in result:
            result["enum"] = [*cast("list[JSON]", result["enum"]), None]
        return tidy(result)
    return None


def _one_enum(members: list[Schema], said: Schema) -> Schema:
    result = dict(said)
    result["enum"] = [value for member in members for value in cast("list[JSON]", member["enum"])]
    meanings = [
        f"{each}: {cleaned(member['description'], 80)}"
        for member in members
        if "description" in member
        for each in cast("list[JSON]", member["enum"])[:1]
    ]
    if meanings:
        note(result, "; ".join(meanings[:20]))
    return tidy(result)


def _all_types(members: list[Schema]) -> JSON:
    found = [kind for member in members for kind in cast("list[str]", member["type"])]
    return cast(JSON, [kind for kind in dict.fromkeys(found) if kind != "integer" or "number" not in found])
