"""How a client answers what MCP servers ask of it."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, cast

from agentd.core.tools import JSON, Progress, Schema, ToolSpec
from agentd.mcp.contents import Block

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class ElicitationRequest:
    """The server `server` asks the user for something.

    In `form` mode `schema` is a flat JSON Schema object that the answer must fit, in `url` mode the user is asked to go
    to `url`. `message` and `url` are the server's and not to be trusted.
    """

    server: str
    message: str
    mode: str = "form"
    schema: Schema | None = None
    url: str = ""
    id: str = ""


@dataclass(frozen=True, slots=True)
class SamplingMessage:
    """One message of the conversation that a server wants continued; `role` is `user` or `assistant`."""

    role: str
    content: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class SamplingRequest:
    """The server `server` asks for a model's answer.

    `model_hints` are parts of model names, the first is the dearest; priorities go from 0 to 1 and `None` is unsaid.
    `tool_choice` is `auto`, `required` or `none`.
    """

    server: str
    messages: tuple[SamplingMessage, ...]
    max_tokens: int
    system_prompt: str = ""
    temperature: float | None = None
    stop_sequences: tuple[str, ...] = ()
    model_hints: tuple[str, ...] = ()
    cost_priority: float | None = None
    speed_priority: float | None = None
    intelligence_priority: float | None = None
    include_context: str = "none"
    tools: tuple[ToolSpec, ...] = ()
    tool_choice: str = "auto"
    metadata: dict[str, JSON] = field(default_factory=dict[str, JSON])


@dataclass(frozen=True, slots=True)
class SamplingAnswer:
    """What the model said: `text`, or `content` when it is more than one text.

    `stop_reason` is `endTurn`, `stopSequence`, `maxTokens`, `toolUse` or the provider's own word.
    """

    text: str = ""
    model: str = "unknown"
    stop_reason: str = "endTurn"
    content: tuple[Block, ...] = ()


@dataclass(frozen=True, slots=True)
class LogMessage:
    """A line of a server's log; `level` is one of the eight names of syslog, `data` any JSON value."""

    server: str
    level: str
    data: JSON
    logger: str = ""


Given = Mapping[str, object] | None
OnElicitation = Callable[[ElicitationRequest], Awaitable[Given] | Given]
OnSampling = Callable[[SamplingRequest], Awaitable[SamplingAnswer | None] | SamplingAnswer | None]
OnLog = Callable[[LogMessage], object]
OnProgress = Callable[[Progress], object]


@dataclass(frozen=True)
class MCPHandlers:
    """What servers may ask for; what is not given is not offered to them.

    `on_elicitation` returns the user's answer as a dict (empty in `url` mode) or `None` when he declines; an error in
    it is told as "cancelled". `on_sampling` returns a `SamplingAnswer` or `None` for no. Both may be coroutine
    functions, which run on the server's event loop, or ordinary ones, which run in a thread of their own. `on_log` runs
    on the loop and must be quick. `roots` are the folders and files, or `file://` URIs, that servers should work with.
    """

    roots: Sequence[str | Path] = ()
    on_elicitation: OnElicitation | None = None
    on_sampling: OnSampling | None = None
    on_log: OnLog | None = None

    def asked(self) -> bool:
        """Tell whether there is anything that a server must be told of."""
        return bool(self.roots or self.on_elicitation or self.on_sampling or self.on_log)


async def answer_of(callback: Callable[[_T], object], request: _T) -> object:
    """Return what `callback` says, wherever it has to run."""
    try:
        found = callback(request) if inspect.iscoroutinefunction(callback) else await _in_a_thread(callback, request)
        return await cast(Awaitable[object], found) if inspect.isawaitable(found) else found
    except (Exception, asyncio.CancelledError):
        raise
    except BaseException as error:
        if threading.current_thread() is threading.main_thread():
            raise
        # One such as `SystemExit` would end the event loop, on which others live, too.
        raise RuntimeError(repr(error)) from error


async def _in_a_thread(callback: Callable[[_T], object], request: _T) -> object:
    """Run `callback` in a new thread: it may wait for a person, and a pool has few threads."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[object] = loop.create_future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            value = context.run(callback, request)
        except BaseException as error:  # noqa: BLE001  raised again where it is waited for
            # A future cannot hold a `StopIteration`, and others, such as `SystemExit`, would end the event loop.
            plain = isinstance(error, Exception | asyncio.CancelledError) and not isinstance(error, StopIteration)
            settle(answer.set_exception, error if plain else RuntimeError(repr(error)))
        else:
            settle(answer.set_result, value)

    def settle(setter: Callable[..., None], value: object) -> None:
        def now() -> None:
            if not answer.done():
                setter(value)

        try:
            loop.call_soon_threadsafe(now)
        except RuntimeError:
            return  # the loop has ended: nobody waits

    threading.Thread(target=run, name="agentd-callback", daemon=True).start()
    return await answer
