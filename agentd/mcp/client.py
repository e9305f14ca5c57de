"""One MCP server in full: its tools, resources and prompts, what it tells, and what it asks."""

from __future__ import annotations

import asyncio
import functools
import importlib
import logging
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from agentd.core.errors import NotOffered, OptionError, ServerFailed
from agentd.core.tools import JSON, Progress, ToolResult, ToolSpec
from agentd.mcp.contents import (
    Completion,
    Prompt,
    PromptRef,
    PromptResult,
    Resource,
    ResourceContents,
    ResourceRef,
    ResourceTemplate,
    ServerInfo,
)
from agentd.mcp.handlers import MCPHandlers, OnElicitation, OnLog, OnProgress, OnSampling

if TYPE_CHECKING:
    from mcp import ClientSession

    from agentd.mcp.borrowed import BorrowedConnection
    from agentd.mcp.connection import Connection
    from agentd.mcp.sources import Source
    from agentd.mcp.subscriptions import Changes, Subscription

_T = TypeVar("_T")
_MARK = "_agentd_connection"
_log = logging.getLogger("agentd.mcp")


class MCPClient(AbstractAsyncContextManager["MCPClient"]):
    """Talks to one MCP server, of any revision of the protocol.

    `server` is whatever `mcp_servers=[…]` takes; the client itself may stand there too, and shares its connection then.
    Of the callbacks, `on_elicitation(ElicitationRequest)` returns the user's answer as a dict or `None` to decline,
    `on_sampling(SamplingRequest)` a `SamplingAnswer` or `None`; what is not given is not offered to the server. They
    may be coroutine functions, or ordinary ones, which run in threads of their own. `on_log(LogMessage)` and
    `on_progress(Progress)` run on the event loop and must be quick. `roots` are folders, files or `file://` URIs. Times
    are in seconds, and stand still while a callback answers; `max_result` is in bytes. `protocol_version` asks for that
    revision, or for one of its era; by default both eras are tried.

    All methods may be called from any task and any event loop. A server that has ended is started again at the next
    request. Errors are `ServerFailed`; `NotOffered` when the server has not declared what is asked for.
    """

    def __init__(  # noqa: PLR0913  each is an option that callers name
        self,
        server: object,
        *,
        roots: Sequence[str | Path] = (),
        on_elicitation: OnElicitation | None = None,
        on_sampling: OnSampling | None = None,
        on_log: OnLog | None = None,
        on_progress: OnProgress | None = None,
        start_timeout: float = 30.0,
        call_timeout: float = 60.0,
        max_result: int = 16 << 20,
        protocol_version: str | None = None,
    ) -> None:
        self._server = server
        self._handlers = MCPHandlers(tuple(roots), on_elicitation, on_sampling, on_log)
        self._on_progress = on_progress
        self._start_timeout = start_timeout
        self._call_timeout = call_timeout
        self._max_result = max_result
        self._version = protocol_version
        self._described: Source | None = None
        self._borrowed: BorrowedConnection | None = None
        self._wrapped: dict[str, bool] = {}
        self._closed = False
        self._name = ""
        self.protocol_version = ""
        self.instructions = ""
        self.capabilities: dict[str, JSON] = {}
        self.server_info = ServerInfo()

    @property
    def name(self) -> str:
        """What the server is called among others; like all that is known of it, `""` before it was connected."""
        own = self._own()
        return own.name if own is not None else self._name

    async def __aenter__(self) -> Self:
        return await self.connect()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def connect(self) -> Self:
        """Start the server or reach it, and agree on a revision; `ServerFailed` tells why that failed."""
        self._closed = False
        connection = await self._connection()
        try:
            await connection.use("a connection", self._meet)
        except NotOffered:
            # An object of its user's that gives access to tools only.
            await connection.tools()
        return self

    async def aclose(self) -> None:
        """End the server with everything that it started, whoever shares it; one that is its user's is only let go."""
        self._closed = True
        connection = self._own()
        if connection is not None and connection.loop.is_running():
            from agentd.mcp.borrowed import at_home

            await at_home(connection.loop, connection.close, self.name)
        self._borrowed = None

    async def list_tools(self) -> list[ToolSpec]:
        """Return the server's tools, from memory if the server would have told of a change."""
        from agentd.mcp.values import is_wrapped, spec_of

        connection = await self._connection()
        tools = await connection.tools()
        self._wrapped = {tool.name: is_wrapped(tool.output_schema) for tool in tools}
        return [spec_of(tool, self.name or connection.name) for tool in tools]

    async def call_tool(
        self,
        name: str,
        arguments: Mapping[str, JSON] | None = None,
        *,
        on_progress: OnProgress | None = None,
        timeout: float | None = None,  # noqa: ASYNC109  an option of the call
    ) -> ToolResult:
        """Call a tool. Whatever goes wrong is told in the result, with `ok` false; it does not raise.

        A call that is cancelled or too late is cancelled at the server too.
        """
        from agentd.mcp.links import NoAnswer
        from agentd.mcp.values import result_of

        try:
            if name not in self._wrapped:
                # Its schema says how to read the answer, and what of the arguments goes into headers.
                await self.list_tools()
            connection = await self._connection()
            report: Callable[[Progress], object] | None = on_progress or self._on_progress
            answer = await connection.call(name, dict(arguments or {}), report, timeout)
            return await result_of(answer, self._wrapped.get(name, False), self._max_result, None)
        except (NoAnswer, ServerFailed) as error:
            return ToolResult(False, str(error))

    async def list_resources(self) -> list[Resource]:
        """Return all resources."""
        return await self._list("list_resources")

    async def list_resource_templates(self) -> list[ResourceTemplate]:
        """Return all resource templates; `agentd.mcp.templates.expand` makes URIs of them."""
        return await self._list("list_resource_templates")

    async def read_resource(self, uri: str) -> list[ResourceContents]:
        """Return what the resource holds: one content, or one for each of its parts."""
        return await self._ask(f"the resource {uri}", "read_resource", uri)

    async def list_prompts(self) -> list[Prompt]:
        """Return all prompts."""
        return await self._list("list_prompts")

    async def get_prompt(self, name: str, arguments: Mapping[str, str] | None = None) -> PromptResult:
        """Return the prompt with its arguments filled in."""
        return await self._ask(f"the prompt {name}", "get_prompt", name, arguments or {})

    async def complete(
        self, ref: PromptRef | ResourceRef, argument: str, value: str, context: Mapping[str, str] | None = None
    ) -> Completion:
        """Return values for an argument that begins with `value`; `context` holds arguments that are settled."""
        return await self._ask(f"values of {argument}", "complete", ref, (argument, value), context or {})

    async def ping(self) -> None:
        """Ask for a sign of life; `NotOffered` where the revision has no ping."""
        await self._ask("a sign of life", "ping")

    async def set_log_level(self, level: str) -> None:
        """Have the server send log lines of `level` (`debug` to `emergency`) and above, over new connections too."""
        from agentd.mcp.requests import log_level_of

        wanted = log_level_of(level)
        await self._ask("its log", "set_log_level", wanted)
        own = self._own()
        if own is not None:
            own.callbacks.level = wanted

    async def set_roots(self, roots: Sequence[str | Path]) -> None:
        """Replace the roots and tell the server; there must have been some when it was connected."""
        own = self._own()
        if own is None or not own.callbacks.roots:
            if own is not None or self._borrowed is not None:
                raise OptionError("roots can be replaced, not introduced: pass some to the MCPClient")
            self._handlers = MCPHandlers(
                tuple(roots), self._handlers.on_elicitation, self._handlers.on_sampling, self._handlers.on_log
            )
            self._described = None
            return
        from agentd.mcp.requests import tell_roots_changed

        own.callbacks.roots = tuple(roots)
        await self._use("a notice of new roots", tell_roots_changed)

    def changes(self) -> Changes:
        """Return an async iterator over the names of lists that have changed: `tools`, `resources`, `prompts`.

        After a lost connection any of them may have changed, and all are named.
        """
        from agentd.mcp.subscriptions import Changes

        return Changes(self._watched)

    def subscribe(self, uri: str) -> Subscription:
        """Return an async iterator over the URIs that were updated: `uri`, or a part of it.

        An update means "read it again", not how often it changed. A lost connection is made again, and then counts as
        an update. Enter it as an async context manager to be subscribed before the first `async for`.
        """
        from agentd.mcp.subscriptions import Subscription

        return Subscription(uri, self._watched)

    def mcp_source(self) -> Source:
        """Tell a pool of servers what this is."""
        if self._described is None:
            from dataclasses import replace

            from agentd.mcp.sources import Terms, recognise

            inner = recognise(self._server)
            terms = Terms(
                self._start_timeout, self._call_timeout, self._max_result, self._handlers, _known(self._version)
            )
            self._described = replace(inner, key=("object", id(self)), origin=self, shareable=True, terms=terms)
        return self._described

    async def _ask(self, what: str, request: str, *arguments: Any) -> Any:
        module = await _loaded("agentd.mcp.requests")
        connection = await self._connection()
        work = functools.partial(getattr(module, request), self.name or connection.name, *arguments)
        return await connection.use(what, work)

    async def _list(self, request: str) -> Any:
        return await self._ask(f"its {request.removeprefix('list_').replace('_', ' ')}", request)

    async def _use(self, what: str, work: Callable[[ClientSession], Awaitable[_T]]) -> _T:
        connection = await self._connection()
        return await connection.use(what, work)

    async def _meet(self, session: ClientSession) -> None:
        """Note who the server is."""
        capabilities = session.server_capabilities
        self.protocol_version = session.protocol_version or ""
        self.instructions = session.instructions or ""
        self.capabilities = (
            capabilities.model_dump(mode="json", by_alias=True, exclude_none=True) if capabilities else {}
        )
        info = session.server_info
        if info is not None:
            self.server_info = ServerInfo(info.name, info.version, info.title or "")

    def _own(self) -> Connection | None:
        """Return the connection that was made for this client, by itself or by a pool."""
        connection: Connection | None = getattr(self, _MARK, None)
        return None if connection is None or connection.closed else connection

    async def _watched(self) -> Connection:
        connection = await self._connection()
        own = self._own()
        if own is None:
            raise ServerFailed(f"{connection.name} was connected by somebody else, who is told its notices")
        return own

    async def _connection(self) -> Connection | BorrowedConnection:
        if self._closed:
            raise ServerFailed(f"{self.name or 'this MCPClient'} has been closed")
        own = self._own()
        if own is not None and own.loop is asyncio.get_running_loop():
            return own
        await _loaded("agentd.mcp.sources")
        return self._made()

    def _made(self) -> Connection | BorrowedConnection:
        from agentd.mcp.borrowed import BorrowedConnection
        from agentd.mcp.sources import connection_of

        source = self.mcp_source()
        times = {"start_timeout": self._start_timeout, "call_timeout": self._call_timeout}
        own = self._own()
        if own is not None:
            if own.loop is asyncio.get_running_loop():
                return own
            return BorrowedConnection(own.name, own, own.loop, **times)
        self._name = source.name
        if source.peer is not None:
            if self._borrowed is None:
                if self._handlers.asked():
                    _log.warning("%s was connected by its user and cannot ask this MCPClient anything", self.name)
                self._borrowed = BorrowedConnection(self.name, source.peer, asyncio.get_running_loop(), **times)
            return self._borrowed
        assert source.terms is not None
        made = connection_of(source, self.name, source.terms)
        made.holders.add(self)
        setattr(self, _MARK, made)
        return made


async def _loaded(name: str) -> ModuleType:
    """Import one of our modules; in a thread, for the SDK takes most of a second."""
    return sys.modules.get(name) or await asyncio.to_thread(importlib.import_module, name)


def _known(version: str | None) -> str | None:
    """Return `version` if the SDK speaks it."""
    from mcp_types.version import KNOWN_PROTOCOL_VERSIONS

    if version is not None and version not in KNOWN_PROTOCOL_VERSIONS:
        raise OptionError(f"protocol_version is {version!r:.50}; known are {', '.join(KNOWN_PROTOCOL_VERSIONS)}")
    return version
