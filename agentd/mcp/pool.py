"""The MCP servers of one client: connected when first used, kept for later calls, closed together."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from agentd.core.errors import OptionError, ServerFailed
from agentd.core.protocols import Tool
from agentd.core.tools import JSON, Progress, ToolResult, ToolSpec
from agentd.mcp.handlers import MCPHandlers
from agentd.mcp.names import distinct

if TYPE_CHECKING:
    from agentd.mcp.borrowed import BorrowedConnection
    from agentd.mcp.connection import Connection
    from agentd.mcp.sources import Source, Terms
    from agentd.mcp.values import Save

_MARK = "_agentd_connection"
_log = logging.getLogger("agentd.mcp")


class McpTool:
    """A tool of a connected server."""

    keeps_time = True  # and stops it while a question of the server is answered

    def __init__(
        self,
        connection: Connection | BorrowedConnection,
        spec: ToolSpec,
        *,
        wrapped: bool,
        limit: int,
        save: Save | None,
    ) -> None:
        self.spec = spec
        self._connection = connection
        self._wrapped = wrapped
        self._limit = limit
        self._save = save

    async def call(self, arguments: dict[str, JSON]) -> ToolResult:
        """Call the tool on its server, which is connected again when it has ended since."""
        return await self._call(arguments, None)

    async def call_reporting(self, arguments: dict[str, JSON], report: Callable[[Progress], object]) -> ToolResult:
        """Call the tool; the server's notices of progress go to `report`."""
        return await self._call(arguments, report)

    async def _call(self, arguments: dict[str, JSON], report: Callable[[Progress], object] | None) -> ToolResult:
        from agentd.mcp.links import NoAnswer
        from agentd.mcp.values import result_of

        try:
            answer = await self._connection.call(self.spec.name, arguments, report)
            return await result_of(answer, self._wrapped, self._limit, self._save)
        except (NoAnswer, ServerFailed) as error:
            return ToolResult(False, str(error))
        except Exception as error:  # noqa: BLE001  the rim of a tool call
            _log.exception("a call of %s failed in an unforeseen way", self.spec.name)
            return ToolResult(False, f"{self.spec.name} of {self.spec.server}: {type(error).__name__}: {error}")


class ServerPool:
    """Owns MCP connections on one event loop, where all its coroutines run.

    A server process gets six variables of our environment (HOME, LOGNAME, PATH, SHELL, TERM, USER) and those that its
    own parameters name, so no key of ours reaches it unasked. Times are in seconds, `max_result` in bytes. `handlers`
    answer the servers that the pool connects itself; an `MCPClient` among the servers keeps its own.
    """

    def __init__(
        self,
        *,
        start_timeout: float = 30.0,
        call_timeout: float = 60.0,
        max_result: int = 16 << 20,
        handlers: MCPHandlers | None = None,
    ) -> None:
        self._start_timeout = start_timeout
        self._call_timeout = call_timeout
        self._max_result = max_result
        self._handlers = handlers or MCPHandlers()
        self._connections: dict[object, Connection | BorrowedConnection] = {}
        self._sources: dict[object, Source] = {}
        self._names: dict[object, str] = {}
        self._closed = False

    async def connect(
        self,
        servers: Sequence[object],
        *,
        save: Save | None = None,
        home_loop: asyncio.AbstractEventLoop | None = None,
    ) -> list[Tool]:
        """Return the tools of all `servers`, in order; connects those that are not connected yet, all at once.

        The same object, or equal parameters, mean the same connection in every call. `home_loop` is the caller's own
        running loop: servers that he has connected himself are called there and never closed. `save` stores images
        and other binary results. `ServerFailed` lists every server that failed; the others stay connected.
        """
        if self._closed:
            raise ServerFailed("the client that these servers belong to has been closed")
        sources = await self._recognised(servers)
        connections = [self._connection(source, home_loop) for source in sources]
        listings = await asyncio.gather(*(each.tools() for each in connections), return_exceptions=True)
        failures: list[str] = []
        tools: list[Tool] = []
        for connection, listing in zip(connections, listings, strict=True):
            if isinstance(listing, ServerFailed):
                failures.append(str(listing).removeprefix("An MCP server failed: "))
            elif isinstance(listing, BaseException):
                raise listing
            else:
                tools += self._tools_of(connection, listing, save)
        if failures:
            raise ServerFailed("\n".join(failures))
        return tools

    async def close(self) -> None:
        """End all servers that we started, with everything they started, within two seconds.

        A server that another pool on this loop uses, too, is ended by the last of them.
        """
        self._closed = True
        connections = list(self._connections.values())
        self._connections.clear()
        await asyncio.gather(*(connection.let_go(self) for connection in connections))

    async def _recognised(self, servers: Sequence[object]) -> list[Source]:
        if isinstance(servers, str | bytes):
            raise OptionError(f"mcp_servers takes a list of servers, not {servers!r:.200}")
        if not servers:
            return []
        # In a thread: the SDK takes most of a second to import, and this loop serves others.
        module = await asyncio.to_thread(importlib.import_module, "agentd.mcp.sources")
        sources: list[Source] = [module.recognise(server) for server in servers]
        return list({source.key: source for source in sources}.values())

    def _connection(
        self, source: Source, home_loop: asyncio.AbstractEventLoop | None
    ) -> Connection | BorrowedConnection:
        from agentd.mcp.borrowed import BorrowedConnection
        from agentd.mcp.connection import Connection
        from agentd.mcp.sources import connection_of

        known = self._connections.get(source.key)
        if isinstance(known, Connection) and not known.closed:
            return known
        name = self._name(source)
        times = {"start_timeout": self._start_timeout, "call_timeout": self._call_timeout}
        others = getattr(source.origin, _MARK, None)
        connection: Connection | BorrowedConnection
        if isinstance(others, Connection) and not others.closed:
            # Another client of this process has connected the same object.
            connection = BorrowedConnection(name, others, others.loop, **times)
            connection.hold(self)
        elif source.peer is not None:
            if home_loop is None:
                raise OptionError(
                    f"{name} is connected already, on an event loop that is unknown here: pass it without connecting "
                    "it, or use the async client in the loop where it is connected"
                )
            connection = BorrowedConnection(name, source.peer, home_loop, **times)
        else:
            connection = connection_of(source, name, self._terms(source))
            connection.holders.add(self)
            if source.shareable:
                with contextlib.suppress(AttributeError):  # an object with slots cannot be marked
                    setattr(source.origin, _MARK, connection)
        kept = isinstance(connection, BorrowedConnection) or not source.takes_callbacks
        if source.terms is None and self._handlers.asked() and kept:
            _log.warning("%s cannot ask us anything: pass it without connecting it, or as an agentd.MCPClient", name)
        self._connections[source.key] = connection
        self._sources[source.key] = source
        return connection

    def _terms(self, source: Source) -> Terms:
        from agentd.mcp.sources import Terms

        return source.terms or Terms(self._start_timeout, self._call_timeout, self._max_result, self._handlers)

    def _name(self, source: Source) -> str:
        if source.key not in self._names:
            self._names[source.key] = distinct(source.name, self._names.values())
        return self._names[source.key]

    def _tools_of(
        self, connection: Connection | BorrowedConnection, listing: Sequence[object], save: Save | None
    ) -> list[Tool]:
        from mcp_types import Tool as Listed

        from agentd.mcp.values import is_wrapped, spec_of

        tools: dict[str, Tool] = {}
        for tool in listing:
            # Of two tools with one name only the first can be meant: the protocol calls by name.
            if isinstance(tool, Listed) and tool.name not in tools:
                tools[tool.name] = McpTool(
                    connection,
                    spec_of(tool, connection.name),
                    wrapped=is_wrapped(tool.output_schema),
                    limit=self._max_result,
                    save=save,
                )
        return list(tools.values())
