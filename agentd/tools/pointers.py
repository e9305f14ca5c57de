"""Where the references of a JSON Schema document lead."""

from __future__ import annotations

from functools import cached_property

from agentd.core.tools import JSON

REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
_OLD = ("draft-03", "draft-04", "draft-06", "draft-07")


class Document:
    """A JSON Schema document, or any other JSON value that a server calls one."""

    def __init__(self, root: JSON) -> None:
        self.root = root

    def target(self, ref: str) -> JSON:
        """Return what `ref` points at inside the document, `None` when nothing stands there."""
        base, _, fragment = ref.partition("#")
        if base and base != self._id:
            return self._named(base)
        if not fragment:
            return self.root
        if not fragment.startswith("/"):
            return self._anchors.get(fragment, self._named(fragment))
        found = _walked(self.root, [_unescaped(part) for part in fragment[1:].split("/")])
        return self._named(fragment.rpartition("/")[2]) if found is None else found

    @cached_property
    def is_old(self) -> bool:
        """Whether it is written in a dialect in which nothing counts that stands beside a `$ref`."""
        dialect = self.root.get("$schema") if isinstance(self.root, dict) else None
        return isinstance(dialect, str) and any(draft in dialect for draft in _OLD)

    @cached_property
    def has_inner_ids(self) -> bool:
        """Whether a schema inside has an identity of its own, so that its references count from there."""
        names = ("$id", "id") if self.is_old else ("$id",)
        return any(
            schema is not self.root and any(isinstance(schema.get(name), str) for name in names)
            for schema in self._objects()
        )

    @cached_property
    def _id(self) -> str:
        name = self.root.get("$id", self.root.get("id")) if isinstance(self.root, dict) else None
        return name.rstrip("#") if isinstance(name, str) else ""

    @cached_property
    def _anchors(self) -> dict[str, JSON]:
        found: dict[str, JSON] = {}
        for schema in self._objects():
            for key in ("$anchor", "$dynamicAnchor"):
                name = schema.get(key)
                if isinstance(name, str):
                    found.setdefault(name, schema)
        return found

    def _named(self, name: str) -> JSON:
        """Return the definition of that name: some tools are cut out of a document that had it elsewhere."""
        if isinstance(self.root, dict):
            for home in ("$defs", "definitions"):
                definitions = self.root.get(home)
                if isinstance(definitions, dict) and definitions.get(_unescaped(name)) is not None:
                    return definitions[_unescaped(name)]
        return None

    def _objects(self) -> list[dict[str, JSON]]:
        found: list[dict[str, JSON]] = []
        waiting: list[JSON] = [self.root]
        while waiting:
            value = waiting.pop()
            if isinstance(value, dict):
                found.append(value)
                waiting.extend(value.values())
            elif isinstance(value, list):
                waiting.extend(value)
        return found


def _walked(value: JSON, parts: list[str]) -> JSON:
    for part in parts:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isascii() and part.isdigit() and int(part[:9]) < len(value):
            value = value[int(part[:9])]
        else:
            return None
    return value


def _unescaped(part: str) -> str:
    if "%" in part:
        from urllib.parse import unquote  # few references need it, and it takes milliseconds

        part = unquote(part)
    return part.replace("~1", "/").replace("~0", "~")
