"""A tool's signature: as Python has it, and in few tokens."""

from __future__ import annotations

from agentd.skills.catalogue import Entry
from agentd.skills.parameters import Parameter
from agentd.skills.reading import read_shape
from agentd.skills.shapes import ANY, Shape, brief_key, python_type


def python_signature(entry: Entry, unset: str = "...") -> str:
    """Return for example `read_file(path: str, *, tail: float = ...) -> str`; `unset` stands for what is not given."""
    parts: list[str] = []
    by_name = False
    for item in entry.parameters.items:
        if not item.positional and not by_name:
            parts.append("*")
            by_name = True
        parts.append(_declared(item, unset))
    if entry.parameters.more:
        parts.append(f"**{entry.parameters.more}: Any")
    result = result_shape(entry)
    return f"{entry.name}({', '.join(parts)})" + (f" -> {python_type(result)}" if result else "")


def brief_signature(entry: Entry) -> str:
    """Return for example `get_issue(owner, number:int, body?)`: types where they are not `str`, `?` if optional."""
    parts = [brief_key(item.name, item.shape, item.required, depth=1) for item in entry.parameters.items]
    if entry.parameters.more:
        parts.append(f"**{entry.parameters.more}")
    return f"{entry.name}({', '.join(parts)})"


def result_shape(entry: Entry) -> Shape | None:
    """Return the shape of the tool's results: as it declares it, else as it was seen."""
    if entry.spec.output_schema is not None:
        declared = read_shape(entry.spec.output_schema)
        if declared not in (ANY, Shape("object")):
            return declared
    return entry.learned


def _declared(item: Parameter, unset: str) -> str:
    kind = python_type(item.shape)
    return f"{item.name}: {kind}" if item.required else f"{item.name}: {kind} = {unset}"
