"""What a model wrote as arguments becomes what the tool wants, or an answer by which it can correct itself."""

from __future__ import annotations

import json
from typing import Any

import pytest

from agentd.core.tools import ToolSpec
from agentd.tools.arguments import Problem, read_arguments
from agentd.tools.offers import Offer, offers
from tests.fakes.provider_schemas import parameters

Schema = dict[str, Any]

TYPES = {
    **{kind: {"type": kind} for kind in ("string", "integer", "number", "boolean", "null", "object", "array")},
    "any": {},
    "texts": {"type": "array", "items": {"type": "string"}},
    "numbers": {"type": "array", "items": {"type": "number"}},
    "points": {"type": "array", "items": {"$ref": "#/$defs/P"}},
    "point": {"$ref": "#/$defs/P"},
    "maybe": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
    "id": {"anyOf": [{"type": "integer"}, {"type": "string"}]},
    "number_or_flag": {"type": ["number", "boolean"]},
    "mode": {"enum": ["fast", "Slow"]},
    "level": {"enum": [1, 2, 3]},
    "one": {"const": 1},
    "closed": {"type": "object", "properties": {"a": {"type": "integer"}}, "additionalProperties": False},
    "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
    "pair": {"type": "array", "prefixItems": [{"type": "string"}, {"type": "integer"}]},
    "shape": {"oneOf": [{"$ref": "#/$defs/C"}, {"$ref": "#/$defs/S"}]},
    "both": {"allOf": [{"type": "integer"}, {"minimum": 1}]},
    "never": False,
}
CIRCLE = {
    "type": "object",
    "properties": {"kind": {"const": "circle"}, "r": {"type": "number"}},
    "required": ["kind", "r"],
}
SQUARE = {
    "type": "object",
    "properties": {"kind": {"const": "square"}, "a": {"type": "number"}},
    "required": ["kind", "a"],
}
POINT = {"type": "object", "properties": {"x": {"type": "integer"}, "y": {"type": "integer"}}, "required": ["x"]}
SCHEMA = {"type": "object", "properties": TYPES, "$defs": {"P": POINT, "C": CIRCLE, "S": SQUARE}}


def tool(schema: Any, flavour: str = "openai-compatible") -> Offer:
    return offers({"k": ToolSpec("draw", "Draws.", schema)}, flavour)[0]


TOOL = tool(SCHEMA)


def read(text: str, offer: Offer = TOOL) -> dict[str, Any]:
    found = read_arguments(text, offer)
    assert not isinstance(found, Problem), found.text
    return found


def problem(text: str, offer: Offer = TOOL) -> str:
    found = read_arguments(text, offer)
    assert isinstance(found, Problem), found
    return found.text


@pytest.mark.parametrize(
    ("key", "sent", "wanted"),
    [
        ("integer", "5", 5),
        ("integer", " -5 ", -5),
        ("integer", "5.0", 5),
        ("integer", 5.0, 5),
        ("number", "2.5e1", 25.0),
        ("boolean", "True", True),
        ("boolean", "false", False),
        ("string", 5, "5"),
        ("null", "null", None),
        ("object", '{"a": 1}', {"a": 1}),
        ("array", "[1]", [1]),
        ("texts", "a", ["a"]),
        ("texts", '["a", "b"]', ["a", "b"]),
        ("texts", [1, "b"], ["1", "b"]),
        ("numbers", 5, [5]),
        ("numbers", ["1", 2], [1, 2]),
        ("points", {"x": 1}, [{"x": 1}]),
        ("points", [{"x": "1", "y": None}], [{"x": 1}]),
        ("point", '{"x": "3"}', {"x": 3}),
        ("point", {"X": 3}, {"x": 3}),
        ("maybe", "5", 5),
        ("number_or_flag", "true", True),
        ("mode", "FAST", "fast"),
        ("mode", "slow ", "Slow"),
        ("level", "2", 2),
        ("one", "1", 1),
        ("closed", {"A": "1"}, {"a": 1}),
        ("counts", {"x": "1"}, {"x": 1}),
        ("pair", ["a", "1"], ["a", 1]),
        ("shape", {"kind": "circle", "r": "2"}, {"kind": "circle", "r": 2}),
        ("shape", '{"kind": "square", "a": 2}', {"kind": "square", "a": 2}),
        ("both", "5", 5),
    ],
    ids=repr,
)
def test_what_is_clear_is_repaired(key: str, sent: Any, wanted: Any) -> None:
    found = read(json.dumps({key: sent}))
    assert found == {key: wanted}
    assert type(found[key]) is type(wanted)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("id", "5"), ("any", "5"), ("any", '{"a": 1}'), ("string", "5"), ("string", "true"), ("maybe", None)),
        *(("number", 5.0), ("level", 1.0), ("object", {"a": None}), ("counts", {}), ("array", ["1", 1, None])),
    ],
)
def test_what_fits_is_not_touched(key: str, value: Any) -> None:
    found = read(json.dumps({key: value}))
    assert found == {key: value} and type(found[key]) is type(value)


@pytest.mark.parametrize(
    ("key", "sent", "complaint"),
    [
        ("integer", "five", '$.integer: expected integer, got a string "five"'),
        ("integer", "5.5", '$.integer: expected integer, got a string "5.5"'),
        ("integer", 5.5, "$.integer: expected integer, got a number 5.5"),
        ("integer", True, "$.integer: expected integer, got a boolean true"),
        ("integer", "0x10", '$.integer: expected integer, got a string "0x10"'),
        ("boolean", 1, "$.boolean: expected boolean, got an integer 1"),
        ("boolean", "yes", '$.boolean: expected boolean, got a string "yes"'),
        ("string", 1.10, "$.string: expected string, got a number 1.1"),
        ("string", {"a": 1}, '$.string: expected string, got an object {"a": 1}'),
        ("texts", "a, b", '$.texts: expected array, got a string "a, b"'),
        ("texts", '["a"', '$.texts: expected array, got a string "[\\"a\\""'),
        ("numbers", "5", '$.numbers: expected array, got a string "5"'),
        ("points", [{"x": 1}, {"y": 2}], '$.points[1]: "x" is missing: integer'),
        ("point", {"x": 1, "y": "z"}, '$.point.y: expected integer, got a string "z"'),
        ("object", "[1]", '$.object: expected object, got a string "[1]"'),
        ("mode", "quick", '$.mode: expected one of ["fast", "Slow"], got a string "quick"'),
        ("level", True, "$.level: expected one of [1, 2, 3], got a boolean true"),
        ("one", True, "$.one: expected one of [1], got a boolean true"),
        ("closed", {"b": 1}, '$.closed.b: there is no such key, known are ["a"]'),
        ("closed", {"aa": 1}, '$.closed.aa: there is no such key, do you mean "a"?'),
        ("shape", {"kind": "circle"}, '$.shape: "r" is missing: number'),
        ("never", 1, "$.never: no value is allowed here"),
    ],
)
def test_what_is_not_clear_is_told(key: str, sent: Any, complaint: str) -> None:
    assert problem(json.dumps({key: sent})).splitlines()[0] == f"The arguments do not fit: {complaint}"


def test_what_fits_a_branch_is_not_touched_beside_a_repair() -> None:
    assert read('{"id": "5", "maybe": null, "integer": "1"}') == {"id": "5", "maybe": None, "integer": 1}


def test_a_repair_that_breaks_another_part_is_none() -> None:
    schema = {"type": "object", "required": ["a"], "allOf": [{"properties": {"a": {"type": "integer"}}}]}
    assert "does not fit" in problem('{"a": null}', tool(schema))
    assert read('{"a": "1"}', tool(schema)) == {"a": 1}


def test_two_things_that_can_be_meant_are_not_decided() -> None:
    schema = {"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "string"}}]}
    text = problem('{"a": "5"}', tool({"type": "object", "properties": {"a": schema}}))
    assert "$.a: can be meant in more than one way" in text


def test_the_answer_tells_all_that_is_wrong_how_it_should_be_and_what_was_sent() -> None:
    schema = {
        "type": "object",
        "properties": {
            "path": {"type": "string", "description": "Where it is."},
            "limit": {"type": "integer"},
            "mode": {"enum": ["a", "b"]},
            "edits": {"type": "array", "items": POINT},
        },
        "required": ["path"],
    }
    assert problem('{"limit": "many", "mode": "c"}', tool(schema)) == (
        "The arguments do not fit:\n"
        '- $.limit: expected integer, got a string "many"\n'
        '- $.mode: expected one of ["a", "b"], got a string "c"\n'
        '- $: "path" is missing: string, "Where it is."\n'
        'Signature: draw(path: string, limit?: integer, mode?: "a"|"b", edits?: [{x: integer, y?: integer}])\n'
        'You sent: {"limit": "many", "mode": "c"}'
    )
    long = problem(json.dumps({"limit": "x" * 5_000}), tool(schema))
    assert len(long) < 700 and long.endswith('x"}') and "You sent: …xxx" in long
    many = problem(json.dumps({"edits": [{}] * 50}), tool(schema))
    assert many.count('"x" is missing') == 8 and "- and 43 more" in many


def test_of_very_many_values_the_nearest_are_named() -> None:
    schema = {"type": "object", "properties": {"zone": {"enum": [f"Europe/City{number}" for number in range(3_000)]}}}
    text = problem('{"zone": "Europe/City12x"}', tool(schema))
    assert 'expected one of 3000 values, perhaps ["Europe/City12"' in text and len(text) < 1_000


@pytest.mark.parametrize(
    "text",
    ["", "  ", "null", "{}", "None", '""', '"{}"', "undefined", "```json\n{}\n```"],
)
def test_no_arguments(text: str) -> None:
    assert read(text, tool({"type": "object", "properties": {}})) == {}


@pytest.mark.parametrize(
    "text",
    [
        '{"string": "x", "texts": ["a", "b"]}',
        '\ufeff{"string": "x", "texts": ["a", "b"]}\n',
        '```json\n{"string": "x", "texts": ["a", "b"]}\n```',
        '~~~\n{"string": "x", "texts": ["a", "b"]}\n~~~\n',
        json.dumps('{"string": "x", "texts": ["a", "b"]}'),
        json.dumps(json.dumps('{"string": "x", "texts": ["a", "b"]}')),
        '{"string": "x", "texts": ["a", "b",],}',
        "{'string': 'x', 'texts': ['a', 'b']}",
        "{'string': 'x', 'texts': ['a', 'b',]}",
        '{"string": "x", "string": "x", "texts": ["a", "b"]}',
    ],
)
def test_an_object_in_another_dress_is_read(text: str) -> None:
    assert read(text) == {"string": "x", "texts": ["a", "b"]}


def test_python_literals_and_line_ends_in_texts() -> None:
    assert read("{'boolean': True, 'maybe': None, 'number': -1.5, 'string': 'it\\'s\\n'}") == {
        "boolean": True,
        "maybe": None,
        "number": -1.5,
        "string": "it's\n",
    }
    assert read('{"string": "a\n\tb",}') == {"string": "a\n\tb"}
    assert read('{"string": ",] \\",}", "any": [1 , ]}') == {"string": ',] ",}', "any": [1]}


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("Draw a circle, please.", "a JSON object is expected, not a text in words"),
        ('"circle"', "a JSON object is expected, not a text in words"),
        ("[1, 2]", "a JSON object is expected, not an array"),
        ("5", "a JSON object is expected, not a value"),
        ('{"string": "x', "the JSON ends in the middle"),
        ('{"string": "x",', "the JSON ends in the middle"),
        ('{"texts": ["a", "b"', "the JSON ends in the middle"),
        ("{'string': 'x', 'texts': ['a'", "it is not valid JSON"),
        ('{"string": "x"} {"string": "y"}', "something follows after the end of the JSON at character 16"),
        ('{"string": "x"} and more', "something follows"),
        ('Here: {"string": "x"}', "not a text in words"),
        ('{"string": "x", "string": "y"}', 'the key "string" is given twice, with different values'),
        ("{'string': 'x', 'string': 'y'}", 'the key "string" is given twice, with different values'),
        ('{"number": NaN}', "NaN is no JSON number"),
        ('{"number": -Infinity}', "-Infinity is no JSON number"),
        ('{"number": 1e999}', "a number is too large"),
        ("{'number': 1e999}", "a number is too large"),
        ('{"integer": ' + "9" * 5_000 + "}", "a number is too large"),
        ('{"string": "\\ud83d"}', "a text holds half of a character, a lone surrogate"),
        ('{"string": "x" "texts": []}', "it is not valid JSON: Expecting ',' delimiter at line 1 column 16"),
        ("{'texts': ['a' 'b']}", "it is not valid JSON"),
        ("{'string': f'x'}", "it is not valid JSON"),
        ("{'string': b'x'}", "it is not valid JSON"),
        ("{'string': '\\x41'}", "it is not valid JSON"),
        ("{'any': (1, 2)}", "it is not valid JSON"),
        ("{'any': {1, 2}}", "it is not valid JSON"),
        ("{'any': 1 + 2}", "it is not valid JSON"),
        ("{1: 2}", "it is not valid JSON"),
        ("{**{}}", "it is not valid JSON"),
        ("{'any': __import__('os')}", "it is not valid JSON"),
        ("{\"any\": true, 'b': None}", "it is not valid JSON"),
        ("{,}", "it is not valid JSON"),
        ('{"any": [1,,]}', "it is not valid JSON"),
        ("```\n{}\n``` and ```\n{}\n```", "something follows after the end of the JSON"),
    ],
)
def test_what_is_no_object_is_told(text: str, complaint: str) -> None:
    found = problem(text)
    assert complaint in found.splitlines()[0]
    assert "\nSignature: draw(string?: string, integer?: integer, " in found


def test_deep_nesting_and_huge_texts_end() -> None:
    for depth in (300, 900):
        deep = "[" * depth + "]" * depth
        assert len(read(f'{{"any": {deep}}}')) == 1
        assert len(read(f'{{"array": {deep}, "integer": "1"}}')) == 2
    assert "nested too deeply" in problem('{"any": ' + "[" * 100_000 + "]" * 100_000 + "}")
    assert "it is not valid JSON" in problem("{'a': " * 10_000)
    assert "ends in the middle" in problem('{"string": "' + '\\"' * 200_000)
    assert "it is not valid JSON" in problem('{"any": [' + "1, " * 100_000 + "x]}")
    items = [{"x": str(number)} for number in range(20_000)]
    assert len(read(json.dumps({"points": items[:10_000]}))["points"]) == 10_000


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#"},
        {"properties": {"a": {"anyOf": [{"$ref": "#/properties/a"}, {"$ref": "#/properties/a"}]}}},
        {"properties": {"a": {"allOf": [{"$ref": "#/properties/a"}]}}},
    ],
)
def test_a_schema_that_leads_into_itself_ends(schema: Schema) -> None:
    assert read('{"a": [[[[[["5"]]]]]]}', tool(schema)) == {"a": [[[[[["5"]]]]]]}


def test_a_schema_too_involved_to_follow_lets_the_server_decide() -> None:
    inner = [{"type": "array", "items": {"$ref": "#/$defs/A"}, "minItems": number} for number in range(8)]
    schema = {"type": "object", "properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"anyOf": inner}}}
    value: Any = 5
    for _ in range(12):
        value = [value]
    assert read(json.dumps({"a": value}), tool(schema)) == {"a": value}


@pytest.mark.parametrize("schema", [None, True, 5, [], {"type": 5}, {"properties": []}, {"required": "a"}, {"$ref": 5}])
def test_arguments_for_a_schema_that_is_none(schema: Any) -> None:
    assert read('{"a": "5"}', tool(schema)) == {"a": "5"}


def test_names_that_an_api_refuses_are_given_back() -> None:
    inner = {"type": "object", "properties": {"a b": {"type": "integer"}, "a_b": {"type": "integer"}}}
    properties = {
        "$filter": {"type": "string"},
        "max-results": {"type": "integer"},
        "in": {"type": "array", "items": inner},
    }
    found = tool({"type": "object", "properties": properties, "required": ["$filter"]}, "gemini")
    shown = parameters(found)["properties"]
    assert list(shown) == ["filter", "max_results", "in"]
    odd, plain = shown["in"]["items"]["properties"]
    sent = {"filter": "x", "max_results": "5", "in": [{odd: 1, plain: 2}]}
    assert read(json.dumps(sent), found) == {"$filter": "x", "max-results": 5, "in": [{"a b": 1, "a_b": 2}]}
    assert read('{"$filter": "x"}', found) == {"$filter": "x"}


def test_objects_of_unknown_keys_come_as_text_where_an_api_cannot_give_them() -> None:
    properties = {"env": {"type": "object", "additionalProperties": {"type": "integer"}}, "any": {"type": "object"}}
    found = tool({"type": "object", "properties": properties}, "gemini")
    assert read('{"env": "{\\"A\\": \\"1\\"}", "any": "{}"}', found) == {"env": {"A": 1}, "any": {}}


def test_old_dialects_and_inner_identities_are_left_to_the_server() -> None:
    old = {"$schema": "http://json-schema.org/draft-07/schema#", "definitions": {"I": {"type": "integer"}}}
    beside = old | {"properties": {"a": {"$ref": "#/definitions/I", "type": "string"}}}
    assert read('{"a": 5}', tool(beside)) == {"a": 5}
    moved = {"$id": "x:y", "$ref": "#/$defs/I", "$defs": {"I": {"type": "integer"}}}
    inner = {"properties": {"a": moved}, "$defs": {"I": {"type": "string"}}}
    assert read('{"a": 5}', tool(inner)) == {"a": 5}


def test_a_property_may_be_called_id() -> None:
    schema = {
        "properties": {"id": {"$ref": "#/$defs/I"}, "$id": {"type": "string"}},
        "$defs": {"I": {"type": "integer"}},
    }
    assert read('{"id": "5"}', tool(schema)) == {"id": 5}
