"""Parameters in OpenAI's strict mode, in which the model cannot but keep to them.

There every object is closed and every key required; what may be left out is given as null instead.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from agentd.core.tools import JSON, Schema
from agentd.tools.words import brief, note

_MAX_PROPERTIES = 5_000
_MAX_LEVELS = 10
_MAX_VALUES = 1_000
_MAX_TEXT = 120_000
_LONG_ENUM = 250
_MAX_LONG_ENUM_TEXT = 15_000

_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})
_KEYWORDS = frozenset(
    {
        *("type", "description", "enum", "properties", "required", "additionalProperties", "items", "anyOf"),
        *("$ref", "$defs", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
        *("minItems", "maxItems", "pattern", "format"),
    }
)
# Only what every regular expression engine knows: no lookaround, no back reference, no class by property.
_PATTERN = re.compile(r"(?:[^\\(]|\\[dwsDWS^$.|?*+()\[\]{}/\\-]|\((?!\?)|\(\?:)*")


class NotStrict(Exception):
    """The schema cannot be strict and still mean the same."""


def strict(parameters: Schema) -> Schema:
    """Return the parameters in strict form, or raise `NotStrict`.

    A key that may be left out can be null there, which `read_arguments` leaves out again. Bounds that strict mode
    lacks are said in words. An object is taken for closed when it lists its keys and does not say that there are more.
    """
    definitions = cast("dict[str, Schema]", parameters.get("$defs", {}))
    writer = _Strict(definitions)
    result = writer.schema(parameters)
    if definitions:
        result["$defs"] = {name: writer.schema(each) for name, each in definitions.items()}
        writer.count_text(*definitions)
    if writer.levels(parameters) > _MAX_LEVELS:
        raise NotStrict
    writer.check()
    return result


class _Strict:
    def __init__(self, definitions: Mapping[str, Schema]) -> None:
        self._definitions = definitions
        self._levels: dict[str, int] = {}
        self._properties = 0
        self._values = 0
        self._text = 0

    def schema(self, schema: Schema) -> Schema:
        """Return one schema in strict form."""
        if not schema.keys() & {"type", "anyOf", "$ref"}:
            raise NotStrict
        result = {key: value for key, value in schema.items() if key in _KEYWORDS and key != "$defs"}
        self._words(result, schema)
        if "enum" in result:
            self._enum(cast("list[JSON]", result["enum"]))
        if "anyOf" in result:
            result["anyOf"] = [self.schema(cast(Schema, each)) for each in cast("list[JSON]", result["anyOf"])]
        if result.get("type") == "array":
            result["items"] = self.schema(cast(Schema, result["items"]))
        if result.get("type") == "object":
            self._object(result)
        return result

    def levels(self, schema: Schema, depth: int = 0) -> int:
        """Return how deep objects and arrays stand in each other; one that contains itself counts once."""
        if depth > 4 * _MAX_LEVELS:
            raise NotStrict
        ref = schema.get("$ref")
        if isinstance(ref, str):
            name = ref.removeprefix("#/$defs/")
            if name not in self._levels:
                self._levels[name] = 0
                self._levels[name] = self.levels(self._definitions[name], depth + 1)
            return self._levels[name]
        inner = [*cast("dict[str, Schema]", schema.get("properties", {})).values()]
        inner += [*cast("list[Schema]", schema.get("anyOf", [])), cast(Schema, schema.get("items", {}))]
        deepest = max((self.levels(each, depth + 1) for each in inner if each), default=0)
        return deepest + (schema.get("type") in ("object", "array"))

    def check(self) -> None:
        """Raise `NotStrict` when all together is more than the API takes."""
        if self._properties > _MAX_PROPERTIES or self._values > _MAX_VALUES or self._text > _MAX_TEXT:
            raise NotStrict

    def count_text(self, *texts: JSON) -> int:
        """Count texts against the limit, return the length of these."""
        length = sum(len(text) for text in texts if isinstance(text, str))
        self._text += length
        return length

    def _object(self, result: Schema) -> None:
        given = result.get("properties")
        extra = result.get("additionalProperties", False if given is not None else None)
        if extra is not False:
            raise NotStrict
        properties = cast("dict[str, Schema]", given or {})
        required = cast("list[str]", result.get("required", []))
        self._properties += len(properties)
        self.count_text(*properties)
        written: Schema = {}
        for key, each in properties.items():
            form = self.schema(each)
            written[key] = form if key in required else self._optional(form, each)
        result.update(properties=written, required=list(properties), additionalProperties=False)

    def _optional(self, form: Schema, given: Schema) -> Schema:
        """Let a key be null that may be left out, unless null would be more than leaving it out."""
        if not _takes_null(given):
            return _or_null(form)
        if "default" not in given:
            raise NotStrict
        return form

    def _words(self, result: Schema, schema: Schema) -> None:
        """Say in words what has no keyword in strict mode."""
        for key, value in schema.items():
            unknown = key not in _KEYWORDS and key != "default"
            if unknown or (key == "format" and value not in _FORMATS) or (key == "pattern" and not _is_plain(value)):
                result.pop(key, None)
                note(result, f"{key}: {brief(value)}")
        if schema.get("default") is not None:
            note(result, f"default: {brief(schema['default'])}")
        if "$ref" in result and len(result) > 1:
            result["anyOf"] = [{"$ref": result.pop("$ref")}]

    def _enum(self, values: list[JSON]) -> None:
        if any(isinstance(value, dict | list) for value in values):
            raise NotStrict
        length = self.count_text(*values)
        self._values += len(values)
        if len(values) > _LONG_ENUM and length > _MAX_LONG_ENUM_TEXT:
            raise NotStrict


def _takes_null(schema: Schema) -> bool:
    kind = schema.get("type")
    members = cast("list[Schema]", schema.get("anyOf", []))
    return kind == "null" or (isinstance(kind, list) and "null" in kind) or any(map(_takes_null, members))


def _or_null(form: Schema) -> Schema:
    kind = form.get("type")
    if "anyOf" in form:
        return {**form, "anyOf": [*cast("list[JSON]", form["anyOf"]), {"type": "null"}]}
    if kind is None or kind in ("object", "array"):
        said: Schema = {"description": form.pop("description")} if "description" in form else {}
        return {"anyOf": [form, {"type": "null"}], **said}
    result: Schema = {**form, "type": cast(JSON, [*(kind if isinstance(kind, list) else [kind]), "null"])}
    if "enum" in form:
        result["enum"] = [*cast("list[JSON]", form["enum"]), None]
    return result


def _is_plain(pattern: JSON) -> bool:
    if not isinstance(pattern, str) or not _PATTERN.fullmatch(pattern):
        return False
    try:
        re.compile(pattern)
    except (re.error, RecursionError, OverflowError):
        return False
    return True
