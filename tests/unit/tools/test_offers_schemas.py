"""Any schema reaches every kind of API in a form that it takes; what it cannot say is said in words."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agentd.core.tools import ToolSpec
from agentd.tools.offers import FLAVOURS, Offer, offers
from tests.fakes.provider_schemas import complaints, parameters
from tests.fakes.schemas import ANY_JSON, ANY_SCHEMA, QUIET, tool_schemas, values_for

Schema = dict[str, Any]

STRING = {"type": "string"}
NODE = {"type": "object", "properties": {"v": STRING, "kids": {"type": "array", "items": {"$ref": "#/$defs/N"}}}}
RELAXED = settings(max_examples=50, deadline=None, suppress_health_check=QUIET)


class _Raises(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        raise AssertionError(record.getMessage()) from (record.exc_info[1] if record.exc_info else None)


@pytest.fixture(autouse=True)
def no_schema_is_given_up() -> Iterator[None]:
    """Let a schema that could not be read fail the test: it would be offered with any arguments."""
    handler, logger = _Raises(), logging.getLogger("agentd.tools.offers")
    logger.addHandler(handler)
    yield
    logger.removeHandler(handler)


def offer(schema: Any, flavour: str = "anthropic") -> Offer:
    found = offers({"k": ToolSpec("t", "Does t.", schema)}, flavour)[0]
    assert complaints(found) == []
    return found


def properties(schema: Any, flavour: str = "anthropic") -> Schema:
    return parameters(offer(schema, flavour))["properties"]


def one(schema: Any, flavour: str = "anthropic", **root: Any) -> Schema:
    """Return what becomes of the schema of an optional property."""
    return properties({"type": "object", "properties": {"p": schema}, **root}, flavour)["p"]


CASES: dict[str, tuple[Any, Any]] = {
    "reference": ({"$ref": "#/$defs/A", "description": "d"}, {"type": "integer", "description": "d"}),
    "reference to a property": ({"$ref": "#/properties/q/items"}, {"type": "boolean"}),
    "reference by anchor": ({"$ref": "#here"}, {"type": "number"}),
    "reference into another document's home": ({"$ref": "#/components/schemas/A"}, {"type": "integer"}),
    "dangling reference": ({"$ref": "#/$defs/No"}, {"description": "as in #/$defs/No"}),
    "reference to itself": ({"$ref": "#/properties/p"}, {}),
    "allOf of one": ({"allOf": [{"$ref": "#/$defs/A"}], "default": 3}, {"type": "integer", "default": 3}),
    "allOf": (
        {"allOf": [{"type": "object", "properties": {"a": STRING}, "required": ["a"]}, {"properties": {"b": STRING}}]},
        {"type": "object", "properties": {"a": STRING, "b": STRING}, "required": ["a"]},
    ),
    "allOf of bounds": (
        {"allOf": [{"minimum": 1}, {"minimum": 3, "type": "integer"}]},
        {"type": "integer", "minimum": 3},
    ),
    "oneOf of constants": (
        {"oneOf": [{"const": "a", "title": "First"}, {"const": "b"}]},
        {"type": "string", "enum": ["a", "b"], "description": "a: First"},
    ),
    "anyOf with null": ({"anyOf": [STRING, {"type": "null"}]}, {"type": ["string", "null"]}),
    "anyOf beside properties": (
        {"type": "object", "properties": {"a": STRING}, "anyOf": [{"required": ["a"]}, {"required": ["b"]}]},
        {"type": "object", "properties": {"a": STRING}, "description": "give at least one of: a | b"},
    ),
    "oneOf laid over a base": (
        {"type": "object", "properties": {"a": STRING}, "oneOf": [{"properties": {"b": STRING}}, {"required": ["a"]}]},
        {
            "anyOf": [
                {"type": "object", "properties": {"a": STRING, "b": STRING}},
                {"type": "object", "properties": {"a": STRING}, "required": ["a"]},
            ]
        },
    ),
    "true": (True, {}),
    "constant": ({"const": 5}, {"type": "integer", "enum": [5]}),
    "both booleans": ({"enum": [True, False]}, {"type": "boolean"}),
    "values of the wrong type": ({"type": "string", "enum": ["a", 1]}, {"type": "string", "enum": ["a"]}),
    "missing type": ({"items": STRING}, {"type": "array", "items": STRING}),
    "array of anything": ({"type": "array"}, {"type": "array", "items": {}}),
    "no items": ({"type": "array", "items": False}, {"type": "array", "maxItems": 0, "items": {}}),
    "tuple": (
        {"type": "array", "prefixItems": [STRING, {"type": "integer", "title": "Line"}], "items": False},
        {
            "type": "array",
            "maxItems": 2,
            "items": {"anyOf": [STRING, {"type": "integer", "description": "Line"}]},
            "description": "items in this order: string; integer Line",
        },
    ),
    "old tuple": (
        {"type": "array", "items": [STRING, STRING], "additionalItems": False},
        {"type": "array", "maxItems": 2, "items": STRING},
    ),
    "map": (
        {"type": "object", "additionalProperties": {"type": "integer"}},
        {"type": "object", "additionalProperties": {"type": "integer"}},
    ),
    "patterns": (
        {"type": "object", "patternProperties": {"^x": STRING}, "additionalProperties": False},
        {"type": "object", "additionalProperties": STRING, "description": "names of keys match ^x"},
    ),
    "condition": (
        {"type": "string", "not": {"const": "x"}, "description": "d"},
        {"type": "string", "description": 'd (not: {"const": "x"})'},
    ),
    "OpenAPI's nullable": ({"type": "string", "nullable": True}, {"type": ["string", "null"]}),
    "types of other languages": ({"type": ["STR", "int", "None"]}, {"type": ["string", "integer", "null"]}),
    "unknown type": ({"type": "file", "description": "d"}, {"description": "d"}),
    "unknown keywords": (
        {"type": "string", "x-order": 1, "format": "uri", "$comment": "c"},
        STRING | {"format": "uri"},
    ),
    "examples": ({"type": "string", "examples": ["a", "b"]}, {"type": "string", "description": 'e.g. "a", "b"'}),
    "bounds of other types": ({"type": "string", "minimum": 1, "minLength": -1, "maxLength": "5"}, STRING),
    "title that says nothing": ({"type": "string", "title": "P"}, STRING),
    "title that says something": (
        {"type": "string", "title": "Name of it"},
        {"type": "string", "description": "Name of it"},
    ),
    "required key without a property": (
        {"type": "object", "required": ["a"]},
        {"type": "object", "properties": {"a": {}}, "required": ["a"]},
    ),
}


@pytest.mark.parametrize(("schema", "wanted"), CASES.values(), ids=CASES)
def test_a_schema_is_made_plain(schema: Any, wanted: Any) -> None:
    home = {
        "$defs": {"A": {"type": "integer"}, "C": {"$anchor": "here", "type": "number"}},
        "properties": {"p": schema, "q": {"type": "array", "items": {"type": "boolean"}}},
    }
    assert properties({"type": "object", **home})["p"] == wanted
    for flavour in FLAVOURS:
        offer({"type": "object", **home}, flavour)


@pytest.mark.parametrize(
    "schema",
    [
        *(None, True, False, 5, "object", [], {}, {"type": "object"}, {"type": "string"}, {"type": ["object", "null"]}),
        *({"properties": None}, {"required": "a"}, {"type": 5}, {"type": [5]}, {"properties": []}, {"$ref": 5}),
        *({"properties": {"a": 5, "b": None, "c": []}}, {"required": [5, None]}, {"anyOf": {}}, {"allOf": 5}),
        *({"properties": {"a": False}}, {"properties": {"a": {"enum": []}}}, {"properties": {"a": {"items": 5}}}),
        *({"$ref": "#"}, {"allOf": [{"$ref": "#"}]}, {"anyOf": [{"$ref": "#"}]}, {"$ref": "#/%zz/~3"}, {"enum": [1]}),
        {"properties": {"a": {"default": float("nan"), "enum": [float("inf"), "\ud800"], "minimum": float("nan")}}},
        {"properties": {"\ud800": {"type": "string"}, "": {}, "a" * 300: {}}, "required": ["\ud800", ""]},
    ],
    ids=lambda schema: str(schema)[:40],
)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_no_schema_is_too_odd(schema: Any, flavour: str) -> None:
    offer(schema, flavour)


def test_a_root_with_branches_becomes_one_object() -> None:
    first = {"type": "object", "properties": {"id": {"type": "integer"}, "x": STRING}, "required": ["id", "x"]}
    second = {"type": "object", "properties": {"id": STRING, "x": STRING}, "required": ["x"]}
    found = offer({"oneOf": [first, {"$ref": "#/$defs/S"}], "$defs": {"S": second}}, "openai")
    assert parameters(found)["properties"] == {"id": {"type": ["integer", "string"]}, "x": STRING}
    assert parameters(found)["required"] == ["x"]
    assert found.description == "Does t.\ngive either: id + x | x"
    assert not found.strict


def test_recursion_stays_where_the_api_knows_references_and_is_cut_elsewhere() -> None:
    schema = {"type": "object", "properties": {"tree": {"$ref": "#/$defs/N"}}, "$defs": {"N": NODE}}
    assert parameters(offer(schema))["$defs"] == {"N": NODE}
    assert properties(schema) == {"tree": {"$ref": "#/$defs/N"}}
    cut = properties(schema, "ollama")["tree"]["properties"]["kids"]["items"]
    assert cut == {"type": "object", "description": "of the same form as the one that it is part of"}
    cut = properties(schema, "gemini")["tree"]["properties"]["kids"]["items"]
    assert cut["type"] == "string" and "an object as JSON text" in cut["description"]


def test_each_api_gets_a_nullable_property_its_own_way() -> None:
    schema = {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "d"}
    assert one(schema) == {"type": ["integer", "null"], "description": "d"}
    assert one(schema, "gemini") == {"type": "integer", "nullable": True, "description": "d"}
    assert one(schema, "ollama") == {"type": "integer", "description": "d (or null)"}
    assert one(schema, "openai-compatible") == {"anyOf": [{"type": "integer"}, {"type": "null"}], "description": "d"}
    assert one(schema | {"default": None}, "openai-compatible") == {"type": "integer", "description": "d"}


def test_what_gemini_cannot_say_is_said_in_words() -> None:
    assert one({"type": "string", "format": "uri", "minLength": 1}, "gemini") == {
        "type": "string",
        "description": "minLength: 1 (format: uri)".replace("uri", '"uri"'),
    }
    assert one({"type": "integer", "enum": [1, 2], "default": 2}, "gemini") == {
        "type": "integer",
        "description": "one of [1, 2] (default: 2)",
    }
    assert one({"enum": ["", "a"]}, "gemini") == {"type": "string", "enum": ["a"], "description": "or an empty text"}
    assert one({"type": "object", "additionalProperties": {"type": "integer"}}, "gemini") == {
        "type": "string",
        "description": "an object as JSON text (all keys have values of type integer)",
    }
    union = one({"anyOf": [STRING, {"type": "object"}], "description": "d"}, "gemini")
    assert union == {"anyOf": [{"type": "string", "description": "d"}, {"type": "object"}]}
    counts = {"type": "object", "additionalProperties": {"type": "integer"}}
    union = one({"anyOf": [{"$ref": "#/$defs/S"}, counts]}, "gemini", **{"$defs": {"S": STRING | {"maxLength": 1}}})
    assert [each["type"] for each in union["anyOf"]] == ["string", "object"]
    union = one({"anyOf": [{"type": "integer", "minimum": 1}, counts]}, "gemini")
    assert [each["type"] for each in union["anyOf"]] == ["integer", "string"]


def test_odd_names_of_properties_are_changed_where_an_api_refuses_them() -> None:
    schema = {
        "type": "object",
        "properties": dict.fromkeys(["$filter", "a-b", "名前", "strict"], STRING),
        "required": ["$filter"],
    }
    assert list(properties(schema, "openai")) == ["$filter", "a-b", "名前", "strict"]
    assert list(properties(schema, "anthropic")) == ["filter", "a-b", "p_7ec26292", "strict"]
    found = offer(schema, "gemini")
    assert list(parameters(found)["properties"]) == ["filter", "a_b", "p_7ec26292", "strict_"]
    assert parameters(found)["properties"]["filter"] == {"type": "string", "description": "its name is $filter"}
    assert parameters(found)["required"] == ["filter"]
    assert found.renames
    for names in (["a b", "a-b", "a_b"], ["a b", "a-b"]):
        alike = properties({"type": "object", "properties": dict.fromkeys(names, STRING)}, "gemini")
        assert len(alike) == len(names) and "a_b" in alike


def test_a_key_that_can_have_no_value_is_not_offered() -> None:
    assert properties({"type": "object", "properties": {"a": False, "b": {"type": "string", "enum": [1]}}}) == {}


def chain(body: Any, length: int = 40) -> Schema:
    """Return a tool schema whose definitions each hold the next one as `body` says."""
    inner = {f"A{number}": body({"$ref": f"#/$defs/A{number + 1}"}) for number in range(length)}
    return {"type": "object", "properties": {"x": {"$ref": "#/$defs/A0"}}, "$defs": {**inner, f"A{length}": STRING}}


def nested(body: Any, depth: int = 300) -> Schema:
    schema: Schema = STRING
    for _ in range(depth):
        schema = body(schema)
    return {"type": "object", "properties": {"x": schema}}


BOMBS = {
    "keys": chain(lambda ref: {"type": "object", "properties": {"l": ref, "r": ref}}),
    "branches": chain(lambda ref: {"anyOf": [ref, {"type": "array", "items": ref}]}),
    "parts": chain(lambda ref: {"allOf": [ref, ref]}),
    "parts of keys": chain(
        lambda ref: {"properties": {key: {"allOf": [ref, {"type": "object", "required": ["q"]}]} for key in "lr"}}
    ),
    "items": chain(lambda ref: {"type": "array", "items": ref}, 500),
    "deep keys": nested(lambda inner: {"type": "object", "properties": {"a": inner}}),
    "deep branches": nested(lambda inner: {"anyOf": [inner, {"type": "integer"}]}),
    "deep parts": nested(lambda inner: {"allOf": [inner, {"minLength": 1}]}),
    "many keys": {"type": "object", "properties": {f"p{number}": STRING for number in range(6_000)}},
    "many values": {"type": "object", "properties": {"x": {"enum": [f"value{number}" for number in range(20_000)]}}},
    "many branches": {"type": "object", "properties": {"x": {"anyOf": [{"const": number} for number in range(5_000)]}}},
    "many parts": {
        "type": "object",
        "properties": {"x": {"allOf": [{"anyOf": [{"required": [str(j)], "title": "t"} for j in range(16)]}] * 16}},
    },
}


@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_schema_that_grows_without_end_stays_small(bomb: Schema, flavour: str) -> None:
    assert len(json.dumps(offer(bomb, flavour).parameters)) < 130_000


def test_long_descriptions_are_shortened_before_keys_are_left_out() -> None:
    wide = {f"p{number}": {"type": "string", "description": "word " * 300} for number in range(200)}
    found = properties({"type": "object", "properties": wide})
    assert list(found) == list(wide)
    assert len(found["p199"]["description"]) == 200


@given(ANY_JSON | ANY_SCHEMA)
@RELAXED
def test_any_json_value_can_be_a_schema(schema: Any) -> None:
    for flavour in FLAVOURS:
        offer(schema, flavour)


@given(tool_schemas())
@RELAXED
def test_any_valid_schema_is_taken_by_each_api(schema: Schema) -> None:
    for flavour in FLAVOURS:
        offer(schema, flavour)


@given(st.data())
@settings(max_examples=25, deadline=None, suppress_health_check=QUIET)
def test_values_that_the_tool_takes_can_be_said(data: st.DataObject) -> None:
    schema = data.draw(tool_schemas())
    # Keys by pattern and places of a tuple are offered as what their authors mean, not as all that they let pass.
    assume("patternProperties" not in str(schema) and "prefixItems" not in str(schema))
    found = offer(schema)
    value = data.draw(values_for(schema, schema))
    assume(not found.renames and isinstance(value, dict) and _fits(value, schema))
    assert _fits(value, parameters(found)), parameters(found)


def _fits(value: Any, schema: Schema) -> bool:
    try:
        return jsonschema.Draft202012Validator(schema).is_valid(value)
    except RecursionError:  # a schema that refers to itself for the same value
        return False
