"""Servers that are connected already: used on the event loop where they live, never closed while others use them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Protocol, TypeVar

import mcp_types as types
from mcp import Client, ClientSession

from agentd.core.errors import ServerFailed
from agentd.core.tools import Progress
from agentd.mcp.connection import Connection, first_cause
from agentd.mcp.links import NoAnswer, Report, all_tools_of, is_lost, progress_of, tell
from agentd.mcp.objects import ServerObject, list_tools_of, session_of

_HOME_IS_BLOCKED = 5.0
_T = TypeVar("_T")


class Peer(Protocol):
    """Something with tools, and with a session of the SDK where it has one."""

    async def tools(self) -> list[types.Tool]: ...

    async def call(
        self, tool: str, arguments: dict[str, Any], report: Report | None = None, limit: float | None = None
    ) -> types.CallToolResult: ...

    async def use(
        self, what: str, work: Callable[[ClientSession], Awaitable[_T]], limit: float | None = None
    ) -> _T: ...


class ObjectPeer:
    """A server object, connected by its user."""

    def __init__(self, server: ServerObject) -> None:
        self._server = server

    async def tools(self) -> list[types.Tool]:
        return await list_tools_of(self._server)

    async def call(
        self, tool: str, arguments: dict[str, Any], report: Report | None = None, limit: float | None = None
    ) -> types.CallToolResult:
        return await self._server.call_tool(tool, arguments)

    async def use(self, what: str, work: Callable[[ClientSession], Awaitable[_T]], limit: float | None = None) -> _T:
        session = session_of(self._server)
        if session is None:
            raise ServerFailed(f"a {type(self._server).__name__} gives access to tools only")
        return await work(session)


class ClientPeer:
    """A client of the SDK, entered by its user."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def tools(self) -> list[types.Tool]:
        return await all_tools_of(self._client)

    async def call(
        self, tool: str, arguments: dict[str, Any], report: Report | None = None, limit: float | None = None
    ) -> types.CallToolResult:
        return await self._client.call_tool(tool, arguments, progress_callback=progress_of(report))

    async def use(self, what: str, work: Callable[[ClientSession], Awaitable[_T]], limit: float | None = None) -> _T:
        return await work(self._client.session)


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
        self._peer_keeps_time = isinstance(peer, Connection)

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

    async def call(
        self, tool: str, arguments: dict[str, Any], report: Report | None = None, limit: float | None = None
    ) -> types.CallToolResult:
        """Call the tool; `NoAnswer` says what is known about a call without an answer."""
        seconds = limit or self._call_timeout
        told = self._brought_here(report)
        try:
            async with asyncio.timeout(None if self._peer_keeps_time else seconds):
                return await self._at_home(lambda: self._peer.call(tool, arguments, told, limit))
        except (NoAnswer, ServerFailed):
            raise
        except TimeoutError:
            raise NoAnswer(f"{tool} of {self.name} did not answer within {seconds:g} s") from None
        except Exception as error:
            if is_lost(error):
                raise NoAnswer(f"{self.name} has ended; whoever connected it must connect it again") from error
            raise NoAnswer(f"{tool} of {self.name}: {first_cause(error)}") from error

    async def use(self, what: str, work: Callable[[ClientSession], Awaitable[_T]], limit: float | None = None) -> _T:
        """Do `work` with the server's session; `ServerFailed` says why `what` was not had."""
        seconds = limit or self._call_timeout
        try:
            async with asyncio.timeout(None if self._peer_keeps_time else seconds):
                return await self._at_home(lambda: self._peer.use(what, work, limit))
        except ServerFailed:
            raise
        except TimeoutError:
            raise ServerFailed(f"{self.name} did not give {what} within {seconds:g} s") from None
        except Exception as error:
            raise ServerFailed(f"{self.name} did not give {what}: {first_cause(error)}") from error

    def hold(self, holder: object) -> None:
        """Keep a connection of ours from being closed by those who share it; what is its user's stays his to close."""
        if isinstance(self._peer, Connection) and self._home is asyncio.get_running_loop():
            self._peer.holders.add(holder)

    async def let_go(self, holder: object) -> None:
        """Do without this holder: the last one closes a connection of ours, nobody that of a user."""
        if isinstance(self._peer, Connection) and holder in self._peer.holders:
            await self._peer.let_go(holder)

    def _brought_here(self, report: Report | None) -> Report | None:
        here = asyncio.get_running_loop()
        if report is None or here is self._home:
            return report

        def told(progress: Progress) -> None:
            asyncio.run_coroutine_threadsafe(tell(report, progress), here)

        return told

    async def _at_home(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        return await at_home(self._home, work, self.name)

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


async def at_home(home: asyncio.AbstractEventLoop, work: Callable[[], Coroutine[Any, Any, _T]], name: str) -> _T:
    """Do `work` on the loop `home`."""
    if home is asyncio.get_running_loop():
        return await work()
    if home.is_closed() or not home.is_running():
        raise ServerFailed(f"the event loop on which {name} was connected has ended")
    return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work(), home))
