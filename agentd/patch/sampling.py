"""Answers servers that ask for a model through the patched client itself, within a limit."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from agentd.core.errors import OptionError
from agentd.core.tools import JSON, Media
from agentd.llm.routing import has_own_address
from agentd.mcp.contents import Block, Resource, ResourceContents, Text, ToolUse, ToolUseResult
from agentd.mcp.handlers import SamplingAnswer, SamplingMessage, SamplingRequest
from agentd.patch.options import CARRIER, CallOptions

_STOPS = {"stop": "endTurn", "length": "maxTokens", "tool_calls": "toolUse"}
_log = logging.getLogger("agentd.mcp")


@dataclass(frozen=True)
class ClientSampling:
    """Lets servers ask the patched client for answers of `model`: `MCPHandlers(on_sampling=ClientSampling("…"))`.

    Every answer is a model call that you pay: at most `max_calls` are made for all servers together while one call on
    the client runs, and no answer is longer than `max_tokens`. The model has no tools but those that the server brings.
    """

    model: str
    max_calls: int = 10
    max_tokens: int = 4096

    def __post_init__(self) -> None:
        if not self.model:
            raise OptionError("ClientSampling needs the name of a model")
        if min(self.max_calls, self.max_tokens) < 1:
            raise OptionError("max_calls and max_tokens of ClientSampling are whole numbers from 1")

    def __call__(self, request: SamplingRequest) -> SamplingAnswer | None:
        """Refuse: only a patched client can answer."""
        raise OptionError("ClientSampling is for servers of a patched client; elsewhere give a function")


class Sampler:
    """The `on_sampling` of one patched client; `new_turn` gives servers their calls anew."""

    def __init__(self, client: Any, options: ClientSampling) -> None:
        # The client keeps its servers alive, not they the client.
        self._client = weakref.ref(client)
        self._options = options
        self._calls = 0
        self._loop: asyncio.AbstractEventLoop | None = None

    def new_turn(self, loop: asyncio.AbstractEventLoop | None) -> None:
        """A call on the client begins, on the caller's event loop if it has one."""
        self._calls = 0
        self._loop = loop

    async def __call__(self, request: SamplingRequest) -> SamplingAnswer | None:
        """Answer a request; past the limit it is declined."""
        client = self._client()
        if client is None or self._calls >= self._options.max_calls:
            _log.warning("%s asked for more than %d answers of a model", request.server, self._options.max_calls)
            return None
        self._calls += 1
        arguments = self._arguments(client, request)
        create = client.chat.completions.create
        if not inspect.iscoroutinefunction(client.__class__.post):
            return _answer(await asyncio.to_thread(create, **arguments))
        assert self._loop is not None  # a server is connected by a call
        return _answer(await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(create(**arguments), self._loop)))

    def _arguments(self, client: Any, request: SamplingRequest) -> dict[str, Any]:
        limit = "max_tokens" if has_own_address(client) else "max_completion_tokens"
        system = [{"role": "system", "content": request.system_prompt}] if request.system_prompt else []
        arguments: dict[str, Any] = {
            "model": self._options.model,
            "messages": [*system, *(message for each in request.messages for message in _messages(each))],
            limit: min(request.max_tokens, self._options.max_tokens),
            "extra_headers": {CARRIER: CallOptions(bare=True)},
        }
        if request.temperature is not None:
            arguments["temperature"] = request.temperature
        if request.stop_sequences:
            arguments["stop"] = list(request.stop_sequences)
        if request.tools:
            arguments["tools"] = [
                {"type": "function", "function": {
                    "name": tool.name, "description": tool.description, "parameters": tool.input_schema
                }}
                for tool in request.tools
            ]  # fmt: skip
            arguments["tool_choice"] = request.tool_choice
        return arguments


def _messages(message: SamplingMessage) -> Iterator[dict[str, Any]]:
    """Give the chat messages that stand for one message of a server's conversation: results of tools come first."""
    for block in message.content:
        if isinstance(block, ToolUseResult):
            text = "\n".join(_texts(block.content)) or json.dumps(block.structured, ensure_ascii=False)
            yield {"role": "tool", "tool_call_id": block.id, "content": text if block.ok else f"Error: {text}"}
    uses = [block for block in message.content if isinstance(block, ToolUse)]
    parts = [part for block in message.content if (part := _part(block)) is not None]
    if uses:
        calls = [
            {"id": use.id, "type": "function", "function": {"name": use.name, "arguments": json.dumps(use.input)}}
            for use in uses
        ]
        yield {"role": "assistant", "content": "\n".join(_texts(message.content)) or None, "tool_calls": calls}
    elif parts and message.role == "assistant":
        yield {"role": "assistant", "content": "\n".join(_texts(message.content))}
    elif parts:
        yield {"role": message.role, "content": parts}


def _texts(blocks: Iterable[Block]) -> list[str]:
    return [block.text for block in blocks if isinstance(block, Text | ResourceContents) and block.text is not None]


def _part(block: Block) -> dict[str, JSON] | None:
    match block:
        case Text() | ResourceContents(text=str()):
            return {"type": "text", "text": block.text}
        case Media(kind="image"):
            return {"type": "image_url", "image_url": {"url": f"data:{block.mime_type};base64,{block.data}"}}
        case Media():
            kind = block.mime_type.rpartition("/")[2].removeprefix("x-")
            sound: dict[str, JSON] = {"data": block.data, "format": "mp3" if kind == "mpeg" else kind}
            return {"type": "input_audio", "input_audio": sound}
        case Resource():
            return {"type": "text", "text": block.uri}
        case _:
            return None


def _answer(completion: Any) -> SamplingAnswer:
    choice: Any = completion.choices[0]
    content: list[Block] = [Text(choice.message.content)] if choice.message.content else []
    calls: list[Any] = choice.message.tool_calls or []
    for call in calls:
        content.append(ToolUse(call.id, call.function.name, json.loads(call.function.arguments or "{}")))
    reason = _STOPS.get(choice.finish_reason, str(choice.finish_reason))
    return SamplingAnswer(model=completion.model, stop_reason=reason, content=tuple(content) or (Text(""),))
