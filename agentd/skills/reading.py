"""JSON Schema, of any age and any oddness, read into a `Shape`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from agentd.core.tools import JSON
from agentd.skills.shapes import ANY, MAX_LITERALS, NULL, Key, Shape, union

_SCALARS = {"string": "str", "integer": "int", "number": "float", "boolean": "bool", "null": "null"}
_MAX_DEPTH = 8
_MAX_NODES = 1_000
_MAX_KEYS = 50


def read_shape(schema: JSON, root: JSON = None) -> Shape:
    """Return the shape that `schema` describes; references are looked up in `root`.

    What is not understood is `any`, and so is all beyond 8 levels or 1,000 nodes, as of a schema that contains itself.
    """
    return _Reader(schema if root is None else root).read(schema, 0)


class _Reader:
    def __init__(self, root: JSON) -> None:
        self._root = root
        self._nodes = 0

    def read(self, schema: JSON, depth: int) -> Shape:
        self._nodes += 1
        if not isinstance(schema, dict) or depth > _MAX_DEPTH or self._nodes > _MAX_NODES:
            return ANY
        reference = schema.get("$ref")
        if isinstance(reference, str):
            return self.read(self._target(reference), depth + 1)
        if "const" in schema:
            return _literal([schema["const"]])
        values = schema.get("enum")
        if isinstance(values, list) and values:
            return _literal(values)
        return self._composed(schema, depth) or self._typed(schema, depth)

    def _target(self, reference: str) -> JSON:
        if not reference.startswith("#"):
            return None
        node = self._root
        for part in reference[1:].split("/")[1:]:
            name = part.replace("~1", "/").replace("~0", "~")
            node = node.get(name) if isinstance(node, dict) else None
        return node

    def _composed(self, schema: Mapping[str, JSON], depth: int) -> Shape | None:
        for word in ("anyOf", "oneOf"):
            members = schema.get(word)
            if isinstance(members, list) and members:
                shape = union(self.read(member, depth + 1) for member in members[:MAX_LITERALS])
                # alternatives that only say which keys are required leave the object itself to be read
                if shape != ANY or "type" not in schema:
                    return shape
        members = schema.get("allOf")
        if isinstance(members, list) and members:
            own = {key: value for key, value in schema.items() if key != "allOf"}
            return _both([self.read(own, depth + 1), *(self.read(member, depth + 1) for member in members)])
        return None

    def _typed(self, schema: Mapping[str, JSON], depth: int) -> Shape:
        kind = schema.get("type")
        if isinstance(kind, list):
            return union(self._typed({**schema, "type": each}, depth) for each in kind)
        if isinstance(kind, str) and kind in _SCALARS:
            return Shape(_SCALARS[kind])
        if kind == "array" or (kind is None and ("items" in schema or "prefixItems" in schema)):
            return self._array(schema, depth)
        if kind == "object" or (kind is None and "properties" in schema):
            return self._object(schema, depth)
        return ANY

    def _array(self, schema: Mapping[str, JSON], depth: int) -> Shape:
        prefix, items = schema.get("prefixItems"), schema.get("items")
        members = items if isinstance(items, list) else prefix if isinstance(prefix, list) else []
        if members:
            return Shape("array", (union(self.read(member, depth + 1) for member in members),))
        if isinstance(items, dict):
            return Shape("array", (self.read(items, depth + 1),))
        return Shape("array")

    def _object(self, schema: Mapping[str, JSON], depth: int) -> Shape:
        properties, more = schema.get("properties"), schema.get("additionalProperties")
        if isinstance(properties, dict) and properties:
            needed = required_keys(schema)
            names = list(properties)[:_MAX_KEYS]
            keys = [Key(name, self.read(properties[name], depth + 1), name in needed) for name in names]
            return Shape("object", keys=tuple(keys))
        if isinstance(more, dict):
            return Shape("object", (self.read(more, depth + 1),))
        return Shape("object")


def required_keys(schema: Mapping[str, JSON]) -> set[str]:
    """Return the names in `required`, where it is a list of names."""
    required = schema.get("required")
    return {name for name in required if isinstance(name, str)} if isinstance(required, list) else set()


def _literal(values: list[JSON]) -> Shape:
    plain = [value for value in values if value is None or isinstance(value, str | int | float)]
    if len(plain) < len(values):
        return ANY
    if len(plain) > MAX_LITERALS:
        return union(NULL if value is None else Shape(type(value).__name__) for value in plain)
    distinct = {(type(value), value): value for value in plain}  # 1, 1.0 and True are equal
    return Shape("literal", literals=tuple(distinct.values()))


def _both(shapes: list[Shape]) -> Shape:
    """Return what all of `shapes` describe together: of objects all keys, else the first that says something."""
    keys: dict[str, Key] = {}
    for shape in shapes:
        keys.update({key.name: key for key in shape.keys})
    if keys:
        return Shape("object", keys=tuple(keys.values()))
    return next((shape for shape in shapes if shape != ANY), ANY)


def text_of(schema: JSON, name: str) -> str:
    """Return the text under `name` of a schema, `""` when there is none."""
    value = cast("dict[str, JSON]", schema).get(name) if isinstance(schema, dict) else None
    return value if isinstance(value, str) else ""
