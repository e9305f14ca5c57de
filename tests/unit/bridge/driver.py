"""A bridge under test, its tools, and a client that writes the bytes of its requests itself."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from agentd.bridge.gate import BlockDoor, Gate
from agentd.bridge.server import BridgeServer
from agentd.core.events import Event
from agentd.core.tools import JSON, ToolResult, ToolSpec


class Adder:
    spec = ToolSpec("add", "Adds two numbers.", {"type": "object"}, server="math")

    def call_blocking(self, arguments: dict[str, JSON]) -> ToolResult:
        a, b = arguments.get("a"), arguments.get("b")
        if not isinstance(a, int) or not isinstance(b, int):
            return ToolResult(False, "add(a: int, b: int)")
        return ToolResult(True, a + b)

    async def call(self, arguments: dict[str, JSON]) -> ToolResult:
        return self.call_blocking(arguments)


class Sleeper:
    """Waits until it is cancelled."""

    def __init__(self) -> None:
        self.spec = ToolSpec("sleep")
        self.running = 0

    async def call(self, arguments: dict[str, JSON]) -> ToolResult:
        self.running += 1
        try:
            await asyncio.sleep(600)
        finally:
            self.running -= 1
        return ToolResult(True, None)


class Broken:
    spec = ToolSpec("broken")

    async def call(self, arguments: dict[str, JSON]) -> ToolResult:
        return ToolResult(True, [float("nan"), "\ud800"] if arguments else "\ud800 é")


@dataclass
class Response:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> dict[str, object]:
        return json.loads(self.body)


@dataclass
class Bridge:
    """A running server with one door, and a client that writes bytes to its sockets itself."""

    server: BridgeServer
    gate: Gate
    door: BlockDoor
    token: str
    sleeper: Sleeper
    events: list[Event] = field(default_factory=list[Event])

    @property
    def port(self) -> int:
        return int(self.server.url.rpartition(":")[2])

    async def open(self, unix: bool = False) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if unix:
            return await asyncio.open_unix_connection(self.server.socket_path)
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def send(self, raw: bytes, unix: bool = False) -> Response:
        reader, writer = await self.open(unix)
        try:
            writer.write(raw)
            return await read_response(reader)
        finally:
            writer.close()

    async def ask(
        self,
        method: str = "POST",
        path: str = "/call/add",
        body: bytes = b'{"a": 1, "b": 2}',
        changes: Mapping[str, str] | None = None,
        *,
        unix: bool = False,
    ) -> Response:
        """Send a good request, but for `changes` in its headers, where an empty one is left out."""
        headers = {
            "Host": f"127.0.0.1:{self.port}",
            "Authorization": f"Bearer {self.token}",
            "Content-Type": "application/json",
            "Content-Length": str(len(body)),
        }
        headers |= changes or {}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if value)
        return await self.send(f"{method} {path} HTTP/1.1\r\n{head}\r\n".encode() + body, unix)


async def read_response(reader: asyncio.StreamReader) -> Response:
    async with asyncio.timeout(20):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *lines = head.rstrip().split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    return Response(int(first.split()[1]), headers, body)
