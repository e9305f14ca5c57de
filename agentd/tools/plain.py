"""Any JSON Schema as a plain one: few keywords, every one of the right type.

A plain schema is `{}` for any value, or has some of: `type` (a list of names), `description`, `enum`, `default`,
`anyOf`, `properties`, `required`, `additionalProperties`, `items`, the bounds of `BOUNDS`, or else a `$ref` to a
definition with at most a description and a default beside it. What else a schema demands is said in words.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import cast

from agentd.core.tools import JSON, Schema
from agentd.tools.merging import MAX_BRANCHES, NEVER, is_never, merged, same
from agentd.tools.naming import folded
from agentd.tools.pointers import REFERENCES, Document
from agentd.tools.tidying import BOUNDS, TYPES, tidy
from agentd.tools.words import brief, cleaned, length, note, sendable

_MAX_DEPTH = 60
_MAX_NODES = 20_000
_MAX_VALUES = 1_000
_MAX_VALUES_TEXT = 20_000
_MAX_UNION = 60

# What hand-written schemas and other languages call the types.
_ALIASES = {
    "int": "integer",
    "float": "number",
    "double": "number",
    "bool": "boolean",
    "str": "string",
    "dict": "object",
    "list": "array",
    "none": "null",
}
_BESIDE = {"title", "description", "default", "examples", "example", "deprecated", "$comment", *REFERENCES}
_REQUIRING = {"required", "type", "title", "description"}
_IN_WORDS = (
    *("not", "if", "then", "else", "dependentRequired", "dependentSchemas", "dependencies", "propertyNames"),
    *("contains", "minContains", "maxContains", "unevaluatedProperties", "unevaluatedItems"),
)
_OBJECT: Schema = {"type": ["object"]}


@dataclass(frozen=True, slots=True)
class Plain:
    """A schema of an object, with what its references mean by their text.

    `exact` tells whether all that it demanded is said in keywords.
    """

    schema: Schema
    definitions: dict[str, Schema]
    exact: bool


def plain(schema: JSON) -> Plain:
    """Return the plain form of a tool's input schema, whatever it is; its root is an object without branches."""
    reader = _Reader(Document(schema))
    root = reader.root()
    return Plain(root, reader.definitions(), reader.exact)


class _Reader:
    def __init__(self, document: Document) -> None:
        self._document = document
        self._definitions: dict[str, Schema] = {}
        self._waiting: list[str] = []
        self._expanded: dict[str, Schema] = {}
        self._left = _MAX_NODES
        self.exact = True

    def definitions(self) -> dict[str, Schema]:
        """Return all that is referred to, each read once."""
        while self._waiting:
            ref = self._waiting.pop()
            self._definitions[ref] = self._schema(_untitled(self._document.target(ref), ref.rpartition("/")[2]), 0)
        return {ref: self._followed(ref) for ref in self._definitions}

    def _followed(self, ref: str) -> Schema:
        """Return what a definition says that may be nothing but a reference itself, even to itself."""
        schema, seen = self._definitions[ref], {ref}
        while isinstance(inner := schema.get("$ref"), str):
            schema = {} if inner in seen else self._definitions[inner]
            seen.add(inner)
        if "anyOf" in schema:
            members = [each for each in cast("list[Schema]", schema["anyOf"]) if each.get("$ref") not in seen]
            return tidy({**schema, "anyOf": cast(JSON, members)}) if members else {}
        return schema

    def root(self) -> Schema:
        """Return the root as an object; branches there are laid into one, since no API takes them."""
        schema = tidy(self._whole(self._node(_untitled(self._document.root), 0)))
        schema = {key: each for key, each in schema.items() if key != "default"}
        if "anyOf" in schema:
            schema = tidy(self._flat(schema))
        types = schema.get("type", ["object"])
        if "object" not in cast("list[str]", types) or is_never(schema):
            self.exact = False
            return dict(_OBJECT)
        if "enum" in schema:
            self.exact = False
            note(schema, f"one of {brief(schema.pop('enum'))}")
        return tidy(schema | _OBJECT)

    def _schema(self, value: JSON, depth: int) -> Schema:
        return tidy(self._node(value, depth))

    def _node(self, value: JSON, depth: int) -> Schema:
        """Return the form of `value`, in which a required key may still lack its property."""
        if value is False:
            return dict(NEVER)
        if not isinstance(value, dict):
            return {}
        self._left -= 1
        if depth > _MAX_DEPTH or self._left < 0:
            self.exact = False
            return {}
        result = self._own(value, depth)
        result = self._with_references(result, value, depth)
        for key in ("anyOf", "oneOf"):
            branches = value.get(key)
            if isinstance(branches, list) and branches:
                result = self._either(result, branches, depth)
        for key in _IN_WORDS:
            if key in value and value[key] is not True:
                self.exact = False
                note(result, f"{key}: {brief(value[key])}")
        return result

    def _own(self, value: Schema, depth: int) -> Schema:
        """Return what the keywords say that stand in `value` itself."""
        result: Schema = {}
        self._annotate(result, value)
        types = _types(value)
        if types:
            result["type"] = cast(JSON, types)
        self._values(result, value)
        self._object(result, value, depth)
        self._array(result, value, depth)
        for bounds in BOUNDS.values():
            result.update({key: value[key] for key in bounds if key in value and _is_bound(key, value[key])})
        return result

    def _annotate(self, result: Schema, value: Schema) -> None:
        text = cleaned(value.get("description")) or cleaned(value.get("title"), 100)
        if text:
            result["description"] = text
        if "default" in value and sendable(value["default"]) and length(value["default"]) < 500:
            result["default"] = value["default"]
        examples = value.get("examples", value.get("example"))
        if examples:
            shown = cast("list[JSON]", examples[:3] if isinstance(examples, list) else [examples])
            note(result, f"e.g. {', '.join(brief(each, 60) for each in shown)}")
        if value.get("deprecated") is True:
            note(result, "deprecated")

    def _values(self, result: Schema, value: Schema) -> None:
        given = [value["const"]] if "const" in value else value.get("enum")
        if not isinstance(given, list) or not given:
            return
        values = _distinct(each for each in given if sendable(each))
        if len(values) > _MAX_VALUES or length(values) > _MAX_VALUES_TEXT:
            self.exact = False
            note(result, f"one of {len(given)} values: {brief(values, 600)}")
        elif values:
            result["enum"] = values

    def _object(self, result: Schema, value: Schema, depth: int) -> None:
        properties = value.get("properties")
        if isinstance(properties, dict):
            result["properties"] = {
                key: self._schema(_untitled(each, key), depth + 1) for key, each in properties.items()
            }
        required = value.get("required")
        if isinstance(required, list):
            result["required"] = list(dict.fromkeys(key for key in required if isinstance(key, str)))
        extra = value.get("additionalProperties")
        if isinstance(extra, dict):
            result["additionalProperties"] = self._schema(extra, depth + 1)
        elif isinstance(extra, bool):
            result["additionalProperties"] = extra
        self._patterns(result, value, depth)

    def _patterns(self, result: Schema, value: Schema, depth: int) -> None:
        patterns = value.get("patternProperties")
        if not isinstance(patterns, dict) or not patterns:
            return
        note(result, f"names of keys match {' or '.join(cleaned(pattern, 80) for pattern in patterns)}")
        schemas = [self._schema(each, depth + 1) for each in patterns.values()]
        if result.get("additionalProperties") in (None, False):
            result["additionalProperties"] = schemas[0] if len(schemas) == 1 and not is_never(schemas[0]) else True

    def _array(self, result: Schema, value: Schema, depth: int) -> None:
        items = value.get("items")
        places = items if isinstance(items, list) else value.get("prefixItems")
        if not isinstance(places, list) or not places:
            if isinstance(items, dict):
                result["items"] = self._schema(items, depth + 1)
            elif items is False:
                result["maxItems"] = 0
            return
        self._tuple(result, places, value.get("additionalItems") if isinstance(items, list) else items, depth)

    def _tuple(self, result: Schema, places: list[JSON], rest: JSON, depth: int) -> None:
        forms = [self._schema(each, depth + 1) for each in places[:_MAX_UNION]]
        if rest is False:
            result["maxItems"] = len(places)
        elif isinstance(rest, dict):
            forms.append(self._schema(rest, depth + 1))
        distinct = cast("list[Schema]", _distinct(cast("list[JSON]", forms)))
        result["items"] = distinct[0] if len(distinct) == 1 else tidy({"anyOf": cast(JSON, distinct)})
        if len(distinct) > 1:
            note(result, f"items in this order: {'; '.join(_shown(form) for form in forms[:12])}")

    def _with_references(self, result: Schema, value: Schema, depth: int) -> Schema:
        """Add what is referred to and all members of an `allOf`."""
        refs = [value[key] for key in REFERENCES if key in value]
        members = value.get("allOf")
        parts: list[JSON] = [{"$ref": ref} for ref in refs] if not value.keys() <= _BESIDE else []
        parts += members if isinstance(members, list) else []
        if refs and not parts:
            return self._reference(result, refs[0])
        if len(parts) == 1 and value.keys() <= _BESIDE | {"allOf"}:
            only = self._node(parts[0], depth + 1)
            return only | result if "$ref" in only else merged(result, only)
        for part in parts:
            result = self._merged(result, self._whole(self._node(part, depth + 1)))
        return result

    def _merged(self, first: Schema, second: Schema) -> Schema:
        branches = [len(cast("list[JSON]", each.get("anyOf", []))) for each in (first, second)]
        self.exact = self.exact and branches[0] * branches[1] <= MAX_BRANCHES
        return merged(first, second)

    def _reference(self, result: Schema, ref: JSON) -> Schema:
        if not isinstance(ref, str) or self._document.target(ref) is None:
            self.exact = False
            note(result, f"as in {cleaned(ref, 100)}" if isinstance(ref, str) and cleaned(ref) else "of unknown form")
            return result
        if ref not in self._definitions:
            self._definitions[ref] = {}
            self._waiting.append(ref)
        kept = {key: result[key] for key in ("description", "default") if key in result}
        return {"$ref": ref} | kept

    def _whole(self, schema: Schema) -> Schema:
        """Return what a reference means in place of it; of one inside itself nothing."""
        ref = schema.get("$ref")
        if not isinstance(ref, str):
            return schema
        if ref not in self._expanded:
            self._expanded[ref] = {}
            self._expanded[ref] = self._whole(self._node(self._document.target(ref), 1))
        return self._expanded[ref] | {key: each for key, each in schema.items() if key != "$ref"}

    def _either(self, result: Schema, branches: list[JSON], depth: int) -> Schema:
        if all(isinstance(each, dict) and "required" in each and each.keys() <= _REQUIRING for each in branches):
            self.exact = False
            choices = [cast(Schema, each)["required"] for each in branches[:12]]
            note(result, f"give at least one of: {' | '.join(_joined(each) for each in choices)}")
            return result
        if len(branches) > _MAX_UNION:
            self.exact = False
            note(result, f"one of {len(branches)} forms")
        nodes = [self._node(each, depth + 1) for each in branches[:_MAX_UNION]]
        nodes = [each for each in nodes if not is_never(each)] or [dict(NEVER)]
        if result.keys() <= {"description", "default"}:
            return {**result, "anyOf": cast(JSON, nodes)}
        if len(nodes) > MAX_BRANCHES and "properties" in result:
            self.exact = False
            note(result, f"one of {len(branches)} forms")
            return result
        said = {key: result.pop(key) for key in ("description", "default") if key in result}
        joined = [self._merged(result, self._whole(each)) for each in nodes]
        return {**said, "anyOf": cast(JSON, joined)}

    def _flat(self, schema: Schema) -> Schema:
        """Lay the branches of the root into one object, of which only the keys common to all are required."""
        self.exact = False
        branches = [tidy(self._whole(each)) for each in cast("list[Schema]", schema["anyOf"])]
        objects = [each for each in branches if "object" in cast("list[str]", each.get("type", ["object"]))]
        result: Schema = {key: schema[key] for key in ("description",) if key in schema} | _OBJECT
        properties: dict[str, list[JSON]] = {}
        for branch in objects:
            for key, each in cast(Schema, branch.get("properties", {})).items():
                properties.setdefault(key, []).append(each)
        result["properties"] = {key: _union(forms) for key, forms in properties.items()}
        needs = [cast("list[str]", each.get("required", [])) for each in objects]
        result["required"] = [key for key in properties if all(key in need for need in needs)]
        if any(each.get("additionalProperties") not in (None, False) for each in objects):
            result["additionalProperties"] = True
        choices = dict.fromkeys(_joined(cast(JSON, need)) for need in needs)
        if len(choices) > 1:
            note(result, f"give either: {' | '.join(list(choices)[:12])}")
        return result


def _untitled(value: JSON, name: str | None = None) -> JSON:
    """Return a schema without a title that only repeats its name, as code that writes schemas gives it."""
    if not isinstance(value, dict) or "title" not in value:
        return value
    if name is not None and (not isinstance(value["title"], str) or folded(value["title"]) != folded(name)):
        return value
    return {key: each for key, each in value.items() if key != "title"}


def _types(value: Schema) -> list[str]:
    given = value.get("type")
    names = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    found = [_ALIASES.get(name.lower(), name.lower()) for name in names if isinstance(name, str)]
    types = [name for name in dict.fromkeys(found) if name in TYPES]
    if "number" in types and "integer" in types:
        types.remove("integer")
    return [*types, "null"] if types and "null" not in types and value.get("nullable") is True else types


def _is_bound(key: str, value: JSON) -> bool:
    if key in ("pattern", "format"):
        return isinstance(value, str) and 0 < len(value) <= 500 and value == cleaned(value)
    if key == "uniqueItems":
        return value is True
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return False
    if key == "multipleOf":
        return value > 0
    return key in BOUNDS["number"] or (isinstance(value, int) and 0 <= value < 2**53)


def _distinct(values: Iterable[JSON]) -> list[JSON]:
    found: dict[object, list[JSON]] = {}
    result: list[JSON] = []
    for value in values:
        # Texts are told apart by a table, so that a huge enum costs no more than its length.
        alike = found.setdefault(value if isinstance(value, str) else None, [])
        if not any(same(value, other) for other in alike):
            alike.append(value)
            result.append(value)
    return result


def _union(forms: list[JSON]) -> Schema:
    distinct = _distinct(forms)
    return cast(Schema, distinct[0]) if len(distinct) == 1 else tidy({"anyOf": distinct})


def _shown(form: Schema) -> str:
    if "enum" in form:
        return brief(form["enum"], 60)
    kinds = cast("list[str]", form.get("type", ["any"]))
    said = cleaned(form.get("description"), 40)
    return f"{'/'.join(kinds)} {said}".strip()


def _joined(names: JSON) -> str:
    given = names if isinstance(names, list) else []
    return " + ".join(cleaned(each, 60) for each in given) or "nothing"
