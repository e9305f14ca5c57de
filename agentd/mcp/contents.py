"""What an MCP server offers besides tools, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field

from agentd.core.tools import JSON, Media


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of text in a message."""

    text: str


@dataclass(frozen=True, slots=True)
class Resource:
    """Something that can be read under its `uri`; `size` is in bytes, `None` when the server does not tell."""

    uri: str
    name: str
    title: str = ""
    description: str = ""
    mime_type: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True)
class ResourceTemplate:
    """A family of resources: `uri_template` is an RFC 6570 template, see `agentd.mcp.templates.expand`."""

    uri_template: str
    name: str
    title: str = ""
    description: str = ""
    mime_type: str = ""


@dataclass(frozen=True, slots=True)
class ResourceContents:
    """What a resource holds: `text`, or `blob` when it is binary; the other one is `None`."""

    uri: str
    mime_type: str = ""
    text: str | None = None
    blob: bytes | None = None


@dataclass(frozen=True, slots=True)
class ToolUse:
    """A model's call of a tool, in a conversation that a server wants continued."""

    id: str
    name: str
    input: dict[str, JSON] = field(default_factory=dict[str, JSON])


@dataclass(frozen=True, slots=True)
class ToolUseResult:
    """What the tool use `id` gave."""

    id: str
    content: tuple[Block, ...] = ()
    structured: JSON = None
    ok: bool = True


Block = Text | Media | Resource | ResourceContents | ToolUse | ToolUseResult
"""One piece of a message: text, an image or a sound, a link to a resource or a resource itself, a tool use."""


@dataclass(frozen=True, slots=True)
class PromptArgument:
    """A value that a prompt takes; it is always text."""

    name: str
    title: str = ""
    description: str = ""
    required: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """A message, or several, that the server writes from arguments."""

    name: str
    title: str = ""
    description: str = ""
    arguments: tuple[PromptArgument, ...] = ()


@dataclass(frozen=True, slots=True)
class PromptMessage:
    """One message of a prompt; `role` is `user` or `assistant`."""

    role: str
    content: Block


@dataclass(frozen=True, slots=True)
class PromptResult:
    """A prompt with its arguments filled in."""

    description: str
    messages: tuple[PromptMessage, ...]


@dataclass(frozen=True, slots=True)
class PromptRef:
    """Names a prompt, whose argument is to be completed."""

    name: str


@dataclass(frozen=True, slots=True)
class ResourceRef:
    """Names a resource template, whose variable is to be completed."""

    uri: str


@dataclass(frozen=True, slots=True)
class Completion:
    """Values that an argument may have; `total` is how many there are, `None` when the server does not tell."""

    values: tuple[str, ...]
    total: int | None = None
    has_more: bool = False


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """Who the server says it is; all of it may be empty."""

    name: str = ""
    version: str = ""
    title: str = ""
