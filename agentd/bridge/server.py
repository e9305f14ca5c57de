"""HTTP for code that has no bindings: `curl`, Node, any language. A Unix socket and a port on the loopback.

Both are bound with the standard library; aiohttp is imported when the first connection arrives. Until it is ready,
connections wait in the sockets' own queues, so none is lost.

`POST /call/{tool}` takes the arguments as a JSON object. It answers 200 with `{"ok": true, "value": …}`, and with
`{"ok": false, "error": text}` also when the tool ran and failed: only a call that was refused has another status.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import os
import shutil
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from agentd.bridge.gate import BlockDoor
from agentd.core.errors import OptionError
from agentd.core.ids import new_token

if TYPE_CHECKING:
    from agentd.bridge.http import Front

BODY_LIMIT = 4 << 20
_BACKLOG = 512
_LONGEST_SOCKET_PATH = 100
_log = logging.getLogger("agentd.bridge")


class BridgeServer:
    """Serves doors over HTTP; every request carries the bearer token of the door that it means.

    `url` and `socket_path` are known after `start`. `directory` is where the socket's own private folder is made.
    """

    def __init__(self, *, directory: Path | None = None, body_limit: int = BODY_LIMIT, patience: float = 10.0) -> None:
        self.url = ""
        self.socket_path = ""
        self.body_limit = body_limit
        self.patience = patience
        self._directory = directory
        self._folder: Path | None = None
        self._listening: list[socket.socket] = []
        self._doors: dict[bytes, tuple[str, BlockDoor]] = {}
        self._opening: asyncio.Task[None] | None = None
        self._front: Front | None = None

    async def start(self) -> None:
        """Bind both sockets. Costs no import and no thread."""
        loop = asyncio.get_running_loop()
        try:
            self._listening = [self._bind_loopback(), self._bind_unix()]
        except BaseException:
            await self.close()
            raise
        for listening in self._listening:
            loop.add_reader(listening.fileno(), self._open)

    def grant(self, door: BlockDoor) -> str:
        """Return a new bearer token for this door."""
        token = new_token()
        self._doors[_digest(token)] = (token, door)
        return token

    def revoke(self, token: str) -> None:
        """Refuse the token from now on; calls that run go on until their door is closed."""
        self._doors.pop(_digest(token), None)

    def door_of(self, token: str) -> BlockDoor | None:
        """Return the token's door, in a time that tells nothing about the tokens that exist."""
        known, door = self._doors.get(_digest(token), ("", None))
        return door if hmac.compare_digest(known.encode(), token.encode("utf-8", "replace")) else None

    async def close(self) -> None:
        """Stop within half a second, whatever connections are open."""
        loop = asyncio.get_running_loop()
        for listening in self._listening:
            with contextlib.suppress(ValueError):
                loop.remove_reader(listening.fileno())
        if self._opening is not None:
            self._opening.cancel()
            await asyncio.gather(self._opening, return_exceptions=True)
        if self._front is not None:
            await self._front.close()
        for listening in self._listening:
            listening.close()
        self._listening.clear()
        self._doors.clear()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _bind_loopback(self) -> socket.socket:
        listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._listening.append(listening)
        listening.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        return _listen(listening)

    def _bind_unix(self) -> socket.socket:
        self._folder = _private_folder(self._directory)
        self.socket_path = str(self._folder / "bridge.sock")
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listening.append(listening)
        listening.bind(self.socket_path)
        # Nobody else can have connected before: the folder is 0700 from its start.
        os.chmod(self.socket_path, 0o600)
        return _listen(listening)

    def _open(self) -> None:
        loop = asyncio.get_running_loop()
        for listening in self._listening:
            loop.remove_reader(listening.fileno())
        self._opening = loop.create_task(self._serve())

    async def _serve(self) -> None:
        # In a thread: aiohttp takes a quarter of a second to import, and this loop drives the model and the tools.
        try:
            front = await asyncio.to_thread(_import_front)
            self._front = front(self)
            await self._front.serve(self._listening)
        except Exception:
            # Whoever waits in the queues gets a closed connection instead of silence.
            _log.exception("the bridge cannot serve HTTP")
            for listening in self._listening:
                listening.close()
            raise


def _import_front() -> Callable[[BridgeServer], Front]:
    from agentd.bridge.http import Front

    return Front


def _listen(listening: socket.socket) -> socket.socket:
    listening.setblocking(False)
    listening.listen(_BACKLOG)
    return listening


def _private_folder(directory: Path | None) -> Path:
    """Make a folder that only we can enter, with a path that a socket address can hold."""
    places = [str(directory)] if directory is not None else [tempfile.gettempdir(), "/tmp"]
    for place in places:
        if len(os.fsencode(place)) + len("/agentd-12345678/bridge.sock") <= _LONGEST_SOCKET_PATH:
            return Path(tempfile.mkdtemp(prefix="agentd-", dir=place))
    raise OptionError(
        f"{places[-1]} is too long for a Unix socket, whose path has at most 107 bytes: choose a shorter one"
    )


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "replace")).digest()
