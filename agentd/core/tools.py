"""What a tool is, wherever it comes from."""

from __future__ import annotations

from dataclasses import dataclass, field

JSON = None | bool | int | float | str | list["JSON"] | dict[str, "JSON"]
Schema = dict[str, JSON]


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as its owner describes it: `name` and `description` are not to be trusted.

    `server` is the MCP server that it belongs to, `""` for a local function. The schemas are JSON Schema objects.
    """

    name: str
    description: str = ""
    input_schema: Schema = field(default_factory=dict[str, JSON])
    output_schema: Schema | None = None
    server: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call gave: any JSON value, or with `ok=False` the error as text in `value`."""

    ok: bool
    value: JSON
