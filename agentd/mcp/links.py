"""The open way to one server: over the SDK's client, or over an object that its user made."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from types import SimpleNamespace, TracebackType
from typing import Any, Protocol, Self, cast

import httpx2
import mcp_types as types
from anyio import BrokenResourceError, ClosedResourceError
from mcp import Client, MCPError, StdioServerParameters
from mcp.client.session import IncomingMessage
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from agentd.mcp.lines import Tail
from agentd.mcp.listing import MendedTransport
from agentd.mcp.stdio import NOT_SENT, StdioTransport

_MAX_PAGES = 1000
_log = logging.getLogger("agentd.mcp")


class NoAnswer(Exception):
    """A call has no usable answer; the text says what is known about it."""


class Link(Protocol):
    """An async context manager that is entered once; `over` is set when it has broken or is to be left.

    `stale` says that the tools must be listed again, `tail` what the server has printed.
    """

    over: asyncio.Event
    tail: Tail

    @property
    def stale(self) -> bool: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def list_tools(self) -> list[types.Tool]: ...

    async def call_tool(self, name: str, arguments: dict[str, Any], limit: float) -> types.CallToolResult: ...


def was_not_sent(error: BaseException) -> bool:
    """Tell whether the request provably never reached the server."""
    if not isinstance(error, MCPError):
        return False
    # The SDK says "closed" both for a request that waits for its answer and for one that its transport did not take.
    not_taken = isinstance(error.__context__, ClosedResourceError | BrokenResourceError)
    return error.code == NOT_SENT or (error.code == types.CONNECTION_CLOSED and not_taken)


def is_lost(error: BaseException) -> bool:
    """Tell whether the connection has ended, so that nobody knows what became of the request."""
    if isinstance(error, BaseExceptionGroup):
        return any(is_lost(cause) for cause in cast("BaseExceptionGroup[BaseException]", error).exceptions)
    if isinstance(error, MCPError):
        return error.code == types.CONNECTION_CLOSED
    if isinstance(error, ClosedResourceError | BrokenResourceError | httpx2.NetworkError | ConnectionError):
        return True
    return error.__cause__ is not None and is_lost(error.__cause__)


class ClientLink:
    """A server over the SDK's own client; follows its notices that the list of tools has changed."""

    def __init__(self, client: Client, stdio: StdioTransport | None) -> None:
        self.over = stdio.over if stdio else asyncio.Event()
        self.tail = stdio.tail if stdio else Tail()
        self.stale = True
        self._unnoticed = False
        self._client = dataclasses.replace(client, message_handler=self._handler(client.message_handler))
        self._stack = AsyncExitStack()
        self._listening: asyncio.Task[None] | None = None

    def _handler(self, users: Callable[[IncomingMessage], Awaitable[None]] | None) -> Any:
        async def handle(message: IncomingMessage) -> None:
            if isinstance(message, types.ToolListChangedNotification):
                self.stale = True
            if users is not None:
                await users(message)

        return handle

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._client)
        tools = self._client.server_capabilities.tools
        if self._client.protocol_version in MODERN_PROTOCOL_VERSIONS and tools is not None and tools.list_changed:
            self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listening is not None:
            self._listening.cancel()
            await asyncio.gather(self._listening, return_exceptions=True)
        await self._stack.__aexit__(kind, error, trace)

    async def _listen(self) -> None:
        """Wait for changes: servers of the stateless era tell only those who ask.

        A subscription that ends leaves `stale` set: without notices every connect lists anew.
        """
        try:
            async with self._client.listen(tools_list_changed=True) as subscription:
                async for _ in subscription:
                    self.stale = True
        except Exception as error:  # noqa: BLE001  whatever ended it, the tools are listed anew
            _log.debug("no notices of changed tools: %r", error)
        finally:
            self._unnoticed = self.stale = True

    async def list_tools(self) -> list[types.Tool]:
        # Before the request: a notice that comes while the pages are read must not be lost.
        self.stale = self._unnoticed
        try:
            return await all_tools_of(self._client)
        except BaseException:
            self.stale = True
            raise

    async def call_tool(self, name: str, arguments: dict[str, Any], limit: float) -> types.CallToolResult:
        # The caller keeps the time; the SDK's own, shorter default must not come before.
        return await self._client.call_tool(name, arguments, read_timeout_seconds=limit * 2)


async def all_tools_of(client: Client) -> list[types.Tool]:
    """List the tools on all pages, for as long as every page has a cursor that is new."""
    tools: list[types.Tool] = []
    seen: set[str | None] = set()
    cursor: str | None = None
    while cursor not in seen and len(seen) < _MAX_PAGES:
        seen.add(cursor)
        page = await client.list_tools(cursor=cursor, cache_mode="refresh")
        tools += page.tools
        cursor = page.next_cursor
        if cursor is None:
            break
    return tools


class ServerObject(Protocol):
    """What is asked of an object that its user made: what the servers of openai-agents have."""

    async def connect(self) -> None: ...

    async def cleanup(self) -> None: ...

    async def list_tools(self) -> list[types.Tool]: ...

    async def call_tool(self, tool_name: str, arguments: dict[str, Any] | None) -> types.CallToolResult: ...


async def list_tools_of(server: ServerObject) -> list[types.Tool]:
    """List the object's tools: its own cache and filter apply."""
    if callable(getattr(server, "tool_filter", None)):
        # A filter function is asked per agent and run. Here are none; it gets empty ones, else the library refuses.
        context, agent = SimpleNamespace(context=None), SimpleNamespace(name="agentd")
        return await cast(Any, server).list_tools(context, agent)
    return await server.list_tools()


class ObjectLink:
    """A server object that we connect, and clean up in the same task.

    A stdio server of openai-agents gets our transport for its process. Its time-out for one request holds for calls,
    but not for the start, which has a limit of its own.
    """

    def __init__(self, server: ServerObject, limit: int) -> None:
        self._server = server
        self._stdio = _own_stdio(server, limit)
        self.over = self._stdio.over if self._stdio else asyncio.Event()
        self.tail = self._stdio.tail if self._stdio else Tail()

    @property
    def stale(self) -> bool:
        """Always: the object keeps its own list, or lists anew, as its user has asked of it."""
        return True

    async def __aenter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            if self._stdio is not None:
                transport = MendedTransport(self._stdio)
                stack.enter_context(_attribute(self._server, "create_streams", lambda: transport))
            if getattr(self._server, "client_session_timeout_seconds", None):
                stack.enter_context(_attribute(self._server, "client_session_timeout_seconds", None))
            await self._server.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._server.cleanup()

    async def list_tools(self) -> list[types.Tool]:
        return await list_tools_of(self._server)

    async def call_tool(self, name: str, arguments: dict[str, Any], limit: float) -> types.CallToolResult:
        own: float | None = getattr(self._server, "client_session_timeout_seconds", None)
        if not own or getattr(self._server, "max_retry_attempts", 0):
            return await self._server.call_tool(name, arguments)
        try:
            async with asyncio.timeout(own):
                return await self._server.call_tool(name, arguments)
        except TimeoutError:
            said = "client_session_timeout_seconds of the server object"
            raise NoAnswer(f"{name} did not answer within {own:g} s ({said})") from None


@contextlib.contextmanager
def _attribute(target: object, name: str, value: object) -> Generator[None]:
    """Give the instance this attribute for a while."""
    fields = vars(target)
    had, before = name in fields, fields.get(name)
    setattr(target, name, value)
    try:
        yield
    finally:
        if had:
            setattr(target, name, before)
        else:
            delattr(target, name)


def _own_stdio(server: ServerObject, limit: int) -> StdioTransport | None:
    parameters = getattr(server, "params", None)
    streams = getattr(type(server), "create_streams", None)
    # Only the library's own way to start a process is replaced, never one that a subclass has put in its place.
    if isinstance(parameters, StdioServerParameters) and getattr(streams, "__module__", "").startswith("agents.mcp"):
        return StdioTransport(parameters, limit)
    return None
