"""Arguments against an oracle: what a schema accepts passes as it is, what is repaired is accepted then."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from jsonschema import validators

from agentd.core.tools import ToolSpec
from agentd.tools.arguments import Problem, read_arguments
from agentd.tools.merging import same
from agentd.tools.offers import FLAVOURS, offers
from tests.fakes.schemas import ANY_JSON, ANY_SCHEMA, QUIET, tool_schemas, values_for

Schema = dict[str, Any]
RELAXED = settings(max_examples=60, deadline=None, suppress_health_check=QUIET)


def _at_least_one(validator: Any, branches: Any, value: Any, _: Schema) -> Iterator[jsonschema.ValidationError]:
    if not any(validator.evolve(schema=branch).is_valid(value) for branch in branches):
        yield jsonschema.ValidationError("fits no branch")


ALL = jsonschema.Draft202012Validator
_LEFT_TO_THE_SERVER = ("minimum", "maxLength", "minItems", "format", "pattern", "uniqueItems", "patternProperties")
OURS = validators.extend(ALL, {"oneOf": _at_least_one} | {key: lambda *_: None for key in _LEFT_TO_THE_SERVER})
"""The part of JSON Schema that we follow."""


def accepts(validator: Any, schema: Schema, value: Any) -> bool:
    try:
        return validator(schema).is_valid(value)
    except RecursionError:  # the schema refers to itself for the same value
        assume(False)
        return False


def read(text: str, schema: Any, flavour: str = "openai-compatible") -> Any:
    return read_arguments(text, offers({"k": ToolSpec("t", input_schema=schema)}, flavour)[0])


@st.composite
def calls(draw: st.DrawFn) -> tuple[Schema, Schema]:
    schema = draw(tool_schemas())
    return schema, draw(values_for(schema, schema))


def _damaged(value: Any, data: st.DataObject) -> Any:
    """Return a value as a careless model writes it: some numbers, flags and objects as texts."""
    if isinstance(value, dict) and value:
        key = data.draw(st.sampled_from(sorted(value)))
        return value | {key: _damaged(value[key], data)}
    if isinstance(value, list) and value:
        return [_damaged(value[0], data), *value[1:]]
    return value if isinstance(value, str) or value is None else json.dumps(value)


@given(calls())
@RELAXED
def test_what_the_schema_accepts_is_not_changed(call: tuple[Schema, Schema]) -> None:
    schema, value = call
    assume(accepts(ALL, schema, value))
    assert same(read(json.dumps(value), schema), value)


@given(calls(), st.data())
@RELAXED
def test_what_is_repaired_is_accepted(call: tuple[Schema, Schema], data: st.DataObject) -> None:
    schema, value = call
    # Which keys are further ones is for the server to say where patterns decide it.
    assume("patternProperties" not in str(schema))
    sent = _damaged(value, data)
    accepted = accepts(OURS, schema, sent)
    found = read(json.dumps(sent), schema)
    if accepted:
        assert same(found, sent)
    elif not isinstance(found, Problem):
        event("repaired")
        assert accepts(OURS, schema, found)


@given(calls())
@RELAXED
def test_what_is_told_is_told_shortly(call: tuple[Schema, Schema]) -> None:
    schema, value = call
    found = read(json.dumps(value), schema)
    assert not isinstance(found, Problem) or (len(found.text) < 4_000 and found.text.encode())


@given(ANY_JSON | ANY_SCHEMA, st.text(max_size=30) | ANY_JSON.map(json.dumps), st.sampled_from(FLAVOURS))
@RELAXED
def test_no_text_and_no_schema_is_too_odd(schema: Any, text: str, flavour: str) -> None:
    found = read(text, schema, flavour)
    assert isinstance(found, dict | Problem)


@given(st.dictionaries(st.text(), ANY_JSON))
@RELAXED
def test_any_object_passes_a_schema_that_asks_nothing(value: Any) -> None:
    try:
        json.dumps(value, allow_nan=False, ensure_ascii=False).encode()
    except ValueError:
        assume(False)
    assert same(read(json.dumps(value), {}), value)
    assert same(read(json.dumps(value, ensure_ascii=False), {"type": "object"}), value)
    literal = read(repr(value), {})
    assert same(literal, value) if "\\" not in repr(value) else isinstance(literal, Problem) or same(literal, value)
