"""One server: connected, left and connected again by tasks of its own."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, cast

import mcp_types as types
from mcp import ClientSession, MCPError

from agentd.core.errors import NotOffered, ServerFailed
from agentd.mcp.callbacks import Callbacks, urls_wanted
from agentd.mcp.lines import Tail
from agentd.mcp.links import Link, NoAnswer, Report, Wiring, is_lost, was_not_sent
from agentd.mcp.notices import Kind, Notice, Notices

_T = TypeVar("_T")
_URL = re.compile(r"(https?://)(?:[^/\s@'\"]*@)?([^\s?'\"]*)(?:\?[^\s'\"]*)?")
_log = logging.getLogger("agentd.mcp")


class Connection:
    """Keeps one server connected.

    Every link is entered and left in one task, since the SDK's clients insist on it. A link that broke is replaced at
    the next use. A request is repeated only when it provably never reached the server, and only once. `notices` and
    `callbacks` outlive the links. `holders` are those who use it on its own loop: the last who lets go closes it.
    """

    def __init__(
        self,
        description: str,
        open_link: Callable[[Wiring], Link],
        callbacks: Callbacks,
        *,
        limit: int,
        start_timeout: float,
        call_timeout: float,
        version: str | None = None,
    ) -> None:
        self.name = callbacks.server
        self.description = description
        self.loop = asyncio.get_running_loop()
        self.closed = False
        self.holders: set[object] = set()
        self.notices = Notices()
        self.callbacks = callbacks
        self._open_link = open_link
        self._wiring = Wiring(limit, callbacks.options, self.notices, version)
        self._start_timeout = start_timeout
        self._call_timeout = call_timeout
        self._link: Link | None = None
        self._owner: asyncio.Task[None] | None = None
        self._opening: asyncio.Task[Link] | None = None
        self._starting = False
        self._listing = asyncio.Lock()
        self._tools: list[types.Tool] = []

    async def tools(self) -> list[types.Tool]:
        """Return the server's tools; connects when needed, lists when the server has not promised the same list."""
        async with self._listing:
            for last in (False, True):
                link = await self.link()
                if not link.stale:
                    break
                try:
                    async with asyncio.timeout(self._start_timeout):
                        self._tools = await link.list_tools()
                    break
                except Exception as error:
                    link.over.set()
                    # A listing has no effects: it may be repeated, over a fresh link.
                    if last or not (is_lost(error) or was_not_sent(error)):
                        raise ServerFailed(self._story("did not list its tools", error, link.tail)) from error
            return self._tools

    async def call(
        self, tool: str, arguments: dict[str, Any], report: Report | None = None, limit: float | None = None
    ) -> types.CallToolResult:
        """Call the tool; `NoAnswer` says what is known about a call without an answer."""
        for last in (False, True):
            link = await self.link()
            self.callbacks.new_request()
            seconds = limit or min(link.call_limit or self._call_timeout, self._call_timeout)
            try:
                async with self.callbacks.clock.limit(seconds):
                    return await link.call_tool(tool, arguments, report)
            except TimeoutError:
                raise NoAnswer(self._too_late(tool, seconds, link)) from None
            except Exception as error:
                if was_not_sent(error):
                    link.over.set()
                    if not last:
                        continue
                elif not last and await self.callbacks.visited(error):
                    continue
                raise self._failure(tool, error, link) from error
        raise AssertionError("unreachable")

    async def use(self, what: str, work: Callable[[ClientSession], Awaitable[_T]], limit: float | None = None) -> _T:
        """Do `work`, which only reads, with the server's session; `ServerFailed` says why `what` was not had."""
        seconds = limit or self._call_timeout
        for last in (False, True):
            link = await self.link()
            if link.session is None:
                raise NotOffered(f"{self.name} ({self.description}) gives access to its tools only")
            self.callbacks.new_request()
            try:
                async with self.callbacks.clock.limit(seconds):
                    return await work(link.session)
            except ServerFailed:
                raise
            except TimeoutError:
                raise ServerFailed(f"{self.name} did not give {what} within {seconds:g} s") from None
            except Exception as error:
                if is_lost(error) or was_not_sent(error):
                    link.over.set()
                    if not last:
                        continue
                    raise ServerFailed(self._story(f"did not give {what}", error, link.tail)) from error
                raise ServerFailed(f"{self.name} did not give {what}: {first_cause(error)}") from error
        raise AssertionError("unreachable")

    async def link(self) -> Link:
        """Return the open link; connects when there is none."""
        if self._link is not None and not self._link.over.is_set() and not self.closed:
            return self._link
        if self.closed:
            raise ServerFailed(f"{self.name} has been closed")
        if self._opening is None or self._opening.done():
            self._opening = asyncio.create_task(self._open(), name=f"open {self.name}")
        # Shielded: the next call gets the server whose start this caller did not wait for.
        return await asyncio.shield(self._opening)

    async def let_go(self, holder: object) -> None:
        """Do without this holder; end the server when there is no other."""
        self.holders.discard(holder)
        if not self.holders:
            await self.close()

    async def close(self, patience: float = 1.8) -> None:
        """End the server. Calls that wait for it fail."""
        self.closed = True
        self.notices.publish(Notice(Kind.CLOSED))
        if self._link is not None:
            self._link.over.set()
        elif self._starting and self._owner is not None:
            self._owner.cancel()
        tasks: list[asyncio.Task[Any]] = [task for task in (self._opening, self._owner) if task is not None]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await self.callbacks.close()

    async def _open(self) -> Link:
        if self._owner is not None:
            await asyncio.gather(self._owner, return_exceptions=True)
        if self.closed:
            raise ServerFailed(f"{self.name} has been closed")
        link = self._open_link(self._wiring)
        ready: asyncio.Future[None] = self.loop.create_future()
        self._owner = asyncio.create_task(self._own(link, ready), name=f"own {self.name}")
        await asyncio.wait((ready, self._owner), return_when=asyncio.FIRST_COMPLETED)
        if not ready.done():
            raise ServerFailed(f"{self.name} was closed while it started")
        ready.result()
        return link

    async def _own(self, link: Link, ready: asyncio.Future[None]) -> None:
        limit = asyncio.timeout(self._start_timeout)
        self._starting = True
        try:
            async with limit:
                await link.__aenter__()
        except Exception as error:  # noqa: BLE001  told to whoever waits for the server
            late = f"did not start within {self._start_timeout:g} s" if limit.expired() else "did not start"
            ready.set_exception(ServerFailed(self._story(late, None if limit.expired() else error, link.tail)))
            return
        finally:
            self._starting = False
        self._link = link
        ready.set_result(None)
        crash: BaseException | None = None
        try:
            await link.over.wait()
        except asyncio.CancelledError as cancelled:
            # Either close() has lost patience, or the transport has crashed and its task group ends its host.
            crash = cancelled
        link.over.set()
        self._link = None
        self.notices.publish(Notice(Kind.LOST))
        await self._leave(link, crash)

    async def _leave(self, link: Link, crash: BaseException | None) -> None:
        try:
            await link.__aexit__(type(crash) if crash else None, crash, crash.__traceback__ if crash else None)
        except Exception as cause:  # noqa: BLE001  it was left anyway; what matters was told to the calls
            _log.debug("%s ended with %r", self.name, cause, exc_info=cause)

    def _too_late(self, tool: str, seconds: float, link: Link) -> str:
        if link.call_limit == seconds:
            return f"{tool} did not answer within {seconds:g} s (client_session_timeout_seconds of the server object)"
        return f"{tool} of {self.name} did not answer within {seconds:g} s"

    def _failure(self, tool: str, error: Exception, link: Link) -> NoAnswer:
        if isinstance(error, NoAnswer):
            return error
        if is_lost(error) or link.over.is_set():
            link.over.set()
            ended = "was closed" if self.closed else "ended"
            what = f"{ended} while {tool} was running; the call may or may not have had its effect"
            # "Connection closed" is what has just been said; an HTTP stream that broke off has more to tell.
            told = isinstance(error, MCPError) and error.message == "Connection closed"
            return NoAnswer(self._story(what, None if told else error, link.tail))
        urls = "".join(f"\nthe user must first go to {each.url}: {each.message}" for each in urls_wanted(error))
        return NoAnswer(f"{tool} of {self.name}: {first_cause(error)}{urls}")

    def _story(self, what: str, error: BaseException | None, tail: Tail) -> str:
        reason = f": {first_cause(error)}" if error is not None else ""
        printed = tail.last_lines()
        last = f"\nthe last lines that it printed:\n{printed}" if printed else ""
        return f"{self.name} ({self.description}) {what}{reason}{last}"


def first_cause(error: BaseException) -> str:
    """Return one line about the first real error in a group, or about the error itself."""
    while isinstance(error, BaseExceptionGroup):
        error = cast("BaseExceptionGroup[BaseException]", error).exceptions[0]
    said = error.message if isinstance(error, MCPError) else f"{type(error).__name__}: {error}".removesuffix(": ")
    # Users put keys into URLs, and HTTP libraries quote URLs in their errors.
    return _URL.sub(r"\1\2", said)
