"""Answers servers that ask for a model through the patched client itself, within a limit."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import json
import logging
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from agentd.core.errors import OptionError
from agentd.core.events import Usage
from agentd.core.tools import JSON, Media
from agentd.llm.routing import has_own_address
from agentd.loop.usage import Sum
from agentd.mcp.contents import Block, Resource, ResourceContents, Text, ToolUse, ToolUseResult
from agentd.mcp.handlers import SamplingAnswer, SamplingMessage, SamplingRequest
from agentd.patch.options import CARRIER, CallOptions

_STOPS = {"stop": "endTurn", "length": "maxTokens", "tool_calls": "toolUse"}
_log = logging.getLogger("agentd.mcp")


@dataclass(frozen=True)
class ClientSampling:
    """Lets servers ask the patched client for answers of `model`: `MCPHandlers(on_sampling=ClientSampling("…"))`.

    Every answer is a model call that you pay: at most `max_calls` are made for all servers together while one call on
    the client runs, and no answer is longer than `max_tokens`. Calls that run at the same time share `max_calls`. The
    model has no tools but those that the server brings.
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


class Calling:
    """A call on the client that is running: until `end` is called, or until nobody holds this any more.

    `used` sums what models did for servers meanwhile; `end` may be called again, and does not keep this alive.
    """

    def __init__(self, ended: Callable[[int], None], number: int, used: Sum) -> None:
        self.used = used
        self.end = weakref.finalize(self, ended, number)
        self.end.atexit = False


class Sampler:
    """The `on_sampling` of a patched client and of those derived from it; a living one of them asks the model."""

    def __init__(self, options: ClientSampling) -> None:
        self._options = options
        # The clients keep their servers alive, not they the clients.
        self._clients: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self._calls = 0
        self._numbers = itertools.count()
        self._running: dict[int, tuple[asyncio.AbstractEventLoop | None, Sum]] = {}
        # A lost call ends wherever it is collected, so perhaps in the midst of `begin`.
        self._lock = threading.RLock()

    def add(self, client: Any) -> None:
        """Ask this client as well, as long as it lives."""
        self._clients[id(client)] = client

    def discard(self, client: Any) -> None:
        """Ask this client no more."""
        self._clients.pop(id(client), None)

    def begin(self, loop: asyncio.AbstractEventLoop | None) -> Calling:
        """A call begins, on the caller's event loop if it has one; servers get their answers anew if no other runs."""
        used, number = Sum(), next(self._numbers)
        with self._lock:
            if not self._running:
                self._calls = 0
            self._running[number] = loop, used
        return Calling(self._ended, number, used)

    def _ended(self, number: int) -> None:
        with self._lock:
            self._running.pop(number, None)

    async def __call__(self, request: SamplingRequest) -> SamplingAnswer | None:
        """Answer a request; past the limit it is declined."""
        client = self._client()
        if client is None:
            _log.warning("%s asked for an answer of a model, but there is no patched client any more", request.server)
            return None
        is_async = inspect.iscoroutinefunction(client.__class__.post)
        loop = self._loop()
        if is_async and loop is None:
            _log.warning("%s asked for an answer of a model while no call on the client ran", request.server)
            return None
        with self._lock:
            if self._calls >= self._options.max_calls:
                _log.warning("%s asked for more than %d answers of a model", request.server, self._options.max_calls)
                return None
            self._calls += 1
        create, arguments = client.chat.completions.create, self._arguments(client, request)
        if is_async and loop is not None:
            completion = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(create(**arguments), loop))
        else:
            completion = await asyncio.to_thread(create, **arguments)
        self._count(completion.agentd.usage)
        return _answer(completion)

    def _client(self) -> Any:
        living = (client for ref in self._clients.valuerefs() if (client := ref()) is not None)
        return next(living, None)

    def _loop(self) -> asyncio.AbstractEventLoop | None:
        """Return the event loop of the latest call that still runs."""
        loops = [loop for loop, _ in list(self._running.values()) if loop is not None and loop.is_running()]
        return loops[-1] if loops else None

    def _count(self, usage: Usage) -> None:
        for _, used in list(self._running.values()):
            used.add(usage)

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
