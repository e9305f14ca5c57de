"""What a server tells unasked, as async iterators that outlive its connection."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

import mcp_types as types
from mcp import ClientSession, MCPError
from mcp.client.subscriptions import SubscriptionLost, listen

from agentd.core.errors import NotOffered, ServerFailed
from agentd.mcp.borrowed import at_home
from agentd.mcp.connection import Connection, first_cause
from agentd.mcp.links import announced
from agentd.mcp.notices import LISTS, Kind, Notice, Watch
from agentd.mcp.requests import is_modern, need, ping

FIRST_PAUSE = 0.25
TRIES = 9
QUIET_TIME = 30.0
_UNSUBSCRIBE_TIME = 5.0
_CONFIRM_TIME = 15.0
_ENDS = (Kind.LOST, Kind.CLOSED)
_log = logging.getLogger("agentd.mcp")
Find = Callable[[], Awaitable[Connection]]


class Changes:
    """The names of lists that have changed."""

    def __init__(self, find: Find) -> None:
        self._find = find
        self._connection: Connection | None = None
        self._watch: Watch | None = None
        self._changed: list[str] = []

    async def __aenter__(self) -> Self:
        await self._started()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        connection = await self._started()
        if not self._changed:
            self._changed += await at_home(connection.loop, self._next, connection.name)
        if not self._changed:
            raise StopAsyncIteration
        return self._changed.pop(0)

    async def aclose(self) -> None:
        """Stop listening."""
        if self._watch is not None:
            self._watch.close()

    async def _started(self) -> Connection:
        if self._connection is None:
            connection = await self._find()
            self._watch = connection.notices.watch(lambda notice: notice.kind is not Kind.UPDATED)
            await connection.use("notices of changes", lambda session: _announces(connection.name, session))
            self._connection = connection
        return self._connection

    async def _next(self) -> list[str]:
        assert self._watch is not None
        notice = await self._watch.take()
        if notice.kind is Kind.CLOSED:
            return []
        # While the connection was lost any list may have changed.
        return list(LISTS) if notice.kind is Kind.LOST else [notice.kind]


class Subscription:
    """The URIs under `uri` that were updated."""

    def __init__(self, uri: str, find: Find) -> None:
        self.uri = uri
        self._find = find
        self._connection: Connection | None = None
        self._watch: Watch | None = None
        self._listening: asyncio.Task[None] | None = None
        self._counted = False

    async def __aenter__(self) -> Self:
        await self._started()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        connection = await self._started()
        uri = await at_home(connection.loop, lambda: self._next(connection), connection.name)
        if uri is None:
            raise StopAsyncIteration
        return uri

    async def aclose(self) -> None:
        """Unsubscribe."""
        connection = self._connection
        if connection is not None and connection.loop.is_running():
            await at_home(connection.loop, lambda: self._leave(connection), connection.name)

    async def _started(self) -> Connection:
        if self._connection is None:
            connection = await self._find()
            await at_home(connection.loop, lambda: self._open(connection), connection.name)
            self._connection = connection
        return self._connection

    async def _next(self, connection: Connection) -> str | None:
        notice = await self._take(connection)
        if notice.kind is Kind.CLOSED:
            return None
        if notice.kind is Kind.LOST:
            # What happened while nobody listened is not known: it counts as an update.
            return self.uri if await self._reopened(connection) else None
        return notice.uri

    async def _take(self, connection: Connection) -> Notice:
        """Wait for a notice; now and then see whether a quiet server is still there."""
        assert self._watch is not None
        while True:
            try:
                async with asyncio.timeout(QUIET_TIME):
                    return await self._watch.take()
            except TimeoutError:
                if self._listening is None:
                    with contextlib.suppress(ServerFailed):
                        # If the connection turns out to be lost, there is a notice of that.
                        await connection.use("a sign of life", lambda session: ping(connection.name, session))

    async def _reopened(self, connection: Connection) -> bool:
        pause = FIRST_PAUSE
        for attempt in range(1, TRIES + 1):
            try:
                await self._open(connection)
                return True
            except NotOffered:
                raise
            except ServerFailed as error:
                if connection.closed:
                    return False
                if attempt == TRIES:
                    raise
                _log.warning(
                    "no subscription to %s of %s, next try in %g s: %s", self.uri, connection.name, pause, error
                )
            await asyncio.sleep(pause)
            pause *= 2
        return False

    async def _open(self, connection: Connection) -> None:
        if self._watch is not None:
            self._watch.close()
        self._watch = connection.notices.watch(self._is_wanted)
        await self._stop_listening()
        await connection.use(
            f"a subscription to {self.uri}", lambda session: self._subscribe(connection, session), _CONFIRM_TIME
        )

    def _is_wanted(self, notice: Notice) -> bool:
        of_it = notice.uri == self.uri or notice.uri.startswith(self.uri.rstrip("/") + "/")
        return notice.kind in _ENDS or (notice.kind is Kind.UPDATED and of_it)

    async def _subscribe(self, connection: Connection, session: ClientSession) -> None:
        need(session, connection.name, "resources")
        if is_modern(session):
            await self._listen(connection, session)
            return
        capabilities = session.server_capabilities
        if not (capabilities and capabilities.resources and capabilities.resources.subscribe):
            raise NotOffered(f"{connection.name} has resources, but no subscriptions to them")
        request = types.SubscribeRequest(params=types.SubscribeRequestParams(uri=self.uri))
        await session.send_request(request, types.EmptyResult)
        if not self._counted:
            connection.notices.subscribers[self.uri] += 1
            self._counted = True

    async def _listen(self, connection: Connection, session: ClientSession) -> None:
        """Hold a stream of the stateless era open; its events come by way of the handler of all messages."""
        confirmed: asyncio.Future[list[str]] = asyncio.get_running_loop().create_future()
        watch = self._watch

        async def hold() -> None:
            try:
                async with listen(session, resource_subscriptions=[self.uri]) as stream:
                    confirmed.set_result(list(stream.honored.resource_subscriptions or ()))
                    async for _ in stream:
                        pass
            except (MCPError, SubscriptionLost) as error:
                if not confirmed.done():
                    confirmed.set_exception(error)
            finally:
                if watch is not None:
                    watch.put(Notice(Kind.LOST))

        self._listening = asyncio.create_task(hold(), name=f"listen to {self.uri}")
        await asyncio.wait((confirmed, self._listening), return_when=asyncio.FIRST_COMPLETED)
        if not confirmed.done():
            raise ServerFailed(f"{connection.name} did not confirm the subscription to {self.uri}")
        try:
            honored = confirmed.result()
        except SubscriptionLost as error:
            raise ServerFailed(f"{connection.name} ended the subscription: {first_cause(error)}") from error
        if self.uri not in honored:
            await self._stop_listening()
            raise NotOffered(f"{connection.name} takes no subscription to {self.uri}")

    async def _stop_listening(self) -> None:
        task, self._listening = self._listening, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _leave(self, connection: Connection) -> None:
        if self._watch is not None:
            self._watch.close()
        await self._stop_listening()
        if not self._counted:
            return
        self._counted = False
        connection.notices.subscribers[self.uri] -= 1
        if connection.notices.subscribers[self.uri] > 0 or connection.closed:
            return
        del connection.notices.subscribers[self.uri]
        request = types.UnsubscribeRequest(params=types.UnsubscribeRequestParams(uri=self.uri))
        with contextlib.suppress(ServerFailed):
            await connection.use(
                "its leave", lambda session: session.send_request(request, types.EmptyResult), _UNSUBSCRIBE_TIME
            )


async def _announces(server: str, session: ClientSession) -> None:
    capabilities = session.server_capabilities
    if capabilities is None or not announced(capabilities):
        raise NotOffered(f"{server} does not tell when its lists change")
