"""The parameters of a tool's Python function, from its input schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from agentd.core.tools import JSON, ToolSpec
from agentd.skills.names import free, parameter_identifier
from agentd.skills.reading import read_shape, required_keys, text_of
from agentd.skills.shapes import Shape
from agentd.skills.text import one_line

_MAX_PARAMETERS = 200


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter: `name` in Python, `key` in JSON. A `positional` one may be given by place as well as by name."""

    name: str
    key: str
    shape: Shape
    schema: JSON
    required: bool
    positional: bool
    description: str


@dataclass(frozen=True, slots=True)
class Parameters:
    """All parameters in the order of their signature; further keys go under the name `more` where it is set.

    What is required comes first, in the schema's order, and may be given by place. What is optional must be named:
    no server promises the order of its optional keys. A local function's author does, so there optional ones may be
    given by place too, up to the first required one that follows an optional one.
    """

    items: tuple[Parameter, ...]
    more: str = ""


def parameters_of(spec: ToolSpec, order: Sequence[str] = ()) -> Parameters:
    """Return the parameters of `spec`; `order` has the keys of the required ones in an order that was shown before."""
    schema = spec.input_schema
    given = schema.get("properties")
    properties = dict(given) if isinstance(given, dict) else {}
    needed = required_keys(schema)
    properties.update(dict.fromkeys(sorted(needed - properties.keys()), True))
    taken: set[str] = set()
    items: list[Parameter] = []
    for key, each in list(properties.items())[:_MAX_PARAMETERS]:
        name = free(parameter_identifier(key), taken, "_")
        taken.add(name)
        text = one_line(text_of(each, "description"), 1_000)
        items.append(Parameter(name, key, read_shape(each, schema), each, key in needed, key in needed, text))
    if not spec.server:
        items = _by_place(items)
    items.sort(key=lambda item: (not item.positional, not item.required))
    more = free("more", taken, "_") if _is_open(spec) else ""
    return Parameters(tuple(_as_before(items, order)), more)


def _by_place(items: Sequence[Parameter]) -> list[Parameter]:
    placed: list[Parameter] = []
    optional_seen = named_only = False
    for item in items:
        named_only = named_only or (item.required and optional_seen)
        optional_seen = optional_seen or not item.required
        placed.append(replace(item, positional=not named_only))
    return placed


def _as_before(items: list[Parameter], order: Sequence[str]) -> list[Parameter]:
    """Keep the places of required parameters that a signature has shown, as long as they are the same ones."""
    required = {item.key: item for item in items if item.positional and item.required}
    if set(order) != set(required):
        return items
    return [required[key] for key in order] + [item for item in items if item.key not in required]


def _is_open(spec: ToolSpec) -> bool:
    """Tell whether keys may be given that the schema does not list: it says so, or it lists none at all."""
    schema = spec.input_schema
    extra = schema.get("additionalProperties")
    listed = isinstance(schema.get("properties"), dict) or bool(required_keys(schema))
    return (
        bool(extra) or "patternProperties" in schema or isinstance(extra, dict) or (not listed and extra is not False)
    )
