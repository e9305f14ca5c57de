"""Whether a value fits a schema, as far as a client must know: of types, keys, values and branches.

Bounds, formats, patterns and conditions are left to the server. What is not understood fits, so that no value is
refused that its owner would take.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from agentd.core.tools import JSON
from agentd.tools.merging import same
from agentd.tools.pointers import Document
from agentd.tools.tidying import TYPES, is_type, type_of

_MAX_STEPS = 100_000
_MAX_REFERENCES = 50


class Unending(Exception):
    """The schema is too involved to be followed."""


class Check:
    """Tells for values whether they fit schemas of one document; raises `Unending` after very many steps."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._steps = 0
        # By the identities of value and schema; both are kept alive by what is checked.
        self._known: dict[tuple[int, int], bool] = {}
        self._kept: list[JSON] = []

    def fits(self, value: JSON, schema: JSON) -> bool:
        """Tell whether `value` fits `schema`."""
        if not isinstance(schema, dict):
            return schema is not False
        self.step()
        place = (id(value), id(schema))
        known = self._known.get(place)
        if known is None:
            # A schema that refers to itself for the same value says nothing new there.
            self._known[place] = True
            self._kept.append(value)
            known = self._known[place] = self._fits(value, schema)
        return known

    def step(self) -> None:
        """Count a step of the work."""
        self._steps += 1
        if self._steps > _MAX_STEPS:
            raise Unending

    def meant(self, schema: JSON) -> list[Mapping[str, JSON]]:
        """Return what a schema says itself and by its references, each to be fitted by itself."""
        found: list[Mapping[str, JSON]] = []
        waiting: list[JSON] = [schema]
        while waiting and len(found) < _MAX_REFERENCES:
            part = waiting.pop()
            if not isinstance(part, dict) or any(part is one for one in found):
                continue
            ref = part.get("$ref")
            if isinstance(ref, str):
                waiting.append(self._target(ref))
            found.append({} if isinstance(ref, str) and self._document.is_old else part)
        return found

    def is_closed(self, schema: Mapping[str, JSON]) -> bool:
        """Tell whether an object may have no further keys."""
        return schema.get("additionalProperties") is False and not schema.get("patternProperties")

    def items(self, schema: Mapping[str, JSON]) -> tuple[list[JSON], JSON]:
        """Return the schemas of the first items and that of all after them, `None` where there is none."""
        items = schema.get("items")
        if isinstance(items, list):
            return items, schema.get("additionalItems")
        places = schema.get("prefixItems")
        if isinstance(places, list) and not self._document.is_old:
            return places, items
        return [], items

    def _target(self, ref: str) -> JSON:
        """Return what a reference means, `None` where an inner identity may have moved that."""
        return None if self._document.has_inner_ids else self._document.target(ref)

    def _fits(self, value: JSON, schema: Mapping[str, JSON]) -> bool:
        ref = schema.get("$ref")
        if isinstance(ref, str):
            target = self._target(ref)
            if target is not None and not self.fits(value, target):
                return False
            if self._document.is_old:
                return True
        return self._fits_itself(value, schema) and self._fits_parts(value, schema)

    def _fits_itself(self, value: JSON, schema: Mapping[str, JSON]) -> bool:
        types = types_of(schema)
        if types and not any(is_type(value, kind) for kind in types):
            return False
        if "const" in schema and not same(value, schema["const"]):
            return False
        values = schema.get("enum")
        if isinstance(values, list) and not any(same(value, each) for each in values):
            return False
        if isinstance(value, dict):
            return self._fits_object(value, schema)
        return not isinstance(value, list) or self._fits_array(value, schema)

    def _fits_parts(self, value: JSON, schema: Mapping[str, JSON]) -> bool:
        every = schema.get("allOf")
        if isinstance(every, list) and not all(self.fits(value, each) for each in every):
            return False
        return all(
            any(self.fits(value, branch) for branch in branches)
            for key in ("anyOf", "oneOf")
            if isinstance(branches := schema.get(key), list) and branches
        )

    def _fits_object(self, value: dict[str, JSON], schema: Mapping[str, JSON]) -> bool:
        given = schema.get("properties")
        properties = given if isinstance(given, dict) else {}
        required = schema.get("required")
        if isinstance(required, list) and not all(key in value for key in required if isinstance(key, str)):
            return False
        for key, each in properties.items():
            if key in value and not self.fits(value[key], each):
                return False
        extra = schema.get("additionalProperties")
        if extra in (None, True) or schema.get("patternProperties"):
            return True
        return all(self.fits(each, extra) for key, each in value.items() if key not in properties)

    def _fits_array(self, value: list[JSON], schema: Mapping[str, JSON]) -> bool:
        places, rest = self.items(schema)
        if not all(self.fits(each, place) for each, place in zip(value, places, strict=False)):
            return False
        return rest is None or all(self.fits(each, rest) for each in value[len(places) :])


def types_of(schema: Mapping[str, JSON]) -> list[str]:
    """Return the types that a schema names, with null where OpenAPI's `nullable` adds it; none when any will do."""
    given = schema.get("type")
    names = [given] if isinstance(given, str) else given if isinstance(given, list) else []
    if not names or not all(name in TYPES for name in names):
        return []
    types = cast("list[str]", names)
    return [*types, "null"] if schema.get("nullable") is True and "null" not in types else types


def kind_of(value: JSON) -> str:
    """Return the type of a value with its article."""
    kind = type_of(value)
    return "null" if kind == "null" else f"{'an' if kind[0] in 'aeiou' else 'a'} {kind}"
