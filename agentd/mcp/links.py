"""The open way to one server: over the SDK's client."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Protocol, Self, cast

import httpx2
import mcp_types as types
from anyio import BrokenResourceError, ClosedResourceError
from mcp import Client, ClientSession, MCPError
from mcp.client.session import IncomingMessage
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS, MODERN_PROTOCOL_VERSIONS

from agentd.core.tools import Progress
from agentd.mcp.callbacks import client_info
from agentd.mcp.lines import Tail
from agentd.mcp.notices import LISTS, Kind, Notice, Notices
from agentd.mcp.pages import all_pages
from agentd.mcp.stdio import NOT_SENT, StdioTransport

Report = Callable[[Progress], object]
_NO_LIMIT = 30 * 24 * 3600.0
_ACK_TIME = 1.0
_RETRY_TIMES = (0.25, 30.0)
_log = logging.getLogger("agentd.mcp")


class NoAnswer(Exception):
    """A call has no usable answer; the text says what is known about it."""


@dataclass(frozen=True)
class Wiring:
    """What a link is made with: `options` are those of `mcp.Client` that carry the user's callbacks."""

    limit: int
    options: Callable[[], Mapping[str, Any]] = field(default=dict[str, Any])
    notices: Notices = field(default_factory=Notices)
    version: str | None = None

    @property
    def mode(self) -> str:
        """The SDK's name for the way to connect: the handshake settles the revision within its era."""
        return "legacy" if self.version in HANDSHAKE_PROTOCOL_VERSIONS else "auto"


class Link(Protocol):
    """An async context manager that is entered once; `over` is set when it has broken or is to be left.

    `stale` says that the tools must be listed again, `tail` what the server has printed. `session` is the SDK's, where
    the server's object lets us have it. `call_limit` is the object's own time limit for a call, 0 when it has none.
    """

    over: asyncio.Event
    tail: Tail

    @property
    def stale(self) -> bool: ...

    @property
    def session(self) -> ClientSession | None: ...

    @property
    def call_limit(self) -> float: ...

    async def __aenter__(self) -> Self: ...

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    async def list_tools(self) -> list[types.Tool]: ...

    async def call_tool(self, name: str, arguments: dict[str, Any], report: Report | None) -> types.CallToolResult: ...


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


def progress_of(report: Report | None) -> Any:
    """Return `report` in the form that the SDK calls; `None` stays `None`: then no progress is asked for."""
    if report is None:
        return None

    async def told(progress: float, total: float | None, message: str | None) -> None:
        await tell(report, Progress(progress, total, message or ""))

    return told


async def tell(report: Report, progress: Progress) -> None:
    """Call `report`, which may be a coroutine function."""
    said = report(progress)
    if isinstance(said, Awaitable):
        await cast(Awaitable[object], said)


class ClientLink:
    """A server over the SDK's own client; follows its notices that its lists have changed."""

    def __init__(self, client: Client, stdio: StdioTransport | None, wiring: Wiring) -> None:
        self.over = stdio.over if stdio else asyncio.Event()
        self.tail = stdio.tail if stdio else Tail()
        self.stale = True
        self._notices = wiring.notices
        self._version = wiring.version
        self._client = dataclasses.replace(
            client, **_missing(client, wiring), message_handler=self._handler(client.message_handler)
        )
        self._stack = AsyncExitStack()
        self._unnoticed = False
        self._listening: asyncio.Task[None] | None = None
        self._heard = asyncio.Event()

    @property
    def session(self) -> ClientSession | None:
        return self._client.session

    @property
    def call_limit(self) -> float:
        return 0.0

    def _handler(self, users: Callable[[IncomingMessage], Awaitable[None]] | None) -> Any:
        async def handle(message: IncomingMessage) -> None:
            notice = notice_of(message)
            if notice is not None:
                self.stale = self.stale or notice.kind is Kind.TOOLS
                self._notices.publish(notice)
            if users is not None:
                await users(message)

        return handle

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self._client)
        if self._version in MODERN_PROTOCOL_VERSIONS and self._client.protocol_version != self._version:
            speaks = self._client.protocol_version
            await self._stack.aclose()
            raise RuntimeError(f"it speaks {speaks}, not {self._version}")
        lists = announced(self._client.server_capabilities)
        if self._client.protocol_version in MODERN_PROTOCOL_VERSIONS and lists:
            self._listening = asyncio.create_task(self._listen(lists))
            # What is listed after the server has confirmed cannot change unheard.
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._heard.wait(), _ACK_TIME)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listening is not None:
            self._listening.cancel()
        try:
            # First of all: after a crash of the transport every wait before this is cancelled.
            await self._stack.__aexit__(kind, error, trace)
        finally:
            if self._listening is not None:
                await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self, lists: frozenset[Kind]) -> None:
        """Ask for notices of changed lists, again and again: servers of the stateless era tell only those who ask."""
        pause, longest = _RETRY_TIMES
        while True:
            try:
                async with self._client.listen(
                    tools_list_changed=Kind.TOOLS in lists,
                    prompts_list_changed=Kind.PROMPTS in lists,
                    resources_list_changed=Kind.RESOURCES in lists,
                ) as subscription:
                    self._now_heard(lists)
                    pause = _RETRY_TIMES[0]
                    async for _ in subscription:
                        pass  # the handler of all messages has it too
            except Exception as error:  # noqa: BLE001  whatever ended it, the tools are listed anew each time
                _log.debug("no notices of changed lists: %r", error)
                if isinstance(error, MCPError) and not is_lost(error):
                    self._heard.set()
                    return
            finally:
                self._unnoticed = self.stale = True
            await asyncio.sleep(pause)
            pause = min(pause * 2, longest)

    def _now_heard(self, lists: frozenset[Kind]) -> None:
        self._unnoticed = False
        if self._heard.is_set():
            for kind in lists:
                self._notices.publish(Notice(kind))
        self._heard.set()

    async def list_tools(self) -> list[types.Tool]:
        # Before the request: a notice that comes while the pages are read must not be lost.
        self.stale = self._unnoticed
        try:
            return await all_tools_of(self._client)
        except BaseException:
            self.stale = True
            raise

    async def call_tool(self, name: str, arguments: dict[str, Any], report: Report | None) -> types.CallToolResult:
        # The caller keeps the time; a shorter default of the user's client must not come before.
        limit = _NO_LIMIT if self._client.read_timeout_seconds else None
        return await self._client.call_tool(
            name, arguments, read_timeout_seconds=limit, progress_callback=progress_of(report)
        )


def _missing(client: Client, wiring: Wiring) -> dict[str, Any]:
    """Return the callbacks that the user's client does not have itself."""
    return {name: value for name, value in wiring.options().items() if getattr(client, name) is None}


def new_client(transport: Any, wiring: Wiring) -> Client:
    """Return a client of our own."""
    return Client(transport, mode=wiring.mode, cache=None, client_info=client_info())


def notice_of(message: IncomingMessage) -> Notice | None:
    """Return what `message` says about lists and resources; `None` for all others."""
    match message:
        case types.ToolListChangedNotification():
            return Notice(Kind.TOOLS)
        case types.ResourceListChangedNotification():
            return Notice(Kind.RESOURCES)
        case types.PromptListChangedNotification():
            return Notice(Kind.PROMPTS)
        case types.ResourceUpdatedNotification():
            return Notice(Kind.UPDATED, message.params.uri)
        case _:
            return None


def announced(capabilities: types.ServerCapabilities) -> frozenset[Kind]:
    """Return the lists whose changes the server promises to tell."""
    parts = (capabilities.tools, capabilities.resources, capabilities.prompts)
    return frozenset(kind for kind, part in zip(LISTS, parts, strict=True) if part is not None and part.list_changed)


async def all_tools_of(client: Client) -> list[types.Tool]:
    """List the tools on all pages."""
    return await all_pages(
        lambda cursor: client.list_tools(cursor=cursor, cache_mode="refresh"), lambda page: page.tools
    )
