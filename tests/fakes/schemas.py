"""Schemas as servers write them, and values for them, for property tests."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck
from hypothesis import strategies as st

Json = Any

# Schemas are large to draw, and not every value fits the one that it is drawn for.
QUIET = (HealthCheck.too_slow, HealthCheck.filter_too_much, HealthCheck.data_too_large, HealthCheck.large_base_example)

TEXTS = st.text(max_size=6)
NAMES = st.sampled_from(
    ["a", "b", "path", "max_results", "max-results", "Path", "$filter", "名前", "a b", "strict", ""]
)
SCALARS = st.none() | st.booleans() | st.integers(-20, 20) | st.sampled_from([0.5, 5.0, -3.0]) | TEXTS
ANY_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES | TEXTS, inner, max_size=3),
    max_leaves=12,
)
KEYWORDS = st.sampled_from(
    [
        *("type", "properties", "required", "items", "prefixItems", "anyOf", "oneOf", "allOf", "enum", "const", "$ref"),
        *("$defs", "definitions", "additionalProperties", "patternProperties", "not", "if", "format", "pattern"),
        *("minimum", "minLength", "maxItems", "default", "description", "title", "nullable", "$schema", "$id"),
    ]
)
ANY_VALUE = st.deferred(lambda: ANY_JSON | ANY_SCHEMA | st.lists(ANY_SCHEMA, max_size=3))
ANY_SCHEMA = st.dictionaries(KEYWORDS, ANY_VALUE, max_size=4)
"""Keywords with values of any kind, most of them wrong."""

_TYPE = st.sampled_from(["null", "boolean", "integer", "number", "string", "array", "object"])
_REFS = st.sampled_from(["#/$defs/A", "#/$defs/B", "#/properties/a", "#"])
_ANNOTATIONS: dict[str, st.SearchStrategy[Json]] = {
    "description": TEXTS,
    "title": TEXTS,
    "default": SCALARS,
    "examples": st.lists(SCALARS, max_size=2),
}
_BOUNDS: dict[str, st.SearchStrategy[Json]] = {
    "minimum": st.integers(-5, 5),
    "maxLength": st.integers(0, 9),
    "minItems": st.integers(0, 2),
    "format": st.sampled_from(["date-time", "uri", "email", "int32"]),
    "pattern": st.sampled_from(["^a", "^(?!x)", "[a-z]+"]),
    "uniqueItems": st.booleans(),
}


def _some(required: dict[str, st.SearchStrategy[Json]], optional: dict[str, st.SearchStrategy[Json]]):
    return st.fixed_dictionaries(required, optional=optional)


def objects(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[dict[str, Json]]:
    """Schemas of objects whose properties are from `inner`."""
    return _some(
        {"type": st.just("object")},
        {
            "properties": st.dictionaries(NAMES, inner, max_size=4),
            "required": st.lists(NAMES, max_size=2, unique=True),
            "additionalProperties": st.just(False) | st.booleans() | inner,
            "patternProperties": st.dictionaries(st.sampled_from(["^x", "s$"]), inner, min_size=1, max_size=1),
            **_ANNOTATIONS,
        },
    )


def _schemas(inner: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    arrays = _some(
        {"type": st.just("array")},
        {"items": inner, "prefixItems": st.lists(inner, min_size=1, max_size=2), **_ANNOTATIONS},
    )
    base = _some({}, _ANNOTATIONS) | objects(inner)
    unions = st.tuples(base, st.sampled_from(["anyOf", "oneOf", "allOf"]), st.lists(inner, min_size=1, max_size=3))
    return objects(inner) | arrays | unions.map(lambda parts: {**parts[0], parts[1]: parts[2]})


_LEAVES = (
    _some({"type": _TYPE}, _ANNOTATIONS | _BOUNDS)
    | _some({"type": st.lists(_TYPE, min_size=1, max_size=3, unique=True)}, _ANNOTATIONS | _BOUNDS)
    | _some({"enum": st.lists(SCALARS, min_size=1, max_size=4)}, _ANNOTATIONS)
    | _some({"const": SCALARS}, _ANNOTATIONS)
    | _some({"$ref": _REFS}, _ANNOTATIONS)
    | st.sampled_from([True, False, {}])
)
SCHEMAS = st.recursive(_LEAVES, _schemas, max_leaves=8)


@st.composite
def tool_schemas(draw: st.DrawFn) -> dict[str, Json]:
    """Give input schemas of tools, valid ones, with definitions that may refer to each other and themselves."""
    root = draw(objects(SCHEMAS))
    root.setdefault("properties", {})["a"] = draw(SCHEMAS.filter(lambda each: "$ref" not in str(each)))
    return root | {"$defs": {"A": draw(SCHEMAS), "B": draw(SCHEMAS)}}


@st.composite
def values_for(draw: st.DrawFn, schema: Json, root: Json, depth: int = 0) -> Json:
    """Give values that mostly fit `schema`."""
    if not isinstance(schema, dict) or depth > 4 or (depth and draw(st.integers(0, 19)) == 0):
        return draw(SCALARS)
    if "$ref" in schema:
        target = root
        for part in schema["$ref"].split("/")[1:]:
            target = target[part]
        return draw(values_for(target, root, depth + 1))
    for key in ("anyOf", "oneOf", "allOf") if depth else ():
        if key in schema:
            return draw(values_for(draw(st.sampled_from(schema[key])), root, depth + 1))
    if "const" in schema or "enum" in schema:
        return draw(st.sampled_from(schema.get("enum", [schema.get("const")])))
    kind = schema.get("type", draw(_TYPE))
    return draw(_of_type(draw(st.sampled_from(kind)) if isinstance(kind, list) else kind, schema, root, depth))


def _of_type(kind: str, schema: Json, root: Json, depth: int) -> st.SearchStrategy[Json]:
    if kind == "object":
        return _object_for(schema, root, depth)
    if kind == "array":
        places = [values_for(each, root, depth + 1) for each in schema.get("prefixItems", [])]
        rest = st.lists(values_for(schema.get("items", True), root, depth + 1), max_size=2)
        return st.tuples(st.tuples(*places), rest).map(lambda parts: [*parts[0], *parts[1]])
    return {
        "null": st.none(),
        "boolean": st.booleans(),
        "integer": st.integers(-20, 20) | st.just(5.0),
        "number": st.integers(-20, 20) | st.just(0.5),
        "string": TEXTS | st.sampled_from(["5", "true", "null", "[1]", "{}"]),
    }[kind]


@st.composite
def _object_for(draw: st.DrawFn, schema: Json, root: Json, depth: int) -> Json:
    properties = schema.get("properties", {})
    keys = draw(st.lists(st.sampled_from(sorted(properties)), unique=True)) if properties else []
    extra = draw(st.lists(NAMES, max_size=1)) if draw(st.booleans()) else []
    result = {}
    for key in dict.fromkeys([*keys, *schema.get("required", []), *extra]):
        form = properties.get(key, schema.get("additionalProperties", True))
        result[key] = draw(values_for(form, root, depth + 1))
    return result
