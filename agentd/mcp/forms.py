"""The flat forms that servers ask users to fill in: defaults, and whether an answer fits.

MCP allows a form text, numbers, truth values and choices, each at the top level (elicitation, "Requested Schema").
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date, datetime
from urllib.parse import urlsplit

from agentd.core.tools import JSON, Schema

Fields = dict[str, JSON]


def completed(answer: Fields, schema: Schema) -> Fields:
    """Return `answer` with the schema's defaults for the fields that it lacks."""
    defaults = {name: field["default"] for name, field in _fields(schema).items() if "default" in field}
    return defaults | answer


def misfit(answer: Fields, schema: Schema) -> str:
    """Tell why `answer` does not fit the form; `""` when it does."""
    fields = _fields(schema)
    required = schema.get("required")
    for name in required if isinstance(required, list) else ():
        if name not in answer:
            return f"{name!r} is required"
    for name, value in answer.items():
        if name not in fields:
            return f"{name!r} is not in the form"
        reason = _wrong(value, fields[name])
        if reason:
            return f"{name!r} {reason}"
    return ""


def _fields(schema: Schema) -> dict[str, Schema]:
    properties = schema.get("properties")
    if not isinstance(properties, dict):
        return {}
    return {name: field for name, field in properties.items() if isinstance(field, dict)}


def _wrong(value: JSON, field: Schema) -> str:
    if field.get("type") == "array":
        return _wrong_list(value, field)
    choices = _choices(field)
    if choices is not None:
        return "" if value in choices else f"must be one of {choices!r:.300}"
    return _CHECKS.get(str(field.get("type")), _unknown)(value, field)


def _choices(field: Schema) -> list[JSON] | None:
    listed = field.get("enum")
    if isinstance(listed, list):
        return listed
    titled = field.get("oneOf", field.get("anyOf"))
    if not isinstance(titled, list):
        return None
    return [each["const"] for each in titled if isinstance(each, dict) and "const" in each]


def _wrong_list(value: JSON, field: Schema) -> str:
    if not isinstance(value, list):
        return "must be a list"
    items = field.get("items")
    choices = _choices(items) if isinstance(items, dict) else None
    for each in value:
        if not isinstance(each, str) or (choices is not None and each not in choices):
            return f"must hold only {choices!r:.300}" if choices is not None else "must hold only text"
    return _outside(len(value), field, "minItems", "maxItems", " items")


def _wrong_text(value: JSON, field: Schema) -> str:
    if not isinstance(value, str):
        return "must be text"
    check = _FORMATS.get(str(field.get("format")))
    if check is not None and not check(value):
        return f"must be a valid {field['format']}"
    return _outside(len(value), field, "minLength", "maxLength", " characters")


def _wrong_number(value: JSON, field: Schema) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "must be a number"
    if isinstance(value, float) and not math.isfinite(value):
        return "must be a number"
    if field["type"] == "integer" and isinstance(value, float) and not value.is_integer():
        return "must be a whole number"
    return _outside(value, field, "minimum", "maximum", "")


def _wrong_truth(value: JSON, field: Schema) -> str:
    return "" if isinstance(value, bool) else "must be true or false"


def _unknown(value: JSON, field: Schema) -> str:
    return "is of a type that a form does not have"


def _outside(size: float, field: Schema, least: str, most: str, unit: str) -> str:
    low, high = field.get(least), field.get(most)
    if isinstance(low, int | float) and size < low:
        return f"must be at least {low}{unit}"
    if isinstance(high, int | float) and size > high:
        return f"must be at most {high}{unit}"
    return ""


def _is_email(text: str) -> bool:
    return re.fullmatch(r"[^@\s]+@[^@\s]+", text) is not None


def _is_uri(text: str) -> bool:
    return bool(urlsplit(text).scheme) and not re.search(r"\s", text)


def _parses(parse: Callable[[str], object]) -> Callable[[str], bool]:
    def check(text: str) -> bool:
        try:
            parse(text)
        except ValueError:
            return False
        return True

    return check


_CHECKS: dict[str, Callable[[JSON, Schema], str]] = {
    "string": _wrong_text,
    "number": _wrong_number,
    "integer": _wrong_number,
    "boolean": _wrong_truth,
}
_FORMATS: dict[str, Callable[[str], bool]] = {
    "email": _is_email,
    "uri": _is_uri,
    "date": _parses(date.fromisoformat),
    "date-time": _parses(datetime.fromisoformat),
}
