"""OpenAI's strict mode: used where the schema still means the same, and undone in the arguments."""

from __future__ import annotations

import json
from typing import Any

import jsonschema
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from agentd.core.tools import ToolSpec
from agentd.tools.arguments import read_arguments
from agentd.tools.offers import Offer, offers
from tests.fakes.provider_schemas import complaints, parameters
from tests.fakes.schemas import QUIET, TEXTS

Schema = dict[str, Any]

STRING = {"type": "string"}


def offer(properties: Schema, *required: str, **root: Any) -> Offer:
    schema = {"type": "object", "properties": properties, "required": list(required), **root}
    found = offers({"k": ToolSpec("t", "Does t.", schema)}, "openai")[0]
    assert complaints(found) == []
    return found


def nested(levels: int, key: str = "a") -> Schema:
    schema: Schema = STRING
    for _ in range(levels):
        schema = {"type": "object", "properties": {key: schema}}
    return schema


def test_every_object_is_closed_and_every_key_required() -> None:
    inner = {"type": "object", "properties": {"n": {"type": "integer"}, "s": STRING}, "required": ["n"]}
    found = offer({"a": STRING, "b": inner, "c": {"enum": ["x", "y"], "default": "x"}, "d": {"$ref": "#/$defs/D"}}, "a")
    assert not found.strict  # the reference is dangling
    found = offer({"a": STRING, "b": inner, "c": {"enum": ["x", "y"], "default": "x"}}, "a")
    assert found.strict
    assert parameters(found) == {
        "type": "object",
        "properties": {
            "a": STRING,
            "b": {
                "anyOf": [
                    {
                        "type": "object",
                        "properties": {"n": {"type": "integer"}, "s": {"type": ["string", "null"]}},
                        "required": ["n", "s"],
                        "additionalProperties": False,
                    },
                    {"type": "null"},
                ]
            },
            "c": {"type": ["string", "null"], "enum": ["x", "y", None], "description": 'default: "x"'},
        },
        "required": ["a", "b", "c"],
        "additionalProperties": False,
    }


def test_a_null_for_what_may_be_left_out_is_left_out_again() -> None:
    inner = {"type": "object", "properties": {"n": {"type": "integer"}, "s": STRING}, "required": ["n"]}
    found = offer({"a": STRING, "b": {"type": "array", "items": inner}, "c": STRING}, "a", "b")
    assert found.strict
    sent = {"a": "", "b": [{"n": 1, "s": None}, {"n": 2, "s": "x"}], "c": None}
    assert read_arguments(json.dumps(sent), found) == {"a": "", "b": [{"n": 1}, {"n": 2, "s": "x"}]}


def test_a_null_that_the_tool_knows_is_kept() -> None:
    found = offer({"a": {"type": ["string", "null"], "default": None}, "b": {"anyOf": [STRING, {"type": "null"}]}}, "b")
    assert found.strict
    assert read_arguments('{"a": null, "b": null}', found) == {"a": None, "b": None}


def test_recursion_is_kept() -> None:
    node = {"type": "object", "properties": {"v": STRING, "next": {"$ref": "#/$defs/N", "description": "d"}}}
    found = offer({"a": {"$ref": "#/$defs/N"}}, **{"$defs": {"N": node}})
    assert found.strict
    assert parameters(found)["$defs"]["N"]["properties"]["next"] == {
        "anyOf": [{"$ref": "#/$defs/N"}, {"type": "null"}],
        "description": "d",
    }
    sent = {"a": {"v": "x", "next": {"v": None, "next": None}}}
    assert read_arguments(json.dumps(sent), found) == {"a": {"v": "x", "next": {}}}


def test_bounds_that_strict_mode_lacks_are_said_in_words() -> None:
    text = {"type": "string", "minLength": 1, "format": "uri", "pattern": "^(?!x)", "description": "d"}
    number = {"type": "integer", "minimum": 1, "multipleOf": 2}
    found = offer({"a": text, "b": number, "c": {"type": "string", "pattern": "^[a-z]+$", "format": "date"}}, *"abc")
    assert found.strict
    assert parameters(found)["properties"] == {
        "a": {"type": "string", "description": 'd (minLength: 1) (pattern: "^(?!x)") (format: "uri")'},
        "b": number,
        "c": {"type": "string", "pattern": "^[a-z]+$", "format": "date"},
    }


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object"},
        {"type": "object", "additionalProperties": STRING},
        {"type": "object", "properties": {"x": STRING}, "additionalProperties": True},
        {"type": "object", "patternProperties": {"^x": STRING}},
        {"type": "array"},
        {"type": "array", "items": {}},
        {},
        {"type": "string", "not": {"const": "x"}},
        {"if": {"type": "string"}, "then": {"minLength": 1}},
        {"anyOf": [{"type": "string"}, {}]},
        {"enum": [{"a": 1}]},
        {"enum": [f"{number:064}" for number in range(300)]},
        {"enum": list(range(1_500))},
        {"type": "array", "items": {"anyOf": [{"type": "array"}, STRING]}},
        {"allOf": [{"anyOf": [nested(1, f"{i}{j}") for j in range(5)]} for i in range(5)]},
    ],
    ids=lambda schema: str(schema)[:50],
)
def test_what_strict_mode_cannot_say_is_not_strict(schema: Schema) -> None:
    assert not offer({"p": schema}, "p").strict
    assert offer({"p": STRING}, "p").strict


def test_a_null_that_means_more_than_leaving_out_is_not_strict() -> None:
    assert not offer({"title": {"type": ["string", "null"], "description": "null clears it"}}).strict


@pytest.mark.parametrize(
    ("schema", "is_strict"),
    [
        ({"type": "object", "properties": {}}, True),
        ({"type": "object", "additionalProperties": False}, True),
        ({"type": "object"}, False),
        ({}, False),
        ({"type": "object", "properties": {"a": STRING}, "additionalProperties": True}, False),
    ],
)
def test_an_object_that_lists_no_keys_is_open(schema: Schema, is_strict: bool) -> None:
    found = offers({"k": ToolSpec("t", input_schema=schema)}, "openai")[0]
    assert complaints(found) == []
    assert found.strict is is_strict


def test_the_limits_of_strict_mode_are_kept() -> None:
    assert offer({"a": nested(9)}).strict and not offer({"a": nested(10)}).strict
    some = {f"p{number}": {"type": "integer"} for number in range(1_000)}
    assert offer(some).strict
    values = [{"enum": [f"{group}-{number}" for number in range(250)]} for group in range(5)]
    assert offer({f"e{number}": each for number, each in enumerate(values[:3])}).strict
    assert not offer({f"e{number}": each for number, each in enumerate(values)}).strict


def _strictable() -> st.SearchStrategy[Schema]:
    leaves = st.sampled_from([STRING, {"type": "integer"}, {"type": "boolean"}, {"enum": ["a", "b", 3]}])
    nullable = leaves.map(lambda each: {"anyOf": [each, {"type": "null"}], "default": None})

    def larger(inner: st.SearchStrategy[Schema]) -> st.SearchStrategy[Schema]:
        names = st.sampled_from(["a", "b", "c d", "$e"])
        keys = st.tuples(st.dictionaries(names, inner, max_size=3), st.sets(names))
        objects = keys.map(
            lambda each: {"type": "object", "properties": each[0], "required": sorted(each[1] & each[0].keys())}
        )
        return objects | inner.map(lambda each: {"type": "array", "items": each}) | inner.map(_as_reference)

    return st.recursive(leaves | nullable, larger, max_leaves=8)


def _as_reference(schema: Schema) -> Schema:
    return {"allOf": [schema], "description": "d"}


@st.composite
def _value(draw: st.DrawFn, schema: Schema) -> Any:
    for key in ("anyOf", "allOf"):
        if key in schema:
            return draw(_value(draw(st.sampled_from(schema[key]))))
    if "enum" in schema:
        return draw(st.sampled_from(schema["enum"]))
    if schema["type"] == "object":
        keys = [key for key in schema["properties"] if key in schema["required"] or draw(st.booleans())]
        return {key: draw(_value(schema["properties"][key])) for key in keys}
    if schema["type"] == "array":
        return draw(st.lists(_value(schema["items"]), max_size=2))
    simple = {"string": TEXTS, "integer": st.integers(), "boolean": st.booleans(), "null": st.none()}
    return draw(simple[schema["type"]])


def _as_sent(value: Any, schema: Schema) -> Any:
    """Return a value as strict mode makes a model send it: with null for each key that is left out."""
    if "anyOf" in schema:
        fitting = [each for each in schema["anyOf"] if each["type"] != "null"]
        return value if value is None else _as_sent(value, fitting[0])
    if isinstance(value, dict):
        return {key: _as_sent(value.get(key), each) for key, each in schema["properties"].items()}
    if isinstance(value, list):
        return [_as_sent(each, schema["items"]) for each in value]
    return value


@given(st.data())
@settings(max_examples=40, deadline=None, suppress_health_check=QUIET)
def test_what_a_model_sends_in_strict_mode_is_what_the_tool_gets(data: st.DataObject) -> None:
    schema = data.draw(_strictable())
    found = offer({"p": schema}, "p")
    assert found.strict
    value = {"p": data.draw(_value(schema))}
    assume(jsonschema.Draft202012Validator(found.spec.input_schema).is_valid(value))
    sent = _as_sent(value, parameters(found))
    jsonschema.validate(sent, parameters(found), jsonschema.Draft202012Validator)
    assert read_arguments(json.dumps(sent), found) == _with_defaults(value, found.spec.input_schema)


def _with_defaults(value: Any, schema: Schema) -> Any:
    """Return a value with null for each key left out whose default that is: the tool takes them for the same."""
    if "allOf" in schema:
        return _with_defaults(value, schema["allOf"][0])
    if isinstance(value, dict):
        keys = schema["properties"].items()
        given = {key: _with_defaults(value[key], each) for key, each in keys if key in value}
        return given | {key: None for key, each in keys if key not in value and _has_default(each)}
    if isinstance(value, list):
        return [_with_defaults(each, schema["items"]) for each in value]
    return value


def _has_default(schema: Schema) -> bool:
    return "default" in schema or any(map(_has_default, schema.get("allOf", [])))
