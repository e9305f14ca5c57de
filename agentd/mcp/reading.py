"""The SDK's types as our plain values, and back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, cast

import mcp_types as types

from agentd.core.tools import JSON, Media, Schema, ToolSpec
from agentd.mcp.contents import (
    Block,
    Completion,
    Prompt,
    PromptArgument,
    PromptMessage,
    PromptResult,
    Resource,
    ResourceContents,
    ResourceTemplate,
    Text,
    ToolUse,
    ToolUseResult,
)
from agentd.mcp.handlers import SamplingAnswer, SamplingMessage, SamplingRequest


def resource_of(found: types.Resource) -> Resource:
    """Describe a resource, or a link to one."""
    return Resource(
        uri=found.uri,
        name=found.name,
        title=found.title or "",
        description=found.description or "",
        mime_type=found.mime_type or "",
        size=found.size,
    )


def template_of(found: types.ResourceTemplate) -> ResourceTemplate:
    """Describe a resource template."""
    return ResourceTemplate(
        uri_template=found.uri_template,
        name=found.name,
        title=found.title or "",
        description=found.description or "",
        mime_type=found.mime_type or "",
    )


def contents_of(found: types.TextResourceContents | types.BlobResourceContents) -> ResourceContents:
    """Return what a resource holds; `ValueError` when its blob is not base64."""
    if isinstance(found, types.TextResourceContents):
        return ResourceContents(found.uri, found.mime_type or "", text=found.text)
    try:
        blob = base64.b64decode(found.blob, validate=True)
    except binascii.Error as error:
        raise ValueError(f"the content of {found.uri} is not valid base64: {error}") from error
    return ResourceContents(found.uri, found.mime_type or "", blob=blob)


def prompt_of(found: types.Prompt) -> Prompt:
    """Describe a prompt."""
    arguments = tuple(
        PromptArgument(each.name, each.title or "", each.description or "", bool(each.required))
        for each in found.arguments or ()
    )
    return Prompt(found.name, found.title or "", found.description or "", arguments)


def prompt_result_of(found: types.GetPromptResult) -> PromptResult:
    """Return a prompt that has been filled in."""
    messages = tuple(PromptMessage(each.role, block_of(each.content)) for each in found.messages)
    return PromptResult(found.description or "", messages)


def completion_of(found: types.Completion) -> Completion:
    """Return the values that a server proposes."""
    return Completion(tuple(found.values), found.total, bool(found.has_more))


def media_of(found: types.ImageContent | types.AudioContent, file: str = "") -> Media:
    """Return an image or a sound."""
    return Media(found.type, found.mime_type, found.data, file)


def block_of(found: types.ContentBlock | types.SamplingMessageContentBlock) -> Block:
    """Return one piece of a message."""
    match found:
        case types.TextContent():
            return Text(found.text)
        case types.ImageContent() | types.AudioContent():
            return media_of(found)
        case types.EmbeddedResource():
            return contents_of(found.resource)
        case types.ToolUseContent():
            return ToolUse(found.id, found.name, cast(dict[str, JSON], found.input))
        case types.ToolResultContent():
            content = tuple(block_of(each) for each in found.content)
            return ToolUseResult(found.tool_use_id, content, cast(JSON, found.structured_content), not found.is_error)
        case types.ResourceLink():
            return resource_of(found)


def sampling_of(server: str, params: types.CreateMessageRequestParams) -> SamplingRequest:
    """Return what a server asks a model."""
    wishes = params.model_preferences or types.ModelPreferences()
    return SamplingRequest(
        server=server,
        messages=tuple(
            SamplingMessage(each.role, tuple(block_of(block) for block in each.content_as_list))
            for each in params.messages
        ),
        max_tokens=params.max_tokens,
        system_prompt=params.system_prompt or "",
        temperature=params.temperature,
        stop_sequences=tuple(params.stop_sequences or ()),
        model_hints=tuple(hint.name for hint in wishes.hints or () if hint.name),
        cost_priority=wishes.cost_priority,
        speed_priority=wishes.speed_priority,
        intelligence_priority=wishes.intelligence_priority,
        include_context=params.include_context or "none",
        tools=tuple(_tool_of(tool, server) for tool in params.tools or ()),
        tool_choice=(params.tool_choice and params.tool_choice.mode) or "auto",
        metadata=cast(dict[str, JSON], params.metadata or {}),
    )


def _tool_of(tool: types.Tool, server: str) -> ToolSpec:
    return ToolSpec(tool.name, tool.description or "", cast(Schema, tool.input_schema), server=server)


def sampled(answer: SamplingAnswer) -> types.CreateMessageResult | types.CreateMessageResultWithTools:
    """Return the model's answer for the server: one block as such, several as an array."""
    blocks: Sequence[Block] = answer.content or (Text(answer.text),)
    content = [_content_of(block) for block in blocks]
    fields: dict[str, Any] = {"role": "assistant", "model": answer.model, "stop_reason": answer.stop_reason}
    if len(content) == 1 and not isinstance(content[0], types.ToolUseContent):
        return types.CreateMessageResult(content=content[0], **fields)
    return types.CreateMessageResultWithTools(content=[*content], **fields)


def _content_of(block: Block) -> types.TextContent | types.ImageContent | types.AudioContent | types.ToolUseContent:
    match block:
        case Text():
            return types.TextContent(text=block.text)
        case Media(kind="image"):
            return types.ImageContent(data=block.data, mime_type=block.mime_type)
        case Media():
            return types.AudioContent(data=block.data, mime_type=block.mime_type)
        case ToolUse():
            return types.ToolUseContent(id=block.id, name=block.name, input=cast(dict[str, Any], block.input))
        case _:
            raise TypeError(f"a sampling answer takes text, images, sounds and tool uses, not {block!r:.200}")
