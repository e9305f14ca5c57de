"""The properties that an API does not take by their names: given their own names again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from agentd.core.tools import JSON
from agentd.tools.dialects import DIALECTS
from agentd.tools.naming import property_meant
from agentd.tools.pointers import Document

_MAX_PARTS = 300


def own_names(arguments: dict[str, JSON], document: Document, flavour: str) -> dict[str, JSON]:
    """Return `arguments` with each key that an API of this flavour knows by another name under its own."""
    return _Renaming(document, flavour).object(arguments, [document.root])


class _Renaming:
    def __init__(self, document: Document, flavour: str) -> None:
        self._document = document
        self._dialect = DIALECTS[flavour]

    def object(self, value: dict[str, JSON], schemas: Iterable[JSON]) -> dict[str, JSON]:
        parts = self._parts(schemas)
        properties: dict[str, list[JSON]] = {}
        for part in parts:
            given = part.get("properties")
            for key, each in given.items() if isinstance(given, dict) else ():
                properties.setdefault(key, []).append(each)
        extra = [part.get("additionalProperties") for part in parts]
        result: dict[str, JSON] = {}
        for key, each in value.items():
            meant = property_meant(key, properties, self._dialect.names, self._dialect.refused)
            name = key if meant is None or meant in value else meant
            result[name] = self._value(each, properties.get(name, extra))
        return result

    def _value(self, value: JSON, schemas: Iterable[JSON]) -> JSON:
        if isinstance(value, dict):
            return self.object(value, schemas)
        if isinstance(value, list):
            items = [inner for part in self._parts(schemas) for inner in _items(part)]
            return [self._value(each, items) for each in value]
        return value

    def _parts(self, schemas: Iterable[JSON]) -> list[Mapping[str, JSON]]:
        """Return all that these schemas say of one value, by references and in branches too."""
        found: dict[int, Mapping[str, JSON]] = {}
        waiting = list(schemas)
        while waiting and len(found) < _MAX_PARTS:
            part = waiting.pop()
            if not isinstance(part, dict) or id(part) in found:
                continue
            found[id(part)] = part
            ref = part.get("$ref")
            waiting += [self._document.target(ref)] if isinstance(ref, str) else []
            for key in ("allOf", "anyOf", "oneOf"):
                branches = part.get(key)
                waiting += branches if isinstance(branches, list) else []
        return list(found.values())


def _items(schema: Mapping[str, JSON]) -> list[JSON]:
    found: list[JSON] = []
    for key in ("items", "prefixItems"):
        each = schema.get(key)
        found += each if isinstance(each, list) else [each]
    return found
