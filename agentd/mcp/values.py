"""What a tool answered, as a plain JSON value."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import mimetypes
from collections.abc import Callable, Sequence
from typing import Any, cast

import mcp_types as types

from agentd.core.errors import ToolFailed
from agentd.core.tools import JSON, Media, Schema, ToolResult, ToolSpec
from agentd.mcp.reading import media_of

Save = Callable[[str, bytes], str]
"""Stores a file with this suffix and content in the workspace and returns its path there."""


def spec_of(tool: types.Tool, server: str) -> ToolSpec:
    """Describe `tool`; a generated `{"result": …}` wrapper is taken off its output schema as off its results."""
    return ToolSpec(
        name=tool.name,
        description=tool.description or "",
        input_schema=cast(Schema, tool.input_schema),
        output_schema=_unwrapped(cast("Schema | None", tool.output_schema)),
        server=server,
    )


def is_wrapped(schema: dict[str, Any] | None) -> bool:
    """Tell whether `schema` is the wrapper that Python servers put round a result that is no object.

    That is an object whose one and required property is `result`, titled as the SDK's generator titles it
    (`<tool>Output`), or marked by `x-fastmcp-wrap-result`.
    """
    if not schema or list(schema.get("properties") or ()) != ["result"] or schema.get("required") != ["result"]:
        return False
    return bool(schema.get("x-fastmcp-wrap-result")) or str(schema.get("title", "")).endswith("Output")


def _unwrapped(schema: Schema | None) -> Schema | None:
    if schema is None or not is_wrapped(schema):
        return schema
    inner = cast(dict[str, Schema], schema["properties"])["result"]
    return inner | {"$defs": schema["$defs"]} if "$defs" in schema else inner


async def result_of(answer: types.CallToolResult, wrapped: bool, limit: int, save: Save | None) -> ToolResult:
    """Turn the server's answer into a value.

    That is `structuredContent` where given, else the object or array that a single text block holds as JSON, else the
    text of all text blocks, one a line; a list when there are other blocks too. Images, audio and blobs become files;
    images and audio are `media` as well.
    """
    size = sum(_size(block) for block in answer.content)
    if size > limit:
        return ToolResult(False, f"the result has {size} bytes; the limit is {limit}. Ask for less, or for a part.")
    if answer.is_error:
        return ToolResult(False, _error_text(answer), _media(answer.content))
    try:
        blocks = [await _value_of(block, save) for block in answer.content]
    except (OSError, ValueError, ToolFailed) as error:
        return ToolResult(False, f"the tool ran, but a file in its result could not be saved: {error}")
    media = _media(answer.content, blocks)
    if answer.structured_content is not None:
        return ToolResult(True, _with_files(_plain(answer.structured_content, wrapped), blocks), media)
    return ToolResult(True, _joined(blocks), media)


def _media(content: Sequence[types.ContentBlock], values: Sequence[JSON] = ()) -> tuple[Media, ...]:
    """Return the images and sounds, each with the file that its value names."""
    media: list[Media] = []
    for block, value in itertools.zip_longest(content, values):
        if isinstance(block, types.ImageContent | types.AudioContent):
            fields = cast(dict[str, JSON], value) if isinstance(value, dict) else {}
            media.append(media_of(block, str(fields.get("file", ""))))
    return tuple(media)


def _plain(structured: Any, wrapped: bool) -> JSON:
    if wrapped and isinstance(structured, dict) and set(cast(dict[str, JSON], structured)) == {"result"}:
        return cast(dict[str, JSON], structured)["result"]
    return cast(JSON, structured)


def _with_files(value: JSON, blocks: list[JSON]) -> JSON:
    files: list[JSON] = [block for block in blocks if isinstance(block, dict) and "file" in block]
    if not files:
        return value
    if isinstance(value, dict) and "files" not in value:
        return {**value, "files": files}
    return [value, *files]


def _joined(blocks: list[JSON]) -> JSON:
    if not blocks:
        return None
    texts = [block for block in blocks if isinstance(block, str)]
    if len(texts) == len(blocks):
        return _parsed(texts[0]) if len(texts) == 1 else "\n".join(texts)
    return blocks[0] if len(blocks) == 1 else blocks


def _parsed(text: str) -> JSON:
    # A bare number or word stays text: `read_file` of a file that holds "123" must not become an integer.
    if not text.lstrip().startswith(("{", "[")):
        return text
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(constant: str) -> JSON:
    raise ValueError(f"{constant} is not JSON")


async def _value_of(block: types.ContentBlock, save: Save | None) -> JSON:
    if isinstance(block, types.TextContent):
        return block.text
    if isinstance(block, types.ImageContent | types.AudioContent):
        return await _saved({"type": block.type, "mimeType": block.mime_type}, block.data, block.mime_type, save)
    if isinstance(block, types.EmbeddedResource):
        resource = block.resource
        if isinstance(resource, types.TextResourceContents):
            return resource.text
        entry: dict[str, JSON] = {"type": "resource", "uri": str(resource.uri), "mimeType": resource.mime_type}
        return await _saved(entry, resource.blob, resource.mime_type or "", save)
    return cast(JSON, block.model_dump(mode="json", by_alias=True, exclude_none=True))


async def _saved(entry: dict[str, JSON], data: str, mime_type: str, save: Save | None) -> JSON:
    if save is None:
        return entry | {"data": data}
    content = base64.b64decode(data, validate=True)
    return entry | {"file": await asyncio.to_thread(save, _suffix(mime_type), content)}


def _suffix(mime_type: str) -> str:
    kind, _, subtype = mime_type.partition(";")[0].strip().lower().partition("/")
    subtype = subtype.removeprefix("x-")
    # The library's table has no `audio/wav` and, in older Pythons, no `image/webp`.
    plain = f".{subtype}" if kind in ("image", "audio", "video") and subtype.isalnum() else ".bin"
    return mimetypes.guess_extension(mime_type) or plain


def _size(block: types.ContentBlock) -> int:
    if isinstance(block, types.TextContent):
        return len(block.text)
    if isinstance(block, types.ImageContent | types.AudioContent):
        return len(block.data)
    if isinstance(block, types.EmbeddedResource):
        resource = block.resource
        return len(resource.text if isinstance(resource, types.TextResourceContents) else resource.blob)
    return 0


def _error_text(answer: types.CallToolResult) -> str:
    texts = [block.text for block in answer.content if isinstance(block, types.TextContent)]
    if not texts and answer.structured_content is not None:
        texts = [json.dumps(answer.structured_content, ensure_ascii=False)]
    return "\n".join(texts) or "the tool failed and did not say why"
