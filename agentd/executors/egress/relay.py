"""From a sandbox to a Unix socket of the host."""

from __future__ import annotations

import asyncio
import errno
import logging
import os
import socket
from pathlib import Path

from agentd.executors.egress.crowd import Crowd
from agentd.executors.egress.streams import Stream, is_affordable, join

CONNECT_TIMEOUT = 5.0
_PAUSE = 0.005
_log = logging.getLogger("agentd.executors")


class Relay:
    """Connections of a sandbox, each joined to a new one to a Unix socket of the host, within the bounds of a crowd."""

    def __init__(self, unix_path: str | Path) -> None:
        self._path = str(unix_path)
        self._crowd = Crowd()
        self._warned = False

    async def serve(self, sock: socket.socket) -> None:
        """Serve a connection until it ends."""
        await self._crowd.serve(sock, self._join)

    async def aclose(self) -> None:
        """Close all connections, and take no more."""
        await self._crowd.aclose()

    async def _join(self, client: Stream) -> None:
        if not await _relay(client, self._path, logging.DEBUG if self._warned else logging.WARNING):
            self._warned = True  # who is inside may connect again and again


async def relay(sock: socket.socket, unix_path: str | Path) -> None:
    """Join one connection to a Unix socket of the host until both have ended; reset it when nobody listens there."""
    client = Stream(sock)
    try:
        await _relay(client, str(unix_path), logging.WARNING)
    finally:
        client.close()


async def _relay(client: Stream, path: str, level: int) -> bool:
    """Join a client to a socket; tell whether somebody listens there."""
    try:
        server = Stream(await _connect(path))
    except OSError as error:
        _log.log(level, "a connection of a sandbox cannot be relayed: %s", error)
        client.abort()
        return False
    try:
        await join(client, server)
    finally:
        server.close()
    return True


async def _connect(path: str) -> socket.socket:
    """Connect to a Unix socket. Where its queue is full the system says EAGAIN, which `loop.sock_connect` misreads."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        if not is_affordable(sock):
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        async with asyncio.timeout(CONNECT_TIMEOUT):
            while True:
                try:
                    sock.connect(path)
                    return sock
                except BlockingIOError:
                    await asyncio.sleep(_PAUSE)
    except BaseException:
        sock.close()
        raise
