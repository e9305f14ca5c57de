"""A value made to fit a schema where only one thing can have been meant."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import cast

from agentd.core.tools import JSON
from agentd.tools.jsontext import is_number, read_json
from agentd.tools.merging import same
from agentd.tools.naming import folded, unique_by_fold
from agentd.tools.tidying import is_type, type_of
from agentd.tools.validity import Check, kind_of, types_of
from agentd.tools.words import brief

_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_BRANCHES = 60


class _Misfit(Exception):
    """The value cannot be made to fit."""


class Repair:
    """Fits values to schemas of one document; `problems` tells what does not fit, each with its place."""

    def __init__(self, check: Check) -> None:
        self._check = check
        self.problems: list[str] = []

    def fitted(self, value: JSON, schema: JSON, path: str = "$") -> JSON:
        """Return `value` with all that can be repaired repaired; a new one where anything had to be."""
        self._check.step()
        if schema is False:
            self._problem(path, "no value is allowed here")
            return value
        before = len(self.problems)
        for part in self._check.meant(schema):
            value = self._alone(value, part, path)
            if len(self.problems) > before:
                break
        return value

    def _alone(self, value: JSON, schema: Mapping[str, JSON], path: str) -> JSON:
        """Fit the value to what the schema says itself."""
        before = len(self.problems)
        types = types_of(schema)
        if types and not any(is_type(value, kind) for kind in types):
            value = self._of_type(value, types, schema, path)
        value = self._of_values(value, schema, path)
        if len(self.problems) == before:
            if isinstance(value, dict):
                value = self._object(value, schema, path)
            elif isinstance(value, list):
                value = self._array(value, schema, path)
            elif isinstance(value, float) and value.is_integer() and "integer" in types and "number" not in types:
                value = int(value)
        every = schema.get("allOf")
        for each in every if isinstance(every, list) else []:
            value = self.fitted(value, each, path) if len(self.problems) == before else value
        for key in ("anyOf", "oneOf"):
            branches = schema.get(key)
            if isinstance(branches, list) and branches and len(self.problems) == before:
                value = self._either(value, branches, path)
        return value

    def _of_type(self, value: JSON, types: list[str], schema: Mapping[str, JSON], path: str) -> JSON:
        found: list[JSON] = []
        for kind in types:
            try:
                made = self._made(value, kind, schema)
            except (_Misfit, ValueError, RecursionError):
                continue
            if not any(same(made, each) for each in found):
                found.append(made)
        if len(found) == 1:
            return found[0]
        self._problem(path, f"expected {' or '.join(types)}, got {_given(value)}")
        return value

    def _made(self, value: JSON, kind: str, schema: Mapping[str, JSON]) -> JSON:
        """Return what `value` is as a `kind`, or raise."""
        if kind == "array" and value is not None:
            return self._as_array(value, schema)
        if isinstance(value, str):
            return _from_text(value.strip(), kind)
        # Of other numbers it is not known how they were written: 1.10 is no longer a version then.
        if kind == "string" and isinstance(value, int) and not isinstance(value, bool):
            return str(value)
        raise _Misfit

    def _as_array(self, value: JSON, schema: Mapping[str, JSON]) -> JSON:
        if isinstance(value, str) and value.lstrip().startswith("["):
            return _from_text(value.strip(), "array")
        places, items = self._check.items(schema)
        is_clear = not isinstance(value, str) or not {",", "\n"} & set(value)
        if places or not isinstance(items, dict) or not items or not is_clear or not self._check.fits(value, items):
            raise _Misfit
        return [value]

    def _of_values(self, value: JSON, schema: Mapping[str, JSON], path: str) -> JSON:
        values = [schema["const"]] if "const" in schema else schema.get("enum")
        if not isinstance(values, list) or any(same(value, each) for each in values):
            return value
        alike = [each for each in values if _is_alike(value, each)]
        if len(alike) == 1:
            return alike[0]
        shown = brief(values, 300)
        if isinstance(value, str) and len(shown) >= 300:
            near = _nearest(value, [each for each in values if isinstance(each, str)], 5, 0.5)
            shown = f"one of {len(values)} values" + (f", perhaps {brief(cast(JSON, near))}" if near else f": {shown}")
        self._problem(path, f"expected {shown if shown.startswith('one') else f'one of {shown}'}, got {_given(value)}")
        return value

    def _object(self, value: dict[str, JSON], schema: Mapping[str, JSON], path: str) -> JSON:
        given = schema.get("properties")
        properties = given if isinstance(given, dict) else {}
        listed = schema.get("required")
        required = [key for key in listed if isinstance(key, str)] if isinstance(listed, list) else []
        closed = self._check.is_closed(schema)
        value = _renamed(value, properties, required, closed)
        result: dict[str, JSON] = {}
        for key, each in value.items():
            place = f"{path}.{key}" if _PLAIN_KEY.fullmatch(key) else f"{path}[{brief(key, 60)}]"
            if key in properties:
                if each is None and key not in required and not self._check.fits(None, properties[key]):
                    continue
                result[key] = self.fitted(each, properties[key], place)
            elif closed:
                self._problem(place, _unknown(key, properties))
            else:
                extra = schema.get("additionalProperties")
                is_rest = isinstance(extra, dict) and not schema.get("patternProperties")
                result[key] = self.fitted(each, extra, place) if is_rest else each
        for key in required:
            if key not in result:
                self._problem(path, f"{brief(key, 80)} is missing: {_wanted(properties.get(key))}")
        return result

    def _array(self, value: list[JSON], schema: Mapping[str, JSON], path: str) -> JSON:
        places, rest = self._check.items(schema)
        if not places and rest is None:
            return value
        result: list[JSON] = []
        for index, each in enumerate(value):
            form = places[index] if index < len(places) else rest
            result.append(each if form is None else self.fitted(each, form, f"{path}[{index}]"))
        return result

    def _either(self, value: JSON, branches: list[JSON], path: str) -> JSON:
        """Fit the value to the only branch that it can be meant for, when it fits none yet."""
        if any(self._check.fits(value, branch) for branch in branches):
            return value
        found: list[JSON] = []
        fewest: list[str] | None = None
        for branch in _distinct(branches[:_MAX_BRANCHES]):
            attempt = Repair(self._check)
            made = attempt.fitted(value, branch, path)
            if not attempt.problems and self._check.fits(made, branch):
                found += [] if any(same(made, each) for each in found) else [made]
            elif fewest is None or len(attempt.problems) < len(fewest):
                fewest = attempt.problems
        if len(found) == 1:
            return found[0]
        self.problems += [f"{path}: can be meant in more than one way"] if found else fewest or [f"{path}: unfit"]
        return value

    def _problem(self, path: str, text: str) -> None:
        self.problems.append(f"{path}: {text}")


def _distinct(branches: list[JSON]) -> list[JSON]:
    return [branch for index, branch in enumerate(branches) if branch not in branches[:index]]


def _renamed(
    value: dict[str, JSON], properties: Mapping[str, JSON], required: list[str], closed: bool
) -> dict[str, JSON]:
    """Give keys that are not known the names that they differ from in case and marks only, where those are missing."""
    missing = [key for key in (properties if closed else required) if key not in value]
    unknown = [key for key in value if key not in properties and key not in required]
    if not missing or not unknown:
        return value
    wanted, given = unique_by_fold(missing), unique_by_fold(unknown)
    names = {key: wanted[form] for form, key in given.items() if form in wanted and form}
    return {names.get(key, key): each for key, each in value.items()}


def _from_text(text: str, kind: str) -> JSON:
    """Return what a text says as a value of another type, or raise."""
    if kind in ("integer", "number") and is_number(text):
        value = read_json(text)
        if kind == "number":
            return value
        if isinstance(value, int) or (isinstance(value, float) and value.is_integer() and abs(value) < 2**53):
            return int(value)
    elif kind == "boolean" and text.lower() in ("true", "false"):
        return text.lower() == "true"
    elif kind == "null" and text in ("null", "None"):
        return None
    elif kind in ("object", "array") and text[:1] in ("{", "["):
        value = read_json(text)
        if type_of(value) == kind:
            return value
    raise _Misfit


def _is_alike(value: JSON, wanted: JSON) -> bool:
    """Tell whether two values differ in case only, or in that one is a text."""
    if isinstance(value, str) and isinstance(wanted, str):
        return value.strip().casefold() == wanted.casefold()
    if isinstance(value, str) and isinstance(wanted, bool | int | float):
        try:
            return same(_from_text(value.strip(), type_of(wanted)), wanted)
        except (_Misfit, ValueError):
            return False
    return isinstance(wanted, str) and isinstance(value, int) and not isinstance(value, bool) and str(value) == wanted


def _unknown(key: str, properties: Mapping[str, JSON]) -> str:
    near = [name for name in properties if folded(name) == folded(key)]
    near = near or _nearest(key, list(properties), 1, 0.6)
    known = f"do you mean {brief(near[0], 80)}?" if near else f"known are {brief(list(properties), 300)}"
    return f"there is no such key, {known}"


def _nearest(text: str, known: list[str], count: int, alike: float) -> list[str]:
    import difflib  # only the few calls that fail need it

    return difflib.get_close_matches(text[:100], known[:5_000], count, alike)


def _wanted(schema: JSON) -> str:
    if not isinstance(schema, dict):
        return "it must be given"
    values = [schema["const"]] if "const" in schema else schema.get("enum")
    if isinstance(values, list):
        return f"one of {brief(values, 120)}"
    types = types_of(schema)
    text = schema.get("description")
    return " or ".join(types) + (f", {brief(text, 120)}" if text and types else "") if types else "it must be given"


def _given(value: JSON) -> str:
    return "null" if value is None else f"{kind_of(value)} {brief(value, 60)}"
