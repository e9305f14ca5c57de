"""What model APIs refuse of a function's name and parameters, by the rules that they publish.

Each rule returns the complaints that the API would answer with; none means that it takes the tool.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any, cast

import jsonschema

from agentd.tools.offers import Offer

Schema = dict[str, Any]
Complaints = Iterator[str]

_TYPES = {"null", "boolean", "integer", "number", "string", "array", "object"}
_COMBINATORS = {"anyOf", "oneOf", "allOf", "not", "enum", "const"}
_STRICT_KEYS = {
    *("type", "description", "enum", "properties", "required", "additionalProperties", "items", "anyOf", "$ref"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minItems", "maxItems"),
    *("pattern", "format"),
}
_STRICT_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
_GEMINI_KEYS = {
    *("type", "format", "description", "nullable", "enum", "maxItems", "minItems", "properties", "required"),
    *("items", "minimum", "maximum", "anyOf"),
}
_OLLAMA_KEYS = {"type", "description", "enum", "properties", "required", "items", "anyOf"}


def complaints(offer: Offer) -> list[str]:
    """Return what the API of this flavour has against the tool."""
    rules = {
        "openai": _strict if offer.strict else _openai,
        "openai-compatible": _compatible,
        "anthropic": _anthropic,
        "gemini": _gemini,
        "ollama": _ollama,
    }
    return [*_common(offer), *rules[offer.flavour](offer.parameters)]


def parameters(offer: Offer) -> Schema:
    """Return the parameters of a tool, to be looked into."""
    return cast(Schema, offer.parameters)


def nodes(schema: Schema, path: str = "") -> Iterator[tuple[str, Schema]]:
    """Give every schema in a schema with its place."""
    yield path, schema
    for key in ("properties", "$defs"):
        for name, each in schema.get(key, {}).items():
            yield from _inner(each, f"{path}/{key}/{name}")
    for key in ("items", "additionalProperties"):
        if key in schema and not isinstance(schema[key], bool):
            yield from _inner(schema[key], f"{path}/{key}")
    for index, each in enumerate(schema.get("anyOf", [])):
        yield from _inner(each, f"{path}/anyOf/{index}")


def _inner(schema: Any, path: str) -> Iterator[tuple[str, Schema]]:
    if isinstance(schema, dict):
        yield from nodes(schema, path)
    else:
        yield path, {"not a schema": schema}


def _common(offer: Offer) -> Complaints:
    if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}", offer.name):
        yield f"name {offer.name!r}"
    if len(offer.description) > (1_024 if offer.flavour.startswith("openai") else 10_000):
        yield f"description of {len(offer.description)} characters"
    text = json.dumps(offer.parameters, allow_nan=False, ensure_ascii=False)
    text.encode()
    if len(text) > 200_000:
        yield f"{len(text)} characters of parameters"
    jsonschema.Draft202012Validator.check_schema(offer.parameters)
    if offer.parameters.get("type") != "object" or not isinstance(offer.parameters.get("properties"), dict):
        yield "the root is no object with properties"
    if _COMBINATORS & offer.parameters.keys():
        yield "the root has branches"
    for path, schema in nodes(offer.parameters):
        if "not a schema" in schema:
            yield f"{path}: {schema}"
        if schema.get("type") == "array" and "items" not in schema:
            yield f"{path}: array schema missing items"
        if not set(schema.get("required", [])) <= schema.get("properties", {}).keys():
            yield f"{path}: required property is not defined"
        yield from (f"{path}: {schema['$ref']} leads nowhere" for _ in _dangling(schema, offer.parameters))


def _dangling(schema: Schema, root: Schema) -> Iterator[str]:
    ref = schema.get("$ref")
    if ref is not None and ref.removeprefix("#/$defs/") not in root.get("$defs", {}):
        yield ref


def _types(schema: Schema) -> list[str]:
    kind = schema.get("type", [])
    return [kind] if isinstance(kind, str) else kind


def _openai(root: Schema) -> Complaints:
    for path, schema in nodes(root):
        if not set(_types(schema)) <= _TYPES:
            yield f"{path}: type {schema['type']}"
        yield from (f"{path}: {key} is not permitted" for key in ("allOf", "oneOf", "not", "if") if key in schema)


def _strict(root: Schema) -> Complaints:
    yield from _openai(root)
    for path, schema in nodes(root):
        yield from (f"{path}: {problem}" for problem in _strict_keys(schema, path == ""))
    every = [schema for _, schema in nodes(root)]
    names = [key for schema in every for key in [*schema.get("properties", {}), *schema.get("$defs", {})]]
    values = [value for schema in every for value in schema.get("enum", [])]
    properties = sum(len(schema.get("properties", {})) for schema in every)
    text = sum(len(each) for each in [*names, *values] if isinstance(each, str))
    if properties > 5_000 or len(values) > 1_000 or text > 120_000 or _levels(root, root, ()) > 10:
        yield f"{properties} properties, {len(values)} enum values, {text} characters, {_levels(root, root, ())} levels"


def _strict_keys(schema: Schema, is_root: bool) -> Complaints:
    unknown = schema.keys() - _STRICT_KEYS - ({"$defs"} if is_root else set())
    if unknown:
        yield f"{unknown} is not permitted"
    if not schema.keys() & {"type", "anyOf", "$ref"}:
        yield "schema must have a 'type' key"
    if "$ref" in schema and len(schema) > 1:
        yield f"$ref cannot have keywords {schema.keys()}"
    if "object" in _types(schema):
        if schema.get("additionalProperties") is not False:
            yield "additionalProperties must be false"
        if schema.get("required", []) != list(schema.get("properties", {})):
            yield "required must include every key in properties"
    if "format" in schema and schema["format"] not in _STRICT_FORMATS:
        yield f"format {schema['format']}"
    size = sum(len(value) for value in schema.get("enum", []) if isinstance(value, str))
    if len(schema.get("enum", [])) > 250 and size > 15_000:
        yield f"enum of {size} characters"


def _levels(schema: Schema, root: Schema, inside: tuple[str, ...]) -> int:
    """Return how deep objects stand in each other; one that contains itself counts once."""
    ref = schema.get("$ref")
    if ref is not None:
        target = root["$defs"][ref.removeprefix("#/$defs/")]
        return 0 if ref in inside or len(inside) > 12 else _levels(target, root, (*inside, ref))
    inner = [*schema.get("properties", {}).values(), *schema.get("anyOf", [])]
    inner += [schema["items"]] if "items" in schema else []
    return ("object" in _types(schema)) + max((_levels(each, root, inside) for each in inner), default=0)


def _compatible(root: Schema) -> Complaints:
    for path, schema in nodes(root):
        if not schema.keys() & {"type", "anyOf"}:
            yield f"{path}: no type"
        if not isinstance(schema.get("type", ""), str):
            yield f"{path}: type must be a string"
        yield from (f"{path}: {key}" for key in ("$ref", "$defs", "allOf", "oneOf", "not", "if") if key in schema)


def _anthropic(root: Schema) -> Complaints:
    for path, schema in nodes(root):
        for key in schema.get("properties", {}):
            if not re.fullmatch(r"[a-zA-Z0-9_.-]{1,64}", key):
                yield f"{path}: property keys should match a pattern: {key!r}"


def _gemini(root: Schema) -> Complaints:
    for path, schema in nodes(root):
        if schema.keys() - _GEMINI_KEYS:
            yield f"{path}: Unknown name {schema.keys() - _GEMINI_KEYS}"
        if "anyOf" in schema:
            if len(schema) > 1:
                yield f"{path}: any_of must be alone"
            continue
        kind = schema.get("type")
        if kind not in _TYPES - {"null"}:
            yield f"{path}: type {kind}"
        yield from _gemini_keys(path, schema, kind)


def _gemini_keys(path: str, schema: Schema, kind: Any) -> Complaints:
    if "enum" in schema and (kind != "string" or not all(isinstance(value, str) and value for value in schema["enum"])):
        yield f"{path}: enum: only allowed for STRING type"
    if schema.keys() & {"properties", "required"} and kind != "object":
        yield f"{path}: properties: only allowed for OBJECT type"
    if "items" in schema and kind != "array":
        yield f"{path}: items: only allowed for ARRAY type"
    if path and schema.get("properties") == {}:
        yield f"{path}: properties: should be non-empty for OBJECT type"
    if "format" in schema and schema["format"] not in ("enum", "date-time"):
        yield f"{path}: only 'enum' and 'date-time' are supported for STRING type"
    for key in schema.get("properties", {}):
        if not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]{0,63}", key):
            yield f"{path}: parameter name {key!r}"


def _ollama(root: Schema) -> Complaints:
    for path, schema in nodes(root):
        if schema.keys() - _OLLAMA_KEYS:
            yield f"{path}: {schema.keys() - _OLLAMA_KEYS} is not known"
        if "anyOf" not in schema and schema.get("type") not in _TYPES - {"null"}:
            yield f"{path}: cannot unmarshal into type string: {schema.get('type')}"
        if not all(isinstance(value, str) for value in schema.get("enum", [])):
            yield f"{path}: cannot unmarshal into enum of type string"
