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
class Media:
    """An image or a sound in a result: `kind` is `image` or `audio`, `data` its content in base64.

    `file` is the path in the workspace where it has been saved, `""` when it has not.
    """

    kind: str
    mime_type: str
    data: str
    file: str = ""


@dataclass(frozen=True, slots=True)
class ToolResult:
    """What a call gave: any JSON value, or with `ok=False` the error as text in `value`.

    `media` repeats the images and sounds, which stand as files in `value`, for a model that can see and hear.
    """

    ok: bool
    value: JSON
    media: tuple[Media, ...] = ()


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running call is: `progress` rises, `total` is what it leads to where that is known."""

    progress: float
    total: float | None = None
    message: str = ""
