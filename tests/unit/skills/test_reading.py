"""JSON Schema becomes a Python annotation and a short form."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.core.tools import JSON
from agentd.skills.reading import read_shape
from agentd.skills.shapes import brief, python_type, shape_of

ROOT: JSON = {
    "$defs": {
        "Color": {"enum": ["red", "blue"]},
        "Node": {"type": "object", "properties": {"next": {"$ref": "#/$defs/Node"}}},
        "a/b": {"type": "integer"},
    }
}


@pytest.mark.parametrize(
    ("schema", "annotation", "short"),
    [
        ({"type": "string"}, "str", "str"),
        ({"type": "integer"}, "int", "int"),
        ({"type": "number"}, "float", "float"),
        ({"type": "boolean"}, "bool", "bool"),
        ({"type": "null"}, "None", "null"),
        ({"type": ["string", "null"]}, "str | None", "str|null"),
        ({"type": "array"}, "list[Any]", "[]"),
        ({"type": "array", "items": {"type": "string"}}, "list[str]", "[str]"),
        ({"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]}, "list[str | int]", "[str|int]"),
        ({"type": "array", "items": [{"type": "string"}]}, "list[str]", "[str]"),
        ({"items": {"type": "string"}}, "list[str]", "[str]"),
        ({"type": "object"}, "dict[str, Any]", "{}"),
        ({"type": "object", "additionalProperties": {"type": "integer"}}, "dict[str, int]", "{str: int}"),
        (
            {"type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}, "required": ["a"]},
            "dict[str, Any]",
            "{a, b?:int}",
        ),
        ({"enum": ["asc", "desc"]}, "Literal['asc', 'desc']", "asc|desc"),
        ({"enum": ["a b", 1, 1.0, True, None]}, "Literal['a b', 1, 1.0, True, None]", "'a b'|1|1.0|True|None"),
        ({"enum": [f"v{n}" for n in range(1000)]}, "str", "str"),
        ({"enum": [[1], {}]}, "Any", "any"),
        ({"enum": []}, "Any", "any"),
        ({"const": 5}, "Literal[5]", "5"),
        ({"anyOf": [{"type": "string"}, {"type": "null"}]}, "str | None", "str|null"),
        ({"oneOf": [{"type": "string"}, {"type": "string"}]}, "str", "str"),
        ({"anyOf": [{"type": "string"}, {}]}, "Any", "any"),
        ({"type": "object", "anyOf": [{"required": ["a"]}]}, "dict[str, Any]", "{}"),
        ({"allOf": [{"$ref": "#/$defs/Color"}]}, "Literal['red', 'blue']", "red|blue"),
        (
            {"allOf": [{"properties": {"a": {"type": "string"}}}, {"properties": {"b": {"type": "string"}}}]},
            "dict[str, Any]",
            "{a?, b?}",
        ),
        ({"$ref": "#/$defs/Color"}, "Literal['red', 'blue']", "red|blue"),
        ({"$ref": "#/$defs/a~1b"}, "int", "int"),
        ({"$ref": "#/$defs/Missing"}, "Any", "any"),
        ({"$ref": "http://example.com/schema"}, "Any", "any"),
        ({"$ref": "#/$defs/Node"}, "dict[str, Any]", "{next?:{next?:{next?:{}}}}"),
        (True, "Any", "any"),
        (False, "Any", "any"),
        ({"type": "strange"}, "Any", "any"),
        ({"type": [["string"]]}, "str", "str"),
        ({"type": 5, "properties": 7}, "Any", "any"),
        ("string", "Any", "any"),
    ],
    ids=json.dumps,
)
def test_shapes(schema: JSON, annotation: str, short: str) -> None:
    shape = read_shape(schema, ROOT)
    assert python_type(shape) == annotation
    assert brief(shape) == short


def test_a_schema_that_refers_to_itself_ends() -> None:
    member: JSON = {"type": "array", "items": {"$ref": "#/$defs/x"}}
    wide: JSON = {"$defs": {"x": {"anyOf": [member for _ in range(20)]}}}
    assert python_type(read_shape({"$ref": "#/$defs/x"}, wide))
    assert python_type(read_shape({"$ref": "#"}, {"$ref": "#"})) == "Any"


def test_the_shape_of_a_value() -> None:
    value: JSON = {"total": 2, "items": [{"id": 1, "name": "a"}, {"id": 2}], "next": None, "none": []}
    assert brief(shape_of(value)) == "{total:int, items:[{id:int, name?}], next:null, none:[]}"
    assert brief(shape_of([1, "a", None])) == "[int|str|null]"
    assert brief(shape_of("text")) == "str"


WORDS = ["type", "properties", "items", "anyOf", "allOf", "enum", "const", "$ref", "required", "object", "array", "#"]
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5), st.sampled_from(WORDS)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.dictionaries(st.one_of(st.sampled_from(WORDS), st.text(max_size=3)), inner, max_size=5),
    ),
    max_leaves=30,
)


@given(json_values)
def test_any_json_is_read_as_some_annotation(schema: JSON) -> None:
    shape = read_shape(schema, schema)
    compile(f"def f(x: {python_type(shape)}): pass", "f", "exec")
    assert "\n" not in brief(shape)
    brief(shape_of(schema))
