"""One runnable example a tool, with arguments that could be meant."""

from __future__ import annotations

import json
from collections.abc import Mapping

from agentd.core.tools import JSON
from agentd.skills.catalogue import Entry
from agentd.skills.parameters import Parameter
from agentd.skills.shapes import Shape

_BY_FORMAT: Mapping[str, str] = {
    "uri": "https://example.com",
    "url": "https://example.com",
    "email": "someone@example.com",
    "date": "2026-01-31",
    "time": "12:00:00",
    "date-time": "2026-01-31T12:00:00Z",
    "duration": "PT1H",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "ipv4": "127.0.0.1",
    "binary": "",
}
_BY_NAME: Mapping[str, str] = {
    "path": "example.txt",
    "repo_path": ".",
    "directory": ".",
    "file": "example.txt",
    "filename": "example.txt",
    "url": "https://example.com",
    "uri": "https://example.com",
    "query": "example",
    "q": "example",
    "pattern": "*.md",
    "timezone": "UTC",
    "time": "12:00",
    "expression": "1 + 1",
    "message": "Hello",
    "text": "Hello",
    "name": "example",
}


def example_name(entry: Entry) -> str:
    """Return the file name of a tool's example."""
    return f"{entry.name}_example.py"


def example_script(entry: Entry) -> str:
    """Return a script that calls the tool with the required arguments, or with a JSON object from its command line."""
    arguments = {item.name: example_value(item) for item in entry.parameters.items if item.required}
    shown = "".join(f"    {name!r}: {value!r},\n" for name, value in arguments.items())
    given = f"{{\n{shown}}}" if shown else "{}"
    command = f"skills run {entry.skill} {example_name(entry)} ['{{…}}']"
    return f'''"""Calls {entry.name}; give other arguments as a JSON object: {command}"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from lib.tools import {entry.name}

arguments = {given}
if len(sys.argv) > 1:
    arguments = json.loads(sys.argv[1])
print(json.dumps({entry.name}(**arguments), indent=2, ensure_ascii=False))
'''


def example_value(item: Parameter) -> JSON:
    """Return a plausible value of a parameter: one that its schema names, else one that fits its type and name."""
    return _from_schema(item.schema, item.shape, item.key)


def _from_schema(schema: JSON, shape: Shape, name: str) -> JSON:
    if isinstance(schema, dict):
        examples = schema.get("examples")
        if isinstance(examples, list) and examples:
            return _printable(examples[0], shape)
        if schema.get("default") is not None:
            return _printable(schema["default"], shape)
        if isinstance(schema.get("format"), str) and shape.kind == "str":
            return _BY_FORMAT.get(str(schema["format"]), _word(name))
        if shape.kind in ("int", "float"):
            return _number(schema, shape)
    return _from_shape(shape, name)


def _from_shape(shape: Shape, name: str) -> JSON:
    if shape.kind == "str":
        return _word(name)
    if shape.kind == "literal":
        return shape.literals[0]
    if shape.kind == "array":
        return [_from_shape(shape.items[0], name.removesuffix("s"))] if shape.items else []
    if shape.kind == "object":
        return {key.name: _from_shape(key.shape, key.name) for key in shape.keys if key.required}
    if shape.kind == "union":
        return _from_shape(shape.items[0], name)
    simple: dict[str, JSON] = {"int": 1, "float": 1, "bool": True, "any": "example"}
    return simple.get(shape.kind)


def _number(schema: Mapping[str, JSON], shape: Shape) -> JSON:
    low = schema.get("minimum", schema.get("exclusiveMinimum"))
    high = schema.get("maximum", schema.get("exclusiveMaximum"))
    if isinstance(low, int | float) and low >= 1:
        return low if "minimum" in schema else low + 1
    if isinstance(high, int | float) and high <= 1:
        return high if "maximum" in schema else high - 1
    return 1


def _word(name: str) -> str:
    return _BY_NAME.get(name.lower(), "example")


def _printable(value: JSON, shape: Shape) -> JSON:
    """Return what the schema gives as example, unless it is too long to be one."""
    return value if len(json.dumps(value)) <= 500 else _from_shape(shape, "")
