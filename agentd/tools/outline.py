"""The parameters of an offered tool in a line, for a model that called it wrongly."""

from __future__ import annotations

from typing import cast

from agentd.core.tools import JSON, Schema
from agentd.tools.words import brief

_MAX = 700
_MAX_KEYS = 30


def outline(name: str, parameters: Schema) -> str:
    """Return for example `search(query: string, limit?: integer, mode?: "fast"|"full")`."""
    text = f"{name}({_keys(parameters, 2)})"
    return text if len(text) <= _MAX else f"{text[: _MAX - 2]}…)"


def _keys(schema: Schema, depth: int) -> str:
    properties = cast("dict[str, Schema]", schema.get("properties", {}))
    required = cast("list[str]", schema.get("required", []))
    shown = [
        f"{key}{'' if key in required else '?'}: {_form(each, depth - 1)}"
        for key, each in list(properties.items())[:_MAX_KEYS]
    ]
    more = ["…"] if len(properties) > _MAX_KEYS or (not properties and "additionalProperties" in schema) else []
    return ", ".join([*shown, *more])


def _form(schema: Schema, depth: int) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rpartition("/")[2]
    if "enum" in schema:
        values = cast("list[JSON]", schema["enum"])
        return "|".join(brief(value, 40) for value in values[:12]) + ("|…" if len(values) > 12 else "")
    if "anyOf" in schema:
        return "|".join(dict.fromkeys(_form(each, depth) for each in cast("list[Schema]", schema["anyOf"])[:6]))
    kind = schema.get("type", "any")
    if kind == "array":
        return f"[{_form(cast(Schema, schema.get('items', {})), depth)}]"
    if kind == "object":
        return f"{{{_keys(schema, depth)}}}" if depth > 0 else "object"
    text = "|".join(cast("list[str]", kind)) if isinstance(kind, list) else str(kind)
    return f"{text}|null" if schema.get("nullable") else text
