"""The way out of a sandbox: a proxy that connects to the names that the policy allows, and to nothing else."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable
from typing import Protocol

from agentd.executors.egress.carrying import Request
from agentd.executors.egress.crowd import AT_ONCE, Crowd
from agentd.executors.egress.dialing import Dialer, Lookups, Resolve
from agentd.executors.egress.http import Http
from agentd.executors.egress.names import Rules
from agentd.executors.egress.refusals import Refusal, Why
from agentd.executors.egress.socks import VERSION, Socks
from agentd.executors.egress.streams import Stream

CONNECT_TIMEOUT = 30.0
HEAD_TIMEOUT = 30.0


class Speech(Protocol):
    """A protocol that clients speak."""

    async def read(self, client: Stream) -> Request:
        """Return what the client asks for; raises `Refusal`, and `EOFError` when it leaves."""
        ...

    def refusal(self, refusal: Refusal) -> bytes:
        """Say no in the client's language."""
        ...


class Egress:
    """Serves connections of one sandbox: HTTP with CONNECT or a whole URL, and SOCKS5, by name only.

    A name is looked up only if `rules` allow it, on the host and once; the connection goes to an address that was
    looked up and is public, or in one of `networks`. `on_refused` is told the host, the port and the reason of what
    the policy refuses; it must not raise. What goes through a tunnel is not looked into: whoever is reached may pass
    things on. Belongs to one event loop.
    """

    def __init__(
        self,
        rules: Rules,
        networks: Iterable[str] = (),
        resolve: Resolve | None = None,
        on_refused: Callable[[str, int, str], None] | None = None,
        *,
        connect_timeout: float = CONNECT_TIMEOUT,
        head_timeout: float = HEAD_TIMEOUT,
        at_once: int = AT_ONCE,
    ) -> None:
        self._rules = rules
        self._dialer = Dialer(networks, resolve or Lookups(), connect_timeout)
        self._on_refused = on_refused
        self._head_timeout = head_timeout
        self._crowd = Crowd(at_once)

    async def serve(self, sock: socket.socket) -> None:
        """Serve one connection, whoever is at its other end, until it is closed."""
        await self._crowd.serve(sock, self._converse)

    async def aclose(self) -> None:
        """Close all connections, and take no more."""
        await self._crowd.aclose()

    async def _converse(self, client: Stream) -> None:
        speech: Speech = Http()
        try:
            async with asyncio.timeout(self._head_timeout):
                begin = await client.peek()
                if not begin:
                    return
                if begin[0] == VERSION:
                    speech = Socks()
                request = await speech.read(client)
            server = await self._reach(request)
        except TimeoutError:
            await client.farewell(speech.refusal(Refusal(Why.SLOW_CLIENT, "the request did not come in time")))
            return
        except Refusal as refusal:
            await client.farewell(speech.refusal(refusal))
            return
        try:
            await request.carry(client, server)
        finally:
            server.close()

    async def _reach(self, request: Request) -> Stream:
        verdict = self._rules.verdict(request.host, request.port)
        try:
            if not verdict.allowed:
                raise Refusal(Why.FORBIDDEN, verdict.reason)
            return Stream(await self._dialer.connect(verdict.name, verdict.port))
        except Refusal as refusal:
            if refusal.why is Why.FORBIDDEN and self._on_refused is not None:
                self._on_refused(verdict.name, verdict.port, refusal.reason)
            raise
