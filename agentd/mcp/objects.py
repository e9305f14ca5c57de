"""The open way to one server over an object that its user made: those of openai-agents, or others like them."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import functools
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import asynccontextmanager
from types import SimpleNamespace, TracebackType
from typing import Any, Protocol, Self, cast

import mcp_types as types
from mcp import Client, ClientSession, StdioServerParameters

from agentd.mcp.lines import Tail
from agentd.mcp.links import Report, Wiring, notice_of, progress_of
from agentd.mcp.listing import MendedTransport
from agentd.mcp.stdio import StdioTransport

_reporting: contextvars.ContextVar[Report | None] = contextvars.ContextVar("reporting", default=None)


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

    An object of openai-agents gets a client of ours for its session, which carries the user's callbacks, and a stdio
    server our transport for its process; caching, filters, retries and serialisation stay the object's. Its time-out
    for one request holds for calls, but not for the start, which has a limit of its own.
    """

    def __init__(self, server: ServerObject, wiring: Wiring) -> None:
        self._server = server
        self._wiring = wiring
        self._stdio = _own_stdio(server, wiring.limit)
        self.over = self._stdio.over if self._stdio else asyncio.Event()
        self.tail = self._stdio.tail if self._stdio else Tail()

    @property
    def stale(self) -> bool:
        """Always: the object keeps its own list, or lists anew, as its user has asked of it."""
        return True

    @property
    def session(self) -> ClientSession | None:
        return session_of(self._server)

    @property
    def call_limit(self) -> float:
        """The object's time-out, unless it retries: then the limit is for each try, and the object's to keep."""
        own: float | None = getattr(self._server, "client_session_timeout_seconds", None)
        return own if own and not getattr(self._server, "max_retry_attempts", 0) else 0.0

    async def __aenter__(self) -> Self:
        with contextlib.ExitStack() as stack:
            if self._stdio is not None:
                transport = MendedTransport(self._stdio)
                stack.enter_context(_attribute(self._server, "create_streams", lambda: transport))
            if takes_callbacks(self._server):
                context = functools.partial(_session_context, self._server, self._wiring)
                stack.enter_context(_attribute(self._server, _SESSION_CONTEXT, context))
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

    async def call_tool(self, name: str, arguments: dict[str, Any], report: Report | None) -> types.CallToolResult:
        token = _reporting.set(report)
        try:
            return await self._server.call_tool(name, arguments)
        finally:
            _reporting.reset(token)


_SESSION_CONTEXT = "_client_session_context"


def session_of(server: ServerObject) -> ClientSession | None:
    """Return the SDK's session of a connected object, if it shows one."""
    session = getattr(server, "session", None)
    return session if isinstance(session, ClientSession) else None


def takes_callbacks(server: ServerObject) -> bool:
    """Tell whether the object makes its session in the library's own way, in whose place we can put ours."""
    return _is_librarys(server, _SESSION_CONTEXT)


@asynccontextmanager
async def _session_context(server: Any, wiring: Wiring, read_timeout: float | None) -> AsyncGenerator[ClientSession]:
    """Do what the library's method of this name does, with our callbacks; in a task of its own, as there."""
    users = server.message_handler

    async def handle(message: Any) -> None:
        notice = notice_of(message)
        if notice is not None:
            wiring.notices.publish(notice)
        if users is not None:
            await users(message)

    client = Client(
        server.create_streams(),
        mode=wiring.mode,
        cache=None,
        read_timeout_seconds=read_timeout,
        message_handler=handle,
        **wiring.options(),
    )
    ready: asyncio.Future[ClientSession] = asyncio.get_running_loop().create_future()
    leave = asyncio.Event()

    async def own() -> None:
        async with client:
            ready.set_result(client.session)
            await leave.wait()

    owner = asyncio.create_task(own())
    try:
        await asyncio.wait((ready, owner), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            await owner
        _let_calls_report(client)
        yield client.session
    finally:
        leave.set()
        if not ready.done():
            owner.cancel()
        await asyncio.gather(owner, return_exceptions=ready.done() is False)


def _let_calls_report(client: Client) -> None:
    """Let calls that the object makes on its session tell their progress, and answer what the server asks between."""
    session = client.session
    plain: Callable[..., Any] = session.call_tool

    async def call_tool(name: str, arguments: dict[str, Any] | None = None, *rest: Any, **options: Any) -> Any:
        if rest or "allow_input_required" in options:
            return await plain(name, arguments, *rest, **options)
        options.setdefault("progress_callback", progress_of(_reporting.get()))
        return await client.call_tool(name, arguments, **options)

    setattr(session, "call_tool", call_tool)  # noqa: B010  a method of the instance, for its one user


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


def _is_librarys(server: ServerObject, method: str) -> bool:
    """Only the library's own way of doing a thing is replaced, never one that a subclass has put in its place."""
    return getattr(getattr(type(server), method, None), "__module__", "").startswith("agents.mcp")


def _own_stdio(server: ServerObject, limit: int) -> StdioTransport | None:
    parameters = getattr(server, "params", None)
    if isinstance(parameters, StdioServerParameters) and _is_librarys(server, "create_streams"):
        return StdioTransport(parameters, limit)
    return None
