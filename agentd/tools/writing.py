"""A plain schema as one dialect takes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from agentd.core.tools import JSON, Schema
from agentd.tools.dialects import Dialect
from agentd.tools.merging import is_never
from agentd.tools.naming import property_names, tool_name
from agentd.tools.plain import Plain
from agentd.tools.tidying import BOUNDS, is_type
from agentd.tools.words import MAX_DESCRIPTION, brief, cleaned, length, note

_MAX_NODES = 2_500
_MAX_TEXT = 100_000
_INLINED = 40
# How deep, and how many characters of each description: the first that is not too large is sent.
_SIZES = ((24, MAX_DESCRIPTION), (24, 200), (10, 200), (7, 100), (5, 100), (4, 80), (3, 80), (2, 60), (1, 40), (1, 0))
_ANY = ("string", "number", "boolean", "object", "array")


class _TooLarge(Exception):
    """The schema has more parts than can be sent."""


def parameters(plain: Plain, dialect: Dialect) -> tuple[Schema, bool]:
    """Return the parameters of a function, and whether any key in them has another name than its own.

    What makes them too large is left out, from the innermost level on.
    """
    too_deep = _SIZES[0][0] + 1
    for depth, words in _SIZES:
        if depth >= too_deep:
            continue
        writer = _Writer(plain, dialect, depth, words)
        try:
            result = writer.parameters()
        except _TooLarge:
            too_deep = depth
            continue
        if length(result) <= _MAX_TEXT:
            return result, writer.renames
    result: Schema = {"type": "object", "properties": {}}
    if dialect.open:
        result["additionalProperties"] = True
    names = cast(Schema, plain.schema.get("properties", {}))
    note(result, f"{len(names)} keys, too many to list: {brief(list(names), 1_000)}")
    return result, False


class _Writer:
    def __init__(self, plain: Plain, dialect: Dialect, max_depth: int, max_words: int) -> None:
        self._plain = plain
        self._dialect = dialect
        self._max_depth = max_depth
        self._max_words = max_words
        self._nodes = 0
        self._inside: set[str] = set()
        self._names: dict[str, str] = {}
        self.renames = False
        self._shared = _shared(plain.definitions) if dialect.references else frozenset[str]()

    def parameters(self) -> Schema:
        """Return the schema with the definitions that it refers to."""
        root = self._single(self._plain.schema, "object", 0)
        root.setdefault("properties", {})
        definitions: Schema = {}
        while len(definitions) < len(self._names):
            for ref in [ref for ref, name in self._names.items() if name not in definitions]:
                definitions[self._names[ref]] = self._schema(self._plain.definitions[ref], 1)
        if definitions:
            root["$defs"] = definitions
        return root

    def _schema(self, schema: Schema, depth: int, optional: bool = False, beside_text: bool = False) -> Schema:
        """Write a schema anywhere below the root; `beside_text` in a union that a text fits too."""
        self._nodes += 1
        if self._nodes > _MAX_NODES:
            raise _TooLarge
        if "$ref" in schema:
            return self._reference(schema, depth, optional, beside_text)
        if is_never(schema):
            return self._noted({"type": "string"}, {}, "there is no value to give")
        if "anyOf" in schema:
            return self._union(schema, depth, optional)
        types = cast("list[str]", schema.get("type", []))
        kinds = [kind for kind in types if kind != "null"]
        if not kinds:
            return self._bare(schema, bool(types), depth)
        if len(kinds) == 1:
            form = self._single(schema, kinds[0], depth, beside_text)
        elif self._dialect.type_lists and not {"array", "object"} & set(kinds):
            form = self._scalars(schema, kinds)
        else:
            form = self._split(schema, kinds, depth)
        return self._nullable(form, schema, optional) if "null" in types else form

    def _bare(self, schema: Schema, is_null: bool, depth: int) -> Schema:
        """Write what is nothing but null, or what may be anything."""
        if is_null and self._dialect.null == "type":
            return self._noted({"type": "null"}, schema)
        if is_null:
            return self._nullable(self._noted({"type": "string"}, schema, "always null"), schema, False)
        if self._dialect.type_lists:
            return self._noted({}, schema)
        return self._split(schema, list(_ANY), depth)

    def _single(self, schema: Schema, kind: str, depth: int, beside_text: bool = False) -> Schema:
        form: Schema = {"type": kind}
        lost = self._bounds(form, schema, kind)
        if kind == "object":
            lost += self._object(form, schema, depth, as_text=self._dialect.text and not beside_text and depth > 0)
        elif kind == "array":
            form["items"] = self._items(schema, depth)
        if "enum" in schema:
            self._enum(form, schema, kind)
        return self._noted(form, schema, *lost)

    def _scalars(self, schema: Schema, kinds: list[str]) -> Schema:
        form: Schema = {"type": cast(JSON, kinds)}
        lost = [words for kind in kinds for words in self._bounds(form, schema, kind)]
        if "enum" in schema:
            form["enum"] = [value for value in cast("list[JSON]", schema["enum"]) if value is not None]
        return self._noted(form, schema, *lost)

    def _split(self, schema: Schema, kinds: list[str], depth: int) -> Schema:
        """Write a union of types as one of schemas."""
        own = {key: value for key, value in schema.items() if key not in ("description", "default")}
        forms = [self._single(own, kind, depth + 1, "string" in kinds) for kind in kinds]
        return self._noted({"anyOf": cast(JSON, forms)}, schema)

    def _union(self, schema: Schema, depth: int, optional: bool) -> Schema:
        members = cast("list[Schema]", schema["anyOf"])
        rest = [member for member in members if member.get("type") != ["null"]]
        if not rest or depth >= self._max_depth:
            return self._bare({key: schema[key] for key in ("description",) if key in schema}, not rest, depth)
        text = any(self._takes_text(member) for member in rest)
        forms: list[Schema] = []
        for member in rest:
            form = self._schema(member, depth + 1, beside_text=text)
            forms += cast("list[Schema]", form["anyOf"]) if form.keys() == {"anyOf"} else [form]
        form = self._noted({"anyOf": cast(JSON, forms)} if len(forms) > 1 else forms[0], schema)
        return self._nullable(form, schema, optional) if len(rest) < len(members) else form

    def _takes_text(self, schema: Schema) -> bool:
        meant = self._plain.definitions[cast(str, schema["$ref"])] if "$ref" in schema else schema
        return "string" in cast("list[str]", meant.get("type", ["string"]))

    def _reference(self, schema: Schema, depth: int, optional: bool, beside_text: bool) -> Schema:
        ref = cast(str, schema["$ref"])
        target = self._plain.definitions[ref]
        if ref in self._shared:
            name = self._names.setdefault(ref, _definition(ref, set(self._names.values())))
            bare: Schema = {"$ref": f"#/$defs/{name}"}
            return self._noted({"anyOf": [bare]}, schema) if schema.keys() & {"description", "default"} else bare
        said = {key: value for key, value in schema.items() if key != "$ref"}
        if ref in self._inside:
            depth = self._max_depth
            target = {key: target[key] for key in ("type", "description") if key in target}
            note(target, "of the same form as the one that it is part of")
            return self._schema(target | said, depth, optional, beside_text)
        self._inside.add(ref)
        form = self._schema(target | said, depth, optional, beside_text)
        self._inside.discard(ref)
        return form

    def _object(self, form: Schema, schema: Schema, depth: int, as_text: bool) -> list[str]:
        """Write the keys of an object, return what cannot be said of them."""
        extra = schema.get("additionalProperties")
        given = cast("dict[str, Schema]", schema.get("properties", {}))
        if given and depth >= self._max_depth:
            if self._dialect.open:
                form["additionalProperties"] = True
            return [*_text(form, as_text), f"keys: {brief(list(given), 200)}"]
        words = _about_extra(extra, "other" if given else "all")
        if not given and as_text and extra is not False:
            return [*_text(form, True), *words]
        if given or ("properties" in schema and not self._dialect.text):
            self._keys(form, schema, given, depth)
        if not self._dialect.open:
            return words
        if extra is not None:
            form["additionalProperties"] = extra if isinstance(extra, bool) else self._extra(extra, depth)
        return []

    def _keys(self, form: Schema, schema: Schema, given: Mapping[str, Schema], depth: int) -> None:
        required = cast("list[str]", schema.get("required", []))
        names = property_names(given, self._dialect.names, self._dialect.refused)
        form["properties"] = {
            names[key]: self._property(each, names[key], key, depth, key not in required) for key, each in given.items()
        }
        if required:
            form["required"] = [names[key] for key in required]

    def _extra(self, extra: JSON, depth: int) -> JSON:
        return self._schema(cast(Schema, extra), depth + 1) or True

    def _property(self, schema: Schema, name: str, key: str, depth: int, optional: bool) -> Schema:
        form = self._schema(schema, depth + 1, optional)
        if name != key:
            self.renames = True
            known = cleaned(key, 64)
            form = self._noted(form, {}, f"its name is {known}" if known else "its name cannot be shown")
        return form

    def _items(self, schema: Schema, depth: int) -> Schema:
        items = cast(Schema, schema.get("items", {}))
        if items and depth < self._max_depth and not is_never(items):
            return self._schema(items, depth + 1)
        return {} if self._dialect.type_lists else {"anyOf": [{"type": kind} for kind in _ANY if kind != "array"]}

    def _bounds(self, form: Schema, schema: Schema, kind: str) -> list[str]:
        """Copy the bounds that the API knows, return the words for the others."""
        lost: list[str] = []
        about = "number" if kind == "integer" else kind
        for key in BOUNDS.get(about, ()):
            if key not in schema:
                continue
            known = self._dialect.formats is None or key != "format" or schema[key] in self._dialect.formats
            if key in self._dialect.bounds and known:
                form[key] = schema[key]
            else:
                lost.append(f"{key}: {brief(schema[key])}")
        return lost

    def _enum(self, form: Schema, schema: Schema, kind: str) -> None:
        values = [value for value in cast("list[JSON]", schema["enum"]) if is_type(value, kind)]
        if self._dialect.any_enum or (values and all(isinstance(value, str) and value for value in values)):
            form["enum"] = values
        elif kind == "string" and any(values):
            form["enum"] = [value for value in values if value]
            note(form, "or an empty text")
        else:
            note(form, f"one of {brief(values, 600)}")

    def _nullable(self, form: Schema, schema: Schema, optional: bool) -> Schema:
        """Let `form` be null too, where the API knows how; leaving out an optional key says the same as its default."""
        if optional and not self._dialect.type_lists and "default" in schema and schema["default"] is None:
            form.pop("default", None)
            return form
        if self._dialect.null == "words":
            note(form, "or null")
            return form
        if self._dialect.null == "nullable":
            for each in cast("list[Schema]", form.get("anyOf", [form])):
                each["nullable"] = True
            return form
        kind = form.get("type")
        if kind is None or kind in ("object", "array") or not self._dialect.type_lists:
            return _or_null(form)
        form["type"] = cast(JSON, [*(kind if isinstance(kind, list) else [kind]), "null"])
        if "enum" in form:
            form["enum"] = [*cast("list[JSON]", form["enum"]), None]
        return form

    def _noted(self, form: Schema, schema: Schema, *words: str) -> Schema:
        """Give `form` the description of `schema`, what has no keyword there, and its default."""
        # Where a type cannot say that it may be null, nothing may stand beside a union either.
        said = cast("list[Schema]", form["anyOf"])[0] if "anyOf" in form and self._dialect.null == "nullable" else form
        texts = [cast(str, each["description"]) for each in (schema, said) if each.get("description")]
        if texts:
            said["description"] = texts[0] if len(texts) == 1 or texts[1] in texts[0] else f"{texts[0]}\n{texts[1]}"
        if len(cast(str, said.get("description", ""))) > self._max_words:
            said["description"] = cleaned(said["description"], self._max_words)
        for text in words:
            note(said, text)
        if "default" in schema and self._dialect.default:
            said["default"] = schema["default"]
        elif schema.get("default") is not None:
            note(said, f"default: {brief(schema['default'])}")
        return form


def _or_null(form: Schema) -> Schema:
    said = {key: form.pop(key) for key in ("description", "default") if key in form}
    members = cast("list[JSON]", form["anyOf"]) if form.keys() == {"anyOf"} else [form]
    return {"anyOf": [*members, {"type": "null"}], **said}


def _text(form: Schema, as_text: bool) -> list[str]:
    """Make of an object a text, where objects of unknown keys come out empty."""
    if not as_text:
        return []
    form["type"] = "string"
    return ["an object as JSON text"]


def _about_extra(extra: JSON, which: str) -> list[str]:
    if isinstance(extra, dict) and extra.get("type"):
        return [f"{which} keys have values of type {'/'.join(cast('list[str]', extra['type']))}"]
    return ["other keys may be given"] if which == "other" and (isinstance(extra, dict) or extra is True) else []


def _definition(ref: str, taken: set[str]) -> str:
    name = tool_name(ref.rpartition("/")[2].rpartition("#")[2] or "root")[:50]
    number = 1
    while (candidate := name if number == 1 else f"{name}_{number}") in taken:
        number += 1
    return candidate


def _references(schema: Mapping[str, JSON]) -> tuple[list[str], int]:
    """Return what a plain schema refers to, and of how many parts it consists; very many are not counted."""
    found: list[str] = []
    size = 0
    waiting: list[JSON] = [cast(JSON, schema)]
    while waiting and size <= _INLINED:
        value = waiting.pop()
        size += 1
        if isinstance(value, dict):
            ref = value.get("$ref")
            found += [ref] if isinstance(ref, str) else []
            waiting += [value[key] for key in ("items", "additionalProperties") if key in value]
            waiting += list(cast(Schema, value.get("properties", {})).values())
            waiting += cast("list[JSON]", value.get("anyOf", []))
    return found, size


def _shared(definitions: Mapping[str, Schema]) -> frozenset[str]:
    """Return the definitions that must stay such: they lie in themselves, or are large when written out."""
    known = {ref: _references(schema) for ref, schema in definitions.items()}
    sizes: dict[str, int] = {}
    # Those whose references all have a size get one, until no more do: what is left over is recursive or huge.
    while True:
        ready = {
            ref: own + sum(sizes[inner] for inner in inners)
            for ref, (inners, own) in known.items()
            if ref not in sizes and all(inner in sizes for inner in inners)
        }
        small = {ref: size for ref, size in ready.items() if size <= _INLINED}
        if not small:
            return frozenset(definitions.keys() - sizes.keys())
        sizes.update(small)
