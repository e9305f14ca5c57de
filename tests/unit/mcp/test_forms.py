"""Answers to the forms of servers: every kind of field that the protocol has."""

from __future__ import annotations

from typing import Any

import pytest

from agentd.mcp.forms import completed, misfit


def form(**fields: Any) -> Any:
    return {"type": "object", "properties": fields, "required": ["needed"] if "needed" in fields else []}


def test_defaults_fill_only_what_is_absent() -> None:
    fields = form(a={"type": "string", "default": "x"}, b={"type": "boolean", "default": False}, c={"type": "number"})
    assert completed({"a": ""}, fields) == {"a": "", "b": False}
    assert completed({}, {}) == {} and completed({"x": 1}, {"properties": "no"}) == {"x": 1}


TITLED = [{"const": "a", "title": "A"}, {"const": "b", "title": "B"}]
GOOD: list[tuple[Any, Any]] = [
    ({"type": "string"}, "x"),
    ({"type": "string", "minLength": 2, "maxLength": 2}, "ab"),
    ({"type": "string", "format": "email"}, "a@b"),
    ({"type": "string", "format": "uri"}, "urn:x"),
    ({"type": "string", "format": "date"}, "2026-02-28"),
    ({"type": "string", "format": "date-time"}, "2026-02-28T10:00:00Z"),
    ({"type": "string", "format": "of the future"}, "anything"),
    ({"type": "number", "minimum": 1, "maximum": 2}, 1.5),
    ({"type": "integer"}, 3),
    ({"type": "integer"}, 3.0),
    ({"type": "integer"}, 10**400),
    ({"type": "boolean"}, False),
    ({"type": "string", "enum": ["a"], "enumNames": ["A"]}, "a"),
    ({"type": "string", "oneOf": TITLED}, "b"),
    ({"type": "array", "items": {"type": "string", "enum": ["a", "b"]}, "maxItems": 2}, ["a", "b"]),
    ({"type": "array", "items": {"anyOf": TITLED}}, ["b"]),
    ({"type": "array", "items": {"type": "string"}}, []),
]
BAD: list[tuple[Any, Any, str]] = [
    ({"type": "string"}, 1, "must be text"),
    ({"type": "string", "minLength": 2}, "a", "at least 2"),
    ({"type": "string", "maxLength": 1}, "ab", "at most 1"),
    ({"type": "string", "format": "email"}, "a", "valid email"),
    ({"type": "string", "format": "uri"}, "no scheme", "valid uri"),
    ({"type": "string", "format": "date"}, "2026-02-30", "valid date"),
    ({"type": "string", "format": "date-time"}, "soon", "valid date-time"),
    ({"type": "number"}, "1", "must be a number"),
    ({"type": "number"}, True, "must be a number"),
    ({"type": "integer"}, 1.5, "whole number"),
    ({"type": "integer"}, float("inf"), "must be a number"),
    ({"type": "number", "minimum": 1}, 0, "at least 1"),
    ({"type": "boolean"}, "true", "true or false"),
    ({"type": "string", "enum": ["a"]}, "b", "one of"),
    ({"type": "string", "oneOf": TITLED}, "A", "one of"),
    ({"type": "array", "items": {"enum": ["a"]}}, "a", "must be a list"),
    ({"type": "array", "items": {"enum": ["a"]}}, ["b"], "must hold only"),
    ({"type": "array", "items": {"type": "string"}}, [1], "only text"),
    ({"type": "array", "items": {}, "minItems": 1}, [], "at least 1 items"),
    ({"type": "object"}, {}, "does not have"),
    ({}, "x", "does not have"),
]


@pytest.mark.parametrize(("field", "value"), GOOD)
def test_what_fits(field: Any, value: Any) -> None:
    assert misfit({"it": value}, form(it=field)) == ""


@pytest.mark.parametrize(("field", "value", "reason"), BAD)
def test_what_does_not(field: Any, value: Any, reason: str) -> None:
    told = misfit({"it": value}, form(it=field))
    assert told.startswith("'it' ") and reason in told


def test_names() -> None:
    fields = form(needed={"type": "string"})
    assert misfit({}, fields) == "'needed' is required"
    assert misfit({"needed": "x", "other": 1}, fields) == "'other' is not in the form"
