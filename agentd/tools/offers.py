"""Tools as they are offered to a model API: names, descriptions and schemas that it takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import overload

from agentd.core.errors import OptionError
from agentd.core.tools import Schema, ToolSpec
from agentd.tools.dialects import DIALECTS, Dialect
from agentd.tools.naming import folded, free_name, tool_name
from agentd.tools.plain import plain
from agentd.tools.strict import NotStrict, strict
from agentd.tools.words import cleaned
from agentd.tools.writing import parameters

_PREFIXES = ("functions", "function", "tools", "tool", "default_api", "multi_tool_use")
_MAX_REST = 4_000


@dataclass(frozen=True, slots=True)
class Offer:
    """A tool as a model API of the kind `flavour` sees it; `key` is our own for it, `spec` what its owner says.

    `renames` tells whether keys of `parameters` have other names than in the tool's own schema.
    """

    name: str
    key: str
    description: str
    parameters: Schema
    strict: bool
    spec: ToolSpec
    flavour: str
    renames: bool = False


class Offers(Sequence[Offer]):
    """The tools of one call, in the order of the given ones; finds the one that a model means."""

    def __init__(self, items: Sequence[Offer], names: Mapping[str, str], reserved: Container[str]) -> None:
        self._items = tuple(items)
        self._reserved = reserved
        self._by_name = {offer.name: offer for offer in items}
        # The name of each tool that there ever was, by its key.
        self.names = names

    @overload
    def __getitem__(self, index: int) -> Offer: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Offer]: ...
    def __getitem__(self, index: int | slice) -> Offer | Sequence[Offer]:
        return self._items[index]

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Offer]:
        return iter(self._items)

    def find(self, name: str) -> Offer | None:
        """Return the tool of that name, or the only one that it can mean, as `functions.fs.Read-File` does."""
        bare = _without_prefix(name)
        for called in (name, bare):
            if called in self._by_name or called in self._reserved:
                return self._by_name.get(called)
        for meant, calls in ((bare, _own_names), (bare, _full_names), (_last_part(bare), _own_names)):
            found = [offer for offer in self._items if folded(meant) in map(folded, calls(offer))]
            if found:
                return found[0] if len(found) == 1 else None
        return None


def offers(
    specs: Mapping[str, ToolSpec], flavour: str, reserved: Container[str] = (), before: Offers | None = None
) -> Offers:
    """Return the tools as an API of the kind `flavour` takes them: one of `FLAVOURS`.

    `reserved` are names that are not ours to give. Tools that were there `before` keep their names, unless one is
    reserved now. A tool whose schema cannot be used is offered with any arguments; no schema raises.
    """
    if flavour not in DIALECTS:
        raise OptionError(f"unknown kind of model API {flavour!r}: use one of {', '.join(DIALECTS)}")
    known = {offer.key: offer for offer in before or ()}
    names = _named(specs, reserved, before.names if before else {})
    items: list[Offer] = []
    for key, spec in specs.items():
        old = known.get(key)
        same = old is not None and old.spec is spec and old.flavour == flavour and old.name == names[key]
        items.append(old if same and old else _offer(spec, names[key], key, flavour))
    return Offers(items, names, reserved)


FLAVOURS = tuple(DIALECTS)


def _offer(spec: ToolSpec, name: str, key: str, flavour: str) -> Offer:
    dialect = DIALECTS[flavour]
    schema, is_strict, renames = _parameters(spec, dialect, flavour == "openai")
    # Not every API shows the model what stands at the root of the parameters.
    said = cleaned(schema.pop("description", ""))
    text = cleaned(spec.description, dialect.max_description + _MAX_REST)
    text, rest = _halves(text if said in text else f"{text}\n{said}".strip(), dialect.max_description)
    if rest:
        schema["description"] = rest
    return Offer(name, key, text, schema, is_strict, spec, flavour, renames)


def _parameters(spec: ToolSpec, dialect: Dialect, may_be_strict: bool) -> tuple[Schema, bool, bool]:
    """Return the parameters, whether they are strict, and whether keys in them have other names."""
    try:
        form = plain(spec.input_schema)
        schema, renames = parameters(form, dialect)
    except Exception:  # a schema is anyone's; it must not take the other tools with it
        import logging

        logging.getLogger(__name__).warning("tool %s: its schema cannot be read", spec.name, exc_info=True)
        return {"type": "object", "properties": {}}, False, False
    # An object that lists no keys and does not deny others takes any.
    if may_be_strict and form.exact and form.schema.keys() & {"properties", "additionalProperties"}:
        with suppress(NotStrict, RecursionError):
            return strict(schema), True, renames
    return schema, False, renames


def _halves(text: str, limit: int) -> tuple[str, str]:
    """Cut a text that is too long at the end of a word."""
    if len(text) <= limit:
        return text, ""
    cut = text.rfind(" ", limit // 2, limit)
    cut = cut if cut > 0 else limit - 1
    return text[:cut].rstrip() + "…", text[cut:].lstrip()


def _named(specs: Mapping[str, ToolSpec], reserved: Container[str], before: Mapping[str, str]) -> dict[str, str]:
    """Return the name of every tool, old ones first; of new ones that clash each is called after its server too."""
    names = {key: name for key, name in before.items() if name not in reserved}
    taken = _Taken(names.values(), reserved)
    wanted = {key: tool_name(spec.name) for key, spec in specs.items() if key not in names}
    clashes = Counter(folded(name) for name in wanted.values())
    for key, name in wanted.items():
        server = specs[key].server
        long = f"{tool_name(server)}__{name}" if server else name
        names[key] = free_name([long] if clashes[folded(name)] > 1 else [name, long], key, taken)
        taken.add(names[key])
    return names


class _Taken:
    """Names that are given; two that differ in case only are one to a model."""

    def __init__(self, names: Iterable[str], reserved: Container[str]) -> None:
        self._names = {name.casefold() for name in names}
        self._reserved = reserved

    def add(self, name: str) -> None:
        self._names.add(name.casefold())

    def __contains__(self, name: object) -> bool:
        return str(name) in self._reserved or str(name).casefold() in self._names


def _without_prefix(name: str) -> str:
    for mark in (".", ":", "/"):
        head, _, tail = name.partition(mark)
        if tail and head in _PREFIXES:
            return tail
    return name


def _last_part(name: str) -> str:
    for mark in ("__", ".", "/", ":"):
        name = name.rpartition(mark)[2] or name
    return name


def _own_names(offer: Offer) -> tuple[str, ...]:
    return offer.name, offer.spec.name


def _full_names(offer: Offer) -> tuple[str, ...]:
    full = f"{offer.spec.server} {offer.spec.name}"
    return full, f"mcp {full}"
