"""A door that stays open: programs outside of any block call the tools through it, until it is closed."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from types import TracebackType
from typing import Self, TypeVar

from agentd.bridge.gate import BlockDoor, Gate
from agentd.bridge.server import BridgeServer
from agentd.core.errors import OptionError
from agentd.core.events import Event
from agentd.core.ids import new_id

CLOSE_SECONDS = 5.0
_T = TypeVar("_T")
_log = logging.getLogger("agentd.bridge")

Connect = Callable[[asyncio.AbstractEventLoop | None], Awaitable[Gate]]


class OpenBridge:
    """Serves tools over HTTP on a port and a socket of its own, to whoever shows its token.

    To be entered with `with` or `async with`, or opened by `open` or `aopen` and closed by `close` or `aclose`.
    While it is open, `url`, `socket_path` and `token` say how it is reached, and `env` says the same to a program that
    is started. Each call is told in events whose `block` is `name`.

    `connect` gives the tools; it runs on `loop`, as everything does, and gets the loop of an asynchronous caller.
    `emit` is called there too. `on_close` is called when the bridge has been closed.
    """

    def __init__(
        self,
        connect: Connect,
        emit: Callable[[Event], object],
        *,
        loop: asyncio.AbstractEventLoop,
        on_close: Callable[[OpenBridge], object] | None = None,
    ) -> None:
        self.name = new_id("bridge")
        self.url = ""
        self.socket_path = ""
        self.token = ""
        self._connect = connect
        self._emit = emit
        self._loop = loop
        self._on_close = on_close
        self._lock = asyncio.Lock()
        self._opened: tuple[BridgeServer, BlockDoor] | None = None

    def __repr__(self) -> str:
        return f"<OpenBridge {self.url or 'closed'}>"

    @property
    def env(self) -> dict[str, str]:
        """The variables by which a program finds the bridge; they are the same that blocks of code have."""
        return {
            "AGENTD_BRIDGE_URL": self.url,
            "AGENTD_BRIDGE_SOCKET": self.socket_path,
            "AGENTD_BRIDGE_TOKEN": self.token,
        }

    def open(self) -> Self:
        """Connect the tools and begin to serve them; blocks until that is done."""
        self._wait(self._open(None))
        return self

    async def aopen(self) -> Self:
        """Connect the tools and begin to serve them, from any event loop."""
        await self._on_loop(self._open(asyncio.get_running_loop()))
        return self

    def close(self) -> None:
        """Cancel the calls that run, forget the token and end all connections; blocks until that is done."""
        self._wait(self._close(), CLOSE_SECONDS)

    async def aclose(self) -> None:
        """Cancel the calls that run, forget the token and end all connections."""
        await self._on_loop(self._close())

    def __enter__(self) -> Self:
        return self.open()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return await self.aopen()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _open(self, home: asyncio.AbstractEventLoop | None) -> None:
        async with self._lock:
            if self._opened is not None:
                return
            gate = await self._connect(home)
            if not gate.specs():
                raise OptionError("there is no tool that a bridge could serve: give it tools or mcp_servers")
            server = BridgeServer()
            await server.start()
            door = gate.door(self.name, self._tell)
            self._opened = server, door
            self.url, self.socket_path, self.token = server.url, server.socket_path, server.grant(door)

    async def _close(self) -> None:
        async with self._lock:
            if self._opened is None:
                return
            server, door = self._opened
            server.revoke(self.token)
            self.url = self.socket_path = self.token = ""
            self._opened = None
            # Before the connections end: who waits for a call is told that it was cancelled.
            door.close()
            await server.close()
        if self._on_close is not None:
            self._on_close(self)

    def _tell(self, event: Event) -> None:
        try:
            self._emit(event)
        except Exception:  # noqa: BLE001  a call does not fail because somebody who watches it does
            _log.exception("an observer failed on %s", event.type)

    def _wait(self, work: Coroutine[object, object, _T], seconds: float | None = None) -> _T:
        if _running() is self._loop:
            work.close()
            raise OptionError("a bridge cannot be waited for on the event loop that it runs on: use `async with`")
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return future.result(seconds)
        except BaseException:
            future.cancel()
            raise

    async def _on_loop(self, work: Coroutine[object, object, _T]) -> _T:
        if _running() is self._loop:
            return await work
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None
