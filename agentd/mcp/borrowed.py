"""Servers that somebody else has connected: used on the event loop where they live, never closed by us."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, TypeVar

import mcp_types as types
from mcp import Client

from agentd.core.errors import ServerFailed
from agentd.mcp.connection import first_cause
from agentd.mcp.links import NoAnswer, ServerObject, all_tools_of, is_lost, list_tools_of

_HOME_IS_BLOCKED = 5.0
_T = TypeVar("_T")


class Peer(Protocol):
    """Something with tools."""

    async def tools(self) -> list[types.Tool]: ...

    async def call(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult: ...


class ObjectPeer:
    """A server object, connected by its user."""

    def __init__(self, server: ServerObject) -> None:
        self._server = server

    async def tools(self) -> list[types.Tool]:
        return await list_tools_of(self._server)

    async def call(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        return await self._server.call_tool(tool, arguments)


class ClientPeer:
    """A client of the SDK, entered by its user."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def tools(self) -> list[types.Tool]:
        return await all_tools_of(self._client)

    async def call(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        return await self._client.call_tool(tool, arguments)


class BorrowedConnection:
    """Passes calls on to `peer` on its home loop."""

    closed = False

    def __init__(
        self, name: str, peer: Peer, home: asyncio.AbstractEventLoop, *, start_timeout: float, call_timeout: float
    ) -> None:
        self.name = name
        self._peer = peer
        self._home = home
        self._start_timeout = start_timeout
        self._call_timeout = call_timeout

    async def tools(self) -> list[types.Tool]:
        """Return the server's tools as its own object lists them."""
        await self._check_home()
        try:
            async with asyncio.timeout(self._start_timeout):
                return await self._at_home(self._peer.tools)
        except ServerFailed:
            raise
        except Exception as error:
            raise ServerFailed(
                f"{self.name} (connected by its user) did not list its tools: {first_cause(error)}"
            ) from error

    async def call(self, tool: str, arguments: dict[str, Any]) -> types.CallToolResult:
        """Call the tool; `NoAnswer` says what is known about a call without an answer."""
        try:
            async with asyncio.timeout(self._call_timeout):
                return await self._at_home(lambda: self._peer.call(tool, arguments))
        except (NoAnswer, ServerFailed):
            raise
        except TimeoutError:
            raise NoAnswer(f"{tool} of {self.name} did not answer within {self._call_timeout:g} s") from None
        except Exception as error:
            if is_lost(error):
                raise NoAnswer(f"{self.name} has ended; whoever connected it must connect it again") from error
            raise NoAnswer(f"{tool} of {self.name}: {first_cause(error)}") from error

    async def close(self) -> None:
        """Do nothing: it is not ours."""

    async def _at_home(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        if self._home is asyncio.get_running_loop():
            return await work()
        if self._home.is_closed() or not self._home.is_running():
            raise ServerFailed(f"the event loop on which {self.name} was connected has ended")
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), self._home))

    async def _check_home(self) -> None:
        """Fail soon, and with the reason, when the loop cannot run because it waits for this very call."""
        try:
            async with asyncio.timeout(_HOME_IS_BLOCKED):
                await self._at_home(lambda: asyncio.sleep(0))
        except TimeoutError:
            raise ServerFailed(
                f"{self.name} is connected on an event loop that is blocked, probably by this call: "
                "use the async client there, or pass the server without connecting it"
            ) from None
